//! The bridge's identity, the gateway's side: deriving and checking enrolment tokens, checking
//! proofs. Knows no store: burning the token and pinning the key is the store's one row write.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use shellgate_infra::compute::EnrolmentToken;
use shellgate_protocol::enrolment::{Bytes32, Bytes64, decode, encode, token_message};
use shellgate_protocol::id::{Launch, SessionId};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::refused::AuthError;
use crate::config::SecretRef;
use crate::kept::{Kept, KeptError};

/// Length of the gateway's enrolment key, in bytes.
pub const KEY_LENGTH: usize = 32;

/// Length of an enrolment token as text: 32 bytes in base64url.
const TOKEN_TEXT: usize = 43;

/// The gateway's key for enrolment tokens. Its `Debug` shows nothing of it.
///
/// Who has it can introduce a bridge as any task that has not enrolled yet: it is kept like a
/// password, and its loss ends with a new one.
pub struct EnrolmentKey(hmac::Key);

impl PartialEq for EnrolmentKey {
    /// Compares what they sign, as nobody sees the keys themselves.
    fn eq(&self, other: &Self) -> bool {
        let tag = |key: &Self| hmac::sign(&key.0, b"which key");
        tag(self).as_ref() == tag(other).as_ref()
    }
}

impl fmt::Debug for EnrolmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentKey(…)")
    }
}

/// Why there is no such key. Holds none of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It can't be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// It is no key.
    #[error("it is not 32 bytes in unpadded base64url")]
    Form,
}

impl EnrolmentKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; KEY_LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key that is kept there, as unpadded base64url.
    ///
    /// # Errors
    /// Where it can't be read, or is not 32 bytes.
    pub async fn read(kept: &Kept, from: &SecretRef) -> Result<Self, KeyError> {
        let text = kept.read(from, true).await?;
        let bytes = decode(text.trim()).and_then(|bytes| bytes.try_into().ok());
        let bytes: [u8; KEY_LENGTH] = bytes.ok_or(KeyError::Form)?;
        Ok(Self::new(&bytes))
    }

    /// Bytes for a new key, to be kept in a file of mode 0600.
    ///
    /// # Errors
    /// [`AuthError::NoRandomness`].
    pub fn generate() -> Result<[u8; KEY_LENGTH], AuthError> {
        random()
    }

    /// The token of one launch of a session: always the same, so that a repeated request for a task
    /// is byte-identical.
    #[must_use]
    pub fn token(&self, session: SessionId, launch: Launch) -> EnrolmentToken {
        let tag = hmac::sign(&self.0, &token_message(session, launch));
        EnrolmentToken(encode(tag.as_ref()))
    }

    /// Holds a presented token against that of a session's launch, in constant time.
    ///
    /// # Errors
    /// [`AuthError::Enrolment`].
    pub fn verify(
        &self,
        session: SessionId,
        launch: Launch,
        presented: &str,
    ) -> Result<(), AuthError> {
        // The length is no secret, and a token has one spelling.
        let tag = Some(presented).filter(|text| text.len() == TOKEN_TEXT).and_then(decode);
        hmac::verify(&self.0, &token_message(session, launch), &tag.ok_or(AuthError::Enrolment)?)
            .map_err(|_| AuthError::Enrolment)
    }
}

/// The key as it is kept now, and the one before: a task that was started with it may still call.
pub struct EnrolmentKeys {
    /// Where it is kept, if not in this gateway's own directory.
    kept: Option<(Kept, SecretRef)>,
    keys: watch::Sender<Keys>,
    /// When it was last read again for a token that no key fits.
    asked: Mutex<Option<Instant>>,
}

/// How often it is read again for such tokens, at the most.
const ASK_AGAIN: Duration = Duration::from_secs(5);

struct Keys {
    now: EnrolmentKey,
    before: Option<EnrolmentKey>,
}

impl EnrolmentKeys {
    /// One that stays as it is.
    #[must_use]
    pub fn fixed(key: EnrolmentKey) -> Self {
        let keys = watch::Sender::new(Keys { now: key, before: None });
        Self { kept: None, keys, asked: Mutex::default() }
    }

    /// The one that is kept there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load(kept: Kept, from: SecretRef) -> Result<Self, KeyError> {
        let now = EnrolmentKey::read(&kept, &from).await?;
        Ok(Self { kept: Some((kept, from)), ..Self::fixed(now) })
    }

    /// Reads it again. Where that fails all stays as it is.
    pub async fn look(&self) {
        let Some((kept, from)) = &self.kept else { return };
        match EnrolmentKey::read(kept, from).await {
            Ok(newer) => {
                self.keys.send_if_modified(|keys| {
                    let changed = newer != keys.now;
                    if changed {
                        tracing::info!("the enrolment key has changed");
                        keys.before = Some(std::mem::replace(&mut keys.now, newer));
                    }
                    changed
                });
            }
            Err(error) => tracing::warn!(%error, "the enrolment key stays as it was"),
        }
    }

    /// Holds a presented token against that of a session's launch, and reads the key again where it
    /// fits none: another gateway may have read it before this one.
    ///
    /// # Errors
    /// [`AuthError::Enrolment`].
    pub async fn verify_newest(
        &self,
        session: SessionId,
        launch: Launch,
        presented: &str,
    ) -> Result<(), AuthError> {
        let verified = self.verify(session, launch, presented);
        if verified.is_ok() || self.kept.is_none() {
            return verified;
        }
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            self.look().await;
            *asked = Some(Instant::now());
        }
        self.verify(session, launch, presented)
    }

    /// The token of one launch of a session, by the key as it is now.
    #[must_use]
    pub fn token(&self, session: SessionId, launch: Launch) -> EnrolmentToken {
        self.keys.borrow().now.token(session, launch)
    }

    /// Holds a presented token against that of a session's launch.
    ///
    /// # Errors
    /// [`AuthError::Enrolment`].
    pub fn verify(
        &self,
        session: SessionId,
        launch: Launch,
        presented: &str,
    ) -> Result<(), AuthError> {
        let keys = self.keys.borrow();
        keys.now.verify(session, launch, presented).or_else(|refused| match &keys.before {
            Some(before) => before.verify(session, launch, presented),
            None => Err(refused),
        })
    }
}

