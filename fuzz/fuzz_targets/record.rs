//! The content of a release record, in each of its layers: what Kubernetes stores, what Helm encodes, and the
//! JSON inside. The result is a release or an error, and takes no more memory than allowed. Skipping the chart,
//! which happens only in compressed records, makes no difference.
#![no_main]

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use helm_plan::{
    record::{self, Driver},
    release::Release,
};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const MAX_BYTES: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((layer, data)) = data.split_first() else {
        return;
    };
    let (driver, stored) = match layer % 3 {
        0 => (
            Driver::ConfigMap,
            String::from_utf8_lossy(data).into_owned(),
        ),
        1 => (Driver::ConfigMap, BASE64_STANDARD.encode(data)),
        _ => (
            Driver::Secret,
            BASE64_STANDARD.encode(BASE64_STANDARD.encode(data)),
        ),
    };
    let object = json!({"data": {"release": stored}});
    if let Ok(record) = record::decode(&object, driver, MAX_BYTES) {
        if data.starts_with(b"{") {
            let compressed = json!({"data": {"release": BASE64_STANDARD.encode(gzip(data))}});
            let read = record::decode(&compressed, Driver::ConfigMap, MAX_BYTES);
            assert_eq!(read.ok().as_ref(), Some(&record));
        }
        let _ = Release::parse(record);
    }
});

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}
