//! What a bridge is told once it has enrolled: its program and its user's secrets. Knows no link.

use shellgate_infra::secrets::{SecretError, SecretValue, Secrets};
use shellgate_protocol::client_leg::Mode;
use shellgate_protocol::enrolment::Opaque;
use shellgate_protocol::link_leg::{Program, Secret, ToBridge};

use crate::config::Template;
use crate::core::{Core, Way};
use crate::session::Record;

/// What a person at a terminal of a sandbox is told before the first prompt, whatever the template
/// says besides.
const NO_NETWORK: &str =
    "No network here: nothing outside can be reached, so nothing can be sent away.";

/// The same, where the operator's own network is around the task.
const SOME_NETWORK: &str = "What can be reached from here is what its operator lets through.";

/// Why a bridge can't be welcomed.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    /// The template is gone from the configuration.
    #[error("there is no template {0:?} any more")]
    NoTemplate(String),
    /// The secrets can't be read.
    #[error("the user's secrets: {0}")]
    Secrets(#[from] SecretError),
}

/// A welcome, and what was read for it.
#[derive(Debug)]
pub struct Welcome {
    /// What to say.
    pub message: ToBridge,
    /// The secrets in it; `None` where it leaves them as they were.
    pub read: Option<Vec<Version>>,
}

/// That a secret was read, and which version of it. Never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The secret's name.
    pub name: String,
    /// What its provider calls the version.
    pub version: String,
}

impl From<&SecretValue> for Version {
    fn from(value: &SecretValue) -> Self {
        Self { name: value.name.clone(), version: value.version.clone() }
    }
}

/// What a bridge is told once it has enrolled: the same for each link of a launch, but for secrets
/// that have changed.
///
/// # Errors
/// [`WelcomeError`]; the bridge will call again.
pub async fn welcome(core: &Core, record: &Record) -> Result<Welcome, WelcomeError> {
    let orphan_seconds = core.config.limits.orphan.get().as_secs();
    let overlap_ms = core.config.secrets.overlap.get().as_millis() as u64;
    let name = &record.detail.template;
    // Its program may run already: what is wrong with its template or its secrets ends no session.
    // A key that is pinned is not enough: who was let in may not have heard the welcome.
    let runs = record.detail.live_ms.is_some();
    let Some(template) = core.config.templates.get(name) else {
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
        let message = ToBridge::Welcome { program, secrets, overlap_ms, orphan_seconds, can };
        return Ok(Welcome { message, read: None });
    };
    let values = match secrets_of(core, record, template).await {
        Ok(values) => Some(values),
        Err(error) if runs => {
            tracing::warn!(session = %record.id, %error, "it keeps the secrets that it has");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let read = values.as_ref().map(|values| values.iter().map(Version::from).collect());
    let secrets = values.map(|values| secrets(template, values));
    let motd = match template.mode {
        Mode::Terminal => {
            let network = match core.way {
                Way::Sockets => NO_NETWORK,
                Way::Network { .. } => SOME_NETWORK,
            };
            Some(greeting(template.motd.as_deref(), network))
        }
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
    let can = Vec::new();
    let message = ToBridge::Welcome { program, secrets, overlap_ms, orphan_seconds, can };
    Ok(Welcome { message, read })
}

/// The secrets that a session's template asks for, as they are now.
///
/// # Errors
/// Where they can't be read.
pub async fn secrets_of(
    core: &Core,
    record: &Record,
    template: &Template,
) -> Result<Vec<SecretValue>, SecretError> {
    let names: Vec<String> = template.secrets.iter().map(|used| used.name.clone()).collect();
    if names.is_empty() {
        // A fault in the others' secrets is no fault of this session.
        return Ok(Vec::new());
    }
    core.secrets.read(&record.owner.key(), &names).await
}

/// The same, as they cross the link.
#[must_use]
pub fn secrets(template: &Template, values: Vec<SecretValue>) -> Vec<Secret> {
    let env_of = |name: &str| {
        template.secrets.iter().find(|used| used.name == name).and_then(|used| used.env.clone())
    };
    let shown = |value: SecretValue| Secret {
        env: env_of(&value.name),
        name: value.name,
        value: Opaque(value.value),
    };
    values.into_iter().map(shown).collect()
}

/// What stands before the first prompt, with a terminal's line ends.
fn greeting(motd: Option<&str>, network: &str) -> String {
    let lines = motd.into_iter().flat_map(str::lines).chain([network]);
    lines.collect::<Vec<_>>().join("\r\n")
}

#[cfg(test)]
mod tests {
    use shellgate_infra::secrets::TOGETHER_MAX;
    use shellgate_protocol::limits::CONTROL_LARGE_MAX;

    use super::*;
    use crate::config::SECRETS_MAX;

    #[test]
    fn the_most_that_one_read_gives_fits_into_one_message_beside_the_largest_program() {
        let secret = |_| Secret {
            name: "n".repeat(64),
            value: Opaque(vec![0xff; TOGETHER_MAX / SECRETS_MAX]),
            env: Some("E".repeat(128)),
        };
        let secrets = (0..SECRETS_MAX).map(secret).collect();
        let message = ToBridge::Secrets { secrets, overlap_ms: u64::MAX };
        let length = serde_json::to_string(&message).unwrap().len();
        assert!(length <= CONTROL_LARGE_MAX - 65 * 1024, "{length}");
    }

    #[test]
    fn a_template_s_own_words_do_not_hide_that_there_is_no_network() {
        assert_eq!(greeting(None, NO_NETWORK), NO_NETWORK);
        assert_eq!(
            greeting(Some("Welcome.\nBe kind.\n"), NO_NETWORK),
            format!("Welcome.\r\nBe kind.\r\n{NO_NETWORK}")
        );
    }
}
