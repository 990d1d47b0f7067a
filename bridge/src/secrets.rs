//! The program's secrets as files, each replaced as a whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use shellgate_protocol::link_leg::Secret;

/// The directory that has them.
#[derive(Debug)]
pub struct SecretFiles {
    directory: PathBuf,
    /// Those that are there. What else lies in the directory is somebody else's.
    written: BTreeSet<String>,
}

impl SecretFiles {
    /// Writes into this directory, which is made when there is something to write.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, written: BTreeSet::new() }
    }

    /// As [`SecretFiles::write`], and takes away those that were written before and are not among
    /// them.
    pub fn replace(&mut self, secrets: &[Secret]) -> Vec<String> {
        let mut wrong = self.write(secrets);
        let gone = |name: &String| !secrets.iter().any(|secret| secret.name == *name);
        for name in self.written.extract_if(.., gone) {
            match fs::remove_file(self.directory.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    wrong.push(format!("the secret {name:?} is not taken away: {error}"));
                }
                Ok(()) | Err(_) => {}
            }
        }
        wrong
    }

    /// Writes every one of them; tells what was wrong with those that could not be written. A program
    /// sees the old value or the new one, never half of one.
    pub fn write(&mut self, secrets: &[Secret]) -> Vec<String> {
        if secrets.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.prepare() {
            return vec![format!(
                "no secret can be written to {}: {error}",
                self.directory.display()
            )];
        }
        let mut wrong = Vec::new();
        for secret in secrets {
            match self.write_one(secret) {
                Ok(()) => drop(self.written.insert(secret.name.clone())),
                Err(error) => {
                    wrong.push(format!("the secret {:?} is not written: {error}", secret.name));
                }
            }
        }
        wrong
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))
    }

    fn write_one(&self, secret: &Secret) -> io::Result<()> {
        if !is_file_name(&secret.name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name for a secret"));
        }
        // No secret's name begins with a dot, so this is no secret's file.
        let new = self.directory.join(format!(".{}.new", secret.name));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let written = write_new(&new, &secret.value.0)
            .and_then(|()| fs::rename(&new, self.directory.join(&secret.name)));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o400).custom_flags(libc::O_NOFOLLOW);
    options.open(path)?.write_all(bytes)
}

fn is_file_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::enrolment::Opaque;

    use super::*;

    fn secret(name: &str, value: &str) -> Secret {
        Secret { name: name.into(), value: Opaque(value.into()), env: None }
    }

    #[test]
    fn a_secret_is_a_file_that_only_its_owner_reads_and_a_newer_one_replaces_it() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().join("secrets"));
        assert_eq!(files.write(&[secret("api-key", "old"), secret("b.pem", "x")]), [""; 0]);
        assert_eq!(files.write(&[secret("api-key", "new")]), [""; 0]);
        let path = home.path().join("secrets/api-key");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o400, 0o700));
        assert_eq!(fs::read_dir(home.path().join("secrets")).unwrap().count(), 2);
    }

    #[test]
    fn a_secret_that_is_given_no_more_is_taken_away_and_what_others_put_there_is_not() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().to_owned());
        fs::write(home.path().join("another's"), "x").unwrap();
        assert_eq!(files.replace(&[secret("old", "v"), secret("kept", "v")]), [""; 0]);
        assert_eq!(files.write(&[secret("added", "v")]), [""; 0]);
        assert_eq!(files.replace(&[secret("kept", "w")]), [""; 0]);
        let names = || {
            let entries = fs::read_dir(home.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["another's", "kept"]);
        assert_eq!(files.replace(&[]), [""; 0]);
        assert_eq!(names(), ["another's"]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_written_and_the_others_are() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().join("secrets"));
        for name in ["../x", ".hidden", "", "a/b", "nul\0"] {
            let wrong = files.write(&[secret(name, "v"), secret("good", "v")]);
            assert_eq!(wrong.len(), 1, "{name:?}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(home.path().join("secrets")).unwrap().count(), 1);
    }
}
