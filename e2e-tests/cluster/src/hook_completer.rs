//! Ends hook Jobs and hook Pods, because there is no kubelet, and does the work of Jobs that run kubectl.

use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use futures::{StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// A hook Job or Pod that has this annotation with the value `true` fails.
pub const FAIL_ANNOTATION: &str = "cluster-tests/fail";

const HOOK_ANNOTATION: &str = "helm.sh/hook";

/// How often to run kubectl, as often as the Job controller would by default. A new role may not be effective yet.
const RUNS: u32 = 7;

/// Completes the hooks of all namespaces as soon as they are created, until it is dropped.
///
/// If the container of a Job runs kubectl, the command is run, also if the Job is not a hook. It has the rights of the
/// service account, and its exit code decides about the Job.
#[derive(Debug)]
pub struct HookCompleter {
    task: JoinHandle<()>,
}

impl Cluster {
    /// Starts to complete hook Jobs and hook Pods, in the background.
    pub fn complete_hooks(&self) -> HookCompleter {
        let client = self.client();
        let kubectl = Kubectl {
            program: self.tool("kubectl"),
            home: self.folder().to_owned(),
            server: self.server().to_owned(),
            ca_file: self.ca_file(),
        };
        let task = self.runtime().spawn(async move {
            future::join(
                end_hooks::<Job>(client.clone(), kubectl.clone()),
                end_hooks::<Pod>(client, kubectl),
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

/// An object that runs to completion.
trait Ends: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    fn pod_spec(&self) -> Option<&PodSpec>;

    /// The status at its end. `None` if it has ended already.
    fn end(&self, fails: bool) -> Option<Value>;
}

/// Ends all hooks of a kind, and all objects that run kubectl.
async fn end_hooks<K>(client: Client, kubectl: Kubectl)
where
    K: Ends + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let objects = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut objects = std::pin::pin!(objects);
    while let Some(object) = objects.next().await {
        // The watcher retries after an error.
        let Ok(object) = object else { continue };
        let arguments = object.pod_spec().and_then(kubectl_arguments);
        let is_hook = object.annotations().contains_key(HOOK_ANNOTATION);
        let (Some(completed), Some(namespace)) = (object.end(false), object.namespace()) else {
            continue;
        };
        let name = object.name_any();
        let fails = match (arguments, object.annotations().get(FAIL_ANNOTATION)) {
            (None, _) if !is_hook => continue,
            (_, Some(value)) if value == "true" => true,
            (None, _) => false,
            (Some(arguments), _) => {
                let account = object
                    .pod_spec()
                    .and_then(|spec| spec.service_account_name.clone());
                let account = account.unwrap_or_else(|| "default".to_owned());
                let run = kubectl.run(&client, &namespace, &account, &arguments).await;
                run.inspect_err(|error| eprintln!("{namespace}/{name}: {error:#}"))
                    .is_err()
            }
        };
        let status = match fails {
            true => object.end(true),
            false => Some(completed),
        };
        let api = Api::<K>::namespaced(client.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": status}));
        let answer = api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await;
        match answer {
            Ok(_) => {}
            // Deleted in the meantime, so nobody waits for it.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => eprintln!("cannot end the hook {namespace}/{name}: {error}"),
        }
    }
}

/// The arguments of `kubectl` in the only container.
fn kubectl_arguments(spec: &PodSpec) -> Option<Vec<String>> {
    let [container] = spec.containers.as_slice() else {
        return None;
    };
    let command = container.command.iter().flatten();
    let mut words = command.chain(container.args.iter().flatten()).cloned();
    (words.next()? == "kubectl").then(|| words.collect())
}

/// kubectl with the rights of a pod.
#[derive(Debug, Clone)]
struct Kubectl {
    program: PathBuf,
    home: PathBuf,
    server: String,
    ca_file: PathBuf,
}

impl Kubectl {
    async fn run(
        &self,
        client: &Client,
        namespace: &str,
        service_account: &str,
        arguments: &[String],
    ) -> Result<()> {
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
        let request = TokenRequest::default();
        let answer = accounts
            .create_token_request(service_account, &PostParams::default(), &request)
            .await;
        let token = answer
            .with_context(|| format!("no token for ServiceAccount {service_account}"))?
            .status
            .and_then(|status| status.token)
            .context("the token request has no token")?;
        for run in 1.. {
            let mut command = Command::new(&self.program);
            command
                .env_clear()
                .env("HOME", &self.home)
                .args(["--server", &self.server, "--token", &token])
                .args(["--namespace", namespace, "--certificate-authority"])
                .arg(&self.ca_file)
                .args(arguments);
            let output = tokio::task::spawn_blocking(move || command.output()).await??;
            if output.status.success() {
                break;
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            ensure!(run < RUNS, "kubectl {}: {stderr}", arguments.join(" "));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }
}

impl Ends for Job {
    fn pod_spec(&self) -> Option<&PodSpec> {
        self.spec.as_ref()?.template.spec.as_ref()
    }

    fn end(&self, fails: bool) -> Option<Value> {
        job_end(self, fails)
    }
}

impl Ends for Pod {
    fn pod_spec(&self) -> Option<&PodSpec> {
        self.spec.as_ref()
    }

    fn end(&self, fails: bool) -> Option<Value> {
        pod_end(self, fails)
    }
}

/// The status that the Job controller writes at the end. The API server checks that it is consistent.
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
