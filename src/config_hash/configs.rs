//! What the ConfigMaps and Secrets that a workload uses look like now.
//!
//! In: the references of a workload. Out: what was seen of each config that counts, and a sentence for
//! each one, or key of one, that is required and missing. Refuses: a look-up that failed, a key that
//! cannot be had, more references than can be read in time.
//!
//! Each object is read once, digested and dropped.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, Secret},
};
use pod_references::Kind;
use serde_json::Value;

use super::{
    digest::{ABSENT, Digester},
    references::{ConfigId, References, Use},
    stamp::Seen,
};
use crate::{
    annotations::{self, IGNORE},
    cluster::{Cluster, ObjectRef},
    settings::KeyRef,
};

/// Each is one look-up within the two seconds that an evaluation has.
const MAX_CONFIGS: usize = 256;

/// What is seen of each config that counts, and what is missing.
pub type View = (BTreeMap<ConfigId, Seen>, Vec<String>);

/// The configs of one namespace.
pub struct Configs<'a> {
    pub cluster: &'a dyn Cluster,
    pub namespace: &'a str,
    /// Where the HMAC key is.
    pub key: Option<&'a KeyRef>,
}

impl Configs<'_> {
    /// Looks at every config in `used`. `used_before` is how they may have been used when recorded.
    pub fn look_at(&self, used: &References, used_before: &[References]) -> Result<View, String> {
        if used.len() > MAX_CONFIGS {
            return Err(format!(
                "it uses {} ConfigMaps and Secrets, and at most {MAX_CONFIGS} are read",
                used.len()
            ));
        }
        let digester = if used.is_empty() {
            Digester::default()
        } else {
            self.digester()?
        };
        let (mut seen, mut missing) = View::default();
        for (id, r#use) in used {
            let Some(content) = self.read(id)? else {
                continue;
            };
            let digest = |r#use: &Use| match &content {
                _ if content.gap(r#use).is_some() => None,
                Content::Absent => Some(ABSENT.to_owned()),
                Content::Data(data) => Some(digester.digest(&r#use.select(data))),
            };
            let now = digest(r#use);
            let as_before: BTreeSet<String> = used_before
                .iter()
                .map(|before| before.get(id).unwrap_or(r#use))
                // Most uses do not change, and content may be large.
                .filter_map(|before| match before == r#use {
                    true => now.clone(),
                    false => digest(before),
                })
                .collect();
            let gap = content.gap(r#use);
            missing.extend(gap.map(|gap| gap.describe(id, self.namespace)));
            seen.insert(id.clone(), Seen { now, as_before });
        }
        Ok((seen, missing))
    }

    /// `None`: the object itself says that it does not count.
    fn read(&self, id: &ConfigId) -> Result<Option<Content>, String> {
        let (api_version, kind) = match id.kind {
            Kind::Secret => (Secret::API_VERSION, Secret::KIND),
            _ => (ConfigMap::API_VERSION, ConfigMap::KIND),
        };
        let object = ObjectRef {
            api_version,
            kind,
            namespace: self.namespace,
            name: &id.name,
        };
        let fields = ["data", "binaryData", "metadata.annotations"];
        let Some(found) = self
            .cluster
            .get(object, &fields)
            .map_err(|error| error.to_string())?
        else {
            return Ok(Some(Content::Absent));
        };
        if annotations::flag(&found, IGNORE).map_err(|error| format!("{object}: {error}"))?
            == Some(true)
        {
            return Ok(None);
        }
        let data =
            bytes(&found, id.kind).map_err(|error| format!("{object} cannot be read: {error}"))?;
        Ok(Some(Content::Data(data)))
    }

    fn digester(&self) -> Result<Digester, String> {
        let Some(key) = self.key else {
            return Ok(Digester::default());
        };
        let object = ObjectRef {
            api_version: Secret::API_VERSION,
            kind: Secret::KIND,
            namespace: &key.namespace,
            name: &key.name,
        };
        let unusable = |why: &str| {
            format!(
                "the hash key in key {:?} of {object} cannot be used: {why}",
                key.key
            )
        };
        let found = self
            .cluster
            .get(object, &["data"])
            .map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| unusable("there is no such Secret"))?;
        let data = bytes(&found, Kind::Secret).map_err(|error| unusable(&error))?;
        let bytes = data
            .get(&key.key)
            .ok_or_else(|| unusable("the Secret has no such key"))?;
        Digester::with_key(bytes).map_err(|error| unusable(&error))
    }
}

enum Content {
    Absent,
    Data(BTreeMap<String, Vec<u8>>),
}

impl Content {
    /// What the pods require and do not find.
    fn gap<'u>(&self, r#use: &'u Use) -> Option<Gap<'u>> {
        match self {
            Self::Absent => r#use.required.then_some(Gap::Object),
            Self::Data(data) => r#use
                .required_keys
                .iter()
                .find(|key| !data.contains_key(*key))
                .map(|key| Gap::Key(key)),
        }
    }
}

enum Gap<'u> {
    Object,
    Key(&'u str),
}

impl Gap<'_> {
    fn describe(&self, id: &ConfigId, namespace: &str) -> String {
        match self {
            Self::Object => format!("it needs {id}, which does not exist in namespace {namespace}"),
            Self::Key(key) => format!("it needs key {key:?} of {id}, which has no such key"),
        }
    }
}

/// `data` and `binaryData` as one map of bytes. Errors name the key, never the value.
pub(super) fn bytes(object: &Value, kind: Kind) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut bytes = BTreeMap::new();
    for field in ["data", "binaryData"] {
        let base64 = kind == Kind::Secret || field == "binaryData";
        let entries = match object.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(format!("{field} is not an object")),
        };
        for (key, value) in entries {
            let text = value
                .as_str()
                .ok_or_else(|| format!("{field}[{key:?}] is not a string"))?;
            let value = match base64 {
                true => BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| format!("{field}[{key:?}] is not base64"))?,
                false => text.as_bytes().to_vec(),
            };
            bytes.insert(key.clone(), value);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
