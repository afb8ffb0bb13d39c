//! What is in the ConfigMaps and Secrets that a workload uses.
//!
//! In: the references of a workload. Out: what was observed of each config that counts, and what the pods
//! require and do not find. Refuses: a look-up that failed, a hash key that cannot be used, more references
//! than can be read in time.
//!
//! Each object is read once, hashed and dropped.

use std::{collections::BTreeMap, fmt};

use config_digest::{
    Digester, KeyError,
    content::{self, Content},
};
use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, Secret},
};
use serde_json::Value;

use super::{
    choice,
    memory::{Memory, Now, Seen},
    references::{ConfigId, ConfigKind, References, Use},
};
use crate::{
    annotations::{self, IGNORE},
    cluster::{Cluster, LookupError, ObjectRef},
    settings::KeyRef,
};

/// Each is one look-up within the two seconds that an evaluation has.
const MAX_CONFIGS: usize = 256;

const FIELDS: [&str; 3] = ["data", "binaryData", "metadata.annotations"];
/// For a config that appeared after it was looked for.
const FIELDS_AND_TIMES: [&str; 5] = [
    "data",
    "binaryData",
    "metadata.annotations",
    "metadata.creationTimestamp",
    "metadata.managedFields",
];

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
    /// Those that are too many.
    pub not_read: Vec<ConfigId>,
    /// What is odd, but no reason to stop the workload.
    pub oddities: Vec<Oddity>,
}

