# A Docker Engine for the time of a script: the one that this user reaches, else, as root, one of its
# own, which changes no network of the machine and leaves nothing. Knows no image. Sourced after setup.sh.

# The longest that an engine of its own may live, in seconds, whatever becomes of the script.
engine_deadline=3600
# Where it is unpacked where it is not installed. Nothing is installed for it, because installing it
# would start a service and change the machine's firewall.
engine_kept=$PWD/.tools/engine
# Layers are large and want a real disk; sockets want short paths.
engine_data=$PWD/target/engine
engine_place=
engine_libraries=
# The network of what is built in it. One of its own has none but the machine's.
engine_network=default
# Marks the containers of this run.
engine_label=shellgate-run=$$

# Sets `docker` to a client that builds with BuildKit, which is part of the older ones, and a
# component beside the newer.
find_client() {
    for docker in docker /usr/bin/docker "$engine_kept/usr/bin/docker"; do
        if DOCKER_BUILDKIT=1 "$docker" build --help >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

reaches_engine() {
    find_client && timeout 20 "$docker" version >/dev/null 2>&1
}

# Says by its status whether there is an engine; `no_engine` says why not.
want_engine() {
    DOCKER_BUILDKIT=1
    export DOCKER_BUILDKIT
    trap leave_engine EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    reaches_engine && return 0
    no_engine='no Docker Engine is reached, and one of its own takes root'
    [ "$(id -u)" = 0 ] || return 1
    no_engine='no Docker Engine is reached or installed, and it could not be fetched (apt-get: docker.io)'
    have_engine || fetch_engine || return 1
    start_engine && return 0
    no_engine="a Docker Engine of its own does not start here: $(tail -n 1 "$engine_place/log")"
    return 1
}

have_engine() {
    have dockerd && have containerd && have runc && find_client
}

# Packages with what they need, unpacked below .tools.
fetch_engine() {
    [ -x "$engine_kept/usr/sbin/dockerd" ] || unpack docker.io docker-cli docker-buildx || return 1
    engine_libraries=$(echo "$engine_kept"/usr/lib/*-linux-gnu)
    find_unpacked
    have_engine
}

find_unpacked() {
    PATH=$PATH:$engine_kept/usr/sbin:$engine_kept/usr/bin
    export PATH
}

# unpack PACKAGE…: those that this Debian has, and what they need that is not installed.
unpack() {
    have apt-get || return 1
    say "Getting $1 into .tools (apt-get; it is not installed)"
    apt-get -q update </dev/null >/dev/null || return 1
    packages=
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then packages="$packages $package"; fi
    done
    rm -rf .tools/archives
    mkdir -p .tools/archives/partial "$engine_kept"
    apt-get -q -y --no-install-recommends --download-only -o "Dir::Cache::archives=$PWD/.tools/archives" \
        install $packages </dev/null >/dev/null || return 1
    for archive in .tools/archives/*.deb; do
        dpkg-deb --extract "$archive" "$engine_kept" || return 1
    done
    rm -rf .tools/archives
    find_unpacked
}

start_engine() {
    engine_place=$(mktemp -d /tmp/shellgate-engine.XXXXXX)
    say "Starting a Docker Engine for this run"
    mkdir -p "$engine_data"
    # A session of its own, so that Ctrl-C does not end it before its containers.
    LD_LIBRARY_PATH=$engine_libraries setsid timeout --kill-after=60 "$engine_deadline" dockerd \
        --data-root "$engine_data" --exec-root "$engine_place/exec" --pidfile "$engine_place/pid" \
        --host "unix://$engine_place/docker.sock" \
        --bridge=none --iptables=false --ip-forward=false >"$engine_place/log" 2>&1 </dev/null &
    engine=$!
    engine_network=host
    DOCKER_HOST=unix://$engine_place/docker.sock
    export DOCKER_HOST
    for _ in $(seq 150); do
        kill -0 "$engine" 2>/dev/null || return 1
        if "$docker" version >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    return 1
}

# Removes this run's containers. An engine of its own is ended, with all that it has stored.
leave_engine() {
    trap - EXIT
    containers=$(timeout 30 "$docker" ps --all --quiet --filter "label=$engine_label" 2>/dev/null) || containers=
    [ -z "$containers" ] || timeout 60 "$docker" rm --force --volumes $containers >/dev/null 2>&1 || true
    [ -n "$engine_place" ] || return 0
    # `timeout` passes it on, and is gone when the engine is.
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    for mounted in $(awk -v data="$engine_data/" -v place="$engine_place/" \
        'index($2, data) == 1 || index($2, place) == 1 { print $2 }' /proc/mounts | sort -r); do
        umount --lazy "$mounted" || true
    done
    rm -rf --one-file-system "$engine_data" "$engine_place"
}
