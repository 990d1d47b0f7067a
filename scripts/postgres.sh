# Postgres, of which tests start servers of their own: its programs, and no server besides. Sourced after
# setup.sh.

# initdb and postgres are there afterwards, or the script ends and says how to get them.
need_postgres() {
    # Somebody's own, which the tests look for first.
    [ -z "${SHELLGATE_POSTGRES_BIN-}" ] || return 0
    ! have_postgres || return 0
    install_postgres || true
    have_postgres || stop "Postgres is missing. Install it: $(install_command postgresql);" \
        "or name the folder of another one's initdb by SHELLGATE_POSTGRES_BIN"
}

have_postgres() {
    if have initdb && have postgres; then return 0; fi
    for program in /usr/lib/postgresql/*/bin/initdb; do
        [ ! -x "$program" ] || return 0
    done
    return 1
}

# Debian's package makes a server and starts it. Nobody has asked for one: its own switch says so, for
# as long as it is installed.
install_postgres() {
    may_install || return 1
    settings=/etc/postgresql-common/createcluster.d
    ours=$settings/shellgate-tests.conf
    as_root mkdir -p "$settings" || return 1
    echo 'create_main_cluster = false' | as_root tee "$ours" >/dev/null || return 1
    installed=0
    install_packages postgresql || installed=$?
    as_root rm -f "$ours"
    as_root rmdir "$settings" 2>/dev/null || true
    return "$installed"
}
