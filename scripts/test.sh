# `make test`: sets up, builds, runs every suite, sums up. With arguments: only the named suites.
# Sourced by check.sh, after its own steps.

case $0 in
*check.sh) ;;
*)
    . scripts/suite.sh
    . scripts/build.sh
    ;;
esac
. scripts/moto.sh
. scripts/postgres.sh

# Longest that the tests of one suite may take altogether, in seconds: a hang is a failure, too.
suite_deadline=1200

setup() {
    need_rust
    need_c_compiler
    need_bubblewrap
    want_node || say "No page and no page tests: $no_node"
    case $suites in
    *units* | *stories*)
        need_moto
        need_postgres
        ;;
    esac
}

# The same profile, features and folder as the test runners use, so that nothing is built twice.
binaries() {
    build_page
    build_bridge
    say "Building the gateway and the CLI (dev)"
    cargo build --quiet --locked --workspace --bins
    say "Building the tests"
    cargo test --quiet --locked --workspace --no-run
}

# End-to-end tests that have a suite of their own below. All others are stories.
named_apart='architecture torture'

test_files() {
    for file in "$@"; do
        [ -e "$file" ] || continue
        case $file in
        */main.rs) basename "$(dirname "$file")" ;;
        *) basename "$file" .rs ;;
        esac
    done
}

# Runs tests with nextest where it is installed, else with cargo: $1 selects them in nextest's
# words, the rest in cargo's.
run_tests() {
    expression=$1
    shift
    if cargo nextest --version >/dev/null 2>&1; then
        timeout "$suite_deadline" cargo nextest run --locked --workspace --no-fail-fast --no-tests pass -E "$expression"
    else
        timeout "$suite_deadline" cargo test --locked --workspace --no-fail-fast "$@"
    fi
}

# Each crate's own tests, and the rules of the layout.
units() {
    set -- --lib --bins
    for crate in protocol gateway bridge infra client tests/cloud; do
        for name in $(test_files "$crate"/tests/*.rs "$crate"/tests/*/main.rs); do
            set -- "$@" --test "$name"
        done
    done
    run_tests 'not package(shellgate-tests) or binary(architecture)' "$@" --test architecture
}

stories() {
    set --
    for name in $(test_files tests/tests/*.rs tests/tests/*/main.rs); do
        case " $named_apart " in
        *" $name "*) ;;
        *) set -- "$@" --test "$name" ;;
        esac
    done
    run_tests 'package(shellgate-tests) and not (binary(architecture) or binary(torture))' "$@"
}

# Its figures are worth reading when it passes, too.
torture() {
    timeout "$suite_deadline" cargo test --locked --workspace --test torture -- --nocapture
}

page_tests() {
    want_node || skip "$no_node"
    install_page_packages
    (cd web && npm test --silent)
}

fuzz() {
    sh scripts/fuzz.sh
}

# The page in a real browser: against a scripted gateway, which can do anything on demand, and
# against the real one.
browser() {
    want_node || skip "$no_node"
    want chromium chromium || skip "Chromium is missing: $(install_command chromium)"
    SHELLGATE_CHROMIUM=$(command -v chromium)
    export SHELLGATE_CHROMIUM
    install_page_packages
    (cd web && timeout "$suite_deadline" npm run --silent test:browser)
    # Again with a gateway of its own, which it starts, kills, starts again and stops.
    (cd web && SHELLGATE_STORY_GATEWAY=$PWD/../target/debug/shellgate-gateway \
        timeout "$suite_deadline" npm run --silent test:browser)
}

# The AWS deployment, checked without AWS. Reads the code, and so it is a test of it, too.
terraform() {
    # In a shell of its own, which does not know this function.
    sh -c 'command -v terraform' >/dev/null || leave_out "left out: terraform is missing (make terraform says how to get it)"
    sh scripts/terraform.sh
}

# The images, of the programs that the other suites test. Where no engine starts it says so and passes.
image() {
    PROGRAMS=target/debug BRIDGE=target/$(host_triple)/release/shellgate-bridge sh scripts/image.sh
}

suites='units stories page_tests terraform image fuzz'
[ ! -e tests/tests/torture.rs ] || suites="$suites torture"
[ ! -e web/test/browser/story.ts ] || suites="$suites browser"

if [ $# -gt 0 ]; then suites=$*; fi
suite_or_stop setup
case $suites in
fuzz | terraform) ;;
*) suite_or_stop binaries ;;
esac
for name in $suites; do suite "$name"; done
finish
