//! Config that a program reads through the Kubernetes API: no pod template names it, so two annotations of
//! the workload do.
//!
//! In: the workload as raw JSON. Out: a [`Need`] for each name. Refuses: a name that no object can have,
//! one by one, so that the caller can go on with the others.

use serde_json::Value;

use crate::{Keys, Kind, Need, Purpose};

/// Names of ConfigMaps, separated by commas.
pub const CONFIG_MAPS: &str = "rollout-guard/extra-configmaps";
/// Names of Secrets, separated by commas.
pub const SECRETS: &str = "rollout-guard/extra-secrets";

/// A name that no object can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "annotation {annotation} names {name:?}, but a name cannot contain {character:?}; \
     separate names with commas"
)]
pub struct ImpossibleName {
    /// Where it is.
    pub annotation: &'static str,
    /// The name.
    pub name: String,
    /// What is wrong in it.
    pub character: char,
}

/// The configs that the annotations of a workload name, in the order of the lists: all keys of each, and
/// none is optional. An annotation that is not a string counts as missing.
pub fn needs(workload: &Value) -> impl Iterator<Item = Result<Need, ImpossibleName>> {
    [(Kind::ConfigMap, CONFIG_MAPS), (Kind::Secret, SECRETS)]
        .into_iter()
        .flat_map(move |(kind, annotation)| {
            let annotations = workload
                .get("metadata")
                .and_then(|metadata| metadata.get("annotations"));
            let list = annotations.and_then(|annotations| annotations.get(annotation)?.as_str());
            names(list.unwrap_or_default()).map(move |name| need(kind, annotation, name))
        })
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    let names = list.split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

fn need(kind: Kind, annotation: &'static str, name: &str) -> Result<Need, ImpossibleName> {
    let is_impossible = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
    let name = name.to_owned();
    match name.chars().find(is_impossible) {
        None => Ok(Need {
            kind,
            name,
            keys: Keys::All,
            optional: false,
            purpose: Purpose::Config,
        }),
        Some(character) => Err(ImpossibleName {
            annotation,
            name,
            character,
        }),
    }
}

#[cfg(test)]
mod tests;
