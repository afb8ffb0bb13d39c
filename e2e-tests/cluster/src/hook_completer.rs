//! Ends hook Jobs and hook Pods, in the place of the kubelet that is not there.

use std::fmt::Debug;

use futures::{StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// With the value `true` on a hook Job or Pod, it fails instead of completing.
pub const FAIL_ANNOTATION: &str = "cluster-tests/fail";

const HOOK_ANNOTATION: &str = "helm.sh/hook";

/// Completes the hooks of all namespaces as soon as they are created, until it is dropped.
#[derive(Debug)]
pub struct HookCompleter {
    task: JoinHandle<()>,
}

impl Cluster {
    /// Starts to complete hook Jobs and hook Pods, in the background.
    pub fn complete_hooks(&self) -> HookCompleter {
        let client = self.client();
        let task = self.runtime().spawn(async move {
            future::join(
                end_hooks(client.clone(), job_end),
                end_hooks(client, pod_end),
            )
            .await;
        });
        HookCompleter { task }
    }
}

impl Drop for HookCompleter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives every hook of a kind the status that `end` has for it.
async fn end_hooks<K>(client: Client, end: fn(&K, bool) -> Option<Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let objects = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut objects = std::pin::pin!(objects);
    while let Some(object) = objects.next().await {
        // The watcher itself tries again after an error.
        let Ok(object) = object else { continue };
        let annotations = object.annotations();
        if !annotations.contains_key(HOOK_ANNOTATION) {
            continue;
        }
        let fails = annotations
            .get(FAIL_ANNOTATION)
            .is_some_and(|value| value == "true");
        let (Some(status), Some(namespace)) = (end(&object, fails), object.namespace()) else {
            continue;
        };
        let api = Api::<K>::namespaced(client.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": status}));
        let name = object.name_any();
        let answer = api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await;
        match answer {
            Ok(_) => {}
            // Deleted in the meantime: nobody waits for it any more.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => eprintln!("cannot end the hook {namespace}/{name}: {error}"),
        }
    }
}

/// What the Job controller writes in the end; the API server checks that it is consistent.
fn job_end(job: &Job, fails: bool) -> Option<Value> {
    let has_conditions = |status: &JobStatus| status.conditions.is_some();
    if job.status.as_ref().is_some_and(has_conditions) {
        return None;
    }
    let time = &job.metadata.creation_timestamp;
    let condition = |name: &str, reason: &str| {
        json!({
            "type": name, "status": "True", "reason": reason,
            "lastProbeTime": time, "lastTransitionTime": time,
        })
    };
    if fails {
        let reason = "BackoffLimitExceeded";
        return Some(json!({
            "startTime": time,
            "failed": 1,
            "conditions": [condition("FailureTarget", reason), condition("Failed", reason)],
        }));
    }
    let reason = "CompletionsReached";
    Some(json!({
        "startTime": time,
        "completionTime": time,
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet", reason), condition("Complete", reason)],
    }))
}

fn pod_end(pod: &Pod, fails: bool) -> Option<Value> {
    let phase = pod.status.as_ref()?.phase.as_deref();
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    Some(json!({"phase": if fails { "Failed" } else { "Succeeded" }}))
}
