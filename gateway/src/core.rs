//! What every part of the gateway shares: the configuration, the store, the providers, who may
//! come in. Knows no sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use shellgate_infra::compute::DialRoute;
use shellgate_infra::compute::any::AnyCompute;
use shellgate_infra::secrets::any::AnySecrets;
use shellgate_infra::volumes::any::AnyVolumes;
use shellgate_protocol::SessionId;
use shellgate_protocol::limits::WINDOW_MAX;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, StartQueue};
use crate::auth::Verifier;
use crate::auth::enrolment::EnrolmentKeys;
use crate::auth::origin::AllowedOrigins;
use crate::authority::Authorities;
use crate::clock;
use crate::config::{Config, DialUrl, VolumeKind};
use crate::http::link::Doors;
use crate::launcher::Timings;
use crate::peers::Peers;
use crate::registry::Registry;
use crate::removal::Removals;
use crate::room::Room;
use crate::store::{Store, StoreError};

/// How the bridges of this gateway's tasks get back to it.
pub enum Way {
    /// Each by a socket of its own.
    Sockets,
    /// All by the tasks' port.
    Network {
        /// Where that is.
        url: DialUrl,
        /// By whom they know it.
        authorities: Arc<Authorities>,
    },
}

/// What every part of the gateway shares.
pub struct Core {
    /// What was configured.
    pub config: Config,
    /// What survives.
    pub store: Arc<Store>,
    /// The gateways that share it.
    pub peers: Arc<Peers>,
    /// Where tasks run.
    pub compute: AnyCompute,
    /// How its tasks' bridges get back.
    pub way: Way,
    /// The sessions whose bridges call over a network.
    pub doors: Doors,
    /// Where users' files are.
    pub volumes: AnyVolumes,
    /// Where users' secrets are.
    pub secrets: AnySecrets,
    /// Who may hold what.
    pub admission: Admission,
    /// Whose start is next.
    pub starts: StartQueue,
    /// Who is calling.
    pub verifier: Verifier,
    /// Which web pages may call.
    pub origins: AllowedOrigins,
    /// What enrolment tokens are made with.
    pub enrolment: EnrolmentKeys,
    /// The sessions that live here.
    pub registry: Registry,
    /// The users who are being removed.
    pub removals: Removals,
    /// How full the users' file systems are.
    pub room: Room,
    /// What the phases of a start usually take.
    pub timings: Timings,
    /// Every task that must end before the gateway does.
    pub tracker: TaskTracker,
    /// Cancelled when the gateway stops.
    pub stopping: CancellationToken,
    /// Whether the sessions stop with it. Set before `stopping` is cancelled.
    pub sessions_stop: AtomicBool,
    /// How many clients have arrived: of two connections of one client the later one counts.
    pub arrivals: AtomicU64,
    /// When it started.
    pub started: Instant,
}

impl Core {
    /// The directory with a session's own dial socket.
    #[must_use]
    pub fn dial_directory(&self, id: SessionId) -> PathBuf {
        dial_root(&self.config.server.state_dir).join(id.to_string())
    }

    /// How a session's bridge is to get back. Over a network it is the same for all sessions, until
    /// the authority changes.
    #[must_use]
    pub fn dial_route(&self, id: SessionId) -> DialRoute {
        match &self.way {
            Way::Sockets => DialRoute::Socket(self.dial_directory(id)),
            Way::Network { url, authorities } => {
                DialRoute::Network { url: url.to_string(), authorities: authorities.pem() }
            }
        }
    }

    /// As whom a user's tasks run: a uid of their own where the gateway may choose, else its own.
    ///
    /// # Errors
    /// Where the range is used up, or the store fails.
    pub async fn uid_of(&self, user_key: &str) -> Result<u32, StoreError> {
        if self.config.volumes.kind == VolumeKind::Efs {
            return self.store.uid(user_key, &self.config.efs.uid_range.get()).await;
        }
        let own = nix::unistd::geteuid();
        if own.is_root() {
            let range = self.config.sandbox.uid_range;
            self.store.uid(user_key, &range.get()).await
        } else {
            Ok(own.as_raw())
        }
    }

    /// The largest output window that a client is granted, in bytes.
    #[must_use]
    pub fn window_max(&self) -> u32 {
        u32::try_from(self.config.limits.window.get()).unwrap_or(WINDOW_MAX)
    }

    /// Whether a gateway that stops stops its sessions, too.
    #[must_use]
    pub fn stops_sessions(&self) -> bool {
        self.sessions_stop.load(Ordering::Acquire)
    }

    /// How long this gateway has run.
    #[must_use]
    pub fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// When a token that expires then, and the grace after it, run out.
    #[must_use]
    pub fn grace_after(&self, expires_at: SystemTime) -> Instant {
        clock::instant_of(clock::millis_of(expires_at)) + self.config.auth.times.grace.get()
    }
}

/// Where the sessions' dial sockets are.
#[must_use]
pub fn dial_root(state_dir: &Path) -> PathBuf {
    state_dir.join("dial")
}
