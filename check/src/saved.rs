//! Release records that were saved: from a backup, an audit log, or `kubectl get`.
//!
//! In: the text of a file. Out: the [`Record`]s in it. Refuses: a text that is neither JSON nor YAML, a record that cannot be read,
//! and a file without any.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use helm_plan::{Driver, Operation, Record, Release, Status, manifest, record, yaml};
use serde_json::{Deserializer, Value};

use crate::helm::Change;

/// The largest record after decoding, in bytes: the default of the policy.
pub(crate) const MAX_RECORD_BYTES: u64 = 32 * 1024 * 1024;

/// The revisions of the releases in some files, by namespace, name and number.
#[derive(Default)]
pub(crate) struct Saved(BTreeMap<(String, String), Revisions>);

/// The revisions of a release.
pub(crate) type Revisions = BTreeMap<u64, Record>;

impl Saved {
    /// Adds the records in the text of a file.
    pub(crate) fn add(&mut self, text: &str) -> Result<()> {
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
            self.0
                .entry(release)
                .or_default()
                .insert(record.version, record);
            found = true;
        }
        ensure!(found, "there is no release record in it");
        Ok(())
    }

    /// The revisions of each release.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Revisions> {
        self.0.values()
    }

    /// What each record did, or was about to do, as far as the record that it began with was saved too.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Result<Past>> {
        let releases = self.0.values();
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
    let operation = operation(target);
    let before = revisions.range(..number);
    let current = match operation {
        Operation::Install => None,
        // A rollback begins with the last revision, whatever became of it.
        Operation::Rollback => before.last().filter(|(last, _)| **last + 1 == number),
        // An upgrade begins with the revision that was deployed then. It is superseded since.
        Operation::Upgrade => {
            let was_deployed = |record: &Record| {
                matches!(record.info.status, Status::Superseded | Status::Deployed)
            };
            let deployed = before
                .clone()
                .rev()
                .find(|(_, record)| was_deployed(record));
            deployed.or_else(|| {
                before
                    .clone()
                    .last()
                    .filter(|(last, _)| **last + 1 == number)
            })
        }
    };
    if current.is_none() && operation != Operation::Install {
        return Ok(Past::NotCompared {
            release: target.name.clone(),
            namespace: target.namespace.clone(),
            revision: number,
        });
    }
    let current = current.map(|(_, record)| Release::parse(record.clone()));
    Ok(Past::Change(Box::new(Change {
        operation,
        current: current.transpose()?,
        target: Release::parse(target.clone())?,
    })))
}

/// What made a revision.
fn operation(record: &Record) -> Operation {
    match Operation::pending(record.info.status) {
        Some(operation) => operation,
        None if record.info.rollback_target().is_some() => Operation::Rollback,
        None if record.version == 1 => Operation::Install,
        None => Operation::Upgrade,
    }
}

/// JSON values one after the other (an audit log has one in each line), or documents of YAML.
fn values(text: &str) -> Result<Vec<Value>> {
    let json: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter().collect();
    if let Ok(values) = json {
        return Ok(values);
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
    for path in ["/requestObject", "/request/object"] {
        if let Some(object) = value.pointer_mut(path) {
            return objects.push(object.take());
        }
    }
    objects.push(value);
}
