//! Helm would delete a CustomResourceDefinition, and with it all objects of its kind.
//!
//! ## Why
//!
//! Kubernetes deletes all objects of a custom kind, in all namespaces, together with its CustomResourceDefinition. A definition in the folder
//! `templates/` of a chart is a resource like any other: when it leaves the chart, Helm deletes it. This also happens when a new version of the
//! chart moves it to the folder `crds/`, or to a chart of its own.
//!
//! The finding is only a warning if the new revision has no object of the kind: others may have some.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: apiextensions.k8s.io/v1
//! kind: CustomResourceDefinition
//! metadata:
//!   name: backups.example.com
//! spec:
//!   group: example.com
//!   names: {kind: Backup, plural: backups}
//!   scope: Namespaced
//!   versions:
//!     - name: v1
//!       served: true
//!       storage: true
//!       schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
//! ---
//! apiVersion: example.com/v1
//! kind: Backup
//! metadata:
//!   name: nightly
//! ```
//!
//! After, the definition is gone from the templates:
//!
//! ```yaml
//! apiVersion: example.com/v1
//! kind: Backup
//! metadata:
//!   name: nightly
//! ```
//!
//! ## Ways out
//!
//! - Keep the live definition: `kubectl annotate customresourcedefinition backups.example.com helm.sh/resource-policy=keep`.
//! - Put the definition back into the templates of the chart.
//! - For a rollback, the target revision cannot be changed. Keep the live definition, or upgrade to a chart that has it.

use std::fmt;

use super::{Doubt, Finding, Level, Lint, Linter, Revisions, linter::Fate};
use crate::{lifecycle::Operation, manifest::ObjectId};

/// The finding.
pub const LINT: Lint = Lint {
    name: "crd-deleted",
    summary: "Helm would delete a CustomResourceDefinition, and with it all objects of its kind",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// A CustomResourceDefinition leaves the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// Whether the target has objects of its kind.
    pub has_objects: bool,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let is_definition =
        id.group == "apiextensions.k8s.io" && id.kind == "CustomResourceDefinition";
    // Hooks never delete one: there, Helm ignores their delete policies.
    if !is_definition || fate != Fate::Pruned {
        return None;
    }
    let objects = objects(linter, id);
    let fact = Fact {
        revisions: linter.change.revisions(),
        operation: linter.change.operation,
        has_objects: !objects.is_empty(),
    };
    Some(Finding {
        doubt: objects.is_empty().then_some(Doubt::NotSeen),
        consumers: objects,
        keep: linter.keep(id),
        ..Finding::new(id, fact)
    })
}

/// The objects of the target that are of the kind which a definition defines. Its name is its plural and
/// its group. The name of the kind is in its `spec`, which is not read (see [`crate::yaml`]).
fn objects(linter: &Linter<'_>, id: &ObjectId) -> Vec<ObjectId> {
    let Some((plural, group)) = id.name.split_once('.') else {
        return Vec::new();
    };
    let objects = linter.index.of_plural(group, plural).iter();
    objects.copied().cloned().collect()
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let way_out = match self.operation {
            Operation::Rollback => {
                "upgrade to a chart that has it in its templates, instead of rolling back"
            }
            Operation::Install | Operation::Upgrade => {
                "put it back into the templates of the chart"
            }
        };
        vec![way_out.to_owned()]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "is in {} but not in {}, so Helm deletes it; all objects of its kind are deleted too, in every namespace",
            self.revisions.current(),
            self.revisions.target()
        )?;
        match self.has_objects {
            true => Ok(()),
            false => f.write_str(", and others may have some"),
        }
    }
}
