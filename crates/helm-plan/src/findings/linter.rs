//! What the checks ask of a change.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::Change;
use crate::{
    consumers::{Consumer, Error, When, consumers},
    declared::Declared,
    lifecycle::Stage,
    manifest::{Object, ObjectId},
    plan::{Action, Presence},
    release::Hook,
};

/// How an operation leaves an object, as far as findings are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A hook meets it, and the operation fails at this stage.
    Conflict(Stage),
    /// The operation fails in its pre-hooks, because of another object: nothing is applied or pruned.
    Spared,
    /// It left the release, and is gone at the end.
    Pruned,
    /// The delete policy of its own hook removes it for good.
    DeletedAfterHook(Stage),
    /// It stays, or comes.
    Stays,
}

/// A change, and what it declares by object.
pub struct Linter<'a> {
    pub(super) change: Change<'a>,
    /// What the current release declares.
    pub(super) current: Declared<'a>,
    /// What the target declares.
    pub(super) target: Declared<'a>,
    /// By the object that they need, in the order of the manifest.
    consumers: BTreeMap<ObjectId, Vec<Consumer<'a>>>,
    /// The custom resources of the target, by what they name.
    custom_resources: OnceCell<BTreeMap<&'a str, Vec<&'a Object>>>,
    /// The role bindings of the target, by the name of their role.
    bindings: OnceCell<BTreeMap<&'a str, Vec<&'a Object>>>,
}

impl<'a> Linter<'a> {
    pub(super) fn new(change: Change<'a>) -> Result<Self, Error> {
        let current = Declared::by(change.current);
        let mut by_need: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for consumer in consumers(&current, change.target, change.operation)? {
            // A hook that stays until it is pruned needs nothing afterwards.
            let has_gone = matches!(consumer.when, When::LastingHook(_))
                && change.plan.at_end(&consumer.object.id) == Presence::Absent;
            if !has_gone {
                let needs = consumer.needs.clone();
                by_need.entry(needs).or_default().push(consumer);
            }
        }
        Ok(Self {
            change,
            current,
            target: Declared::by(Some(change.target)),
            consumers: by_need,
            custom_resources: OnceCell::new(),
            bindings: OnceCell::new(),
        })
    }

    pub(super) fn fate(&self, id: &ObjectId) -> Fate {
        let plan = self.change.plan;
        let last = plan.actions(id).last();
        if let Some(Action::Conflict(stage)) = last {
            return Fate::Conflict(stage);
        }
        // Nothing is pruned then. A failure in the post-hooks comes too late for that.
        if plan.fails_at() == Some(Stage::Pre) {
            return Fate::Spared;
        }
        let lost = plan.at_end(id) == Presence::Absent;
        match last {
            Some(Action::Prune) if lost => Fate::Pruned,
            Some(Action::DeleteAfterHook(stage)) if lost => Fate::DeletedAfterHook(stage),
            _ => Fate::Stays,
        }
    }

    pub(super) fn was_regular(&self, id: &ObjectId) -> bool {
        !self.current.resources(id).is_empty()
    }

    /// The target's hooks that hold the object and belong to an install, upgrade or rollback: test and
    /// delete hooks are about another time.
    pub(super) fn lifecycle_hooks(&self, id: &ObjectId) -> Vec<&'a Hook> {
        let hooks = self.target.hooks(id).iter().map(|(hook, _)| *hook);
        hooks
            .filter(|hook| hook.events.iter().any(|event| event.is_of_operation()))
            .collect()
    }

    /// The current revision's last hook that holds the object.
    pub(super) fn current_hook(&self, id: &ObjectId) -> Option<&'a Hook> {
        self.current.hooks(id).last().map(|(hook, _)| *hook)
    }

    /// The custom resources of the target that name something, in the order of the manifest.
    pub(super) fn custom_resources_naming(&self, name: &str) -> &[&'a Object] {
        let named = self.custom_resources.get_or_init(|| {
            let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
            let resources = self.change.target.resources.iter();
            for object in resources.filter(|object| object.id.is_custom()) {
                let mut names = BTreeSet::new();
                collect_names(&object.body, &mut names);
                for name in names {
                    named.entry(name).or_default().push(object);
                }
            }
            named
        });
        named.get(name).map_or(&[], Vec::as_slice)
    }

    /// The bindings of a role in the target.
    pub(super) fn bindings<'i>(
        &'i self,
        role: &'i ObjectId,
    ) -> impl Iterator<Item = &'a Object> + 'i {
        let bindings = self.bindings.get_or_init(|| {
            let mut bindings: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for object in self.change.of_target() {
                if let Some(name) = role_of(object, "name") {
                    bindings.entry(name).or_default().push(object);
                }
            }
            bindings
        });
        let of_name = bindings.get(role.name.as_str()).into_iter().flatten();
        of_name.copied().filter(|binding| {
            let is_near = role.namespace.is_empty() || role.namespace == binding.id.namespace;
            is_near && role_of(binding, "kind") == Some(&role.kind)
        })
    }

    /// Who needs an object, in the order of the manifest.
    pub(super) fn consumers(&self, id: &ObjectId) -> impl Iterator<Item = &Consumer<'a>> {
        self.consumers.get(id).into_iter().flatten()
    }

    /// The workloads that need an object, each once, of those consumers that are asked for.
    pub(super) fn consumers_of(
        &self,
        id: &ObjectId,
        which: impl Fn(&Consumer<'_>) -> bool,
    ) -> Vec<ObjectId> {
        let mut seen = BTreeSet::new();
        let consumers = self.consumers(id).filter(|consumer| which(consumer));
        let ids = consumers.map(|consumer| &consumer.object.id);
        ids.filter(|id| seen.insert(*id)).cloned().collect()
    }

    /// The API version, if the prune takes the live object as it is now: no hook creates it again first.
    pub(super) fn pruned_as_it_is(&self, id: &ObjectId) -> Option<String> {
        let recreates =
            |action| matches!(action, Action::DeleteBeforeHook(_) | Action::CreateHook(_));
        let as_it_is = !self.change.plan.actions(id).any(recreates);
        as_it_is.then(|| self.api_version(id))?
    }

    pub(super) fn api_version(&self, id: &ObjectId) -> Option<String> {
        let current = self.current.resources(id).first().copied();
        let object = current.or_else(|| self.target.all(id).next())?;
        let version = object.body.get("apiVersion")?.as_str()?;
        Some(version.to_owned())
    }
}

/// A field of the role that a binding names.
fn role_of<'a>(binding: &'a Object, field: &str) -> Option<&'a str> {
    let is_binding = binding.id.kind.ends_with("RoleBinding");
    let role = binding.body.get("roleRef").filter(|_| is_binding)?;
    role.get(field)?.as_str()
}

/// Collects what a custom resource names: cert-manager's `spec.secretName`, External Secrets'
/// `spec.target.name`, a SealedSecret by its own name, …
///
/// Labels do not count: charts give their objects and their labels the same names.
fn collect_names<'a>(body: &'a Value, names: &mut BTreeSet<&'a str>) {
    match body {
        Value::String(text) => {
            names.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(fields) => {
            for (field, value) in fields {
                let is_label = matches!(
                    field.as_str(),
                    "labels" | "annotations" | "selector" | "matchLabels"
                );
                if !is_label {
                    collect_names(value, names);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
