//! The sessions that live on this gateway, and how to reach their keepers. Knows no bytes.

use std::sync::Arc;
use std::time::Duration;

use dashmap::{DashMap, Entry};
use futures_channel::mpsc;
use futures_util::SinkExt;
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::{EndReason, Phase};
use tokio::sync::{oneshot, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use crate::auth::UserId;
use crate::relay::{Activity, Command};
use crate::session::Record;
use crate::session::keeper::{Mailbox, Message};

/// How long a session's keeper may take to hear a wish to stop and to store what comes of it.
const ACCEPT_STOP: Duration = Duration::from_secs(5);

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
    pub keeper: Mailbox,
    /// What everybody may see.
    pub view: watch::Receiver<View>,
    /// What its relay shows.
    pub activity: Arc<Activity>,
}

impl Handle {
    /// Wishes the session stopped. Whether its keeper heard it: one that is gone does not take it, and
    /// one that goes drops what it has not heard.
    ///
    /// # Errors
    /// Where the keeper takes too long.
    pub async fn stop(&self, reason: EndReason, actor: Option<UserId>) -> Result<bool, Elapsed> {
        let (seen, is_seen) = oneshot::channel();
        let message = Message::Stop { reason, actor, seen };
        let heard = async {
            let _ = self.keeper.clone().send(message).await;
            is_seen.await.is_ok()
        };
        timeout(ACCEPT_STOP, heard).await
    }
}

/// The sessions that live on this gateway.
#[derive(Debug, Default)]
pub struct Registry {
    handles: DashMap<SessionId, Handle>,
}

impl Registry {
    /// A session has a keeper now, unless it had one: that one is returned.
    pub fn add(&self, id: SessionId, handle: &Handle) -> Option<Handle> {
        match self.handles.entry(id) {
            Entry::Occupied(other) => Some(other.get().clone()),
            Entry::Vacant(place) => {
                place.insert(handle.clone());
                None
            }
        }
    }

    /// A session's keeper is gone: the one that shows this view.
    pub fn remove(&self, id: SessionId, view: &watch::Sender<View>) {
        self.handles.remove_if(&id, |_, handle| handle.view.same_channel(&view.subscribe()));
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
