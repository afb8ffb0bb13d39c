//! Settings from JSON, with errors that say in plain words what to write.
//!
//! In: a JSON value. Out: what it describes. Refuses: what the type refuses, as an [`Error`] with the place.
//!
//! The reader of `serde_json` says the same in the words of Rust's types (`expected u64`, `unit variant`), reads a list
//! as the fields of a struct in their order, and takes `{"verify": null}` for `verify`. It refuses what people and
//! forms mean by leaving something empty: `null` for a section or a list (`configHash:` without anything below it), and
//! an empty text for an object that is optional.

use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::error::{Error, Expected, Found};

/// Reads a value of settings.
pub(super) fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(Node(settings)).map_err(|error| {
        let setting = error.path().to_string();
        error.into_inner().at(setting)
    })
}

/// An [`Error`] whose place is not known yet.
#[derive(Debug)]
enum Problem {
    UnknownField(&'static [&'static str], String),
    WrongType(Expected, Found),
    UnknownValue(String, &'static [&'static str]),
    Custom(String),
}

impl Problem {
    fn at(self, path: String) -> Error {
        let setting = match path.as_str() {
            "." => "settings".to_owned(),
            _ => path,
        };
        match self {
            Self::UnknownField(known, field) => {
                let parent = setting.strip_suffix(&field).unwrap_or_default();
                let likeness = |known: &str| strsim::jaro_winkler(&field, known);
                let nearest = known
                    .iter()
                    .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
                Error::UnknownSetting {
                    nearest: nearest.map(|nearest| format!("{parent}{nearest}")),
                    setting,
                }
            }
            Self::WrongType(expected, found) => Error::WrongType {
                setting,
                expected,
                found,
            },
            Self::UnknownValue(value, allowed) => Error::UnknownValue {
                setting,
                value,
                allowed,
            },
            Self::Custom(reason) => Error::Invalid { setting, reason },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Custom(reason.to_string())
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownField(known, field.to_owned())
    }

    fn unknown_variant(value: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownValue(value.to_owned(), allowed)
    }
}

/// A value of settings, or of a part of them.
#[derive(Clone, Copy)]
struct Node<'de>(&'de Value);

impl Node<'_> {
    fn is_not<T>(self, expected: Expected) -> Result<T, Problem> {
        let found = match self.0 {
            Value::Null => Found::Null,
            Value::Bool(value) => Found::Boolean(*value),
            Value::Number(value) => Found::Number(value.clone()),
            Value::String(_) => Found::Text,
            Value::Array(_) => Found::List,
            Value::Object(_) => Found::Object,
        };
        Err(Problem::WrongType(expected, found))
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(value) => match (value.as_u64(), value.as_i64(), value.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => self.is_not(Expected::Boolean),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.as_u64() {
            Some(value) => visitor.visit_u64(value),
            None => self.is_not(Expected::WholeNumber),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(value) => visitor.visit_borrowed_str(value),
            _ => self.is_not(Expected::Text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            Value::String(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let items = match self.0 {
            Value::Null => &[],
            Value::Array(items) => items.as_slice(),
            _ => return self.is_not(Expected::List),
        };
        visitor.visit_seq(SeqDeserializer::new(items.iter().map(Node)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let fields = match self.0 {
            Value::Null => None,
            Value::Object(fields) => Some(fields),
            _ => return self.is_not(Expected::Object),
        };
        let fields = fields.into_iter().flatten();
        visitor.visit_map(MapDeserializer::new(
            fields.map(|(name, value)| (name.as_str(), Node(value))),
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(value) => visitor.visit_enum(StrDeserializer::new(value)),
            _ => self.is_not(Expected::OneOf(variants)),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct identifier ignored_any
    }
}
