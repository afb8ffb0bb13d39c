//! Whether the pod template gets a new stamp, and which digests are recorded.
//!
//! In: the workload of the request, the stored workload (`oldObject`), and what was seen of each config.
//! Out: the [`Stamp`] and the stamped object. Refuses: an object of the wrong shape. A record that cannot
//! be read counts as none.
//!
//! The invariant: unchanged config and unchanged template ⇒ byte-identical template, whatever the
//! client sent. So only the record on `oldObject` counts, and templates are compared without our own
//! annotations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

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
    /// Its digest, over the keys that the workload in the request uses. `None`: the pods cannot start,
    /// because the config or a key that they require is missing.
    pub digest: Option<String>,
    /// If the recorded digest is one of these, the config has not changed. The record does not say over
    /// which keys a digest was made, so these are the digests over the keys that `oldObject` uses and
    /// over those that the object in the request uses, each with `imagePullSecrets` and without. Empty:
    /// none can be made, as above.
    pub unchanged_digests: BTreeSet<String>,
}

/// What to do with the pod template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// A new workload, or a template that changes anyway: its new pods read the current config. `changed`
    /// are the configs whose digests differ from the recorded ones.
    Fresh { changed: Vec<ConfigId> },
    /// Only config changed: a new stamp rolls the pods out.
    RollOut { changed: Vec<ConfigId> },
    /// The same, held back by `rollout-guard/freeze`.
    Frozen { changed: Vec<ConfigId> },
    /// Nothing that counts has changed.
    Keep,
}

/// The digests that are recorded on a workload. `None`: the policy never stamped it.
pub fn recorded_on(workload: &Value) -> Option<Recorded> {
    let recorded = annotations::get(workload, OBJECT, CONFIGS)?;
    serde_json::from_str(recorded).ok()
}

/// The configs whose content has changed, among those that are recorded and still in use.
pub fn changed(recorded: &Recorded, seen: &BTreeMap<ConfigId, Seen>) -> Vec<ConfigId> {
    let has_changed = |id: &ConfigId, seen: &Seen| match recorded.get(&id.key()) {
        // It is missing, and a rollout would not help.
        Some(_) if seen.digest.is_none() => false,
        Some(recorded) => {
            let unchanged = &seen.unchanged_digests;
            !unchanged.contains(recorded)
                && unchanged.iter().any(|digest| comparable(recorded, digest))
        }
        // Used for the first time.
        None => false,
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
        Some(_) | None => Stamp::Fresh { changed },
    }
}

/// The digests to record. A required config that was deleted keeps its last digest, so that it counts as
/// changed when it comes back with other content, and only then.
pub fn to_record(last: Option<&Recorded>, seen: &BTreeMap<ConfigId, Seen>) -> Recorded {
    let last_digest = |key: &String| last.and_then(|last| last.get(key)).cloned();
    seen.iter()
        .filter_map(|(id, seen)| {
            let key = id.key();
            let digest = seen.digest.clone().or_else(|| last_digest(&key))?;
            Some((key, digest))
        })
        .collect()
}

/// Writes the outcome into the object.
pub fn apply(
    object: &mut Value,
    old: Option<&Value>,
    stamp: &Stamp,
    recorded: &Recorded,
    strategy: Strategy,
) -> Result<(), annotations::Error> {
    match (stamp, old) {
        (Stamp::Keep, Some(old)) => {
            restore_template(object, old);
            record(object, recorded)
        }
        (Stamp::Frozen { .. }, Some(old)) => keep(object, Some(old)),
        (Stamp::Fresh { .. } | Stamp::RollOut { .. }, _) | (_, None) => {
            let rolls_out = matches!(stamp, Stamp::RollOut { .. });
            write_stamp(object, old, recorded, strategy, rolls_out)?;
            record(object, recorded)
        }
    }
}

/// Keeps the stamp and the record of `oldObject`, when the config is not known.
pub fn keep(object: &mut Value, old: Option<&Value>) -> Result<(), annotations::Error> {
    let of_old = |path: &[&str], key| {
        old.and_then(|old| annotations::get(old, path, key))
            .map(str::to_owned)
    };
    match old {
        Some(old) if bare_template(object) == bare_template(old) => restore_template(object, old),
        Some(_) | None => {
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
) -> Result<(), annotations::Error> {
    let given = annotations::get(object, OBJECT, CHANGE_CAUSE);
    let stored = old.and_then(|old| annotations::get(old, OBJECT, CHANGE_CAUSE));
    if given.is_some() && given != stored {
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

/// The template without what this policy wrote. Controllers treat an empty map of annotations like none,
/// but the API server keeps it in custom resources.
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

/// For templates that differ only in our own annotations: takes the one of `oldObject`, which is running.
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
) -> Result<(), annotations::Error> {
    let (hash, version) = match strategy {
        Strategy::Hash => (Some(hash(old, recorded, rolls_out)), None),
        Strategy::Version => (None, Some(next_version(old, recorded).to_string())),
    };
    let uses_config = !recorded.is_empty();
    annotations::set(object, TEMPLATE, CONFIG_HASH, hash.filter(|_| uses_config))?;
    annotations::set(
        object,
        TEMPLATE,
        CONFIG_VERSION,
        version.filter(|_| uses_config),
    )
}

/// The stamp over the recorded digests. The configs may have changed back to what the running stamp
/// stands for, while the policy did not see it (they were ignored, for example): to roll out, the stamp
/// must differ even then.
fn hash(old: Option<&Value>, recorded: &Recorded, rolls_out: bool) -> String {
    let running = old.and_then(|old| annotations::get(old, TEMPLATE, CONFIG_HASH));
    let hash = digest::stamp(recorded);
    if rolls_out && running == Some(&hash) {
        digest::stamp_after(&hash, recorded)
    } else {
        hash
    }
}

/// One more than the running version, unless nothing that it stands for has changed.
fn next_version(old: Option<&Value>, recorded: &Recorded) -> u64 {
    let running = old
        .and_then(|old| annotations::get(old, TEMPLATE, CONFIG_VERSION))
        .and_then(|version| version.parse::<u64>().ok());
    match running {
        None => 1,
        Some(running) if old.and_then(recorded_on).as_ref() == Some(recorded) => running,
        // Only somebody who writes it by hand gets to the largest number.
        Some(running) => running.checked_add(1).unwrap_or(1),
    }
}

fn record(object: &mut Value, recorded: &Recorded) -> Result<(), annotations::Error> {
    let digests: Map<String, Value> = recorded
        .iter()
        .map(|(key, digest)| (key.clone(), digest.as_str().into()))
        .collect();
    let text = (!digests.is_empty()).then(|| Value::Object(digests).to_string());
    annotations::set(object, OBJECT, CONFIGS, text)
}
