//! A bridge that calls here, and whose session this gateway does not keep: another one does, or did.
//! Once the bridge has proved who it is, this gateway takes the session over: the newest link says
//! where it is kept.

use std::sync::Arc;

use shellgate_protocol::SessionId;
use shellgate_protocol::enrolment::Bytes32;
use tokio::sync::watch;

use super::Door;
use crate::core::Core;
use crate::peers::call::ask;
use crate::registry::View;
use crate::session::keeper::{Keeper, Mailbox, Turned};
use crate::session::{LinkId, State};
use crate::store::StoreError;

/// Whether somebody may call who says to be this session's bridge.
pub(super) enum Known {
    /// By this door.
    Door(Arc<Door>),
    /// Its session stops, or is about to be somebody's: later.
    Later,
    /// There is no such session, or it is over.
    No,
}

/// Looks for a session that has no keeper here.
pub(super) async fn look(core: &Arc<Core>, id: SessionId) -> Result<Known, StoreError> {
    let Some(kept) = core.store.kept(id).await? else { return Ok(Known::No) };
    match kept.record.life.state {
        State::Starting | State::Live | State::Severed => {}
        State::Stopping => return Ok(Known::Later),
        State::Ended => return Ok(Known::No),
    }
    let view = View { record: Arc::new(kept.record), waiting: None, relay: None };
    let (_, view) = watch::channel(view);
    Ok(Known::Door(Arc::new(Door::new(core.clone(), id, None, view))))
}

impl Door {
    /// Makes the session this gateway's, for a bridge that has proved to hold `key`: its keeper.
    pub(super) async fn take_over(
        &self,
        link: LinkId,
        key: &Bytes32,
        token: bool,
    ) -> Result<Mailbox, Turned> {
        let record = self.view.borrow().record.clone();
        let is_another = record.pinned_key.is_some_and(|pinned| pinned != *key);
        match record.pinned_key {
            None if !token => return Err(Turned::NoToken),
            // One that has the token as well is its keeper's to deal with: the session ends.
            Some(_) if is_another && !token => return Err(Turned::AnotherKey),
            None | Some(_) => {}
        }
        if !is_another && (link.launch != record.life.link.launch || link <= record.life.link) {
            return Err(Turned::Stale);
        }
        let later = |error: StoreError| {
            tracing::warn!(session = %self.id, %error, "it can't be taken over yet");
            Turned::Later
        };
        let before = self.core.store.keeper_of(self.id).await.map_err(later)?;
        let taken = self.core.store.take_by_link(self.id, link, is_another).await;
        let Some(record) = taken.map_err(later)? else { return Err(Turned::Later) };
        tracing::info!(session = %self.id, ?link, from = before, "taken over: its bridge calls here");
        let keeper = Keeper::adopt(&self.core, record).keeper;
        if let Some(before) = before.filter(|before| before != self.core.store.gateway()) {
            // It would find out by itself, with the next that it stores.
            let (core, id) = (self.core.clone(), self.id);
            self.core.tracker.spawn(async move {
                if let Err(error) = ask::<_, ()>(&core, &before, "/peer/taken", &id).await {
                    tracing::debug!(session = %id, %error, "who kept it was not told");
                }
            });
        }
        Ok(keeper)
    }
}
