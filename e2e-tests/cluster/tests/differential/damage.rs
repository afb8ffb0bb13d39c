//! Whether each finding is true, and every loss is found.
//!
//! In: what Helm did, and the findings. Out: nothing, or what is wrong. References are read here on their own,
//! not with the code of the policy.

use std::collections::BTreeSet;

use cluster_tests::{ObjectState, Verb};
use helm_plan::findings::hook_not_run::Effect;
use helm_plan::findings::{Doubt, Fact, Finding, Level, Levels};
use helm_plan::manifest::{Object, ObjectId};
use rollout_guard::verdict::{Outcome, Verdict};
use serde_json::Value;

use crate::compare::{Course, show};
use crate::expect::Expectation;
use crate::run::{Recorded, Request};

/// Something that a workload refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    object: ObjectId,
    key: Option<String>,
    optional: bool,
}

/// Checks that the damage in the findings happened in the cluster, and that no other damage did.
pub(crate) fn check(
    recorded: &Recorded,
    expectation: &Expectation,
    course: Course,
) -> Result<(), String> {
    if course.is_predicted() {
        for finding in &expectation.findings {
            is_true(finding, recorded, course)
                .map_err(|error| format!("this finding is not true: {finding}: {error}"))?;
        }
    }
    every_loss_is_found(recorded, expectation)
}

/// If the current revision has no record, the policy says so, and rejects only what is true.
pub(crate) fn check_alone(recorded: &Recorded, expectation: &Expectation) -> Result<(), String> {
    let Some(verdict) = &expectation.verdict else {
        return Ok(());
    };
    let mut warnings = verdict.warnings.iter();
    ensure(
        warnings.any(|warning| warning.contains("was not checked")),
        &format!("the policy does not say that it could not compare: {verdict:?}"),
    )?;
    let rejects = matches!(verdict.outcome, Outcome::Reject { .. });
    if !rejects || !recorded.output.status.success() {
        return Ok(());
    }
    let levels = Levels::default();
    let mut rejected = expectation
        .findings
        .iter()
        .filter(|finding| levels.of(finding.lint()) == Level::Reject && !finding.is_uncertain());
    rejected.try_for_each(|finding| {
        is_true(finding, recorded, Course::Completed)
            .map_err(|error| format!("this finding is not true: {finding}: {error}"))
    })
}

