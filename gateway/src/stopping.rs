//! A wish that a session stop, brought to its keeper, whichever gateway has it. Knows no request.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::EndReason;
use tokio::time::{sleep, timeout};

use crate::auth::UserId;
use crate::core::Core;
use crate::peers::call::ask;

/// How long the keeper is looked for: one that is being made, or that a session gets whose gateway is
/// gone, is there in a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(100);

/// The wish, as one gateway tells another.
#[derive(Debug, Serialize, Deserialize)]
pub struct StopHere {
    /// Which session.
    pub session: SessionId,
    /// Who wants it.
    pub by: UserId,
}

/// Wishes a session stopped; whether its keeper heard that, and stored what comes of it.
pub async fn stop(core: &Core, session: SessionId, by: &UserId) -> bool {
    let wish = StopHere { session, by: by.clone() };
    let heard = async {
        while !here(core, &wish).await && !there(core, &wish).await {
            sleep(AGAIN).await;
        }
    };
    timeout(PATIENCE, heard).await.is_ok()
}

/// The same, where its keeper is here.
pub async fn here(core: &Core, wish: &StopHere) -> bool {
    match core.registry.get(wish.session) {
        Some(handle) => {
            handle.stop(EndReason::Stopped, Some(wish.by.clone())).await.unwrap_or(false)
        }
        None => false,
    }
}

async fn there(core: &Core, wish: &StopHere) -> bool {
    if !core.peers.has_others() {
        return false;
    }
    let Ok(Some(gateway)) = core.store.keeper_of(wish.session).await else { return false };
    if gateway == core.store.gateway() {
        return false;
    }
    ask(core, &gateway, "/peer/stop", wish).await.unwrap_or_else(|error| {
        tracing::debug!(session = %wish.session, gateway, %error, "it was not told to stop it");
        false
    })
}
