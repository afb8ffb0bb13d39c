//! Helm would run a pre-hook that waits for an object which comes only later.
//!
//! ## Why
//!
//! Helm creates the pre-hooks one after the other, in the order of their weight and then of their name, and applies the regular resources
//! when all of them are done. It waits for each Job and each Pod. If the pods need a ConfigMap, Secret, ServiceAccount or
//! PersistentVolumeClaim that is a regular resource, or a hook behind them in this order, they cannot start, and Helm waits until it times out.
//!
//! The object must be new: what the current revision has left is there when the hook runs.
//!
//! ## Example
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
//!   name: migration
//! data:
//!   setting: one
//! ---
//! apiVersion: batch/v1
//! kind: Job
//! metadata:
//!   name: migrate
//!   annotations:
//!     helm.sh/hook: pre-install,pre-upgrade
//! spec:
//!   template:
//!     spec:
//!       restartPolicy: Never
//!       containers:
//!         - name: migrate
//!           image: migrate
//!           envFrom: [{configMapRef: {name: migration}}]
//! ```
//!
//! ## Ways out
//!
//! - Make the object a hook of the same events that runs first, with a lower weight: `helm.sh/hook-weight: "-1"`. If workloads use it too, give the
//!   hook an object of its own.
//! - Run the Job later, as a `post-install,post-upgrade` hook.

use std::fmt;

use super::{Doubt, Finding, Level, Lint, Linter, linter::Fate};
use crate::{
    consumers::{Consumer, When},
    lifecycle::{DeletePolicy, Operation, Stage},
    live::Live,
    makers::Maker,
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-waits",
    summary: "Helm would run a pre-hook that waits for an object which comes only later",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// A pre-hook needs what comes only later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is done to the release.
    pub operation: Operation,
    /// Whether a hook creates it at the same stage.
    pub is_pre_hook: bool,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let is_of_pre_hook = |consumer: &Consumer<'_>| consumer.when == When::Hook(Stage::Pre);
    let is_candidate = id.is_named_by_pods()
        && !matches!(fate, Fate::Conflict(_) | Fate::Spared)
        && linter.consumers(id).any(is_of_pre_hook);
    if !is_candidate {
        return None;
    }
    let operation = linter.change.operation;
    let place = linter.index.pre_hook(id);
    let mut hooks = linter.lifecycle_hooks(id).into_iter();
    let comes = place.is_some()
        || !linter.target.resources(id).is_empty()
        || hooks.any(|hook| hook.runs_at(operation));
    if !comes {
        return None;
    }
    let waits = |consumer: &Consumer<'_>| {
        // Without a place of its own it comes after all of them.
        let comes_later = || match (place, linter.index.pre_hook(&consumer.object.id)) {
            (Some(place), Some(hook)) => place > hook,
            (_, hook) => hook.is_some(),
        };
        is_of_pre_hook(consumer) && !consumer.optional && comes_later()
    };
    let consumers = linter.consumers_of(id, waits);
    if consumers.is_empty()
        || is_left(linter, id)
        || linter.maker(id) == Some(Maker::ServiceAccountController)
    {
        return None;
    }
    let doubt = match linter.live(id) {
        Some(Live::Present(_)) => return None,
        Some(Live::Absent) => None,
        Some(Live::Denied(_) | Live::Unknown) | None => Some(Doubt::NotSeen),
    };
    let fact = Fact {
        operation,
        is_pre_hook: place.is_some(),
    };
    Some(Finding {
        consumers,
        doubt,
        ..Finding::new(id, fact)
    })
}

/// Whether the current revision has it, or its hook has left it.
fn is_left(linter: &Linter<'_>, id: &ObjectId) -> bool {
    let mut hooks = linter.current.hooks(id).iter();
    linter.was_regular(id) || hooks.any(|(hook, _)| !hook.has_policy(DeletePolicy::HookSucceeded))
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let [pre, post] = [Stage::Pre, Stage::Post].map(|stage| self.operation.event(stage));
        let first = match self.is_pre_hook {
            true => "give it a lower helm.sh/hook-weight than that of the hook which needs it".to_owned(),
            false => format!("make it a {pre} hook with a lower helm.sh/hook-weight than that of the hook which needs it"),
        };
        vec![first, format!("make the hook which needs it a {post} hook")]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pre = self.operation.event(Stage::Pre);
        match self.is_pre_hook {
            true => write!(f, "is created by a {pre} hook that runs after the hook which needs it")?,
            false => write!(f, "is created only after the {pre} hooks, and one of them needs it")?,
        }
        f.write_str("; Helm waits for that hook until it times out")
    }
}
