# The task image's bridge where there is no gateway. Sourced by scripts/image.sh.

says() {
    "$docker" logs "$bridge" 2>&1 | grep "$1"
}

names_what_it_misses() {
    "$docker" run --rm --network none shellgate-task 2>&1 | grep 'SHELLGATE_DIAL is not set'
}

empties_a_home() {
    "$docker" run --rm --network none shellgate-task empty /home/agent 2>&1 | grep 'entries were deleted'
}

lives_on() {
    "$docker" exec "$bridge" bash -c 'kill -9 1; kill -STOP 1; kill -9 -1' || true
    "$docker" exec "$bridge" grep '^1 (shellgate-bridg) [RS]' /proc/1/stat
}

ends_when_told() {
    timeout 60 "$docker" stop --time 30 "$bridge" >/dev/null
    says 'told to end before a gateway was found'
    test "$("$docker" inspect --format '{{.State.ExitCode}}' "$bridge")" = 69
}

check_bridge() {
    holds "bridge: without settings it names the one that it misses" names_what_it_misses
    holds "bridge: it empties a removed user's home, without any setting" empties_a_home
    bridge=$(task --detach --env SHELLGATE_DIAL=unix:/run/gw/dial.sock --env SHELLGATE_LAUNCH=1 \
        --env SHELLGATE_SESSION=ses_0198c7000000700080000000000000ff --env SHELLGATE_TOKEN=nobody-s shellgate-task)
    holds "bridge: without a gateway it says so, and waits" soon says 'shellgate-bridge: '
    holds "bridge: it is the first process, with no init before it" \
        "$docker" exec "$bridge" grep -qzx /usr/local/bin/shellgate-bridge /proc/1/cmdline
    holds "bridge: its own uid does not read its environment" \
        refused "$docker" exec "$bridge" cat /proc/1/environ
    holds "bridge: its own uid neither ends nor stops it" lives_on
    holds "bridge: it ends when it is told to, and its exit code says why" ends_when_told
    "$docker" rm --force --volumes "$bridge" >/dev/null
}
