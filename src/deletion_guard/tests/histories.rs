//! Random histories of creating, using, releasing and deleting, with a watch cache that lags behind, against a model.
//!
//! The model knows of each workload what its pods need, and no JSON. It predicts each answer: a deletion is rejected if and only if a
//! workload needs the object now, and the cache shows it as one that may.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection, prelude::*, sample};

use super::*;
use crate::cluster::{List, Review};

const CONFIGS: [&str; 3] = ["app", "app-2", "flags"];
const WORKLOADS: usize = 4;

/// What the pods of a template need: ConfigMaps, and whether they are optional.
type Needs = BTreeMap<&'static str, bool>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    /// Like a Deployment, but not of Kubernetes itself.
    Rollout,
}

#[derive(Debug, Clone)]
struct Workload {
    kind: Kind,
    /// Counts templates.
    generation: usize,
    needs: Needs,
    /// Pods of the previous template.
    old: Option<Needs>,
    idle: bool,
    /// Deleted in the foreground: it waits for its pods.
    deleting: bool,
    finished: bool,
    /// Deleted in the background: only its ReplicaSets are left, until the garbage collector comes.
    orphaned: bool,
}

/// Workloads by number.
type World = BTreeMap<usize, Workload>;

#[derive(Debug, Clone)]
enum Step {
    Apply(usize, Kind, Needs, bool),
    /// Its pods are all of the current template; a Job ends.
    RollOut(usize),
    Delete(usize, bool),
    CollectGarbage,
    /// The watch cache shows what there is.
    CatchUp,
    /// A request to delete a ConfigMap.
    Judge(&'static str),
}

fn step() -> impl Strategy<Value = Step> {
    let needs = || collection::btree_map(sample::select(&CONFIGS[..]), any::<bool>(), 0..3);
    let kind = sample::select(vec![
        Kind::Deployment,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::CronJob,
        Kind::Job,
        Kind::Rollout,
    ]);
    prop_oneof![
        4 => (0..WORKLOADS, kind, needs(), prop::bool::weighted(0.2))
            .prop_map(|(n, kind, needs, idle)| Step::Apply(n, kind, needs, idle)),
        2 => (0..WORKLOADS).prop_map(Step::RollOut),
        2 => (0..WORKLOADS, any::<bool>()).prop_map(|(n, foreground)| Step::Delete(n, foreground)),
        1 => Just(Step::CollectGarbage),
        4 => Just(Step::CatchUp),
        6 => sample::select(&CONFIGS[..]).prop_map(Step::Judge),
    ]
}

impl Workload {
    fn apply(previous: Option<&Self>, kind: Kind, needs: Needs, idle: bool) -> Self {
        let previous = previous.filter(|previous| previous.kind == kind && !previous.orphaned);
        let generation = previous.map_or(1, |previous| previous.generation + 1);
        let keeps_old_pods = matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::Rollout);
        Self {
            kind,
            generation,
            needs,
            // The pods before the previous ones are gone: one old template at a time.
            old: previous
                .filter(|_| keeps_old_pods)
                .map(|previous| previous.needs.clone()),
            idle,
            deleting: previous.is_some_and(|previous| previous.deleting),
            finished: false,
            orphaned: false,
        }
    }

    /// Whether its pods belong to ReplicaSets.
    fn has_sets(&self) -> bool {
        matches!(self.kind, Kind::Deployment | Kind::Rollout)
    }

    fn name(n: usize) -> String {
        format!("w-{n}")
    }

    /// The objects that surely need a config, or, as the cache sees it, may: by kind and name.
    /// ReplicaSets are looked at only `with_sets`.
    fn consumers(&self, n: usize, config: &str, may: bool, with_sets: bool) -> BTreeSet<String> {
        let required = |needs: &Needs| needs.get(config) == Some(&false);
        let name = format!("{:?} {}", self.kind, Self::name(n));
        let replica_set = |generation| format!("ReplicaSet {}-{generation}", Self::name(n));
        let mut consumers = BTreeSet::new();
        let is_there = !self.deleting && !self.finished;
        let (current, old) = (self.generation, self.generation - 1);
        let is_rolling_out = self.old.is_some();
        let of_old = self.old.as_ref().is_some_and(required);
        let is_sure = may || !self.idle;
        let mut add = |is: bool, consumer: String| {
            if is {
                consumers.insert(consumer);
            }
        };
        match self.kind {
            Kind::Deployment | Kind::Rollout => {
                add(
                    is_there && !self.orphaned && is_sure && required(&self.needs),
                    name,
                );
                // The cache knows nothing of owners.
                let counts = match may {
                    true => with_sets,
                    false => !self.deleting && !self.orphaned,
                };
                add(counts && required(&self.needs), replica_set(current));
                add(counts && of_old, replica_set(old));
            }
            Kind::StatefulSet => add(
                is_there && is_sure && (required(&self.needs) || of_old || may && is_rolling_out),
                name,
            ),
            Kind::DaemonSet | Kind::CronJob | Kind::Job => {
                add(is_there && is_sure && required(&self.needs), name);
            }
        }
        consumers
    }

