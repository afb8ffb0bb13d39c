//! What Helm will do, step by step.
//!
//! In: the release that is current and the one that is to be. Out: a [`Plan`], the list of the steps
//! that Helm takes, in order, each with its object and with what is known of it then. Refuses: nothing.
//!
//! ```text
//! pre-hooks → apply the target's resources → prune what left the release → post-hooks
//! ```
//!
//! helm `pkg/action/upgrade.go` (releasingUpgrade), `rollback.go`, `hooks.go` (execHook) and
//! `pkg/kube/client.go` (update). Helm takes the same steps for `--no-hooks`, without the hooks; the
//! record does not tell.
//!
//! What the plan cannot know, since no record tells: whether a hook fails while it runs, whether the
//! API server refuses an object, and what hooks of earlier revisions left behind. That a hook of the
//! current revision ran does not mean that its object is there: its own upgrade may have pruned it
//! (the hook trap), and the record of a rollback tells of the runs of the revision that it copies.
//! After an operation that failed, live objects may match neither its manifest nor the previous one:
//! then `keep` counts only where it was seen, and nothing is known to exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    collect,
    lifecycle::{DeletePolicy, Operation, Stage},
    live::{Live, LiveObjects},
    manifest::{Object, ObjectId},
    metadata,
    release::Release,
};

/// One thing that Helm does to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What Helm does.
    pub action: Action,
    /// The object that Helm does it to.
    pub object: ObjectId,
}

/// What Helm does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Deletes the object of an earlier run (delete policy `before-hook-creation`).
    DeleteBeforeHook(Stage),
    /// Creates a hook.
    CreateHook(Stage),
    /// The object of a hook exists already, and is patched (server-side apply).
    PatchHook(Stage),
    /// The object exists already, and the API server answers 409 (client-side apply): the operation
    /// fails. Only where the object was seen, or made by the operation itself.
    Conflict(Stage),
    /// Deletes the object once the hooks of the event are done (delete policy `hook-succeeded`).
    DeleteAfterHook(Stage),
    /// Creates or patches a regular resource.
    Apply,
    /// Deletes what left the release.
    Prune,
    /// Leaves what left the release alone, because of `helm.sh/resource-policy: keep`.
    Keep,
}

/// For people: `create ConfigMap a as a pre-hook`
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.action {
            Action::DeleteBeforeHook(stage) => {
                let stage = stage.name();
                write!(f, "delete {object} before creating it as a {stage}-hook")
            }
            Action::CreateHook(stage) => write!(f, "create {object} as a {}-hook", stage.name()),
            Action::PatchHook(stage) => write!(f, "patch {object} as a {}-hook", stage.name()),
            Action::Conflict(_) => {
                write!(f, "fail to create {object}, because it already exists")
            }
            Action::DeleteAfterHook(stage) => write!(
                f,
                "delete {object} after the {}-hooks (delete policy hook-succeeded)",
                stage.name()
            ),
            Action::Apply => write!(f, "apply {object}"),
            Action::Prune => write!(f, "delete {object}, because it is no longer in the release"),
            Action::Keep => write!(
                f,
                "keep {object}, which is no longer in the release (helm.sh/resource-policy: keep)"
            ),
        }
    }
}

/// The steps of an operation, and what they leave behind.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What Helm does, in order.
    pub steps: Vec<Step>,
    /// The same by object: what is done to it, in order.
    actions: BTreeMap<ObjectId, Vec<Action>>,
    fails_at: Option<Stage>,
    /// What is known of each object when the pods of the target start: after the prune.
    after_prune: World,
    /// The same at the end.
    at_end: World,
}

/// What is known of an object. Nothing is known of those that are in neither map nor record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It exists.
    Present,
    /// It does not exist.
    Absent,
    /// No record tells.
    Unknown,
}

impl Plan {
    /// Simulates the operation step by step, as Helm will run it.
    pub fn new(
        operation: Operation,
        current: Option<&Release>,
        target: &Release,
        live: &LiveObjects,
    ) -> Self {
        let mut simulation = Simulation::new(current, target, live);
        simulation.run(operation, current, target);
        simulation.plan
    }

