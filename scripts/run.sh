# `make run`: sets up, builds, and becomes a gateway for development, with its state in .shellgate.
# CONFIG names a file with settings of one's own (templates, say), and may be left out.

. scripts/build.sh

need_rust
need_c_compiler
need_bubblewrap
build_release
say "Starting the gateway; Ctrl-C stops it and its sandboxes"
exec target/release/shellgate-gateway dev ${CONFIG:+--config "$CONFIG"}
