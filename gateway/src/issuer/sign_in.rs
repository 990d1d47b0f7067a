//! The one-time code that signs in. Knows neither who signs in nor how the code travels.

use std::time::{Duration, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use shellgate_protocol::enrolment::encode;

use crate::auth::AuthError;

/// How long a code holds: the time from a printed line to a click.
pub const LIFETIME: Duration = Duration::from_secs(600);

/// At most one code that may be used, once. `Default` has none.
#[derive(Default)]
pub struct SignIn {
    /// The code's SHA-256 and the end of its time.
    code: Option<([u8; 32], SystemTime)>,
}

impl SignIn {
    /// Makes a new code of 128 random bits; an earlier one is void.
    ///
    /// # Errors
    /// [`AuthError::NoRandomness`].
    pub fn renew(&mut self, now: SystemTime) -> Result<String, AuthError> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthError::NoRandomness)?;
        let text = encode(&bytes);
        self.code = Some((hash(&text), now + LIFETIME));
        Ok(text)
    }

    /// Whether this is the code and its time has not run out. If so it is used up.
    pub fn redeem(&mut self, text: &str, now: SystemTime) -> bool {
        let is_right = self.code.as_ref().is_some_and(|(expected, expires_at)| {
            // Hashes have one length, so the time this takes says nothing.
            verify_slices_are_equal(expected, &hash(text)).is_ok() && now < *expires_at
        });
        if is_right {
            self.code = None;
        }
        is_right
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_code_works_once_and_for_ten_minutes() {
        let mut sign_in = SignIn::default();
        assert!(!sign_in.redeem("", at(0)), "there is no code yet");
        let code = sign_in.renew(at(0)).unwrap();
        assert_eq!(code.len(), 22);
        assert!(!sign_in.redeem(&code[..21], at(1)) && !sign_in.redeem("", at(1)));
        assert!(sign_in.redeem(&code, at(599)), "a wrong guess does not use the code up");
        assert!(!sign_in.redeem(&code, at(599)));
        let code = sign_in.renew(at(0)).unwrap();
        assert!(!sign_in.redeem(&code, at(600)));
    }

    #[test]
    fn a_new_code_makes_the_old_one_void() {
        let mut sign_in = SignIn::default();
        let (old, new) = (sign_in.renew(at(0)).unwrap(), sign_in.renew(at(0)).unwrap());
        assert!(!sign_in.redeem(&old, at(1)));
        assert!(sign_in.redeem(&new, at(1)));
    }
}