    /// The operation ends before it is done: in the hooks of this stage.
    pub fn fails_at(&self) -> Option<Stage> {
        self.fails_at
    }

    /// The operation ends before it is done.
    pub fn fails(&self) -> bool {
        self.fails_at().is_some()
    }

    /// What is known of an object when the pods of the target start: after the prune.
    pub fn after_prune(&self, object: &ObjectId) -> Presence {
        presence(&self.after_prune, object)
    }

    /// What is known of an object when the operation is done.
    pub fn at_end(&self, object: &ObjectId) -> Presence {
        presence(&self.at_end, object)
    }

    /// What is done to an object, in order.
    pub fn actions(&self, object: &ObjectId) -> impl DoubleEndedIterator<Item = Action> {
        self.actions.get(object).into_iter().flatten().copied()
    }
}

/// For each object that something is known of: `None` if it does not exist.
type World = BTreeMap<ObjectId, Option<Existing>>;

/// An object that exists.
#[derive(Debug, Clone, Copy)]
struct Existing {
    /// Helm does not prune it.
    kept: bool,
    evidence: Evidence,
}

/// How it is known that an object exists; the strongest comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// It is in the manifest of a release whose operation failed, or that is not the last one.
    Doubtful,
    /// It is in the manifest of the release that is deployed. Somebody may have deleted it, or it has
    /// expired, like a Job.
    Manifest,
    /// It was seen.
    Seen,
    /// This operation has made it.
    Made,
}

fn presence(world: &World, object: &ObjectId) -> Presence {
    match world.get(object) {
        Some(Some(existing)) if existing.evidence >= Evidence::Manifest => Presence::Present,
        Some(None) => Presence::Absent,
        Some(Some(_)) | None => Presence::Unknown,
    }
}

struct Simulation {
    plan: Plan,
    world: World,
    /// Somebody else than Helm has annotated them with `keep`.
    kept_by_others: BTreeSet<ObjectId>,
    server_side_apply: bool,
}

impl Simulation {
    fn new(current: Option<&Release>, target: &Release, live: &LiveObjects) -> Self {
        let kept = |live: &Live| matches!(live, Live::Present(object) if metadata::is_kept(object));
        let mut simulation = Self {
            plan: Plan::default(),
            world: World::new(),
            kept_by_others: collect::set(
                live.iter()
                    .filter(|(_, live)| kept(live))
                    .map(|(id, _)| id.clone()),
            ),
            server_side_apply: target.server_side_apply,
        };
        let is_live = current.is_some_and(|current| current.is_live_before(target));
        let evidence = match is_live {
            true => Evidence::Manifest,
            false => Evidence::Doubtful,
        };
        for object in current.into_iter().flat_map(|current| &current.resources) {
            let kept = is_live && object.is_kept();
            simulation.learn(&object.id, Some(Existing { kept, evidence }));
        }
        for (id, live) in live.iter() {
            let evidence = Evidence::Seen;
            match live {
                Live::Absent => simulation.learn(id, None),
                Live::Present(object) => {
                    let kept = metadata::is_kept(object);
                    simulation.learn(id, Some(Existing { kept, evidence }));
                }
                Live::Denied(_) | Live::Unknown => {}
            }
        }
        // What it has applied and does not apply any more, server-side apply takes away.
        let current = current.filter(|current| current.server_side_apply);
        for object in current.into_iter().flat_map(|current| &current.resources) {
            if object.is_kept() {
                simulation.kept_by_others.remove(&object.id);
            }
        }
        simulation
    }

    fn run(&mut self, operation: Operation, current: Option<&Release>, target: &Release) {
        self.hooks(operation, Stage::Pre, target);
        if !self.plan.fails() {
            self.apply(operation, target);
        }
        if !self.plan.fails() {
            self.prune(current, target);
        }
        self.plan.after_prune = self.world.clone();
        if !self.plan.fails() {
            self.hooks(operation, Stage::Post, target);
        }
        self.plan.at_end = std::mem::take(&mut self.world);
    }

