//! Which workloads run an older config than the cluster has.
//!
//! In: the workloads of a namespace. Out: an [`Outdated`] for each workload and config. Refuses: a kubectl that fails.
//!
//! The record that the policy keeps on a workload says what its pods started with, so that its digest can be compared. Where there is none,
//! or one that was made with a secret key, only times are compared. The content of a config may have changed whenever a manager of its
//! keys wrote it, unless the records of a release tell that it has not; programs that read mounted files again, and pods that were
//! restarted one by one, may have the new content all the same. So that is a hint.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
};

use anyhow::{Context, Result};
use config_digest::{Digester, comparable, content::Content, record};
use pod_references::{Keys, Kind, Need, Purpose, extra};
use serde_json::Value;

use super::{Evidence, Named, Outdated, Time, applied, resource, workload::Workload};
use crate::kubectl::Kubectl;

pub(super) fn outdated(
    namespace: &str,
    workloads: &[Workload],
    applied: &applied::Configs,
    kubectl: &Kubectl,
) -> Result<Vec<Outdated>> {
    let in_namespace = format!("--namespace={namespace}");
    let mut uses = Vec::new();
    for workload in workloads {
        // Those of a CronJob read their config each time.
        if !workload.is_idle() && !workload.is_cron_job() {
            uses.extend(of_workload(workload)?);
        }
    }
    let mut outdated = Vec::new();
    let mut add = |r#use: &Use<'_>, evidence| {
        outdated.push(Outdated {
            namespace: namespace.to_owned(),
            workload: r#use.workload.id.clone(),
            config: r#use.config.clone(),
            evidence,
        });
    };

    let recorded = uses.iter().filter(|r#use| r#use.memory.is_some());
    let recorded: BTreeSet<_> = recorded.map(|r#use| r#use.config.clone()).collect();
    // One after the other: they may be large.
    for config in recorded {
        let Some(content) = read(&config, &in_namespace, kubectl)? else {
            // That is another matter: see `missing`.
            continue;
        };
        for r#use in uses.iter_mut().filter(|r#use| r#use.config == config) {
            r#use.is_older = r#use.compare(&content);
        }
    }
    let (by_record, by_times): (Vec<_>, Vec<_>) =
        uses.iter().partition(|r#use| r#use.is_older.is_some());
    for r#use in by_record {
        if r#use.is_older == Some(true) {
            add(r#use, Evidence::Record);
        }
    }
    if !by_times.is_empty() {
        let times = Times::of(&in_namespace, kubectl)?;
        // Each config is read once, however many workloads use it.
        let mut digests = BTreeMap::new();
        for r#use in by_times {
            let Some((written, rolled_out)) = times.of_older(r#use) else {
                continue;
            };
            let config = &r#use.config;
            let applied = applied.get(&(namespace.to_owned(), config.clone()));
            if let Some(applied) = applied.filter(|applied| applied.since.as_str() <= rolled_out) {
                let digest = match digests.entry(config) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let content = read(config, &in_namespace, kubectl)?;
                        new.insert(content.as_ref().map(applied::digest))
                    }
                };
                if digest.as_ref() == Some(&applied.digest) {
                    continue;
                }
            }
            let (written, rolled_out) = (written.to_owned(), rolled_out.to_owned());
            add(
                r#use,
                Evidence::Times {
                    written,
                    rolled_out,
                },
            );
        }
    }
    outdated.sort_by(|a, b| (&a.workload, &a.config).cmp(&(&b.workload, &b.config)));
    Ok(outdated)
}

/// How a workload uses a config.
struct Use<'a> {
    workload: &'a Workload,
    config: Named,
    /// `None`: all of them.
    keys: Option<BTreeSet<String>>,
    /// What its pods started with.
    memory: Option<String>,
    /// Whether they started with another content. `None`: the record does not tell.
    is_older: Option<bool>,
}

impl Use<'_> {
    fn compare(&self, content: &Content) -> Option<bool> {
        let memory = self.memory.as_deref()?;
        let digest = Digester::default().of_config(Some(content), self.keys.as_ref());
        let is_told = memory != record::MISSING && comparable(memory, &digest);
        is_told.then_some(memory != digest)
    }
}

