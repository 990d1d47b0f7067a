//! What the load generator and its yardstick share: a program on a terminal. Knows no gateway.

pub mod pty;
