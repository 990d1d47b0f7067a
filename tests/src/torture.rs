//! The torture: one session whose output and input are known to the byte, while client, link and
//! gateway break at random again and again. Knows the world's parts by what breaks them.
//!
//! In the order in which things happen: a `plan` from a seed, the `machine` in the session with its
//! `record`s, `client`s that follow each other and what they have `seen`, `observer`s that come and
//! go, `doings`, `breaks`, the `run` that leads them, and its `tally`.

pub mod breaks;
pub mod checker;
pub mod client;
pub mod dice;
pub mod doings;
pub mod machine;
pub mod observer;
pub mod plan;
pub mod record;
pub mod run;
pub mod seen;
pub mod tally;

pub use plan::Plan;
pub use run::run;
