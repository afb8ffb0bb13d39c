//! What is wrong with a plan.
//!
//! In: the plan of an operation, and the two releases. Out: [`Finding`]s, in the order of the
//! manifests, at most one for each object and lint. Refuses: a workload whose pod template cannot be
//! read.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{
    declared::Declared,
    manifest::{Object, ObjectId},
    plan::{Action, Operation, ParsedHook, Plan, Presence, Release, Stage},
    users::{User, When, users},
};

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lint {
    /// A hook of the target is a regular resource of the current release: created, then pruned.
    HookPruned,
    /// The same, of an object that only hook pods use before it goes.
    HookHelperPruned,
    /// A pod of the target needs what this operation removes.
    DanglingReference,
    /// The same, removed by the hook's own delete policy.
    HookSelfDeleted,
    /// A workload needs what only a post-hook creates.
    HookTooLate,
    /// A hook meets an object that exists, and the operation fails.
    HookConflict,
    /// A PersistentVolumeClaim is deleted and made anew, each time.
    HookRecreatesStorage,
    /// A config changes, and nothing makes its workload notice.
    NoRollout,
}

impl Lint {
    /// Whether the release loses something that it needs.
    pub fn is_loss(self) -> bool {
        matches!(
            self,
            Self::HookPruned
                | Self::HookHelperPruned
                | Self::DanglingReference
                | Self::HookSelfDeleted
        )
    }

    pub const ALL: [Self; 8] = [
        Self::HookPruned,
        Self::HookHelperPruned,
        Self::DanglingReference,
        Self::HookSelfDeleted,
        Self::HookTooLate,
        Self::HookConflict,
        Self::HookRecreatesStorage,
        Self::NoRollout,
    ];

    /// As in the settings and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::HookPruned => "hook-pruned",
            Self::HookHelperPruned => "hook-helper-pruned",
            Self::DanglingReference => "dangling-reference",
            Self::HookSelfDeleted => "hook-self-deleted",
            Self::HookTooLate => "hook-too-late",
            Self::HookConflict => "hook-conflict",
            Self::HookRecreatesStorage => "hook-recreates-storage",
            Self::NoRollout => "no-rollout",
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub lint: Lint,
    pub object: ObjectId,
    /// What Helm would do, and what follows.
    pub reason: String,
    /// Who needs the object: `Deployment web`.
    pub users: Vec<String>,
    /// What to do about it.
    pub ways_out: Vec<String>,
    /// Something else may make the object anew: never more than a warning.
    pub uncertain: bool,
    /// The hook runs before the prune, so that `helm.sh/resource-policy: keep` at its CREATE saves it.
    pub rescuable: bool,
    /// The API version to look the live object up with, where that can change the finding: Helm spares
    /// it for its annotation, or somebody has deleted it.
    pub depends_on_live: Option<String>,
}

/// What findings are read off.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub operation: Operation,
    /// `None` for an install.
    pub current: Option<&'a Release>,
    pub target: &'a Release,
    pub plan: &'a Plan,
}

/// Reads the findings off a plan.
pub fn findings(case: Case<'_>) -> Result<Vec<Finding>, String> {
    let before = Declared::by(case.current);
    let mut users = users(&before, case.target, case.operation)?;
    // A hook that stays until it is pruned needs nothing afterwards.
    users.retain(|user| {
        !matches!(user.when, When::LastingHook(_))
            || case.plan.at_end(&user.object.id) != Presence::Absent
    });
    let mut by_need: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for user in &users {
        by_need.entry(&user.needs).or_default().push(user);
    }
    let reader = Reader {
        case,
        before,
        target: Declared::by(Some(case.target)),
        users: by_need,
        named: OnceCell::new(),
        bindings: OnceCell::new(),
    };
    let mut seen = BTreeSet::new();
    let findings = case
        .objects()
        .filter(|object| seen.insert(&object.id))
        .flat_map(|object| reader.read(&object.id));
    Ok(findings.collect())
}

impl<'a> Case<'a> {
    /// Every object that the operation may touch.
    fn objects(self) -> impl Iterator<Item = &'a Object> {
        let current = self
            .current
            .into_iter()
            .flat_map(|current| &current.resources);
        current.chain(self.of_target())
    }

    fn of_target(self) -> impl Iterator<Item = &'a Object> {
        let hooks = self.target.hooks.iter().flat_map(|hook| &hook.objects);
        hooks.chain(&self.target.resources)
    }

    /// `revision 3`
    fn before(self) -> String {
        self.current
            .map(|current| format!("revision {}", current.revision))
            .unwrap_or_default()
    }
}