fn is_true(finding: &Finding, recorded: &Recorded, course: Course) -> Result<(), String> {
    let id = &finding.object;
    let before = recorded.before.get(id);
    let after = recorded.after.get(id);
    let consumers = || {
        let consumers = finding.consumers.iter();
        consumers.filter_map(|consumer| Some((consumer, recorded.after.get(consumer)?)))
    };
    let gone = || ensure(after.is_none(), "it still exists");
    let other_object = || after.is_none_or(|after| before.is_none_or(|b| b.uid != after.uid));
    let needs = |needed: &ObjectId| {
        consumers().try_for_each(|(consumer, state)| {
            let mut references = references(state).into_iter();
            let needs = references.any(|r| r.object == *needed && !r.optional);
            ensure(needs, &format!("{consumer} does not need {needed}"))
        })
    };
    let needed = || needs(id);
    if finding.doubt == Some(Doubt::NobodyRuns) {
        consumers().try_for_each(|(consumer, state)| {
            ensure(is_idle(consumer, state), &format!("{consumer} has pods"))
        })?;
    }
    match &finding.fact {
        Fact::HookPruned(_) | Fact::HookHelperPruned(_) => gone(),
        Fact::HookSelfDeleted(_) => gone().and_then(|()| needed()),
        Fact::DanglingReference(_) => match after {
            None => needed(),
            Some(after) => consumers().try_for_each(|(consumer, state)| {
                let mut references = references(state).into_iter();
                let needs = references.any(|r| {
                    r.object == *id && !r.optional && r.key.is_some_and(|key| !has_key(after, &key))
                });
                ensure(needs, &format!("{consumer} needs no key that is gone"))
            }),
        },
        Fact::HookTooLate(_) => {
            needed()?;
            let created = last_created(&recorded.requests, id).ok_or("it was not created")?;
            let applied = finding
                .consumers
                .iter()
                .filter_map(|consumer| {
                    let mut requests = recorded.requests.iter();
                    requests.position(|r| r.object == *consumer)
                })
                .max();
            ensure(
                applied.is_none_or(|applied| applied < created),
                "it was created before the workload",
            )?;
            let earlier = recorded.requests.get(..created).unwrap_or_default();
            ensure(!exists_after(before, earlier, id), "it existed already")
        }
        // The records do not show what an earlier hook left behind.
        Fact::HookConflict(_) if finding.is_uncertain() => Ok(()),
        Fact::HookConflict(_) => {
            let mut requests = recorded.requests.iter();
            let conflicts = requests.any(|r| r.object == *id && r.code == 409);
            ensure(
                course == Course::Conflict && conflicts,
                "there was no conflict",
            )
        }
        // The first run may have nothing to delete yet. Then the finding is about the next run.
        Fact::HookRecreatesStorage(_) | Fact::HookRecreatesObject(_) => {
            ensure(before.is_none() || other_object(), "it is the same object")
        }
        Fact::MakerDeleted(fact) => gone().and_then(|()| needs(&fact.made)),
        Fact::OtherRelease(fact) => {
            gone()?;
            let owner = before.and_then(|before| {
                let annotations = before.content.pointer("/metadata/annotations")?;
                annotations.get("meta.helm.sh/release-name")?.as_str()
            });
            ensure(owner == Some(&fact.release), "it is of another release")
        }
        Fact::HookNotRun(fact) => match &fact.effect {
            Effect::NotCreated { is_absent: true } => gone().and_then(|()| needed()),
            // Something may have created it before.
            Effect::NotCreated { is_absent: false } => Ok(()),
            Effect::NoKey(key) => {
                let is_missing = after.is_some_and(|after| !has_key(after, key));
                ensure(is_missing || finding.is_uncertain(), "it has the key")
            }
            Effect::OtherContent => {
                let (Some(before), Some(after)) = (before, after) else {
                    return Ok(());
                };
                ensure(data(before) == data(after), "it has changed")
            }
        },
        Fact::HookWaits(_) if finding.is_uncertain() => Ok(()),
        Fact::HookWaits(_) => finding.consumers.iter().try_for_each(|hook| {
            let mut requests = recorded.requests.iter();
            let started = requests.position(|r| r.object == *hook && r.verb != Verb::Delete);
            let started = started.ok_or("the hook that needs it did not run")?;
            let earlier = recorded.requests.get(..started).unwrap_or_default();
            ensure(!exists_after(before, earlier, id), "it existed already")
        }),
        // Those in a namespace that is made again do not come back by themselves.
        Fact::NamespaceDeleted(_) | Fact::CrdDeleted(_) => {
            ensure(other_object(), "it is the same object")
        }
        // It was pruned after a hook created it, or deleted by a hook with the same name. No record shows that.
        Fact::NoRollout(_) if before.is_none() => Ok(()),
        Fact::NoRollout(_) => {
            let (Some(before), Some(after)) = (before, after) else {
                return Err("it does not exist both before and after".to_owned());
            };
            ensure(data(before) != data(after), "its data is the same")?;
            consumers().try_for_each(|(consumer, state)| {
                let old = recorded.before.get(consumer).map(generation);
                ensure(
                    old == Some(generation(state)),
                    &format!("{consumer} was rolled out"),
                )
            })
        }
    }
}

/// The promise: if a workload of the target loses something that it needs, there is a finding, and the policy
/// rejects the release unless something else may recreate the object.
fn every_loss_is_found(recorded: &Recorded, expectation: &Expectation) -> Result<(), String> {
    let levels = Levels::default();
    let found: Vec<_> = expectation
        .findings
        .iter()
        .filter(|finding| levels.of(finding.lint()) == Level::Reject || finding.is_uncertain())
        .collect();
    let target = &expectation.target;
    // A Deployment that a hook of an older revision left behind belongs to no revision. Only what runs now counts.
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
            let is_lost = match (recorded.after.get(&object), &key) {
                (None, _) => true,
                (Some(after), Some(key)) => has_key(before, key) && !has_key(after, key),
                (Some(_), None) => false,
            };
            let is_older = is_of_an_older_revision(&object, workload, expectation)
                || key.is_some_and(|key| {
                    // Hooks before the conflict have written config that the old pods use. That Helm fails is said.
                    fails_for_a_conflict(expectation)
                        || is_key_of_an_older_revision(&object, &key, expectation)
                });
            if !is_lost || optional || is_older {
                continue;
            }
            let loss = format!(
                "{} or one of its keys is lost, and {workload} needs it",
                show(&object)
            );
            let mut of_object = found.iter().filter(|finding| finding.object == object);
            let counts = |finding: &&Finding| {
                is_idle(workload, state) || finding.doubt != Some(Doubt::NobodyRuns)
            };
            if !of_object.any(counts) {
                return Err(format!("{loss}, but there is no finding"));
            }
            if let Some(verdict) = &expectation.verdict
                && !is_reported(verdict, &object)
            {
                return Err(format!("{loss}, but the policy answers {verdict:?}"));
            }
        }
    }
    Ok(())
}

