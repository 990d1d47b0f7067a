//! Shellgate's client: talks to a gateway over its public API, and keeps an attachment to a session
//! alive across broken connections without losing or repeating a byte.
//!
//! In the order in which a program uses them: an [`Endpoint`], a [`TokenSource`], the REST calls of
//! [`Api`], and [`attach()`] with its [`Input`] and [`Events`].

pub mod endpoint;
pub mod token;
mod trust;

pub mod api;
pub mod problem;
pub mod removal;
pub mod session;
pub mod sse;

pub mod attach;

pub use api::Api;
pub use attach::{AttachOptions, Event, Events, Input, attach};
pub use endpoint::Endpoint;
pub use token::TokenSource;
