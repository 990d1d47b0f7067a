//! Homes on EFS, against an AWS of each test's own: that there is one for a key whatever happens, and
//! what an operator is told where there is none.

// The SDK's futures lie many layers deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod contract;
mod place;
mod refusals;
mod several;
