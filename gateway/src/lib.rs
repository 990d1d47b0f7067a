//! Shellgate's gateway: checks the user, starts the task, relays bytes.
//!
//! In the order in which a request flows through them:

pub mod config;
pub mod issuers;
pub mod kept;
pub mod state_dir;
pub mod telemetry;

pub mod gateway;
pub mod providers;

pub mod authority;
pub mod http;
pub mod transport;
pub mod websocket;

pub mod auth;
pub mod issuer;

pub mod admission;

pub mod core;
pub mod peers;
pub mod registry;

pub mod idle;
pub mod launcher;
pub mod session;
pub mod welcome;

pub mod relay;

pub mod reaper;
pub mod removal;
pub mod room;
pub mod stopping;

pub mod audit;
pub mod clock;
pub mod refusal;
pub mod store;
