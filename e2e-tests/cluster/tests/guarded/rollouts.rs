//! Counts the rollouts of a workload by the objects of its controller, and sends requests that may start one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, Output, wait_until};
use serde_json::json;

/// Edits the ConfigMap, as a user would do by hand.
pub(crate) fn edit(case: &Case<'_>, setting: &str) -> Result<Output> {
    let patch = json!({"data": {"setting": setting}}).to_string();
    case.kubectl(&["patch", "configmap", "app-config", "--patch", &patch])?
        .success()
}

/// Sends a request for the workload that changes nothing.
pub(crate) fn send_empty_patch(case: &Case<'_>, workload: &str) -> Result<Output> {
    case.kubectl(&["patch", workload, "--patch", "{}"])?
        .success()
}

/// Waits until the controller has seen the workload (`deployment/web`), and counts the pod templates that it rolled
/// out: ReplicaSets or ControllerRevisions.
pub(crate) fn assert_rollouts(case: &Case<'_>, workload: &str, expected: usize) -> Result<()> {
    let found = rollouts(case, workload)?;
    ensure!(
        found.len() == expected,
        "{workload} was rolled out {} times, not {expected}: {found:?}",
        found.len()
    );
    Ok(())
}

/// The names of a workload's ReplicaSets or ControllerRevisions.
pub(crate) fn rollouts(case: &Case<'_>, workload: &str) -> Result<Vec<String>> {
    let generations = "jsonpath={.metadata.generation} {.status.observedGeneration}";
    wait_until("the workload is observed", Duration::from_secs(30), || {
        let found = case.kubectl(&["get", workload, "-o", generations])?;
        let found = found.success()?;
        let mut generations = found.stdout.split(' ');
        Ok((generations.next() == generations.next()).then_some(()))
    })?;
    let (kind, name) = workload.split_once('/').context("kind/name")?;
    let resource = match kind {
        "deployment" => "replicasets",
        _ => "controllerrevisions",
    };
    let owners = "jsonpath={range .items[*]}{.metadata.ownerReferences[0].name} {.metadata.name}{\"\\n\"}{end}";
    let found = case.kubectl(&["get", resource, "-o", owners])?.success()?;
    let owned = found.stdout.lines().filter_map(|line| {
        let (owner, revision) = line.split_once(' ')?;
        (owner == name).then(|| revision.to_owned())
    });
    Ok(owned.collect())
}
