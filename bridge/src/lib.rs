//! The small program inside a Shellgate task: it owns the terminal, its output and its input.
//!
//! In the order in which a task's life meets them:

pub mod config;
pub mod confine;

pub mod backoff;
pub mod cable;
pub mod descriptor;
pub mod dial;
pub mod dialler;
pub mod identity;
pub mod link;
pub mod trust;

pub mod dismissal;
pub mod processes;
pub mod secrets;
pub mod shell;
pub mod stderr;

pub mod history;
pub mod output;
pub mod ring;
pub mod screen;
pub mod sizes;
pub mod spill;

pub mod board;
pub mod channel;
pub mod input;
pub mod logbook;
pub mod start;

pub mod bridge;
pub mod ending;

pub mod emptying;
