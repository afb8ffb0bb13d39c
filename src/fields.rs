//! Raw JSON, read field by field, so that what is wrong has a path.
//!
//! In: a value and its place in an object. Out: the fields that are asked for. Refuses: a field of
//! another type than the one asked for, with its path (`spec.volumes[0].secret: expected an object, not
//! a string`). The value itself is never quoted.
//!
//! As the API server does, this takes `null` for a field that is not there. Derived types and
//! `serde_path_to_error` do the same; for a pod template they are 65 kB more of wasm.

use std::fmt;

use serde_json::Value;

/// A value and its place.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
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
    pub fn new(value: &'a Value, path: &'a str) -> Self {
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
    pub fn get(&'a self, key: &'a str) -> Result<Option<Self>, String> {
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
    pub fn each(
        &self,
        key: &str,
        visit: &mut dyn FnMut(Field<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
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
    pub fn text(&self, key: &str) -> Result<Option<String>, String> {
        let Some(field) = self.get(key)? else {
            return Ok(None);
        };
        match field.value {
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(field.wrong("a string")),
        }
    }

    /// A text that has to be there.
    pub fn required_text(&self, key: &str) -> Result<String, String> {
        self.text(key)?
            .ok_or_else(|| format!("{self}: it has no {key:?}"))
    }

    /// `true` or `false`, if it is there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        let Some(field) = self.get(key)? else {
            return Ok(None);
        };
        match field.value {
            Value::Bool(flag) => Ok(Some(*flag)),
            _ => Err(field.wrong("true or false")),
        }
    }

    fn wrong(&self, expected: &str) -> String {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        format!("{self}: expected {expected}, not {found}")
    }
}
