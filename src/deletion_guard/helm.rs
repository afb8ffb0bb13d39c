//! What Helm deletes while it is at work.
//!
//! In: who needs the object. Out: those of them that Helm does not deal with in the same operation. Refuses: nothing; what
//! could not be looked up is a doubt.
//!
//! An upgrade deletes what left the release in the order of the old manifest: a ConfigMap before the Deployment that used it. That is for
//! the release guard to judge, so the workloads of the release do not count while it is pending. A hook is deleted to be created
//! again, and does not tell which release it belongs to.

use helm_plan::metadata::{HOOK, RELEASE_NAME, RELEASE_NAMESPACE, annotation, label};
use k8s_openapi::{Resource, api::core::v1::Secret};
use serde_json::Value;

use super::{
    consumers::{Consumer, Consumers, Doubt},
    taken::Taken,
};
use crate::{
    cluster::{Cluster, List, LookupError, Scope},
    release_guard::second_line::is_stale,
};

/// The hooks of Argo CD, which treats those of Helm as its own.
const ARGO_HOOK: &str = "argocd.argoproj.io/hook";
/// Flux keeps the records of a release in the namespace of its HelmRelease, and writes it on all objects.
const FLUX_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";

/// The statuses of records that Helm may be at work on. After a failure, it may be cleaning up.
const AT_WORK: &str =
    "owner=helm,status in (failed,pending-install,pending-rollback,pending-upgrade,uninstalling)";
/// How many pending records of a namespace are looked at.
const MAX_RECORDS: usize = 16;

/// How Helm has made an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    release: Option<Release>,
    is_hook: bool,
}

/// A release by name and namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Release {
    name: String,
    namespace: String,
}

impl Origin {
    pub(super) fn of(object: &Value) -> Self {
        let text = |key| annotation(object, key).map(str::to_owned);
        let release = text(RELEASE_NAME).zip(text(RELEASE_NAMESPACE));
        Self {
            release: release.map(|(name, namespace)| Release { name, namespace }),
            is_hook: [HOOK, ARGO_HOOK]
                .iter()
                .any(|key| annotation(object, key).is_some()),
        }
    }

    /// That of an owner, if it tells nothing itself.
    pub(super) fn or(&mut self, owner: Self) {
        if *self == Self::default() {
            *self = owner;
        }
    }
}

/// Takes away the consumers that Helm deals with itself. Returns whether there were any.
pub(super) fn leave_to_release_guard(
    consumers: &mut Consumers,
    taken: &Taken<'_>,
    cluster: &dyn Cluster,
) -> bool {
    let origin = Origin::of(taken.object);
    let before = consumers.found.len();
    if let Some(release) = &origin.release {
        let is_of_it = |one: &Consumer| one.origin.release.as_ref() == Some(release);
        if consumers.found.iter().any(is_of_it) {
            match at_work_on(release, taken.object, cluster) {
                Ok(AtWork::Pending) => consumers.found.retain(|one| !is_of_it(one)),
                Ok(AtWork::Failed) => consumers.doubt(&Doubt::HelmFailed, is_of_it),
                Ok(AtWork::Elsewhere) => consumers.doubt(&Doubt::MayBeHelm, is_of_it),
                Ok(AtWork::No) => {}
                Err(error) => consumers.doubt(&Doubt::HelmUnknown(error), is_of_it),
            }
        }
    } else if origin.is_hook && !consumers.found.is_empty() {
        let is_of_helm = |one: &Consumer| one.origin != Origin::default();
        match is_at_work_in(taken.namespace, cluster) {
            Ok(true) => {
                consumers.found.retain(|one| !is_of_helm(one));
                consumers.doubt(&Doubt::Hook, |_| true);
            }
            Ok(false) => consumers.doubt(&Doubt::Hook, |_| true),
            Err(error) => consumers.doubt(&Doubt::HelmUnknown(error), |_| true),
        }
    }
    consumers.found.len() < before
}

/// What Helm does to a release.
enum AtWork {
    Pending,
    Failed,
    /// It is pending, if the record is of this release: it is in another namespace.
    Elsewhere,
    No,
}

fn at_work_on(
    release: &Release,
    object: &Value,
    cluster: &dyn Cluster,
) -> Result<AtWork, LookupError> {
    let records = records(cluster)?;
    // Of a release, only the newest record can mean something.
    let newest = |namespace: &str| {
        records
            .iter()
            .filter(|record| label(record, "name") == Some(&release.name))
            .filter(|record| namespace_of(record) == namespace)
            .max_by_key(|record| label(record, "version").and_then(|text| text.parse::<u64>().ok()))
    };
    if let Some(record) = newest(&release.namespace)
        && !is_stale(cluster, record)?
    {
        return Ok(match label(record, "status") {
            Some("failed") => AtWork::Failed,
            _ => AtWork::Pending,
        });
    }
    let elsewhere =
        label(object, FLUX_NAMESPACE).filter(|namespace| *namespace != release.namespace);
    if let Some(record) = elsewhere.and_then(newest)
        && !is_stale(cluster, record)?
    {
        return Ok(AtWork::Elsewhere);
    }
    Ok(AtWork::No)
}

/// Whether a release in a namespace is pending.
fn is_at_work_in(namespace: &str, cluster: &dyn Cluster) -> Result<bool, LookupError> {
    let records = records(cluster)?;
    let pending = records.iter().filter(|record| {
        namespace_of(record) == namespace && label(record, "status") != Some("failed")
    });
    for record in pending.take(MAX_RECORDS) {
        if !is_stale(cluster, record)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn records(cluster: &dyn Cluster) -> Result<Vec<Value>, LookupError> {
    cluster.list(&List {
        label_selector: AT_WORK,
        fields: &["metadata.labels"],
        ..List::of(Secret::API_VERSION, Secret::KIND, Scope::Cluster)
    })
}

fn namespace_of(record: &Value) -> &str {
    let namespace = record
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    namespace.unwrap_or_default()
}
