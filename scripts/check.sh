# `make check`: formatting, lints, documentation, dependency rules, page, and then `make test`.
# With arguments: only the named steps of its own. Every step runs; the first failure decides the status.

. scripts/suite.sh
. scripts/build.sh

# One version, so that its rules and its advisory folder's name are the ones deny.toml was written for.
cargo_deny_version=0.20.2

# A component of the toolchain that a minimal installation leaves out.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return 0
    if have rustup; then
        say "Installing $2 (rustup)"
        rustup component add "$2" || true
    fi
    cargo "$1" --version >/dev/null 2>&1 || stop "cargo $1 is missing. Install it: rustup component add $2"
}

formatting() {
    need_component fmt rustfmt
    cargo fmt --all --check
    cargo fmt --all --check --manifest-path fuzz/Cargo.toml
}

lints() {
    need_component clippy clippy
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
}

documentation() {
    RUSTDOCFLAGS="${RUSTDOCFLAGS-} -D warnings" cargo doc --quiet --locked --workspace --no-deps
}

# From wherever it is installed, else built into .tools, which git ignores and `make clean` removes.
find_cargo_deny() {
    for deny in cargo-deny .tools/bin/cargo-deny; do
        if [ "$("$deny" --version 2>/dev/null)" = "cargo-deny $cargo_deny_version" ]; then
            return 0
        fi
    done
    say "Building cargo-deny $cargo_deny_version into .tools (some minutes, once)"
    cargo install --quiet --locked --root .tools --target-dir .tools/build cargo-deny --version "$cargo_deny_version"
    rm -rf .tools/build
    deny=.tools/bin/cargo-deny
}

# The folder's name is cargo-deny's: the database's name and a hash of its address.
advisories_in=.tools/advisory-dbs/advisory-db-3157b0e258782691

# Puts the database that ADVISORY_DB names where cargo-deny looks: a git folder. It may be one
# already, or a folder or an archive of the database's files.
place_advisories() {
    rm -rf "$advisories_in"
    mkdir -p "$advisories_in"
    archive=$ADVISORY_DB
    [ -f "$archive" ] || archive=$(find "$ADVISORY_DB" -maxdepth 1 -name '*.tar*' | sort | tail -n 1)
    if [ -n "$archive" ]; then
        case $archive in *.xz) need xz xz-utils ;; esac
        tar -xf "$archive" -C "$advisories_in"
    else
        cp -R "$ADVISORY_DB/." "$advisories_in"
    fi
    if [ ! -d "$advisories_in/.git" ]; then
        git -C "$advisories_in" init --quiet
        git -C "$advisories_in" add --all --force
        git -C "$advisories_in" -c user.name=check -c user.email=check@invalid -c commit.gpgsign=false \
            commit --quiet --message "RustSec advisories as found"
    fi
    : >"$advisories_in/.git/FETCH_HEAD"
}

fetch_advisories() {
    # One that was placed there from elsewhere has no address to be fetched from.
    git -C "$advisories_in" remote get-url origin >/dev/null 2>&1 || rm -rf "$advisories_in"
    timeout 120 "$deny" --locked fetch db
}

dependencies() {
    find_cargo_deny
    "$deny" --locked check bans licenses sources
    if [ -n "${ADVISORY_DB-}" ]; then
        say "Advisories as of $ADVISORY_DB"
        place_advisories
        "$deny" --locked --offline check advisories
    elif fetch_advisories; then
        "$deny" --locked --offline check advisories
    else
        say "Skipping the advisories: their database cannot be fetched, and ADVISORY_DB names none"
    fi
}

page() {
    want_node || skip "$no_node"
    install_page_packages
    (cd web && npm run --silent check)
}

need_rust
need_c_compiler
if [ $# -gt 0 ]; then
    for step in "$@"; do suite "$step"; done
    finish
fi
for step in formatting lints documentation dependencies page; do suite "$step"; done
. scripts/test.sh
