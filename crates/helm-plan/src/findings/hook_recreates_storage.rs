//! Helm would delete a PersistentVolumeClaim, with its data, and create it again.
//!
//! ## Why
//!
//! The claim is a hook whose delete policy is `before-hook-creation`, which is also the default. Each operation that runs the hook deletes the
//! old claim before it creates the new one. The data of the old claim is lost.
//!
//! ## Example
//!
//! The chart contains this claim before and after the upgrade:
//!
//! ```yaml
//! apiVersion: v1
//! kind: PersistentVolumeClaim
//! metadata:
//!   name: data
//!   annotations:
//!     helm.sh/hook: pre-install,pre-upgrade
//! spec:
//!   accessModes: [ReadWriteOnce]
//!   resources: {requests: {storage: 1Gi}}
//! ```
//!
//! This keeps the claim:
//!
//! ```yaml
//! apiVersion: v1
//! kind: PersistentVolumeClaim
//! metadata:
//!   name: data
//!   annotations:
//!     helm.sh/resource-policy: keep
//! spec:
//!   accessModes: [ReadWriteOnce]
//!   resources: {requests: {storage: 1Gi}}
//! ```
//!
//! ## Ways out
//!
//! - Make the claim a regular resource with the annotation `helm.sh/resource-policy: keep`. For the first upgrade after that change, use
//!   `helm upgrade --take-ownership`: the claim was created by a hook, and Helm does not yet count it as part of the release.

use std::fmt;

use super::{Finding, Level, Lint, Linter, linter::Fate};
use crate::{lifecycle::Operation, manifest::ObjectId, plan::Action};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-recreates-storage",
    summary: "Helm would delete a PersistentVolumeClaim, with its data, and create it again",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// A claim is a hook with the delete policy `before-hook-creation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is done to the release.
    pub operation: Operation,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let operation = linter.change.operation;
    let mut actions = linter.change.plan.actions(id);
    let is_recreated = fate == Fate::Stays
        && id.kind == "PersistentVolumeClaim"
        && operation != Operation::Install
        && actions.any(|action| matches!(action, Action::DeleteBeforeHook(_)));
    is_recreated.then(|| Finding {
        consumers: linter.consumers_of(id, |_| true),
        ..Finding::new(id, Fact { operation })
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        vec!["make it a regular resource with helm.sh/resource-policy: keep".to_owned()]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "is a hook with the delete policy before-hook-creation, so each {} deletes it with its data and recreates it",
            self.operation.name()
        )
    }
}
