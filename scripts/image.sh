# `make image`: builds the task image and the gateway image, and runs the task image as a task
# definition does: its uid, a read-only root, no capability, its mounts. PROGRAMS names a folder with
# programs that were built before, BRIDGE a static bridge. Without an engine it says so and passes.

. scripts/build.sh
. scripts/engine.sh
. tests/image/holds.sh
. tests/image/files.sh
. tests/image/bridge.sh
. tests/image/session.sh

# The most that the task image may weigh as a registry keeps it: every task pulls all of it. The same
# number stands in docs/image.md.
task_budget_mib=52

made=target/image
# A user as each one has one on AWS, of which no file of the image knows.
user=1900000001:1900000001

left_out() {
    echo "left out: $*"
    exit 0
}

find_programs() {
    if [ -z "${PROGRAMS-}" ]; then
        build_release
        [ -e web/dist/index.html ] || stop "The gateway's image is nothing without its page. $no_node"
        PROGRAMS=target/release
    fi
    pack_programs "${BRIDGE:-$PROGRAMS/shellgate-bridge}" "$PROGRAMS" "$made/programs"
}

# The base that the Dockerfile names, or BASE_IMAGE; where no registry is reached, the same Debian by
# debootstrap.
find_base() {
    base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)}
    if "$docker" image inspect "$base" >/dev/null 2>&1 ||
        timeout 300 "$docker" pull --quiet "$base" >"$made/pull.log" 2>&1; then
        return 0
    fi
    say "Cannot pull $base: $(tail -n 1 "$made/pull.log")"
    case $base in debian:*) ;; *) stop "the base image $base cannot be had" ;; esac
    release=${base#debian:}
    release=${release%%[@-]*}
    if [ ! -e "$made/base-$release.tar" ]; then
        make_base "$release" ||
            left_out "no registry is reached, and no base can be made here (see $made/debootstrap.log)"
    fi
    base=shellgate-base:$release
    "$docker" import "$made/base-$release.tar" "$base" >/dev/null
}

make_base() {
    [ "$(id -u)" = 0 ] || return 1
    have debootstrap || unpack debootstrap || return 1
    if [ ! -d /usr/share/debootstrap ]; then
        DEBOOTSTRAP_DIR=$engine_kept/usr/share/debootstrap
        export DEBOOTSTRAP_DIR
    fi
    say "Making a base of Debian $1 (debootstrap; a minute, once)"
    root=$PWD/$made/root
    rm -rf --one-file-system "$root"
    timeout 900 debootstrap --variant=minbase "$1" "$root" >"$made/debootstrap.log" 2>&1 || return 1
    printf 'deb http://deb.debian.org/%s main\n' \
        "debian $1" "debian $1-updates" "debian-security $1-security" >"$root/etc/apt/sources.list"
    tar -C "$root" --exclude './dev/*' --exclude './var/cache/apt/archives/*.deb' -cf "$made/base-$1.tar" .
    rm -rf --one-file-system "$root"
}

# build_image NAME: from the packed programs, and as a file that any engine loads.
build_image() {
    say "Building the $1 image on $base"
    timeout 1200 "$docker" build --progress plain --network "$engine_network" \
        --build-arg "BASE_IMAGE=$base" --build-arg PROGRAMS=prebuilt \
        --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy \
        --target "$1" --tag "shellgate-$1" . >"$made/$1.log" 2>&1 ||
        { tail -n 40 "$made/$1.log"; exit 1; }
    "$docker" save "shellgate-$1" | gzip -6 >"$made/shellgate-$1.tar.gz"
}

