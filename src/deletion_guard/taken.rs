//! What a request takes away.
//!
//! In: the request. Out: [`Taken`], or nothing. Refuses: nothing; a field of another shape has no keys.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount},
};
use pod_references::{Keys, Kind, Need};
use serde_json::{Map, Value};

use crate::request::{Operation, Request};

/// An object that would be gone, or keys of it.
#[derive(Debug, Clone)]
pub(super) struct Taken<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// As it is now.
    pub(super) object: &'a Value,
    /// The keys that would be gone. `None`: the object itself.
    pub(super) keys: Option<Vec<&'a str>>,
}

impl Taken<'_> {
    /// The keys that pods with this need would miss; nothing if they can do without what is taken.
    pub(super) fn missed_by(&self, need: &Need) -> Option<BTreeSet<String>> {
        if need.optional || need.kind != self.kind || need.name != self.name {
            return None;
        }
        let Some(taken) = &self.keys else {
            return Some(BTreeSet::new());
        };
        let Keys::Only(needed) = &need.keys else {
            return None;
        };
        let mut missed = needed.clone();
        missed.retain(|key| taken.contains(&key.as_str()));
        Some(missed).filter(|missed| !missed.is_empty())
    }
}

/// `ConfigMap app`
impl fmt::Display for Taken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What the request takes away; `None` if workloads miss nothing afterwards.
pub(super) fn taken(request: &Request) -> Option<Taken<'_>> {
    if !request.sub_resource.is_empty() || !request.kind.group.is_empty() {
        return None;
    }
    let kind = match request.kind.kind.as_str() {
        ConfigMap::KIND => Kind::ConfigMap,
        Secret::KIND => Kind::Secret,
        ServiceAccount::KIND => Kind::ServiceAccount,
        PersistentVolumeClaim::KIND => Kind::PersistentVolumeClaim,
        _ => return None,
    };
    let keys = match request.operation {
        Operation::Delete => None,
        Operation::Update => match removed_keys(request) {
            removed if removed.is_empty() => return None,
            removed => Some(removed),
        },
        Operation::Create | Operation::Connect => return None,
    };
    // The reviews of a DELETECOLLECTION, one for each object, name none in the request (Kubernetes,
    // `registry/rest/delete.go`, AdmissionToValidateObjectDeleteFunc).
    let object = &request.old_object;
    let name = match request.name.as_str() {
        "" => object.pointer("/metadata/name")?.as_str()?,
        name => name,
    };
    Some(Taken {
        kind,
        namespace: &request.namespace,
        name,
        object,
        keys,
    })
}

/// The keys that the old object has and the new one has not.
fn removed_keys(request: &Request) -> Vec<&str> {
    let new = DATA.map(|field| fields(&request.object, field));
    let mut removed = Vec::new();
    for old in DATA.map(|field| fields(&request.old_object, field)) {
        for key in old.into_iter().flat_map(Map::keys) {
            if !new.into_iter().flatten().any(|new| new.contains_key(key)) {
                removed.push(key.as_str());
            }
        }
    }
    removed
}

/// Where a ConfigMap or Secret has its keys.
const DATA: [&str; 2] = ["data", "binaryData"];

fn fields<'a>(object: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(field)?.as_object()
}
