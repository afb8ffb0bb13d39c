//! Helm would delete an object that is a regular resource in the current revision and a hook in the new one.
//!
//! ## Why
//!
//! Helm keeps hooks apart from the release manifest. In an upgrade or rollback, it first runs the pre-hooks, which create the object. Then it
//! compares the new manifest with the current one. The object is in the current manifest but not in the new one, so Helm deletes it. Helm
//! reports success, and pods that need the object cannot start.
//!
//! An object that becomes a `pre-install` hook, or another hook that does not run in this operation, is deleted in the same way, and no hook
//! creates it again.
//!
//! If the upgrade fails for another reason, the next upgrade repeats the trap. Once an upgrade has succeeded, the object is a hook in both
//! revisions, and Helm no longer deletes it.
//!
//! An object that no pod template names is reported too: a program may read it through the Kubernetes API.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//! data:
//!   setting: one
//! ---
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata:
//!   name: web
//! spec:
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec:
//!       containers:
//!         - name: web
//!           image: nginx
//!           envFrom: [{configMapRef: {name: app-config}}]
//! ```
//!
//! After, with the same Deployment:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//!   annotations:
//!     helm.sh/hook: pre-install,pre-upgrade
//! data:
//!   setting: two
//! ```
//!
//! ## Ways out
//!
//! - Keep the object a regular resource: remove the annotation `helm.sh/hook`.
//! - Add the annotation `helm.sh/resource-policy: keep` to the hook. Helm reads it from the live object and does not delete the object.
//! - If no hook of the operation creates the object, annotate the live object instead:
//!   `kubectl annotate configmap app-config helm.sh/resource-policy=keep`.
//! - For a rollback, the target revision cannot be changed. Upgrade to a chart that has the object as a regular resource.
//! - Set the level of this finding to `rescue`. The policy then adds `helm.sh/resource-policy: keep` itself when Helm creates the hook. This needs
//!   the setting `releaseGuard.hookRequests` and rules that match the hook. It does not work with `--no-hooks`. If no hook creates the object
//!   before Helm deletes it, the annotation cannot help, and the release is rejected.

use std::fmt;

use super::{Finding, Level, Lint, Linter, Revisions, hook_helper_pruned, linter::Fate};
use crate::{
    consumers::Consumer,
    lifecycle::{Event, Operation},
    manifest::ObjectId,
    plan::Action,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-pruned",
    summary: "Helm would delete an object that is a regular resource in the current revision and a hook in the new one",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: true,
};

/// A regular resource becomes a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// The events of all its hooks in the target, each once.
    pub events: Vec<Event>,
    /// Whether a hook of this operation creates it before it is deleted.
    pub is_created: bool,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    if fate != Fate::HookPruned {
        return None;
    }
    let fact = Fact::of(linter, id);
    if hook_helper_pruned::is_helper(linter, id, &fact.events) {
        return None;
    }
    Some(fact.finding(linter, id, Into::into))
}

impl Fact {
    /// Of an object with [`Fate::HookPruned`], helper or not.
    pub(super) fn of(linter: &Linter<'_>, id: &ObjectId) -> Self {
        let mut actions = linter.change.plan.actions(id);
        Self {
            revisions: linter.change.revisions(),
            operation: linter.change.operation,
            events: linter.lifecycle_events(id),
            is_created: actions
                .any(|action| matches!(action, Action::CreateHook(_) | Action::PatchHook(_))),
        }
    }

    pub(super) fn finding(
        self,
        linter: &Linter<'_>,
        id: &ObjectId,
        fact: impl Fn(Self) -> super::Fact,
    ) -> Finding {
        let needs = |consumer: &Consumer<'_>| !consumer.optional;
        let consumers = linter.consumers_of(id, needs);
        // The annotation of a hook that is created is its manifest's.
        let keep = linter.keep(id).filter(|_| !self.is_created);
        Finding {
            doubt: linter.doubt(linter.maker(id), id, needs),
            consumers,
            rescuable: self.is_created,
            keep,
            ..Finding::new(id, fact(self))
        }
    }

    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let keep_hook =
            "make Helm keep it: add the annotation helm.sh/resource-policy: keep to the hook".to_owned();
        let keep_regular = "keep it a regular resource: remove the annotation helm.sh/hook".to_owned();
        // The target of a rollback is what it is.
        let upgrade = "upgrade to a chart that has it as a regular resource, instead of rolling back".to_owned();
        match (self.operation, self.is_created) {
            (Operation::Rollback, _) => vec![upgrade],
            (Operation::Install | Operation::Upgrade, true) => vec![keep_regular, keep_hook],
            (Operation::Install | Operation::Upgrade, false) => vec![keep_regular],
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation.name();
        let events: Vec<_> = self.events.iter().map(|event| event.name()).collect();
        write!(
            f,
            "is a regular resource in {} and a hook ({}) in {}. ",
            self.revisions.current(),
            events.join(", "),
            self.revisions.target(),
        )?;
        match self.is_created {
            true => write!(
                f,
                "Helm would create it as a pre-{operation} hook and then delete it, because it is no longer in the release manifest"
            ),
            false => write!(
                f,
                "Helm would delete it, because it is no longer in the release manifest, and no hook of this {operation} creates it again"
            ),
        }
    }
}
