//! Raw JSON, read field by field, so that an error has a path.
//!
//! In: a value and its place in an object. Out: the fields that are asked for. Refuses: a field of
//! another type than the one asked for, with its path (`spec.volumes[0].secret: expected an object, not
//! a string`). The value itself is never quoted: it may be secret.
//!
//! As the API server does, this takes `null` for a field that is missing. Derived types and
//! `serde_path_to_error` do the same; in a policy of wasm they add 65 kB.

use std::fmt;

use serde_json::Value;

/// A field that does not have the shape that the Kubernetes API defines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WrongShape {
    /// Where it is: `spec.template.spec.volumes[0].secret`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has another type.
    #[error("expected {expected}, not {found}")]
    Type {
        /// `an object`, `a list`, …
        expected: &'static str,
        /// The same of what is there.
        found: &'static str,
    },
    /// A field in it is missing.
    #[error("missing field `{0}`")]
    Missing(&'static str),
}

/// A value and its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    parent: Option<&'a Field<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// A path, or a part of one.
    Key(&'a str),
    Index(usize),
}

/// `spec.volumes[0].secret`
impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self.parent.filter(|parent| !parent.is_nameless());
        if let Some(parent) = parent {
            write!(f, "{parent}")?;
        }
        match (self.step, parent) {
            (Step::Index(index), _) => write!(f, "[{index}]"),
            (Step::Key(key), Some(_)) => write!(f, ".{key}"),
            (Step::Key(key), None) => f.write_str(key),
        }
    }
}

impl<'a> Field<'a> {
    /// A value whose path is known; empty for a whole object.
    pub(crate) fn new(value: &'a Value, path: &'a str) -> Self {
        Self {
            value,
            parent: None,
            step: Step::Key(path),
        }
    }

    fn is_nameless(&self) -> bool {
        matches!((self.parent, self.step), (None, Step::Key("")))
    }

    /// A field of an object, if it is there.
    pub(crate) fn get(&'a self, key: &'a str) -> Result<Option<Self>, WrongShape> {
        let fields = match self.value {
            Value::Null => return Ok(None),
            Value::Object(fields) => fields,
            _ => return Err(self.wrong("an object")),
        };
        let value = fields.get(key).filter(|value| !value.is_null());
        Ok(value.map(|value| Self {
            value,
            parent: Some(self),
            step: Step::Key(key),
        }))
    }

    /// Visits each entry of a list, if there is one. The API server reads a `null` in it as an empty
    /// entry.
    pub(crate) fn each(
        &self,
        key: &str,
        visit: &mut dyn FnMut(Field<'_>) -> Result<(), WrongShape>,
    ) -> Result<(), WrongShape> {
        let Some(list) = self.get(key)? else {
            return Ok(());
        };
        let Value::Array(items) = list.value else {
            return Err(list.wrong("a list"));
        };
        items.iter().enumerate().try_for_each(|(index, value)| {
            visit(Field {
                value,
                parent: Some(&list),
                step: Step::Index(index),
            })
        })
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, WrongShape> {
        let Some(field) = self.get(key)? else {
            return Ok(None);
        };
        match field.value {
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(field.wrong("a string")),
        }
    }

    /// A text that has to be there.
    pub(crate) fn required_text(&self, key: &'static str) -> Result<String, WrongShape> {
        self.text(key)?
            .ok_or_else(|| self.problem(Problem::Missing(key)))
    }

    /// `true` or `false`, if it is there.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, WrongShape> {
        let Some(field) = self.get(key)? else {
            return Ok(None);
        };
        match field.value {
            Value::Bool(flag) => Ok(Some(*flag)),
            _ => Err(field.wrong("true or false")),
        }
    }

    fn wrong(&self, expected: &'static str) -> WrongShape {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.problem(Problem::Type { expected, found })
    }

    fn problem(&self, problem: Problem) -> WrongShape {
        let path = self.to_string();
        WrongShape { path, problem }
    }
}
