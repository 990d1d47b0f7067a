//! A keeper's dealings with its user's secrets: who was told which, and newer versions for a program
//! that runs.

use std::collections::HashMap;

use shellgate_infra::secrets::{SecretError, SecretValue};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Keeper;
use crate::relay::Command;
use crate::session::State;
use crate::welcome::{Version, secrets, secrets_of};

/// What a session's bridge was told of its user's secrets.
#[derive(Default)]
pub(super) struct Told {
    versions: HashMap<String, String>,
    /// When they are looked at again; `None` before the first link.
    next: Option<Instant>,
}

impl Keeper {
    /// A bridge was told these: an event of the audit, which has the names and never a value.
    pub(super) async fn told_secrets(&mut self, read: Vec<Version>) {
        // Also where there are none yet: they may be made while the session runs.
        self.told.next = Some(Instant::now() + self.core.config.secrets.max_age.get());
        if read.is_empty() {
            return;
        }
        let words: Vec<_> = read.iter().map(|of| format!("{}@{}", of.name, of.version)).collect();
        let owner = self.record.owner.clone();
        self.note(Some(&owner), "secrets.read", words.join(" ")).await;
        self.told.versions.extend(read.into_iter().map(|of| (of.name, of.version)));
    }

    /// Reads them again beside the keeper, where it is time for that: their provider may be slow.
    pub(super) fn look_at_secrets(&mut self) {
        let is_due = self.told.next.is_some_and(|at| at <= Instant::now());
        if !is_due || self.reading.is_some() || self.record.life.state != State::Live {
            return;
        }
        let Some(template) = self.core.config.templates.get(&self.record.detail.template).cloned()
        else {
            return;
        };
        self.told.next = Some(Instant::now() + self.core.config.secrets.max_age.get());
        let (core, record) = (self.core.clone(), self.record.clone());
        let reading = async move { secrets_of(&core, &record, &template).await };
        self.reading = Some(AbortOnDropHandle::new(self.core.tracker.spawn(reading)));
    }

    /// Hands over those that have another version than the bridge was told.
    pub(super) async fn secrets_read(&mut self, read: Result<Vec<SecretValue>, SecretError>) {
        let mut values = match read {
            Ok(values) => values,
            Err(error) => {
                tracing::warn!(session = %self.record.id, %error, "its secrets were not read again");
                return;
            }
        };
        values.retain(|value| self.told.versions.get(&value.name) != Some(&value.version));
        let template = self.core.config.templates.get(&self.record.detail.template);
        let (Some(template), Some(line)) = (template, &mut self.relay) else { return };
        if values.is_empty() {
            return;
        }
        let read = values.iter().map(Version::from).collect();
        // A relay that is too busy for it is told with the next look.
        let overlap = self.core.config.secrets.overlap.get();
        let newer = Command::Secrets { secrets: secrets(template, values), overlap };
        if line.commands.try_send(newer).is_ok() {
            self.told_secrets(read).await;
        }
    }
}
