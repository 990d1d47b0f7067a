# Collects what the gateway's image consists of in the folder named as argument: two programs, the
# libraries that they are linked to, the authorities that they believe, one user. No shell, and nothing
# else that runs. Runs as root while the image is built.

set -eu
root=$1
programs='shellgate-gateway shellgate'
packages='libc6 libgcc-s1 ca-certificates'

apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q -y upgrade
DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $packages

# Libraries are named by folders that are links since Debian merged them into /usr.
mkdir -p "$root/usr"
for folder in lib lib64; do
    mkdir -p "$root/usr/$folder"
    if [ -L "/$folder" ]; then cp -P "/$folder" "$root/"; fi
done

for program in $programs; do
    install -D -m 0755 "/programs/$program" "$root/usr/local/bin/$program"
    # A library that is missing here is named "not found", and is a fault.
    ldd "/programs/$program" >/libraries
    if grep 'not found' /libraries; then exit 1; fi
    for library in $(grep -o '/[^ ]*' /libraries); do
        install -D -m 0755 "$library" "$root$library"
    done
done

install -D -m 0644 -t "$root/etc/ssl/certs" /etc/ssl/certs/ca-certificates.crt
install -D -m 0644 -t "$root/etc/shellgate" /gateway.toml
install -d -m 0700 -o 900 -g 900 "$root/var/lib/shellgate"
echo 'shellgate:x:900:900:shellgate:/var/lib/shellgate:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'shellgate:x:900:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# By this a scanner of the registry knows what to look for; and the licences.
mkdir -p "$root/var/lib/dpkg"
for package in $packages; do
    dpkg-query -s "$package"
    echo
    install -D -m 0644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done >"$root/var/lib/dpkg/status"
install -D -m 0644 /LICENSE "$root/usr/share/doc/shellgate/copyright"
