//! Reads sections: takes each key's value or its default, collects what is wrong, and notices keys
//! that nobody asked for. Knows no key by itself.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Origin, did_you_mean};
use super::sections::TaskLimits;
use super::setting::Setting;
use super::source::{Entry, Table, Value};

/// What defaults depend on.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The directory in which the gateway keeps what it must not forget.
    pub state_dir: PathBuf,
    /// Where the gateway's executable lies.
    pub executable_dir: PathBuf,
    /// What a task may use unless its template says otherwise.
    pub task: TaskLimits,
    /// Whether a task runs on Spot unless its template says otherwise.
    pub spot: bool,
}

impl Context {
    /// The defaults of a gateway with this state directory.
    pub fn new(state_dir: PathBuf, executable_dir: PathBuf) -> Self {
        Self { state_dir, executable_dir, task: TaskLimits::BUILT_IN, spot: false }
    }

    /// A file of the state directory.
    pub fn state(&self, name: impl AsRef<Path>) -> PathBuf {
        self.state_dir.join(name)
    }
}

/// One key's description, for the reference.
pub(super) struct Described {
    pub key: &'static str,
    pub doc: String,
    /// As TOML; empty where there is none.
    pub default: String,
    pub allowed: String,
}

/// Reads one table.
pub(super) struct Reader<'a> {
    path: String,
    table: Option<&'a Table>,
    origin: Origin,
    known: Vec<String>,
    faults: &'a RefCell<Vec<Fault>>,
}

impl<'a> Reader<'a> {
    /// Reads the whole tree.
    pub fn new(tree: &'a Table, faults: &'a RefCell<Vec<Fault>>) -> Self {
        let origin = Origin::Default;
        Self { path: String::new(), table: Some(tree), origin, known: Vec::new(), faults }
    }

    /// The key with its sections.
    pub fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where a key was written.
    pub fn origin_of(&self, key: &str) -> Origin {
        self.table
            .and_then(|table| table.get(key))
            .map_or_else(|| self.origin.clone(), |entry| entry.origin.clone())
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether a key is there and nothing is wrong with it so far.
    pub fn is_good(&self, key: &str) -> bool {
        let full = self.full(key);
        self.has(key) && !self.faults.borrow().iter().any(|fault| fault.key == full)
    }

    /// Keeps a fault of one of this table's keys.
    pub fn fault(&self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        self.fault_at(key, wrong, allowed, self.origin_of(key));
    }

    fn fault_at(
        &self,
        key: &str,
        wrong: impl Into<String>,
        allowed: impl Into<String>,
        origin: Origin,
    ) {
        let key = if key.is_empty() { self.path.clone() } else { self.full(key) };
        let (wrong, allowed) = (wrong.into(), allowed.into());
        self.faults.borrow_mut().push(Fault { key, wrong, allowed, origin });
    }

    fn entry(&mut self, key: &str) -> Option<&'a Entry> {
        self.known.push(key.to_owned());
        self.table?.get(key)
    }

