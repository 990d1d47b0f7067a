//! Stories: the real gateway, the real bridge in a real sandbox, the real client library, told with
//! the product's verbs. Each module is told twice: as whoever runs the tests, and, where that is
//! root, once more as an ordinary user.

mod admitting;
mod documenting;
mod driving;
mod ending;
mod enrolling;
mod entering;
mod filling;
mod forwarding;
mod isolating;
mod lines;
mod misbehaving;
mod pasting;
mod restarting;
mod returning;
mod storing;
