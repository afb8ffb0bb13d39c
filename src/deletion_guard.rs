//! May this object go, or does a live workload need it?
//!
//! ```text
//! deletion, or update that removes keys → who lets it pass  → accept
//!                                       → workloads that require it, from watches → those that are still there → verdict
//! ```
//!
//! In: DELETE of a ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim, and UPDATE that removes keys of a
//! ConfigMap or Secret. Out: a [`Verdict`]. Refuses: what a live workload requires, where the settings say so.
//!
//! What is rejected is certain: each workload is read again from the API server before it counts. What a watch does not
//! show yet passes: a workload that was created within the last moments, and whose config is deleted at once.

mod consumers;
mod gitops;
mod helm;
mod message;
mod passes;
mod taken;

use k8s_openapi::{Resource, api::core::v1::Namespace};

use self::{consumers::Doubt, taken::taken};
use crate::{
    cluster::{Cluster, LookupError, ObjectRef},
    request::{Operation, Request},
    settings::{DeletionLevel, Settings},
    verdict::Verdict,
};

/// Whether the request takes something away that workloads may need, and whether anybody wants to know.
pub fn concerns(request: &Request, settings: &Settings) -> bool {
    settings.deletion_guard.is_enabled() && taken(request).is_some()
}

/// Judges a deletion, or an update that removes keys.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let guard = &settings.deletion_guard;
    let is_update = request.operation == Operation::Update;
    let level = guard.level_for(request.user(), &request.groups(), is_update);
    let Some(taken) = taken(request).filter(|_| level != DeletionLevel::Ignore) else {
        return Verdict::accept();
    };
    if let Some(pass) = passes::without_looking(request, &taken) {
        return pass.verdict(&taken);
    }
    let mut consumers = consumers::live(&taken, &guard.other_workloads, cluster);
    if consumers.is_empty() {
        return Verdict::accept();
    }
    match is_terminating(taken.namespace, cluster) {
        Ok(true) => return Verdict::accept(),
        Ok(false) => {}
        Err(error) => consumers.doubt(&Doubt::NamespaceUnknown(error), |_| true),
    }
    let doubts = [
        passes::made_again(&taken),
        gitops::doubt(request, &taken, guard),
    ];
    for doubt in doubts.into_iter().flatten() {
        consumers.doubt(&doubt, |_| true);
    }
    let is_left_to_helm = helm::leave_to_release_guard(&mut consumers, &taken, cluster);
    let verdict = message::verdict(request, &taken, &consumers, level, settings.lookup_failure);
    match is_left_to_helm {
        true => verdict.audit("deletion-left-to-helm", taken.to_string()),
        false => verdict,
    }
}

/// Whether the namespace is being deleted, and all that is in it.
fn is_terminating(namespace: &str, cluster: &dyn Cluster) -> Result<bool, LookupError> {
    let object = ObjectRef {
        api_version: Namespace::API_VERSION,
        kind: Namespace::KIND,
        namespace: "",
        name: namespace,
    };
    let found = cluster.get(object, &["metadata"])?;
    // A namespace that is gone needs nothing.
    Ok(found.is_none_or(|found| consumers::is_being_deleted(&found)))
}

#[cfg(test)]
mod tests;
