//! Helm would delete a hook that pods need, because of the hook's own delete policy `hook-succeeded`.
//!
//! ## Why
//!
//! Helm applies the delete policy `hook-succeeded` as soon as all hooks of the event have succeeded. If a pre-hook has this policy, its object
//! is deleted before the pods that need it start. If a post-hook has it, the object is deleted at the end of the operation, and pods that need
//! it cannot start later.
//!
//! It is only a warning if something else makes the object again, for example a Certificate of the release.
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
//!     helm.sh/hook: pre-upgrade
//!     helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
//! data:
//!   setting: two
//! ```
//!
//! ## Ways out
//!
//! - Make the object a regular resource: remove the annotation `helm.sh/hook`.
//! - Remove `hook-succeeded` from `helm.sh/hook-delete-policy`. If the object is a regular resource in the current revision, this alone leads
//!   to [`hook-pruned`](#hook-pruned).

use std::fmt;

use super::{Finding, Level, Lint, Linter, linter::Fate};
use crate::{
    consumers::{Consumer, When},
    lifecycle::{Event, Operation, Stage},
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-self-deleted",
    summary: "Helm would delete a hook that pods need, because of the hook's own delete policy `hook-succeeded`",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// A hook that pods need has the delete policy `hook-succeeded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is done to the release.
    pub operation: Operation,
    /// When the hook runs.
    pub stage: Stage,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let Fate::DeletedAfterHook(stage) = fate else {
        return None;
    };
    let runs_later = |consumer: &Consumer<'_>| match consumer.when {
        When::Workload | When::LastingHook(_) => true,
        When::Hook(of) => stage == Stage::Pre && of == Stage::Post,
        When::Later => false,
    };
    let needs = |consumer: &Consumer<'_>| !consumer.optional && runs_later(consumer);
    let consumers = linter.consumers_of(id, needs);
    let operation = linter.change.operation;
    (!consumers.is_empty()).then(|| Finding {
        consumers,
        doubt: linter.doubt(linter.maker(id), id, needs),
        ..Finding::new(id, Fact { operation, stage })
    })
}

impl Fact {
    fn event(&self) -> Event {
        self.operation.event(self.stage)
    }

    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        vec![
            "make it a regular resource: remove the annotation helm.sh/hook".to_owned(),
            "remove hook-succeeded from its helm.sh/hook-delete-policy".to_owned(),
        ]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.event();
        write!(f, "is a {event} hook with the delete policy hook-succeeded, so Helm deletes it ")?;
        match self.stage {
            Stage::Pre => f.write_str("before the pods that need it start"),
            Stage::Post => {
                write!(f, "once the {event} hooks are done; the pods that need it could not start")
            }
        }
    }
}
