//! Makes an authority, for an operator to put where all gateways can read it. Knows no gateway.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use super::{SKEW, pem};
use crate::clock;

/// How long an authority is good for. It is replaced in good time by another, never renewed.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why no authority was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A file is there already, or can't be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The key or the certificate.
    #[error("it could not be made: {0}")]
    Unmade(#[from] rcgen::Error),
}

/// Makes an authority, and writes its certificate and its key (PEM) to files of mode 0600 that are
/// not there yet.
///
/// # Errors
/// [`MakeError`]; no file is left then that was made here.
pub fn make(certificate: &Path, key: &Path, now: SystemTime) -> Result<(), MakeError> {
    let (made, private) = made(now)?;
    let mut certificate_file = new_file(certificate)?;
    let written = new_file(key).and_then(|mut key_file| {
        let both = write(&mut certificate_file, certificate, &made)
            .and_then(|()| write(&mut key_file, key, &private));
        if both.is_err() {
            let _ = std::fs::remove_file(key);
        }
        both
    });
    if written.is_err() {
        let _ = std::fs::remove_file(certificate);
    }
    written
}

/// A certificate and its key, both PEM.
pub(super) fn made(now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Two that are in use at once can be told apart.
    let name = format!("Shellgate tasks, since {}", clock::rfc3339(clock::millis_of(now)));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - SKEW).into();
    params.not_after = (now + LIFETIME).into();
    // It signs gateways, and no other authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key)?;
    let private = pem::of("PRIVATE KEY", &key.serialize_der());
    Ok((pem::of("CERTIFICATE", certificate.der()), private))
}

fn new_file(path: &Path) -> Result<File, MakeError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|source| MakeError::File { path: path.to_path_buf(), source })
}

fn write(file: &mut File, path: &Path, text: &str) -> Result<(), MakeError> {
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| MakeError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::authority::Authority;

    #[test]
    fn what_is_made_can_be_used_is_private_and_replaces_nothing() {
        let place = tempfile::tempdir().unwrap();
        let [certificate, key] = ["ca.pem", "ca.key"].map(|name| place.path().join(name));
        let now = SystemTime::now();
        make(&certificate, &key, now).unwrap();
        let texts = [&certificate, &key].map(|path| std::fs::read_to_string(path).unwrap());
        Authority::read(&texts[0], &texts[1], now).unwrap();
        for path in [&certificate, &key] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        // Neither of the two is touched where the other can't be made.
        let other = place.path().join("other");
        for (first, second) in [(&certificate, &other), (&other, &key)] {
            let refused = make(first, second, now).unwrap_err();
            assert!(refused.to_string().contains("exists"), "{refused}");
            assert!(!other.exists());
        }
        let again = [&certificate, &key].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(again, texts);
    }
}
