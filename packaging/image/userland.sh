# Makes a Debian what a task runs in: the packages named as arguments, no package manager, nothing
# setuid, nothing that others may write but /tmp. Runs as root while the image is built; knows no bridge.

set -eu
export DEBIAN_FRONTEND=noninteractive

# Gives a name to every uid: each user's own is in no file of the image, and programs ask for it.
names=libnss-unknown

# What is half written when the machine stops is thrown away, so nothing waits for the disk.
apt() {
    apt-get -q -y -o Dpkg::Options::=--force-unsafe-io "$@"
}

install_programs() {
    apt update
    # What Debian has mended since the base was made.
    apt upgrade
    apt install --no-install-recommends "$names" "$@"
}

# purge PATTERN…: those of these packages that are there, whatever else may want them.
purge() {
    found=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        sed -n 's/ installed$//p')
    [ -z "$found" ] || dpkg --purge --force-all --force-unsafe-io $found
}

# Git brings all of Perl for its mail and Subversion commands; perl-base, which is essential, stays.
# It also brings servers, and copies of itself under other names.
slim_git() {
    purge 'perl' 'perl-modules-*' 'libperl5*' liberror-perl 'libgdbm*'
    core=/usr/lib/git-core
    [ -d "$core" ] || return 0
    rm -f /usr/bin/git-shell /usr/bin/scalar /usr/bin/git-cvsserver
    (cd "$core" && rm -f scalar git-shell git-daemon git-http-backend git-http-push git-imap-send \
        git-instaweb git-cvs* git-svn git-send-email git-archimport)
    ln -sf ../../bin/git "$core/git"
}

# What installs, and what changes users or mounts: there is nothing of it to do in a task.
remove_managers() {
    purge apt 'libapt-pkg*' sqv gpgv debian-archive-keyring adduser init-system-helpers \
        debconf libdebconfclient0 \
        base-passwd passwd login login.defs mount 'libpam*' 'libsemanage*' 'libsepol*'
    rm -f /usr/bin/su /usr/sbin/runuser
    # The record of what is installed stays: by it a scanner of the registry knows what to look for.
    awk -v RS= -v ORS='\n\n' '!/^Package: dpkg\n/' /var/lib/dpkg/status >/status
    dpkg-query -L dpkg | while read -r path; do
        # Some are links to folders that hold all the rest.
        [ -d "$path" ] || rm -f "$path"
    done
    rm -rf /var/lib/dpkg /etc/dpkg /etc/apt /var/lib/apt /usr/lib/apt /usr/share/dpkg /usr/libexec/dpkg
    mkdir /var/lib/dpkg
    mv /status /var/lib/dpkg/status
}

# Manuals, translations, tests, and what is for machines that boot. Licences stay.
remove_the_rest() {
    find /usr/share/doc ! -type d ! -name copyright -delete
    find /usr/share/doc -type d -empty -delete
    rm -rf /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bug \
        /usr/share/debconf /usr/share/bash-completion /usr/share/gitweb /usr/lib/python3*/test \
        /var/cache/* /var/log/* /var/backups /var/lib/pam /var/lib/systemd \
        /etc/cron* /etc/init.d /etc/rc* /etc/pam* /etc/security /etc/skel /etc/systemd \
        /boot /media /mnt /opt /srv ~root/.??*
}

# The same as in a sandbox on one machine.
write_etc() {
    cat >/etc/passwd <<'EOF'
root:x:0:0:root:/nonexistent:/usr/sbin/nologin
agent:x:1000:1000:agent:/home/agent:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
EOF
    cat >/etc/group <<'EOF'
root:x:0:
tty:x:5:
agent:x:1000:
nogroup:x:65534:
EOF
    rm -f /etc/passwd- /etc/group- /etc/shadow* /etc/gshadow* /etc/subuid* /etc/subgid*
    # Debian's own sets another PATH than the task has.
    cat >/etc/profile <<'EOF'
# bash takes it from the user's entry, and most users have none.
export SHELL=/bin/bash
if [ -n "$BASH_VERSION" ] && [ -n "$PS1" ] && [ -r /etc/bash.bashrc ]; then
  . /etc/bash.bashrc
fi
EOF
    cat >/etc/bash.bashrc <<'EOF'
export SHELL=/bin/bash
[ -z "$PS1" ] && return
shopt -s checkwinsize histappend
HISTCONTROL=ignoreboth
PS1='agent@shellgate:\w\$ '
alias ls='ls --color=auto'
alias grep='grep --color=auto'
EOF
}

close_the_root() {
    find / -xdev ! -type l -perm /6000 -exec chmod ug-s {} +
    find / -xdev ! -type l ! -path /tmp -perm /0002 -exec chmod o-w {} +
    rm -rf /var/tmp
    ln -s ../tmp /var/tmp
    install -d -m 1777 /tmp
    # Not for everybody: a task that should have mounted these fails, instead of keeping secrets on a
    # disk or files in a home that is gone with it.
    install -d -m 0700 -o 1000 -g 1000 /run/secrets /home/agent
}

install_programs "$@"
slim_git
remove_managers
remove_the_rest
write_etc
close_the_root
