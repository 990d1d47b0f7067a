# Builds the fuzz targets and runs each for SECONDS_EACH (10) on its kept corpus, two at a time. New
# inputs that reach new code go to fuzz/target/corpus; a crash leaves its input in fuzz/artifacts and
# fails. The same SEED (1) tries the same inputs first, as far as the time goes; 0 takes another each
# time.

. scripts/setup.sh

seconds_each=${SECONDS_EACH:-10}
seed=${SEED:-1}

need_rust
need_c_compiler
# libFuzzer is C++.
have c++ || install_packages g++ || true
have c++ || stop "A C++ compiler is missing. Install it: $(install_command g++)"

# What `cargo fuzz` passes, without a sanitizer: our parsers are safe Rust. With --target, build
# scripts and procedural macros go without counters.
host=$(host_triple)
counters='-Cpasses=sancov-module
-Cllvm-args=-sanitizer-coverage-level=4
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters
-Cllvm-args=-sanitizer-coverage-pc-table
-Cllvm-args=-sanitizer-coverage-trace-compares
-Ccodegen-units=1
--cfg=fuzzing'
say "Building the fuzz targets"
RUSTFLAGS=$(echo $counters) CARGO_TARGET_DIR="$PWD/fuzz/target" \
    cargo build --quiet --locked --manifest-path fuzz/Cargo.toml --bins --target "$host"

fuzz_one() {
    mkdir -p "fuzz/target/corpus/$1" fuzz/artifacts
    rm -f "fuzz/target/$1.failed"
    # 16 KiB is the largest control message of a client, and more than any other parser needs.
    "fuzz/target/$host/debug/$1" "fuzz/target/corpus/$1" "fuzz/corpus/$1" \
        -seed="$seed" -max_total_time="$seconds_each" -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
        -artifact_prefix="fuzz/artifacts/$1-" -print_final_stats=1 >"fuzz/target/$1.log" 2>&1 ||
        : >"fuzz/target/$1.failed"
}

# Waits for those that run, and says what became of them.
running=
failed=
finish_running() {
    wait
    for target in $running; do
        say "$target, $seconds_each s"
        log=fuzz/target/$target.log
        if [ -e "fuzz/target/$target.failed" ]; then
            tail -n 60 "$log"
            failed="$failed $target"
        fi
        sed -n 's/^stat::number_of_executed_units: */    runs: /p; s/^INFO: *\([0-9]* files found.*\)/    \1/p' "$log"
        sed -n 's/^.*\(cov: [0-9]*\).*$/    \1/p' "$log" | tail -n 1
    done
    running=
}

# Two at a time: each has one thread, and the smallest machine that this is for has two processors.
for source in fuzz/targets/*.rs; do
    target=$(basename "$source" .rs)
    fuzz_one "$target" &
    case $running in
    '') running=$target ;;
    *)
        running="$running $target"
        finish_running
        ;;
    esac
done
finish_running
[ -z "$failed" ] || { echo "error: inputs that break:$failed (see fuzz/artifacts)"; exit 1; }
