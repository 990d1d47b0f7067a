//! Where settings come from: one file and the environment, laid over each other in one tree in
//! which every value remembers where it was written. Knows no key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Origin};
use super::reference;

/// What every variable that is a setting begins with; the sections follow, two underscores between.
pub const VARIABLE_PREFIX: &str = "SHELLGATE_GATEWAY__";

/// What a name begins with that was meant to be a setting's and has an underscore too few.
const ALMOST_PREFIX: &str = "SHELLGATE_GATEWAY_";

/// How deep tables may lie in each other: deeper than any key there is.
const DEPTH_MAX: usize = 8;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// What no key takes: a date, a number that is too large.
    Other,
    List(Vec<Entry>),
    Table(Table),
    /// A variable whose text also reads as something else than a text: whoever wants a text takes
    /// it as it stands.
    Variable {
        text: String,
        read: Box<Value>,
    },
}

/// A table by its keys.
pub(super) type Table = BTreeMap<String, Entry>;

impl Value {
    /// What kind of value it is, for a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Other => "a value of a kind that no key has",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Variable { read, .. } => read.kind(),
        }
    }

    /// The value without its other reading.
    pub fn plain(&self) -> &Self {
        match self {
            Self::Variable { read, .. } => read,
            other => other,
        }
    }

    /// The text that it is, or that stands in its variable.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Variable { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Origin {
    /// Against which directory a relative path counts: the file's own; for everything else the
    /// one that the gateway runs in.
    pub(super) fn directory(&self) -> PathBuf {
        match self {
            Self::Line { file, .. } | Self::File(file) => {
                file.parent().map(Path::to_path_buf).unwrap_or_default()
            }
            Self::Variable(_) | Self::Default => PathBuf::new(),
        }
    }
}

/// Reads a file's text. What could be read of a broken one is returned all the same, so that its
/// other faults show in the same run.
pub(super) fn file(path: &Path, text: &str, faults: &mut Vec<Fault>) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| 1 + ends.partition_point(|end| *end < at);
    for error in errors {
        let origin = match error.span() {
            Some(span) => Origin::Line { file: path.to_path_buf(), line: line(span.start) },
            None => Origin::File(path.to_path_buf()),
        };
        // The message alone: the error's own text quotes the line, which may hold a secret.
        let wrong = format!("not TOML: {}", error.message());
        faults.push(Fault { key: String::new(), wrong, allowed: String::new(), origin });
    }
    let origin = |at: usize| Origin::Line { file: path.to_path_buf(), line: line(at) };
    tree(table.into_inner(), &origin, 0)
}

fn tree(table: DeTable<'_>, origin: &dyn Fn(usize) -> Origin, depth: usize) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            // A key's own place, not its value's: a section's value begins with its header.
            let at = origin(key.span().start);
            let value = leaf(value.into_inner(), origin, depth + 1);
            (key.into_inner().into_owned(), Entry { value, origin: at })
        })
        .collect()
}

fn leaf(value: DeValue<'_>, origin: &dyn Fn(usize) -> Origin, depth: usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other, Value::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other, Value::Float),
        DeValue::Boolean(yes) => Value::Boolean(yes),
        DeValue::Datetime(_) => Value::Other,
        DeValue::Array(_) | DeValue::Table(_) if depth > DEPTH_MAX => Value::Other,
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item: Spanned<DeValue<'_>>| {
                    let origin_of_item = origin(item.span().start);
                    let value = leaf(item.into_inner(), origin, depth + 1);
                    Entry { value, origin: origin_of_item }
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(tree(table, origin, depth)),
    }
}