# task ARGUMENTS…: runs the task image as a task definition does, in this engine's words. Without the
# engine's filter of system calls, because Fargate has none: the bridge's own has to do. Without
# no-new-privileges, because definitions have none: there is no capability that could be gained.
task() {
    timeout 120 "$docker" run --label "$engine_label" --user "$user" --read-only --cap-drop ALL \
        --security-opt seccomp=unconfined --network none --memory 1g --pids-limit 512 \
        --tmpfs /tmp:exec,size=256m,mode=1777 \
        --tmpfs "/run/secrets:size=1m,mode=0700,uid=${user%:*},gid=${user#*:}" "$@"
}

# as_root_on_home COMMAND…: because the home is somebody else's.
as_root_on_home() {
    program=$1
    shift
    "$docker" run --rm --user 0:0 --network none --volume "$home:/home/agent" --entrypoint "$program" \
        shellgate-task "$@"
}

within_budget() {
    bytes=$(wc -c <"$made/shellgate-task.tar.gz")
    echo "$bytes bytes"
    [ "$bytes" -le $((task_budget_mib << 20)) ]
    grep -q "$task_budget_mib MiB" docs/image.md
}

works_without_mounts() {
    "$docker" run --rm --read-only --network none --entrypoint sh shellgate-task -c \
        'cd; touch /tmp/a /run/secrets/a a && test "$(whoami):$PWD" = agent:/home/agent'
}

check_task() {
    holds "task: compressed it weighs no more than the $task_budget_mib MiB that its document says" within_budget
    check_files task
    home=$PWD/$made/home
    mkdir -p "$home"
    as_root_on_home chown "$user" /home/agent
    task --rm --env "TASK_UID=${user%:*}" --volume "$home:/home/agent" \
        --volume "$PWD/tests/image:/checks:ro" --entrypoint sh shellgate-task /checks/task.sh
    as_root_on_home find /home/agent -mindepth 1 -delete
    rmdir "$home"
    holds "task: a uid that mounts no home has none" refused task --rm --entrypoint touch shellgate-task /home/agent/a
    holds "task: its own user needs no mount" works_without_mounts
}

gateway() {
    timeout 60 "$docker" run --rm --read-only --cap-drop ALL --network none "$@"
}

has_two_programs() {
    # Four are the engine's, empty.
    found=$(awk '/^-..x/ && $3 > 0 && !/\.so/ { print $NF }' "$made/gateway.files" | sort | tr '\n' ' ')
    echo "$found"
    test "$found" = 'usr/local/bin/shellgate usr/local/bin/shellgate-gateway '
}

takes_its_settings() {
    gateway shellgate-gateway check-config --config /etc/shellgate/gateway.toml | grep auth.issuers
    gateway --env 'SHELLGATE_GATEWAY__AUTH__ISSUERS=[{ issuer = "https://id.example.com", audience = ["shellgate"],
        jwks_url = "https://id.example.com/jwks.json" }]' shellgate-gateway check-config | grep -x ok
}

check_gateway() {
    check_files gateway
    holds "gateway: it has two programs and no shell" has_two_programs
    holds "gateway: its command line runs" gateway --entrypoint shellgate shellgate-gateway --version
    holds "gateway: it takes its settings, and names the one that is nobody else's to give" takes_its_settings
}

mkdir -p "$made"
want_engine || left_out "$no_engine"
need_bubblewrap
find_programs
find_base
build_image task
build_image gateway
say "Checking what was built"
# The status goes by a file, because a pipeline has its last command's.
{ set +e; (set -e; check_task; check_bridge; check_session; check_gateway); echo $? >"$made/status"; } 2>&1 |
    tee "$made/checks"
[ "$(cat "$made/status")" = 0 ] || echo "FAILED  the checks ended before their end" | tee -a "$made/checks"
passed=$(grep -c '^ok ' "$made/checks") || true
failed=$(grep -c '^FAILED ' "$made/checks") || true
say "Made: $(cd "$made" && du -h shellgate-task.tar.gz shellgate-gateway.tar.gz | tr '\n' ' ')(docker load)"
echo "test result: $passed passed; $failed failed; 0 ignored"
[ "$failed" = 0 ]
