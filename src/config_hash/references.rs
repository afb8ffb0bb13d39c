//! Which ConfigMaps and Secrets a workload uses, and which of their keys.
//!
//! In: the workload as raw JSON, and the settings. Out: [`References`], one entry for each distinct
//! object, in a fixed order. Refuses: a pod template of the wrong shape; names in the `extra-…`
//! annotations that no object can have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, Secret},
};
use pod_references::{
    Keys, Kind, Need, Purpose, WrongShape,
    extra::{self, ImpossibleName},
};
use serde_json::Value;

use super::choice;
use crate::settings;

/// The keys that the kubelet reads from an image pull Secret, one for each type of it.
const IMAGE_PULL_KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

/// Kubernetes puts this ConfigMap into every namespace and into every pod.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Each config that a workload uses, and how.
pub type References = BTreeMap<ConfigId, Use>;

/// Why it is not known what a workload uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// In the pod template.
    #[error(transparent)]
    WrongShape(#[from] WrongShape),
    /// A name that no object can have, in one of the `extra-…` annotations.
    #[error(transparent)]
    ImpossibleName(#[from] ImpossibleName),
}

/// A ConfigMap or Secret in the namespace of the workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigId {
    pub kind: ConfigKind,
    pub name: String,
}

/// The kinds of objects that hold config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigKind {
    /// As in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => ConfigMap::KIND,
            Self::Secret => Secret::KIND,
        }
    }

    /// `None`: objects of this kind hold no config.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::ConfigMap => Some(Self::ConfigMap),
            Kind::Secret => Some(Self::Secret),
            Kind::ServiceAccount
            | Kind::PersistentVolumeClaim
            | Kind::PriorityClass
            | Kind::RuntimeClass
            | Kind::SecretProviderClass
            | Kind::StorageClass => None,
        }
    }
}

impl From<ConfigKind> for Kind {
    fn from(kind: ConfigKind) -> Self {
        match kind {
            ConfigKind::ConfigMap => Self::ConfigMap,
            ConfigKind::Secret => Self::Secret,
        }
    }
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// For people: `ConfigMap basic-app-config`.
impl fmt::Display for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl ConfigId {
    /// For the `configs` annotation: `ConfigMap/basic-app-config`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// How one config is used by all places that name it, taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Use {
    /// All keys count.
    pub whole: bool,
    /// The pods cannot start without the object.
    pub required: bool,
    /// The keys that are named one by one.
    pub keys: BTreeSet<String>,
    /// Those of them that the pods cannot start without.
    pub required_keys: BTreeSet<String>,
    /// It only counts if an annotation of the object marks it.
    pub if_marked: bool,
}

impl Use {
    fn add(&mut self, keys: Keys, optional: bool) {
        self.required |= !optional;
        self.if_marked = false;
        match keys {
            Keys::All => self.whole = true,
            Keys::Only(keys) => {
                if !optional {
                    self.required_keys.extend(keys.iter().cloned());
                }
                self.keys.extend(keys);
            }
        }
    }

    /// The keys that count, if not all do.
    pub fn only(&self) -> Option<&BTreeSet<String>> {
        (!self.whole).then_some(&self.keys)
    }
}

/// The references of a workload. The root certificate (`kube-root-ca.crt`) never counts.
pub fn references(workload: &Value, settings: &settings::ConfigHash) -> Result<References, Error> {
    let mut references = References::new();
    for need in pod_references::needs(workload, "spec.template")? {
        let Some(kind) = ConfigKind::of(need.kind) else {
            continue;
        };
        let keys = match need.purpose {
            Purpose::Config => need.keys,
            Purpose::ImagePull if settings.image_pull_secrets => {
                Keys::Only(IMAGE_PULL_KEYS.map(str::to_owned).into())
            }
            Purpose::ImagePull | Purpose::Start => continue,
        };
        let id = ConfigId {
            kind,
            name: need.name,
        };
        references.entry(id).or_default().add(keys, need.optional);
    }
    choice::narrow(&mut references, workload, settings.workloads);
    for need in extra::needs(workload) {
        let Need { kind, name, .. } = need?;
        if let Some(kind) = ConfigKind::of(kind) {
            let id = ConfigId { kind, name };
            references.entry(id).or_default().add(Keys::All, false);
        }
    }
    references.retain(|id, _| match id.kind {
        ConfigKind::ConfigMap => id.name != ROOT_CA && !settings.ignore.config_map(&id.name),
        ConfigKind::Secret => !settings.ignore.secret(&id.name),
    });
    Ok(references)
}

#[cfg(test)]
mod tests;
