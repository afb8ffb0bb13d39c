//! What the checks ask of a change.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use super::{Change, Doubt, Keep, Question, index::Index};
use crate::{
    consumers::{Consumer, Error, When, consumers},
    declared::Declared,
    lifecycle::{DeletePolicy, Event, Stage},
    live::{self, Live},
    makers::{Maker, Makers},
    manifest::{Object, ObjectId},
    plan::{Action, Presence},
    release::Hook,
};

/// How an operation leaves an object, as far as findings are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A hook meets it, and the operation fails at this stage.
    Conflict(Stage),
    /// The operation fails in its pre-hooks, because of another object: nothing is applied or pruned.
    Spared,
    /// It left the release, and is gone at the end.
    Pruned,
    /// The same, because the regular resource has become a hook.
    HookPruned,
    /// The delete policy of its own hook removes it for good.
    DeletedAfterHook(Stage),
    /// It stays, or comes.
    Stays,
}

/// Kind, namespace and name of a role.
type Role<'a> = (&'a str, &'a str, &'a str);

/// A change, and what it declares by object.
pub struct Linter<'a> {
    pub(super) change: Change<'a>,
    /// What the current release declares.
    pub(super) current: Declared<'a>,
    /// What the target declares.
    pub(super) target: Declared<'a>,
    /// By the object that they need, in the order of the manifest.
    consumers: BTreeMap<ObjectId, Vec<Consumer<'a>>>,
    /// What in the target makes Secrets and ConfigMaps.
    makers: OnceCell<Makers<'a>>,
    /// The role bindings of the target, by their role.
    bindings: OnceCell<BTreeMap<Role<'a>, Vec<&'a Object>>>,
    /// The objects of the target, by where they are.
    pub(super) index: Index<'a>,
    /// Whether only pods of hooks with these events run as an account.
    helpers: RefCell<BTreeMap<(ObjectId, Vec<Event>), bool>>,
    /// The live objects to look at, in the order in which they came up: those that decide about a finding.
    decisive: RefCell<Vec<Question>>,
    /// Those without which there is no finding.
    others: RefCell<Vec<Question>>,
}

impl<'a> Linter<'a> {
    pub(super) fn new(change: Change<'a>) -> Result<Self, Error> {
        let current = Declared::by(change.current);
        let mut by_need: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for consumer in consumers(&current, change.target, change.operation)? {
            // A hook that stays until it is pruned needs nothing afterwards.
            let has_gone = matches!(consumer.when, When::LastingHook(_))
                && change.plan.at_end(&consumer.object.id) == Presence::Absent;
            if !has_gone {
                let needs = consumer.needs.clone();
                by_need.entry(needs).or_default().push(consumer);
            }
        }
        Ok(Self {
            change,
            current,
            target: Declared::by(Some(change.target)),
            consumers: by_need,
            makers: OnceCell::new(),
            bindings: OnceCell::new(),
            index: Index::of(change),
            helpers: RefCell::default(),
            decisive: RefCell::default(),
            others: RefCell::default(),
        })
    }

    pub(super) fn fate(&self, id: &ObjectId) -> Fate {
        let plan = self.change.plan;
        let last = plan.actions(id).last();
        if let Some(Action::Conflict(stage)) = last {
            return Fate::Conflict(stage);
        }
        // Nothing is pruned then. A failure in the post-hooks comes too late for that.
        if plan.fails_at() == Some(Stage::Pre) {
            return Fate::Spared;
        }
        let lost = plan.at_end(id) == Presence::Absent;
        match last {
            Some(Action::Prune) if lost && self.becomes_hook(id) => Fate::HookPruned,
            Some(Action::Prune) if lost => Fate::Pruned,
            Some(Action::DeleteAfterHook(stage)) if lost => Fate::DeletedAfterHook(stage),
            _ => Fate::Stays,
        }
    }

    /// Whether a regular resource becomes a hook that is to stay: neither runs it to completion, nor does its
    /// own delete policy take it away on purpose.
    fn becomes_hook(&self, id: &ObjectId) -> bool {
        let hooks = self.lifecycle_hooks(id);
        let is_deleted = |hook: &&Hook| hook.has_policy(DeletePolicy::HookSucceeded);
        self.was_regular(id)
            && !id.runs_to_completion()
            && !hooks.is_empty()
            && !hooks.iter().any(is_deleted)
    }

