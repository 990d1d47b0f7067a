//! The relay over real sockets: a scripted bridge on one side, scripted clients on the other.

mod clocks;
mod drivers;
mod hostile;
mod plain;
mod scene;
mod streams;
