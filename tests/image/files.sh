# What stands in an image, whatever is mounted over it when it runs: modes, owners, names. Sourced by
# scripts/image.sh; knows what no image of ours may have, and not what each is for.

# list_files NAME: the whole root. /dev is the engine's.
list_files() {
    container=$("$docker" create --network none "shellgate-$1")
    "$docker" export "$container" >"$made/$1.tar"
    "$docker" rm --volumes "$container" >/dev/null
    tar -tvf "$made/$1.tar" | grep -v ' dev/' >"$made/$1.files"
    rm "$made/$1.tar"
}

set_id() {
    grep -E '^-(..[sS]|.{5}[sS])' "$made/$1.files"
}

open_to_all() {
    grep -E '^[^l].{7}w' "$made/$1.files" | grep -v ' tmp/$'
}

managers() {
    grep -E '/(apt|apt-get|dpkg|dpkg-deb|apk|pip|pip3|rpm|dnf|yum)$|dist-packages/pip/|etc/apt/' "$made/$1.files"
}

runs_as_somebody() {
    user=$("$docker" image inspect --format '{{.Config.User}}' "shellgate-$1")
    case $user in '' | 0 | 0:* | root*) return 1 ;; esac
}

check_files() {
    list_files "$1"
    holds "$1: its files are seen" grep -q 'usr/local/bin/shellgate' "$made/$1.files"
    holds "$1: no file is setuid or setgid" nothing set_id "$1"
    holds "$1: nothing but /tmp is open to everybody" nothing open_to_all "$1"
    holds "$1: no package manager is left" nothing managers "$1"
    holds "$1: what was installed is on record for scanners" grep -q 'var/lib/dpkg/status$' "$made/$1.files"
    holds "$1: it does not run as root" runs_as_somebody "$1"
}
