//! What is in a ConfigMap or Secret: `data` and `binaryData` as one map of bytes.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// The bytes of each key.
pub type Content = BTreeMap<String, Vec<u8>>;

/// Why the content of a ConfigMap or Secret cannot be read. It names the key, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `data` or `binaryData` is something else.
    #[error("{field} is not an object")]
    NotAnObject {
        /// Which of the two.
        field: &'static str,
    },
    /// A value is something else.
    #[error("{field}[{key:?}] is not a string")]
    NotAString {
        /// `data` or `binaryData`.
        field: &'static str,
        /// Its key.
        key: String,
    },
    /// A value of a Secret, or one in `binaryData`, is something else.
    #[error("{field}[{key:?}] is not base64")]
    NotBase64 {
        /// `data` or `binaryData`.
        field: &'static str,
        /// Its key.
        key: String,
    },
}

/// The content of a ConfigMap.
pub fn of_config_map(object: &Value) -> Result<Content, Error> {
    content(object, &["binaryData"])
}

/// The content of a Secret.
pub fn of_secret(object: &Value) -> Result<Content, Error> {
    content(object, &["data", "binaryData"])
}

fn content(object: &Value, base64: &[&str]) -> Result<Content, Error> {
    let mut content = Content::new();
    for field in ["data", "binaryData"] {
        let entries = match object.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(Error::NotAnObject { field }),
        };
        for (key, value) in entries {
            let text = match value {
                // The API server stores null as an empty text.
                Value::Null => "",
                Value::String(text) => text,
                _ => {
                    let key = key.clone();
                    return Err(Error::NotAString { field, key });
                }
            };
            let bytes = match base64.contains(&field) {
                false => text.as_bytes().to_vec(),
                true => BASE64_STANDARD.decode(text).map_err(|_| Error::NotBase64 {
                    field,
                    key: key.clone(),
                })?,
            };
            content.insert(key.clone(), bytes);
        }
    }
    Ok(content)
}
