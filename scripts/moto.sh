# moto, which stands in for AWS in tests: of the version and the sums that the tests pin, in a Python
# environment of its own in .tools, which needs no rights. Sourced after setup.sh.

moto_requirements=tests/cloud/requirements.txt

# There is a moto for the tests afterwards, or the script ends and says how to get it.
need_moto() {
    # Somebody's own, which the tests look for first.
    [ -z "${SHELLGATE_MOTO_PYTHON-}" ] || return 0
    [ ! -x .tools/moto/bin/python ] || ! cmp -s "$moto_requirements" .tools/moto/made-of || return 0
    need python3 python3
    # Debian's Python comes without what makes an environment.
    have_venv || install_packages python3-venv || true
    have_venv || stop "Python's venv is missing. Install it: $(install_command python3-venv)"
    say "Getting moto into .tools (PyPI, 25 MB, once)"
    rm -rf .tools/moto
    mkdir -p .tools
    python3 -m venv .tools/moto
    # Compiled when it is imported: most of it never is.
    .tools/moto/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile \
        --only-binary :all: --require-hashes --requirement "$moto_requirements" &&
        .tools/moto/bin/python -Es tests/cloud/moto/main.py </dev/null >/dev/null ||
        stop "The tests of what runs on AWS need moto, and it could not be had from PyPI." \
            "A Python of yours that has what $moto_requirements names can be named by SHELLGATE_MOTO_PYTHON"
    # Last, so that what was broken off is made anew.
    cp "$moto_requirements" .tools/moto/made-of
}

have_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}
