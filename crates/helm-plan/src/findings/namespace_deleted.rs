//! Helm would delete a Namespace, and with it everything that is in it.
//!
//! ## Why
//!
//! Kubernetes deletes all objects in a namespace together with it: workloads, Secrets, and PersistentVolumeClaims with their data. Helm deletes a
//! Namespace in these cases:
//!
//! - It is in the current revision but not in the new one.
//! - It is a hook with the delete policy `before-hook-creation`, which is also the default. Each operation that runs the hook deletes the old
//!   Namespace first.
//! - It is a hook with the delete policy `hook-succeeded`.
//!
//! The finding is only a warning if no object of the new revision is in the namespace: others may have objects in it.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: v1
//! kind: Namespace
//! metadata:
//!   name: jobs
//! ---
//! apiVersion: v1
//! kind: PersistentVolumeClaim
//! metadata:
//!   name: data
//!   namespace: jobs
//! spec:
//!   accessModes: [ReadWriteOnce]
//!   resources: {requests: {storage: 1Gi}}
//! ```
//!
//! After, the Namespace is gone, and the claim is still in it:
//!
//! ```yaml
//! apiVersion: v1
//! kind: PersistentVolumeClaim
//! metadata:
//!   name: data
//!   namespace: jobs
//! spec:
//!   accessModes: [ReadWriteOnce]
//!   resources: {requests: {storage: 1Gi}}
//! ```
//!
//! ## Ways out
//!
//! - Put the Namespace back into the chart, or keep the live one: `kubectl annotate namespace jobs helm.sh/resource-policy=keep`.
//! - If it is a hook, make it a regular resource with the annotation `helm.sh/resource-policy: keep`. For the first upgrade after that change, use
//!   `helm upgrade --take-ownership`: the Namespace was created by a hook, and Helm does not yet count it as part of the release.
//! - For a rollback, the target revision cannot be changed. Upgrade to a chart that has the Namespace, instead of rolling back.

use std::fmt;

use super::{Doubt, Finding, Level, Lint, Linter, Revisions, linter::Fate};
use crate::{
    lifecycle::{Operation, Stage},
    live::Live,
    manifest::ObjectId,
    plan::Action,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "namespace-deleted",
    summary: "Helm would delete a Namespace, and with it everything that is in it",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// A Namespace is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// Why Helm deletes it.
    pub reason: Reason,
    /// Whether objects of the target are lost with it.
    pub has_objects: bool,
}

/// Why Helm deletes a Namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It left the release.
    Pruned,
    /// It is a hook with `before-hook-creation`.
    BeforeHook(Stage),
    /// It is a hook with `hook-succeeded`.
    AfterHook(Stage),
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    if !id.group.is_empty() || id.kind != "Namespace" {
        return None;
    }
    let reason = reason(linter, id, fate)?;
    // Before anything is applied, only what the current revision has can be in it.
    let is_before_all = reason == Reason::BeforeHook(Stage::Pre);
    let is_in_it =
        |object: &&&ObjectId| !is_before_all || linter.current.all(object).next().is_some();
    let objects = linter.index.in_namespace(&id.name).iter();
    let objects: Vec<_> = objects.filter(is_in_it).copied().cloned().collect();
    let fact = Fact {
        revisions: linter.change.revisions(),
        operation: linter.change.operation,
        reason,
        has_objects: !objects.is_empty(),
    };
    let keep = match reason {
        Reason::Pruned => linter.keep(id),
        // Helm does not read the annotation before it deletes a hook.
        Reason::BeforeHook(_) | Reason::AfterHook(_) => None,
    };
    Some(Finding {
        doubt: objects.is_empty().then_some(Doubt::NotSeen),
        consumers: objects,
        keep,
        ..Finding::new(id, fact)
    })
}

/// Why the first deletion of a Namespace that is there happens.
fn reason(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Reason> {
    let mut is_made = false;
    linter.change.plan.actions(id).find_map(|action| {
        match action {
            Action::CreateHook(_) | Action::PatchHook(_) | Action::Apply => {
                is_made = true;
                None
            }
            Action::DeleteBeforeHook(stage) => {
                (is_made || existed(linter, id)).then_some(Reason::BeforeHook(stage))
            }
            Action::DeleteAfterHook(stage) => Some(Reason::AfterHook(stage)),
            Action::Prune => (fate != Fate::HookPruned).then_some(Reason::Pruned),
            Action::Conflict(_) | Action::Keep => None,
        }
    })
}

/// Whether it is known to be there when the operation begins.
fn existed(linter: &Linter<'_>, id: &ObjectId) -> bool {
    let is_declared = || {
        linter.was_regular(id) || linter.current_hook(id).is_some_and(|hook| hook.has_run)
    };
    match linter.live(id) {
        Some(Live::Present(_)) => true,
        Some(Live::Absent) => false,
        Some(Live::Denied(_) | Live::Unknown) | None => is_declared(),
    }
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let way_out = match (self.reason, self.operation) {
            (_, Operation::Rollback) => {
                "upgrade to a chart that has it as a regular resource, instead of rolling back"
            }
            (Reason::Pruned, Operation::Install | Operation::Upgrade) => {
                "put it back into the chart"
            }
            (
                Reason::BeforeHook(_) | Reason::AfterHook(_),
                Operation::Install | Operation::Upgrade,
            ) => "make it a regular resource with helm.sh/resource-policy: keep",
        };
        vec![way_out.to_owned()]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation;
        match self.reason {
            Reason::Pruned => write!(
                f,
                "is in {} but not in {}, so Helm deletes it",
                self.revisions.current(),
                self.revisions.target()
            )?,
            Reason::BeforeHook(stage) => write!(
                f,
                "is a {} hook with the delete policy before-hook-creation, so Helm deletes it before it creates it again",
                operation.event(stage)
            )?,
            Reason::AfterHook(stage) => write!(
                f,
                "is a {} hook with the delete policy hook-succeeded, so Helm deletes it",
                operation.event(stage)
            )?,
        }
        f.write_str("; everything in it is deleted too")?;
        match self.has_objects {
            true => Ok(()),
            false => f.write_str(", and others may have objects in it"),
        }
    }
}