/// Whether neither of the two revisions makes the workload need the object. The API server never removes the ServiceAccount
/// from a pod template that no longer names one, and fields stay that client-side apply wrote before a release went over
/// to server-side apply. The plan knows only what the two revisions name.
fn is_of_an_older_revision(
    object: &ObjectId,
    workload: &ObjectId,
    expectation: &Expectation,
) -> bool {
    let releases = [Some(&expectation.target), expectation.current.as_ref()];
    let mut manifests = releases.into_iter().flatten().flat_map(|release| {
        let hooks = release.hooks.iter().flat_map(|hook| &hook.objects);
        release.resources.iter().chain(hooks)
    });
    let names = |manifest: &Object| {
        let mut found = Vec::new();
        collect(manifest.body.get("spec"), &workload.namespace, &mut found);
        let mut required = found.iter().filter(|reference| !reference.optional);
        manifest.id == *workload && required.any(|reference| reference.object == *object)
    };
    !manifests.any(names)
}

fn fails_for_a_conflict(expectation: &Expectation) -> bool {
    let mut findings = expectation.findings.iter();
    findings.any(|finding| matches!(finding.fact, Fact::HookConflict(_)) && !finding.is_uncertain())
}

/// A rollback does not run the hooks of upgrades, so that their objects are those of an older revision, of which no record is
/// read. That the new revision needs a key that neither revision has is a fault of the chart, which is there without
/// an upgrade too.
fn is_key_of_an_older_revision(object: &ObjectId, key: &str, expectation: &Expectation) -> bool {
    let releases = [Some(&expectation.target), expectation.current.as_ref()];
    let releases = releases.into_iter().flatten();
    let hooks = releases.flat_map(|release| &release.hooks);
    let declared: Vec<_> = hooks
        .flat_map(|hook| &hook.objects)
        .filter(|declared| declared.id == *object)
        .collect();
    let has = |declared: &&Object| {
        ["data", "stringData", "binaryData"].iter().any(|field| {
            declared
                .body
                .get(field)
                .and_then(|data| data.get(key))
                .is_some()
        })
    };
    declared.len() == 2 && !declared.iter().any(has)
}

/// Whether a workload has no pods now: it has no replicas, is suspended, or has run.
fn is_idle(workload: &ObjectId, state: &ObjectState) -> bool {
    let spec = |field: &str| state.content.get("spec")?.get(field);
    workload.kind == "Job"
        || spec("replicas") == Some(&0.into())
        || spec("suspend") == Some(&true.into())
}

/// Rejected because of this object, or a warning if something else may recreate it.
fn is_reported(verdict: &Verdict, object: &ObjectId) -> bool {
    let names = |text: &String| text.contains(&object.to_string());
    let rejected = matches!(&verdict.outcome, Outcome::Reject { message, .. } if names(message));
    rejected || verdict.warnings.iter().any(names)
}

fn ensure(condition: bool, otherwise: &str) -> Result<(), String> {
    condition.then_some(()).ok_or_else(|| otherwise.to_owned())
}

fn last_created(requests: &[Request], id: &ObjectId) -> Option<usize> {
    requests
        .iter()
        .rposition(|r| r.object == *id && r.verb != Verb::Delete && r.code == 201)
}

fn exists_after(before: Option<&ObjectState>, requests: &[Request], id: &ObjectId) -> bool {
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

/// What the pods of a live object refer to, found by the names of fields at any depth. It shares no code with
/// `pod-references`.
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
