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
    /// By group, and by what the kind may be called in the singular and in the plural.
    by_kind: BTreeMap<(&'a str, String), Vec<&'a ObjectId>>,
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
            for word in words(&id.kind) {
                let of_kind = index.by_kind.entry((&id.group, word)).or_default();
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

    /// The objects of a kind, by its group and its name in lower case, singular or plural.
    pub(super) fn of_kind(&self, group: &'a str, word: String) -> &[&'a ObjectId] {
        self.by_kind.get(&(group, word)).map_or(&[], Vec::as_slice)
    }

    /// The place in the order of the pre-hooks at which an object is created first. `None`: by none of them.
    pub(super) fn pre_hook(&self, id: &ObjectId) -> Option<usize> {
        self.pre_hooks.get(id).copied()
    }
}

/// What a kind may be called: as it is, and its plurals as generators of CustomResourceDefinitions make
/// them.
fn words(kind: &str) -> Vec<String> {
    let kind = kind.to_lowercase();
    let mut words = vec![format!("{kind}s"), format!("{kind}es")];
    words.extend(kind.strip_suffix('y').map(|stem| format!("{stem}ies")));
    words.push(kind);
    words
}
