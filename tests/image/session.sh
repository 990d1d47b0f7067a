# A session of a real gateway on this machine, with its bridge in a container of the task image instead
# of a sandbox. Sourced by scripts/image.sh.

handed_over() {
    find "$place/state/volumes" -name .task | grep -q .
}

printed() {
    grep -aq "$1" "$place/said" || { tail -n 20 "$place/said" "$place/bridge" "$place/log"; return 1; }
}

serves_its_page() {
    download "$SHELLGATE_URL/" "$place/page"
    grep -q '<div id="app">' "$place/page"
}

# Answers that are computed, because a terminal echoes what is typed.
type_a_session() {
    cat <<'EOF'
echo "uid $(id -u)" "product $((6 * 7))" "first $(tr '\0' ' ' </proc/1/cmdline)"
grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/1/environ
echo "secret $(cat /run/secrets/greeting)"; touch /usr/probe || echo "root $((40 + 2)) closed"
echo kept >kept; exit $((6 + 1))
EOF
}

start_gateway() {
    install -m 0755 tests/image/stand-in.sh "$place/stand-in"
    mkdir -m 0700 "$place/state"
    (umask 077 && printf '[shared]\ngreeting = "hello"\n' >"$place/state/secrets.toml")
    SHELLGATE_GATEWAY__SANDBOX__BRIDGE=$place/stand-in \
        SHELLGATE_GATEWAY__TEMPLATES__DEFAULT__SECRETS='["greeting"]' \
        SHELLGATE_GATEWAY__LISTEN__CLIENT=127.0.0.1:0 SHELLGATE_GATEWAY__LISTEN__ADMIN=127.0.0.1:0 \
        timeout --kill-after=10 300 "$made/programs/shellgate-gateway" dev --state "$place/state" \
        >"$place/hello" 2>"$place/log" </dev/null &
    gateway=$!
}

# The container, with what the gateway told its bridge, the home and the socket.
start_container() {
    volume=$(dirname "$(find "$place/state/volumes" -name .task)")
    dial=$(dirname "$(find "$place/state/dial" -name dial.sock)")
    mv "$volume/.task" "$place/task"
    (
        user=$(stat -c %u:%g "$volume")
        task --rm --env SHELLGATE_DIAL=unix:/run/gw/dial.sock --env-file "$place/task" \
            --volume "$volume:/home/agent" --volume "$dial:/run/gw:ro" shellgate-task
    ) >"$place/bridge" 2>&1 &
    container=$!
}

leave_session() {
    kill -INT "$gateway" 2>/dev/null || true
    wait "$gateway" || true
    rm -rf "$place"
}

check_session() (
    place=$(mktemp -d /tmp/shellgate-image.XXXXXX)
    start_gateway
    trap leave_session EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    holds "session: a gateway starts on this machine" soon grep -q SHELLGATE_URL= "$place/hello"
    SHELLGATE_URL=$(sed -n 's/.*SHELLGATE_URL=\([^ ]*\).*/\1/p' "$place/hello")
    SHELLGATE_TOKEN=$(cat "$place/state/token")
    export SHELLGATE_URL SHELLGATE_TOKEN
    holds "session: the gateway has its page inside" serves_its_page
    type_a_session |
        timeout 90 "$made/programs/shellgate" attach --create pictured >"$place/said" 2>&1 &
    client=$!
    holds "session: its start reaches the bridge's place" soon handed_over
    start_container
    code=0
    wait "$client" || code=$?
    holds "session: the bridge is let in, and its program's exit code is the client's" test "$code" = 7
    holds "session: the program has the user's uid" printed "uid [0-9]* product 42"
    holds "session: the first process is the bridge" printed 'first /usr/local/bin/shellgate-bridge'
    holds "session: the bridge has confined the program" printed 'Seccomp:.*2'
    holds "session: the program does not read the bridge's environment" printed '/proc/1/environ: Permission denied'
    holds "session: a secret is a file in memory" printed 'secret hello'
    holds "session: the root is closed" printed 'root 42 closed'
    holds "session: what was written at home is there afterwards" grep -qx kept "$volume/kept"
    code=0
    wait "$container" || code=$?
    holds "session: the bridge ends with its program, content" test "$code" = 0
)