/// Checks a bridge's signature over a link's transcript
/// ([`shellgate_protocol::enrolment::transcript`]).
///
/// # Errors
/// [`AuthError::Proof`].
pub fn verify_proof(
    key: &Bytes32,
    transcript: &[u8],
    signature: &Bytes64,
) -> Result<(), AuthError> {
    UnparsedPublicKey::new(&ED25519, &key.0)
        .verify(transcript, &signature.0)
        .map_err(|_| AuthError::Proof)
}

/// A nonce for a challenge.
///
/// # Errors
/// [`AuthError::NoRandomness`].
pub fn fresh_nonce() -> Result<Bytes32, AuthError> {
    random().map(Bytes32)
}

fn random() -> Result<[u8; 32], AuthError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use shellgate_protocol::enrolment::transcript;
    use shellgate_protocol::id::Dial;

    use super::*;

    #[test]
    fn a_token_holds_for_its_launch_alone_and_is_always_the_same() {
        let key = EnrolmentKey::new(&EnrolmentKey::generate().unwrap());
        let (session, other) = (SessionId::generate(), SessionId::generate());
        let token = key.token(session, Launch(1));
        assert_eq!(token, key.token(session, Launch(1)));
        assert_eq!(token.0.len(), TOKEN_TEXT);
        assert_eq!(key.verify(session, Launch(1), &token.0), Ok(()));
        let refused = Err(AuthError::Enrolment);
        assert_eq!(key.verify(session, Launch(2), &token.0), refused);
        assert_eq!(key.verify(other, Launch(1), &token.0), refused);
        let stranger = EnrolmentKey::new(&[7; 32]);
        assert_eq!(stranger.verify(session, Launch(1), &token.0), refused);
        // The last character has two spare bits: a twin that decodes alike would be another text.
        let twin = char::from(token.0.as_bytes()[42] + 1);
        for wrong in [
            "",
            &token.0[..42],
            &format!("{}=", token.0),
            &format!(" {}", token.0),
            &format!("{}{twin}", &token.0[..42]),
        ] {
            assert_eq!(key.verify(session, Launch(1), wrong), refused, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_key_that_is_replaced_holds_for_those_who_were_started_with_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        let keep = |byte: u8| {
            crate::state_dir::write_private(&path, encode(&[byte; 32]).as_bytes()).unwrap();
        };
        keep(1);
        let from = SecretRef::File(path.clone());
        let keys = EnrolmentKeys::load(Kept::in_files(), from).await.unwrap();
        let session = SessionId::generate();
        let first = keys.token(session, Launch(1));
        keep(2);
        keys.look().await;
        keys.look().await;
        let second = keys.token(session, Launch(1));
        assert_ne!(first, second);
        for token in [&first, &second] {
            assert_eq!(keys.verify(session, Launch(1), &token.0), Ok(()));
        }
        std::fs::write(&path, "no key").unwrap();
        keys.look().await;
        assert_eq!(keys.token(session, Launch(1)), second, "it stays as it was");
        keep(3);
        keys.look().await;
        assert_eq!(keys.verify(session, Launch(1), &first.0), Err(AuthError::Enrolment));
    }

    #[test]
    fn a_proof_holds_for_its_transcript_and_key_alone() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = Bytes32(pair.public_key().as_ref().try_into().unwrap());
        let (ours, theirs) = (fresh_nonce().unwrap(), fresh_nonce().unwrap());
        assert_ne!(ours, theirs);
        let session = SessionId::generate();
        let said = transcript(&theirs, &ours, session, Launch(1), Dial(1), None);
        let signature = Bytes64(pair.sign(&said).as_ref().try_into().unwrap());
        assert_eq!(verify_proof(&key, &said, &signature), Ok(()));
        let replayed = transcript(&theirs, &ours, session, Launch(1), Dial(2), None);
        assert_eq!(verify_proof(&key, &replayed, &signature), Err(AuthError::Proof));
        let another = Ed25519KeyPair::generate().unwrap();
        let another = Bytes32(another.public_key().as_ref().try_into().unwrap());
        assert_eq!(verify_proof(&another, &said, &signature), Err(AuthError::Proof));
        assert_eq!(verify_proof(&Bytes32([0xff; 32]), &said, &signature), Err(AuthError::Proof));
        assert_eq!(verify_proof(&key, &said, &Bytes64([0; 64])), Err(AuthError::Proof));
    }

    #[test]
    fn a_key_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", EnrolmentKey::new(&[7; 32])), "EnrolmentKey(…)");
    }
}
