//! Helm would delete an object that becomes a hook, but only pods of hooks use it.
//!
//! ## Why
//!
//! This is [`hook-pruned`](#hook-pruned) without the damage. The typical case is the ServiceAccount, Role, RoleBinding, ConfigMap or Secret of a
//! migration Job. The Job and the objects it uses become hooks together. Helm creates the objects, runs the Job and deletes the objects
//! again, with no effect on running pods.
//!
//! The policy warns because a workload may start to use the object in a later version of the chart.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ServiceAccount
//! metadata:
//!   name: migration
//! ```
//!
//! After:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ServiceAccount
//! metadata:
//!   name: migration
//!   annotations:
//!     helm.sh/hook: pre-upgrade
//!     helm.sh/hook-weight: "-1"
//! ---
//! apiVersion: batch/v1
//! kind: Job
//! metadata:
//!   name: migrate
//!   annotations:
//!     helm.sh/hook: pre-upgrade
//! spec:
//!   template:
//!     spec:
//!       restartPolicy: Never
//!       serviceAccountName: migration
//!       containers: [{name: migrate, image: migrate}]
//! ```
//!
//! ## Ways out
//!
//! - Keep the object a regular resource: remove the annotation `helm.sh/hook`.
//! - Add the annotation `helm.sh/resource-policy: keep` to the hook.
//! - Do nothing, if only this Job uses the object.

use std::fmt;

use serde_json::Value;

use super::{Finding, Level, Lint, Linter, hook_pruned, linter::Fate};
use crate::{
    consumers::{Consumer, When},
    lifecycle::{Event, Stage},
    manifest::{Object, ObjectId},
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-helper-pruned",
    summary: "Helm would delete an object that becomes a hook, but only pods of hooks use it",
    default_level: Level::Warn,
    is_loss: true,
    can_be_rescued: false,
};

/// A regular resource becomes a hook that only pods of hooks use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact(pub hook_pruned::Fact);

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    if fate != Fate::HookPruned {
        return None;
    }
    let fact = hook_pruned::Fact::of(linter, id);
    if !is_helper(linter, id, &fact.events) {
        return None;
    }
    Some(fact.finding(linter, id, |fact| Fact(fact).into()))
}

impl Fact {
    pub(super) fn ways_out(&self, object: &ObjectId) -> Vec<String> {
        self.0.ways_out(object)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether only pods of hooks use it, and each of these comes with a hook that creates it first: nobody
/// is left who could miss it. `events` are those of its own hooks.
pub(super) fn is_helper(linter: &Linter<'_>, id: &ObjectId, events: &[Event]) -> bool {
    match (id.group.as_str(), id.kind.as_str()) {
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let mut bindings = linter.target.all(id);
            bindings.any(|binding| binds_helpers(linter, binding, events))
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            let bindings = linter.bindings(id);
            let binds_helpers = |binding: &&Object| binds_helpers(linter, binding, events);
            !bindings.is_empty() && bindings.iter().all(binds_helpers)
        }
        _ => {
            let is_served = |consumer: &Consumer<'_>| {
                !matches!(consumer.when, When::Hook(Stage::Post) | When::LastingHook(_))
                    && consumer
                        .hook
                        .is_some_and(|hook| hook.events.iter().all(|event| events.contains(event)))
            };
            let mut consumers = linter.consumers(id).peekable();
            consumers.peek().is_some() && consumers.all(is_served)
        }
    }
}

fn binds_helpers(linter: &Linter<'_>, binding: &Object, events: &[Event]) -> bool {
    let subjects = binding.body.get("subjects").and_then(Value::as_array);
    let text = |subject: &Value, field| {
        subject
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let is_helper = |subject: &Value| {
        let account = ObjectId {
            group: String::new(),
            kind: "ServiceAccount".to_owned(),
            namespace: text(subject, "namespace").unwrap_or_else(|| binding.id.namespace.clone()),
            name: text(subject, "name").unwrap_or_default(),
        };
        text(subject, "kind").as_deref() == Some("ServiceAccount")
            && linter.is_helper_account(account, events, |account| is_helper(linter, account, events))
    };
    subjects.is_some_and(|subjects| !subjects.is_empty() && subjects.iter().all(is_helper))
}
