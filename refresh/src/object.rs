//! What is kept of the objects in the cluster: names, and what tells whether a workload runs the current config.
//!
//! In: raw JSON of a workload; metadata of a config. Out: [`Workload`], [`Version`]. Refuses: a pod template of the wrong
//! shape. The values of Secrets are never here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use pod_references::{
    Kind, Purpose, WrongShape, chosen, extra,
    reloaders::{Counts, Watched},
};
use serde_json::Value;

/// The record of the policy on a workload: a JSON object with an entry for each config.
pub(crate) const CONFIGS: &str = "rollout-guard/configs";
/// On a workload or namespace, as annotation or label: `"false"` leaves it alone.
pub(crate) const REFRESH: &str = "rollout-guard/refresh";
/// Who sends the patches, for `managedFields`.
pub(crate) const MANAGER: &str = "rollout-guard-refresh";

/// Kubernetes puts this ConfigMap into every namespace. It never counts for the policy.
const ROOT_CA: &str = "kube-root-ca.crt";

/// A kind of workload: `Deployment` of `apps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKind {
    pub(crate) group: String,
    pub(crate) kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkloadId {
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: Arc<GroupKind>,
    pub(crate) name: String,
}

/// As in the messages of the policy, with the namespace: `Deployment shop/web`.
impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.kind, self.namespace, self.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigKind {
    pub(crate) const ALL: [Self; 2] = [Self::ConfigMap, Self::Secret];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::ConfigMap => Some(Self::ConfigMap),
            Kind::Secret => Some(Self::Secret),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConfigId {
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: ConfigKind,
    pub(crate) name: String,
}

impl ConfigId {
    /// As in the record of the policy: `ConfigMap/app`.
    fn key(&self) -> String {
        format!("{}/{}", self.kind.name(), self.name)
    }
}

/// `ConfigMap app`, in the namespace of the workload.
impl fmt::Display for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// One state of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its `resourceVersion`, which only grows; 0 if it is not a number.
    pub(crate) revision: u64,
    /// When it was last written, in seconds; `None` if its metadata does not tell.
    pub(crate) written: Option<i64>,
}

impl Version {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            revision: revision(metadata),
            written: written(metadata, |_| true),
        }
    }
}

/// One state of a workload that uses config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) uses: BTreeSet<ConfigId>,
    /// What the policy has recorded of each of these; `None` if it never saw the workload.
    pub(crate) recorded: Option<BTreeMap<ConfigId, String>>,
    /// When the workload was last written, except for its status, in seconds.
    pub(crate) written: Option<i64>,
    /// That was this program.
    pub(crate) written_by_us: bool,
    pub(crate) generation: i64,
    pub(crate) uid: String,
}

/// Which workloads count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// All that use config, like `configHash.workloads: all` of the policy; otherwise those with annotations that ask for it.
    pub(crate) all: bool,
    /// Whether image pull Secrets count, like `configHash.imagePullSecrets` of the policy.
    pub(crate) image_pull_secrets: bool,
}

impl Workload {
    /// `None`: it uses no config, or is to be left alone. The metadata is also in the workload.
    pub(crate) fn read(
        workload: &Value,
        metadata: &ObjectMeta,
        namespace: &Arc<str>,
        choice: Choice,
    ) -> Result<Option<Self>, WrongShape> {
        if is_opted_out(metadata) || metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let uses = uses(workload, namespace, choice)?;
        if uses.is_empty() {
            return Ok(None);
        }
        let annotations = metadata.annotations.as_ref();
        let record = annotations.and_then(|annotations| annotations.get(CONFIGS));
        let recorded = recorded(record.map(String::as_str), &uses);
        let is_ours = |manager: &str| manager == MANAGER;
        let written = written(metadata, |_| true);
        Ok(Some(Self {
            uses,
            recorded,
            written_by_us: written.is_some() && written == self::written(metadata, is_ours),
            written,
            generation: metadata.generation.unwrap_or(0),
            uid: metadata.uid.clone().unwrap_or_default(),
        }))
    }

