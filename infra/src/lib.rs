//! Where Shellgate's tasks run and what they get: compute, volumes, secrets.
//!
//! Knows no sessions, no users' names and no wire: a task has a name, a volume has a key. Each
//! noun is a trait with its contract in words, and has an implementation on this machine (sandboxes,
//! directories, a file) and one on AWS. A crate of its own (`infra/conformance`) knows the contracts
//! only, and holds every implementation to the same.

pub mod aws;
pub mod compute;
pub mod secrets;
pub mod volumes;

#[cfg(feature = "aws")]
mod slots;
