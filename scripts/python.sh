# Python for checks and for what stands in for others in tests: each set of packages in an environment of its own
# in .tools, which needs no rights. Sourced after setup.sh.

python_oldest=3.11

need_python() {
    need python3 python3 python3-venv
    python3 -c "import sys; sys.exit(sys.version_info < (${python_oldest%.*}, ${python_oldest#*.}))" ||
        stop "Python $(python3 -c 'import platform; print(platform.python_version())') is too old: $python_oldest is needed. Install it: https://www.python.org"
    # Debian ships what makes an environment by itself.
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || true
    python3 -c 'import ensurepip' 2>/dev/null || stop "python3-venv is missing. Install it: $(install_command python3-venv)"
}

# python_environment NAME REQUIREMENTS: .tools/NAME has exactly these packages, checked by their hashes.
python_environment() {
    have_now=.tools/$1/requirements.txt
    cmp -s "$2" "$have_now" && "$PWD/.tools/$1/bin/python" -c '' 2>/dev/null && return 0
    need_python
    say "Getting Python packages into .tools/$1 ($2; some minutes, once)"
    rm -rf ".tools/$1"
    mkdir -p .tools
    python3 -m venv ".tools/$1"
    ".tools/$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$2"
    # Last, so that a broken attempt is not taken for one that is complete.
    cp "$2" "$have_now"
}
