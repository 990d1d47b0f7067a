# `make bench`: sets up, builds as it is installed, and measures the gateway beside a bare one; some
# 30 minutes. With arguments: these go to the load generator (`--help` shows them).

. scripts/build.sh

need_rust
need_c_compiler
need_bubblewrap
say "Building the bridge, the gateway and the load generator (release; some minutes the first time)"
build_bridge
cargo build --quiet --locked --release -p shellgate-gateway -p shellgate-load --bins
cmp -s "$static_bridge" target/release/shellgate-bridge ||
    cp --remove-destination "$static_bridge" target/release/shellgate-bridge

mkdir -p target/bench
say "Measuring (some 25 minutes; leave the machine alone, for its load is in the figures)"
# Longer than the longest run may take: whatever hangs is a failure, too.
exec timeout 5400 target/release/shellgate-load \
    --tsv target/bench/figures.tsv --markdown target/bench/figures.md "$@"
