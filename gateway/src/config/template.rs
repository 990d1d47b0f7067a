//! Templates: what a session can run. Knows no session.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use shellgate_protocol::client_leg::Mode;
use shellgate_protocol::link_leg::PREVIOUS_SUFFIX;

use super::reader::{Context, Reader, section};
use super::sections::TaskLimits;
use super::setting::{Setting, quoted, text};
use super::source::{Entry, Value};
use super::units::Period;

/// The template of a session that asks for none. Always there.
pub const DEFAULT_TEMPLATE: &str = "default";

/// Bytes that a program, its arguments and its environment may have together. They travel in one
/// control message of at most 256 KiB, whose larger part is for secrets.
const PROGRAM_MAX: usize = 64 * 1024;

section! {
    |context|
    /// What a session can run. `templates.default` is always there, and every key of it may be left out.
    pub struct Template {
        /// The program and its arguments. Found on the sandbox's `PATH`.
        command: Vec<String> = vec!["bash".into(), "-l".into()];
        /// `terminal`: on a terminal of its own. `lines`: on stdin and stdout, by lines of UTF-8.
        mode: Mode = Mode::Terminal;
        /// Variables of its environment. Not for secrets: these are shown to nobody else, but stand in
        /// this file.
        env: Variables = Variables::default();
        /// Where it starts. The home directory unless set.
        cwd: Option<String> = None;
        /// Secrets that it gets as files, by name; with `env`, as that variable too.
        secrets: Vec<SecretUse> = Vec::new();
        /// How long nobody may work in it before it is stopped. An open tab is not work.
        idle: Period = Period::mins(30), in Period::secs(1)..=Period::hours(720);
        /// How long it lives, unless somebody extends it.
        lifetime: Period = Period::hours(12), in Period::secs(2)..=Period::hours(8760);
        /// How long it may live with extensions, whatever happens in it. Twice its lifetime unless set.
        lifetime_limit: Option<Period> = None;
        /// Whether its tasks run on Spot capacity, where they run on ECS. As `ecs.spot` says unless set.
        spot: bool = context.spot;
        /// Lines for the person at the terminal before the first prompt, besides the one that says what
        /// network there is.
        motd: Option<String> = None;
    }
    tables {
        /// What its task may use.
        limits: TaskLimits;
    }
}

impl Template {
    /// How long a session may live with extensions.
    #[must_use]
    pub fn longest_life(&self) -> Duration {
        self.lifetime_limit.map_or(self.lifetime.get() * 2, Period::get)
    }
}

/// A program's variables. `Debug` shows their names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables(pub BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A secret that a template asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Its name, which is the name of its file too.
    pub name: String,
    /// The variable that has it as well.
    pub env: Option<String>,
}

/// Secrets that one template may ask for: so many fit into one control message, as long as they may
/// be together.
pub(crate) const SECRETS_MAX: usize = 64;

/// Whether a text can be the name of a variable.
fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= 128
}

/// Whether a text can be the name of a secret.
fn is_secret_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(PREVIOUS_SUFFIX)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Whether a text can be the name of a template.
fn is_template_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.as_bytes()[0].is_ascii_lowercase()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// Whether the bridge sets a variable itself.
fn is_reserved(variable: &str) -> bool {
    variable == "TERM" || variable.starts_with("SHELLGATE_")
}

impl Setting for Variables {
    fn allowed() -> String {
        "a table of texts; names of letters, digits and _, but not TERM or SHELLGATE_…".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let Value::Table(table) = entry.value.plain() else {
            return Err(format!("it is {}", entry.value.kind()));
        };
        let mut variables = BTreeMap::new();
        for (name, value) in table {
            if !is_variable_name(name) || is_reserved(name) {
                return Err(format!("{name:?} can't be set here"));
            }
            let value = String::read(value).map_err(|wrong| format!("{name}: {wrong}"))?;
            variables.insert(name.clone(), value);
        }
        Ok(Self(variables))
    }

    fn show(&self) -> String {
        let shown: Vec<_> = self.0.keys().map(|name| format!("{name} = \"…\"")).collect();
        if shown.is_empty() { "{}".into() } else { format!("{{ {} }}", shown.join(", ")) }
    }
}

