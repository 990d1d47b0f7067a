//! Tasks on ECS, against an AWS of the test's own: what ECS is asked, each way in which it says no, and
//! what becomes of tasks.

// The SDK's futures lie many layers deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod contract;
mod definitions;
mod emptying;
mod life;
mod place;
mod refusals;
mod request;
mod storm;
