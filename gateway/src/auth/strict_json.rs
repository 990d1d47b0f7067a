//! A JSON object in which no member stands twice, at any depth. Knows nothing of its meaning.
//!
//! RFC 8259 leaves open what a repeated member means, so two parsers of one token may see two
//! users. Parsers that keep the last one silently are the reason why this one exists.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// Why bytes are not such an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStrict {
    /// Not JSON (RFC 8259), not UTF-8, nested too deeply, or something else than an object.
    NotAnObject,
    /// A member stands twice.
    Duplicate,
}

/// Parses an object.
///
/// # Errors
/// See [`NotStrict`].
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotStrict> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(Strict(_)) => Err(NotStrict::NotAnObject),
        Err(error) => Err(match error.classify() {
            // `Strict` takes a value of every type: its own complaint is the only one of this kind.
            Category::Data => NotStrict::Duplicate,
            Category::Io | Category::Syntax | Category::Eof => NotStrict::NotAnObject,
        }),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = from.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            let Strict(value) = from.next_value()?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_and_what_stands_twice_are_told_apart() {
        use NotStrict::{Duplicate, NotAnObject};
        let table: [(&[u8], NotStrict); 12] = [
            (b"", NotAnObject),
            (b"[]", NotAnObject),
            (b"null", NotAnObject),
            (b"{} {}", NotAnObject),
            (b"{\"a\":1,}", NotAnObject),
            (b"{\"a\":1e999}", NotAnObject),
            (b"{\"a\":\"\\ud800\"}", NotAnObject),
            (b"{\"a\":\"\xff\"}", NotAnObject),
            (b"\xef\xbb\xbf{}", NotAnObject),
            (b"{\"a\":1,\"a\":1}", Duplicate),
            (b"{\"a\":1,\"\\u0061\":2}", Duplicate),
            (b"{\"b\":[{\"a\":1,\"a\":2}]}", Duplicate),
        ];
        for (bytes, expected) in table {
            assert_eq!(object(bytes), Err(expected), "{}", bytes.escape_ascii());
        }
        assert_eq!(object(" {\"a\":[1,-2,0.5,true,null,\"é\"]}\n".as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        assert_eq!(object(deep.as_bytes()), Err(NotStrict::NotAnObject));
    }
}
