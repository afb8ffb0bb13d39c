//! What is in the ConfigMaps and Secrets that a workload uses.
//!
//! In: the references of a workload. Out: what was observed of each config that counts, and what the pods
//! require and do not find. Refuses: a look-up that failed, a hash key that cannot be used, more references
//! than can be read in time.
//!
//! Each object is read once, hashed and dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, Secret},
};
use serde_json::Value;

use super::{
    digest::{self, ABSENT, Digester},
    references::{ConfigId, ConfigKind, References, Use},
    stamp::Seen,
};
use crate::{
    annotations::{self, IGNORE},
    cluster::{Cluster, LookupError, ObjectRef},
    settings::KeyRef,
};

/// Each is one look-up within the two seconds that an evaluation has.
const MAX_CONFIGS: usize = 256;

/// The configs of one namespace.
pub struct Configs<'a> {
    pub cluster: &'a dyn Cluster,
    pub namespace: &'a str,
    /// Where the HMAC key is.
    pub key: Option<&'a KeyRef>,
}

/// What was observed of the configs that a workload uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Each config that counts.
    pub configs: BTreeMap<ConfigId, Seen>,
    /// What the pods cannot start without, at most one gap for each config.
    pub gaps: Vec<Gap>,
}

/// Something that the pods require and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    Object { config: ConfigId, namespace: String },
    Key { config: ConfigId, key: String },
}

/// A sentence about the workload.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { config, namespace } => {
                write!(
                    f,
                    "it needs {config}, which does not exist in namespace {namespace}"
                )
            }
            Self::Key { config, key } => {
                write!(f, "it needs key {key:?} of {config}, which has no such key")
            }
        }
    }
}

/// Why the configs of a workload are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it uses {0} ConfigMaps and Secrets, but at most {MAX_CONFIGS} are read")]
    TooMany(usize),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The config's own annotations cannot be read.
    #[error("{object}: {source}")]
    Annotation {
        /// `ConfigMap shop/app`
        object: String,
        source: annotations::Error,
    },
    #[error("{object} cannot be read: {source}")]
    Data {
        /// `ConfigMap shop/app`
        object: String,
        source: DataError,
    },
    #[error("key {key:?} of {object} cannot be used as the hash key: {source}")]
    HashKey {
        /// `Secret kubewarden/hash-key`
        object: String,
        key: String,
        source: HashKeyError,
    },
}

/// Why the hash key in the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashKeyError {
    #[error("the Secret does not exist")]
    NoSecret,
    #[error("the Secret has no such key")]
    NoKey,
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Key(#[from] digest::KeyError),
}