    fn objects(&self, n: usize) -> Vec<Value> {
        let name = Self::name(n);
        let kind = format!("{:?}", self.kind);
        let pods = |needs: &Needs| {
            let from: Vec<_> = needs
                .iter()
                .map(|(name, optional)| json!({"configMapRef": {"name": name, "optional": optional}}))
                .collect();
            json!({"containers": [{"name": "c", "envFrom": from}]})
        };
        let mut others = json!({});
        if self.deleting {
            merge(
                &mut others,
                json!({"metadata": {"deletionTimestamp": "2026-11-30T00:00:00Z"}}),
            );
        }
        if self.finished {
            merge(
                &mut others,
                json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
            );
        }
        if self.idle {
            let idle = match self.kind {
                Kind::CronJob | Kind::Job => json!({"spec": {"suspend": true}}),
                Kind::Deployment | Kind::StatefulSet | Kind::Rollout => {
                    json!({"spec": {"replicas": 0}})
                }
                Kind::DaemonSet => json!({}),
            };
            merge(&mut others, idle);
        }
        let mut objects = Vec::new();
        let (current, old) = (self.generation, self.generation - 1);
        match self.kind {
            Kind::Deployment | Kind::Rollout => {
                let set = |generation, needs| {
                    workload(
                        "ReplicaSet",
                        &format!("{name}-{generation}"),
                        pods(needs),
                        owner(&kind, &name),
                    )
                };
                merge(
                    &mut others,
                    json!({
                        "metadata": {"generation": current},
                        "status": {
                            "observedGeneration": current,
                            "replicas": 2, "updatedReplicas": if self.old.is_some() { 1 } else { 2 },
                        },
                    }),
                );
                objects.push(set(current, &self.needs));
                objects.extend(self.old.iter().map(|needs| set(old, needs)));
            }
            Kind::StatefulSet => {
                let revision = |generation| format!("{name}-{generation}");
                let running = match self.old {
                    Some(_) => old,
                    None => current,
                };
                merge(
                    &mut others,
                    json!({"status": {
                        "currentRevision": revision(running), "updateRevision": revision(current),
                        "replicas": 2, "updatedReplicas": if self.old.is_some() { 1 } else { 2 },
                    }}),
                );
                objects.extend(self.old.iter().map(|needs| {
                    json!({
                        "apiVersion": "apps/v1", "kind": "ControllerRevision",
                        "metadata": {"namespace": "shop", "name": revision(old)},
                        "data": {"spec": {"template": {"spec": pods(needs)}}},
                    })
                }));
            }
            Kind::DaemonSet | Kind::CronJob | Kind::Job => {}
        }
        if !self.orphaned {
            objects.push(workload(&kind, &name, pods(&self.needs), others));
        }
        objects
    }
}

fn change(world: &mut World, step: Step) {
    match step {
        Step::Apply(n, kind, needs, idle) => {
            // A DaemonSet is always wanted somewhere.
            let idle = idle && kind != Kind::DaemonSet;
            let applied = Workload::apply(world.get(&n), kind, needs, idle);
            world.insert(n, applied);
        }
        Step::RollOut(n) => {
            if let Some(workload) = world.get_mut(&n) {
                workload.old = None;
                workload.finished = workload.kind == Kind::Job;
            }
        }
        Step::Delete(n, foreground) => match world.get_mut(&n) {
            Some(workload) if foreground => workload.deleting = true,
            Some(workload) if workload.has_sets() => workload.orphaned = true,
            _ => drop(world.remove(&n)),
        },
        Step::CollectGarbage => {
            world.retain(|_, workload| !workload.deleting && !workload.orphaned)
        }
        Step::CatchUp | Step::Judge(_) => {}
    }
}

fn consumers(world: &World, config: &str, may: bool) -> BTreeSet<String> {
    let is_rolled_out =
        |workload: &Workload| workload.has_sets() && workload.old.is_some() && !workload.orphaned;
    let with_sets = !may || world.values().any(is_rolled_out);
    let workloads = world.iter();
    workloads
        .flat_map(|(&n, workload)| workload.consumers(n, config, may, with_sets))
        .collect()
}

/// Lists are of some time ago; a single object is read from the API server.
struct Lagging {
    now: Objects,
    cache: Objects,
}

impl Lagging {
    fn new(now: &World, cache: &World) -> Self {
        let objects =
            |world: &World| cluster(world.iter().flat_map(|(&n, workload)| workload.objects(n)));
        Self {
            now: objects(now),
            cache: objects(cache),
        }
    }
}

impl Cluster for Lagging {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        self.now.get(object, fields)
    }

    fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
        self.cache.list(list)
    }

    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
        self.now.may_read(review)
    }
}

proptest! {
    #[test]
    fn only_what_is_needed_is_kept_and_all_of_it_but_for_the_lag(steps in collection::vec(step(), 1..60)) {
        let (mut now, mut cache) = (World::new(), World::new());
        for step in steps {
            match step {
                Step::CatchUp => cache = now.clone(),
                Step::Judge(config) => {
                    let verdict = crate::judge(&deletion_of("ConfigMap", config), &with_rollouts(), &Lagging::new(&now, &cache));
                    let needed = consumers(&now, config, false);
                    let shown = consumers(&cache, config, true);
                    prop_assert_eq!(
                        verdict.is_rejected(),
                        !needed.is_disjoint(&shown),
                        "{}: needed by {:?}, the cache shows {:?}: {:?}", config, needed, shown, verdict
                    );
                }
                step => change(&mut now, step),
            }
        }
    }
}