struct Reader<'a> {
    case: Case<'a>,
    /// What the current release declares.
    before: Declared<'a>,
    target: Declared<'a>,
    /// By the object that they need.
    users: BTreeMap<&'a ObjectId, Vec<&'a User<'a>>>,
    /// The custom resources of the target, by what they name.
    named: OnceCell<BTreeMap<&'a str, Vec<&'a Object>>>,
    /// The role bindings of the target, by the name of their role.
    bindings: OnceCell<BTreeMap<&'a str, Vec<&'a Object>>>,
}

impl<'a> Reader<'a> {
    /// The findings about one object. Each lint excludes those after it, but for the last two, which
    /// are about objects that stay.
    fn read(&self, id: &ObjectId) -> Vec<Finding> {
        let plan = self.case.plan;
        let last = plan.actions(id).last();
        if let Some(Action::Conflict(stage)) = last {
            return vec![self.conflict(id, stage)];
        }
        // Nothing is pruned then. A failure in the post-hooks comes too late for that.
        if plan.fails_at() == Some(Stage::Pre) {
            return Vec::new();
        }
        let lost = plan.at_end(id) == Presence::Absent;
        match last {
            Some(Action::Prune) if lost => self
                .hook_pruned(id)
                .or_else(|| self.dangling(id))
                .into_iter()
                .collect(),
            Some(Action::DeleteAfterHook(stage)) if lost => {
                self.self_deleted(id, stage).into_iter().collect()
            }
            _ => [
                self.may_conflict(id),
                self.too_late(id),
                self.dangling_key(id),
                self.recreates_storage(id),
                self.no_rollout(id),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    fn was_regular(&self, id: &ObjectId) -> bool {
        !self.before.resources(id).is_empty()
    }

    /// The target's hooks that hold the object and belong to an install, upgrade or rollback: test and
    /// delete hooks are about another time.
    fn lifecycle_hooks(&self, id: &ObjectId) -> Vec<&'a ParsedHook> {
        let lives = |event: &String| {
            ["-install", "-upgrade", "-rollback"]
                .iter()
                .any(|operation| event.ends_with(operation))
        };
        let hooks = self.target.hooks(id).iter().map(|(hook, _)| *hook);
        hooks
            .filter(|hook| hook.hook.events.iter().any(lives))
            .collect()
    }

    /// What is in a ConfigMap or Secret before and after the operation, if anything uses it.
    fn data(&self, id: &ObjectId) -> Option<(Data<'a>, Data<'a>)> {
        let is_config = id.group.is_empty() && matches!(id.kind.as_str(), "ConfigMap" | "Secret");
        if !is_config || !self.users.contains_key(id) {
            return None;
        }
        let (before, after) = (self.content_before(id)?, self.content_after(id)?);
        let plan = self.case.plan;
        let mut after = data(after);
        let before_data = data(before);
        // The merge takes away what the manifest of before had, and a hook was in none.
        let merged_onto_hook = !self.case.target.server_side_apply && !self.was_regular(id);
        if merged_onto_hook && plan.actions(id).last() == Some(Action::Apply) {
            for (key, value) in &before_data {
                after.entry(key).or_insert_with(|| value.clone());
            }
        }
        let mut actions = plan.actions(id);
        if !actions.any(|action| matches!(action, Action::CreateHook(_))) {
            // The API server adds what is in stringData to data, and takes nothing away.
            for key in strings(before).into_iter().flat_map(Map::keys) {
                let value = before_data.get(key.as_str()).cloned().unwrap_or_default();
                after.entry(key).or_insert(value);
            }
        }
        Some((before_data, after))
    }

    /// The current revision's last hook that holds the object.
    fn hook_before(&self, id: &ObjectId) -> Option<&'a ParsedHook> {
        self.before.hooks(id).last().map(|(hook, _)| *hook)
    }

    /// The object as the current revision has written it.
    fn content_before(&self, id: &ObjectId) -> Option<&'a Value> {
        let mut hooks = self.before.hooks(id).iter();
        let hook = hooks.find(|(hook, _)| hook.has_run());
        // Of two documents for one object the last counts.
        let object = self.before.resources(id).last();
        let object = object.or(hook.map(|(_, object)| object));
        object.map(|object| &object.body)
    }

