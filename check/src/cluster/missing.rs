//! What live workloads require, and does not exist.
//!
//! In: the workloads of a namespace, and what the revisions of the releases removed. Out: a [`Missing`] for each object, or each key of a
//! ConfigMap or Secret that exists. Refuses: a pod template of the wrong shape.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use helm_plan::{Record, Release, metadata};
use pod_references::{Keys, Kind, extra};

use super::{
    Missing, Named, Removal, Removed, Required, is_complete, resource, workload::Workload,
};
use crate::kubectl::Kubectl;

/// What pods can require by name, in the namespace of their own.
const NAMED: [Kind; 4] = [
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::PersistentVolumeClaim,
];

/// What is missing in a namespace. `failed` takes what could not be read.
pub(super) fn missing(
    namespace: &str,
    workloads: &[Workload],
    removed: &Removed,
    kubectl: &Kubectl,
    failed: &mut dyn FnMut(String) -> Result<()>,
) -> Result<Vec<Missing>> {
    let in_namespace = format!("--namespace={namespace}");
    let mut required = Requirements::new();
    for workload in workloads {
        add_requirements(workload, &mut required)?;
    }
    for kind in NAMED {
        let of_kind = |required: &Required| required.object.kind == kind;
        if !required.keys().any(of_kind) {
            continue;
        }
        match existing(kind, &required, &in_namespace, kubectl) {
            Ok(existing) => required.retain(|one, _| !existing.contains(one)),
            Err(error) => {
                required.retain(|one, _| !of_kind(one));
                failed(format!(
                    "{} in namespace {namespace}: {error:#}",
                    resource(kind)
                ))?;
            }
        }
    }
    // The keys of an object that is missing are no news.
    let gone = required.keys().filter(|one| one.key.is_none());
    let gone: BTreeSet<_> = gone.map(|one| one.object.clone()).collect();
    required.retain(|one, _| one.key.is_none() || !gone.contains(&one.object));
    let missing = required.into_iter().map(|(required, workloads)| {
        let key = (namespace.to_owned(), required);
        let removed_by = removed.get(&key).cloned();
        Missing {
            namespace: key.0,
            required: key.1,
            workloads,
            removed_by,
        }
    });
    Ok(missing.collect())
}

/// Who requires it.
type Requirements = BTreeMap<Required, BTreeSet<String>>;

/// What a workload requires now: nothing, if it is scaled to 0 or suspended.
fn add_requirements(workload: &Workload, required: &mut Requirements) -> Result<()> {
    if workload.is_idle() {
        return Ok(());
    }
    let id = &workload.id;
    let template = workload.needs()?;
    // A name that no object can have is nothing that could be missing.
    let extra = extra::needs(&workload.body).filter_map(Result::ok);
    for need in template.into_iter().chain(extra) {
        if need.optional || !NAMED.contains(&need.kind) {
            continue;
        }
        let object = Named {
            kind: need.kind,
            name: need.name,
        };
        let keys = match need.keys {
            Keys::All => BTreeSet::new(),
            Keys::Only(keys) => keys,
        };
        let parts = keys.into_iter().map(Some).chain([None]);
        for key in parts {
            let object = object.clone();
            let workloads = required.entry(Required { object, key });
            workloads.or_default().insert(id.clone());
        }
    }
    Ok(())
}

/// The objects of a kind, and their keys, if any of them are required.
fn existing(
    kind: Kind,
    required: &Requirements,
    in_namespace: &str,
    kubectl: &Kubectl,
) -> Result<BTreeSet<Required>> {
    /// The name and the keys of each object.
    const KEYS: &str = "--output=go-template={{range .items}}{{.metadata.name}}{{range $key, $value := .data}} {{$key}}{{end}}\
        {{range $key, $value := .binaryData}} {{$key}}{{end}}{{\"\\n\"}}{{end}}";
    let has_keys = |one: &Required| one.object.kind == kind && one.key.is_some();
    let keys_count = required.keys().any(has_keys);
    // The table has the content of no Secret.
    let output = if keys_count { KEYS } else { "--no-headers" };
    let resource = resource(kind);
    let table = kubectl.run(&["get", &resource, in_namespace, output, "--ignore-not-found"])?;
    let mut existing = BTreeSet::new();
    for line in String::from_utf8(table)?.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(name) = words.next() else {
            continue;
        };
        let object = Named { kind, name };
        // The other columns of the table are no keys.
        let keys = words.filter(|_| keys_count).map(Some);
        existing.extend(keys.chain([None]).map(|key| Required {
            object: object.clone(),
            key,
        }));
    }
    Ok(existing)
}

