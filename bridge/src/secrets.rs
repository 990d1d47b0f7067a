//! The program's secrets as files, each replaced as a whole or not at all; what was replaced stays
//! beside it for a while. Knows no clock: the time is an argument.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use shellgate_protocol::link_leg::{PREVIOUS_SUFFIX, Secret};

/// The directory that has them.
#[derive(Debug)]
pub struct SecretFiles {
    directory: PathBuf,
    /// Those that are there. What else lies in the directory is somebody else's.
    written: BTreeMap<String, Written>,
}

/// A secret whose file is there.
struct Written {
    /// Not read from the file, which is its program's to change.
    value: Vec<u8>,
    /// When the file of the value before is taken away, in milliseconds of the bridge's clock.
    previous_until: Option<u64>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written")
            .field("previous_until", &self.previous_until)
            .finish_non_exhaustive()
    }
}

impl SecretFiles {
    /// Writes into this directory, which is made when there is something to write.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, written: BTreeMap::new() }
    }

    /// As [`SecretFiles::write`], and takes away those that were written before and are not among
    /// them, with what they replaced.
    pub fn replace(&mut self, secrets: &[Secret], overlap_ms: u64, now: u64) -> Vec<String> {
        let mut wrong = self.write(secrets, overlap_ms, now);
        let is_gone = |name: &String, _: &mut _| !secrets.iter().any(|secret| secret.name == *name);
        let gone: Vec<_> = self.written.extract_if(.., is_gone).collect();
        for (name, written) in gone {
            wrong.extend(self.remove(&name));
            if written.previous_until.is_some() {
                wrong.extend(self.remove(&previous(&name)));
            }
        }
        wrong
    }

    /// Writes every one of them; tells what was wrong with those that could not be written. A program
    /// sees the old value or the new one, never half of one. A value that is replaced by another
    /// stays for `overlap_ms` from `now`, in the place of one that was replaced before it.
    pub fn write(&mut self, secrets: &[Secret], overlap_ms: u64, now: u64) -> Vec<String> {
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
            if let Err(error) = self.write_one(secret, overlap_ms, now) {
                wrong.push(format!("the secret {:?} is not written: {error}", secret.name));
            }
        }
        wrong
    }

    /// When [`SecretFiles::expire`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.written.values().filter_map(|written| written.previous_until).min()
    }

    /// Takes away the replaced values whose time is over; tells what was wrong where that failed.
    pub fn expire(&mut self, now: u64) -> Vec<String> {
        let mut over = Vec::new();
        for (name, written) in &mut self.written {
            if written.previous_until.is_some_and(|at| now >= at) {
                written.previous_until = None;
                over.push(previous(name));
            }
        }
        over.iter().filter_map(|name| self.remove(name)).collect()
    }

    /// What was wrong, where it is still there.
    fn remove(&self, name: &str) -> Option<String> {
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Some(format!("the secret {name:?} is not taken away: {error}"))
            }
            Ok(()) | Err(_) => None,
        }
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))
    }

    fn write_one(&mut self, secret: &Secret, overlap_ms: u64, now: u64) -> io::Result<()> {
        if !is_file_name(&secret.name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name for a secret"));
        }
        let (name, value) = (&secret.name, &secret.value.0);
        let mut kept = Ok(());
        if let Some(before) = self.written.get(name).filter(|before| before.value != *value) {
            // First, so that at no time neither file has it.
            let until = if overlap_ms > 0 {
                kept = self.put(&previous(name), &before.value);
                Some(now.saturating_add(overlap_ms))
            } else {
                // It would be the value before the one before.
                before.previous_until.and(Some(now))
            };
            self.written.entry(name.clone()).and_modify(|written| written.previous_until = until);
        }
        self.put(name, value)?;
        let written = self.written.entry(name.clone());
        written
            .or_insert(Written { value: Vec::new(), previous_until: None })
            .value
            .clone_from(value);
        kept
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        // No secret's name begins with a dot, so this is no secret's file.
        let new = self.directory.join(format!(".{name}.new"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let written =
            write_new(&new, value).and_then(|()| fs::rename(&new, self.directory.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// The file of the value that a secret had before.
fn previous(name: &str) -> String {
    format!("{name}{PREVIOUS_SUFFIX}")
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o400).custom_flags(libc::O_NOFOLLOW);
    options.open(path)?.write_all(bytes)
}

fn is_file_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(PREVIOUS_SUFFIX)
        && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::enrolment::Opaque;

    use super::*;

    fn secret(name: &str, value: &str) -> Secret {
        Secret { name: name.into(), value: Opaque(value.into()), env: None }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_secret_is_a_file_that_only_its_owner_reads_and_a_newer_one_replaces_it() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().join("secrets"));
        let both = [secret("api-key", "old"), secret("b.pem", "x")];
        assert_eq!(files.write(&both, 0, 0), [""; 0]);
        assert_eq!(files.write(&[secret("api-key", "new")], 0, 1), [""; 0]);
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
        assert_eq!(files.replace(&[secret("old", "v"), secret("kept", "v")], 9, 0), [""; 0]);
        assert_eq!(files.write(&[secret("added", "v")], 9, 0), [""; 0]);
        assert_eq!(files.replace(&[secret("kept", "w")], 9, 1), [""; 0]);
        assert_eq!(names(home.path()), ["another's", "kept", "kept.previous"]);
        assert_eq!(files.replace(&[], 9, 2), [""; 0]);
        assert_eq!(names(home.path()), ["another's"]);
        assert_eq!(files.due(), None);
    }

    #[test]
    fn a_replaced_value_stays_for_its_overlap_and_no_longer() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().to_owned());
        let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
        files.write(&[secret("key", "a"), secret("other", "x")], 100, 0);
        assert_eq!((names(home.path()).len(), files.due()), (2, None));
        files.write(&[secret("key", "b")], 100, 10);
        assert_eq!((read("key"), read("key.previous")), ("b".into(), "a".into()));
        // What a new link brings again is no newer version, and makes no time longer.
        files.replace(&[secret("key", "b"), secret("other", "x")], 100, 60);
        assert_eq!((read("key.previous"), files.due()), ("a".into(), Some(110)));
        assert_eq!(files.expire(109), [""; 0]);
        assert_eq!(read("key.previous"), "a");
        assert_eq!(files.expire(110), [""; 0]);
        assert_eq!(names(home.path()), ["key", "other"]);
        assert_eq!((read("key"), files.due()), ("b".into(), None));
    }

    #[test]
    fn of_two_replacements_the_newest_is_the_one_that_counts() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().to_owned());
        let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
        for (value, now) in [("a", 0), ("b", 10), ("c", 20)] {
            assert_eq!(files.write(&[secret("key", value)], 100, now), [""; 0]);
        }
        assert_eq!((read("key"), read("key.previous")), ("c".into(), "b".into()));
        assert_eq!(files.due(), Some(120));
        // An operator who wants no overlap any more gets none, of what is older neither.
        assert_eq!(files.write(&[secret("key", "d")], 0, 30), [""; 0]);
        assert_eq!((files.expire(30), names(home.path())), (vec![], vec!["key".into()]));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_written_and_the_others_are() {
        let home = tempfile::tempdir().unwrap();
        let mut files = SecretFiles::new(home.path().join("secrets"));
        for name in ["../x", ".hidden", "", "a/b", "nul\0", "good.previous"] {
            let wrong = files.write(&[secret(name, "v"), secret("good", "v")], 0, 0);
            assert_eq!(wrong.len(), 1, "{name:?}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(home.path().join("secrets")).unwrap().count(), 1);
    }
}