    /// The same as this operation writes it last. A hook that does not run writes nothing.
    fn content_after(&self, id: &ObjectId) -> Option<&'a Value> {
        let object = match self.case.plan.actions(id).last()? {
            Action::Apply => *self.target.resources(id).last()?,
            Action::CreateHook(stage) | Action::PatchHook(stage) => {
                let hooks = self.target.hooks(id).iter();
                let run = hooks.filter(|(hook, _)| hook.runs_in(self.case.operation, stage));
                run.max_by_key(|(hook, _)| hook.order())?.1
            }
            _ => return None,
        };
        Some(&object.body)
    }

    fn hook_pruned(&self, id: &ObjectId) -> Option<Finding> {
        let Case {
            operation,
            target,
            plan,
            ..
        } = self.case;
        let hooks = self.lifecycle_hooks(id);
        let on_purpose = hooks.iter().any(|hook| hook.has_policy("hook-succeeded"));
        if hooks.is_empty() || on_purpose || id.runs_to_completion() || !self.was_regular(id) {
            return None;
        }
        let mut events = Vec::new();
        for event in hooks.iter().flat_map(|hook| &hook.hook.events) {
            if !events.contains(&event.as_str()) {
                events.push(event.as_str());
            }
        }
        let runs = plan
            .actions(id)
            .any(|action| matches!(action, Action::CreateHook(_) | Action::PatchHook(_)));
        let course = match runs {
            true => format!(
                "Helm makes it in the pre-{} hooks, then deletes it as no longer in the manifest",
                operation.name()
            ),
            false => format!(
                "Helm deletes it as no longer in the manifest, and no hook of this {} makes it again",
                operation.name()
            ),
        };
        let reason = format!(
            "regular in {}, a hook ({}) in revision {}: {course}",
            self.case.before(),
            events.join(", "),
            target.revision,
        );
        let lint = if self.is_helper(id, &events) {
            Lint::HookHelperPruned
        } else {
            Lint::HookPruned
        };
        let mut ways_out = vec![match operation {
            // The target of a rollback is what it is.
            Operation::Rollback => {
                "upgrade to a chart that has it as a regular resource, instead of rolling back"
                    .to_owned()
            }
            _ => "keep it a regular resource: remove the annotation helm.sh/hook".to_owned(),
        }];
        match runs {
            true if operation == Operation::Rollback => {}
            true => ways_out.push(
                "let Helm pass over it: add the annotation helm.sh/resource-policy: keep to the hook"
                    .to_owned(),
            ),
            false => ways_out.push(keep_live(id)),
        }
        Some(Finding {
            users: self.names(id, |user| !user.optional),
            ways_out,
            rescuable: runs,
            depends_on_live: self.pruned_as_it_is(id),
            ..Finding::new(lint, id, reason)
        })
    }

    fn dangling(&self, id: &ObjectId) -> Option<Finding> {
        let users = self.names(id, |user| !user.optional && user.when.is_after_prune());
        if users.is_empty() {
            return None;
        }
        // A custom workload names what its pods need.
        let using: BTreeSet<_> = self.of(id).map(|user| &user.object.id).collect();
        let mut makers = self.naming(&id.name).iter();
        let maker = makers
            .find(|object| object.id.namespace == id.namespace && !using.contains(&object.id));
        let is_named = self.of(id).any(|user| !user.kept_by_api_server);
        let follows = match is_named {
            true => "the pods that need it cannot start",
            false => {
                "the workloads that no longer name one keep it (kubernetes/kubernetes#72519), so that their pods cannot start"
            }
        };
        let reason = format!(
            "in {}, not in revision {}: Helm deletes it, and {follows}",
            self.case.before(),
            self.case.target.revision
        );
        let way_out = match self.case.operation {
            _ if !is_named => "name another in the workload: serviceAccountName: default",
            Operation::Rollback => "upgrade to a chart that has it, instead of rolling back",
            _ => "put it back into the chart, or remove the references to it",
        };
        Some(Finding {
            users,
            ways_out: vec![way_out.to_owned(), keep_live(id)],
            uncertain: maker.is_some(),
            depends_on_live: self.pruned_as_it_is(id),
            reason: match maker {
                Some(maker) => format!("{reason}, unless {} makes it anew", maker.id),
                None => reason,
            },
            ..Finding::new(Lint::DanglingReference, id, String::new())
        })
    }

    /// The object stays, and a key that pods need goes.
    fn dangling_key(&self, id: &ObjectId) -> Option<Finding> {
        let (before, after) = self.data(id)?;
        let gone = |key: &String| {
            let key = key.as_str();
            before.contains_key(key) && !after.contains_key(key)
        };
        let lost_key = |user: &User<'_>| user.keys.iter().flatten().find(|key| gone(key)).cloned();
        let needs = |user: &User<'_>| {
            !user.optional && user.when.is_after_prune() && lost_key(user).is_some()
        };
        let users = self.names(id, needs);
        let key = self.of(id).filter(|user| needs(user)).find_map(lost_key)?;
        let reason = format!(
            "its key {key:?} is in {}, not in revision {}: the pods that need the key cannot start",
            self.case.before(),
            self.case.target.revision
        );
        Some(Finding {
            users,
            ways_out: vec![match self.case.operation {
                Operation::Rollback => {
                    "upgrade to a chart that has the key, instead of rolling back".to_owned()
                }
                _ => "put the key back, or remove the references to it".to_owned(),
            }],
            ..Finding::new(Lint::DanglingReference, id, reason)
        })
    }

    fn self_deleted(&self, id: &ObjectId, stage: Stage) -> Option<Finding> {
        let later = |user: &User<'_>| match user.when {
            When::Workload | When::LastingHook(_) => true,
            When::Hook(of) => stage == Stage::Pre && of == Stage::Post,
            When::Later => false,
        };
        let users = self.names(id, |user| !user.optional && later(user));
        let hooks = format!("{}-{}", stage.name(), self.case.operation.name());
        let course = match stage {
            Stage::Pre => "before the pods that need it start".to_owned(),
            Stage::Post => {
                format!("once the {hooks} hooks are done, and pods that need it cannot start")
            }
        };
        let reason = format!(
            "a {hooks} hook with the delete policy hook-succeeded: Helm deletes it {course}"
        );
        (!users.is_empty()).then(|| Finding {
            users,
            ways_out: vec![
                "make it a regular resource: remove the annotation helm.sh/hook".to_owned(),
                "remove hook-succeeded from its helm.sh/hook-delete-policy".to_owned(),
            ],
            ..Finding::new(Lint::HookSelfDeleted, id, reason)
        })
    }

    fn too_late(&self, id: &ObjectId) -> Option<Finding> {
        let Case {
            operation, plan, ..
        } = self.case;
        let missing_at_start = match plan.at_start(id) {
            Presence::Absent => true,
            // A hook of before may have left it.
            Presence::Unknown => self.hook_before(id).is_none(),
            Presence::Present => false,
        };
        let made_after = plan.actions(id).last() == Some(Action::CreateHook(Stage::Post));
        let start_before = |when| matches!(when, When::Workload | When::LastingHook(Stage::Pre));
        let users = self.names(id, |user| !user.optional && start_before(user.when));
        let reason = format!(
            "only a post-{} hook makes it, after the pods that need it: with --wait, Helm waits for them in vain",
            operation.name()
        );
        (missing_at_start && made_after && !users.is_empty()).then(|| Finding {
            users,
            ways_out: vec![format!(
                "make it a regular resource, or a pre-{} hook",
                operation.name()
            )],
            ..Finding::new(Lint::HookTooLate, id, reason)
        })
    }

    fn conflict(&self, id: &ObjectId, stage: Stage) -> Finding {
        let operation = self.case.operation;
        if operation == Operation::Install && !self.target.resources(id).is_empty() {
            let reason = "the chart has it twice (as a pre-install hook and a regular resource, or in two documents): creating it again fails, and with it the install";
            return Finding {
                ways_out: vec!["have it once".to_owned()],
                ..Finding::new(Lint::HookConflict, id, reason.to_owned())
            };
        }
        let reason = format!(
            "it exists, and its {}-{} hook has no before-hook-creation: creating it fails, and with it the {1}",
            stage.name(),
            operation.name()
        );
        Finding {
            ways_out: vec!["add before-hook-creation to its helm.sh/hook-delete-policy".to_owned()],
            depends_on_live: self.api_version(id),
            ..Finding::new(Lint::HookConflict, id, reason)
        }
    }

    /// The current revision has made it, and nothing deletes it since: whether it is still there is not
    /// in the records.
    fn may_conflict(&self, id: &ObjectId) -> Option<Finding> {
        let Some(Action::CreateHook(stage)) = self.case.plan.actions(id).next() else {
            return None;
        };
        let left = self
            .hook_before(id)
            .is_some_and(|hook| hook.has_run() && !hook.has_policy("hook-succeeded"));
        let may_be_left = left || self.was_regular(id);
        (!self.case.target.server_side_apply && may_be_left).then(|| {
            let reason = format!(
                "{} made it, and its {}-{} hook has no before-hook-creation: if it is still there, creating it fails, and with it the {2}",
                self.case.before(),
                stage.name(),
                self.case.operation.name()
            );
            Finding {
                reason,
                uncertain: true,
                ..self.conflict(id, stage)
            }
        })
    }

    fn recreates_storage(&self, id: &ObjectId) -> Option<Finding> {
        let deleted = self
            .case
            .plan
            .actions(id)
            .any(|action| matches!(action, Action::DeleteBeforeHook(_)));
        let recreated = deleted
            && id.kind == "PersistentVolumeClaim"
            && self.case.operation != Operation::Install;
        let reason = format!(
            "a hook with before-hook-creation: each {} deletes it, with its data, and makes it anew",
            self.case.operation.name()
        );
        recreated.then(|| Finding {
            users: self.names(id, |_| true),
            ways_out: vec![
                "make it a regular resource with helm.sh/resource-policy: keep".to_owned(),
            ],
            ..Finding::new(Lint::HookRecreatesStorage, id, reason)
        })
    }

    fn no_rollout(&self, id: &ObjectId) -> Option<Finding> {
        let Case {
            current: Some(current),
            target,
            ..
        } = self.case
        else {
            return None;
        };
        if target.server_side_apply || !current.is_live_before(target) {
            return None;
        }
        let (before, after) = self.data(id)?;
        let changed = |user: &User<'_>| match &user.keys {
            None => before != after,
            Some(keys) => keys
                .iter()
                .map(String::as_str)
                .any(|key| before.get(key) != after.get(key)),
        };
        let stays = |user: &User<'_>| {
            user.when == When::Workload
                && user.object.body.pointer("/spec/template").is_some()
                && user.object.id.kind != "Job"
                && self
                    .before
                    .resources(&user.object.id)
                    .first()
                    .is_some_and(|old| old.body == user.object.body)
        };
        let users = self.names(id, |user| changed(user) && stays(user));
        let reason = match users.len() {
            0 => return None,
            1 => {
                "it changes, and the workload that uses it does not: Helm sends no request for the workload, and its pods keep the old config"
            }
            _ => {
                "it changes, and the workloads that use it do not: Helm sends no request for them, and their pods keep the old config"
            }
        };
        Some(Finding {
            users,
            ways_out: vec![
                "add an annotation with {{ .Release.Revision }} to the metadata of the workload (not of its pod template)".to_owned(),
            ],
            ..Finding::new(Lint::NoRollout, id, reason.to_owned())
        })
    }

    /// Whether only pods of hooks use it, and each of these comes with a hook that makes it first:
    /// nobody is left who could miss it. `events` are those of its own hooks.
    fn is_helper(&self, id: &ObjectId, events: &[&str]) -> bool {
        match (id.group.as_str(), id.kind.as_str()) {
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
                let mut bindings = self.target.all(id);
                bindings.any(|binding| self.binds_helpers(binding, events))
            }
            ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
                let mut bindings = self.bindings(id).peekable();
                bindings.peek().is_some()
                    && bindings.all(|binding| self.binds_helpers(binding, events))
            }
            _ => {
                let is_served = |user: &User<'_>| {
                    !matches!(user.when, When::Hook(Stage::Post) | When::LastingHook(_))
                        && user.hook.is_some_and(|hook| {
                            let mut of_user = hook.hook.events.iter();
                            of_user.all(|event| events.contains(&event.as_str()))
                        })
                };
                let mut users = self.of(id).peekable();
                users.peek().is_some() && users.all(is_served)
            }
        }
    }

    fn binds_helpers(&self, binding: &Object, events: &[&str]) -> bool {
        let subjects = binding.body.get("subjects").and_then(Value::as_array);
        let text = |subject: &Value, field| {
            subject
                .get(field)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let is_helper = |subject: &Value| {
            let account = ObjectId {
                group: String::new(),
                kind: "ServiceAccount".to_owned(),
                namespace: text(subject, "namespace")
                    .unwrap_or_else(|| binding.id.namespace.clone()),
                name: text(subject, "name").unwrap_or_default(),
            };
            text(subject, "kind").as_deref() == Some("ServiceAccount")
                && self.is_helper(&account, events)
        };
        subjects.is_some_and(|subjects| !subjects.is_empty() && subjects.iter().all(is_helper))
    }

    /// The custom resources of the target that name something, in the order of the manifest.
    fn naming(&self, name: &str) -> &[&'a Object] {
        let named = self.named.get_or_init(|| {
            let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
            let resources = self.case.target.resources.iter();
            for object in resources.filter(|object| object.id.is_custom()) {
                let mut names = BTreeSet::new();
                collect_names(&object.body, &mut names);
                for name in names {
                    named.entry(name).or_default().push(object);
                }
            }
            named
        });
        named.get(name).map_or(&[], Vec::as_slice)
    }

    /// The bindings of a role in the target.
    fn bindings<'i>(&'i self, role: &'i ObjectId) -> impl Iterator<Item = &'a Object> + 'i {
        let bindings = self.bindings.get_or_init(|| {
            let mut bindings: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for object in self.case.of_target() {
                if let Some(name) = role_of(object, "name") {
                    bindings.entry(name).or_default().push(object);
                }
            }
            bindings
        });
        let of_name = bindings.get(role.name.as_str()).into_iter().flatten();
        of_name.copied().filter(|binding| {
            let is_near = role.namespace.is_empty() || role.namespace == binding.id.namespace;
            is_near && role_of(binding, "kind") == Some(&role.kind)
        })
    }

    fn of(&self, id: &ObjectId) -> impl Iterator<Item = &'a User<'a>> {
        self.users.get(id).into_iter().flatten().copied()
    }

    fn names(&self, id: &ObjectId, which: impl Fn(&User<'_>) -> bool) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let users = self.of(id).filter(|user| which(user));
        let names = users.map(|user| user.object.id.to_string());
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// The API version, if the prune takes the live object as it is now: no hook makes it anew first.
    fn pruned_as_it_is(&self, id: &ObjectId) -> Option<String> {
        let made_anew =
            |action| matches!(action, Action::DeleteBeforeHook(_) | Action::CreateHook(_));
        let as_it_is = !self.case.plan.actions(id).any(made_anew);
        as_it_is.then(|| self.api_version(id))?
    }

    fn api_version(&self, id: &ObjectId) -> Option<String> {
        let before = self.before.resources(id).first().copied();
        let object = before.or_else(|| self.target.all(id).next())?;
        let version = object.body.get("apiVersion")?.as_str()?;
        Some(version.to_owned())
    }
}

fn keep_live(id: &ObjectId) -> String {
    let group = match id.is_custom() {
        true => format!(".{}", id.group),
        false => String::new(),
    };
    let namespace = match id.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    format!(
        "keep the object that is there: kubectl annotate{namespace} {}{group} {} helm.sh/resource-policy=keep",
        id.kind.to_lowercase(),
        id.name
    )
}

/// `hook-pruned: ConfigMap basic-app-config: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.lint, self.object, self.reason)
    }
}