    fn hooks(&mut self, operation: Operation, stage: Stage, target: &Release) {
        let hooks = target.hooks_at(operation, stage);
        for hook in &hooks {
            if hook.has_policy(DeletePolicy::BeforeHookCreation) {
                hook.objects
                    .iter()
                    .for_each(|object| self.delete(Action::DeleteBeforeHook(stage), object));
            }
            // Those of a list are all sent, whatever becomes of the others.
            hook.objects
                .iter()
                .for_each(|object| self.create_hook(stage, object));
            if self.plan.fails() {
                return;
            }
        }
        for hook in hooks
            .iter()
            .rev()
            .filter(|hook| hook.has_policy(DeletePolicy::HookSucceeded))
        {
            hook.objects
                .iter()
                .for_each(|object| self.delete(Action::DeleteAfterHook(stage), object));
        }
    }

    fn create_hook(&mut self, stage: Stage, object: &Object) {
        let id = &object.id;
        let exists = self.exists(id, Evidence::Manifest);
        let action = match self.server_side_apply {
            true if exists => Action::PatchHook(stage),
            // What only a manifest tells may be gone, and the operation then goes on: a failure that is
            // supposed must not hide what comes after it.
            false if self.exists(id, Evidence::Seen) => {
                return self.step(Action::Conflict(stage), object);
            }
            true | false => Action::CreateHook(stage),
        };
        self.step(action, object);
        // A patch leaves annotations that somebody else has set.
        let kept = object.is_kept() || (exists && self.kept_by_others.contains(id));
        self.put(id, kept);
    }

    fn apply(&mut self, operation: Operation, target: &Release) {
        for object in &target.resources {
            let id = &object.id;
            // An installation creates what was not there when it began (install.go, performInstall); all is
            // sent, as with a list.
            let is_install = operation == Operation::Install && !self.server_side_apply;
            if is_install && self.exists(id, Evidence::Made) {
                self.step(Action::Conflict(Stage::Pre), object);
                continue;
            }
            self.step(Action::Apply, object);
            self.put(id, object.is_kept());
        }
    }

    fn prune(&mut self, current: Option<&Release>, target: &Release) {
        let stay = collect::set(target.resources.iter().map(|object| &object.id));
        for object in current.into_iter().flat_map(|current| &current.resources) {
            if stay.contains(&object.id) {
                continue;
            }
            match self.world.get(&object.id) {
                Some(Some(Existing { kept: true, .. })) => self.step(Action::Keep, object),
                Some(Some(Existing { kept: false, .. })) => self.delete(Action::Prune, object),
                // Helm reads the object before it deletes it, and passes over what is not there.
                Some(None) | None => {}
            }
        }
    }

    /// Whether it exists, by evidence that is at least this strong.
    fn exists(&self, id: &ObjectId, least: Evidence) -> bool {
        matches!(self.world.get(id), Some(Some(existing)) if existing.evidence >= least)
    }

    fn put(&mut self, id: &ObjectId, kept: bool) {
        let evidence = Evidence::Made;
        self.learn(id, Some(Existing { kept, evidence }));
    }

    fn delete(&mut self, action: Action, object: &Object) {
        self.step(action, object);
        self.learn(&object.id, None);
    }

    /// Of objects whose name is made up nothing is ever known: each is another one.
    fn learn(&mut self, id: &ObjectId, existing: Option<Existing>) {
        if !id.name.is_empty() {
            self.world.insert(id.clone(), existing);
        }
    }

    fn step(&mut self, action: Action, object: &Object) {
        if let Action::Conflict(stage) = action {
            self.plan.fails_at.get_or_insert(stage);
        }
        let object = object.id.clone();
        let actions = self.plan.actions.entry(object.clone()).or_default();
        actions.push(action);
        self.plan.steps.push(Step { action, object });
    }
}

#[cfg(test)]
mod tests;
