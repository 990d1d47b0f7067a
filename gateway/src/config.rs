//! The gateway's configuration: one file and the environment, checked as a whole before anything
//! starts. Knows what may be set, not what is done with it.
//!
//! The environment comes in as an argument: the binary reads it, once. A fault never stops the
//! search for others.

mod auth;
mod cloud;
mod dial_url;
mod fault;
pub(crate) mod file;
mod key;
mod network;
mod reader;
pub mod reference;
mod rules;
mod secret_ref;
mod sections;
mod setting;
mod source;
mod store;
mod template;
mod uids;
mod units;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

pub use auth::{Auth, Issuer, KeySource};
pub use cloud::{Architecture, Aws, Ecs, Efs, SecretKind, VolumeKind};
pub use dial_url::DialUrl;
pub use fault::{Fault, Faults, Origin};
pub use key::{Algorithm, KeyMaterial, StaticKey};
pub use network::{Network, WebOrigin};
pub use secret_ref::SecretRef;
pub use sections::{
    AuthTimes, Development, Limits, Listen, Log, LogFormat, Peers, Sandbox, Secrets, Server,
    TaskCompute, TaskLimits, Tasks, Volumes,
};
pub use source::VARIABLE_PREFIX;
pub use store::{Store, StoreAuth, StoreKind};
#[cfg(test)]
pub(crate) use template::SECRETS_MAX;
pub use template::{DEFAULT_TEMPLATE, SecretUse, Template, Variables};
pub use uids::UidRange;
pub use units::{ByteSize, Cores, Period};

use reader::{Context, Reader};
use source::{Table, Value};

/// Where the state directory is unless it is set.
const STATE_DIR: &str = "./.shellgate";

/// Largest configuration file, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// Everything that can be set. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The gateway as a process.
    pub server: Server,
    /// What it says about itself.
    pub log: Log,
    /// Where it listens.
    pub listen: Listen,
    /// The gateways that share its store.
    pub peers: Peers,
    /// Whom it believes.
    pub auth: Auth,
    /// Its database.
    pub store: Store,
    /// Where its tasks run, and how their bridges get back.
    pub tasks: Tasks,
    /// Its tasks as sandboxes.
    pub sandbox: Sandbox,
    /// Its users' files.
    pub volumes: Volumes,
    /// Its users' secrets.
    pub secrets: Secrets,
    /// Which AWS they are on, where they are.
    pub aws: Aws,
    /// Its tasks, where they are on Amazon ECS.
    pub ecs: Ecs,
    /// Its users' files, where they are on Amazon EFS.
    pub efs: Efs,
    /// How much there may be.
    pub limits: Limits,
    /// What a session can run, by name; [`DEFAULT_TEMPLATE`] is always there.
    pub templates: BTreeMap<String, Template>,
}

