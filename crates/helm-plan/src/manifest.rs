//! The objects in a rendered manifest.
//!
//! In: the multi-document YAML of a release or of a hook. Out: its [`Object`]s in order, lists
//! flattened, each with the namespace that Helm gives it. Refuses: a document that is not YAML or has
//! no kind, with its number and source file.

use std::fmt;

use memchr::memmem;
use serde_json::Value;

use crate::{
    kinds::{self, Scope},
    metadata,
    yaml::{self, Budget},
};

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// An object as Helm tells objects apart: by group, kind, namespace and name; the version does not
/// count (helm `pkg/kube/resource.go`, isMatchingInfo).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    // The name comes first, since it tells most objects apart in few comparisons.
    /// Empty when the API server makes one up (`generateName`): such an object is never the same as
    /// another.
    pub name: String,
    /// Empty for cluster-scoped kinds: Helm passes over a `metadata.namespace` there (cli-runtime
    /// `pkg/resource/visitor.go`, FilterNamespace).
    pub namespace: String,
    pub kind: String,
    pub group: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{} (generated name)", self.kind),
            name => write!(f, "{} {name}", self.kind),
        }
    }
}

impl ObjectId {
    /// The same object as the API server knows it; the ids of [`parse`] are so already.
    pub fn in_cluster(&self) -> Self {
        let namespace = if self.is_cluster_scoped() {
            String::new()
        } else {
            self.namespace.clone()
        };
        Self {
            namespace,
            ..self.clone()
        }
    }

    /// Whether the kind is known not to live in a namespace.
    pub fn is_cluster_scoped(&self) -> bool {
        kinds::scope(&self.group, &self.kind) == Scope::Cluster
    }

    /// Whether it runs to completion: such a hook is created, done, and then deleted without harm.
    pub fn runs_to_completion(&self) -> bool {
        kinds::runs_to_completion(&self.group, &self.kind)
    }

    /// Whether an operator rather than Kubernetes itself serves this kind.
    pub fn is_custom(&self) -> bool {
        kinds::is_custom(&self.group)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub id: ObjectId,
    pub body: Value,
}

impl Object {
    /// Whether Helm spares the object from deletion, once it is live with these annotations.
    pub fn is_kept(&self) -> bool {
        metadata::is_kept(&self.body)
    }
}

/// Parses a manifest. `namespace` is the release's, for objects that name none.
pub fn parse(manifest: &str, namespace: &str) -> Result<Vec<Object>, Error> {
    parse_within(manifest, namespace, &mut Budget::default())
}

/// Parses one of the manifests of a release: that of its resources, or of a hook.
pub fn parse_within(
    manifest: &str,
    namespace: &str,
    budget: &mut Budget,
) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for (index, text) in documents(manifest).enumerate() {
        let parsed = yaml::parse_within(text, budget);
        let collected = parsed
            .map_err(|error| error.to_string())
            .and_then(|body| flatten(body, namespace, &mut objects));
        collected.map_err(|error| match source(text) {
            Some(file) => format!("document {} ({file}): {error}", index + 1),
            None => format!("document {}: {error}", index + 1),
        })?;
    }
    Ok(objects)
}

fn flatten(mut body: Value, namespace: &str, objects: &mut Vec<Object>) -> Result<(), String> {
    if body.is_null() {
        return Ok(());
    }
    // Whatever has items is a list to Helm's builder, `kind: List` or not (apimachinery
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
        return Err("an object without a kind".to_owned());
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

/// The documents of a manifest: what is between lines that start with `---`.
pub fn documents(manifest: &str) -> impl Iterator<Item = &str> {
    let line_break_and_separator = memmem::Finder::new("\n---");
    let mut rest = Some(manifest);
    std::iter::from_fn(move || {
        let text = rest?;
        let separator = match text.starts_with("---") {
            true => Some(0),
            false => line_break_and_separator
                .find(text.as_bytes())
                .map(|at| at + 1),
        };
        match separator.and_then(|at| text.split_at_checked(at)) {
            Some((document, more)) => {
                rest = Some(behind_separator(more));
                Some(document)
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
    .filter(|text| !text.trim().is_empty())
}

/// What follows a separator: its line may hold blanks and a comment besides (apimachinery `util/yaml`,
/// YAMLReader).
fn behind_separator(text: &str) -> &str {
    let text = text.trim_start_matches('-');
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match line.trim_start().chars().next() {
        None | Some('#') => rest,
        _ => text,
    }
}

/// The template that Helm names in the first comment of each document.
pub fn source(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("# Source: "))
        .map(str::trim)
}

#[cfg(test)]
mod tests;