/// What a workload reads.
fn of_workload(workload: &Workload) -> Result<Vec<Use<'_>>> {
    let template = workload.needs()?;
    let extra = extra::needs(&workload.body).filter_map(Result::ok);
    let mut configs: BTreeMap<Named, Option<BTreeSet<String>>> = BTreeMap::new();
    for Need {
        kind, name, keys, ..
    } in template
        .into_iter()
        .chain(extra)
        .filter(|need| need.purpose == Purpose::Config)
    {
        let known = configs.entry(Named { kind, name });
        let known = known.or_insert_with(|| Some(BTreeSet::new()));
        match (keys, known) {
            (Keys::Only(more), Some(known)) => known.extend(more),
            (Keys::Only(_), None) => {}
            (Keys::All, known) => *known = None,
        }
    }
    let recorded = workload.annotation(record::CONFIGS);
    let recorded: BTreeMap<String, String> = recorded
        .and_then(|recorded| serde_json::from_str(recorded).ok())
        .unwrap_or_default();
    let fingerprint = LazyCell::new(|| record::fingerprint(workload.template()));
    let uses = configs.into_iter().map(|(config, keys)| {
        let entry = recorded.get(&format!("{}/{}", config.kind, config.name));
        let memory = entry.and_then(|entry| record::memory(entry, || &fingerprint));
        Use {
            workload,
            config,
            keys,
            memory: memory.map(str::to_owned),
            is_older: None,
        }
    });
    Ok(uses.collect())
}

/// What is in a config now. `None`: it does not exist.
fn read(config: &Named, in_namespace: &str, kubectl: &Kubectl) -> Result<Option<Content>> {
    let object = kubectl.run(&[
        "get",
        &config.resource(),
        &config.name,
        in_namespace,
        "--output=json",
        "--ignore-not-found",
    ])?;
    if object.trim_ascii().is_empty() {
        return Ok(None);
    }
    let object: Value = serde_json::from_slice(&object).context("it is not JSON")?;
    let content = config.content(&object);
    Ok(Some(content.with_context(|| config.to_string())?))
}

/// When workloads were rolled out, and when configs were written.
struct Times {
    /// By `Deployment web`.
    rolled_out: BTreeMap<String, Time>,
    written: BTreeMap<Named, Time>,
}

impl Times {
    fn of(in_namespace: &str, kubectl: &Kubectl) -> Result<Self> {
        let mut rolled_out = BTreeMap::new();
        for resource in ["replicasets.apps", "controllerrevisions.apps"] {
            rollouts(resource, in_namespace, kubectl, &mut rolled_out)?;
        }
        let mut written = BTreeMap::new();
        for kind in [Kind::ConfigMap, Kind::Secret] {
            written.extend(last_changes(kind, in_namespace, kubectl)?);
        }
        Ok(Self {
            rolled_out,
            written,
        })
    }

    /// When the config was written, and when the workload was rolled out before that. `None`: it was rolled out later.
    fn of_older<'a>(&'a self, r#use: &'a Use<'_>) -> Option<(&'a str, &'a str)> {
        let written = self.written.get(&r#use.config)?.as_str();
        let revision = self.rolled_out.get(&r#use.workload.id).map(String::as_str);
        let rolled_out = revision.max(progress(&r#use.workload.body))?;
        (written > rolled_out).then_some((written, rolled_out))
    }
}

/// When the rollout of a Deployment went on last: also if it has gone back to an older ReplicaSet.
fn progress(deployment: &Value) -> Option<&str> {
    let conditions = deployment.pointer("/status/conditions")?.as_array()?;
    let progress = conditions
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some("Progressing"))?;
    progress.get("lastUpdateTime")?.as_str()
}

/// When the newest revision of each workload was made or, of one that it has gone back to, written: a ReplicaSet is also written when it is
/// scaled, so its creation counts.
fn rollouts(
    resource: &str,
    in_namespace: &str,
    kubectl: &Kubectl,
    newest: &mut BTreeMap<String, Time>,
) -> Result<()> {
    let times = match resource {
        "replicasets.apps" => "{.metadata.creationTimestamp}",
        _ => "{.metadata.creationTimestamp}{\" \"}{.metadata.managedFields[*].time}",
    };
    let columns = format!(
        "--output=jsonpath={{range .items[*]}}{{.metadata.ownerReferences[0].kind}}{{\" \"}}{{.metadata.ownerReferences[0].name}}{{\" \"}}\
         {times}{{\"\\n\"}}{{end}}"
    );
    let get = [
        "get",
        resource,
        in_namespace,
        "--show-managed-fields",
        &columns,
    ];
    let table = kubectl.run(&get)?;
    for line in String::from_utf8(table)?.lines() {
        let mut words = line.split_whitespace();
        if let (Some(kind), Some(name), Some(time)) = (words.next(), words.next(), words.max()) {
            let known: &mut Time = newest.entry(format!("{kind} {name}")).or_default();
            if time > known.as_str() {
                *known = time.to_owned();
            }
        }
    }
    Ok(())
}

/// When the content of each config may have changed last. The content itself is not asked for.
fn last_changes(
    kind: Kind,
    in_namespace: &str,
    kubectl: &Kubectl,
) -> Result<BTreeMap<Named, Time>> {
    const COLUMNS: &str = "--output=jsonpath={range .items[*]}{.metadata.name}{\" \"}{.metadata.managedFields}{\"\\n\"}{end}";
    let table = kubectl.run(&[
        "get",
        &resource(kind),
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
