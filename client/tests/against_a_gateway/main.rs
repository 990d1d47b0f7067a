//! The client library and the CLI against a scripted gateway.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod attaching;
mod commands;
mod on_a_terminal;
mod scripted;
mod signing_in;
mod trusting;
