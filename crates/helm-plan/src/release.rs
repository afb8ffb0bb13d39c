//! A release with its manifests parsed.
//!
//! In: a [`Record`]. Out: a [`Release`]: its resources, and its hooks with their objects. Refuses: a
//! manifest that cannot be parsed, with the revision and the hook.

use std::collections::BTreeMap;

use crate::{
    lifecycle::{ApplyMethod, DeletePolicy, Event, Operation, Stage, Status},
    manifest::{self, Object},
    record::{HookRecord, Record},
    yaml::Budget,
};

/// A manifest of a release that cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest of its resources.
    #[error("manifest of revision {revision}: {source}")]
    Manifest {
        /// The revision of the release.
        revision: u64,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// The manifest of a hook.
    #[error("hook {path} of revision {revision}: {source}")]
    Hook {
        /// The file of the chart that the hook comes from.
        path: String,
        /// The revision of the release.
        revision: u64,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// Its hooks run too often: one that lists an event a hundred times runs a hundred times.
    #[error("the hooks of revision {revision} create more than {MAX_HOOK_RUNS} objects")]
    TooManyRuns {
        /// The revision of the release.
        revision: u64,
    },
}

/// How many objects the hooks of a release may create, each run and each event counted. Real releases stay
/// below a hundred.
const MAX_HOOK_RUNS: usize = 20_000;

/// One revision of a release.
#[derive(Debug, Clone)]
pub struct Release {
    /// The name of the release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The number of the revision.
    pub revision: u64,
    /// The regular resources, in the order of the manifest.
    pub resources: Vec<Object>,
    /// The hooks, in the order of the record.
    pub hooks: Vec<Hook>,
    /// Whether its operation has succeeded and nothing has replaced it.
    pub deployed: bool,
    /// Whether Helm applies it server-side. A hook whose object exists is then patched; with client-side
    /// apply, creating it fails.
    pub server_side_apply: bool,
    /// Whether it was made by a rollback. Its hooks then say that they have run if they did in the revision
    /// that it copies, even those that do not run in a rollback.
    pub rolled_back: bool,
}

/// A hook of a release.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The name by which Helm sorts it.
    pub name: String,
    /// The kind that the record gives.
    kind: String,
    /// When it runs, each event once.
    pub events: Vec<Event>,
    /// How often the record lists each event: one that is listed twice runs the hook twice.
    runs: BTreeMap<Event, usize>,
    /// Hooks with a lower weight run first.
    pub weight: i64,
    /// Empty for Helm's default: see [`Hook::has_policy`].
    delete_policies: Vec<DeletePolicy>,
    /// Whether it has succeeded in this revision, or in the revision that this rollback copies.
    pub has_run: bool,
    /// Its objects. There is one, unless it is a list.
    pub objects: Vec<Object>,
}

impl Release {
    /// Parses the manifests of a record.
    ///
    /// # Errors
    /// One of them is not YAML, holds an object without a kind, or all of them together are too large.
    pub fn parse(record: Record) -> Result<Self, Error> {
        let namespace = record.namespace;
        let revision = record.version;
        let mut budget = Budget::default();
        let resources = manifest::parse_within(&record.manifest, &namespace, &mut budget)
            .map_err(|source| Error::Manifest { revision, source })?;
        let hooks = record.hooks.into_iter().map(|hook| {
            match manifest::parse_within(&hook.manifest, &namespace, &mut budget) {
                Ok(objects) => Ok(Hook::new(hook, objects)),
                Err(source) => Err(Error::Hook {
                    path: hook.path,
                    revision,
                    source,
                }),
            }
        });
        let hooks = hooks.collect::<Result<Vec<_>, _>>()?;
        let runs = hooks
            .iter()
            .map(Hook::created)
            .fold(0, usize::saturating_add);
        if runs > MAX_HOOK_RUNS {
            return Err(Error::TooManyRuns { revision });
        }
        let server_side_apply = record.apply_method == Some(ApplyMethod::ServerSide);
        Ok(Self {
            name: record.name,
            namespace,
            revision,
            resources,
            hooks,
            deployed: record.info.status == Status::Deployed,
            server_side_apply,
            rolled_back: record.info.rollback_target().is_some(),
        })
    }

