//! Helm would delete an object, or a key of it, that pods of the new revision need.
//!
//! ## Why
//!
//! A workload, or a hook that runs after Helm has deleted objects, names a ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim, or a
//! PriorityClass, RuntimeClass, SecretProviderClass or StorageClass. Names in the annotations `rollout-guard/extra-configmaps` and
//! `rollout-guard/extra-secrets` of a workload count too. The
//! object is in the current revision but not in the new one, so Helm deletes it, and the pods that need it cannot start. The same is true of a
//! single key of a ConfigMap or Secret. Optional references do not count, and neither do volumes that no container mounts, except
//! PersistentVolumeClaims.
//!
//! A ServiceAccount is needed even by a workload that no longer names it. The API server keeps `serviceAccountName` when a client leaves it out
//! (kubernetes/kubernetes#72519). A chart that removes both the ServiceAccount and its name leaves a workload that cannot create pods. Only the
//! kinds of Kubernetes itself do this, not custom ones.
//!
//! The finding is only a warning in these cases:
//!
//! - Something else makes the object again, or fills the key: an ExternalSecret, a SealedSecret or a Certificate of the release, an Ingress with an
//!   annotation of cert-manager, a controller that owns the live object, or another field manager of the live key. A custom resource of a kind that
//!   rollout-guard does not know counts if its `spec` names the object. Kinds that only use a Secret (ServiceMonitor, Gateway) do not count.
//! - No pods of the workload run now: it has `replicas: 0`, is suspended, or is a Job that has run before. A StorageClass is needed only
//!   by claims that are new.
//! - It is the ServiceAccount `default`, which Kubernetes makes again.
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
//! After, the ConfigMap is gone, and the Deployment still needs it:
//!
//! ```yaml
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
//! - Put the object or the key back into the chart, or remove the references to it.
//! - Keep the live object: `kubectl annotate configmap app-config helm.sh/resource-policy=keep`. This does not help with a single key.
//! - For a ServiceAccount that the workload no longer names, name another one in the workload: `serviceAccountName: default`.
//! - For a rollback, the target revision cannot be changed. Upgrade to a chart that has the object, instead of rolling back.

use std::fmt;

use super::{
    Finding, Level, Lint, Linter, Revisions, config_data::DataChange, linter::Fate,
};
use crate::{consumers::Consumer, lifecycle::Operation, manifest::ObjectId};

/// The finding.
pub const LINT: Lint = Lint {
    name: "dangling-reference",
    summary: "Helm would delete an object, or a key of it, that pods of the new revision need",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// What pods need leaves the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// What leaves.
    pub loss: Loss,
}

/// What leaves the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The object as a whole.
    Object {
        /// Whether the manifest of a workload names it. Otherwise the API server keeps the name.
        is_named: bool,
    },
    /// One key of it.
    Key(String),
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    match fate {
        Fate::Pruned => object(linter, id),
        Fate::Stays => key(linter, id),
        Fate::Conflict(_) | Fate::Spared | Fate::HookPruned | Fate::DeletedAfterHook(_) => None,
    }
}

fn object(linter: &Linter<'_>, id: &ObjectId) -> Option<Finding> {
    let needs =
        |consumer: &Consumer<'_>| !consumer.optional && consumer.when.is_after_prune();
    let consumers = linter.consumers_of(id, needs);
    if consumers.is_empty() {
        return None;
    }
    let keep = linter.keep(id);
    let doubt = linter.doubt(linter.maker(id), id, needs);
    let is_named = linter
        .consumers(id)
        .any(|consumer| !consumer.kept_by_api_server);
    Some(Finding {
        consumers,
        doubt,
        keep,
        ..Finding::new(id, Fact::of(linter, Loss::Object { is_named }))
    })
}

/// The object stays, and a key that pods need goes.
fn key(linter: &Linter<'_>, id: &ObjectId) -> Option<Finding> {
    let DataChange { before, after } = DataChange::of(linter, id)?;
    let is_gone = |key: &String| {
        let key = key.as_str();
        before.contains_key(key) && !after.contains_key(key)
    };
    let lost_key =
        |consumer: &Consumer<'_>| consumer.keys.iter().flatten().find(|key| is_gone(key)).cloned();
    let needs = |consumer: &Consumer<'_>| {
        !consumer.optional && consumer.when.is_after_prune() && lost_key(consumer).is_some()
    };
    let mut consumers = linter.consumers(id).filter(|consumer| needs(consumer));
    let key = consumers.find_map(lost_key)?;
    Some(Finding {
        consumers: linter.consumers_of(id, needs),
        doubt: linter.doubt(linter.filler(id, &key), id, needs),
        ..Finding::new(id, Fact::of(linter, Loss::Key(key)))
    })
}

impl Fact {
    fn of(linter: &Linter<'_>, loss: Loss) -> Self {
        Self {
            revisions: linter.change.revisions(),
            operation: linter.change.operation,
            loss,
        }
    }

    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let is_rollback = self.operation == Operation::Rollback;
        let Loss::Object { is_named } = &self.loss else {
            return vec![match is_rollback {
                true => "upgrade to a chart that has the key, instead of rolling back".to_owned(),
                false => "put the key back, or remove the references to it".to_owned(),
            }];
        };
        let first = match (is_named, is_rollback) {
            (false, _) => "name another one in the workload: serviceAccountName: default",
            (true, true) => "upgrade to a chart that has it, instead of rolling back",
            (true, false) => "put it back into the chart, or remove the references to it",
        };
        vec![first.to_owned()]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (current, target) = (self.revisions.current(), self.revisions.target());
        match &self.loss {
            Loss::Object { is_named } => {
                write!(f, "is in {current} but not in {target}, so Helm deletes it; ")?;
                f.write_str(match is_named {
                    true => "the pods that need it could not start",
                    false => {
                        "workloads that no longer name one keep it (kubernetes/kubernetes#72519), and their pods could not start"
                    }
                })
            }
            Loss::Key(key) => write!(
                f,
                "has the key {key:?} in {current} but not in {target}; the pods that need the key could not start"
            ),
        }
    }
}
