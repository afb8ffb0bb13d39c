//! The release record: what Helm writes before it touches anything.
//!
//! In: a Secret or ConfigMap that holds a record (helm `pkg/storage/driver`). Out: the [`Record`] in
//! it, without the chart. Refuses: a record that is not base64, gzip or JSON, or that is larger than
//! allowed; the error says which part.
//!
//! ```text
//! Secret     data.release = base64 (Kubernetes) of base64 (Helm) of gzip of JSON
//! ConfigMap  data.release =                        base64 (Helm) of gzip of JSON
//! ```
//!
//! Records of early Helm 3 are not compressed; as in Helm, gzip is told by its magic bytes.
//!
//! A record holds the Secrets of the release, so an error never quotes what it stumbled over.

mod chart;
mod driver;

use std::{
    borrow::Cow,
    fmt,
    io::{self, Read},
};

use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, error::Category};

use self::chart::read_without_chart;
pub use self::driver::{Driver, record_name};
use crate::lifecycle::{DeletePolicy, Event, Status};

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self(text)
    }
}

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// One revision of a release, as far as the plan needs it (helm `pkg/release/v1/release.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct Record {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    /// The revision.
    pub version: u64,
    /// All regular resources, as one multi-document YAML text.
    #[serde(default)]
    pub manifest: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub hooks: Vec<HookRecord>,
    pub info: Info,
    /// `ssa` or `csa`; absent in records of Helm 3, which always applies client-side.
    pub apply_method: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct Info {
    pub status: Status,
    #[serde(default)]
    description: String,
    /// What a rollback goes back to; 0 otherwise, and in Helm 3.
    #[serde(default)]
    rollback_revision: u64,
}

impl Info {
    /// Of a revision that was not made by Helm.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            description: String::new(),
            rollback_revision: 0,
        }
    }

    /// The revision that a rollback goes back to. Helm 3 has it in the description only, which is a
    /// fixed text there (`pkg/action/rollback.go`).
    pub fn rollback_target(&self) -> Option<u64> {
        match self.rollback_revision {
            0 => self.description.strip_prefix("Rollback to ")?.parse().ok(),
            revision => Some(revision),
        }
    }
}

/// A hook (helm `pkg/release/v1/hook.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct HookRecord {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub kind: String,
    /// The file of the chart that it comes from.
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub manifest: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub events: Vec<Event>,
    #[serde(default)]
    pub weight: i64,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub delete_policies: Vec<DeletePolicy>,
    #[serde(default)]
    pub last_run: LastRun,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct LastRun {
    /// `Succeeded`, `Failed`, `Running`, or empty when this revision has not run the hook.
    #[serde(default)]
    pub phase: String,
}

/// Decodes the record in a Secret or ConfigMap.
pub fn decode(object: &Value, driver: Driver, max_bytes: u64) -> Result<Record, Error> {
    let bytes = content(object, driver)?;
    let is_gzip = is_gzip(&bytes);
    if is_gzip && let Ok(release) = parse(&gunzip(&bytes, max_bytes, read_without_chart)?) {
        return Ok(release);
    }
    let json = match is_gzip {
        // An error has its place in the whole record.
        true => gunzip(&bytes, max_bytes, read_whole)?,
        false if bytes.len() as u64 > max_bytes => return Err(too_large(max_bytes).into()),
        false => bytes,
    };
    parse(&json).map_err(|error| format!("data.release: JSON: {error}").into())
}

/// Decodes no more than the status, which Helm writes before all that is large.
pub fn status(object: &Value, driver: Driver, max_bytes: u64) -> Result<Status, Error> {
    const BEGINNING: u64 = 64 * 1024;
    let bytes = content(object, driver)?;
    let mut beginning = Vec::new();
    // What is wrong with it is found by reading it as a whole.
    _ = match is_gzip(&bytes) {
        true => MultiGzDecoder::new(bytes.as_slice())
            .take(BEGINNING)
            .read_to_end(&mut beginning),
        false => bytes.as_slice().take(BEGINNING).read_to_end(&mut beginning),
    };
    let mut info = None;
    _ = serde_json::Deserializer::from_slice(&beginning).deserialize_map(FirstInfo(&mut info));
    match info {
        Some(Info { status, .. }) => Ok(status),
        None => Ok(decode(object, driver, max_bytes)?.info.status),
    }
}

