//! Release records as Helm stores them.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The Secret of a revision. `content` is the release as JSON.
pub fn secret(release: &str, revision: u64, status: &str, content: &[u8]) -> Value {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content).unwrap();
    let helm = BASE64_STANDARD.encode(gzip.finish().unwrap());
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{release}.v{revision}"), "namespace": "shop",
            "labels": {"name": release, "owner": "helm", "status": status, "version": revision.to_string()},
        },
        "data": {"release": BASE64_STANDARD.encode(helm)},
    })
}

/// The request that creates it.
pub fn create(secret: Value) -> Value {
    json!({
        "uid": "1", "operation": "CREATE", "name": secret["metadata"]["name"], "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Secret"}, "object": secret,
    })
}
