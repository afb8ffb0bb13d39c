//! Helm would fail, because a hook collides with an object that already exists.
//!
//! ## Why
//!
//! With client-side apply (Helm 3, and releases that Helm 3 began), Helm creates each hook. If the object already exists and the hook's delete
//! policy does not contain `before-hook-creation`, Helm does not delete the old object first. Creating the hook fails with `already exists`, and
//! so does the upgrade. With server-side apply, Helm patches the existing object instead.
//!
//! An install fails in the same way if the chart contains an object twice, for example as a `pre-install` hook and as a regular resource.
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
//!     helm.sh/hook: pre-upgrade
//!     helm.sh/hook-delete-policy: hook-failed
//! data:
//!   setting: two
//! ```
//!
//! ## Ways out
//!
//! - Add `before-hook-creation` to `helm.sh/hook-delete-policy`. It is also the default: a hook without this annotation has it. If the object
//!   is a regular resource in the current revision, add `helm.sh/resource-policy: keep` as well, or the upgrade leads to
//!   [`hook-pruned`](#hook-pruned).
//! - If the chart contains the object twice, remove one of the two.

use std::fmt;

use super::{Doubt, Finding, Level, Lint, Linter, Revisions, linter::Fate};
use crate::{
    lifecycle::{DeletePolicy, Operation, Stage},
    live::Live,
    manifest::ObjectId,
    plan::Action,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-conflict",
    summary: "Helm would fail, because a hook collides with an object that already exists",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// Creating an object that exists fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A hook meets an object that exists.
    Exists {
        /// What is done to the release.
        operation: Operation,
        /// When the hook runs.
        stage: Stage,
    },
    /// The current revision created the object, and no record tells whether it still exists.
    MayExist {
        /// From which revision to which.
        revisions: Revisions,
        /// What is done to the release.
        operation: Operation,
        /// When the hook runs.
        stage: Stage,
    },
    /// An installation creates the object twice.
    Twice,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    match fate {
        Fate::Conflict(stage) => {
            let first = linter.change.plan.actions(id).next();
            if matches!(first, Some(Action::CreateHook(_))) {
                // It meets what an earlier hook creates, unless that one meets it first.
                linter.live(id);
            }
            Some(conflict(linter, id, stage))
        }
        // A hook that runs before the one that fails may fail first.
        Fate::Stays
        | Fate::Spared
        | Fate::Pruned
        | Fate::HookPruned
        | Fate::DeletedAfterHook(_) => may_conflict(linter, id),
    }
}

fn conflict(linter: &Linter<'_>, id: &ObjectId, stage: Stage) -> Finding {
    let operation = linter.change.operation;
    if operation == Operation::Install && !linter.target.resources(id).is_empty() {
        return Finding::new(id, Fact::Twice);
    }
    Finding::new(id, Fact::Exists { operation, stage })
}

/// The current revision, or an operation that was interrupted, may have left it there.
fn may_conflict(linter: &Linter<'_>, id: &ObjectId) -> Option<Finding> {
    let Some(Action::CreateHook(stage)) = linter.change.plan.actions(id).next() else {
        return None;
    };
    if linter.change.target.server_side_apply {
        return None;
    }
    let is_left = linter
        .current_hook(id)
        .is_some_and(|hook| hook.has_run && !hook.has_policy(DeletePolicy::HookSucceeded));
    let live = match is_left || linter.was_regular(id) {
        true => linter.live(id),
        // No record tells of what an interrupted operation has left: it counts only where it is seen, and
        // then the plan has it.
        false => {
            linter.live_if_there_is_time(id);
            return None;
        }
    };
    if live == Some(&Live::Absent) {
        return None;
    }
    let fact = Fact::MayExist {
        revisions: linter.change.revisions(),
        operation: linter.change.operation,
        stage,
    };
    Some(Finding {
        doubt: Some(Doubt::NotSeen),
        ..Finding::new(id, fact)
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        vec![match self {
            Self::Exists { .. } | Self::MayExist { .. } => {
                "add before-hook-creation to its helm.sh/hook-delete-policy".to_owned()
            }
            Self::Twice => "keep one of the two".to_owned(),
        }]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { operation, stage } => write!(
                f,
                "already exists, and its {} hook lacks the delete policy before-hook-creation, so the {} fails when Helm creates it",
                operation.event(*stage),
                operation.name()
            ),
            Self::MayExist {
                revisions,
                operation,
                stage,
            } => write!(
                f,
                "was created by {}, and its {} hook lacks the delete policy before-hook-creation; if it still exists, the {} fails when Helm creates it",
                revisions.current(),
                operation.event(*stage),
                operation.name()
            ),
            Self::Twice => f.write_str(
                "is in the chart twice (as a pre-install hook and a regular resource, or in two documents), so the install fails when Helm creates it again",
            ),
        }
    }
}