/// Something that is passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    #[error(
        "it uses {0} ConfigMaps and Secrets, but only the first {MAX_CONFIGS} are read; changes of the others do not \
         roll it out"
    )]
    TooMany(usize),
    #[error("{object}: {source}; it counts like any other")]
    Annotation {
        /// `ConfigMap shop/app`
        object: String,
        source: annotations::Error,
    },
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
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("{object} cannot be read: {source}")]
    Data {
        /// `ConfigMap shop/app`
        object: String,
        source: content::Error,
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
    Data(#[from] content::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Configs<'_> {
    /// Reads every config in `used`. `other_uses` is how they may have been used when their digests were
    /// recorded.
    pub fn read(
        &self,
        used: &References,
        other_uses: &[References],
        memory: &Memory<'_>,
    ) -> Result<Observed, Error> {
        let mut observed = Observed::default();
        if used.len() > MAX_CONFIGS {
            observed.oddities.push(Oddity::TooMany(used.len()));
            observed.not_read = used.keys().skip(MAX_CONFIGS).cloned().collect();
        }
        let digester = if used.is_empty() {
            Digester::default()
        } else {
            self.digester()?
        };
        for (id, current_use) in used.iter().take(MAX_CONFIGS) {
            let waited_for = memory.waited_for(id);
            let oddities = &mut observed.oddities;
            let Some(content) = self.content(id, current_use, waited_for, oddities)? else {
                continue;
            };
            let unchanged_digests = other_uses
                .iter()
                .filter_map(|uses| uses.get(id))
                // Most uses do not change, and content may be large.
                .filter(|&other_use| other_use != current_use)
                .filter_map(|other_use| match content.now(other_use, &digester) {
                    Now::Digest(digest) => Some(digest),
                    Now::NoObject | Now::NoKey => None,
                })
                .collect();
            observed
                .gaps
                .extend(content.gap(current_use, id, self.namespace));
            let seen = Seen {
                now: content.now(current_use, &digester),
                unchanged_digests,
                rewritten: content.rewritten,
            };
            observed.configs.insert(id.clone(), seen);
        }
        Ok(observed)
    }

    /// `None`: an annotation on the object excludes it.
    fn content(
        &self,
        id: &ConfigId,
        current_use: &Use,
        waited_for: bool,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Option<Found>, Error> {
        let object = ObjectRef {
            api_version: match id.kind {
                ConfigKind::ConfigMap => ConfigMap::API_VERSION,
                ConfigKind::Secret => Secret::API_VERSION,
            },
            kind: id.kind.name(),
            namespace: self.namespace,
            name: &id.name,
        };
        let found = match waited_for {
            false => self.cluster.get(object, &FIELDS)?,
            true => self.cluster.get(object, &FIELDS_AND_TIMES)?,
        };
        let Some(found) = found else {
            return Ok(Some(Found::default()));
        };
        match annotations::flag(&found, IGNORE) {
            Ok(Some(true)) => return Ok(None),
            Ok(Some(false) | None) => {}
            Err(source) => oddities.push(Oddity::Annotation {
                object: object.to_string(),
                source,
            }),
        }
        if choice::leaves_out(&found, current_use) {
            return Ok(None);
        }
        let content = content(&found, id.kind).map_err(|source| Error::Data {
            object: object.to_string(),
            source,
        })?;
        Ok(Some(Found {
            content: Some(content),
            rewritten: waited_for && may_be_rewritten(&found),
        }))
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
        digester_with(found.as_ref(), &key.key, self.namespace).map_err(|source| Error::HashKey {
            object: object.to_string(),
            key: key.key.clone(),
            source,
        })
    }
}

fn digester_with(
    secret: Option<&Value>,
    key: &str,
    namespace: &str,
) -> Result<Digester, HashKeyError> {
    let content = content::of_secret(secret.ok_or(HashKeyError::NoSecret)?)?;
    let key = content.get(key).ok_or(HashKeyError::NoKey)?;
    Ok(Digester::with_key(key, namespace)?)
}

#[derive(Default)]
struct Found {
    /// `None`: there is no such object.
    content: Option<Content>,
    /// See [`Seen`].
    rewritten: bool,
}

impl Found {
    /// What pods find that use it so.
    fn now(&self, r#use: &Use, digester: &Digester) -> Now {
        match &self.content {
            None if r#use.required => Now::NoObject,
            Some(content) if missing_key(content, r#use).is_some() => Now::NoKey,
            content => Now::Digest(digester.of_config(content.as_ref(), r#use.only())),
        }
    }

    fn gap(&self, r#use: &Use, id: &ConfigId, namespace: &str) -> Option<Gap> {
        match &self.content {
            None => r#use.required.then(|| Gap::Object {
                config: id.clone(),
                namespace: namespace.to_owned(),
            }),
            Some(content) => missing_key(content, r#use).map(|key| Gap::Key {
                config: id.clone(),
                key: key.clone(),
            }),
        }
    }
}

/// Whether a ConfigMap or Secret may have another content than when it was created. Each entry of
/// `managedFields` has the time at which its manager last changed something; only those that own data tell of
/// content (apimachinery, `ManagedFieldsEntry`). That a time is later may have another reason, and without
/// times nothing is known: one restart costs less than a missed rotation.
fn may_be_rewritten(object: &Value) -> bool {
    let metadata = object.get("metadata");
    let created = metadata.and_then(|metadata| metadata.get("creationTimestamp")?.as_str());
    let entries = metadata.and_then(|metadata| metadata.get("managedFields")?.as_array());
    let owns_data = |entry: &&Value| {
        let owned = entry.get("fieldsV1");
        let owns = |field| owned.is_none_or(|owned| owned.get(field).is_some());
        owns("f:data") || owns("f:binaryData")
    };
    let mut owners = entries.into_iter().flatten().filter(owns_data).peekable();
    let since_creation = |entry: &Value| entry.get("time").and_then(Value::as_str) == created;
    created.is_none() || owners.peek().is_none() || !owners.all(since_creation)
}

/// The first of the required keys that is missing.
fn missing_key<'u>(content: &Content, r#use: &'u Use) -> Option<&'u String> {
    let mut required = r#use.required_keys.iter();
    required.find(|key| !content.contains_key(*key))
}

/// The content of a ConfigMap or Secret.
pub(super) fn content(object: &Value, kind: ConfigKind) -> Result<Content, content::Error> {
    match kind {
        ConfigKind::ConfigMap => content::of_config_map(object),
        ConfigKind::Secret => content::of_secret(object),
    }
}

#[cfg(test)]
mod tests;
