//! The second line: what Helm does while a release is pending.
//!
//! In: CREATE or UPDATE of a hook, DELETE of an object of a release. Out: a [`Verdict`]: rejected when
//! the pending release is one that the first line would not have let pass (it was not there then), or
//! rescued, where the settings say so. Refuses: nothing else; what cannot be
//! looked up passes with a warning.
//!
//! It is best effort. The pending record is found through a list that may lag behind, and only in the
//! Secret driver: two permanent watches would be a high price for a second line.

use k8s_openapi::{Resource, api::core::v1::Secret};
use serde_json::Value;

use super::{assess, findings::Lint, is_allowed, label, manifest::ObjectId};
use crate::{
    annotations::{self, OBJECT},
    cluster::{Cluster, LookupError, ObjectRef},
    request::{self, Operation, Request},
    settings::{Level, Mode, Settings},
    verdict::{Outcome, Verdict},
};

const HOOK: &str = "helm.sh/hook";
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

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
    let of_old = |key| annotations::get(&request.old_object, OBJECT, key);
    match request.operation {
        // A hook that is patched onto an object that exists is an UPDATE (server-side apply).
        Operation::Create | Operation::Update => {
            annotations::get(&request.object, OBJECT, HOOK).map(|_| Part::Hook)
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
        && guard.findings.of(Lint::HookPruned) == Level::Rescue
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

/// Lets Helm pass over the object when it prunes. No look-up, since a pending record that the list
/// does not show yet would cost the object; the annotation does nothing to a hook that is not pruned.
fn rescue(request: &Request) -> Verdict {
    let runs_before_the_prune = annotations::get(&request.object, OBJECT, HOOK)
        .into_iter()
        .flat_map(|events| events.split(','))
        .any(|event| {
            matches!(
                event.trim().to_lowercase().as_str(),
                "pre-upgrade" | "pre-rollback"
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

/// The message, when a pending release loses the object.
fn lost_by(
    request: &Request,
    settings: &Settings,
    cluster: &dyn Cluster,
) -> Result<Option<String>, String> {
    let (release, namespace) = match part(request) {
        Some(Part::Resource { release, namespace }) => (Some(release), namespace),
        _ => (None, request.namespace.as_str()),
    };
    let guard = &settings.release_guard;
    let id = id(request);
    for object in pending(release, namespace, cluster).map_err(|error| error.to_string())? {
        if guard.bypass && is_allowed(&object) {
            continue;
        }
        let kind = request::Kind {
            group: String::new(),
            kind: Secret::KIND.to_owned(),
        };
        let record = Request {
            kind,
            namespace: namespace.to_owned(),
            object,
            ..Request::default()
        };
        let assessment = assess(&record, guard, cluster)?;
        let mut lost = assessment.rejected(guard);
        lost.retain(|finding| finding.object == id);
        if !lost.is_empty() {
            return Ok(Some(assessment.message(
                &lost,
                guard,
                "Helm has begun; this request was stopped.",
            )));
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
    let is_pending = |record: &Value| {
        let status = label(record, "status").and_then(super::Operation::from_status);
        status.is_some()
    };
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
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
mod tests;