    /// A key's value; none where it is missing or wrong.
    pub fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        let entry = self.entry(key)?;
        match T::read(entry) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.fault(key, wrong, T::allowed());
                None
            }
        }
    }

    /// A key's value, or its default.
    pub fn value<T: Setting>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A key's value, or its default; within a range.
    pub fn value_within<T: Setting + PartialOrd>(
        &mut self,
        key: &str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        match self.optional::<T>(key) {
            None => default,
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                let wrong = format!("{} is out of range", value.show());
                self.fault(key, wrong, allowed_within(&range));
                default
            }
        }
    }

    /// A table within this one; an empty one where it is not there.
    pub fn table(&mut self, key: &str) -> Reader<'a> {
        let path = self.full(key);
        let (table, origin) = match self.entry(key) {
            None => (None, self.origin.clone()),
            Some(entry) => match entry.value.plain() {
                Value::Table(table) => (Some(table), entry.origin.clone()),
                other => {
                    self.fault(key, format!("it is {}", other.kind()), "a table");
                    (None, entry.origin.clone())
                }
            },
        };
        Reader { path, table, origin, known: Vec::new(), faults: self.faults }
    }

    /// The tables of a list of tables.
    pub fn tables(&mut self, key: &str) -> Vec<Reader<'a>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let Value::List(items) = entry.value.plain() else {
            self.fault(key, format!("it is {}", entry.value.kind()), "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (n, item) in items.iter().enumerate() {
            let path = format!("{}[{n}]", self.full(key));
            if let Value::Table(table) = &item.value {
                let origin = item.origin.clone();
                let (table, known) = (Some(table), Vec::new());
                tables.push(Reader { path, table, origin, known, faults: self.faults });
            } else {
                let wrong = format!("it is {}", item.value.kind());
                let (allowed, origin) = ("a table".to_owned(), item.origin.clone());
                self.faults.borrow_mut().push(Fault { key: path, wrong, allowed, origin });
            }
        }
        tables
    }

    /// The names that the table has.
    pub fn names(&self) -> Vec<&'a str> {
        self.table.map(|table| table.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Every key that nobody asked for is a fault.
    pub fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, entry) in table {
            if self.known.iter().any(|known| known == key) {
                continue;
            }
            let known = self.known.iter().map(String::as_str);
            let wrong = match did_you_mean(key, known) {
                Some(meant) => {
                    format!("there is no such key; did you mean {:?}?", self.full(meant))
                }
                None => "there is no such key".to_owned(),
            };
            let mut known: Vec<&str> = self.known.iter().map(String::as_str).collect();
            known.sort_unstable();
            self.fault_at(key, wrong, known.join(", "), entry.origin.clone());
        }
    }
}

/// What a range allows, in words.
pub(super) fn allowed_within<T: Setting>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start().show(), range.end().show())
}

/// Declares a section: its struct, its defaults, how it is read, and its keys' descriptions, all
/// from one text, so that none of them can differ from another.
macro_rules! section {
    (
        |$context:ident|
        $(#[doc = $section_doc:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $kind:ty = $default:expr $(, in $range:expr)?;
            )+
        }
        $(tables {
            $($(#[doc = $table_doc:literal])+ $table:ident: $table_kind:ty;)+
        })?
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $kind,)+
            $($($(#[doc = $table_doc])+ pub $table: $table_kind,)+)?
        }

        impl $name {
            #[allow(unused_variables, reason = "most defaults depend on nothing")]
            pub(super) fn read(
                reader: &mut $crate::config::reader::Reader<'_>,
                $context: &$crate::config::reader::Context,
            ) -> Self {
                Self {
                    $($key: section!(@read reader, stringify!($key), $default $(, $range)?),)+
                    $($($table: {
                        let mut table = reader.table(stringify!($table));
                        let read = <$table_kind>::read(&mut table, $context);
                        table.finish();
                        read
                    },)+)?
                }
            }

            #[allow(unused_variables, reason = "most defaults depend on nothing")]
            pub(super) fn describe(
                $context: &$crate::config::reader::Context,
            ) -> Vec<$crate::config::reader::Described> {
                use $crate::config::setting::Setting;
                vec![$($crate::config::reader::Described {
                    key: stringify!($key),
                    doc: [$($doc.trim(),)+].join(" "),
                    default: { let value: $kind = $default; value.show() },
                    allowed: section!(@allowed $kind $(, $range)?),
                },)+]
            }

            pub(super) fn show(&self) -> Vec<(&'static str, String)> {
                use $crate::config::setting::Setting;
                vec![$((stringify!($key), self.$key.show()),)+]
            }

            pub(super) const DOC: &[&str] = &[$($section_doc,)+];
        }
    };
    (@read $reader:ident, $key:expr, $default:expr) => { $reader.value($key, $default) };
    (@read $reader:ident, $key:expr, $default:expr, $range:expr) => {
        $reader.value_within($key, $default, $range)
    };
    (@allowed $kind:ty) => { <$kind as Setting>::allowed() };
    (@allowed $kind:ty, $range:expr) => { {
        // The kind says how it is written, the range how far it goes.
        let range: std::ops::RangeInclusive<$kind> = $range;
        format!("{}; {}", <$kind as Setting>::allowed(), $crate::config::reader::allowed_within(&range))
    } };
}
pub(super) use section;