/// What earlier revisions had as regular resources and the newest one has not, with the revision that removed it. Helm compares a
/// rollback with the revision before it, and an upgrade with the last one that is complete, if there is one
/// ([`helm_plan::history`]).
pub(super) fn removed(revisions: &[(u64, &Record, Release)]) -> Removed {
    let mut removed = Removed::new();
    let (mut last, mut complete) = (BTreeSet::new(), None);
    for (number, record, release) in revisions {
        let (mut now, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for object in &release.resources {
            let id = &object.id;
            let Some(named) = Named::of(id, &NAMED) else {
                continue;
            };
            let fields = ["data", "binaryData", "stringData"];
            let keys = fields
                .iter()
                .filter_map(|field| object.body.get(field)?.as_object())
                .flat_map(serde_json::Map::keys);
            let parts = keys.cloned().map(Some).chain([None]);
            let parts = parts.map(|key| {
                let object = named.clone();
                (id.namespace.clone(), Required { object, key })
            });
            match metadata::is_kept(&object.body) {
                true => kept.extend(parts),
                false => now.extend(parts),
            }
        }
        for key in now.iter().chain(&kept) {
            removed.remove(key);
        }
        // What Helm keeps, somebody else has deleted.
        let is_complete = is_complete(record);
        let before = match &complete {
            Some(complete) if !record.info.is_rollback() => complete,
            _ => &last,
        };
        for key in before.difference(&now).filter(|key| !kept.contains(key)) {
            if is_complete || !removed.contains_key(key) {
                let removal = Removal {
                    release: record.name.clone(),
                    revision: *number,
                    is_complete,
                };
                removed.insert(key.clone(), removal);
            }
        }
        last = now;
        if is_complete {
            complete = Some(last.clone());
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use helm_plan::testing::{Docs, config, revision};

    use super::*;

    #[test]
    fn the_revision_that_removed_an_object() {
        let (a, kept, hook) = (
            config("a"),
            config("a").keep(),
            config("a").hook("pre-upgrade"),
        );
        let (a, kept, hook): (Docs<'_>, Docs<'_>, Docs<'_>) = (&[&a], &[&kept], &[&hook]);
        let none: Docs<'_> = &[];
        type Case<'a> = (&'a str, &'a [(&'a str, Docs<'a>)], Option<(u64, bool)>);
        let cases: [Case<'_>; 11] = [
            (
                "the second",
                &[("superseded", a), ("deployed", none)],
                Some((2, true)),
            ),
            (
                "a hook now",
                &[("superseded", a), ("deployed", hook)],
                Some((2, true)),
            ),
            (
                "an earlier one",
                &[("superseded", a), ("superseded", none), ("deployed", none)],
                Some((2, true)),
            ),
            (
                "one that failed",
                &[("deployed", a), ("failed", none)],
                Some((2, false)),
            ),
            (
                "one that hangs",
                &[("deployed", a), ("failed", none), ("pending-upgrade", none)],
                Some((2, false)),
            ),
            (
                "after one that failed",
                &[("superseded", a), ("failed", none), ("deployed", none)],
                Some((3, true)),
            ),
            (
                "a rollback, of what a failed one had",
                &[("superseded", none), ("failed", a), ("rollback", none)],
                Some((3, true)),
            ),
            (
                "not an upgrade",
                &[("superseded", none), ("failed", a), ("deployed", none)],
                None,
            ),
            (
                "none is complete",
                &[("failed", a), ("failed", none)],
                Some((2, false)),
            ),
            (
                "it is back",
                &[("superseded", a), ("superseded", none), ("deployed", a)],
                None,
            ),
            (
                "Helm keeps it",
                &[("superseded", kept), ("deployed", none)],
                None,
            ),
        ];
        for (case, revisions, expected) in cases {
            let numbered = (1..).zip(revisions);
            let revisions: Vec<_> = numbered
                .map(|(number, (status, docs))| match *status {
                    "rollback" => revision(number, docs).with("/info/description", "Rollback to 1"),
                    status => revision(number, docs).status(status),
                })
                .collect();
            let records: Vec<Record> = revisions
                .iter()
                .map(|revision| serde_json::from_value(revision.content.clone()).unwrap())
                .collect();
            let numbered = (1..).zip(records.iter().zip(&revisions));
            let parsed: Vec<_> = numbered
                .map(|(number, (record, revision))| (number, record, revision.release()))
                .collect();
            let removed = removed(&parsed);
            let found = removed
                .iter()
                .find(|((_, required), _)| required.key.is_none());
            let found = found.map(|(_, removal)| (removal.revision, removal.is_complete));
            assert_eq!(found, expected, "{case}");
        }
    }
}
