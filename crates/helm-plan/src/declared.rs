//! Where a release declares each object.
//!
//! In: a [`Release`]. Out: [`Declared`], its resources and hooks in maps by object: releases have thousands
//! of them, and each finding asks for some. Refuses: nothing.

use std::collections::BTreeMap;

use crate::{
    manifest::{Object, ObjectId},
    release::{Hook, Release},
};

/// The resources and hooks of a release, by the object that they declare.
#[derive(Debug, Default)]
pub(crate) struct Declared<'a> {
    resources: BTreeMap<&'a ObjectId, Vec<&'a Object>>,
    hooks: BTreeMap<&'a ObjectId, Vec<(&'a Hook, &'a Object)>>,
}

impl<'a> Declared<'a> {
    /// What a release declares; nothing if there is no release.
    pub(crate) fn by(release: Option<&'a Release>) -> Self {
        let mut declared = Self::default();
        for object in release.into_iter().flat_map(|release| &release.resources) {
            let of_id = declared.resources.entry(&object.id).or_default();
            of_id.push(object);
        }
        for hook in release.into_iter().flat_map(|release| &release.hooks) {
            for object in &hook.objects {
                let of_id = declared.hooks.entry(&object.id).or_default();
                of_id.push((hook, object));
            }
        }
        declared
    }

    /// The declarations of an object as a regular resource, in the order of the manifest. There is rarely
    /// more than one.
    pub(crate) fn resources(&self, id: &ObjectId) -> &[&'a Object] {
        self.resources.get(id).map_or(&[], Vec::as_slice)
    }

    /// The hooks that declare an object, in the order of the record, each with its declaration.
    pub(crate) fn hooks(&self, id: &ObjectId) -> &[(&'a Hook, &'a Object)] {
        self.hooks.get(id).map_or(&[], Vec::as_slice)
    }

    /// All declarations of an object: in hooks, then as a resource.
    pub(crate) fn all(&self, id: &ObjectId) -> impl Iterator<Item = &'a Object> {
        let hooks = self.hooks(id).iter().map(|(_, object)| *object);
        hooks.chain(self.resources(id).iter().copied())
    }
}
