//! A workload as raw JSON: its references, or an error with a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_guard::{config_hash::references::references, settings::ConfigHash};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(workload) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let settings = ConfigHash {
        image_pull_secrets: true,
        ..ConfigHash::default()
    };
    let found = references(&workload, &settings);
    if let Err(error) = &found {
        assert!(
            error.starts_with("spec.template") || error.starts_with("annotation "),
            "{error}"
        );
    }
    assert_eq!(found, references(&workload, &settings));
});
