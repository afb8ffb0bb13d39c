//! Plays recordings in their order, as if the policy had been in place when they were made.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Evaluation, Objects, Policy, Recording};

/// Where a policy may add annotations. Later requests for the object contain them.
const ANNOTATED: [&str; 2] = ["/metadata", "/spec/template/metadata"];

/// A policy that answers requests which were recorded without it. Annotations that it adds to an object are part of the
/// object in later requests, as in a real cluster.
pub struct Replay {
    policy: Policy,
    settings: Value,
    added: BTreeMap<String, [Map<String, Value>; 2]>,
}

impl Replay {
    pub fn new(policy: Policy, settings: Value) -> Self {
        Self {
            policy,
            settings,
            added: BTreeMap::new(),
        }
    }

    /// Lets the policy judge the next recording.
    ///
    /// # Errors
    ///
    /// Those of [`Policy::validate`].
    pub fn play(&mut self, recording: Recording) -> anyhow::Result<Evaluation> {
        let Recording {
            mut request,
            cluster,
        } = recording;
        let id = identity(&request);
        let recorded = request.get("object").cloned().unwrap_or_default();
        if let Some(added) = self.added.get(&id) {
            for object in ["object", "oldObject"] {
                if let Some(object) = request.get_mut(object).filter(|object| object.is_object()) {
                    annotate(object, added);
                }
            }
        }
        let cluster = Arc::new(Objects::new(cluster));
        let evaluation = self.policy.validate(&request, &self.settings, cluster)?;
        if let Some(admitted) = &evaluation.response.mutated_object {
            self.added
                .insert(id, ANNOTATED.map(|place| added(&recorded, admitted, place)));
        }
        Ok(evaluation)
    }
}

fn identity(request: &Value) -> String {
    ["/kind/group", "/kind/kind", "/namespace", "/name"]
        .map(|field| {
            request
                .pointer(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        })
        .join("/")
}

fn annotations<'a>(object: &'a Value, place: &str) -> Option<&'a Map<String, Value>> {
    object.pointer(place)?.get("annotations")?.as_object()
}

fn added(recorded: &Value, admitted: &Value, place: &str) -> Map<String, Value> {
    let before = annotations(recorded, place);
    let is_new = |(key, value): &(&String, &Value)| before.and_then(|b| b.get(*key)) != Some(value);
    let after = annotations(admitted, place).into_iter().flatten();
    after
        .filter(is_new)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn annotate(object: &mut Value, added: &[Map<String, Value>; 2]) {
    for (place, added) in ANNOTATED.iter().zip(added) {
        let metadata = object.pointer_mut(place).and_then(Value::as_object_mut);
        if let Some(metadata) = metadata.filter(|_| !added.is_empty()) {
            let annotations = metadata
                .entry("annotations")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.extend(added.clone());
            }
        }
    }
}
