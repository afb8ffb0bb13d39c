//! The objects in the cluster at one moment, to compare with another moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;
use futures::future;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Secret, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use crate::cluster::Cluster;

/// The identity of an object for Helm, which ignores the API version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Empty for the core group.
    pub group: String,
    /// Such as `ConfigMap`.
    pub kind: String,
    /// Empty for cluster-wide objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// An object at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectState {
    /// If it differs, the object was deleted and recreated.
    pub uid: String,
    /// If it differs, something was written, perhaps only by a controller.
    pub resource_version: String,
    /// The object without the fields that controllers write: status and managed fields.
    pub content: Value,
    has_status: bool,
}

/// The objects at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Every object that existed.
    pub objects: BTreeMap<ObjectId, ObjectState>,
}

/// The change of an object between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It did not exist before.
    Added(ObjectId),
    /// It no longer exists.
    Removed(ObjectId),
    /// It was deleted and recreated.
    Replaced(ObjectId),
    /// It is the same object with a different content.
    Changed(ObjectId),
}

impl Cluster {
    /// All objects in a namespace, of the kinds that charts contain.
    ///
    /// # Errors
    /// The API server did not answer.
    pub fn snapshot(&self, namespace: &str) -> Result<Snapshot> {
        let kinds = [
            ApiResource::erase::<ConfigMap>(&()),
            ApiResource::erase::<Secret>(&()),
            ApiResource::erase::<ServiceAccount>(&()),
            ApiResource::erase::<PersistentVolumeClaim>(&()),
            ApiResource::erase::<Role>(&()),
            ApiResource::erase::<RoleBinding>(&()),
            ApiResource::erase::<Deployment>(&()),
            ApiResource::erase::<StatefulSet>(&()),
            ApiResource::erase::<DaemonSet>(&()),
            ApiResource::erase::<Job>(&()),
            ApiResource::erase::<CronJob>(&()),
            ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        ];
        self.snapshot_of(namespace, &kinds)
    }

    /// All objects of these kinds in a namespace.
    ///
    /// # Errors
    /// The API server did not answer, or does not know a kind.
    pub fn snapshot_of(&self, namespace: &str, kinds: &[ApiResource]) -> Result<Snapshot> {
        self.list(kinds, &ListParams::default(), |kind| {
            Api::namespaced_with(self.client(), namespace, kind)
        })
    }

    /// The cluster-wide objects that a label selector selects, of the kinds that charts contain.
    ///
    /// # Errors
    /// The API server did not answer.
    pub fn snapshot_of_cluster(&self, label_selector: &str) -> Result<Snapshot> {
        let kinds = [
            ApiResource::erase::<ClusterRole>(&()),
            ApiResource::erase::<ClusterRoleBinding>(&()),
            ApiResource::erase::<Namespace>(&()),
            ApiResource::erase::<CustomResourceDefinition>(&()),
        ];
        let selected = ListParams::default().labels(label_selector);
        self.list(&kinds, &selected, |kind| Api::all_with(self.client(), kind))
    }

    fn list(
        &self,
        kinds: &[ApiResource],
        parameters: &ListParams,
        api: impl Fn(&ApiResource) -> Api<DynamicObject>,
    ) -> Result<Snapshot> {
        let lists = kinds.iter().map(|kind| {
            let api = api(kind);
            async move { api.list(parameters).await.map(|list| (kind, list.items)) }
        });
        let lists = self.block_on(future::try_join_all(lists))?;
        let objects = lists.into_iter().flat_map(|(kind, objects)| {
            objects
                .into_iter()
                .map(|object| (ObjectId::new(kind, &object), ObjectState::new(object)))
        });
        Ok(Snapshot {
            objects: objects.collect(),
        })
    }
}

impl Snapshot {
    /// The differences to a later snapshot.
    ///
    /// Controllers write the status of workloads at any time, so this is no change. An object without a status counts as
    /// changed after any write.
    pub fn changes(&self, later: &Snapshot) -> Vec<Change> {
        let ids: BTreeSet<_> = self.objects.keys().chain(later.objects.keys()).collect();
        ids.into_iter()
            .filter_map(|id| {
                let change = match (self.objects.get(id), later.objects.get(id)) {
                    (None, _) => Change::Added,
                    (_, None) => Change::Removed,
                    (Some(before), Some(after)) if before.uid != after.uid => Change::Replaced,
                    (Some(before), Some(after)) if before.differs_from(after) => Change::Changed,
                    _ => return None,
                };
                Some(change(id.clone()))
            })
            .collect()
    }
}

impl ObjectId {
    fn new(kind: &ApiResource, object: &DynamicObject) -> ObjectId {
        ObjectId {
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl ObjectState {
    fn new(mut object: DynamicObject) -> ObjectState {
        let metadata = &mut object.metadata;
        let uid = metadata.uid.take().unwrap_or_default();
        let resource_version = metadata.resource_version.take().unwrap_or_default();
        metadata.managed_fields = None;
        // The deployment controller writes its revision here.
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
        let fields = object.data.as_object_mut();
        let status = fields.and_then(|fields| fields.remove("status"));
        ObjectState {
            uid,
            resource_version,
            content: serde_json::to_value(object).unwrap_or_default(),
            has_status: status.is_some(),
        }
    }

    fn differs_from(&self, later: &ObjectState) -> bool {
        if self.has_status || later.has_status {
            self.content != later.content
        } else {
            self.resource_version != later.resource_version
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added(id) => write!(f, "added {id}"),
            Change::Removed(id) => write!(f, "removed {id}"),
            Change::Replaced(id) => write!(f, "replaced {id}"),
            Change::Changed(id) => write!(f, "changed {id}"),
        }
    }
}
