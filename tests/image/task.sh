# What has to hold inside the task image, with the uid, the root and the mounts that a task definition
# gives it. Runs in the bridge's place, with TASK_UID; knows no bridge.

set -eu
. /checks/holds.sh

has_no_rights() {
    nothing grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):	0*[1-9a-f]' /proc/self/status
    test "$(id -u):$(id -g)" = "$TASK_UID:$TASK_UID"
}

writable() {
    find / -xdev ! -type l ! -path /home/agent ! -path /tmp ! -path /run/secrets -writable
    for folder in / /etc /usr /usr/bin /usr/local/bin /var /var/lib /run /root /home /dev; do
        if touch "$folder/probe"; then echo "$folder"; fi
    done
}

has_its_places() {
    for folder in /home/agent /tmp /var/tmp /run/secrets /dev/shm; do
        touch "$folder/probe"
        rm "$folder/probe"
    done
    # What finds nothing on the root finds something here.
    test "$(find /tmp -maxdepth 0 -writable)" = /tmp
    test "$(stat -c %a /run/secrets)" = 700
    test "$(stat -f -c %T /run/secrets /tmp | sort -u)" = tmpfs
}

no_file_has_a_capability() {
    python3 - <<'EOF'
import os, sys
files = [os.path.join(folder, name) for top in ("/usr", "/etc", "/var") for folder, _, names in os.walk(top)
         for name in names]
assert len(files) > 1000
sys.exit([file for file in files if "security.capability" in os.listxattr(file, follow_symlinks=False)] or 0)
EOF
}

managers() {
    for program in apt apt-get apt-cache aptitude dpkg dpkg-deb apk pip pip3 easy_install rpm dnf yum microdnf \
        tdnf zypper pacman snap flatpak npm cargo su sudo runuser mount umount passwd newgrp; do
        command -v "$program" || true
    done
    python3 -m pip --version || true
    python3 -m ensurepip --version || true
}

lacks_a_library() {
    find /usr -xdev -type f \( -path '*bin/*' -o -path '*/libexec/*' -o -path '*/git-core/*' -o -name '*.so*' \) |
        while read -r file; do
            [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
            if ldd "$file" | grep -q 'not found'; then echo "$file"; fi
        done
}

runs_what_is_made_in_tmp() {
    for folder in /tmp /run/secrets; do
        cp /usr/bin/true "$folder/program"
    done
    /tmp/program
    # Where secrets are is for reading only.
    refused /run/secrets/program
    rm /tmp/program /run/secrets/program
}

has_a_name() {
    test -n "$(whoami)"
    python3 -c 'import os, pwd; assert pwd.getpwuid(os.getuid()).pw_dir == "/home/agent"'
    refused id nobody-of-this-name
}

a_login_shell_is_at_home() {
    said=$(bash -lic 'echo "$PATH $SHELL ${PS1@P}"' 2>/dev/null)
    echo "$said"
    test "$said" = "$PATH /bin/bash agent@shellgate:~\$ "
}

git_works() {
    mkdir /tmp/git
    cd /tmp/git
    git init -q
    git config user.name Agent
    git config user.email agent@example.com
    printf 'one\ntwo\n' >file
    git add file
    git commit -q -m first
    printf 'one\n2\n' >file
    git diff >../change
    git stash -q
    git apply --check ../change
    git checkout -q -b side
    git clone -q . ../copy
    git -C ../copy log --oneline | grep -q first
    patch -s -p1 <../change
    printf 'y\n' | git add -p file | grep -q 'Stage this hunk'
    git commit -q -m second
    git rebase -q --root
}

texts_are_worked_on() {
    cd /tmp
    printf 'b 2\na 1\n' >list
    test "$(sort list | awk '{ s += $2 } END { print s }')" = 3
    test "$(sed -n 's/^a //p' list)" = 1
    test "$(rg -c . list)" = 2
    test "$(echo '{"a": [1, 2]}' | jq -c '.a | add')" = 3
    test "$(perl -pe 's/a/c/' list | tail -n 1)" = 'c 1'
    test "$(bash -c 'echo é | wc -m')" = 2
    refused diff list /dev/null >/dev/null
    test "$(file -b list)" = 'ASCII text'
}

archives_are_packed() {
    cd /tmp
    echo kept >kept
    tar -czf a.tgz kept
    tar -cJf a.txz kept
    python3 -m zipfile -c a.zip kept
    rm kept
    test "$(tar -xzOf a.tgz)$(tar -xJOf a.txz)$(unzip -p a.zip)" = keptkeptkept
}

python_works() {
    python3 -c 'import ctypes, curses, hashlib, json, lzma, readline, sqlite3, ssl
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 50'
}

processes_are_seen() {
    ps -e | grep -q sh
    free | grep -q Mem
    top -b -n 1 | grep -q PID
}

others_start() {
    curl --version
    less --version
    nano --version
    openssl version
}

cd
holds "inside: the process has its uid, no capability and no way to gain one" has_no_rights
holds "inside: nothing on the root can be written" nothing writable
holds "inside: home, /tmp and secrets can be written, and the latter two are memory" has_its_places
holds "inside: what was made in /tmp runs, and what lies among secrets does not" runs_what_is_made_in_tmp
holds "inside: no file has a capability" no_file_has_a_capability
holds "inside: there is no package manager, and nothing that changes users or mounts" nothing managers
holds "inside: every program finds its libraries" nothing lacks_a_library
holds "inside: a uid of which the image knows nothing has a name and a home" has_a_name
holds "inside: a login shell has the task's PATH and a prompt" a_login_shell_is_at_home
holds "inside: git works" git_works
holds "inside: texts are worked on" texts_are_worked_on
holds "inside: archives are packed and unpacked" archives_are_packed
holds "inside: python works, and knows whom to trust" python_works
holds "inside: processes are seen" processes_are_seen
holds "inside: the other programs start" others_start