/// The variables that are text. One that is not is a fault where its name says that it is a
/// setting, and nobody's business elsewhere.
pub(super) fn readable(
    variables: &BTreeMap<OsString, OsString>,
) -> (BTreeMap<String, String>, Vec<Fault>) {
    let (mut texts, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, value) in variables {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => {
                texts.insert(name.to_owned(), value.to_owned());
            }
            (of_name, _) => {
                let shown = name.to_string_lossy();
                if shown.starts_with(ALMOST_PREFIX) {
                    let which = if of_name.is_some() { "value" } else { "name" };
                    faults.push(Fault {
                        key: String::new(),
                        wrong: format!("its {which} is not UTF-8"),
                        allowed: "text in UTF-8".into(),
                        origin: Origin::Variable(shown.into_owned()),
                    });
                }
            }
        }
    }
    (texts, faults)
}

/// Lays the environment's settings over a tree: tables grow together, everything else is replaced.
pub(super) fn environment(
    variables: &BTreeMap<String, String>,
    tree: &mut Table,
    faults: &mut Vec<Fault>,
) {
    // Sorted by name, so that a whole table comes before its single keys, which win.
    for (name, text) in variables {
        let origin = Origin::Variable(name.clone());
        let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else {
            // Others may have names like these: Kubernetes puts SHELLGATE_GATEWAY_SERVICE_HOST beside
            // a service of that name.
            if let Some(allowed) = meant_by(name) {
                faults.push(Fault {
                    key: String::new(),
                    wrong: "its name has one underscore where two belong".into(),
                    allowed,
                    origin,
                });
            }
            continue;
        };
        let keys: Vec<&str> = path.split("__").collect();
        if keys.len() > DEPTH_MAX || keys.iter().any(|key| key.is_empty()) {
            faults.push(Fault {
                key: String::new(),
                wrong: "its name is no key".into(),
                allowed: format!("{VARIABLE_PREFIX}SECTION__KEY"),
                origin,
            });
            continue;
        }
        lay(tree, &keys, Entry { value: variable(text, &origin), origin }, faults, "");
    }
}

/// The name of the setting that differs from a name in its underscores only.
fn meant_by(name: &str) -> Option<String> {
    if !name.starts_with(ALMOST_PREFIX) {
        return None;
    }
    let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let known = reference::keys()
        .into_iter()
        .map(|key| format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__")));
    known.into_iter().find(|known| bare(known) == bare(name))
}

fn lay(tree: &mut Table, keys: &[&str], entry: Entry, faults: &mut Vec<Fault>, within: &str) {
    let [key, rest @ ..] = keys else { return };
    // The names of a program's own variables keep their case; all other keys are lower-case.
    let key = if within == "env" { (*key).to_owned() } else { key.to_ascii_lowercase() };
    if rest.is_empty() {
        if let (Some(Entry { value: Value::Table(there), .. }), Value::Table(more)) =
            (tree.get_mut(&key), entry.value.plain())
        {
            for (name, item) in more {
                lay(there, &[name], item.clone(), faults, "env");
            }
        } else {
            tree.insert(key, entry);
        }
        return;
    }
    let there = tree.entry(key.clone()).or_insert_with(|| Entry {
        value: Value::Table(Table::new()),
        origin: entry.origin.clone(),
    });
    if let Value::Variable { read, .. } = &there.value {
        there.value = (**read).clone();
    }
    match &mut there.value {
        Value::Table(table) => lay(table, rest, entry, faults, &key),
        other => faults.push(Fault {
            wrong: format!("it is {}, which has no keys of its own", other.kind()),
            allowed: "a list or a single value is given as a whole".into(),
            key,
            origin: entry.origin,
        }),
    }
}

/// Reads a variable: as TOML where it is TOML, else as the text that it is.
fn variable(text: &str, origin: &Origin) -> Value {
    let as_text = || Value::Text(text.to_owned());
    let document = format!("value = {text}");
    let Ok(table) = DeTable::parse(&document) else { return as_text() };
    let table = table.into_inner();
    // More than one key: the text held a line of its own, and is a text.
    if table.len() != 1 {
        return as_text();
    }
    let Some((_, value)) = table.into_iter().next() else { return as_text() };
    match leaf(value.into_inner(), &|_| origin.clone(), 0) {
        Value::Text(text) => Value::Text(text),
        read => Value::Variable { text: text.to_owned(), read: Box::new(read) },
    }
}
