//! The second line: what Helm does while a release is pending.
//!
//! In: CREATE or UPDATE of a hook, DELETE of an object of a release. Out: a [`Verdict`]: rejected when
//! the pending release is one that the first line would not have let pass (it was not there then), or
//! rescued, where the settings say so. Refuses: nothing else; what cannot be
//! looked up passes with a warning.
//!
//! It is best effort. The pending record is found through a list that may lag behind, and only in the
//! Secret driver: two permanent watches would be a high price for a second line. The list is of the whole
//! cluster, since records need not be in the namespace of their release, and since it takes one watch
//! instead of one for each namespace.

use std::fmt;

use helm_plan::{
    findings::{Level, hook_pruned},
    lifecycle::Event,
    manifest::ObjectId,
    metadata::{HOOK, RELEASE_NAME, RELEASE_NAMESPACE, RESOURCE_POLICY, annotation, label, words},
    record::{Driver, record_name},
};
use k8s_openapi::{Resource, api::core::v1::Secret};
use serde_json::Value;

use super::{
    access::Access,
    assess::{Error, Record, Target, assess},
    bypass::is_bypassed,
    is_rescuable, message, pending_operation,
};
use crate::{
    annotations::{self, OBJECT},
    cluster::{Cluster, List, LookupError, ObjectRef, Scope},
    request::{Operation, Request},
    settings::{Mode, ReleaseGuard, Settings},
    verdict::{Outcome, Verdict},
};

/// How many pending records are read, and how many are looked at to tell whether they are stale. More are pending
/// at once only where many clients were killed.
const MAX_READ: usize = 16;
const MAX_SEEN: usize = 64;

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
    let Some(part) = part(request) else {
        return Verdict::accept();
    };
    let id = id(request);
    if matches!(part, Part::Hook)
        && is_rescuable(&id)
        && settings.mode == Mode::Enforce
        && guard.findings.of(&hook_pruned::LINT) == Level::Rescue
    {
        return rescue(request);
    }
    let access = Access::new(cluster, request);
    let line = SecondLine {
        request,
        part,
        id,
        guard,
        cluster,
        access: &access,
    };
    line.judge()
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
    if !runs_before_the_prune {
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

/// One request, and what it is judged by.
struct SecondLine<'a> {
    request: &'a Request,
    part: Part<'a>,
    id: ObjectId,
    guard: &'a ReleaseGuard,
    cluster: &'a dyn Cluster,
    access: &'a Access<'a>,
}

/// A pending record in the list.
struct Listed<'a> {
    namespace: &'a str,
    name: &'a str,
    object: &'a Value,
}

