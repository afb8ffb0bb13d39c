//! Release records that were saved: from a backup, an audit log, or `kubectl get`.
//!
//! In: the text of a file. Out: the [`Record`]s in it. Refuses: a text that is neither JSON nor YAML, and a record that cannot be
//! read.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use helm_plan::{Driver, Operation, Record, Release, Status, manifest, record, yaml};
use serde_json::{Deserializer, Value};

use crate::helm::Change;

/// The largest record after decoding, in bytes: the default of the policy.
pub(crate) const MAX_RECORD_BYTES: u64 = 32 * 1024 * 1024;

/// The revisions of the releases in some files.
#[derive(Default)]
pub(crate) struct Saved {
    /// By namespace and name.
    releases: BTreeMap<(String, String), Revisions>,
    /// When their records were created, by namespace, name and number.
    created: BTreeMap<(String, String, u64), String>,
}

/// The revisions of a release.
pub(crate) type Revisions = BTreeMap<u64, Record>;

impl Saved {
    /// Adds the records in the text of a file. Returns whether there are any.
    pub(crate) fn add(&mut self, text: &str) -> Result<bool> {
        let mut objects = Vec::new();
        for value in values(text)? {
            collect(value, &mut objects);
        }
        let mut found = false;
        for object in &objects {
            let kind = object.get("kind").and_then(Value::as_str);
            let Some(driver) = Driver::of_record(kind.unwrap_or_default(), object) else {
                continue;
            };
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let record = record::decode(object, driver, MAX_RECORD_BYTES)
                .with_context(|| format!("release record {name}"))?;
            let release = (record.namespace.clone(), record.name.clone());
            let created = object.pointer("/metadata/creationTimestamp");
            if let Some(created) = created.and_then(Value::as_str) {
                let (namespace, name) = release.clone();
                self.created
                    .insert((namespace, name, record.version), created.to_owned());
            }
            self.releases
                .entry(release)
                .or_default()
                .insert(record.version, record);
            found = true;
        }
        Ok(found)
    }

    /// The revisions of each release.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Revisions> {
        self.releases.values()
    }

    /// When this record was created, as Kubernetes writes times.
    pub(crate) fn created(&self, record: &Record) -> Option<&str> {
        let key = (
            record.namespace.clone(),
            record.name.clone(),
            record.version,
        );
        self.created.get(&key).map(String::as_str)
    }

    /// What each record did, or was about to do, as far as the record that it began with was saved too.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Result<Past>> {
        let releases = self.releases.values();
        releases.flat_map(|revisions| revisions.keys().map(|&number| past(revisions, number)))
    }
}

/// What a revision did.
pub(crate) enum Past {
    Change(Box<Change>),
    /// The revision that it began with is not among those that were saved.
    NotCompared {
        release: String,
        namespace: String,
        revision: u64,
    },
}

/// What the revision with this number did.
fn past(revisions: &Revisions, number: u64) -> Result<Past> {
    let target = revisions.get(&number).context("no such revision")?;
    let operation = operation(revisions, target);
    let Some(current) = current(revisions, operation, number) else {
        return Ok(Past::NotCompared {
            release: target.name.clone(),
            namespace: target.namespace.clone(),
            revision: number,
        });
    };
    let current = current.map(|record| Release::parse(record.clone()));
    Ok(Past::Change(Box::new(Change {
        operation,
        current: current.transpose()?,
        target: Release::parse(target.clone())?,
    })))
}

/// What a revision started from. An upgrade starts from the revision that was deployed then, which is superseded since; it is not known
/// if a revision in between was not saved. The outer `None`: that.
fn current(revisions: &Revisions, operation: Operation, number: u64) -> Option<Option<&Record>> {
    let before = |number: u64| revisions.get(&number.checked_sub(1)?);
    match operation {
        Operation::Install => Some(None),
        // A rollback starts from the last revision, whatever became of it.
        Operation::Rollback => before(number).map(Some),
        Operation::Upgrade => {
            let last = before(number)?;
            let mut one = last;
            loop {
                if matches!(one.info.status, Status::Superseded | Status::Deployed) {
                    return Some(Some(one));
                }
                match before(one.version) {
                    Some(older) => one = older,
                    // All of them have failed.
                    None if one.version == 1 => return Some(Some(last)),
                    None => return None,
                }
            }
        }
    }
}

/// What made a revision. A rollback that has failed no longer says where to (helm `pkg/action/rollback.go`).
fn operation(revisions: &Revisions, record: &Record) -> Operation {
    let before = record
        .version
        .checked_sub(1)
        .and_then(|before| revisions.get(&before));
    let was_uninstalled = before.is_some_and(|before| before.info.status == Status::Uninstalled);
    match Operation::pending(record.info.status) {
        Some(operation) => operation,
        None if record.info.is_rollback() => Operation::Rollback,
        None if record.version == 1 || was_uninstalled => Operation::Install,
        None => Operation::Upgrade,
    }
}

/// JSON values one after the other (an audit log has one in each line), or documents of YAML.
fn values(text: &str) -> Result<Vec<Value>> {
    if text.trim_start().starts_with(['{', '[']) {
        let values = Deserializer::from_str(text).into_iter();
        return values
            .collect::<Result<_, _>>()
            .context("it is not valid JSON");
    }
    let documents = manifest::documents(text);
    documents
        .map(|document| Ok(yaml::parse(document)?))
        .collect()
}

/// The objects in a list, an event of an audit log, or a review.
fn collect(mut value: Value, objects: &mut Vec<Value>) {
    if let Some(Value::Array(items)) = value.get_mut("items") {
        for item in std::mem::take(items) {
            collect(item, objects);
        }
        return;
    }
    // An event of something that was refused, or tried only.
    let code = value
        .pointer("/responseStatus/code")
        .and_then(Value::as_u64);
    let uri = value.get("requestURI").and_then(Value::as_str);
    if code.is_some_and(|code| code >= 400) || uri.is_some_and(|uri| uri.contains("dryRun=")) {
        return;
    }
    for path in ["/requestObject", "/request/object"] {
        if let Some(object) = value.pointer_mut(path) {
            return objects.push(object.take());
        }
    }
    objects.push(value);
}
