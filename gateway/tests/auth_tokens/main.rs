//! Tokens against the verifier: good ones of every algorithm, hostile ones of every kind, and key
//! servers that rotate, fail, stall and lie.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as the test does")]

mod development;
mod hostile;
mod key_server;
mod signer;
mod valid;
