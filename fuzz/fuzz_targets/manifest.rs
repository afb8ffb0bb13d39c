//! A manifest: every document is objects or an error, and each object has a kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_guard::release_guard::{manifest, rendered};

fuzz_target!(|text: &str| {
    if let Ok(objects) = manifest::parse(text, "shop") {
        assert!(objects.iter().all(|object| !object.id.kind.is_empty()));
    }
    let _ = rendered::release(text, "web", "shop", 2, false);
});
