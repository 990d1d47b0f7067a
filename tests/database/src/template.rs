//! The directory of a server that was just made: once for all tests, then copied. Knows no process
//! that serves.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;

use crate::programs::Programs;
use crate::{NAME, PASSWORD, SUPERUSER};

/// The authority that the server's certificate is signed by.
pub(crate) const AUTHORITY: &str = "authority.pem";

/// Changed whenever something below makes it another one.
const VERSION: u32 = 2;

/// Who is let in, by what: both users by a password over TCP, where TLS or not.
const LET_IN: &str =
    "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";

/// Nothing that a test makes has to survive the machine, which it shares with others; what was committed
/// survives the server.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
listen_addresses = '127.0.0.1'
max_wal_senders = 0
wal_level = minimal
autovacuum = off
ssl = on
log_connections = on
log_line_prefix = '%m %a '
";

/// Copies it into a place, as `data`. Beside the test programs there is one for later.
pub(crate) fn copy_to(programs: &Programs, place: &Path) {
    let kept = kept();
    // Of several tests at one time one makes it, and the others wait for it. Who may not write there
    // makes one of its own.
    let lock = kept.as_ref().and_then(|kept| {
        let lock = fs::File::create(kept.with_extension("lock")).ok()?;
        lock.lock().ok()?;
        Some(lock)
    });
    match (&kept, &lock) {
        (Some(kept), _) if kept.is_dir() && fs::read_dir(kept).is_ok() => {}
        (Some(kept), Some(_)) => {
            let unfinished = kept.with_extension("unfinished");
            let _ = fs::remove_dir_all(&unfinished);
            make(programs, place);
            copy(&place.join("data"), &unfinished);
            fs::rename(&unfinished, kept).expect("it is ours");
            Programs::give(place);
            return;
        }
        _ => return make(programs, place),
    }
    drop(lock);
    let kept = kept.expect("it was looked at");
    copy(&kept, &place.join("data"));
    // No two servers are believed for one another.
    certificate(&place.join("data"));
    Programs::give(place);
}

/// Where it is kept: beside the test programs.
fn kept() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let folder = test.ancestors().find(|folder| folder.join("deps").is_dir())?;
    Some(folder.join(format!("postgres-of-tests-{VERSION}")))
}

fn copy(from: &Path, to: &Path) {
    let mut copying = Command::new("cp");
    copying.args(["-r", "--reflink=auto", "--"]).arg(from).arg(to).stdin(Stdio::null());
    assert!(copying.status().expect("cp runs").success(), "{} is copied", from.display());
}

/// Makes `data` in a place: a server's directory, with its users and their database.
fn make(programs: &Programs, place: &Path) {
    let data = place.join("data");
    fs::create_dir(&data).expect("a folder");
    let password = place.join("password");
    fs::write(&password, PASSWORD).expect("written");
    Programs::give(place);
    let mut initdb = programs.command("initdb");
    Programs::as_ordinary(&mut initdb);
    initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password).current_dir(place);
    initdb.args(["--no-sync", "--username", SUPERUSER, "--auth", "scram-sha-256"]);
    initdb.args(["--encoding", "UTF8", "--no-locale", "--wal-segsize", "1"]);
    let done = initdb.output().expect("initdb runs");
    assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
    fs::write(data.join("pg_hba.conf"), LET_IN).expect("written");
    let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
    let settings = settings.as_mut().expect("initdb made it");
    settings.write_all(SETTINGS.as_bytes()).expect("written");
    certificate(&data);
    Programs::give(place);
    for (database, said) in [
        ("postgres", format!("CREATE ROLE {NAME} LOGIN PASSWORD '{PASSWORD}'")),
        ("postgres", format!("CREATE DATABASE {NAME} OWNER {NAME}")),
    ] {
        let mut alone = programs.command("postgres");
        Programs::as_ordinary(&mut alone);
        alone.args(["--single", "-D"]).arg(&data).arg(database).current_dir(place);
        alone.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut alone = alone.spawn().expect("postgres runs");
        let input = alone.stdin.take().expect("a pipe");
        writeln!(&input, "{said};").expect("it reads");
        drop(input);
        let done = alone.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !words.contains("ERROR"), "{said}: {words}");
    }
}

/// A certificate for `localhost`, and the authority that has signed it.
fn certificate(data: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let key = || KeyPair::generate().expect("randomness");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an authority of tests");
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("signed");
    let own = key();
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let server = server.signed_by(&own, &authority).expect("signed");
    for (name, text) in [
        (AUTHORITY, pem("CERTIFICATE", authority.der())),
        ("server.crt", pem("CERTIFICATE", server.der())),
        ("server.key", pem("PRIVATE KEY", &own.serialize_der())),
    ] {
        fs::write(data.join(name), text).expect("written");
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
    let lines = lines.map(|line| format!("{line}\n")).collect::<String>();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}
