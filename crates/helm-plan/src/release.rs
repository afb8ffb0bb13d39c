//! A release with its manifests parsed.
//!
//! In: a [`Record`]. Out: a [`Release`]: its resources, and its hooks with the objects in them. Refuses: a
//! manifest that cannot be parsed.

use crate::{
    lifecycle::{DeletePolicy, Event, Operation, Stage, Status},
    manifest::{self, Object},
    record::{HookRecord, Record},
    yaml::Budget,
};

/// A manifest of a release that cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// That of its resources.
    #[error("manifest of revision {revision}: {source}")]
    Manifest {
        /// The revision of the release.
        revision: u64,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// That of a hook.
    #[error("hook {path} of revision {revision}: {source}")]
    Hook {
        /// The file of the chart that the hook comes from.
        path: String,
        /// The revision of the release.
        revision: u64,
        /// What is wrong with it.
        source: manifest::Error,
    },
}

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
    /// Its operation went through.
    pub deployed: bool,
    /// Applied by the API server, which patches a hook onto an object that exists.
    pub server_side_apply: bool,
}

/// A hook of a release.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The name by which Helm sorts it.
    pub name: String,
    /// The kind in the record.
    kind: String,
    /// The events at which it runs; one that is listed twice runs it twice.
    pub events: Vec<Event>,
    /// Hooks with a lower weight run first.
    pub weight: i64,
    /// Empty for Helm's default: see [`Hook::has_policy`].
    delete_policies: Vec<DeletePolicy>,
    /// Whether it has run in this revision, or in the one that this is a rollback to.
    pub has_run: bool,
    /// One, but for a list.
    pub objects: Vec<Object>,
}

impl Release {
    /// Parses the manifests of a record.
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
        let hooks = hooks.collect::<Result<_, _>>()?;
        let server_side_apply = record.apply_method.as_deref() == Some("ssa");
        Ok(Self {
            name: record.name,
            namespace,
            revision,
            resources,
            hooks,
            deployed: record.info.status == Status::Deployed,
            server_side_apply,
        })
    }

    /// Whether the live objects are as this release's manifest says, when `next` begins: no failed
    /// operation came between.
    pub fn is_live_before(&self, next: &Self) -> bool {
        self.deployed && self.revision.checked_add(1) == Some(next.revision)
    }

    /// The hooks that run at a stage, in Helm's order: by weight, then name; equal ones stay in the
    /// order of the record, which is by kind. A hook that lists an event twice runs twice.
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
        Self {
            name: record.name,
            kind: record.kind,
            events: record.events,
            weight: record.weight,
            delete_policies: record.delete_policies,
            has_run: record.last_run.phase == "Succeeded",
            objects,
        }
    }

    /// What hooks of one event are sorted by.
    pub fn order(&self) -> (i64, &str) {
        (self.weight, &self.name)
    }

    /// Whether it runs at a stage of this operation.
    pub fn runs_in(&self, operation: Operation, stage: Stage) -> bool {
        self.runs_for(operation.event(stage)) > 0
    }

    fn runs_for(&self, event: Event) -> usize {
        self.events.iter().filter(|given| **given == event).count()
    }

    /// Whether only `helm test` runs it.
    pub fn is_test(&self) -> bool {
        self.events.iter().all(|event| *event == Event::Test)
    }

    /// Whether this operation runs it, before or after.
    pub fn runs_at(&self, operation: Operation) -> bool {
        [Stage::Pre, Stage::Post]
            .into_iter()
            .any(|stage| self.runs_in(operation, stage))
    }

    /// Whether Helm deletes its object at this time. When no policy is given, the default is
    /// `before-hook-creation`.
    pub fn has_policy(&self, policy: DeletePolicy) -> bool {
        let policies = &self.delete_policies;
        // CRDs are never deleted: that would take all their objects with them.
        self.kind != "CustomResourceDefinition"
            && match policies.is_empty() {
                true => policy == DeletePolicy::BeforeHookCreation,
                false => policies.contains(&policy),
            }
    }
}
