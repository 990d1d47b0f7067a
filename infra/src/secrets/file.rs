//! Secrets in one TOML file of the gateway's user: `[shared]` for everybody, `[users.KEY]` for one.
//! Knows keys and names, not users.
//!
//! ```toml
//! [shared]
//! REGISTRY_TOKEN = "for everybody"
//! [users.3f2a]
//! API_KEY = "for one"
//! CERTIFICATE = { base64 = "bm90IHRleHQ=" }
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{NAME_MAX, SecretError, SecretValue, Secrets, VALUE_MAX, bounded, is_name};

/// The whole file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Secrets in a file, mode 0600, read again whenever it has changed: the next read sees what was
/// changed. No file: no secrets.
#[derive(Clone)]
pub struct FileSecrets {
    path: PathBuf,
    newest: Arc<Mutex<Option<Known>>>,
}

impl std::fmt::Debug for FileSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSecrets").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the file had in it when it was read.
struct Known {
    edition: Edition,
    contents: Arc<Contents>,
}

/// What tells one edition of the file from the next without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edition {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Default)]
struct Contents {
    shared: BTreeMap<String, Vec<u8>>,
    users: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    shared: BTreeMap<String, Value>,
    #[serde(default)]
    users: BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Encoded(Encoded),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

impl FileSecrets {
    /// The secrets in this file. Reads nothing yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, newest: Arc::default() }
    }

    fn contents(&self) -> Result<Arc<Contents>, SecretError> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = File::options().read(true).custom_flags(flags).open(&self.path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(self.invalid("is a symbolic link: name the file itself"));
            }
            opened => opened.map_err(self.failed("open"))?,
        };
        let edition = self.check(&file)?;
        let mut kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.as_ref().filter(|known| known.edition == edition) {
            return Ok(Arc::clone(&known.contents));
        }
        let mut text = String::new();
        let read = Read::by_ref(&mut file).take(FILE_MAX + 1).read_to_string(&mut text);
        match read {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.invalid("is not UTF-8: write such a value as { base64 = \"…\" }"));
            }
            read => read.map_err(self.failed("read"))?,
        };
        // One that is being written while it is read would be kept half.
        if self.check(&file)? != edition || text.len() as u64 != edition.size {
            return Err(self.invalid("changed while it was read: try again"));
        }
        let contents = Arc::new(Contents::parse(&text).map_err(|fault| self.invalid(&fault))?);
        *kept = Some(Known { edition, contents: Arc::clone(&contents) });
        Ok(contents)
    }

    fn check(&self, file: &File) -> Result<Edition, SecretError> {
        let found = file.metadata().map_err(self.failed("look at"))?;
        if !found.is_file() {
            return Err(self.invalid("is not a file"));
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.invalid("belongs to another user: chown it to the gateway's"));
        }
        if found.mode() & 0o077 != 0 {
            return Err(self.invalid("can be read by others: chmod 600 it"));
        }
        if found.len() > FILE_MAX {
            return Err(self.invalid("is over 1 MiB"));
        }
        Ok(Edition {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn invalid(&self, what: &str) -> SecretError {
        SecretError::Invalid(format!("the secrets file {} {what}", self.path.display()))
    }

    fn failed(&self, what: &str) -> impl FnOnce(io::Error) -> SecretError + use<> {
        let what = format!("{what} the secrets file {}", self.path.display());
        move |source| SecretError::Io { what, source }
    }
}

impl Contents {
    /// The fault, in words that repeat nothing of the text: it may be a value.
    fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
            format!("has a fault near line {line}: [shared] and [users.KEY] with NAME = \"value\"")
        })?;
        let table = |of: &str, table: BTreeMap<String, Value>| {
            table
                .into_iter()
                .map(|(name, value)| {
                    let name = Some(name).filter(|name| is_name(name)).ok_or_else(|| {
                        format!(
                            "has a name in {of} that is not 1 to {NAME_MAX} letters, digits, `_`, \
                             `-`, `.`, or begins with a dot"
                        )
                    })?;
                    let value = value.bytes().map_err(|what| format!("has {of}.{name} {what}"))?;
                    Ok((name, value))
                })
                .collect::<Result<BTreeMap<_, _>, String>>()
        };
        Ok(Self {
            shared: table("shared", document.shared)?,
            users: document
                .users
                .into_iter()
                .map(|(user, secrets)| Ok((user, table("users", secrets)?)))
                .collect::<Result<_, String>>()?,
        })
    }

    fn get(&self, user: &str, name: &str) -> Option<SecretValue> {
        let own = self.users.get(user).and_then(|own| own.get(name));
        let value = own.or_else(|| self.shared.get(name))?;
        Some(SecretValue {
            name: name.to_owned(),
            version: version(name, value),
            value: value.clone(),
        })
    }
}

