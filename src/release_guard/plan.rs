//! What Helm will do, step by step.
//!
//! In: the release that is current and the one that is to be. Out: a [`Plan`], the list of the steps
//! that Helm takes, in order, each with its object and with what is known of it then. Refuses: a
//! manifest that cannot be parsed.
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
//! After an operation that failed, live objects may be as neither its manifest nor the one of before
//! says: then `keep` counts only where it was seen, and nothing is known to exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    manifest::{self, Object, ObjectId},
    record::{self, Hook},
    yaml::Budget,
};

/// What is done to the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Install,
    Upgrade,
    Rollback,
}

impl Operation {
    /// By the status of the pending record; `None` when it is not pending.
    pub fn from_status(status: &str) -> Option<Self> {
        match status {
            "pending-install" => Some(Self::Install),
            "pending-upgrade" => Some(Self::Upgrade),
            "pending-rollback" => Some(Self::Rollback),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }

    fn event(self, stage: Stage) -> String {
        format!("{}-{}", stage.name(), self.name())
    }
}

/// When the hooks of an event run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Pre,
    Post,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// A release with its manifests parsed.
#[derive(Debug, Clone)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub revision: u64,
    pub resources: Vec<Object>,
    /// Those of the resources that are known not to exist any more: somebody has deleted them.
    pub gone: BTreeSet<ObjectId>,
    pub hooks: Vec<ParsedHook>,
    /// Its operation went through.
    pub deployed: bool,
    /// Applied by the API server, which patches a hook onto an object that exists.
    pub server_side_apply: bool,
}

#[derive(Debug, Clone)]
pub struct ParsedHook {
    pub hook: Hook,
    /// One, but for a list.
    pub objects: Vec<Object>,
}

impl Release {
    /// Whether the live objects are as this release's manifest says, when `next` begins: no failed
    /// operation came between.
    pub fn is_live_before(&self, next: &Self) -> bool {
        self.deployed && self.revision.checked_add(1) == Some(next.revision)
    }

    /// Parses the manifests of a record.
    pub fn parse(record: record::Release) -> Result<Self, String> {
        let namespace = record.namespace;
        let revision = record.version;
        let mut budget = Budget::default();
        let resources = manifest::parse_within(&record.manifest, &namespace, &mut budget)
            .map_err(|error| format!("manifest of revision {revision}: {error}"))?;
        let hooks = record
            .hooks
            .into_iter()
            .map(
                |hook| match manifest::parse_within(&hook.manifest, &namespace, &mut budget) {
                    Ok(objects) => Ok(ParsedHook { hook, objects }),
                    Err(error) => Err(format!(
                        "hook {} of revision {revision}: {error}",
                        hook.path
                    )),
                },
            )
            .collect::<Result<_, _>>()?;
        let server_side_apply = record.apply_method.as_deref() == Some("ssa");
        Ok(Self {
            name: record.name,
            namespace,
            revision,
            resources,
            gone: BTreeSet::new(),
            hooks,
            deployed: record.info.status == "deployed",
            server_side_apply,
        })
    }

    /// The hooks that run at a stage, in Helm's order: by weight, then name; equal ones stay in the
    /// order of the record, which is by kind. A hook that lists an event twice runs twice.
    pub fn hooks_at(&self, operation: Operation, stage: Stage) -> Vec<&ParsedHook> {
        let event = operation.event(stage);
        let mut hooks: Vec<_> = self
            .hooks
            .iter()
            .flat_map(|hook| std::iter::repeat_n(hook, hook.runs_for(&event)))
            .collect();
        hooks.sort_by_key(|hook| hook.order());
        hooks
    }
}

impl ParsedHook {
    /// What hooks of one event are sorted by.
    pub fn order(&self) -> (i64, &str) {
        (self.hook.weight, &self.hook.name)
    }

    /// Whether it runs at a stage of this operation.
    pub fn runs_in(&self, operation: Operation, stage: Stage) -> bool {
        self.runs_for(&operation.event(stage)) > 0
    }

    fn runs_for(&self, event: &str) -> usize {
        let events = self.hook.events.iter();
        events.filter(|given| *given == event).count()
    }

    /// Whether only `helm test` runs it.
    pub fn is_test(&self) -> bool {
        self.hook.events.iter().all(|event| event == "test")
    }

    /// Whether this operation runs it, before or after.
    pub fn runs_at(&self, operation: Operation) -> bool {
        [Stage::Pre, Stage::Post]
            .into_iter()
            .any(|stage| self.runs_in(operation, stage))
    }

