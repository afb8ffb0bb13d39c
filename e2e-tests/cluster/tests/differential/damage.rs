//! Are the findings true, and is every loss found?

use std::collections::BTreeSet;

use cluster_tests::{ObjectState, Verb};
use rollout_guard::release_guard::findings::{Finding, Lint};
use rollout_guard::release_guard::manifest::{Object, ObjectId};
use rollout_guard::settings::{Level, Levels};
use rollout_guard::verdict::{Outcome, Verdict};
use serde_json::Value;

use crate::compare::{Course, show};
use crate::expect::Expectation;
use crate::run::{Objects, Recorded, Request};

/// Something that a workload refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    object: ObjectId,
    key: Option<String>,
    optional: bool,
}

/// Checks the damage that findings speak of against the cluster, and the other way around.
pub(crate) fn check(
    recorded: &Recorded,
    expectation: &Expectation,
    course: Course,
) -> Result<(), String> {
    if course.is_foretold() {
        for finding in &expectation.findings {
            is_true(finding, recorded, course)
                .map_err(|error| format!("this is not true: {finding}: {error}"))?;
        }
    }
    every_loss_is_found(recorded, expectation)
}

fn is_true(finding: &Finding, recorded: &Recorded, course: Course) -> Result<(), String> {
    let id = &finding.object;
    let before = recorded.before.get(id);
    let after = recorded.after.get(id);
    let users = || {
        let users = finding.users.iter();
        users.filter_map(|user| Some((user, user_state(&recorded.after, id, user)?)))
    };
    let gone = || ensure(after.is_none(), "it is still there");
    let needed = || {
        users().try_for_each(|(user, state)| {
            let mut references = references(state).into_iter();
            let needs = references.any(|r| r.object == *id && !r.optional);
            ensure(needs, &format!("{user} does not need it"))
        })
    };
    match finding.lint {
        Lint::HookPruned | Lint::HookHelperPruned => gone(),
        Lint::HookSelfDeleted => gone().and_then(|()| needed()),
        Lint::DanglingReference => match after {
            None => needed(),
            Some(after) => users().try_for_each(|(user, state)| {
                let mut references = references(state).into_iter();
                let needs = references.any(|r| {
                    r.object == *id && !r.optional && r.key.is_some_and(|key| !has_key(after, &key))
                });
                ensure(needs, &format!("{user} needs no key that is gone"))
            }),
        },
        Lint::HookTooLate => {
            needed()?;
            let made = last_made(&recorded.requests, id).ok_or("it was not made")?;
            let applied = finding
                .users
                .iter()
                .filter_map(|user| {
                    recorded
                        .requests
                        .iter()
                        .position(|r| names_user(&r.object, id, user))
                })
                .max();
            ensure(
                applied.is_none_or(|applied| applied < made),
                "it was made before the workload",
            )?;
            let earlier = recorded.requests.get(..made).unwrap_or_default();
            ensure(!is_there_after(before, earlier, id), "it was there")
        }
        // What an earlier hook left is not in the records.
        Lint::HookConflict if finding.uncertain => Ok(()),
        Lint::HookConflict => {
            let mut requests = recorded.requests.iter();
            let met = requests.any(|r| r.object == *id && r.code == 409);
            ensure(course == Course::Conflict && met, "there was no conflict")
        }
        Lint::HookRecreatesStorage => {
            // At the first time there may be nothing to delete yet: the finding then speaks of the next.
            let lost =
                before.is_none_or(|before| after.is_none_or(|after| before.uid != after.uid));
            ensure(lost, "it is the same")
        }
        // Pruned since a hook made it, or deleted by a hook of the same name: no record tells.
        Lint::NoRollout if before.is_none() => Ok(()),
        Lint::NoRollout => {
            let (Some(before), Some(after)) = (before, after) else {
                return Err("it is not there all the time".to_owned());
            };
            ensure(data(before) != data(after), "its data is the same")?;
            users().try_for_each(|(user, state)| {
                let old = user_state(&recorded.before, id, user).map(generation);
                ensure(
                    old == Some(generation(state)),
                    &format!("{user} was rolled out"),
                )
            })
        }
    }
}

/// The promise: what a workload of the target needs and loses is found, and rejected unless
/// something else may make it anew.
fn every_loss_is_found(recorded: &Recorded, expectation: &Expectation) -> Result<(), String> {
    let levels = Levels::default();
    let found: BTreeSet<_> = expectation
        .findings
        .iter()
        .filter(|finding| levels.of(finding.lint) == Level::Reject || finding.uncertain)
        .map(|finding| &finding.object)
        .collect();
    let target = &expectation.target;
    // A Deployment that a hook of an older revision has left is nobody's: only what runs now counts.
    let hooks = target.hooks.iter();
    let runs = hooks.filter(|hook| hook.runs_at(expectation.operation));
    let targets: BTreeSet<_> = target
        .resources
        .iter()
        .chain(runs.flat_map(|hook| &hook.objects))
        .map(|object| object.id.clone())
        .collect();
    for (workload, state) in &recorded.after {
        let kind = workload.kind.as_str();
        if !matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet")
            || !targets.contains(workload)
        {
            continue;
        }
        for Reference {
            object,
            key,
            optional,
        } in references(state)
        {
            let Some(before) = recorded.before.get(&object) else {
                continue;
            };
            let is_lost = match (recorded.after.get(&object), key) {
                (None, _) => true,
                (Some(after), Some(key)) => has_key(before, &key) && !has_key(after, &key),
                (Some(_), None) => false,
            };
            if !is_lost || optional || is_of_an_older_revision(&object, workload, expectation) {
                continue;
            }
            let loss = format!(
                "{} or a key of it is lost, {workload} needs it",
                show(&object)
            );
            if !found.contains(&object) {
                return Err(format!("{loss}, and nothing was found"));
            }
            if let Some(verdict) = &expectation.verdict
                && !is_told(verdict, &object)
            {
                return Err(format!("{loss}, and the policy says {verdict:?}"));
            }
        }
    }
    Ok(())
}

