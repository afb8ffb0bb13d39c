//! The release record: what Helm writes before it touches anything.
//!
//! In: a Secret or ConfigMap that holds a record (helm `pkg/storage/driver`). Out: the [`Release`] in
//! it, without the chart. Refuses: a record that is not base64, gzip or JSON, or that is larger than
//! allowed; the error says which part.
//!
//! ```text
//! Secret     data.release = base64 (Kubernetes) of base64 (Helm) of gzip of JSON
//! ConfigMap  data.release =                        base64 (Helm) of gzip of JSON
//! ```
//!
//! Records of early Helm 3 are not compressed; as in Helm, gzip is told by its magic bytes.

use std::io::Read;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// The type of the Secrets that hold records.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// One revision of a release, as far as the plan needs it (helm `pkg/release/v1/release.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Release {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    /// The revision.
    pub version: u64,
    /// All regular resources, as one multi-document YAML text.
    #[serde(default)]
    pub manifest: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub hooks: Vec<Hook>,
    pub info: Info,
    /// `ssa` or `csa`; absent in records of Helm 3, which always applies client-side.
    pub apply_method: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Info {
    pub status: String,
}

/// A hook (helm `pkg/release/v1/hook.go`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Hook {
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
    pub events: Vec<String>,
    #[serde(default)]
    pub weight: i64,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub delete_policies: Vec<String>,
    #[serde(default)]
    pub last_run: LastRun,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct LastRun {
    /// `Succeeded`, `Failed`, `Running`, or empty when this revision has not run the hook.
    #[serde(default)]
    pub phase: String,
}

/// Decodes the record in a Secret or ConfigMap.
pub fn decode(object: &Value, kind: &str, max_bytes: u64) -> Result<Release, String> {
    let text = object
        .pointer("/data/release")
        .and_then(Value::as_str)
        .ok_or("data.release is missing or not a string")?;
    let kubernetes;
    let helm = match kind {
        "Secret" => {
            kubernetes = BASE64_STANDARD
                .decode(text)
                .map_err(|e| format!("data.release: base64 of Kubernetes: {e}"))?;
            kubernetes.as_slice()
        }
        _ => text.as_bytes(),
    };
    let bytes = BASE64_STANDARD
        .decode(helm)
        .map_err(|e| format!("data.release: base64 of Helm: {e}"))?;
    let json = match bytes.starts_with(&GZIP_MAGIC) {
        true => gunzip(&bytes, max_bytes)?,
        false if bytes.len() as u64 > max_bytes => return Err(too_large(max_bytes)),
        false => bytes,
    };
    // The position alone: the text around it may hold secrets.
    let mut reader = serde_json::Deserializer::from_slice(&json);
    let release = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let at = error.path().to_string();
        format!("data.release: JSON: at {at}: {}", error.inner())
    })?;
    reader
        .end()
        .map_err(|error| format!("data.release: JSON: {error}"))?;
    Ok(release)
}

fn gunzip(bytes: &[u8], max_bytes: u64) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    // One byte more than allowed tells a record that is too large from one that just fits.
    MultiGzDecoder::new(bytes)
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(|error| format!("data.release: gzip: {error}"))?;
    if json.len() as u64 > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(json)
}

fn too_large(max_bytes: u64) -> String {
    format!(
        "data.release: the decoded record is larger than releaseGuard.maxRecordBytes ({max_bytes})"
    )
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
