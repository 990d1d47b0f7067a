//! What kinds of value a key can have: how each is read, what is allowed, how it is shown.
//! Knows no key.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::dial_url::DialUrl;
use super::network::{Network, WebOrigin};
use super::source::{Entry, Value};
use super::uids::UidRange;
use super::units::{ByteSize, Cores, Period};

/// A kind of value.
pub(super) trait Setting: Sized {
    /// What is allowed, in words for a person.
    fn allowed() -> String;

    /// Reads a value; else says what is wrong with it.
    fn read(entry: &Entry) -> Result<Self, String>;

    /// The value as TOML.
    fn show(&self) -> String;
}

/// A text as TOML, in one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a value that must be one.
pub(super) fn text(entry: &Entry) -> Result<&str, String> {
    entry.value.text().ok_or_else(|| format!("it is {}", entry.value.kind()))
}

/// Kinds that are texts of a form of their own.
macro_rules! parsed_text {
    ($($kind:ty: $allowed:literal;)+) => {$(
        impl Setting for $kind {
            fn allowed() -> String {
                $allowed.to_owned()
            }

            fn read(entry: &Entry) -> Result<Self, String> {
                let Some(text) = entry.value.text() else {
                    return Err(match entry.value.plain() {
                        Value::Integer(_) | Value::Float(_) => "it is a plain number".into(),
                        other => format!("it is {}", other.kind()),
                    });
                };
                text.parse::<Self>().map_err(|error| error.to_string())
            }

            fn show(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )+};
}

parsed_text! {
    Period: "a duration with its unit, such as \"90s\", \"10m\", \"1h30m\"";
    ByteSize: "a size with its unit, such as \"64KiB\", \"1MiB\"";
    Cores: "a share of the processor with its unit, such as \"1core\", \"1.5cores\", \"500m\"";
    SocketAddr: "an address and a port, such as \"127.0.0.1:7800\" or \"[::1]:7800\"";
    Network: "a network, such as \"10.0.0.0/8\", \"fd00::/8\" or a single address";
    WebOrigin: "an origin without a path, such as \"https://shell.example.com\"";
    DialUrl: "wss, a host and a port, such as \"wss://gateway.internal:7802\"";
    UidRange: "the first and the last uid, such as \"1900000000-1900065535\"";
}

impl Setting for String {
    fn allowed() -> String {
        "a text".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let text = text(entry)?;
        if text.contains('\0') {
            return Err("it has a NUL in it".into());
        }
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn allowed() -> String {
        "a path; a relative one counts from the file it is written in".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let text = String::read(entry)?;
        if text.is_empty() {
            return Err("it is empty".into());
        }
        std::path::absolute(entry.origin.directory().join(text)).map_err(|error| error.to_string())
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for bool {
    fn allowed() -> String {
        "true or false".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        match entry.value.plain() {
            Value::Boolean(yes) => Ok(*yes),
            other => Err(format!("it is {}", other.kind())),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn allowed() -> String {
        "a whole number".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        match entry.value.plain() {
            Value::Integer(number) => {
                Self::try_from(*number).map_err(|_| format!("{number} is out of range"))
            }
            other => Err(format!("it is {}", other.kind())),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Setting> Setting for Option<T> {
    fn allowed() -> String {
        T::allowed()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        T::read(entry).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn allowed() -> String {
        format!("a list, each item {}", T::allowed())
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        match &entry.value {
            Value::List(items) => items.iter().map(T::read).collect(),
            Value::Variable { read, .. } => match &**read {
                Value::List(items) => items.iter().map(T::read).collect(),
                _ => Ok(vec![T::read(entry)?]),
            },
            // One item may stand without its brackets.
            Value::Text(_) => Ok(vec![T::read(entry)?]),
            other => Err(format!("it is {}", other.kind())),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

/// Makes a kind of a fixed choice of words.
macro_rules! choice {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn allowed() -> String {
                [$(concat!("\"", $word, "\""),)+].join(", ")
            }

            fn read(entry: &$crate::config::source::Entry) -> Result<Self, String> {
                let text = $crate::config::setting::text(entry)?;
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("{other:?} is none of them")),
                }
            }

            fn show(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}
pub(super) use choice;
