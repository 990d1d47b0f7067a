//! The sessions that live on this gateway, and how to reach their keepers. Knows no bytes.

use std::sync::Arc;

use dashmap::DashMap;
use futures_channel::mpsc;
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::Phase;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::relay::{Activity, Command};
use crate::session::Record;
use crate::session::keeper::Message;

/// What everybody may see of a session without asking its keeper.
#[derive(Debug, Clone)]
pub struct View {
    /// As it was last stored.
    pub record: Arc<Record>,
    /// What it waits for, while it has no link.
    pub waiting: Option<Waiting>,
    /// Where clients join, while it has a link.
    pub relay: Option<mpsc::Sender<Command>>,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// What.
    pub phase: Phase,
    /// Its place in the start queue, from 1.
    pub position: Option<u32>,
    /// Since when.
    pub since: Instant,
    /// What the phase usually takes, in milliseconds; 0 where nobody knows yet.
    pub expected_ms: u64,
}

/// How to reach a session.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Its keeper's mailbox.
    pub keeper: mpsc::Sender<Message>,
    /// What everybody may see.
    pub view: watch::Receiver<View>,
    /// What its relay shows.
    pub activity: Arc<Activity>,
}

/// The sessions that live on this gateway.
#[derive(Debug, Default)]
pub struct Registry {
    handles: DashMap<SessionId, Handle>,
}

impl Registry {
    /// A session has a keeper now.
    pub fn add(&self, id: SessionId, handle: Handle) {
        self.handles.insert(id, handle);
    }

    /// A session's keeper is gone.
    pub fn remove(&self, id: SessionId) {
        self.handles.remove(&id);
    }

    /// How to reach a session.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Handle> {
        self.handles.get(&id).map(|handle| handle.clone())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<(SessionId, Handle)> {
        self.handles.iter().map(|entry| (*entry.key(), entry.value().clone())).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}
