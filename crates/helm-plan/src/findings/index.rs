//! Where the objects of the target are: by namespace, by kind, and in the order of the pre-hooks.
//!
//! In: a change. Out: look-ups that do not go through all objects of a release for each object.

use std::collections::{BTreeMap, BTreeSet};

use super::Change;
use crate::{
    lifecycle::Stage,
    manifest::{Object, ObjectId},
};

/// The objects of the target that are there to stay, and the order in which its pre-hooks run.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    by_namespace: BTreeMap<&'a str, Vec<&'a ObjectId>>,
    /// By group, and by what the plural of the kind may be.
    by_plural: BTreeMap<(String, String), Vec<&'a ObjectId>>,
    pre_hooks: BTreeMap<&'a ObjectId, usize>,
}

impl<'a> Index<'a> {
    pub(super) fn of(change: Change<'a>) -> Self {
        let mut index = Self::default();
        let hooks = change.target.hooks.iter();
        let hooks = hooks
            .filter(|hook| hook.events.iter().any(|event| event.is_of_operation()))
            .flat_map(|hook| &hook.objects)
            .filter(|object| !object.id.runs_to_completion());
        let mut seen = BTreeSet::new();
        for Object { id, .. } in change.target.resources.iter().chain(hooks) {
            if !seen.insert(id) {
                continue;
            }
            let in_namespace = index.by_namespace.entry(&id.namespace).or_default();
            in_namespace.push(id);
            for plural in plurals(&id.kind) {
                let of_kind = index
                    .by_plural
                    .entry((id.group.clone(), plural))
                    .or_default();
                of_kind.push(id);
            }
        }
        let pre_hooks = change.target.hooks_at(change.operation, Stage::Pre);
        for (place, hook) in pre_hooks.into_iter().enumerate() {
            for object in &hook.objects {
                index.pre_hooks.entry(&object.id).or_insert(place);
            }
        }
        index
    }

    /// What is in a namespace.
    pub(super) fn in_namespace(&self, name: &str) -> &[&'a ObjectId] {
        self.by_namespace.get(name).map_or(&[], Vec::as_slice)
    }

    /// The objects of a kind, by its group and its plural.
    pub(super) fn of_plural(&self, group: &str, plural: &str) -> &[&'a ObjectId] {
        let key = (group.to_owned(), plural.to_owned());
        self.by_plural.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The place in the order of the pre-hooks at which an object is created first. `None`: by none of them.
    pub(super) fn pre_hook(&self, id: &ObjectId) -> Option<usize> {
        self.pre_hooks.get(id).copied()
    }
}

/// What the plural of a kind may be, as generators of CustomResourceDefinitions make it.
fn plurals(kind: &str) -> Vec<String> {
    let kind = kind.to_ascii_lowercase();
    let mut plurals = vec![format!("{kind}s"), format!("{kind}es")];
    plurals.extend(kind.strip_suffix('y').map(|stem| format!("{stem}ies")));
    plurals.push(kind);
    plurals
}