    /// Whether the live objects are as this release's manifest says when `next` begins, because no failed
    /// operation came between them.
    pub fn is_live_before(&self, next: &Self) -> bool {
        self.deployed && self.revision.checked_add(1) == Some(next.revision)
    }

    /// The hooks that run at a stage, in Helm's order: by weight, then by name, then in the order of the
    /// record, which is by kind. A hook that lists an event twice is in it twice.
    pub fn hooks_at(&self, operation: Operation, stage: Stage) -> Vec<&Hook> {
        let event = operation.event(stage);
        let mut hooks: Vec<_> = self
            .hooks
            .iter()
            .flat_map(|hook| std::iter::repeat_n(hook, hook.runs_for(event)))
            .collect();
        hooks.sort_by_key(|hook| hook.order());
        hooks
    }
}

impl Hook {
    fn new(record: HookRecord, objects: Vec<Object>) -> Self {
        let mut runs = BTreeMap::new();
        let mut events = Vec::new();
        for event in record.events {
            let count = runs.entry(event).or_default();
            if *count == 0 {
                events.push(event);
            }
            *count += 1;
        }
        Self {
            name: record.name,
            kind: record.kind,
            events,
            runs,
            weight: record.weight,
            delete_policies: record.delete_policies,
            has_run: record.last_run.phase == "Succeeded",
            objects,
        }
    }

    /// The key that Helm sorts the hooks of one event by.
    pub(crate) fn order(&self) -> (i64, &str) {
        (self.weight, &self.name)
    }

    /// How many objects it creates, if all its events happen once.
    fn created(&self) -> usize {
        let runs = self.runs.values().copied().fold(0, usize::saturating_add);
        runs.saturating_mul(self.objects.len())
    }

    /// Whether it runs at a stage of this operation.
    pub fn runs_in(&self, operation: Operation, stage: Stage) -> bool {
        self.runs_for(operation.event(stage)) > 0
    }

    fn runs_for(&self, event: Event) -> usize {
        self.runs.get(&event).copied().unwrap_or_default()
    }

    /// Whether only `helm test` runs it.
    pub fn is_test(&self) -> bool {
        self.events.iter().all(|event| *event == Event::Test)
    }

    /// Whether it runs at any stage of this operation.
    pub fn runs_at(&self, operation: Operation) -> bool {
        [Stage::Pre, Stage::Post]
            .into_iter()
            .any(|stage| self.runs_in(operation, stage))
    }

    /// Whether Helm deletes its object by this policy. The default is `before-hook-creation`.
    pub fn has_policy(&self, policy: DeletePolicy) -> bool {
        let policies = &self.delete_policies;
        // Helm never deletes CRDs by a policy: all objects of the kind would be deleted too.
        self.kind != "CustomResourceDefinition"
            && match policies.is_empty() {
                true => policy == DeletePolicy::BeforeHookCreation,
                false => policies.contains(&policy),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, revision};

    #[test]
    fn a_hook_runs_as_often_as_it_lists_the_event() {
        let of = |events: &str| revision(1, &[&config("a").hook(events)]).release();
        let release = of("pre-upgrade,post-upgrade,pre-upgrade");
        let runs = |stage| release.hooks_at(Operation::Upgrade, stage).len();
        assert_eq!((runs(Stage::Pre), runs(Stage::Post)), (2, 1));
        let events: Vec<_> = release.hooks.iter().flat_map(|hook| &hook.events).collect();
        assert_eq!(events, [&Event::PreUpgrade, &Event::PostUpgrade]);
    }

    #[test]
    fn too_many_runs_are_an_error() {
        let of = |count: usize| {
            let events = vec!["pre-upgrade"; count].join(",");
            let content = revision(3, &[&config("a").hook(&events)]).content;
            let record = serde_json::from_value(content).unwrap();
            Release::parse(record)
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(of(MAX_HOOK_RUNS), Ok(()));
        assert_eq!(
            of(MAX_HOOK_RUNS + 1),
            Err("the hooks of revision 3 create more than 20000 objects".to_owned())
        );
    }
}
