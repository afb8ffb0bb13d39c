//! Live objects: what the cluster says of an object, beyond what any manifest says.
//!
//! In: the answers of whoever may look. Out: [`LiveObjects`], and what a live object tells: whether Helm
//! spares it, which release and which controller own it, who else writes its keys. Refuses: nothing; a
//! field of another shape counts as missing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    collect,
    manifest::ObjectId,
    metadata::{self, RELEASE_NAME, RELEASE_NAMESPACE},
};

/// What is known of a live object.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// It does not exist.
    Absent,
    /// It exists. Of its fields, only `metadata` is read.
    Present(Value),
    /// It must not be read, and this is what would change that: `add … to …`. It counts as its manifest
    /// says.
    Denied(String),
    /// Nobody looks at live objects. It counts as its manifest says.
    Unknown,
}

/// What was seen of live objects, by object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveObjects(BTreeMap<ObjectId, Live>);

impl LiveObjects {
    /// Adds what was seen of an object.
    pub fn insert(&mut self, id: ObjectId, live: Live) {
        self.0.insert(id, live);
    }

    /// What was seen of an object; `None` if nobody has looked.
    pub fn get(&self, id: &ObjectId) -> Option<&Live> {
        self.0.get(id)
    }

    /// How many were looked at.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was looked at.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Live)> {
        self.0.iter()
    }

    /// The live object, if it was seen.
    pub(crate) fn present(&self, id: &ObjectId) -> Option<&Value> {
        match self.get(id) {
            Some(Live::Present(object)) => Some(object),
            Some(Live::Absent | Live::Denied(_) | Live::Unknown) | None => None,
        }
    }
}

impl FromIterator<(ObjectId, Live)> for LiveObjects {
    fn from_iter<I: IntoIterator<Item = (ObjectId, Live)>>(objects: I) -> Self {
        Self(collect::map(objects))
    }
}

/// The release that a live object belongs to, as name and namespace.
pub(crate) fn release(object: &Value) -> Option<(&str, &str)> {
    let name = metadata::annotation(object, RELEASE_NAME)?;
    let namespace = metadata::annotation(object, RELEASE_NAMESPACE)?;
    Some((name, namespace))
}

/// The controller that owns a live object, and creates it again: `ExternalSecret db`.
pub(crate) fn controller(object: &Value) -> Option<String> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let owner = owners.iter().find(controls)?;
    let text = |field| owner.get(field).and_then(Value::as_str);
    Some(format!("{} {}", text("kind")?, text("name")?))
}

/// Whether Argo CD manages a live object. Its prune does not read Helm's annotation.
pub(crate) fn is_of_argo_cd(object: &Value) -> bool {
    metadata::annotation(object, "argocd.argoproj.io/tracking-id").is_some()
}

/// Who writes a key of a live ConfigMap or Secret besides Helm, and would write it again: the name of its
/// field manager. People at a terminal (`kubectl-edit`, …) would not.
pub(crate) fn other_writer<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let manager = |entry: &'a Value| entry.get("manager").and_then(Value::as_str);
    let release = format!("f:{RELEASE_NAME}");
    // Whoever wrote the release's own annotation is Helm, whatever its program is called.
    let helms = entries
        .iter()
        .filter(|entry| owns(entry, &["f:metadata", "f:annotations", &release]))
        .filter_map(manager);
    let helms = collect::set(helms);
    let key = format!("f:{key}");
    let is_writer = |entry: &&Value| {
        ["f:data", "f:binaryData"]
            .into_iter()
            .any(|field| owns(entry, &[field, &key]))
    };
    let is_other = |manager: &&str| !helms.contains(manager) && !manager.starts_with("kubectl");
    let mut writers = entries.iter().filter(is_writer).filter_map(manager);
    writers.find(is_other)
}

/// Whether a live ConfigMap or Secret has a key. `None`: its field managers do not tell.
pub(crate) fn has_key(object: &Value, key: &str) -> Option<bool> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let key = format!("f:{key}");
    let fields = ["f:data", "f:binaryData", "f:stringData"];
    let has = |entry: &Value| fields.iter().any(|field| owns(entry, &[field, &key]));
    (!entries.is_empty()).then(|| entries.iter().any(has))
}

/// Whether an entry of `managedFields` has a field.
fn owns(entry: &Value, path: &[&str]) -> bool {
    let fields = entry.get("fieldsV1");
    let found = path
        .iter()
        .try_fold(fields, |fields, field| Some(fields?.get(field)));
    found.flatten().is_some()
}

#[cfg(test)]
mod tests;
