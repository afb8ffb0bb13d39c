//! Which ConfigMaps and Secrets a workload uses, and which of their keys.
//!
//! In: the workload as raw JSON, and the settings. Out: [`References`], one entry for each distinct
//! object, in a fixed order. Refuses: a pod template of the wrong shape; names in the `extra-…`
//! annotations that no object can have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use pod_references::{Keys, Kind, Purpose};
use serde_json::Value;

use crate::{
    annotations::{self, EXTRA_CONFIGMAPS, EXTRA_SECRETS},
    settings,
};

/// The keys that the kubelet reads of a pull Secret, one for each type of it.
const IMAGE_PULL_KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

/// Each config that a workload uses, and how.
pub type References = BTreeMap<ConfigId, Use>;

/// A ConfigMap or Secret in the namespace of the workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigId {
    pub kind: Kind,
    pub name: String,
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

/// How one config is used, by all places that name it together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Use {
    /// All keys count, whichever they are.
    pub whole: bool,
    /// The pods cannot start without the object.
    pub required: bool,
    /// The keys that are named.
    pub keys: BTreeSet<String>,
    /// Those of them that the pods cannot start without.
    pub required_keys: BTreeSet<String>,
}

impl Use {
    fn add(&mut self, keys: Keys, optional: bool) {
        self.required |= !optional;
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

    /// The part of `data` that is used.
    pub fn select<'d>(&self, data: &'d BTreeMap<String, Vec<u8>>) -> BTreeMap<&'d str, &'d [u8]> {
        data.iter()
            .filter(|(key, _)| self.whole || self.keys.contains(*key))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
            .collect()
    }
}

/// The references of a workload. `kube-root-ca.crt` never counts: Kubernetes puts it into every
/// namespace and into every pod.
pub fn references(workload: &Value, settings: &settings::ConfigHash) -> Result<References, String> {
    let template = workload.pointer("/spec/template").unwrap_or(&Value::Null);
    let mut references = References::new();
    let mut add = |kind, name, keys, optional| {
        references
            .entry(ConfigId { kind, name })
            .or_default()
            .add(keys, optional);
    };
    for need in
        pod_references::needs(template, "spec.template").map_err(|error| error.to_string())?
    {
        let keys = match need.purpose {
            Purpose::Config => need.keys,
            Purpose::ImagePull if settings.image_pull_secrets => {
                Keys::Only(IMAGE_PULL_KEYS.map(str::to_owned).into())
            }
            Purpose::ImagePull | Purpose::Start => continue,
        };
        add(need.kind, need.name, keys, need.optional);
    }
    for (kind, annotation) in [
        (Kind::ConfigMap, EXTRA_CONFIGMAPS),
        (Kind::Secret, EXTRA_SECRETS),
    ] {
        for name in extra_names(workload, annotation)? {
            add(kind, name, Keys::All, false);
        }
    }
    references.retain(|id, _| match id.kind {
        Kind::ConfigMap => id.name != "kube-root-ca.crt" && !settings.ignore.config_map(&id.name),
        _ => !settings.ignore.secret(&id.name),
    });
    Ok(references)
}

fn extra_names(workload: &Value, annotation: &str) -> Result<Vec<String>, String> {
    let list = annotations::get(workload, annotations::OBJECT, annotation).unwrap_or_default();
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            match name
                .chars()
                .find(|&c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.'))
            {
                None => Ok(name.to_owned()),
                Some(c) => Err(format!(
                    "annotation {annotation} names {name:?}, but names have no {c:?}; \
                 write names separated by commas"
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
