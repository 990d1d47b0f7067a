# How a check says what has to hold, in an image and outside. Knows no image. Sourced, under `set -e`.

# holds SENTENCE COMMAND…: runs it and says how it went; what it said is of interest only where it failed.
holds() {
    sentence=$1
    shift
    # Not as a condition: that would take `set -e` away inside, and only last commands would count.
    set +e
    said=$(set -e; "$@" 2>&1)
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        echo "ok      $sentence"
    else
        echo "FAILED  $sentence (status $status)"
        echo "$said" | tail -n 20 | sed 's/^/        /'
    fi
}

# nothing COMMAND…: whether it finds nothing; what it finds is the fault.
nothing() {
    found=$("$@" 2>/dev/null) || true
    [ -z "$found" ] || { echo "$found"; return 1; }
}

refused() {
    if "$@"; then return 1; fi
}

# soon COMMAND…: waits until it holds, half a minute at most.
soon() {
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    "$@"
}
