//! What Helm deletes while it is at work.
//!
//! In: who needs the object. Out: those of them that Helm does not deal with in the same operation. Refuses: nothing; what
//! could not be looked up is a doubt.
//!
//! An upgrade deletes what left the release in the order of the old manifest: a ConfigMap before the Deployment that used it. The
//! release guard has judged the whole of it, so the workloads of the release do not count while it is pending. A hook is
//! deleted to be created again, and does not tell which release it belongs to.

use helm_plan::{
    metadata::{HOOK, RELEASE_NAME, RELEASE_NAMESPACE, annotation, label},
    record::record_name,
};
use k8s_openapi::{Resource, api::core::v1::Secret};
use serde_json::Value;

use super::{
    consumers::{Consumers, Doubt},
    taken::Taken,
};
use crate::cluster::{Cluster, List, LookupError, ObjectRef, Scope};

/// The hooks of Argo CD, which treats those of Helm as its own.
const ARGO_HOOK: &str = "argocd.argoproj.io/hook";

/// Takes away the consumers that the release guard has judged.
pub(super) fn leave_to_release_guard(
    consumers: &mut Consumers,
    taken: &Taken<'_>,
    cluster: &dyn Cluster,
) {
    if let Some(release) = Release::of(taken.object) {
        if !consumers.any(|workload| Release::of(workload) == Some(release)) {
            return;
        }
        match pending(cluster, taken.namespace, Some(release)) {
            Ok(Pending::Here) => {
                consumers.retain(|workload| Release::of(workload) != Some(release));
            }
            Ok(Pending::No) => {}
            Ok(Pending::Elsewhere) => consumers.doubt(&Doubt::MayBeHelm),
            Err(error) => consumers.doubt(&Doubt::HelmUnknown(error)),
        }
        return;
    }
    let is_hook = [HOOK, ARGO_HOOK]
        .iter()
        .any(|key| annotation(taken.object, key).is_some());
    if is_hook {
        match pending(cluster, taken.namespace, None) {
            Ok(Pending::Here) => *consumers = Consumers::default(),
            Ok(Pending::No | Pending::Elsewhere) => consumers.doubt(&Doubt::Hook),
            Err(error) => consumers.doubt(&Doubt::HelmUnknown(error)),
        }
    }
}

/// The release that an object belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Release<'a> {
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Release<'a> {
    fn of(object: &'a Value) -> Option<Self> {
        Some(Self {
            name: annotation(object, RELEASE_NAME)?,
            namespace: annotation(object, RELEASE_NAMESPACE)?,
        })
    }
}

/// Whether Helm is at work.
enum Pending {
    /// On the release; or, of a hook, on a release of its namespace.
    Here,
    /// On a release of this name whose record is in another namespace. Flux can keep records apart from the release.
    Elsewhere,
    No,
}

fn pending(
    cluster: &dyn Cluster,
    namespace: &str,
    release: Option<Release<'_>>,
) -> Result<Pending, LookupError> {
    let listed = cluster.list(&List {
        label_selector: "owner=helm,status in (pending-install,pending-rollback,pending-upgrade,uninstalling)",
        fields: &["metadata.labels"],
        ..List::of(Secret::API_VERSION, Secret::KIND, Scope::Cluster)
    })?;
    let namespace = release.map_or(namespace, |release| release.namespace);
    let mut answer = Pending::No;
    for record in &listed {
        if release.is_some_and(|release| label(record, "name") != Some(release.name)) {
            continue;
        }
        let of_record = record
            .pointer("/metadata/namespace")
            .and_then(Value::as_str);
        match of_record {
            Some(of_record) if is_stale(cluster, of_record, record)? => {}
            Some(of_record) if of_record == namespace => return Ok(Pending::Here),
            _ => answer = Pending::Elsewhere,
        }
    }
    Ok(answer)
}

/// Whether a newer revision exists: a client that is killed leaves its record pending for ever.
fn is_stale(cluster: &dyn Cluster, namespace: &str, record: &Value) -> Result<bool, LookupError> {
    let version = label(record, "version").and_then(|version| version.parse::<u64>().ok());
    let (Some(name), Some(version)) = (label(record, "name"), version) else {
        return Ok(false);
    };
    let next = ObjectRef {
        api_version: Secret::API_VERSION,
        kind: Secret::KIND,
        namespace,
        name: &record_name(name, version.saturating_add(1)),
    };
    Ok(cluster.get(next, &["metadata"])?.is_some())
}
