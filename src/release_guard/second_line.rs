//! The second line: what Helm does while a release is pending.
//!
//! In: CREATE or UPDATE of a hook, DELETE of an object of a release. Out: a [`Verdict`]: rejected when
//! the pending release is one that the first line would not have let pass (it was not there then), or
//! rescued, where the settings say so. Refuses: nothing else; what cannot be
//! looked up passes with a warning.
//!
//! It is best effort. The pending record is found through a list that may lag behind, and only in the
//! Secret driver: two permanent watches would be a high price for a second line.

use helm_plan::{
    findings::{Level, hook_pruned},
    lifecycle::Event,
    manifest::ObjectId,
    metadata::{HOOK, RELEASE_NAME, RELEASE_NAMESPACE, RESOURCE_POLICY, annotation, label, words},
    record::Driver,
};
use k8s_openapi::{Resource, api::core::v1::Secret};
use serde_json::Value;

use super::{
    assess::{Error, Record, assess},
    bypass::is_bypassed,
    message, pending_operation,
};
use crate::{
    annotations::{self, OBJECT},
    cluster::{Cluster, LookupError, ObjectRef},
    request::{Operation, Request},
    settings::{Mode, Settings},
    verdict::{Outcome, Verdict},
};

/// What the request says about the release.
enum Part<'a> {
    /// A hook; hooks do not say which release they belong to.
    Hook,
    /// A regular object of this release, being deleted.
    Resource {
        release: &'a str,
        namespace: &'a str,
    },
}

/// Whether the request writes a hook or deletes an object of a release.
pub fn concerns(request: &Request) -> bool {
    part(request).is_some()
}

fn part(request: &Request) -> Option<Part<'_>> {
    if !request.sub_resource.is_empty() {
        return None;
    }
    let of_old = |key| annotation(&request.old_object, key);
    match request.operation {
        // A hook that is patched onto an object that exists is an UPDATE (server-side apply).
        Operation::Create | Operation::Update => {
            annotation(&request.object, HOOK).map(|_| Part::Hook)
        }
        Operation::Delete => {
            let namespace = of_old(RELEASE_NAMESPACE).unwrap_or(&request.namespace);
            of_old(RELEASE_NAME).map(|release| Part::Resource { release, namespace })
        }
        Operation::Connect => None,
    }
}

/// Judges a hook or a deletion.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let guard = &settings.release_guard;
    let is_hook = matches!(part(request), Some(Part::Hook));
    if is_hook
        && settings.mode == Mode::Enforce
        && guard.findings.of(&hook_pruned::LINT) == Level::Rescue
    {
        return rescue(request);
    }
    match lost_by(request, settings, cluster) {
        Ok(Some(message)) => Verdict::reject(message),
        Ok(None) => Verdict::accept(),
        // The record was judged already; a hook is no place to insist.
        Err(error) => {
            Verdict::accept().warn(format!("{} was not judged: {error}", request.subject()))
        }
    }
}

/// Makes Helm keep the object when it prunes. No look-up, since a pending record that the list
/// does not show yet would cost the object; the annotation does nothing to a hook that is not pruned.
fn rescue(request: &Request) -> Verdict {
    let mut events = annotation(&request.object, HOOK)
        .into_iter()
        .flat_map(words);
    let runs_before_the_prune = events.any(|event| {
        matches!(
            Event::from_name(&event),
            Event::PreUpgrade | Event::PreRollback
        )
    });
    if !runs_before_the_prune || id(request).runs_to_completion() {
        return Verdict::accept();
    }
    let mut object = request.object.clone();
    match annotations::set(
        &mut object,
        OBJECT,
        RESOURCE_POLICY,
        Some("keep".to_owned()),
    ) {
        Err(error) => Verdict::malformed(format!("{}: {error}", request.subject())),
        Ok(()) if object == request.object => Verdict::accept(),
        Ok(()) => Verdict {
            outcome: Outcome::Mutate(object),
            ..Verdict::default()
        }
        .audit("hook-rescued", request.subject()),
    }
}

/// The text of the rejection, when a pending release loses the object.
fn lost_by(
    request: &Request,
    settings: &Settings,
    cluster: &dyn Cluster,
) -> Result<Option<String>, Error> {
    let (release, namespace) = match part(request) {
        Some(Part::Resource { release, namespace }) => (Some(release), namespace),
        Some(Part::Hook) | None => (None, request.namespace.as_str()),
    };
    let guard = &settings.release_guard;
    let id = id(request);
    for object in pending(release, namespace, cluster)? {
        if guard.bypass && is_bypassed(&object) {
            continue;
        }
        let record = Record {
            driver: Driver::Secret,
            namespace,
            object: &object,
        };
        let assessed = assess(record, guard, cluster)?;
        let mut lost = message::of_level(Level::Reject, &assessed, guard);
        lost.retain(|finding| finding.object == id);
        if !lost.is_empty() {
            let so_far = format!(
                "The {} is already running; only this request was stopped.",
                assessed.assessment.operation.name()
            );
            return Ok(Some(message::rejection(&lost, &assessed, guard, &so_far)));
        }
    }
    Ok(None)
}

/// The pending records of the namespace, in full.
fn pending(
    release: Option<&str>,
    namespace: &str,
    cluster: &dyn Cluster,
) -> Result<Vec<Value>, LookupError> {
    let selector = "owner=helm,status in (pending-upgrade,pending-rollback)";
    let listed = cluster.list(
        Secret::API_VERSION,
        Secret::KIND,
        namespace,
        selector,
        &["metadata.labels"],
    )?;
    let is_of =
        |record: &&Value| release.is_none_or(|release| label(record, "name") == Some(release));
    // The list may be of a moment ago, when another release was still pending.
    let is_pending = |record: &Value| pending_operation(record).is_some();
    let mut records = Vec::new();
    for listed in listed.iter().filter(is_of) {
        let name = listed
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let object = ObjectRef {
            api_version: Secret::API_VERSION,
            kind: Secret::KIND,
            namespace,
            name,
        };
        let record = cluster.get(object, &["metadata.labels", "data"])?;
        records.extend(record.filter(is_pending));
    }
    Ok(records)
}

fn id(request: &Request) -> ObjectId {
    ObjectId {
        group: request.kind.group.clone(),
        kind: request.kind.kind.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
    }
}

#[cfg(test)]
mod tests;
