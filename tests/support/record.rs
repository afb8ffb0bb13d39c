//! Release records of any size and content, compressed as much as Helm compresses them. For small ones, use
//! [`helm_plan::testing`].

#![allow(dead_code, reason = "not every test or benchmark uses all of it")]

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The Secret of a revision. `content` is the record as JSON.
pub(crate) fn secret(release: &str, revision: u64, status: &str, content: &[u8]) -> Value {
    secret_of(release, revision, status, &gzip(content))
}

/// The same for a content that is already compressed.
pub(crate) fn secret_of(release: &str, revision: u64, status: &str, gzip: &[u8]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{release}.v{revision}"), "namespace": "shop",
            "labels": {"name": release, "owner": "helm", "status": status, "version": revision.to_string()},
        },
        "data": {"release": BASE64_STANDARD.encode(BASE64_STANDARD.encode(gzip))},
    })
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    gzip_of([content])
}

/// Compresses parts, so that they need not be in memory at the same time.
pub(crate) fn gzip_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for part in parts {
        gzip.write_all(part).unwrap();
    }
    gzip.finish().unwrap()
}

/// The request that creates a record.
pub(crate) fn create(secret: Value) -> Value {
    json!({
        "uid": "1", "operation": "CREATE", "name": secret["metadata"]["name"], "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Secret"}, "object": secret,
    })
}
