//! Who this bridge is: a key that it made itself and that never leaves it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustix::rand::{GetRandomFlags, getrandom};
use shellgate_protocol::enrolment::{Bytes32, Bytes64, transcript};
use shellgate_protocol::{Dial, Launch, SessionId};

/// The operating system gave no random numbers, or the key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("no key could be made")]
pub struct NoKey;

/// One launch's identity.
pub struct Identity {
    session: SessionId,
    launch: Launch,
    key: Ed25519KeyPair,
}

impl Identity {
    /// A fresh key for this launch.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn generate(session: SessionId, launch: Launch) -> Result<Self, NoKey> {
        // The library's own generator first measures the processor's jitter, for a tenth of a second:
        // more than all the rest of a start takes.
        let key = Ed25519KeyPair::from_seed_unchecked(&nonce()?.0).map_err(|_| NoKey)?;
        Ok(Self { session, launch, key })
    }

    /// Whose task this is.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The how-many-th task of it.
    #[must_use]
    pub fn launch(&self) -> Launch {
        self.launch
    }

    /// The public key.
    ///
    /// # Errors
    /// Never with Ed25519, whose keys have 32 bytes.
    pub fn public(&self) -> Result<Bytes32, NoKey> {
        self.key.public_key().as_ref().try_into().map(Bytes32).map_err(|_| NoKey)
    }

    /// Proves that this bridge has the key, to who sent `theirs` over the channel that has this
    /// `binding`.
    ///
    /// # Errors
    /// Never with Ed25519, whose signatures have 64 bytes.
    pub fn prove(
        &self,
        ours: &Bytes32,
        theirs: &Bytes32,
        dial: Dial,
        binding: Option<&Bytes32>,
    ) -> Result<Bytes64, NoKey> {
        let text = transcript(ours, theirs, self.session, self.launch, dial, binding);
        self.key.sign(&text).as_ref().try_into().map(Bytes64).map_err(|_| NoKey)
    }
}

/// Fresh random bytes.
///
/// # Errors
/// Where the operating system has none.
pub fn nonce() -> Result<Bytes32, NoKey> {
    let mut bytes = [0; 32];
    // The kernel gives up to 256 bytes whole, once it has any at all.
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(32) => Ok(Bytes32(bytes)),
        Ok(_) | Err(_) => Err(NoKey),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_proof_holds_for_its_own_dial_and_channel_and_no_other() {
        let session = SessionId::generate();
        let identity = Identity::generate(session, Launch(2)).unwrap();
        let [ours, theirs] = [nonce().unwrap(), nonce().unwrap()];
        let binding = nonce().unwrap();
        let proof = identity.prove(&ours, &theirs, Dial(3), Some(&binding)).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, identity.public().unwrap().0);
        let text = |dial, binding| transcript(&ours, &theirs, session, Launch(2), dial, binding);
        assert!(key.verify(&text(Dial(3), Some(&binding)), &proof.0).is_ok());
        assert!(key.verify(&text(Dial(4), Some(&binding)), &proof.0).is_err());
        assert!(key.verify(&text(Dial(3), Some(&ours)), &proof.0).is_err());
        assert!(key.verify(&text(Dial(3), None), &proof.0).is_err());
    }
}
