//! Whether the pod template gets a new stamp.
//!
//! In: the workload of the request, the stored workload (`oldObject`), and the configs that have changed.
//! Out: the [`Stamp`] and the stamped object. Refuses: an object of the wrong shape.
//!
//! The invariant: the stamp changes only when the content of a config has changed, whatever else the request
//! changes. The templates of object and `oldObject` are never compared to decide: webhooks behind this policy
//! and the API server edit the template too, so an unchanged manifest may look changed. A template that does
//! change restarts its pods with the stamp that they have.

use serde_json::Value;

use super::{memory::Recorded, references::ConfigId, rollout::Hold};
use crate::{
    annotations::{self, CHANGE_CAUSE, CONFIG_HASH, CONFIG_VERSION, CONFIGS, OBJECT, TEMPLATE},
    settings::Strategy,
};

/// What to do with the stamp of the pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// A new workload gets its first one.
    New,
    /// Config has changed: another one rolls the pods out.
    RollOut,
    /// The same, held back.
    Held(Hold),
    /// Nothing that counts has changed, or the policy sees this workload for the first time.
    Keep,
}

/// Decides about the stamp. `is_new`: there is no stored workload.
pub fn decide(is_new: bool, has_changed: bool, hold: Option<Hold>) -> Stamp {
    match (is_new, has_changed, hold) {
        (true, _, _) => Stamp::New,
        (false, false, _) => Stamp::Keep,
        (false, true, None) => Stamp::RollOut,
        (false, true, Some(hold)) => Stamp::Held(hold),
    }
}

/// Writes the outcome into the object.
pub fn apply(
    object: &mut Value,
    old: Option<&Value>,
    stamp: Stamp,
    recorded: &Recorded,
    strategy: Strategy,
) -> Result<(), annotations::Error> {
    match stamp {
        Stamp::Keep | Stamp::Held(_) => keep_stamp(object, old)?,
        Stamp::New | Stamp::RollOut => write_stamp(object, old, recorded, strategy)?,
    }
    annotations::set(object, OBJECT, CONFIGS, recorded.to_text())
}

/// Keeps the stamp and the record of `oldObject`, when the config is not read.
pub fn keep(object: &mut Value, old: Option<&Value>) -> Result<(), annotations::Error> {
    keep_stamp(object, old)?;
    let record = old.and_then(|old| annotations::get(old, OBJECT, CONFIGS));
    annotations::set(object, OBJECT, CONFIGS, record.map(str::to_owned))
}

fn keep_stamp(object: &mut Value, old: Option<&Value>) -> Result<(), annotations::Error> {
    if let Some(old) = old
        && bare_template(object) == bare_template(old)
    {
        // In custom resources, even an empty map of annotations can make a difference.
        restore_template(object, old);
        return Ok(());
    }
    for key in [CONFIG_HASH, CONFIG_VERSION] {
        let stored = old.and_then(|old| annotations::get(old, TEMPLATE, key));
        annotations::set(object, TEMPLATE, key, stored.map(str::to_owned))?;
    }
    Ok(())
}

/// What `kubernetes.io/change-cause` says of a rollout by this policy.
const CAUSE: &str = "config changed: ";

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
    let cause = format!("{CAUSE}{}", super::list(changed));
    annotations::set(object, OBJECT, CHANGE_CAUSE, Some(cause))
}

/// Removes our cause when the next revision has another one: the deployment controller would copy ours to it.
/// A template that only looks changed loses nothing, for the controller has copied the cause already.
pub fn forget_cause(object: &mut Value, old: &Value) -> Result<(), annotations::Error> {
    let given = annotations::get(object, OBJECT, CHANGE_CAUSE);
    let is_ours = given.is_some_and(|given| given.starts_with(CAUSE));
    let is_stored = given == annotations::get(old, OBJECT, CHANGE_CAUSE);
    if is_ours && is_stored && bare_template(object) != bare_template(old) {
        annotations::set(object, OBJECT, CHANGE_CAUSE, None)?;
    }
    Ok(())
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
) -> Result<(), annotations::Error> {
    let (hash, version) = match strategy {
        Strategy::Hash => (Some(hash(old, recorded)), None),
        Strategy::Version => (None, Some(next_version(old).to_string())),
    };
    let uses_config = !recorded.0.is_empty();
    annotations::set(object, TEMPLATE, CONFIG_HASH, hash.filter(|_| uses_config))?;
    annotations::set(
        object,
        TEMPLATE,
        CONFIG_VERSION,
        version.filter(|_| uses_config),
    )
}

/// The stamp over the record. The configs may have changed back to what the running stamp stands for, while
/// the policy did not see it (they were ignored, for example): to roll out, the stamp must differ even then.
fn hash(old: Option<&Value>, recorded: &Recorded) -> String {
    let running = old.and_then(|old| annotations::get(old, TEMPLATE, CONFIG_HASH));
    let hash = config_digest::stamp(&recorded.0);
    if running == Some(&hash) {
        config_digest::stamp_after(&hash, &recorded.0)
    } else {
        hash
    }
}

/// One more than the running version.
fn next_version(old: Option<&Value>) -> u64 {
    let running = old
        .and_then(|old| annotations::get(old, TEMPLATE, CONFIG_VERSION))
        .and_then(|version| version.parse::<u64>().ok());
    // Only somebody who writes it by hand gets to the largest number.
    running
        .and_then(|running| running.checked_add(1))
        .unwrap_or(1)
}
