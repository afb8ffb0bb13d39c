//! A whole request with its settings. The cluster answers with parts of the request. The policy gives the same
//! answer twice, and a mutated object loses no field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_guard::{
    settings::Settings,
    cluster::{Cause, Cluster, List, LookupError, ObjectRef, Review},
    judge,
    request::Payload,
    verdict::Outcome,
};
use serde_json::Value;

/// Answers each look-up with this object. Depending on the length of the name, the object is absent, or the
/// look-up is denied or fails.
struct Mirror(Value);

impl Cluster for Mirror {
    fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
        let cause = match object.name.len() % 5 {
            0 => return Ok(None),
            1 => Cause::Failed("away".to_owned()),
            2 => Cause::NotGranted {
                api_version: object.api_version.to_owned(),
                kind: object.kind.to_owned(),
            },
            _ => return Ok(Some(self.0.clone())),
        };
        Err(LookupError {
            object: object.to_string(),
            cause,
        })
    }

    fn list(&self, _: &List<'_>) -> Result<Vec<Value>, LookupError> {
        Ok(vec![self.0.clone()])
    }

    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
        Ok(review.namespace.len() % 2 == 0)
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(Payload { request, settings }) = serde_json::from_slice(data) else {
        return;
    };
    let Ok(settings) = Settings::read(&settings) else {
        return;
    };
    let cluster = Mirror(match &request.old_object {
        Value::Null => request.object.clone(),
        old => old.clone(),
    });
    let verdict = judge(&request, &settings, &cluster);
    assert_eq!(verdict, judge(&request, &settings, &cluster));
    if let (Outcome::Mutate(mutated), Some(sent)) = (&verdict.outcome, request.object.as_object()) {
        assert!(sent.keys().all(|field| mutated.get(field).is_some()));
    }
});
