//! What allows one revision, whatever is found: a label on its record.

use std::fmt;

use helm_plan::{
    lifecycle::Operation,
    metadata::label,
    record::{Driver, record_name},
};
use serde_json::Value;

use super::{assess::Record, pending_operation};
use crate::annotations::ALLOW_REVISION;

/// Whether a record has the label. It names the very revision that it allows, so that it expires by itself:
/// later revisions inherit it.
pub(super) fn is_bypassed(record: &Value) -> bool {
    let allowed = label(record, ALLOW_REVISION);
    allowed.is_some() && allowed == label(record, "version")
}

/// How to give a revision the label: `helm upgrade --labels rollout-guard/allow-revision=2 …`
pub(super) struct Bypass<'a> {
    pub(super) operation: Operation,
    pub(super) driver: Driver,
    /// The namespace of the record.
    pub(super) namespace: &'a str,
    pub(super) release: &'a str,
    pub(super) revision: String,
    /// The revision that a rollback goes back to, where the record tells.
    pub(super) rollback_target: Option<u64>,
}

impl<'a> Bypass<'a> {
    /// For a record that cannot be read.
    pub(super) fn of_labels(record: Record<'a>) -> Option<Self> {
        let label = |key| label(record.object, key);
        Some(Self {
            operation: pending_operation(record.object)?,
            driver: record.driver,
            namespace: record.namespace,
            release: label("name")?,
            revision: label("version")?.to_owned(),
            rollback_target: None,
        })
    }
}

impl fmt::Display for Bypass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            release,
            revision,
            ..
        } = self;
        if self.operation != Operation::Rollback {
            let operation = self.operation.name();
            return write!(f, "helm {operation} --labels {ALLOW_REVISION}={revision} …");
        }
        // `helm rollback` takes no labels; the new record has those of the record that it goes back to.
        let kind = self.driver.kind().to_lowercase();
        let target = self.rollback_target;
        let record = match target {
            Some(target) => record_name(release, target),
            None => format!("sh.helm.release.v1.{release}.vN"),
        };
        let hint = match target {
            Some(_) => "",
            None => " (N is the revision to roll back to)",
        };
        write!(
            f,
            "kubectl label -n {namespace} {kind} {record} {ALLOW_REVISION}={revision} --overwrite{hint}, and roll back again"
        )
    }
}
