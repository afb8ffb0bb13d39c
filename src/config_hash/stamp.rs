//! Whether the pod template is stamped anew, and what is remembered.
//!
//! In: the workload as it is to be, the workload as it was (`oldObject`), and what was seen of each
//! config. Out: the [`Stamp`] and the stamped object. Refuses: nothing; a memory that cannot be read
//! counts as none.
//!
//! The invariant: unchanged config and unchanged template ⇒ byte-identical template, whatever the
//! client sent. So the memory is `oldObject` alone, and templates are compared without our own
//! annotations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    digest::{self, comparable},
    references::ConfigId,
};
use crate::{
    annotations::{self, CHANGE_CAUSE, CONFIG_HASH, CONFIG_VERSION, CONFIGS, OBJECT, TEMPLATE},
    settings::Strategy,
};

/// The digest of each config, as written to the `configs` annotation.
pub type Recorded = BTreeMap<String, String>;

/// What was seen of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its digest, over the keys that the workload uses now. `None`: the pods cannot start, since the
    /// config or a key that they require is missing.
    pub now: Option<String>,
    /// The digests that mean that it has not changed. Which keys they were made of is not remembered, so
    /// these are the digests over the keys that `oldObject` used and over those of now, each with
    /// `imagePullSecrets` and without. Empty: none can be made, as above.
    pub as_before: BTreeSet<String>,
}

/// What is to be done about the pod template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// A new workload, or a template that changes anyway: its pods are made anew, with the config of
    /// now. `changed` are the configs whose digests differ from those remembered.
    Fresh { changed: Vec<ConfigId> },
    /// Only config changed: stamping rolls the pods out.
    RollOut { changed: Vec<ConfigId> },
    /// The same, held back by `rollout-guard/freeze`.
    Frozen { changed: Vec<ConfigId> },
    /// Nothing that counts has changed.
    Keep,
}

/// The configs that `oldObject` was stamped for. `None`: the policy never saw it.
pub fn remembered(old: Option<&Value>) -> Option<Recorded> {
    let recorded = annotations::get(old?, OBJECT, CONFIGS)?;
    serde_json::from_str(recorded).ok()
}

