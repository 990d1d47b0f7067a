//! How a keeper lets go of its session: the gateway leaves and the session stays, or it is over.

use futures_util::SinkExt;
use shellgate_infra::compute::Compute;
use shellgate_protocol::CloseCode;

use super::{Keeper, RETRY};
use crate::relay::Command;
use crate::session::ending::farewell_of;
use crate::{clock, launcher};

impl Keeper {
    /// The gateway leaves and the session stays: both legs are told when to come back.
    pub(super) async fn leave(mut self) {
        let retry = clock::chance(RETRY);
        if let Some(mut line) = self.relay.take() {
            let _ = line.commands.send(Command::Goaway(retry)).await;
            let reason = "the gateway is going away".to_owned();
            let _ = line.commands.send(Command::Finish(CloseCode::Restart, reason)).await;
            let _ = (&mut line.task).await;
            self.hear_rest(&mut line).await;
        }
        self.listener = None;
        self.core.registry.remove(self.record.id, &self.view);
        // Else the next gateway here has it.
        if self.core.store.is_shared()
            && let Err(error) = self.core.store.let_go(self.record.id).await
        {
            tracing::warn!(session = %self.record.id, %error, "others have it once this gateway is gone");
        }
    }

    /// Another gateway keeps the session: this one lets go, and touches nothing of it.
    pub(super) async fn give_way(mut self) {
        tracing::info!(session = %self.record.id, "another gateway keeps it");
        if let Some(line) = self.relay.take() {
            self.replace(line).await;
        }
        self.listener = None;
        self.core.registry.remove(self.record.id, &self.view);
    }

    /// It is over: the clients learn it, and what the task had is given back.
    pub(super) fn bury(mut self) {
        let (code, reason) = farewell_of(&self.record);
        if let Some(mut line) = self.relay.take() {
            let finish = Command::Finish(code, reason);
            self.core.tracker.spawn(async move {
                let _ = line.commands.send(finish).await;
                let _ = line.task.await;
            });
        }
        self.view.send_modify(|view| {
            view.relay = None;
            view.waiting = None;
        });
        self.listener = None;
        self.core.registry.remove(self.record.id, &self.view);
        let (core, id) = (self.core.clone(), self.record.id);
        let name = launcher::task_name(self.record.id, self.record.life.link.launch);
        self.core.tracker.spawn(async move {
            if let Some(name) = name
                && let Err(error) = core.compute.forget(&name).await
            {
                tracing::warn!(%error, task = %name, "a task was not forgotten");
            }
            if let Err(error) = tokio::fs::remove_dir_all(core.dial_directory(id)).await {
                tracing::debug!(%error, session = %id, "no dial directory to remove");
            }
        });
    }
}
