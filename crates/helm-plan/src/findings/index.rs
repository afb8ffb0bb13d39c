//! Where the objects of the target are: by namespace, by kind, and in the order of the pre-hooks.
//!
//! In: a change. Out: look-ups that do not go through all objects of a release for each object.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use super::Change;
use crate::{
    lifecycle::Stage,
    manifest::{Object, ObjectId},
};

/// The objects of the target that are there to stay, and the order in which its pre-hooks run. Each is put in
/// order when it is asked for: most releases delete neither a namespace nor a definition.
pub(super) struct Index<'a> {
    change: Change<'a>,
    by_namespace: OnceCell<BTreeMap<&'a str, Vec<&'a ObjectId>>>,
    /// By group, and by what the plural of the kind may be.
    by_plural: OnceCell<BTreeMap<(String, String), Vec<&'a ObjectId>>>,
    pre_hooks: OnceCell<BTreeMap<&'a ObjectId, usize>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(change: Change<'a>) -> Self {
        Self {
            change,
            by_namespace: OnceCell::new(),
            by_plural: OnceCell::new(),
            pre_hooks: OnceCell::new(),
        }
    }

    /// Those that are there to stay, each once.
    fn objects(&self) -> impl Iterator<Item = &'a ObjectId> {
        let target = self.change.target;
        let hooks = target.hooks.iter();
        let hooks = hooks
            .filter(|hook| hook.events.iter().any(|event| event.is_of_operation()))
            .flat_map(|hook| &hook.objects)
            .filter(|object| !object.id.runs_to_completion());
        let mut seen = BTreeSet::new();
        let all = target.resources.iter().chain(hooks);
        all.map(|Object { id, .. }| id)
            .filter(move |id| seen.insert(*id))
    }

    /// What is in a namespace.
    pub(super) fn in_namespace(&self, name: &str) -> &[&'a ObjectId] {
        let by_namespace = self.by_namespace.get_or_init(|| {
            let mut by_namespace: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for id in self.objects() {
                let in_namespace = by_namespace.entry(id.namespace.as_str()).or_default();
                in_namespace.push(id);
            }
            by_namespace
        });
        by_namespace.get(name).map_or(&[], Vec::as_slice)
    }

    /// The objects of a kind, by its group and its plural.
    pub(super) fn of_plural(&self, group: &str, plural: &str) -> &[&'a ObjectId] {
        let by_plural = self.by_plural.get_or_init(|| {
            let mut by_plural: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for id in self.objects() {
                for plural in plurals(&id.kind) {
                    let of_kind = by_plural.entry((id.group.clone(), plural)).or_default();
                    of_kind.push(id);
                }
            }
            by_plural
        });
        let key = (group.to_owned(), plural.to_owned());
        by_plural.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The place in the order of the pre-hooks at which an object is created first. `None`: by none of them.
    pub(super) fn pre_hook(&self, id: &ObjectId) -> Option<usize> {
        let pre_hooks = self.pre_hooks.get_or_init(|| {
            let mut pre_hooks = BTreeMap::new();
            let hooks = self
                .change
                .target
                .hooks_at(self.change.operation, Stage::Pre);
            for (place, hook) in hooks.into_iter().enumerate() {
                for object in &hook.objects {
                    pre_hooks.entry(&object.id).or_insert(place);
                }
            }
            pre_hooks
        });
        pre_hooks.get(id).copied()
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
