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
mod helm;
mod message;
mod passes;
mod taken;

use k8s_openapi::{Resource, api::core::v1::Namespace};

use self::{
    consumers::Consumers,
    message::not_checked,
    taken::{Taken, taken},
};
use crate::{
    cluster::{Cluster, LookupError, ObjectRef},
    request::Request,
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
    let level = guard.level_for(request.user(), &request.groups());
    let Some(taken) = taken(request).filter(|_| level != DeletionLevel::Ignore) else {
        return Verdict::accept();
    };
    if let Some(pass) = passes::without_looking(request, &taken) {
        return pass.verdict(&taken);
    }
    match consumers(&taken, cluster) {
        Ok(consumers) => message::verdict(request, &taken, &consumers, level),
        Err(error) => not_checked(&taken, &error, level, settings.lookup_failure),
    }
}

/// Who needs what is taken, and would miss it.
fn consumers(taken: &Taken<'_>, cluster: &dyn Cluster) -> Result<Consumers, consumers::Error> {
    let mut consumers = consumers::live(taken, cluster)?;
    if consumers.is_empty() || is_terminating(taken.namespace, cluster)? {
        return Ok(Consumers::default());
    }
    helm::leave_to_release_guard(&mut consumers, taken, cluster);
    Ok(consumers)
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