/// Finds `info` in a record that may end in the middle.
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

/// What Helm has encoded: gzip or JSON.
fn content(object: &Value, driver: Driver) -> Result<Vec<u8>, String> {
    let text = object
        .pointer("/data/release")
        .and_then(Value::as_str)
        .ok_or("data.release is missing or not a string")?;
    let helm = match driver {
        Driver::Secret => base64_of("Kubernetes", text.as_bytes())?.into(),
        Driver::ConfigMap => Cow::Borrowed(text.as_bytes()),
    };
    base64_of("Helm", &helm)
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

fn base64_of(whose: &str, text: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = match BASE64_STANDARD.decode(text) {
        // Go passes over line breaks, and a record that was edited by hand has them (`… | base64`).
        Err(_) if text.iter().any(is_line_break) => {
            let text: Vec<_> = text.iter().copied().filter(|b| !is_line_break(b)).collect();
            BASE64_STANDARD.decode(text)
        }
        decoded => decoded,
    };
    decoded.map_err(|error| {
        let problem = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => {
                format!("wrong symbol at byte {at}")
            }
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => {
                "it ends too early".to_owned()
            }
        };
        format!("data.release: base64 of {whose}: {problem}")
    })
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn gunzip(
    bytes: &[u8],
    max_bytes: u64,
    read: fn(&mut dyn Read, usize) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    // One byte more than allowed tells a record that is too large from one that just fits.
    let mut reader = MultiGzDecoder::new(bytes).take(max_bytes.saturating_add(1));
    let json = read(&mut reader, announced_size(bytes, max_bytes))
        .map_err(|error| format!("data.release: gzip: {error}"))?;
    match reader.limit() {
        0 => Err(too_large(max_bytes)),
        _ => Ok(json),
    }
}

fn read_whole(reader: &mut dyn Read, size: usize) -> io::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(size);
    reader.read_to_end(&mut json)?;
    Ok(json)
}

/// The size that a gzip stream announces at its end (RFC 1952, ISIZE), so that what comes out is moved
/// only once. It may lie, but not about more than can be in so few bytes.
fn announced_size(bytes: &[u8], max_bytes: u64) -> usize {
    // Of deflate: a bit for each 258 bytes, twice.
    const MAX_RATIO: usize = 1032;
    let announced = bytes
        .last_chunk()
        .map_or(0, |&size| u32::from_le_bytes(size));
    let possible = bytes.len().saturating_mul(MAX_RATIO);
    let allowed = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    (announced as usize)
        .min(possible)
        .min(allowed)
        .saturating_add(1)
}

fn parse(json: &[u8]) -> Result<Record, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let release = Record::deserialize(&mut reader).map_err(|error| match error.classify() {
        Category::Data => format!("{}{}", place(json), without_content(&error)),
        // These texts are fixed.
        _ => error.to_string(),
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(release)
}

/// `at info.status: `, by reading it once more: to note the path all along would slow down every
/// record. Empty where there is none, or too much to read.
fn place(json: &[u8]) -> String {
    const MAX_READ_AGAIN: usize = 4 * 1024 * 1024;
    let value = match json.len() {
        0..=MAX_READ_AGAIN => serde_json::from_slice(json).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    match serde_path_to_error::deserialize::<_, Record>(&value) {
        Err(error) if error.path().iter().next().is_some() => format!("at {}: ", error.path()),
        _ => String::new(),
    }
}

/// Of `invalid type: string "…", expected u64 at line 1 column 7`, what comes after the content.
fn without_content(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        // `missing field …` and `duplicate field …` name fields of ours.
        None => text,
    }
}

fn too_large(max_bytes: u64) -> String {
    format!("data.release: the decoded record is larger than {max_bytes} bytes")
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