    pub(super) fn was_regular(&self, id: &ObjectId) -> bool {
        !self.current.resources(id).is_empty()
    }

    /// The target's hooks that hold the object and belong to an install, upgrade or rollback: test and
    /// delete hooks are about another time.
    pub(super) fn lifecycle_hooks(&self, id: &ObjectId) -> Vec<&'a Hook> {
        let hooks = self.target.hooks(id).iter().map(|(hook, _)| *hook);
        hooks
            .filter(|hook| hook.events.iter().any(|event| event.is_of_operation()))
            .collect()
    }

    /// The events of these hooks, each once.
    pub(super) fn lifecycle_events(&self, id: &ObjectId) -> Vec<Event> {
        let mut events = Vec::new();
        for hook in self.lifecycle_hooks(id) {
            for &event in &hook.events {
                if !events.contains(&event) {
                    events.push(event);
                }
            }
        }
        events
    }

    /// The current revision's last hook that holds the object.
    pub(super) fn current_hook(&self, id: &ObjectId) -> Option<&'a Hook> {
        self.current.hooks(id).last().map(|(hook, _)| *hook)
    }

    /// What was seen of the live object, for a finding that depends on it. `None`: nobody has looked yet,
    /// and now it is asked for.
    pub(super) fn live(&self, id: &ObjectId) -> Option<&'a Live> {
        self.seen(id, &self.decisive)
    }

    /// For whatever is found about an object that Helm prunes as it is: somebody may have told Helm to keep it, and then a
    /// hook that would create it later meets it.
    pub(super) fn ask_whether_it_is_kept(&self, id: &ObjectId) {
        if self.change.plan.actions(id).next() == Some(Action::Prune) {
            self.live(id);
        }
    }

    /// The same where there is no finding without the answer: asked after all others.
    pub(super) fn live_if_there_is_time(&self, id: &ObjectId) -> Option<&'a Live> {
        self.seen(id, &self.others)
    }

    fn seen(&self, id: &ObjectId, questions: &RefCell<Vec<Question>>) -> Option<&'a Live> {
        let live = self.change.live.get(id);
        let has_name = !id.name.is_empty();
        if live.is_none()
            && has_name
            && let Some(api_version) = self.api_version(id)
        {
            let id = id.clone();
            questions.borrow_mut().push(Question { id, api_version });
        }
        live
    }

    /// The live objects that were asked for, each once, the decisive ones first.
    pub(super) fn questions(self) -> Vec<Question> {
        let mut seen = BTreeSet::new();
        let all = [self.decisive, self.others].map(RefCell::into_inner);
        let all = all.into_iter().flatten();
        all.filter(|question| seen.insert(question.id.clone()))
            .collect()
    }

    /// Whether a hook of this operation makes the object anew.
    pub(super) fn is_recreated(&self, id: &ObjectId) -> bool {
        let recreates =
            |action| matches!(action, Action::DeleteBeforeHook(_) | Action::CreateHook(_));
        self.change.plan.actions(id).any(recreates)
    }

    /// How to keep the live object. `None` if a hook of this operation makes it anew before the prune.
    pub(super) fn keep(&self, id: &ObjectId) -> Option<Keep> {
        if self.is_recreated(id) {
            return None;
        }
        Some(match self.live(id) {
            Some(Live::Denied(why)) => Keep::Denied(why.clone()),
            Some(Live::Present(object)) if live::is_of_argo_cd(object) => Keep::AnnotationAndArgoCd,
            Some(Live::Present(_) | Live::Absent | Live::Unknown) | None => Keep::Annotation,
        })
    }

    /// What makes an object again when Helm has deleted it, other than Helm itself.
    pub(super) fn maker(&self, id: &ObjectId) -> Option<Maker> {
        self.makers().of_object(id).or_else(|| {
            let object = self.change.live.present(id)?;
            live::controller(object).map(Maker::Controller)
        })
    }

    pub(super) fn makers(&self) -> &Makers<'a> {
        let resources = || self.change.target.resources.iter();
        self.makers.get_or_init(|| Makers::of(resources()))
    }

    /// What fills a key of an object that stays, other than Helm itself.
    pub(super) fn filler(&self, id: &ObjectId, key: &str) -> Option<Maker> {
        let declared = self.target.all(id).find_map(Maker::that_fills);
        let filler = declared.or_else(|| self.makers().of_key(id));
        filler.or_else(|| {
            let Some(Live::Present(object)) = self.live(id) else {
                return None;
            };
            let controller = live::controller(object).map(Maker::Controller);
            let manager = || {
                Some(Maker::FieldManager(
                    live::other_writer(object, key)?.to_owned(),
                ))
            };
            controller.or_else(manager)
        })
    }

    /// The bindings of a role in the target.
    pub(super) fn bindings<'i>(&'i self, role: &'i ObjectId) -> &'i [&'i Object] {
        let bindings = self.bindings.get_or_init(|| {
            let mut bindings: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for object in self.change.of_target() {
                if let (Some(kind), Some(name)) = (role_of(object, "kind"), role_of(object, "name"))
                {
                    // A RoleBinding binds a Role of its own namespace, or a ClusterRole.
                    let namespace = match kind {
                        "ClusterRole" => "",
                        _ => object.id.namespace.as_str(),
                    };
                    let of_role = bindings.entry((kind, namespace, name)).or_default();
                    of_role.push(object);
                }
            }
            bindings
        });
        let key = (
            role.kind.as_str(),
            role.namespace.as_str(),
            role.name.as_str(),
        );
        bindings.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Answers once for each account and these events: a binding may name an account a thousand times.
    pub(super) fn is_helper_account(
        &self,
        account: ObjectId,
        events: &[Event],
        is_helper: impl FnOnce(&ObjectId) -> bool,
    ) -> bool {
        let key = (account, events.to_vec());
        if let Some(known) = self.helpers.borrow().get(&key) {
            return *known;
        }
        let answer = is_helper(&key.0);
        self.helpers.borrow_mut().insert(key, answer);
        answer
    }

    /// Who needs an object, in the order of the manifest.
    pub(super) fn consumers(&self, id: &ObjectId) -> impl Iterator<Item = &Consumer<'a>> {
        self.consumers.get(id).into_iter().flatten()
    }

    /// The workloads that need an object, each once, of those consumers that are asked for.
    pub(super) fn consumers_of(
        &self,
        id: &ObjectId,
        which: impl Fn(&Consumer<'_>) -> bool,
    ) -> Vec<ObjectId> {
        let mut seen = BTreeSet::new();
        let consumers = self.consumers(id).filter(|consumer| which(consumer));
        let ids = consumers.map(|consumer| &consumer.object.id);
        ids.filter(|id| seen.insert(*id)).cloned().collect()
    }

    /// Why the loss of an object may not hurt those consumers that are asked for.
    pub(super) fn doubt(
        &self,
        maker: Option<Maker>,
        id: &ObjectId,
        which: impl Fn(&Consumer<'_>) -> bool,
    ) -> Option<Doubt> {
        let mut consumers = self
            .consumers(id)
            .filter(|consumer| which(consumer))
            .peekable();
        let nobody_runs = consumers.peek().is_some() && consumers.all(|consumer| consumer.is_idle);
        let idle = nobody_runs.then_some(Doubt::NobodyRuns);
        maker.map(Doubt::RestoredBy).or(idle)
    }

    fn api_version(&self, id: &ObjectId) -> Option<String> {
        let current = self.current.resources(id).first().copied();
        let object = current.or_else(|| self.target.all(id).next())?;
        let version = object.body.get("apiVersion")?.as_str()?;
        Some(version.to_owned())
    }
}

/// A field of the role that a binding names.
fn role_of<'a>(binding: &'a Object, field: &str) -> Option<&'a str> {
    let is_binding = binding.id.kind.ends_with("RoleBinding");
    let role = binding.body.get("roleRef").filter(|_| is_binding)?;
    role.get(field)?.as_str()
}
