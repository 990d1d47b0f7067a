//! Where Shellgate's tasks run and what they get: compute, volumes, secrets.
//!
//! Knows no sessions, no users' names and no wire: a task has a name, a volume has a key. Each
//! noun is a trait with its contract in words, and has one implementation, on this machine: sandboxes,
//! directories, a file. A suite of its own (`tests/sandbox/conformance.rs`) knows the contracts only,
//! so that another implementation is held to the same.

pub mod compute;
pub mod secrets;
pub mod volumes;
