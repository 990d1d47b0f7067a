//! How full the users' file systems are, looked at now and then: for the metrics. That one is nearly
//! full its provider says in the log. Knows no user.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shellgate_infra::volumes::{Usage, VolumeError};
use tokio::time::{sleep, timeout};

use crate::core::Core;

/// Between two looks. A file system fills by a user at a time.
const ROUND: Duration = Duration::from_secs(3600);

/// After one that failed.
const AGAIN: Duration = Duration::from_secs(300);

/// How long a look may take: ten calls for each file system.
const LOOK: Duration = Duration::from_secs(120);

/// How full the users' file systems were at the last look.
#[derive(Debug, Default)]
pub struct Room(Mutex<Vec<Usage>>);

impl Room {
    /// Of each file system; none where users' files are on this machine, or nobody has looked yet.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks now and then, until the gateway stops.
pub async fn watch(core: Arc<Core>) {
    loop {
        let looked: Option<Result<_, VolumeError>> = tokio::select! {
            looked = timeout(LOOK, core.volumes.usage()) => looked.ok(),
            () = core.stopping.cancelled() => return,
        };
        let pause = match looked {
            Some(Ok(usage)) => {
                *core.room.0.lock().unwrap_or_else(PoisonError::into_inner) = usage;
                ROUND
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "it is not known how full the users' file systems are");
                AGAIN
            }
            None => {
                tracing::warn!("EFS does not say in time how full the users' file systems are");
                AGAIN
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = core.stopping.cancelled() => return,
        }
    }
}
