//! Helm would delete what makes a Secret or ConfigMap that pods of the new revision need.
//!
//! ## Why
//!
//! An operator makes the Secret from another object of the release: an ExternalSecret, a SealedSecret, a VaultStaticSecret, a Certificate. The
//! object is in the current revision but not in the new one, so Helm deletes it. Most operators are owners of what they make, so that Kubernetes
//! deletes the Secret too, and the pods that need it cannot start.
//!
//! The finding is only a warning in these cases:
//!
//! - The Secret may stay, but is no longer renewed: that of a Certificate, of an Ingress with an annotation of cert-manager, or of an
//!   ExternalSecret with `creationPolicy: Orphan`.
//! - Something else in the release may make the Secret again.
//! - No pods of the workload run now.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: external-secrets.io/v1
//! kind: ExternalSecret
//! metadata:
//!   name: database
//! spec:
//!   secretStoreRef: {name: vault, kind: ClusterSecretStore}
//!   dataFrom: [{extract: {key: database}}]
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
//!           envFrom: [{secretRef: {name: database}}]
//! ```
//!
//! After, with the same Deployment, the ExternalSecret is gone:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: other
//! ```
//!
//! ## Ways out
//!
//! - Put the object back into the chart, put the Secret itself into the chart, or remove the references to the Secret.
//! - Keep the live object: `kubectl annotate externalsecret.external-secrets.io database helm.sh/resource-policy=keep`.
//! - For a rollback, the target revision cannot be changed. Upgrade to a chart that has the object, instead of rolling back.

use std::fmt;

use super::{Doubt, Finding, Level, Lint, Linter, Revisions, linter::Fate};
use crate::{
    consumers::Consumer,
    lifecycle::Operation,
    makers::{self, Made},
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "maker-deleted",
    summary: "Helm would delete what makes a Secret or ConfigMap that pods of the new revision need",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// What makes a Secret or ConfigMap leaves the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// What it makes.
    pub made: ObjectId,
    /// Whether that is deleted with it.
    pub is_owned: bool,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    if fate != Fate::Pruned {
        return None;
    }
    let maker = linter.current.resources(id).last()?;
    let made = makers::made_by(maker);
    // What is deleted with it comes first: the other is a warning at most.
    let (owned, others): (Vec<_>, Vec<_>) = made.into_iter().partition(|made| made.is_owned);
    let mut findings = owned
        .into_iter()
        .chain(others)
        .filter_map(|made| finding(linter, id, made));
    let first = findings.next()?;
    Some(match first.is_uncertain() {
        true => findings
            .find(|finding| !finding.is_uncertain())
            .unwrap_or(first),
        false => first,
    })
}

fn finding(linter: &Linter<'_>, id: &ObjectId, made: Made) -> Option<Finding> {
    let Made { id: made, is_owned } = made;
    let needs = |consumer: &Consumer<'_>| !consumer.optional && consumer.when.is_after_prune();
    let consumers = linter.consumers_of(&made, needs);
    if consumers.is_empty() || linter.target.all(&made).next().is_some() {
        return None;
    }
    let makers = linter.makers();
    // Others of the target only name it, and may make it.
    if makers.surely_make(&made) {
        return None;
    }
    let may_stay = (!is_owned).then_some(Doubt::NotSeen);
    let doubt = linter.doubt(makers.of_object(&made), &made, needs).or(may_stay);
    let fact = Fact {
        revisions: linter.change.revisions(),
        operation: linter.change.operation,
        made,
        is_owned,
    };
    Some(Finding {
        consumers,
        doubt,
        keep: linter.keep(id),
        ..Finding::new(id, fact)
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        vec![match self.operation {
            Operation::Rollback => {
                "upgrade to a chart that has it, instead of rolling back".to_owned()
            }
            Operation::Install | Operation::Upgrade => format!(
                "put it back into the chart, or put {} itself into the chart",
                self.made
            ),
        }]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revisions, made, .. } = self;
        write!(
            f,
            "is in {} but not in {}, so Helm deletes it; ",
            revisions.current(),
            revisions.target()
        )?;
        match self.is_owned {
            true => write!(f, "{made}, which it makes, is deleted with it, and the pods that need that could not start"),
            false => write!(f, "{made}, which it makes and pods need, may stay, but nothing renews it any more"),
        }
    }
}