impl Config {
    /// Reads the file, if there is one, and lays the environment over it. `executable_dir` is where
    /// the gateway's own program lies: its bridge is looked for there.
    ///
    /// Variables that do not begin with [`VARIABLE_PREFIX`], nor look as if they were meant to, are
    /// none of its business.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<OsString, OsString>,
        executable_dir: &Path,
    ) -> Result<Self, Faults> {
        let (environment, mut faults) = source::readable(environment);
        let text = file.map(|path| (path, text_of(path)));
        let (config, more) = match &text {
            Some((path, Ok(text))) => {
                Self::read_faults(Some((*path, text)), &environment, executable_dir)
            }
            None | Some((_, Err(_))) => Self::read_faults(None, &environment, executable_dir),
        };
        if let Some((path, Err(wrong))) = text {
            let fault = Fault {
                key: String::new(),
                wrong,
                allowed: "a TOML file that the gateway can read".into(),
                origin: Origin::File(path.to_path_buf()),
            };
            // The environment's own faults are worth knowing in the same run.
            let of_variables = |fault: &Fault| matches!(fault.origin, Origin::Variable(_));
            faults.extend(more.into_iter().filter(of_variables));
            return Err(Faults::of(fault, faults));
        }
        faults.extend(more);
        match Faults::among(faults) {
            None => Ok(config),
            Some(faults) => Err(faults),
        }
    }

    /// As [`Config::load`], with the file's text at hand.
    pub fn read(
        file: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
        executable_dir: &Path,
    ) -> Result<Self, Faults> {
        let (config, faults) = Self::read_faults(file, environment, executable_dir);
        match Faults::among(faults) {
            None => Ok(config),
            Some(faults) => Err(faults),
        }
    }

    /// What a gateway on a developer's machine has: everything in one directory, an issuer of its
    /// own, loopback only.
    #[must_use]
    pub fn development(state_dir: &Path, executable_dir: &Path) -> Self {
        let context = Context::new(state_dir.to_path_buf(), executable_dir.to_path_buf());
        let mut config = Self::defaults(&context);
        config.auth.development.enabled = true;
        config
    }

    fn defaults(context: &Context) -> Self {
        let nothing = Table::new();
        let faults = RefCell::new(Vec::new());
        Self::from_tree(&nothing, context, &faults)
    }

    fn read_faults(
        file: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
        executable_dir: &Path,
    ) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut tree = match file {
            Some((path, text)) => source::file(path, text, &mut faults),
            None => Table::new(),
        };
        let unparsed = !faults.is_empty();
        source::environment(environment, &mut tree, &mut faults);
        let faults = RefCell::new(faults);
        let state_dir = std::path::absolute(STATE_DIR).unwrap_or_else(|_| STATE_DIR.into());
        let context = Context::new(state_dir, executable_dir.to_path_buf());
        let config = Self::from_tree(&tree, &context, &faults);
        let mut faults = faults.into_inner();
        // A file that was read in part lacks keys that are in it: no rule can be checked.
        if unparsed {
            faults.retain(|fault| !fault.is_absence());
        } else {
            for rule in rules::broken(&config) {
                let wrong_already =
                    |key: &&str| faults.iter().any(|fault| fault.key.starts_with(*key));
                if rule.others.iter().chain([&rule.key]).any(wrong_already) {
                    continue;
                }
                let others = rule.others.iter().copied();
                let origin = std::iter::once(rule.key)
                    .chain(others)
                    .find_map(|key| origin_of(&tree, key))
                    .unwrap_or(Origin::Default);
                let (key, allowed) = (rule.key.to_owned(), rule.allowed.to_owned());
                faults.push(Fault { key, wrong: rule.wrong, allowed, origin });
            }
        }
        (config, faults)
    }

    fn from_tree(tree: &Table, context: &Context, faults: &RefCell<Vec<Fault>>) -> Self {
        let mut root = Reader::new(tree, faults);
        macro_rules! read {
            ($key:literal, $read:path, $context:expr) => {{
                let mut table = root.table($key);
                let section = $read(&mut table, $context);
                table.finish();
                section
            }};
        }
        let server = read!("server", Server::read, context);
        let context = &Context { state_dir: server.state_dir.clone(), ..context.clone() };
        let sandbox = read!("sandbox", Sandbox::read, context);
        let ecs = read!("ecs", Ecs::read, context);
        let (task, spot) = (sandbox.limits.clone(), ecs.spot);
        let context = &Context { task, spot, ..context.clone() };
        let config = Self {
            log: read!("log", Log::read, context),
            listen: read!("listen", Listen::read, context),
            peers: read!("peers", Peers::read, context),
            auth: read!("auth", auth::read, context),
            store: read!("store", Store::read, context),
            tasks: read!("tasks", Tasks::read, context),
            volumes: read!("volumes", Volumes::read, context),
            secrets: read!("secrets", Secrets::read, context),
            aws: read!("aws", Aws::read, context),
            efs: read!("efs", Efs::read, context),
            limits: read!("limits", Limits::read, context),
            templates: read!("templates", template::read, context),
            server,
            sandbox,
            ecs,
        };
        root.finish();
        config
    }

    /// The template of a session that asks for none.
    #[must_use]
    pub fn default_template(&self) -> &Template {
        &self.templates[DEFAULT_TEMPLATE]
    }

    /// The whole configuration as TOML, as it is in force. Keys, secrets and the values of
    /// programs' variables show as `…`.
    #[must_use]
    pub fn show(&self) -> String {
        let mut out = String::new();
        let mut section = |name: &str, keys: Vec<(&'static str, String)>| {
            let _ = writeln!(out, "[{name}]");
            for (key, value) in keys {
                // What is not set and has no default is not there.
                if !value.is_empty() {
                    let _ = writeln!(out, "{key} = {value}");
                }
            }
            out.push('\n');
        };
        section("server", self.server.show());
        section("log", self.log.show());
        section("listen", self.listen.show());
        section("peers", self.peers.show());
        section("auth", self.auth.show());
        for issuer in &self.auth.issuers {
            section("[auth.issuers]", issuer.show());
        }
        section("auth.development", self.auth.development.show());
        section("store", self.store.show());
        section("tasks", self.tasks.show());
        section("sandbox", self.sandbox.show());
        section("sandbox.limits", self.sandbox.limits.show());
        section("volumes", self.volumes.show());
        section("secrets", self.secrets.show());
        section("aws", self.aws.show());
        section("ecs", self.ecs.show());
        section("efs", self.efs.show());
        section("limits", self.limits.show());
        for (name, template) in &self.templates {
            section(&format!("templates.{name}"), template.show());
            section(&format!("templates.{name}.limits"), template.limits.show());
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

/// What `--check-config` prints: `ok`, or every fault on a line of its own.
#[must_use]
pub fn verdict(loaded: &Result<Config, Faults>) -> String {
    match loaded {
        Ok(_) => "ok".to_owned(),
        Err(faults) => faults.to_string(),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let said = |error: std::io::Error| error.to_string();
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(said)?.is_file() {
        return Err("it is no file".into());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(said)?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(said)?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("it has more than {FILE_MAX} bytes"));
    }
    Ok(text)
}

/// Where a key was written, if it was.
fn origin_of(tree: &Table, key: &str) -> Option<Origin> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let entry = tree.get(first)?;
    match (rest, entry.value.plain()) {
        (None, _) => Some(entry.origin.clone()),
        (Some(rest), Value::Table(table)) => origin_of(table, rest),
        (Some(_), _) => None,
    }
}

/// The origins that a gateway on a developer's machine takes for its own page's, once its client
/// listener has its address.
#[must_use]
pub fn development_origins(bound: std::net::SocketAddr) -> Vec<WebOrigin> {
    let hosts = ["localhost".to_owned(), bound.ip().to_string(), format!("[{}]", bound.ip())];
    let written = hosts.iter().map(|host| format!("http://{host}:{}", bound.port()));
    // Of the two ways to write an address one is an origin.
    written.filter_map(|origin| origin.parse().ok()).collect()
}
