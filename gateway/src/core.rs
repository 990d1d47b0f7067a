//! What every part of the gateway shares: the configuration, the store, the providers, who may
//! come in. Knows no sockets.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use shellgate_infra::compute::sandbox::Sandbox;
use shellgate_infra::secrets::file::FileSecrets;
use shellgate_infra::secrets::{SecretValue, Secrets};
use shellgate_infra::volumes::directory::DirectoryVolumes;
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::Mode;
use shellgate_protocol::enrolment::Opaque;
use shellgate_protocol::limits::WINDOW_MAX;
use shellgate_protocol::link_leg::{Program, Secret, ToBridge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, StartQueue};
use crate::auth::Verifier;
use crate::auth::enrolment::EnrolmentKey;
use crate::auth::origin::AllowedOrigins;
use crate::clock;
use crate::config::Config;
use crate::launcher::Timings;
use crate::registry::Registry;
use crate::session::Record;
use crate::store::{Sqlite, StoreError};

/// What a person at a terminal is told before the first prompt, whatever the template says besides.
const NO_NETWORK: &str =
    "No network here: nothing outside can be reached, so nothing can be sent away.";

/// What every part of the gateway shares.
pub struct Core {
    /// What was configured.
    pub config: Config,
    /// What survives.
    pub store: Sqlite,
    /// Where tasks run.
    pub compute: Sandbox,
    /// Where users' files are.
    pub volumes: DirectoryVolumes,
    /// Where users' secrets are.
    pub secrets: FileSecrets,
    /// Who may hold what.
    pub admission: Admission,
    /// Whose start is next.
    pub starts: StartQueue,
    /// Who is calling.
    pub verifier: Verifier,
    /// Which web pages may call.
    pub origins: AllowedOrigins,
    /// What enrolment tokens are made with.
    pub enrolment: EnrolmentKey,
    /// The sessions that live here.
    pub registry: Registry,
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

/// Why a bridge can't be welcomed.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    /// The template is gone from the configuration.
    #[error("there is no template {0:?} any more")]
    NoTemplate(String),
    /// The secrets can't be read.
    #[error("the user's secrets: {0}")]
    Secrets(#[from] shellgate_infra::secrets::SecretError),
}

impl Core {
    /// The directory with a session's own dial socket.
    #[must_use]
    pub fn dial_directory(&self, id: SessionId) -> PathBuf {
        dial_root(&self.config.server.state_dir).join(id.to_string())
    }

    /// As whom a user's tasks run: a uid of their own where the gateway may choose, else its own.
    ///
    /// # Errors
    /// Where the range is used up, or the store fails.
    pub async fn uid_of(&self, user_key: &str) -> Result<u32, StoreError> {
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

    /// What a bridge is told once it has enrolled: the same for each link of a launch, but for
    /// secrets that have changed.
    ///
    /// # Errors
    /// [`WelcomeError`]; the bridge will call again.
    pub async fn welcome(&self, record: &Record) -> Result<ToBridge, WelcomeError> {
        let orphan_seconds = self.config.limits.orphan.get().as_secs();
        let name = &record.detail.template;
        // Its program runs already: what is wrong with its template or its secrets ends no session.
        let runs = record.pinned_key.is_some();
        let Some(template) = self.config.templates.get(name) else {
            if !runs {
                return Err(WelcomeError::NoTemplate(name.clone()));
            }
            tracing::warn!(session = %record.id, template = %name, "its template is gone");
            let program = Program {
                command: Vec::new(),
                mode: record.detail.mode,
                env: Vec::new(),
                cwd: None,
                size: record.detail.size,
                motd: None,
            };
            let (secrets, can) = (None, Vec::new());
            return Ok(ToBridge::Welcome { program, secrets, orphan_seconds, can });
        };
        let names: Vec<String> = template.secrets.iter().map(|used| used.name.clone()).collect();
        let values = match names.is_empty() {
            // A fault in the others' secrets is no fault of this session.
            true => Ok(Vec::new()),
            false => self.secrets.read(&record.owner.key(), &names).await,
        };
        let env_of = |name: &str| {
            template.secrets.iter().find(|used| used.name == name).and_then(|used| used.env.clone())
        };
        let shown = |value: SecretValue| Secret {
            env: env_of(&value.name),
            name: value.name,
            value: Opaque(value.value),
        };
        let secrets = match values {
            Ok(values) => Some(values.into_iter().map(shown).collect()),
            Err(error) if runs => {
                tracing::warn!(session = %record.id, %error, "it keeps the secrets that it has");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let motd = match template.mode {
            Mode::Terminal => Some(greeting(template.motd.as_deref())),
            // A line program's first line is its own.
            Mode::Lines => None,
        };
        let program = Program {
            command: template.command.clone(),
            mode: template.mode,
            env: template.env.0.clone().into_iter().collect(),
            cwd: template.cwd.clone(),
            size: record.detail.size,
            motd,
        };
        Ok(ToBridge::Welcome { program, secrets, orphan_seconds, can: Vec::new() })
    }

    /// When a token that expires then, and the grace after it, run out.
    #[must_use]
    pub fn grace_after(&self, expires_at: SystemTime) -> Instant {
        clock::instant_of(clock::millis_of(expires_at)) + self.config.auth.times.grace.get()
    }
}

/// What stands before the first prompt, with a terminal's line ends.
fn greeting(motd: Option<&str>) -> String {
    let lines = motd.into_iter().flat_map(str::lines).chain([NO_NETWORK]);
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Where the sessions' dial sockets are.
#[must_use]
pub fn dial_root(state_dir: &Path) -> PathBuf {
    state_dir.join("dial")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_s_own_words_do_not_hide_that_there_is_no_network() {
        assert_eq!(greeting(None), NO_NETWORK);
        assert_eq!(
            greeting(Some("Welcome.\nBe kind.\n")),
            format!("Welcome.\r\nBe kind.\r\n{NO_NETWORK}")
        );
    }
}