    /// In this revision, or in the one that it is a rollback to.
    pub fn has_run(&self) -> bool {
        self.hook.last_run.phase == "Succeeded"
    }

    /// Helm's default, when no policy is given, is to delete the old object before the hook.
    pub fn has_policy(&self, policy: &str) -> bool {
        let policies = &self.hook.delete_policies;
        // CRDs are never deleted: that would take all their objects with them.
        self.hook.kind != "CustomResourceDefinition"
            && match policies.is_empty() {
                true => policy == "before-hook-creation",
                false => policies.iter().any(|given| given == policy),
            }
    }
}

/// One thing that Helm does to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    pub object: ObjectId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// before-hook-creation: the object of the last run goes.
    DeleteBeforeHook(Stage),
    CreateHook(Stage),
    /// The hook meets an object that exists, and is patched onto it (server-side apply).
    PatchHook(Stage),
    /// The same with client-side apply: the API server answers 409, and the operation fails.
    Conflict(Stage),
    /// hook-succeeded.
    DeleteAfterHook(Stage),
    Apply,
    /// It left the release.
    Prune,
    /// It left the release, but has `helm.sh/resource-policy: keep`.
    Keep,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.action {
            Action::DeleteBeforeHook(stage) => {
                write!(f, "delete {object} before its {}-hook", stage.name())
            }
            Action::CreateHook(stage) => write!(f, "create {object} as {}-hook", stage.name()),
            Action::PatchHook(stage) => write!(f, "patch {object} as {}-hook", stage.name()),
            Action::Conflict(stage) => {
                write!(f, "fail: {object} exists and is a {}-hook", stage.name())
            }
            Action::DeleteAfterHook(stage) => {
                write!(
                    f,
                    "delete {object} after the {}-hooks (hook-succeeded)",
                    stage.name()
                )
            }
            Action::Apply => write!(f, "apply {object}"),
            Action::Prune => write!(f, "delete {object}, which left the release"),
            Action::Keep => write!(
                f,
                "keep {object}, which left the release (helm.sh/resource-policy)"
            ),
        }
    }
}

/// The steps of an operation, and what they leave behind.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The same by object: what is done to it, in order.
    actions: BTreeMap<ObjectId, Vec<Action>>,
    /// What is known of each object when the pods of the target start: after the prune.
    at_start: World,
    /// The same at the end.
    at_end: World,
}

/// What is known of an object. Nothing is known of those that are in neither map nor record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Present,
    Absent,
    Unknown,
}

impl Plan {
    /// Plays the operation on paper. `kept` are objects known to have
    /// `helm.sh/resource-policy: keep` on the live object, whatever their manifests say.
    pub fn new(
        operation: Operation,
        current: Option<&Release>,
        target: &Release,
        kept: &BTreeSet<ObjectId>,
    ) -> Self {
        let mut player = Player::new(current, target, kept);
        player.play(operation, current, target);
        player.plan
    }

    /// The operation ends before it is done: in the hooks of this stage.
    pub fn fails_at(&self) -> Option<Stage> {
        self.steps.iter().find_map(|step| match step.action {
            Action::Conflict(stage) => Some(stage),
            _ => None,
        })
    }

    pub fn fails(&self) -> bool {
        self.fails_at().is_some()
    }

    pub fn at_start(&self, object: &ObjectId) -> Presence {
        presence(&self.at_start, object)
    }

    pub fn at_end(&self, object: &ObjectId) -> Presence {
        presence(&self.at_end, object)
    }

    /// What is done to an object, in order.
    pub fn actions(&self, object: &ObjectId) -> impl DoubleEndedIterator<Item = Action> {
        self.actions.get(object).into_iter().flatten().copied()
    }
}

/// For each object that something is known of: whether it exists, and is kept from pruning.
type World = BTreeMap<ObjectId, Option<Live>>;

#[derive(Debug, Clone, Copy)]
struct Live {
    kept: bool,
    /// After an operation that failed, an object of the manifest may not be there.
    certain: bool,
}

fn presence(world: &World, object: &ObjectId) -> Presence {
    match world.get(object) {
        Some(Some(Live { certain: true, .. })) => Presence::Present,
        Some(None) => Presence::Absent,
        Some(Some(_)) | None => Presence::Unknown,
    }
}

