//! Who needs an object: the pods of the target release.
//!
//! In: the target release. Out: each [`Consumer`] with what it needs, in the order of the manifest, then
//! the pods of hooks.
//! Refuses: a workload of Kubernetes itself whose pod template has the wrong shape.

use std::collections::BTreeSet;

use pod_references::{Keys, Kind, Need, WrongShape};
use serde_json::Value;

use crate::{
    declared::Declared,
    kinds::{self, PodTemplate},
    lifecycle::{Operation, Stage},
    manifest::{Object, ObjectId},
    release::{Hook, Release},
};

/// A workload whose pod template cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {source}")]
pub struct Error {
    /// The workload.
    pub object: Box<ObjectId>,
    /// What is wrong with its pod template.
    pub source: WrongShape,
}

/// A need of the pods of one object.
#[derive(Debug, Clone)]
pub struct Consumer<'a> {
    /// The object with the pod template.
    pub object: &'a Object,
    /// When its pods run.
    pub when: When,
    /// The hook that it is part of.
    pub hook: Option<&'a Hook>,
    /// What they need.
    pub needs: ObjectId,
    /// The keys that the pods cannot start without. `None`: they use the object as a whole.
    pub keys: Option<BTreeSet<String>>,
    /// The pods start without it.
    pub optional: bool,
    /// Its manifest no longer names the ServiceAccount, and its pods keep it.
    pub kept_by_api_server: bool,
    /// None of its pods runs now.
    pub is_idle: bool,
}

/// When the pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From the time at which the target's resources are applied.
    Workload,
    /// As a hook of this operation, until they are done.
    Hook(Stage),
    /// From a hook of this operation on: a Deployment that is a hook stays.
    LastingHook(Stage),
    /// As a hook of another operation; tests do not count.
    Later,
}

impl When {
    /// Whether its pods start, or start again, when this operation has pruned.
    pub fn is_after_prune(self) -> bool {
        matches!(
            self,
            Self::Workload | Self::LastingHook(_) | Self::Hook(Stage::Post)
        )
    }
}

/// The consumers in the target, for an operation. `current` is what the current release declares.
pub(crate) fn consumers<'a>(
    current: &Declared<'_>,
    target: &'a Release,
    operation: Operation,
) -> Result<Vec<Consumer<'a>>, Error> {
    let workloads = target
        .resources
        .iter()
        .map(|object| (object, When::Workload, None));
    let runs = [Stage::Pre, Stage::Post].into_iter().flat_map(|stage| {
        let hooks = target.hooks_at(operation, stage);
        hooks.into_iter().map(move |hook| (hook, When::Hook(stage)))
    });
    let later = target
        .hooks
        .iter()
        .filter(|hook| !hook.runs_at(operation) && !hook.is_test())
        .map(|hook| (hook, When::Later));
    let hooks = runs.chain(later).flat_map(|(hook, when)| {
        let when_of = move |object: &Object| match when {
            When::Hook(stage) if !object.id.runs_to_completion() => When::LastingHook(stage),
            when => when,
        };
        let objects = hook.objects.iter();
        objects.map(move |object| (object, when_of(object), Some(hook)))
    });
    let mut consumers = Vec::new();
    for (object, when, hook) in workloads.chain(hooks) {
        let needs = match needs(object) {
            // Whatever is wrong with it, this operation does not run it.
            Err(_) if when == When::Later => continue,
            needs => needs?,
        };
        let kept = match when {
            When::Workload => kept_by_api_server(current, object, &needs),
            _ => None,
        };
        let needs = needs.into_iter().map(|need| (need, false));
        let needs = needs.chain(kept.map(|need| (need, true)));
        consumers.extend(needs.map(|(need, kept_by_api_server)| Consumer {
            object,
            when,
            hook,
            needs: ObjectId {
                group: String::new(),
                kind: need.kind.to_string(),
                namespace: object.id.namespace.clone(),
                name: need.name,
            },
            optional: need.optional,
            keys: match need.keys {
                Keys::All => None,
                Keys::Only(keys) => Some(keys),
            },
            kept_by_api_server,
            is_idle: false,
        }));
    }
    Ok(consumers)
}

/// The ServiceAccount that a workload had and has no more, by its manifest. The API server has copied
/// its name to the deprecated field `serviceAccount`, which no client removes, and takes it from there
/// (kubernetes/kubernetes#72519, helm/helm#5473).
fn kept_by_api_server(current: &Declared<'_>, object: &Object, now: &[Need]) -> Option<Need> {
    let is_account = |need: &Need| need.kind == Kind::ServiceAccount;
    if now.iter().any(is_account) {
        return None;
    }
    let in_current = current.resources(&object.id).first()?;
    needs(in_current).ok()?.into_iter().find(is_account)
}

/// What the pods of an object need; nothing, when it has none.
pub fn needs(object: &Object) -> Result<Vec<Need>, Error> {
    let place = match kinds::pod_template(&object.id.group, &object.id.kind) {
        PodTemplate::Object => "",
        PodTemplate::SpecTemplate => "/spec/template",
        PodTemplate::JobTemplate => "/spec/jobTemplate/spec/template",
        // What other kinds have there is theirs to define: it counts where it reads as a pod template.
        PodTemplate::Unknown => {
            let template = object.body.pointer("/spec/template");
            let template = template.unwrap_or(&Value::Null);
            let has_pods = template.pointer("/spec/containers").is_some();
            let needs = has_pods.then(|| pod_references::needs(template, "").ok());
            return Ok(needs.flatten().unwrap_or_default());
        }
    };
    let Some(template) = object.body.pointer(place) else {
        return Ok(Vec::new());
    };
    let path = place.trim_start_matches('/').replace('/', ".");
    pod_references::needs(template, &path).map_err(|source| Error {
        object: Box::new(object.id.clone()),
        source,
    })
}

#[cfg(test)]
mod tests;
