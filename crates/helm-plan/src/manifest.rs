//! The objects in a rendered manifest.
//!
//! In: the multi-document YAML of a release or of a hook. Out: its [`Object`]s in order, with lists
//! flattened, each with the namespace that Helm gives it. Refuses: a document that is not YAML or has
//! no kind, with its number and source file.

mod documents;
mod error;

use std::fmt;

use serde_json::Value;

pub(crate) use self::documents::source;
pub use self::{
    documents::documents,
    error::{Cause, Error},
};
use crate::{
    kinds::{self, Scope},
    metadata,
    yaml::{self, Budget},
};

/// What Helm tells objects apart by: group, kind, namespace and name. The version does not count
/// (helm `pkg/kube/resource.go`, isMatchingInfo).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    // The name comes first because it tells most objects apart, with few comparisons.
    /// Empty if the API server generates the name (`generateName`): such an object is never the same as
    /// another.
    pub name: String,
    /// Empty for cluster-scoped kinds: Helm ignores a `metadata.namespace` there (cli-runtime
    /// `pkg/resource/visitor.go`, FilterNamespace).
    pub namespace: String,
    /// As in the manifest: `ConfigMap`.
    pub kind: String,
    /// The API group without the version; empty for the core group.
    pub group: String,
}

/// `ConfigMap a`
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{} (generated name)", self.kind),
            name => write!(f, "{} {name}", self.kind),
        }
    }
}

impl ObjectId {
    /// Whether the kind is known to live in no namespace.
    pub fn is_cluster_scoped(&self) -> bool {
        kinds::scope(&self.group, &self.kind) == Scope::Cluster
    }

    /// Whether the object runs to completion. Such a hook can be deleted without harm once it is done.
    pub fn runs_to_completion(&self) -> bool {
        kinds::runs_to_completion(&self.group, &self.kind)
    }

    /// Whether it is a ConfigMap or Secret of Kubernetes itself.
    pub fn is_config(&self) -> bool {
        self.group.is_empty() && matches!(self.kind.as_str(), "ConfigMap" | "Secret")
    }

    /// Whether it is one of the objects of the core group that pods name in their own namespace: a ConfigMap,
    /// Secret, ServiceAccount or PersistentVolumeClaim.
    pub fn is_named_by_pods(&self) -> bool {
        let others = ["ServiceAccount", "PersistentVolumeClaim"];
        self.is_config() || self.group.is_empty() && others.contains(&self.kind.as_str())
    }

    /// Whether an operator rather than Kubernetes itself defines this kind.
    pub fn is_custom(&self) -> bool {
        kinds::is_custom(&self.group)
    }

    /// Whether it is a custom resource that is done once it has run, like a Job.
    pub fn is_custom_run(&self) -> bool {
        kinds::is_custom_run(&self.group, &self.kind)
    }
}

/// No name of Kubernetes is longer, in bytes (apimachinery `pkg/util/validation`, DNS1123SubdomainMaxLength).
const MAX_NAME: usize = 253;

/// An object in a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What identifies it.
    pub id: ObjectId,
    /// All of its fields, as the manifest has them.
    pub body: Value,
}

impl Object {
    /// Whether Helm keeps the object when it leaves the release, once it is live with these annotations.
    pub fn is_kept(&self) -> bool {
        metadata::is_kept(&self.body)
    }
}

/// Parses a manifest. `namespace` is that of the release, for objects that name none.
///
/// # Errors
/// A document is not YAML, or an object in it has no kind.
pub fn parse(manifest: &str, namespace: &str) -> Result<Vec<Object>, Error> {
    parse_within(manifest, namespace, &mut Budget::default())
}

/// The files of the chart that the objects of a manifest come from, as Helm names them in its comments: `web/templates/config.yaml`.
///
/// # Errors
/// A document is not YAML, or an object in it has no kind.
pub fn sources<'m>(manifest: &'m str, namespace: &str) -> Result<Vec<(ObjectId, &'m str)>, Error> {
    let mut budget = Budget::default();
    let mut sources = Vec::new();
    for (index, text) in documents(manifest).enumerate() {
        let mut objects = Vec::new();
        yaml::parse_within(text, &mut budget)
            .map_err(Cause::Yaml)
            .and_then(|body| flatten(body, namespace, &mut objects))
            .map_err(|cause| Error::new(index, text, cause))?;
        if let Some(source) = source(text) {
            sources.extend(objects.into_iter().map(|object| (object.id, source)));
        }
    }
    Ok(sources)
}

/// Parses one of the manifests of a release: that of its resources, or that of a hook.
pub(crate) fn parse_within(
    manifest: &str,
    namespace: &str,
    budget: &mut Budget,
) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for (index, text) in documents(manifest).enumerate() {
        yaml::parse_within(text, budget)
            .map_err(Cause::Yaml)
            .and_then(|body| flatten(body, namespace, &mut objects))
            .map_err(|cause| Error::new(index, text, cause))?;
    }
    Ok(objects)
}

fn flatten(mut body: Value, namespace: &str, objects: &mut Vec<Object>) -> Result<(), Cause> {
    if body.is_null() {
        return Ok(());
    }
    // To Helm's builder, everything with `items` is a list, whatever its kind (apimachinery
    // `unstructured/helpers.go`, decode).
    match body.get_mut("items") {
        Some(Value::Array(items)) => {
            let items = std::mem::take(items);
            return items.into_iter().try_for_each(|mut item| {
                inherit_type(&mut item, &body);
                flatten(item, namespace, objects)
            });
        }
        Some(Value::Null) => return Ok(()),
        _ => {}
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = text(body.get("apiVersion"));
    let metadata = body.get("metadata");
    let mut id = ObjectId {
        group: api_version
            .split_once('/')
            .map(|(group, _)| group.to_owned())
            .unwrap_or_default(),
        kind: text(body.get("kind")),
        namespace: text(metadata.and_then(|metadata| metadata.get("namespace"))),
        name: text(metadata.and_then(|metadata| metadata.get("name"))),
    };
    if id.kind.is_empty() {
        return Err(Cause::NoKind);
    }
    let names = [&id.group, &id.kind, &id.namespace, &id.name];
    if names.iter().any(|name| name.len() > MAX_NAME) {
        return Err(Cause::NameTooLong);
    }
    // As Helm's builder does (cli-runtime, resource/visitor.go, SetNamespace and FilterNamespace).
    if id.is_cluster_scoped() {
        id.namespace.clear();
    } else if id.namespace.is_empty() {
        id.namespace = namespace.to_owned();
    }
    objects.push(Object { id, body });
    Ok(())
}

/// The items of a `ConfigMapList` need not say that each is a ConfigMap (apimachinery
/// `unstructured/helpers.go`, decodeToList).
fn inherit_type(item: &mut Value, list: &Value) {
    let text = |field| list.get(field).and_then(Value::as_str).unwrap_or_default();
    let has = |item: &Value, field| item.get(field).is_some_and(|value| value != "");
    if has(item, "kind") || has(item, "apiVersion") {
        return;
    }
    if let Value::Object(fields) = item {
        let kind = text("kind");
        let kind = kind.strip_suffix("List").unwrap_or(kind);
        fields.insert("kind".to_owned(), kind.into());
        fields.insert("apiVersion".to_owned(), text("apiVersion").into());
    }
}

#[cfg(test)]
mod tests;
