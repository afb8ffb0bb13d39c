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
    /// The namespace of the record. It need not be that of the release: Flux can keep records elsewhere.
    pub(super) namespace: &'a str,
    pub(super) release: &'a str,
    pub(super) revision: u64,
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
            revision: label("version")?.parse().ok()?,
            rollback_target: None,
        })
    }

    /// `kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite`
    fn label(&self, record: &str) -> String {
        let (namespace, revision) = (self.namespace, self.revision);
        let kind = self.driver.kind().to_lowercase();
        format!(
            "kubectl label -n {namespace} {kind} {record} {ALLOW_REVISION}={revision} --overwrite"
        )
    }
}

impl fmt::Display for Bypass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (release, revision) = (self.release, self.revision);
        match (self.operation, self.rollback_target) {
            (Operation::Install, _) => {
                write!(f, "helm install --labels {ALLOW_REVISION}={revision} …")
            }
            // Flux and other users of Helm's library have no `--labels`; the new record has the labels of
            // the last one as well.
            (Operation::Upgrade, _) => {
                let last = record_name(release, revision.saturating_sub(1));
                let label = self.label(&last);
                write!(
                    f,
                    "helm upgrade --labels {ALLOW_REVISION}={revision} …\n\
                     Where no labels can be passed (Flux): {label}, and try again"
                )
            }
            // `helm rollback` takes no labels; the new record has those of the record that it goes back to.
            (Operation::Rollback, Some(target)) => {
                let label = self.label(&record_name(release, target));
                write!(f, "{label}, and roll back again")
            }
            (Operation::Rollback, None) => {
                let label = self.label(&format!("sh.helm.release.v1.{release}.vN"));
                write!(
                    f,
                    "{label} (N is the revision to roll back to), and roll back again"
                )
            }
        }
    }
}
