//! The release record: what Helm writes before it changes anything in the cluster.
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
//! Records of early Helm 3 are not compressed. As in Helm, gzip is recognized by its magic bytes.
//!
//! A record holds the Secrets of the release, so an error never quotes its content.

mod chart;
mod driver;
mod error;
mod json;
mod layers;

use serde::Deserialize;
use serde_json::Value;

use self::{
    chart::read_without_chart,
    json::null_is_empty,
    layers::{gunzip, is_gzip, read_whole},
};
pub use self::{
    driver::{Driver, record_name},
    error::{Error, Layer},
};
use crate::lifecycle::{ApplyMethod, DeletePolicy, Event, Status};

/// One revision of a release, as far as the plan needs it (helm `pkg/release/v1/release.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct Record {
    /// The name of the release.
    pub name: String,
    /// The namespace of the release.
    #[serde(default)]
    pub namespace: String,
    /// The number of the revision.
    pub version: u64,
    /// All regular resources, as one multi-document YAML text.
    #[serde(default)]
    pub manifest: String,
    /// The hooks, which are not in the manifest, sorted by kind as Helm sorts resources.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub hooks: Vec<HookRecord>,
    /// The status, and how it came about.
    pub info: Info,
    /// Missing in records of Helm 3, which always applies client-side.
    pub apply_method: Option<ApplyMethod>,
}

/// What happened to a revision (helm `pkg/release/v1/info.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct Info {
    /// The status of the revision.
    pub status: Status,
    #[serde(default)]
    description: String,
    /// The revision that a rollback copies. 0 if this is not a rollback, and in Helm 3.
    #[serde(default)]
    rollback_revision: u64,
}

impl Info {
    /// For a revision that Helm has not written: it has a status and nothing else.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            description: String::new(),
            rollback_revision: 0,
        }
    }

    /// Whether a rollback made this revision, as far as it is told. A rollback that has failed tells no more where to, but that it
    /// was one (`pkg/action/rollback.go`).
    pub fn is_rollback(&self) -> bool {
        self.rollback_target().is_some() || self.description.starts_with("Rollback \"")
    }

    /// The revision that a rollback copies. `None` if this is not a rollback. Helm 3 has it only in the
    /// description, which is a fixed text there (`pkg/action/rollback.go`).
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
    /// The name of its object.
    #[serde(default)]
    pub name: String,
    /// The kind of its object.
    #[serde(default)]
    pub kind: String,
    /// The file of the chart that it comes from.
    #[serde(default)]
    pub path: String,
    /// The object, as YAML.
    #[serde(default)]
    pub manifest: String,
    /// When it runs. An event that is listed twice runs it twice.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub events: Vec<Event>,
    /// Hooks with a lower weight run first.
    #[serde(default)]
    pub weight: i64,
    /// When Helm deletes its object. Empty means `before-hook-creation`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub delete_policies: Vec<DeletePolicy>,
    /// The last time that it ran.
    #[serde(default)]
    pub last_run: LastRun,
}

/// The last run of a hook (helm `pkg/release/v1/hook.go`, HookExecution).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(expecting = "an object")]
pub struct LastRun {
    /// `Succeeded`, `Failed`, `Running`, or empty if this revision has not run the hook.
    #[serde(default)]
    pub phase: String,
}

/// Decodes the record in a Secret or ConfigMap. `max_bytes` limits its size after decompression.
///
/// # Errors
/// A layer is missing or broken, the record is larger than `max_bytes`, or its content is not that of a
/// record.
pub fn decode(object: &Value, driver: Driver, max_bytes: u64) -> Result<Record, Error> {
    let bytes = layers::content(object, driver)?;
    if !is_gzip(&bytes) {
        return match bytes.len() as u64 > max_bytes {
            true => Err(Error::TooLarge { max_bytes }),
            false => json::parse(&bytes),
        };
    }
    if let Ok(record) = serde_json::from_slice(&gunzip(&bytes, max_bytes, read_without_chart)?) {
        return Ok(record);
    }
    // The place in an error counts from the beginning of the whole record.
    json::parse(&gunzip(&bytes, max_bytes, read_whole)?)
}

/// Decodes only the status, which Helm writes before everything that is large. `max_bytes` is the same as
/// for [`decode`].
///
/// # Errors
/// As [`decode`], which is used if the status is not near the beginning.
pub fn status(object: &Value, driver: Driver, max_bytes: u64) -> Result<Status, Error> {
    const BEGINNING: u64 = 64 * 1024;
    let bytes = layers::content(object, driver)?;
    match json::status_in(&layers::beginning(&bytes, BEGINNING)) {
        Some(status) => Ok(status),
        None => Ok(decode(object, driver, max_bytes)?.info.status),
    }
}

#[cfg(test)]
mod tests;