impl Setting for SecretUse {
    fn allowed() -> String {
        "a secret's name (1 to 64 letters, digits, _, - and ., not beginning with a dot \
         nor ending with .previous), or { name = \"…\", env = \"VARIABLE\" }"
            .into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let asked = match entry.value.plain() {
            Value::Table(table) => {
                if let Some(key) = table.keys().find(|key| !matches!(key.as_str(), "name" | "env"))
                {
                    return Err(format!("there is no such key as {key:?} in it"));
                }
                let name = table.get("name").ok_or("it has no name")?;
                let env = table.get("env").map(text).transpose()?;
                Self { name: text(name)?.to_owned(), env: env.map(str::to_owned) }
            }
            _ => Self { name: text(entry)?.to_owned(), env: None },
        };
        if !is_secret_name(&asked.name) {
            return Err(format!("{:?} is no secret's name", asked.name));
        }
        match &asked.env {
            Some(env) if !is_variable_name(env) || is_reserved(env) => {
                Err(format!("{env:?} can't be set"))
            }
            Some(_) | None => Ok(asked),
        }
    }

    fn show(&self) -> String {
        match &self.env {
            None => quoted(&self.name),
            Some(env) => format!("{{ name = {}, env = {} }}", quoted(&self.name), quoted(env)),
        }
    }
}

impl Setting for Mode {
    fn allowed() -> String {
        "\"terminal\", \"lines\"".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        match text(entry)? {
            "terminal" => Ok(Self::Terminal),
            "lines" => Ok(Self::Lines),
            other => Err(format!("{other:?} is neither")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Terminal => "\"terminal\"".into(),
            Self::Lines => "\"lines\"".into(),
        }
    }
}

/// Reads every template; the default one is there whether it is written or not.
pub(super) fn read(reader: &mut Reader<'_>, context: &Context) -> BTreeMap<String, Template> {
    let mut templates = BTreeMap::new();
    let mut names = reader.names();
    if !names.contains(&DEFAULT_TEMPLATE) {
        names.push(DEFAULT_TEMPLATE);
    }
    for name in names {
        let mut table = reader.table(name);
        let template = Template::read(&mut table, context);
        if !is_template_name(name) {
            table.fault(
                "",
                "that is no template's name",
                "1 to 64 of a-z, 0-9, _ and -, beginning with a letter",
            );
        }
        check(&table, &template);
        table.finish();
        templates.insert(name.to_owned(), template);
    }
    templates
}

/// What must hold between the keys of one template.
fn check(table: &Reader<'_>, template: &Template) {
    if template.command.first().is_none_or(String::is_empty) {
        table.fault("command", "it names no program", "a list that begins with a program");
    }
    if template.idle >= template.lifetime {
        // Whichever was written is the one to be told about.
        let key = if table.has("idle") { "idle" } else { "lifetime" };
        table.fault(
            key,
            format!("idle ({}) is not below lifetime ({})", template.idle, template.lifetime),
            "idle below lifetime",
        );
    }
    if template.longest_life() < template.lifetime.get() {
        let wrong = format!("it is below lifetime ({})", template.lifetime);
        table.fault("lifetime_limit", wrong, "lifetime or longer");
    }
    // Those of the sandbox are looked at by themselves.
    if table.has("limits") && template.limits.tmp > template.limits.memory {
        table.fault(
            "limits",
            format!(
                "tmp ({}) is above memory ({}), and lies in it",
                template.limits.tmp, template.limits.memory
            ),
            "tmp up to memory",
        );
    }
    let words = template.command.iter().map(String::len).sum::<usize>()
        + template.env.0.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + template.motd.as_ref().map_or(0, String::len)
        + template.cwd.as_ref().map_or(0, String::len);
    if words > PROGRAM_MAX {
        table.fault(
            "",
            format!("command, env, cwd and motd have {words} bytes together"),
            format!("up to {PROGRAM_MAX}"),
        );
    }
    if let Some(motd) = &template.motd
        && motd.chars().any(|c| c.is_control() && c != '\n')
    {
        table.fault("motd", "it has control characters in it", "printable text and line ends");
    }
    if template.secrets.len() > SECRETS_MAX {
        let wrong = format!("it asks for {}", template.secrets.len());
        table.fault("secrets", wrong, format!("up to {SECRETS_MAX} secrets"));
    }
    let mut variables: Vec<&str> = template.env.0.keys().map(String::as_str).collect();
    let mut names = Vec::new();
    for asked in &template.secrets {
        if names.contains(&asked.name.as_str()) {
            table.fault("secrets", format!("{:?} is there twice", asked.name), "each name once");
        }
        names.push(&asked.name);
        let Some(env) = asked.env.as_deref() else { continue };
        if variables.contains(&env) {
            table.fault("secrets", format!("{env} is set twice"), "each variable once");
        }
        variables.push(env);
    }
}
