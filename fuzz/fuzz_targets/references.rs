//! A workload as raw JSON: its references, which are those that the typed API has, or an error with a
//! path.
#![no_main]

use k8s_openapi::api::core::v1::PodTemplateSpec;
use libfuzzer_sys::fuzz_target;
use rollout_guard::{
    config_hash::references::{ConfigKind, Use, references},
    settings::ConfigHash,
};
use serde_json::{Value, json};

#[path = "../../src/config_hash/references/tests/typed.rs"]
mod typed;

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
        let error = error.to_string();
        assert!(
            error.starts_with("spec.template") || error.starts_with("annotation "),
            "{error}"
        );
    }
    assert_eq!(found, references(&workload, &settings));

    let template = workload.pointer("/spec/template").unwrap_or(&Value::Null);
    let typed: Option<PodTemplateSpec> = serde_json::from_value(template.clone()).ok();
    let Some(spec) = typed.and_then(|template| template.spec) else {
        return;
    };
    // Without the annotations, which the typed API does not know.
    let template = json!({"spec": template["spec"]});
    match references(&json!({"spec": {"template": template}}), &settings) {
        Ok(found) => {
            let found = found
                .into_iter()
                .map(|(id, r#use)| ((id.kind, id.name), r#use));
            assert!(found.eq(typed::uses(&spec, true)), "{workload}");
        }
        // The typed API reads a missing key as an empty one.
        Err(error) => assert!(error.to_string().ends_with("missing field `key`"), "{error}"),
    }
});
