//! One version of a chart, as Argo CD has it.
//!
//! In: the objects of a manifest. Out: an [`App`]: the role of each, and who needs what. Refuses: a workload whose pod template cannot be
//! read.
//!
//! # Source
//!
//! argoproj/argo-cd 3.6.0 (37ee0097):
//!
//! - `controller/state.go`, NormalizeTargetObjects: of several declarations of an object, the last one counts
//! - `gitops-engine/pkg/health`, and `resource_customizations`: what is waited for

use std::collections::{BTreeMap, BTreeSet};

use helm_plan::{
    Object, ObjectId,
    consumers::{self, Error},
};
use pod_references::Kind;
use serde_json::Value;

use super::sync::{Point, Role, role};

/// The objects of a version, and who needs them.
pub(super) struct App<'a> {
    declared: BTreeMap<&'a ObjectId, Declared<'a>>,
    /// By what they need, in the order of the manifest.
    consumers: BTreeMap<ObjectId, Vec<Consumer<'a>>>,
}

/// An object, and what Argo CD makes of it.
pub(super) struct Declared<'a> {
    pub(super) object: &'a Object,
    pub(super) role: Role,
}

/// A workload of which pods run after a sync, or during one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Consumer<'a> {
    pub(super) object: &'a Object,
    /// When it is applied.
    pub(super) at: Point,
    /// Its pods start without what they need.
    pub(super) optional: bool,
    /// It is a hook that is deleted when the sync has succeeded.
    is_gone_after: bool,
}

impl<'a> App<'a> {
    pub(super) fn of(objects: &'a [Object]) -> Result<Self, Error> {
        let mut app = Self {
            declared: BTreeMap::new(),
            consumers: BTreeMap::new(),
        };
        // An object whose name the API server generates is never the same as another.
        let is_named = |object: &Object| !object.id.name.is_empty();
        for object in objects.iter().filter(|object| is_named(object)) {
            let role = role(object);
            app.declared.insert(&object.id, Declared { object, role });
        }
        for object in objects {
            let counts = match app.declared.get(&object.id) {
                Some(declared) => std::ptr::eq(declared.object, object),
                None => true,
            };
            let role = role(object);
            let is_gone_after = matches!(&role, Role::Hook(hook) if hook.deleted_after);
            let Some(at) = role.first().filter(|_| counts) else {
                continue;
            };
            for need in consumers::needs(object)? {
                // A claim that is bound needs its class no more.
                if need.kind == Kind::StorageClass {
                    continue;
                }
                let id = consumers::needed(&need, object);
                app.consumers.entry(id).or_default().push(Consumer {
                    object,
                    at,
                    optional: need.optional,
                    is_gone_after,
                });
            }
        }
        Ok(app)
    }

    pub(super) fn get(&self, id: &ObjectId) -> Option<&Declared<'a>> {
        self.declared.get(id)
    }

    pub(super) fn consumers(&self, id: &ObjectId) -> &[Consumer<'a>] {
        self.consumers.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether an object of this version requires another.
    pub(super) fn requires(&self, consumer: &ObjectId, id: &ObjectId) -> bool {
        self.consumers(id)
            .iter()
            .any(|one| one.object.id == *consumer && !one.optional)
    }
}

impl Consumer<'_> {
    /// Whether its pods are there for longer than a sync.
    pub(super) fn lasts(&self) -> bool {
        !self.is_gone_after && !self.object.id.runs_to_completion()
    }

    /// Whether Argo CD waits for its pods. To Argo CD, a CronJob is healthy as it is, and so is what only changes when somebody deletes
    /// pods; a paused Deployment is waited for, whatever its pods do. What it makes of custom kinds is not known here.
    pub(super) fn is_waited_for(&self) -> bool {
        let spec = |path| {
            self.object
                .body
                .get("spec")
                .and_then(|spec| spec.pointer(path))
        };
        let id = &self.object.id;
        match (id.group.as_str(), id.kind.as_str()) {
            ("apps", "Deployment") => spec("/paused") != Some(&Value::Bool(true)),
            ("apps", "StatefulSet" | "DaemonSet") => {
                spec("/updateStrategy/type").and_then(Value::as_str) != Some("OnDelete")
            }
            ("apps", "ReplicaSet") | ("batch", "Job") | ("", "Pod") => true,
            _ => false,
        }
    }
}

/// Each once, in their order.
pub(super) fn ids(consumers: &[Consumer<'_>]) -> Vec<ObjectId> {
    let mut seen = BTreeSet::new();
    consumers
        .iter()
        .map(|consumer| &consumer.object.id)
        .filter(|id| seen.insert(*id))
        .cloned()
        .collect()
}
