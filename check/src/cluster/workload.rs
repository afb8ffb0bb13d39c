//! The workloads of a namespace.
//!
//! In: a namespace, through kubectl. Out: a [`Workload`] for each. Refuses: an answer that is not JSON.

use anyhow::{Context, Result};
use pod_references::Need;
use serde_json::Value;

use crate::kubectl::Kubectl;

/// The kinds whose pods are looked at.
const KINDS: [&str; 4] = [
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "cronjobs.batch",
];

/// A live workload.
pub(super) struct Workload {
    /// `Deployment web`
    pub(super) id: String,
    pub(super) body: Value,
}

impl Workload {
    fn new(body: Value) -> Self {
        let text = |path| body.pointer(path).and_then(Value::as_str);
        let text = |path| text(path).unwrap_or_default();
        let id = format!("{} {}", text("/kind"), text("/metadata/name"));
        Self { id, body }
    }

    /// It has no pods, and gets none by itself.
    pub(super) fn is_idle(&self) -> bool {
        self.body.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0)
            || self.body.pointer("/spec/suspend") == Some(&Value::Bool(true))
    }

    pub(super) fn template(&self) -> &Value {
        let place = format!("/{}", self.place_of_template().replace('.', "/"));
        self.body.pointer(&place).unwrap_or(&Value::Null)
    }

    /// What its pods need.
    pub(super) fn needs(&self) -> Result<Vec<Need>> {
        let needs = pod_references::needs(&self.body, self.place_of_template());
        needs.with_context(|| self.id.clone())
    }

    fn place_of_template(&self) -> &'static str {
        match self.is_cron_job() {
            true => "spec.jobTemplate.spec.template",
            false => "spec.template",
        }
    }

    /// Its pods start anew each time.
    pub(super) fn is_cron_job(&self) -> bool {
        self.id.starts_with("CronJob ")
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.body.pointer("/metadata/annotations")?;
        annotations.get(key)?.as_str()
    }
}

/// The workloads of a namespace. `failed` takes what could not be read.
pub(super) fn workloads(
    namespace: &str,
    kubectl: &Kubectl,
    failed: &mut dyn FnMut(String) -> Result<()>,
) -> Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for kind in KINDS {
        match of_kind(kind, namespace, kubectl) {
            Ok(bodies) => workloads.extend(bodies.into_iter().map(Workload::new)),
            Err(error) => failed(format!("{kind} in namespace {namespace}: {error:#}"))?,
        }
    }
    Ok(workloads)
}

fn of_kind(kind: &str, namespace: &str, kubectl: &Kubectl) -> Result<Vec<Value>> {
    let in_namespace = format!("--namespace={namespace}");
    let list = kubectl.run(&[
        "get",
        kind,
        &in_namespace,
        "--output=json",
        "--ignore-not-found",
    ])?;
    if list.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let mut list: Value = serde_json::from_slice(&list).context("it is not JSON")?;
    match list.get_mut("items") {
        Some(Value::Array(items)) => Ok(std::mem::take(items)),
        _ => Ok(Vec::new()),
    }
}
