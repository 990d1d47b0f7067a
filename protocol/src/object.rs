//! JSON objects that are written as objects. serde reads a type with fields from a list of their
//! values as well, which this wire does not have. Knows no message.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A `T` that was read from an object and from nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Reads a field's value from an object only: for `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// Those of the format, and of `T`.
pub fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Object::deserialize(from).map(|Object(value)| value)
}

/// Takes the members of an object for a `T`.
pub(crate) struct Members<T>(pub(crate) PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromClient, TerminalSize};

    #[test]
    fn what_is_no_object_is_refused_though_its_parts_would_do() {
        let read = |text| serde_json::from_str::<Object<FromClient>>(text);
        assert!(read(r#"{"type":"resize","cols":90,"rows":30}"#).is_ok());
        for text in [r#"["resize",90,30]"#, r#"["ping",1]"#, "[]", r#""ping""#, "null", "1"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<TerminalSize>("[90,30]").is_err());
    }
}