impl SecondLine<'_> {
    fn judge(&self) -> Verdict {
        let not_judged = |why: &dyn fmt::Display| {
            Verdict::accept().warn(format!("{} was not judged: {why}", self.request.subject()))
        };
        let selector = "owner=helm,status in (pending-upgrade,pending-rollback)";
        let listed = self.cluster.list(&List {
            label_selector: selector,
            fields: &["metadata.labels"],
            ..List::of(Secret::API_VERSION, Secret::KIND, Scope::Cluster)
        });
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return not_judged(&error),
        };
        let candidates = self.candidates(&listed);
        let mut read = 0;
        let mut failed = None;
        for (seen, record) in candidates.iter().enumerate() {
            if seen == MAX_SEEN || read == MAX_READ {
                let pending = candidates.len();
                failed.get_or_insert_with(|| {
                    not_judged(&format_args!(
                        "not all of the {pending} releases that are pending were read"
                    ))
                });
                break;
            }
            match self.lost_by(record, &mut read) {
                Ok(Some(message)) => return Verdict::reject(message),
                Ok(None) => {}
                // The record was judged already; a hook is no place to insist.
                Err(error) => {
                    failed.get_or_insert_with(|| not_judged(&error));
                }
            }
        }
        failed.unwrap_or_default()
    }

    /// The records that may be of the release, in a fixed order: those in the namespace of the request first.
    fn candidates<'l>(&self, listed: &'l [Value]) -> Vec<Listed<'l>> {
        let text = |record: &'l Value, path| record.pointer(path).and_then(Value::as_str);
        let place = |record: &Listed<'l>| {
            let elsewhere = record.namespace != self.request.namespace;
            (elsewhere, record.namespace, record.name)
        };
        let mut records = Vec::new();
        for object in listed {
            let (Some(namespace), Some(name)) = (
                text(object, "/metadata/namespace"),
                text(object, "/metadata/name"),
            ) else {
                continue;
            };
            let record = Listed {
                namespace,
                name,
                object,
            };
            if let Part::Resource { release, .. } = self.part
                && label(object, "name") != Some(release)
            {
                continue;
            }
            // The standard library's sort would add to the size of the policy.
            let at = records.partition_point(|other| place(other) < place(&record));
            records.insert(at, record);
        }
        records
    }

    /// The text of the rejection, when the release of a pending record loses the object.
    fn lost_by(&self, listed: &Listed<'_>, read: &mut usize) -> Result<Option<String>, Error> {
        let (guard, namespace) = (self.guard, listed.namespace);
        // Somebody who writes records into his own namespace stops nobody elsewhere.
        if !self.access.may_read("", Secret::KIND, namespace)?
            || is_stale(self.cluster, listed.object)?
        {
            return Ok(None);
        }
        *read += 1;
        let object = self.get(namespace, listed.name, &["metadata.labels", "data"])?;
        // The list may be of a moment ago, when another release was still pending.
        let object = object.filter(|record| pending_operation(record).is_some());
        let Some(object) = object.filter(|record| !(guard.bypass && is_bypassed(record))) else {
            return Ok(None);
        };
        let record = Record {
            driver: Driver::Secret,
            namespace,
            object: &object,
        };
        let target = match Target::read(record, guard) {
            Ok(target) if self.concerns(&target) => target,
            Ok(_) => return Ok(None),
            // Nothing tells that the record concerns this namespace.
            Err(_) if namespace != self.request.namespace => return Ok(None),
            Err(error) => return Err(error),
        };
        let assessed = assess(record, target, guard, self.cluster, self.access)?;
        let mut lost = message::of_level(Level::Reject, &assessed, guard);
        lost.retain(|finding| finding.object == self.id);
        if lost.is_empty() {
            return Ok(None);
        }
        let so_far = format!(
            "The {} is already running; only this request was stopped.",
            assessed.assessment.operation.name()
        );
        Ok(Some(message::rejection(&lost, &assessed, guard, &so_far)))
    }

    /// Whether the request may be a part of the pending operation.
    fn concerns(&self, target: &Target) -> bool {
        let release = &target.release;
        match self.part {
            Part::Hook => {
                let mut objects = release.hooks.iter().flat_map(|hook| &hook.objects);
                objects.any(|object| object.id == self.id)
            }
            Part::Resource { namespace, .. } => release.namespace == namespace,
        }
    }

    fn get(
        &self,
        namespace: &str,
        name: &str,
        fields: &[&str],
    ) -> Result<Option<Value>, LookupError> {
        let object = ObjectRef {
            api_version: Secret::API_VERSION,
            kind: Secret::KIND,
            namespace,
            name,
        };
        self.cluster.get(object, fields)
    }
}

/// Whether the client was killed and a newer revision freed the release: Helm leaves such a record pending for
/// ever.
pub(crate) fn is_stale(cluster: &dyn Cluster, record: &Value) -> Result<bool, LookupError> {
    let label = |key| label(record, key);
    let namespace = record
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    let version = label("version").and_then(|version| version.parse::<u64>().ok());
    let (Some(namespace), Some(release), Some(version)) = (namespace, label("name"), version)
    else {
        return Ok(false);
    };
    let next = ObjectRef {
        api_version: Secret::API_VERSION,
        kind: Secret::KIND,
        namespace,
        name: &record_name(release, version.saturating_add(1)),
    };
    Ok(cluster.get(next, &["metadata.labels"])?.is_some())
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