impl Finding {
    fn new(lint: Lint, object: &ObjectId, reason: String) -> Self {
        Self {
            lint,
            object: object.clone(),
            reason,
            users: Vec::new(),
            ways_out: Vec::new(),
            uncertain: false,
            rescuable: false,
            depends_on_live: None,
        }
    }
}

/// The values of a ConfigMap or Secret, by key.
type Data<'a> = BTreeMap<&'a str, Cow<'a, str>>;

fn data(config: &Value) -> Data<'_> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let fields = ["data", "binaryData"].into_iter();
    let data = fields
        .filter_map(|field| config.get(field)?.as_object())
        .flatten()
        .map(|(key, value)| (key.as_str(), text(value).into()));
    let strings = strings(config)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), BASE64_STANDARD.encode(text(value)).into()));
    data.chain(strings).collect()
}

fn strings(config: &Value) -> Option<&Map<String, Value>> {
    config.get("stringData")?.as_object()
}

/// A field of the role that a binding names.
fn role_of<'a>(binding: &'a Object, field: &str) -> Option<&'a str> {
    let is_binding = binding.id.kind.ends_with("RoleBinding");
    let role = binding.body.get("roleRef").filter(|_| is_binding)?;
    role.get(field)?.as_str()
}

/// Collects what a custom resource names: cert-manager's `spec.secretName`, External Secrets'
/// `spec.target.name`, a SealedSecret by its own name, …
///
/// Labels do not count: charts give their objects and their labels the same names.
fn collect_names<'a>(body: &'a Value, names: &mut BTreeSet<&'a str>) {
    match body {
        Value::String(text) => {
            names.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(fields) => {
            for (field, value) in fields {
                let is_label = matches!(
                    field.as_str(),
                    "labels" | "annotations" | "selector" | "matchLabels"
                );
                if !is_label {
                    collect_names(value, names);
                }
            }
        }
        _ => {}
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