    /// Whether the policy has looked at the current state of all its configs for certain.
    pub(crate) fn is_up_to_date(&self, version: impl Fn(&ConfigId) -> Option<Version>) -> bool {
        let Some(recorded) = &self.recorded else {
            return false;
        };
        self.uses.iter().all(|config| match version(config) {
            Some(version) => version
                .written
                .zip(self.written)
                .is_some_and(|(config, workload)| config + MARGIN < workload),
            // It may have been deleted since it was recorded.
            None => recorded.get(config).is_none_or(|entry| is_absent(entry)),
        })
    }

    /// Whether content is recorded of a config that is not there.
    pub(crate) fn records_what_is_gone(&self, is_there: impl Fn(&ConfigId) -> bool) -> bool {
        let mut entries = self.recorded.iter().flatten();
        entries.any(|(config, entry)| !is_there(config) && !is_absent(entry))
    }
}

/// What the policy records of a config that is not there, or that the pods wait for.
fn is_absent(entry: &str) -> bool {
    entry.starts_with("absent") || entry == "missing"
}

/// In seconds. A webhook may take 30 seconds to look at a config before the workload is stored, and the clocks of two API
/// servers differ.
const MARGIN: i64 = 60;

/// Whether the owner of a workload or namespace wants it to be left alone.
pub(crate) fn is_opted_out(metadata: &ObjectMeta) -> bool {
    [&metadata.annotations, &metadata.labels]
        .into_iter()
        .flatten()
        .any(|values| values.get(REFRESH).is_some_and(|value| value == "false"))
}

fn uses(
    workload: &Value,
    namespace: &Arc<str>,
    choice: Choice,
) -> Result<BTreeSet<ConfigId>, WrongShape> {
    let enabled = workload.pointer("/metadata/annotations");
    let enabled = enabled.and_then(|annotations| annotations.get(chosen::ENABLED)?.as_str());
    let watched = Watched::of(workload);
    // The policy refuses other values, so that a patch says what is wrong.
    let enabled = enabled.map(|enabled| enabled != "false");
    let Some(unasked) = chosen::unasked(workload, &watched, enabled, choice.all) else {
        return Ok(BTreeSet::new());
    };
    let named = pod_references::needs(workload, "spec.template")?;
    let named = named
        .into_iter()
        .filter(|need| match need.purpose {
            Purpose::Config => true,
            Purpose::ImagePull => choice.image_pull_secrets,
            Purpose::Start => false,
        })
        .filter(|need| watched.counts(need.kind, &need.name, unasked) != Counts::No)
        .map(|need| (need.kind, need.name));
    let listed = watched.listed().map(|(kind, name)| (kind, name.to_owned()));
    let extra = extra::needs(workload)
        .flatten()
        .map(|need| (need.kind, need.name));
    let all = named.chain(listed).chain(extra);
    Ok(all
        .filter_map(|(kind, name)| {
            Some(ConfigId {
                namespace: Arc::clone(namespace),
                kind: ConfigKind::of(kind)?,
                name,
            })
        })
        .filter(|config| config.kind != ConfigKind::ConfigMap || config.name != ROOT_CA)
        .collect())
}

/// What the annotation of the policy says of these configs. A record that cannot be read has no entries, as for the policy.
pub(crate) fn recorded(
    annotation: Option<&str>,
    uses: &BTreeSet<ConfigId>,
) -> Option<BTreeMap<ConfigId, String>> {
    let mut record: BTreeMap<String, String> =
        serde_json::from_str(annotation?).unwrap_or_default();
    let entries = uses.iter();
    let entries =
        entries.filter_map(|config| Some((config.clone(), record.remove(&config.key())?)));
    Some(entries.collect())
}

/// The `resourceVersion` as a number. Kubernetes promises that the versions of one resource can be compared (KEP-5504).
pub(crate) fn revision(metadata: &ObjectMeta) -> u64 {
    let text = metadata.resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The last time at which one of these managers wrote the object itself.
fn written(metadata: &ObjectMeta, counts: impl Fn(&str) -> bool) -> Option<i64> {
    let managed = metadata.managed_fields.iter().flatten();
    managed
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| counts(entry.manager.as_deref().unwrap_or_default()))
        .filter_map(|entry| Some(entry.time.as_ref()?.0))
        .map(Timestamp::as_second)
        .max()
}

#[cfg(test)]
mod tests;
