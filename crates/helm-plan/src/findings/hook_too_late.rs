//! Helm would create an object only in a post-hook, after the pods that need it.
//!
//! ## Why
//!
//! Helm runs post-hooks after it has applied the workloads. Until then, pods that need the object cannot start. With `--wait`, Helm waits for
//! those pods before it runs any post-hook, so the operation times out.
//!
//! ## Example
//!
//! The new revision adds this ConfigMap and a Deployment that needs it. The object does not exist before the operation.
//!
//! Before, neither of them is in the chart:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: other
//! ```
//!
//! After:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//!   annotations:
//!     helm.sh/hook: post-upgrade
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
//! ## Ways out
//!
//! - Make the object a regular resource: remove the annotation `helm.sh/hook`.
//! - Make it a pre-hook of the same operation: `pre-upgrade` instead of `post-upgrade`.

use std::fmt;

use super::{Finding, Level, Lint, Linter, linter::Fate};
use crate::{
    consumers::{Consumer, When},
    lifecycle::{Operation, Stage},
    manifest::ObjectId,
    plan::{Action, Presence},
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-too-late",
    summary: "Helm would create an object only in a post-hook, after the pods that need it",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// Only a post-hook creates what pods need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is done to the release.
    pub operation: Operation,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let plan = linter.change.plan;
    let is_missing = match plan.after_prune(id) {
        Presence::Absent => true,
        // A hook of an earlier revision may have left it.
        Presence::Unknown => linter.current_hook(id).is_none(),
        Presence::Present => false,
    };
    let is_created_after = plan.actions(id).last() == Some(Action::CreateHook(Stage::Post));
    if fate != Fate::Stays || !is_missing || !is_created_after {
        return None;
    }
    let starts_before = |when| matches!(when, When::Workload | When::LastingHook(Stage::Pre));
    let needs = |consumer: &Consumer<'_>| !consumer.optional && starts_before(consumer.when);
    let consumers = linter.consumers_of(id, needs);
    let operation = linter.change.operation;
    (!consumers.is_empty()).then(|| Finding {
        consumers,
        doubt: linter.doubt(None, id, needs),
        ..Finding::new(id, Fact { operation })
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let pre = self.operation.event(Stage::Pre);
        vec![format!("make it a regular resource, or a {pre} hook")]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let post = self.operation.event(Stage::Post);
        write!(
            f,
            "is created only by a {post} hook, after the pods that need it; with --wait, Helm waits for those pods until it times out"
        )
    }
}
