//! The JSON of a record.
//!
//! In: the decoded text. Out: the [`Record`], or its status alone. Refuses: what is not JSON or lacks a
//! required field, with the path and the place but without the value.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, error::Category};

use crate::{
    lifecycle::Status,
    record::{Info, Record, error::Error},
};

pub(super) fn parse(json: &[u8]) -> Result<Record, Error> {
    serde_json::from_slice(json).map_err(|error| describe(&error, json))
}

fn describe(error: &serde_json::Error, json: &[u8]) -> Error {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let (path, problem) = match error.classify() {
        Category::Data => (path(json), without_content(text)),
        // These texts are fixed.
        Category::Syntax | Category::Eof | Category::Io => (String::new(), text.to_owned()),
    };
    Error::Json {
        path,
        problem,
        line,
        column,
    }
}

/// The path of the field that is wrong, found by reading the record again. To keep track of the path all
/// along would slow down every record. Empty if there is none, or too much to read.
fn path(json: &[u8]) -> String {
    const MAX_READ_AGAIN: usize = 4 * 1024 * 1024;
    let value = match json.len() {
        0..=MAX_READ_AGAIN => serde_json::from_slice(json).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    match serde_path_to_error::deserialize::<_, Record>(&value) {
        Err(error) if error.path().iter().next().is_some() => error.path().to_string(),
        _ => String::new(),
    }
}

/// What serde expected, from a text such as `invalid type: string "…", expected u64`. Only the text has
/// it, and what comes before it is content of the record.
fn without_content(text: &str) -> String {
    match text
        .rsplit_once(", expected ")
        .map(|(_, expected)| expected)
    {
        Some("u64") => "expected a whole number that is not negative".to_owned(),
        Some("i64") => "expected a whole number".to_owned(),
        Some("a sequence") => "expected a list".to_owned(),
        Some(expected) => format!("expected {expected}"),
        // `missing field …` and `duplicate field …` name fields of ours.
        None => text.to_owned(),
    }
}

/// The status in a record that may end in the middle. `None` if its `info` is not there or is wrong.
pub(super) fn status_in(beginning: &[u8]) -> Option<Status> {
    let mut info = None;
    // An error at the end of the text is expected.
    _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(FirstInfo(&mut info));
    info.map(|info| info.status)
}

struct FirstInfo<'a>(&'a mut Option<Info>);

impl<'de> Visitor<'de> for FirstInfo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while self.0.is_none()
            && let Some(field) = map.next_key::<Cow<'_, str>>()?
        {
            match &*field {
                "info" => *self.0 = Some(map.next_value()?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// Go writes `null` for a list that was never filled.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
