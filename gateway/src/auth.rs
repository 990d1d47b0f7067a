//! Who is calling: tokens, tickets, origins and the bridge's identity. Knows no sessions beyond
//! their ids, no store and no HTTP status: it says yes with an [`Identity`], or no with an
//! [`AuthError`].
//!
//! In the order in which a credential meets them:

pub mod bearer;
pub mod origin;

pub mod jwt;
pub mod strict_json;

pub mod jwks;
pub mod key;
pub mod key_cache;
pub mod key_set;
pub mod verifier;

pub mod identity;
pub mod refused;

pub mod ticket;

pub mod enrolment;

pub use bearer::bearer;
pub use identity::{Identity, Scopes, UserId};
pub use key::Algorithm;
pub use refused::{AuthError, Fault};
pub use verifier::{IssuerConfig, KeySource, Verifier, VerifierConfig};
