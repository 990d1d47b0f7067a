# What a machine needs, checked and, where this user may, installed. Sourced by the other scripts;
# knows Debian's package names, and nothing of what the packages are used for.

set -eu

# Rust's installer puts cargo here; a shell that was open before has not heard of it.
if ! command -v cargo >/dev/null 2>&1 && [ -x "${HOME:-/nonexistent}/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
    export PATH
fi

# Whatever this user has configured, what is built stands in target/, where the scripts look.
CARGO_TARGET_DIR=$PWD/target
export CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET

# Cargo and npm are asked for plain lines: logs are read later, by people and by grep.
export CARGO_TERM_PROGRESS_WHEN=never
export NPM_CONFIG_FUND=false NPM_CONFIG_AUDIT=false NPM_CONFIG_UPDATE_NOTIFIER=false

say() {
    printf '==> %s\n' "$*"
}

# Says what is wrong and how to mend it, and ends the script. 69 is "a service is unavailable".
stop() {
    printf 'error: %s\n' "$*" >&2
    exit 69
}

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    have apt-get || return 1
    [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# The command that a person types to get these Debian packages.
install_command() {
    command="apt-get install --no-install-recommends $*"
    if [ "$(id -u)" = 0 ]; then
        echo "$command"
    elif have sudo; then
        echo "sudo $command"
    else
        # As a plain Debian has it.
        echo "su -c '$command'"
    fi
}

# Package lists are fetched at most once a run.
lists_are_fresh=no

# Installs Debian packages. Fails, without ending the script, where that is not possible.
install_packages() {
    may_install || return 1
    say "Installing $* (apt-get)"
    if [ "$lists_are_fresh" = no ]; then
        as_root apt-get -q update </dev/null >/dev/null || return 1
        lists_are_fresh=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" \
        </dev/null >/dev/null
}

# need PROGRAM PACKAGES…: there is such a program afterwards, or the script ends and says how to get it.
need() {
    program=$1
    shift
    have "$program" || install_packages "$@" || true
    have "$program" || stop "$program is missing. Install it: $(install_command "$@")"
}

# want PROGRAM PACKAGES…: likewise, but says no by its status only.
want() {
    program=$1
    shift
    have "$program" || install_packages "$@" || true
    have "$program"
}

need_rust() {
    have cargo || stop "Rust is missing. Install it: https://rustup.rs"
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    oldest=$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)
    [ "$oldest" = "$wanted" ] || stop "Rust $found is too old: $wanted is needed. Get it: rustup update"
}

# aws-lc and SQLite are C that cargo compiles.
need_c_compiler() {
    have cc || install_packages gcc libc6-dev || true
    have cc || stop "A C compiler is missing. Install it: $(install_command gcc libc6-dev)"
}

need_bubblewrap() {
    need bwrap bubblewrap
}

# The file behind an address of a package registry.
download() {
    if have curl; then
        curl --silent --show-error --fail --location --retry 3 --max-time 600 --output "$2" "$1"
    else
        wget --quiet --tries=3 --timeout=60 --output-document="$2" "$1"
    fi
}

host_triple() {
    rustc --print host-tuple 2>/dev/null || rustc -vV | sed -n 's/^host: //p'
}