impl Value {
    fn bytes(self) -> Result<Vec<u8>, &'static str> {
        let bytes = match self {
            Self::Text(text) => text.into_bytes(),
            Self::Encoded(encoded) => {
                STANDARD.decode(encoded.base64).map_err(|_| "that is not standard base64")?
            }
        };
        if bytes.len() > VALUE_MAX { Err("that is over 64 KiB") } else { Ok(bytes) }
    }
}

/// The same value has the same version, on every start and machine. So short that many values
/// have it: it tells editions apart and confirms no guess.
fn version(name: &str, value: &[u8]) -> String {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    digest.update(b"shellgate secret version\0");
    digest.update(name.as_bytes());
    digest.update(b"\0");
    digest.update(value);
    digest.finish().as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Secrets for FileSecrets {
    async fn read(&self, user: &str, names: &[String]) -> Result<Vec<SecretValue>, SecretError> {
        let secrets = self.clone();
        let contents = tokio::task::spawn_blocking(move || secrets.contents()).await;
        let contents =
            contents.unwrap_or_else(|e| Err(self.failed("read")(io::Error::other(e))))?;
        bounded(names.iter().filter_map(|name| contents.get(user, name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TEXT: &str = "[shared]\nA = \"shared a\"\nB = \"shared b\"\n\
        [users.ada]\nA = \"ada's a\"\nC = { base64 = \"AP8=\" }\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.toml");
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (directory, path)
    }

    async fn values(secrets: &FileSecrets, user: &str) -> Vec<(String, Vec<u8>)> {
        let names = ["A", "B", "C", "D"].map(str::to_owned);
        let read = secrets.read(user, &names).await.unwrap();
        read.into_iter().map(|secret| (secret.name, secret.value)).collect()
    }

    #[tokio::test]
    async fn own_secrets_come_before_shared_ones_and_absent_names_are_left_out() {
        let (_directory, path) = file(TEXT);
        let secrets = FileSecrets::new(path);
        let expected = [("A", &b"ada's a"[..]), ("B", b"shared b"), ("C", &[0, 255])];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_vec()));
        assert_eq!(values(&secrets, "ada").await, expected);
        let bobs = values(&secrets, "bob").await;
        assert_eq!(bobs[0], ("A".to_owned(), b"shared a".to_vec()));
        assert_eq!(bobs.len(), 2);
    }

    #[tokio::test]
    async fn a_change_is_seen_by_the_next_read_and_changes_the_version() {
        let (_directory, path) = file(TEXT);
        let secrets = FileSecrets::new(path.clone());
        let names = ["A".to_owned(), "B".to_owned()];
        let before = secrets.read("ada", &names).await.unwrap();
        std::fs::write(&path, TEXT.replace("ada's a", "ada's z")).unwrap();
        let after = secrets.read("ada", &names).await.unwrap();
        assert_eq!(after[0].value, b"ada's z");
        assert_ne!(before[0].version, after[0].version);
        assert_eq!(before[1].version, after[1].version);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secrets.read("ada", &names).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_or_that_is_a_link_is_refused_with_the_remedy() {
        let (directory, path) = file(TEXT);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = FileSecrets::new(path.clone()).read("ada", &[]).await.unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = FileSecrets::new(link).read("ada", &[]).await.unwrap_err();
        assert!(matches!(error, SecretError::Invalid(_)));
    }

    #[tokio::test]
    async fn no_error_shows_a_value() {
        for text in [
            "shared = \"hunter2\"\n",
            "[shared]\nA = \"hunter2\n",
            "[shared]\nA = { base64 = \"hunter2!\" }\n",
            "[shared]\nA = { base32 = \"hunter2\" }\n",
            "[shared]\n\"hunter2 \" = \"x\"\n",
            "[shared]\nA = 5 # hunter2\n",
            "hunter2",
        ] {
            let (_directory, path) = file(text);
            let error = FileSecrets::new(path).read("ada", &[]).await.unwrap_err();
            assert!(matches!(error, SecretError::Invalid(_)), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_or_a_value_that_is_too_large_is_refused() {
        let value = "x".repeat(VALUE_MAX + 1);
        for text in [format!("[shared]\nA = \"{value}\"\n"), "#".repeat(FILE_MAX as usize + 1)] {
            let (_directory, path) = file(&text);
            let error = FileSecrets::new(path).read("ada", &[]).await.unwrap_err();
            assert!(matches!(error, SecretError::Invalid(_)));
        }
    }
}
