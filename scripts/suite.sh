# Runs steps one after the other, keeps what they said and how long they took, and sums up.
# Knows nothing of what a step does. Sourced.

set -eu

# A script that is itself a step of another keeps its own logs.
logs=${logs:-target/suites}
mkdir -p "$logs"
results=$logs/results
: >"$results"

# What a step that can't run here exits with (EX_TEMPFAIL), its reason being its last line.
skipped_status=75

skip() {
    echo "$*"
    exit "$skipped_status"
}

# What a step exits with that needs what no script here can bring: unlike one that is skipped it may be
# missing in CI, and the summary says so all the same.
left_out_status=76

leave_out() {
    echo "$*"
    exit "$left_out_status"
}

# suite NAME: runs the function of that name. A failure is remembered, and the next suite runs.
suite() {
    printf '\n==> %s\n' "$1"
    began=$(date +%s)
    # The status goes by a file, because a pipeline has its last command's; and no `||` may stand
    # round the function, because it would take `set -e` away inside.
    { set +e; (set -e; "$1") </dev/null; echo $? >"$logs/$1.status"; } 2>&1 | tee "$logs/$1.log"
    status=$(cat "$logs/$1.status")
    seconds=$(($(date +%s) - began))
    note=
    case $status in
    0)
        outcome=passed
        # What a suite does without where it may is told, too.
        note=$(tail -n 1 "$logs/$1.log" | grep '^left out: ') || note=
        ;;
    "$skipped_status")
        outcome=skipped
        note=$(tail -n 1 "$logs/$1.log")
        ;;
    "$left_out_status")
        outcome="left out"
        note=$(tail -n 1 "$logs/$1.log")
        ;;
    *)
        outcome=FAILED
        note="status $status, see $logs/$1.log"
        ;;
    esac
    printf '%s\t%s\t%s\t%s\n' "$1" "$outcome" "$seconds" "$note" >>"$results"
}

# The suite that the others stand on: without it there is nothing to run.
suite_or_stop() {
    suite "$1"
    grep -q "^$1	passed	" "$results" || finish
}

# Prints the counts that the test runners gave and what became of each suite, and ends the script.
finish() {
    printf '\n==> Summary\n'
    for log in "$logs"/*.log; do
        name=$(basename "$log" .log)
        grep -q "^$name	" "$results" || continue
        # Colours are taken off first, where a runner has put them.
        sed 's/\x1b\[[0-9;]*m//g' "$log" |
            awk -v name="$name" '
                /^ +Summary \[/ { print "  " name ":" $0 }
                /^test result: / {
                    sub(/^test result: [^0-9]*/, ""); runs++
                    for (i = 1; i < NF; i++) if ($(i + 1) ~ /^(passed|failed|ignored)/) count[substr($(i + 1), 1, 6)] += $i
                }
                END { if (runs) printf "  %s: test result: %d passed, %d failed, %d ignored in %d programs\n", name, count["passed"], count["failed"], count["ignore"], runs }'
    done
    awk -F '\t' '{ printf "  %-14s %-8s %5d s  %s\n", $1, $2, $3, $4 }' "$results"
    if grep -q '	FAILED	' "$results"; then exit 1; fi
    # A machine that nobody watches must not pass by leaving things out.
    if [ "${CI-}" = true ] && grep -q '	skipped	' "$results"; then
        echo "error: in CI no suite may be left out"
        exit 1
    fi
    exit 0
}
