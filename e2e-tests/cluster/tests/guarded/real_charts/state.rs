//! What the live workloads of a namespace require, and what there is. Read with the types of Kubernetes, and not with `pod-references`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster_tests::k8s_openapi::api::core::v1::{KeyToPath, PodSpec};
use cluster_tests::{Case, wait_until};
use serde_json::{Value, json};

/// An object that pods require by its name, or a key of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) key: Option<String>,
}

impl Item {
    /// As reports have it: `ConfigMap app`, and its key.
    pub(super) fn said(object: &str, key: Option<&str>) -> Item {
        let (kind, name) = object.split_once(' ').unwrap_or_default();
        Item {
            kind: kind.to_owned(),
            name: name.to_owned(),
            key: key.map(str::to_owned),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Item { kind, name, key } = self;
        match key {
            Some(key) => write!(f, "key {key} of {kind} {name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

/// A namespace at one moment.
#[derive(Debug, Default)]
pub(super) struct State {
    existing: BTreeSet<Item>,
    /// With the workloads, such as `Deployment web`. Those that run no pods require nothing.
    required: BTreeMap<Item, BTreeSet<String>>,
    /// The data of ConfigMaps and Secrets.
    contents: BTreeMap<Item, Value>,
    /// The pod templates of workloads, but not those of CronJobs, and the configs in them.
    templates: BTreeMap<String, (Value, BTreeSet<Item>)>,
}

/// What pods started with: their template, and the content of a config in it. By workload and config.
#[derive(Debug, Default)]
pub(super) struct Started(BTreeMap<(String, Item), (Value, Value)>);

impl Started {
    /// Which workloads run an older content of a config than there is now. Pods start again when their template changes.
    pub(super) fn outdated(&mut self, now: &State) -> BTreeSet<(String, Item)> {
        let mut before = std::mem::take(&mut self.0);
        let mut outdated = BTreeSet::new();
        for (workload, (template, configs)) in &now.templates {
            for config in configs {
                let Some(content) = now.contents.get(config) else {
                    continue;
                };
                let key = (workload.clone(), config.clone());
                let same = before.remove(&key).filter(|(before, _)| before == template);
                let started = same.unwrap_or_else(|| (template.clone(), content.clone()));
                if started.1 != *content {
                    outdated.insert(key.clone());
                }
                self.0.insert(key, started);
            }
        }
        outdated
    }
}

const KINDS: &str = "configmaps,secrets,serviceaccounts,persistentvolumeclaims,\
    deployments.apps,statefulsets.apps,daemonsets.apps,cronjobs.batch";

impl State {
    /// Once the controllers have rolled out what was applied.
    pub(super) fn of(case: &Case<'_>) -> Result<State> {
        wait_until("rollouts begin", Duration::from_secs(60), || {
            let list = case.kubectl(&["get", KINDS, "--output=json"])?.success()?;
            let list: Value = serde_json::from_str(&list.stdout)?;
            let objects = list.get("items").and_then(Value::as_array);
            let objects = objects.context("no list")?;
            let has_begun = |object: &Value| {
                let observed = object.pointer("/status/observedGeneration");
                object.pointer("/spec/template").is_none()
                    || observed == object.pointer("/metadata/generation")
            };
            if !objects.iter().all(has_begun) {
                return Ok(None);
            }
            let mut state = State::default();
            for object in objects {
                state.add(object)?;
            }
            Ok(Some(state))
        })
    }

    fn add(&mut self, object: &Value) -> Result<()> {
        let text = |path| object.pointer(path).and_then(Value::as_str);
        let kind = text("/kind").context("no kind")?;
        let name = text("/metadata/name").context("no name")?;
        let template = match kind {
            "Deployment" | "StatefulSet" | "DaemonSet" => "/spec/template/spec",
            "CronJob" => "/spec/jobTemplate/spec/template/spec",
            _ => {
                let data = ["data", "binaryData"].map(|field| object.get(field));
                let fields = data.into_iter().flatten().filter_map(Value::as_object);
                let keys = fields.flat_map(|data| data.keys()).map(String::as_str);
                self.existing.extend(items(kind, name, keys));
                let config = Item::said(&format!("{kind} {name}"), None);
                self.contents.insert(config, json!(data));
                return Ok(());
            }
        };
        let is_idle = object.pointer("/spec/replicas") == Some(&0.into())
            || object.pointer("/spec/suspend") == Some(&true.into());
        if is_idle {
            return Ok(());
        }
        let workload = format!("{kind} {name}");
        let pods = object.pointer(template).context("no pods")?;
        let pods: PodSpec = serde_json::from_value(pods.clone())?;
        let mut configs = BTreeSet::new();
        for (item, is_required) in named(&pods) {
            if item.key.is_none() && ["ConfigMap", "Secret"].contains(&item.kind.as_str()) {
                configs.insert(item.clone());
            }
            if is_required {
                let workloads = self.required.entry(item).or_default();
                workloads.insert(workload.clone());
            }
        }
        if let Some(template) = object.pointer("/spec/template") {
            let template = (template.clone(), configs);
            self.templates.insert(workload, template);
        }
        Ok(())
    }

    /// What is required and does not exist, with the workloads. Keys only of objects that exist.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&Item, &BTreeSet<String>)> {
        let required = self.required.iter();
        required.filter(|(item, _)| !self.existing.contains(item) && self.is_alone(item))
    }

    /// What existed before, is gone now, and is required now.
    pub(super) fn lost_since(&self, before: &State) -> Vec<Item> {
        let missing = self.missing().map(|(item, _)| item);
        let lost = missing.filter(|item| before.existing.contains(item));
        lost.cloned().collect()
    }

    pub(super) fn exists(&self, item: &Item) -> bool {
        self.existing.contains(item)
    }

    /// Whether this is an object, or a key of an object that exists.
    fn is_alone(&self, item: &Item) -> bool {
        let object = Item {
            key: None,
            ..item.clone()
        };
        item.key.is_none() || self.existing.contains(&object)
    }

    /// Manifests of what is missing, with the keys that are required: as users, operators and the Jobs of charts make it.
    pub(super) fn manifests_of_missing(&self) -> String {
        let objects = self.missing().filter(|(item, _)| item.key.is_none());
        let manifests = objects.map(|(object, _)| {
            let keys = self.required.keys().filter_map(|item| {
                let is_of_it = item.kind == object.kind && item.name == object.name;
                let key = item.key.as_ref().filter(|_| is_of_it)?;
                Some(format!("{key:?}: b25l"))
            });
            let keys: Vec<_> = keys.collect();
            let content = match object.kind.as_str() {
                "PersistentVolumeClaim" => {
                    "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"
                        .to_owned()
                }
                "ServiceAccount" => String::new(),
                _ => format!("data: {{{}}}", keys.join(", ")),
            };
            format!(
                "---\napiVersion: v1\nkind: {}\nmetadata: {{name: {}}}\n{content}\n",
                object.kind, object.name
            )
        });
        manifests.collect()
    }
}

/// An object and its keys.
fn items<'a>(kind: &str, name: &str, keys: impl Iterator<Item = &'a str>) -> Vec<Item> {
    let keys = keys.map(|key| Some(key.to_owned()));
    let keys = [None].into_iter().chain(keys);
    let item = |key| Item {
        kind: kind.to_owned(),
        name: name.to_owned(),
        key,
    };
    keys.map(item).collect()
}

/// What pods name, and whether they require it.
fn named(pods: &PodSpec) -> Vec<(Item, bool)> {
    let mut found = Vec::new();
    let mut add = |kind: &str, name: &str, optional: Option<bool>, keys: Vec<&str>| {
        if !name.is_empty() {
            let items = items(kind, name, keys.into_iter()).into_iter();
            found.extend(items.map(|item| (item, optional != Some(true))));
        }
    };
    let containers = pods.init_containers.iter().flatten();
    let containers: Vec<_> = containers.chain(&pods.containers).collect();
    for container in &containers {
        for from in container.env_from.iter().flatten() {
            if let Some(whole) = &from.config_map_ref {
                add("ConfigMap", &whole.name, whole.optional, vec![]);
            }
            if let Some(whole) = &from.secret_ref {
                add("Secret", &whole.name, whole.optional, vec![]);
            }
        }
        let sources = container.env.iter().flatten();
        for from in sources.filter_map(|env| env.value_from.as_ref()) {
            if let Some(one) = &from.config_map_key_ref {
                add("ConfigMap", &one.name, one.optional, vec![&one.key]);
            }
            if let Some(one) = &from.secret_key_ref {
                add("Secret", &one.name, one.optional, vec![&one.key]);
            }
        }
    }
    let mounts = containers.iter().flat_map(|one| one.volume_mounts.iter());
    let mounts: Vec<_> = mounts.flatten().collect();
    for volume in pods.volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            add("PersistentVolumeClaim", &claim.claim_name, None, vec![]);
        }
        // The kubelet does not set up what no container mounts.
        let mounts = mounts.iter().filter(|mount| mount.name == volume.name);
        let sub_paths: Vec<_> = mounts.map(|mount| mount.sub_path.as_deref()).collect();
        if sub_paths.is_empty() {
            continue;
        }
        // The key that is a file of each mount. `None`: all of them are files in a folder.
        let files: Option<Vec<&str>> = sub_paths.into_iter().collect();
        if let Some(source) = &volume.config_map {
            let keys = keys(&source.items, files.clone());
            add("ConfigMap", &source.name, source.optional, keys);
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            add("Secret", name, source.optional, keys(&source.items, files));
        }
        let projected = volume.projected.iter().flat_map(|one| &one.sources);
        for source in projected.flatten() {
            if let Some(source) = &source.config_map {
                let keys = keys(&source.items, None);
                add("ConfigMap", &source.name, source.optional, keys);
            }
            if let Some(source) = &source.secret {
                let keys = keys(&source.items, None);
                add("Secret", &source.name, source.optional, keys);
            }
        }
    }
    let account = pods.service_account_name.as_deref().unwrap_or_default();
    add("ServiceAccount", account, None, vec![]);
    found
}

/// The keys that have to be there: those of the list, or else the files.
fn keys<'a>(items: &'a Option<Vec<KeyToPath>>, files: Option<Vec<&'a str>>) -> Vec<&'a str> {
    let keys: Vec<_> = items
        .iter()
        .flatten()
        .map(|item| item.key.as_str())
        .collect();
    match keys.is_empty() {
        true => files.unwrap_or_default(),
        false => keys,
    }
}