/// The configs, among those tracked both before and now, whose content has changed.
pub fn changed(memory: &Recorded, seen: &BTreeMap<ConfigId, Seen>) -> Vec<ConfigId> {
    let has_changed = |id: &ConfigId, seen: &Seen| match memory.get(&id.key()) {
        Some(before) if seen.now.is_some() => {
            !seen.as_before.contains(before)
                && seen.as_before.iter().any(|now| comparable(before, now))
        }
        // Newly tracked; or required and gone, which no rollout would help.
        _ => false,
    };
    seen.iter()
        .filter(|(id, seen)| has_changed(id, seen))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Decides about the template. `old` is `None` on CREATE.
pub fn decide(object: &Value, old: Option<&Value>, frozen: bool, changed: Vec<ConfigId>) -> Stamp {
    match old {
        Some(old) if bare_template(object) == bare_template(old) => {
            match (changed.is_empty(), frozen) {
                (true, _) => Stamp::Keep,
                (false, false) => Stamp::RollOut { changed },
                (false, true) => Stamp::Frozen { changed },
            }
        }
        _ => Stamp::Fresh { changed },
    }
}

/// What is to be remembered: the digests of now. A required config that has gone keeps its last
/// digest, so that it counts as changed when it comes back with other content, and only then.
pub fn recorded(memory: Option<&Recorded>, seen: &BTreeMap<ConfigId, Seen>) -> Recorded {
    let last = |key: &String| memory.and_then(|memory| memory.get(key)).cloned();
    seen.iter()
        .filter_map(|(id, seen)| {
            let key = id.key();
            let digest = seen.now.clone().or_else(|| last(&key))?;
            Some((key, digest))
        })
        .collect()
}

/// Writes the outcome into the object. The error is the path of a field of the wrong shape.
pub fn apply(
    object: &mut Value,
    old: Option<&Value>,
    stamp: &Stamp,
    recorded: &Recorded,
    strategy: Strategy,
) -> Result<(), String> {
    match (stamp, old) {
        (Stamp::Keep, Some(old)) => {
            restore_template(object, old);
            remember(object, recorded)
        }
        (Stamp::Frozen { .. }, Some(old)) => keep(object, Some(old)),
        _ => {
            let rolls_out = matches!(stamp, Stamp::RollOut { .. });
            write_stamp(object, old, recorded, strategy, rolls_out)?;
            remember(object, recorded)
        }
    }
}

/// Keeps the stamp and the memory of `oldObject`, when nothing can be said about the config.
pub fn keep(object: &mut Value, old: Option<&Value>) -> Result<(), String> {
    let of_old = |path: &[&str], key| {
        old.and_then(|old| annotations::get(old, path, key))
            .map(str::to_owned)
    };
    match old {
        Some(old) if bare_template(object) == bare_template(old) => restore_template(object, old),
        _ => {
            for key in [CONFIG_HASH, CONFIG_VERSION] {
                annotations::set(object, TEMPLATE, key, of_old(TEMPLATE, key))?;
            }
        }
    }
    annotations::set(object, OBJECT, CONFIGS, of_old(OBJECT, CONFIGS))
}

/// Writes `kubernetes.io/change-cause`, unless the client gives a cause of its own in this request.
pub fn explain(
    object: &mut Value,
    old: Option<&Value>,
    changed: &[ConfigId],
) -> Result<(), String> {
    let given = annotations::get(object, OBJECT, CHANGE_CAUSE);
    let before = old.and_then(|old| annotations::get(old, OBJECT, CHANGE_CAUSE));
    if given.is_some() && given != before {
        return Ok(());
    }
    let cause = format!("config changed: {}", list(changed));
    annotations::set(object, OBJECT, CHANGE_CAUSE, Some(cause))
}

/// `ConfigMap a, Secret b`
pub fn list(configs: &[ConfigId]) -> String {
    configs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The template that the controllers see, without what this policy wrote. No annotations and an empty
/// map of them are the same to controllers; the API server keeps them apart in custom resources.
fn bare_template(workload: &Value) -> Value {
    let mut template = workload
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    for key in [CONFIG_HASH, CONFIG_VERSION] {
        // A template of the wrong shape has no annotations to remove.
        _ = annotations::set(&mut template, &["metadata"], key, None);
    }
    if let Some(metadata) = template.pointer_mut("/metadata") {
        remove_if_empty(metadata, "annotations");
    }
    remove_if_empty(&mut template, "metadata");
    template
}

fn remove_if_empty(parent: &mut Value, field: &str) {
    let is_empty = match parent.get(field) {
        Some(Value::Object(fields)) => fields.is_empty(),
        value => value.is_some_and(Value::is_null),
    };
    if let (true, Some(parent)) = (is_empty, parent.as_object_mut()) {
        parent.shift_remove(field);
    }
}

/// The templates are equal but for our own annotations: `oldObject`'s is the running one.
fn restore_template(object: &mut Value, old: &Value) {
    let running = old.pointer("/spec/template").cloned();
    if let (Some(template), Some(running)) = (object.pointer_mut("/spec/template"), running) {
        *template = running;
    }
}

fn write_stamp(
    object: &mut Value,
    old: Option<&Value>,
    recorded: &Recorded,
    strategy: Strategy,
    rolls_out: bool,
) -> Result<(), String> {
    let (hash, version) = match strategy {
        _ if recorded.is_empty() => (None, None),
        Strategy::Hash => (Some(hash(old, recorded, rolls_out)), None),
        Strategy::Version => {
            let version = next_version(old, recorded);
            (None, Some(version.to_string()))
        }
    };
    annotations::set(object, TEMPLATE, CONFIG_HASH, hash)?;
    annotations::set(object, TEMPLATE, CONFIG_VERSION, version)
}

/// The stamp over the recorded digests. The configs may have changed back to what the running stamp
/// stands for, unseen in between (ignored, say): to roll out, the stamp must differ even then.
fn hash(old: Option<&Value>, recorded: &Recorded, rolls_out: bool) -> String {
    let running = old.and_then(|old| annotations::get(old, TEMPLATE, CONFIG_HASH));
    let hash = digest::stamp(recorded);
    if rolls_out && running == Some(&hash) {
        digest::stamp_after(&hash, recorded)
    } else {
        hash
    }
}

/// One more than the version of before, unless nothing that it stands for has changed.
fn next_version(old: Option<&Value>, recorded: &Recorded) -> u64 {
    let before = old
        .and_then(|old| annotations::get(old, TEMPLATE, CONFIG_VERSION))
        .and_then(|version| version.parse::<u64>().ok());
    match before {
        None => 1,
        Some(before) if remembered(old).as_ref() == Some(recorded) => before,
        // Nobody counts so far; someone may have written it.
        Some(before) => before.checked_add(1).unwrap_or(1),
    }
}

fn remember(object: &mut Value, recorded: &Recorded) -> Result<(), String> {
    let text = (!recorded.is_empty())
        .then(|| serde_json::to_string(recorded))
        .transpose();
    annotations::set(
        object,
        OBJECT,
        CONFIGS,
        text.map_err(|error| error.to_string())?,
    )
}