/// Why the content of a ConfigMap or Secret cannot be read. It names the key, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("{field} is not an object")]
    NotAnObject { field: &'static str },
    #[error("{field}[{key:?}] is not a string")]
    NotAString { field: &'static str, key: String },
    #[error("{field}[{key:?}] is not base64")]
    NotBase64 { field: &'static str, key: String },
}

impl Configs<'_> {
    /// Reads every config in `used`. `uses_when_recorded` is how they may have been used when their digests
    /// were recorded.
    pub fn read(
        &self,
        used: &References,
        uses_when_recorded: &[References],
    ) -> Result<Observed, Error> {
        if used.len() > MAX_CONFIGS {
            return Err(Error::TooMany(used.len()));
        }
        let digester = if used.is_empty() {
            Digester::default()
        } else {
            self.digester()?
        };
        let mut observed = Observed::default();
        for (id, current_use) in used {
            let Some(content) = self.content(id)? else {
                continue;
            };
            let digest = content.digest(current_use, &digester);
            let unchanged_digests: BTreeSet<String> = uses_when_recorded
                .iter()
                .map(|recorded| recorded.get(id).unwrap_or(current_use))
                // Most uses do not change, and content may be large.
                .filter_map(|recorded_use| match recorded_use == current_use {
                    true => digest.clone(),
                    false => content.digest(recorded_use, &digester),
                })
                .collect();
            observed
                .gaps
                .extend(content.gap(current_use, id, self.namespace));
            let seen = Seen {
                digest,
                unchanged_digests,
            };
            observed.configs.insert(id.clone(), seen);
        }
        Ok(observed)
    }

    /// `None`: an annotation on the object excludes it.
    fn content(&self, id: &ConfigId) -> Result<Option<Content>, Error> {
        let object = ObjectRef {
            api_version: match id.kind {
                ConfigKind::ConfigMap => ConfigMap::API_VERSION,
                ConfigKind::Secret => Secret::API_VERSION,
            },
            kind: id.kind.name(),
            namespace: self.namespace,
            name: &id.name,
        };
        let fields = ["data", "binaryData", "metadata.annotations"];
        let Some(found) = self.cluster.get(object, &fields)? else {
            return Ok(Some(Content::Absent));
        };
        let ignored = annotations::flag(&found, IGNORE).map_err(|source| Error::Annotation {
            object: object.to_string(),
            source,
        })?;
        if ignored == Some(true) {
            return Ok(None);
        }
        let data = bytes(&found, id.kind).map_err(|source| Error::Data {
            object: object.to_string(),
            source,
        })?;
        Ok(Some(Content::Data(data)))
    }

    fn digester(&self) -> Result<Digester, Error> {
        let Some(key) = self.key else {
            return Ok(Digester::default());
        };
        let object = ObjectRef {
            api_version: Secret::API_VERSION,
            kind: Secret::KIND,
            namespace: &key.namespace,
            name: &key.name,
        };
        let found = self.cluster.get(object, &["data"])?;
        digester_with(found.as_ref(), &key.key).map_err(|source| Error::HashKey {
            object: object.to_string(),
            key: key.key.clone(),
            source,
        })
    }
}

fn digester_with(secret: Option<&Value>, key: &str) -> Result<Digester, HashKeyError> {
    let data = bytes(secret.ok_or(HashKeyError::NoSecret)?, ConfigKind::Secret)?;
    let key = data.get(key).ok_or(HashKeyError::NoKey)?;
    Ok(Digester::with_key(key)?)
}

enum Content {
    Absent,
    Data(BTreeMap<String, Vec<u8>>),
}

impl Content {
    /// The digest of what is used. `None`: something that the pods require is missing.
    fn digest(&self, r#use: &Use, digester: &Digester) -> Option<String> {
        match self {
            Self::Absent => (!r#use.required).then(|| ABSENT.to_owned()),
            Self::Data(data) => {
                let complete = missing_key(data, r#use).is_none();
                complete.then(|| digester.digest(&r#use.select(data)))
            }
        }
    }

    fn gap(&self, r#use: &Use, id: &ConfigId, namespace: &str) -> Option<Gap> {
        match self {
            Self::Absent => r#use.required.then(|| Gap::Object {
                config: id.clone(),
                namespace: namespace.to_owned(),
            }),
            Self::Data(data) => missing_key(data, r#use).map(|key| Gap::Key {
                config: id.clone(),
                key: key.clone(),
            }),
        }
    }
}

/// The first of the required keys that is missing.
fn missing_key<'u>(data: &BTreeMap<String, Vec<u8>>, r#use: &'u Use) -> Option<&'u String> {
    let mut required = r#use.required_keys.iter();
    required.find(|key| !data.contains_key(*key))
}

/// `data` and `binaryData` as one map of bytes.
pub(super) fn bytes(
    object: &Value,
    kind: ConfigKind,
) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
    let mut bytes = BTreeMap::new();
    for field in ["data", "binaryData"] {
        let is_base64 = kind == ConfigKind::Secret || field == "binaryData";
        let entries = match object.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(DataError::NotAnObject { field }),
        };
        for (key, value) in entries {
            let text = value.as_str().ok_or_else(|| DataError::NotAString {
                field,
                key: key.clone(),
            })?;
            let value = match is_base64 {
                true => BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| DataError::NotBase64 {
                        field,
                        key: key.clone(),
                    })?,
                false => text.as_bytes().to_vec(),
            };
            bytes.insert(key.clone(), value);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