/// The API server never takes a ServiceAccount away from a pod template that no longer names one. The
/// policy knows those that the current revision names.
fn is_of_an_older_revision(
    account: &ObjectId,
    workload: &ObjectId,
    expectation: &Expectation,
) -> bool {
    let releases = [Some(&expectation.target), expectation.current.as_ref()];
    let mut manifests = releases
        .into_iter()
        .flatten()
        .flat_map(|release| &release.resources)
        .filter(|object| object.id == *workload);
    let named = |object: &Object| {
        let field = object
            .body
            .pointer("/spec/template/spec/serviceAccountName");
        field.and_then(Value::as_str) == Some(&account.name)
    };
    account.kind == "ServiceAccount" && !manifests.any(named)
}

/// Rejected for this object, or a warning where something else may make it anew.
fn is_told(verdict: &Verdict, object: &ObjectId) -> bool {
    let names = |text: &String| text.contains(&object.to_string());
    let rejected = matches!(&verdict.outcome, Outcome::Reject { message, .. } if names(message));
    rejected || verdict.warnings.iter().any(names)
}

fn ensure(condition: bool, otherwise: &str) -> Result<(), String> {
    condition.then_some(()).ok_or_else(|| otherwise.to_owned())
}

/// Findings name users like this: `Deployment web`; they are in the namespace of the object.
fn names_user(candidate: &ObjectId, object: &ObjectId, user: &str) -> bool {
    candidate.namespace == object.namespace && candidate.to_string() == user
}

fn user_state<'a>(objects: &'a Objects, object: &ObjectId, user: &str) -> Option<&'a ObjectState> {
    let mut objects = objects.iter();
    let found = objects.find(|(id, _)| names_user(id, object, user));
    found.map(|(_, state)| state)
}

fn last_made(requests: &[Request], id: &ObjectId) -> Option<usize> {
    requests
        .iter()
        .rposition(|r| r.object == *id && r.verb != Verb::Delete && r.code == 201)
}

fn is_there_after(before: Option<&ObjectState>, requests: &[Request], id: &ObjectId) -> bool {
    let changes = requests
        .iter()
        .filter(|r| r.object == *id && (200..300).contains(&r.code));
    changes.fold(before.is_some(), |_, r| r.verb != Verb::Delete)
}

fn generation(state: &ObjectState) -> Option<&Value> {
    state.content.pointer("/metadata/generation")
}

fn data(state: &ObjectState) -> Option<&Value> {
    state.content.get("data")
}

fn has_key(state: &ObjectState, key: &str) -> bool {
    data(state).is_some_and(|data| data.get(key).is_some())
}

/// What the pods of a live object refer to. Found by the names of the fields, wherever they are: it
/// shares nothing with the policy's own reading.
fn references(state: &ObjectState) -> Vec<Reference> {
    let namespace = state.content.pointer("/metadata/namespace");
    let namespace = namespace.and_then(Value::as_str).unwrap_or_default();
    let mut found = Vec::new();
    collect(state.content.get("spec"), namespace, &mut found);
    found
}

fn collect(value: Option<&Value>, namespace: &str, found: &mut Vec<Reference>) {
    let Some(value) = value else { return };
    if let Some(items) = value.as_array() {
        items
            .iter()
            .for_each(|item| collect(Some(item), namespace, found));
    }
    for (field, inner) in value.as_object().into_iter().flatten() {
        let kind = match field.as_str() {
            "configMap" | "configMapRef" | "configMapKeyRef" => "ConfigMap",
            "secret" | "secretRef" | "secretKeyRef" => "Secret",
            "persistentVolumeClaim" => "PersistentVolumeClaim",
            "serviceAccountName" => "ServiceAccount",
            _ => {
                collect(Some(inner), namespace, found);
                continue;
            }
        };
        let text = |field| inner.get(field).and_then(Value::as_str);
        let names = [
            inner.as_str(),
            text("name"),
            text("secretName"),
            text("claimName"),
        ];
        found.extend(names.into_iter().flatten().map(|name| Reference {
            object: ObjectId {
                group: String::new(),
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            key: text("key").map(str::to_owned),
            optional: inner.get("optional").and_then(Value::as_bool) == Some(true),
        }));
    }
}
