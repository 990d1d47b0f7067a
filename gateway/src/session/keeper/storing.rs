//! A keeper's dealings with the store: what becomes of its session, and whose that is. Knows no step.

use super::{Keeper, STORE_RETRY};
use crate::audit;
use crate::auth::UserId;

impl Keeper {
    /// Stores the record, however long the store takes: what is not stored is not acted on. `false`
    /// where it was not, because another gateway keeps the session, or may.
    pub(super) async fn save(&mut self) -> bool {
        loop {
            match self.core.store.save(&self.record).await {
                Ok(true) => break,
                Ok(false) => {
                    self.is_taken = true;
                    return false;
                }
                Err(error) => {
                    tracing::error!(session = %self.record.id, %error, "a session was not stored");
                    if !error.is_retryable() || self.core.stopping.is_cancelled() {
                        // Where others may have it meanwhile, they go on with what is stored.
                        if self.core.store.is_shared() {
                            return false;
                        }
                        break;
                    }
                }
            }
            tokio::time::sleep(STORE_RETRY).await;
        }
        let record = self.record.clone();
        self.view.send_modify(|view| view.record = record);
        true
    }

    /// Finds out whether another gateway keeps the session. Where the store can't be asked, whoever
    /// said so could: it is believed.
    pub(super) async fn look_whose_it_is(&mut self) {
        self.is_taken = match self.core.store.keeper_of(self.record.id).await {
            Ok(keeper) => keeper.as_deref() != Some(self.core.store.gateway()),
            Err(_) => true,
        };
    }

    pub(super) async fn note(
        &mut self,
        actor: Option<&UserId>,
        action: &'static str,
        detail: String,
    ) {
        audit::record(&self.core.store, Some(self.record.id), actor, action, detail).await;
    }
}