struct Player {
    plan: Plan,
    world: World,
    /// Somebody else than Helm has annotated them with `keep`.
    kept_by_others: BTreeSet<ObjectId>,
    server_side_apply: bool,
}

impl Player {
    fn new(current: Option<&Release>, target: &Release, kept: &BTreeSet<ObjectId>) -> Self {
        let mut player = Self {
            plan: Plan::default(),
            world: World::new(),
            kept_by_others: kept.clone(),
            server_side_apply: target.server_side_apply,
        };
        let Some(current) = current else {
            return player;
        };
        let certain = current.is_live_before(target);
        for object in &current.resources {
            let id = &object.id;
            let kept = (certain && object.is_kept()) || kept.contains(id);
            let live = (!current.gone.contains(id)).then_some(Live { kept, certain });
            player.learn(id, live);
            // What it has applied and does not apply any more, server-side apply takes away.
            if current.server_side_apply && object.is_kept() {
                player.kept_by_others.remove(id);
            }
        }
        player
    }

    fn play(&mut self, operation: Operation, current: Option<&Release>, target: &Release) {
        self.hooks(operation, Stage::Pre, target);
        if !self.plan.fails() {
            self.apply(operation, target);
        }
        if !self.plan.fails() {
            self.prune(current, target);
        }
        self.plan.at_start = self.world.clone();
        if !self.plan.fails() {
            self.hooks(operation, Stage::Post, target);
        }
        self.plan.at_end = std::mem::take(&mut self.world);
    }

    fn hooks(&mut self, operation: Operation, stage: Stage, target: &Release) {
        let hooks = target.hooks_at(operation, stage);
        for hook in &hooks {
            if hook.has_policy("before-hook-creation") {
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
            .filter(|hook| hook.has_policy("hook-succeeded"))
        {
            hook.objects
                .iter()
                .for_each(|object| self.delete(Action::DeleteAfterHook(stage), object));
        }
    }

    fn create_hook(&mut self, stage: Stage, object: &Object) {
        let id = &object.id;
        let exists = self.exists(id);
        let action = match (exists, self.server_side_apply) {
            (false, _) => Action::CreateHook(stage),
            (true, true) => Action::PatchHook(stage),
            (true, false) => return self.step(Action::Conflict(stage), object),
        };
        self.step(action, object);
        // A patch leaves annotations that somebody else has set.
        let kept = object.is_kept() || (exists && self.kept_by_others.contains(id));
        self.put(id, kept);
    }

    fn apply(&mut self, operation: Operation, target: &Release) {
        for object in &target.resources {
            let id = &object.id;
            // An installation creates, without a look at what is there (install.go, performInstall);
            // all is sent, as with a list.
            if operation == Operation::Install && !self.server_side_apply && self.exists(id) {
                self.step(Action::Conflict(Stage::Pre), object);
                continue;
            }
            self.step(Action::Apply, object);
            self.put(id, object.is_kept());
        }
    }

    fn prune(&mut self, current: Option<&Release>, target: &Release) {
        let stay: BTreeSet<_> = target.resources.iter().map(|object| &object.id).collect();
        for object in current.into_iter().flat_map(|current| &current.resources) {
            if stay.contains(&object.id) {
                continue;
            }
            match self.world.get(&object.id) {
                Some(Some(Live { kept: true, .. })) => self.step(Action::Keep, object),
                Some(Some(Live { kept: false, .. })) => self.delete(Action::Prune, object),
                // Helm reads the object before it deletes it, and passes over what is not there.
                Some(None) | None => {}
            }
        }
    }

    /// For certain.
    fn exists(&self, id: &ObjectId) -> bool {
        matches!(self.world.get(id), Some(Some(Live { certain: true, .. })))
    }

    fn put(&mut self, id: &ObjectId, kept: bool) {
        let certain = true;
        self.learn(id, Some(Live { kept, certain }));
    }

    fn delete(&mut self, action: Action, object: &Object) {
        self.step(action, object);
        self.learn(&object.id, None);
    }

    /// Of objects whose name is made up nothing is ever known: each is another one.
    fn learn(&mut self, id: &ObjectId, live: Option<Live>) {
        if !id.name.is_empty() {
            self.world.insert(id.clone(), live);
        }
    }

    fn step(&mut self, action: Action, object: &Object) {
        let object = object.id.clone();
        let actions = self.plan.actions.entry(object.clone()).or_default();
        actions.push(action);
        self.plan.steps.push(Step { action, object });
    }
}

#[cfg(test)]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
mod tests;
