//! The content of a release record, in each of its layers: what Kubernetes stores, what Helm encodes,
//! and the JSON in it. Ends in a release or an error, never in more memory than allowed. To pass over the
//! chart, which is done in what is compressed, makes no difference.
#![no_main]

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use rollout_guard::release_guard::{plan::Release, record};
use serde_json::json;

const MAX_BYTES: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((layer, data)) = data.split_first() else {
        return;
    };
    let (kind, stored) = match layer % 3 {
        0 => ("ConfigMap", String::from_utf8_lossy(data).into_owned()),
        1 => ("ConfigMap", BASE64_STANDARD.encode(data)),
        _ => (
            "Secret",
            BASE64_STANDARD.encode(BASE64_STANDARD.encode(data)),
        ),
    };
    let object = json!({"data": {"release": stored}});
    if let Ok(record) = record::decode(&object, kind, MAX_BYTES) {
        if data.starts_with(b"{") {
            let compressed = json!({"data": {"release": BASE64_STANDARD.encode(gzip(data))}});
            let read = record::decode(&compressed, "ConfigMap", MAX_BYTES);
            assert_eq!(read.as_ref(), Ok(&record));
        }
        let _ = Release::parse(record);
    }
});

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}
