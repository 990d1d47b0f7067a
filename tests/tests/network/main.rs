//! Tasks that dial over a network: a real bridge and the gateway's own parts, with TLS between them.
//! There is no sandbox here, which has no network: a task is a process that waits, and its bridge
//! runs beside it. What a provider knows of its tasks is not told here.

mod knocking;
mod linking;
mod rotating;
