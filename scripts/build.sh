# Builds what a gateway needs to run: page, bridge, gateway and CLI. As a program it builds them as
# they are installed, and packs them for an image into the folder that is its argument; sourced, it
# gives the other scripts one function for each.

. scripts/setup.sh
. scripts/node.sh

# The terminal page, which the gateway embeds. Where it cannot be built the gateway embeds a page that
# says so, or the one that was built before: the rest is of use without it. Its tests are not as lenient.
build_page() {
    if page_is_new; then
        return 0
    elif ! want_node; then
        no_page "$no_node"
    elif ! install_page_packages; then
        no_page "its packages could not be fetched (npm ci)"
    else
        say "Building the terminal page"
        (cd web && npm run --silent build)
    fi
}

# Whether nothing that the page is made of has changed since. Built anew without need it would be a
# new file, and the gateway would be built anew for it: minutes.
page_is_new() {
    made=web/dist/manifest.json
    [ -e "$made" ] && [ -z "$(find web/src web/scripts web/*.json -newer "$made" | head -n 1)" ]
}

no_page() {
    if [ -e web/dist/index.html ]; then
        say "Keeping the terminal page that was built before: $1"
    else
        say "Leaving out the terminal page: $1"
    fi
}

# npm writes the hidden lock file last, so a newer one means that all of them are there.
install_page_packages() {
    if [ ! -e web/node_modules/.package-lock.json ] ||
        [ web/package-lock.json -nt web/node_modules/.package-lock.json ]; then
        say "Getting the page's packages (npm ci)"
        (cd web && npm ci --loglevel=error)
    fi
}

# The bridge runs inside sandboxes and images that have no libraries of ours: it is linked
# statically. Without --target the flag would reach build scripts and procedural macros, too.
build_bridge() {
    host=$(host_triple)
    say "Building the bridge (static, $host)"
    RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" \
        cargo build --quiet --locked --release -p shellgate-bridge --bin shellgate-bridge --target "$host"
    static_bridge=target/$host/release/shellgate-bridge
    ldd "$static_bridge" 2>&1 | grep -q 'statically linked' || stop "$static_bridge needs libraries"
}

build_release() {
    need_rust
    need_c_compiler
    build_page
    build_bridge
    say "Building the gateway and the CLI (release; some minutes the first time)"
    cargo build --quiet --locked --release -p shellgate-gateway -p shellgate-client --bins
    # The gateway looks for the bridge beside itself. A new file under the name, because the old one
    # may be running in somebody's sandbox.
    cmp -s "$static_bridge" target/release/shellgate-bridge ||
        cp --remove-destination "$static_bridge" target/release/shellgate-bridge
}

# pack_programs BRIDGE FOLDER INTO: copies for an image, without what only a debugger reads: most of them.
pack_programs() {
    need strip binutils
    rm -rf "$3"
    mkdir -p "$3"
    strip -o "$3/shellgate-bridge" "$1"
    for program in shellgate-gateway shellgate; do strip -o "$3/$program" "$2/$program"; done
}

case $0 in
*build.sh)
    build_release
    [ $# = 0 ] || pack_programs "$static_bridge" target/release "$1"
    say "Built, in target/release. To install it: sudo make install"
    ;;
esac
