//! The wire's types as schemas of the API's document: the crate that they are from knows no
//! OpenAPI. Knows no route.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use shellgate_protocol::client_leg;
use shellgate_protocol::limits::EDGE_RANGE;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident = $shown:literal, $schema:expr;)+) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    Schema::Object($schema).into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed($shown)
                }
            }
        )+
    };
}

schemas! {
    /// A session's id.
    SessionId = "SessionId", text("A session's id.").pattern(Some("^ses_[0-9a-f]{32}$")).build();
    /// What an attachment may do.
    Role = "Role", words::<client_leg::Role>("What an attachment may do.");
    /// How a session's program is run.
    Mode = "Mode", words::<client_leg::Mode>("How a session's program is run.");
    /// What a session waits for.
    Phase = "Phase", words::<client_leg::Phase>("What a session waits for.");
    /// Why a session ended.
    EndReason = "EndReason", words::<client_leg::EndReason>("Why a session ended.");
    /// A terminal's size.
    TerminalSize = "TerminalSize", ObjectBuilder::new()
        .description(Some("A terminal's size in cells."))
        .property("cols", edge())
        .property("rows", edge())
        .required("cols")
        .required("rows")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .build();
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).description(Some(description))
}

fn edge() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .minimum(Some(*EDGE_RANGE.start()))
        .maximum(Some(*EDGE_RANGE.end()))
        .build()
}

fn words<T: DeserializeOwned>(description: &str) -> Object {
    let words = match T::deserialize(Asked) {
        Ok(_) => &[],
        Err(Words(words)) => words,
    };
    text(description).enum_values(Some(words.iter().copied())).build()
}

/// Asked for an enum it gives none, and notes the words that serde would have taken: whoever
/// adds one to the enum has added it to the document.
struct Asked;

/// The words of an enum; none of anything else.
#[derive(Debug)]
struct Words(&'static [&'static str]);

impl<'de> Deserializer<'de> for Asked {
    type Error = Words;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Words> {
        Err(Words(words))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Words> {
        Err(Words(&[]))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {:?}", self.0)
    }
}

impl std::error::Error for Words {}

impl serde::de::Error for Words {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enum_s_words_are_those_that_serde_takes() {
        let role = serde_json::to_value(Role::schema()).unwrap();
        assert_eq!(role["enum"], serde_json::json!(["driver", "observer"]));
        let reason = serde_json::to_value(EndReason::schema()).unwrap();
        assert!(reason["enum"].as_array().unwrap().contains(&"start_failed".into()), "{reason}");
    }
}
