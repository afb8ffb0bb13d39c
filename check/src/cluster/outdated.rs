//! Which Deployments were not rolled out since one of their configs changed.
//!
//! In: a namespace. Out: an [`Outdated`] for each Deployment and config. Refuses: a kubectl that fails.
//!
//! Only times are compared. The content of a config may have changed whenever a manager of its keys wrote it; programs that read
//! mounted files again, and pods that were restarted one by one, may have the new content all the same. So it is a hint.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use pod_references::{Kind, Purpose, needs};
use serde_json::Value;

use super::{Named, Outdated, workloads};
use crate::kubectl::Kubectl;

/// A time of Kubernetes: in UTC and of one length, so that its text can be compared.
type Time = String;

pub(super) fn outdated(namespace: &str, kubectl: &Kubectl) -> Result<Vec<Outdated>> {
    let in_namespace = format!("--namespace={namespace}");
    let deployments = workloads("deployments.apps", &in_namespace, kubectl)?;
    if deployments.is_empty() {
        return Ok(Vec::new());
    }
    let sets = replica_sets(&in_namespace, kubectl)?;
    let mut changes = BTreeMap::new();
    for kind in [Kind::ConfigMap, Kind::Secret] {
        changes.extend(last_changes(kind, &in_namespace, kubectl)?);
    }
    let mut outdated = Vec::new();
    for deployment in &deployments {
        let name = deployment.pointer("/metadata/name").and_then(Value::as_str);
        let (Some(name), Some(rolled_out)) = (name, rolled_out(deployment, &sets)) else {
            continue;
        };
        if deployment.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0) {
            continue;
        }
        let template = deployment.pointer("/spec/template").unwrap_or(&Value::Null);
        let needs =
            needs(template, "spec.template").with_context(|| format!("Deployment {name}"))?;
        let mut configs: Vec<_> = needs
            .into_iter()
            .filter(|need| need.purpose == Purpose::Config)
            .map(|need| Named {
                kind: need.kind,
                name: need.name,
            })
            .collect();
        configs.sort();
        configs.dedup();
        for config in configs {
            if let Some(changed) = changes
                .get(&config)
                .filter(|changed| **changed > rolled_out)
            {
                outdated.push(Outdated {
                    namespace: namespace.to_owned(),
                    deployment: name.to_owned(),
                    config,
                    changed: changed.clone(),
                    rolled_out: rolled_out.clone(),
                });
            }
        }
    }
    Ok(outdated)
}

/// When its pods were replaced last: its newest ReplicaSet was made, or, of one that it has gone back to, the rollout went on.
fn rolled_out(deployment: &Value, sets: &BTreeMap<String, Time>) -> Option<Time> {
    let name = deployment
        .pointer("/metadata/name")
        .and_then(Value::as_str)?;
    let conditions = deployment
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let progress = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some("Progressing"));
    let progress = progress.and_then(|progress| progress.get("lastUpdateTime")?.as_str());
    let made = sets.get(name).map(String::as_str);
    made.max(progress).map(str::to_owned)
}

/// When the newest ReplicaSet of each Deployment was made.
fn replica_sets(in_namespace: &str, kubectl: &Kubectl) -> Result<BTreeMap<String, Time>> {
    const COLUMNS: &str = "--output=jsonpath={range .items[*]}{.metadata.ownerReferences[0].name}{\" \"}{.metadata.creationTimestamp}{\"\\n\"}{end}";
    let table = kubectl.run(&["get", "replicasets.apps", in_namespace, COLUMNS])?;
    let mut newest = BTreeMap::new();
    for line in String::from_utf8(table)?.lines() {
        if let Some((deployment, time)) = line.split_once(' ') {
            let known: &mut Time = newest.entry(deployment.to_owned()).or_default();
            if time > known.as_str() {
                *known = time.to_owned();
            }
        }
    }
    Ok(newest)
}

/// When the content of each config may have changed last. The content itself is not asked for.
fn last_changes(
    kind: Kind,
    in_namespace: &str,
    kubectl: &Kubectl,
) -> Result<BTreeMap<Named, Time>> {
    const COLUMNS: &str = "--output=jsonpath={range .items[*]}{.metadata.name}{\" \"}{.metadata.managedFields}{\"\\n\"}{end}";
    let resource = format!("{}s", kind.name().to_ascii_lowercase());
    let table = kubectl.run(&[
        "get",
        &resource,
        in_namespace,
        "--show-managed-fields",
        COLUMNS,
    ])?;
    let mut changes = BTreeMap::new();
    for line in String::from_utf8(table)?.lines() {
        let Some((name, fields)) = line.split_once(' ') else {
            continue;
        };
        let fields: Value = serde_json::from_str(fields).unwrap_or_default();
        let of_content = fields.as_array().into_iter().flatten().filter(|entry| {
            let fields = entry.get("fieldsV1");
            fields.is_some_and(|fields| {
                fields
                    .get("f:data")
                    .or(fields.get("f:binaryData"))
                    .is_some()
            })
        });
        let times = of_content.filter_map(|entry| entry.get("time")?.as_str());
        if let Some(time) = times.max() {
            let name = name.to_owned();
            changes.insert(Named { kind, name }, time.to_owned());
        }
    }
    Ok(changes)
}
