//! What Argo CD makes of two versions of a chart.
//!
//! ```text
//! objects of both versions ─► sync: the role of each ─► app: who needs what ─► findings ─► entries of the report
//! ```
//!
//! In: the objects that `helm template` prints for both. Out: [`Finding`]s, at most one of a kind for each object. Refuses: a workload
//! whose pod template cannot be read.
//!
//! Argo CD does not run Helm's upgrades: it renders the chart and synchronizes the cluster with what comes out. So the plan of `helm-plan`
//! is not Argo CD's, and neither the policy nor its settings know of these findings.
//!
//! # Source
//!
//! argoproj/argo-cd 3.6.0 (37ee0097). The engine is in its folder `gitops-engine`; the module of its own,
//! github.com/argoproj/gitops-engine, is older.
//! Each function names its places below `gitops-engine/pkg/sync`.
//!
//! # Incomplete support
//!
//! - Options of the Application are not known: pruning, `PruneLast`, `Replace`, ignored hooks of a sync of some resources.
//! - A regular resource that becomes a hook of the Sync phase, which only Argo CD's own annotation can say, is not looked into: it is
//!   pruned in the phase in which it would be created.
//! - What Argo CD's health checks say of custom kinds that run pods (an Argo Rollout) is not known.

mod app;
mod sync;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use helm_plan::{Level, Object, ObjectId, consumers, metadata};

use self::{
    app::{App, Consumer, Declared, ids},
    sync::{Hook, Phase, Point, Role, Why},
};
use crate::report::{Entry, Rule};

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lint {
    HookDeleted,
    HookRecreatesStorage,
    HookRecreatesObject,
    HookEverySync,
    NotApplied,
    Pruned,
    TooLate,
    ClaimWaits,
}

impl Lint {
    const ALL: [Self; 8] = [
        Self::HookDeleted,
        Self::HookRecreatesStorage,
        Self::HookRecreatesObject,
        Self::HookEverySync,
        Self::NotApplied,
        Self::Pruned,
        Self::TooLate,
        Self::ClaimWaits,
    ];

    pub(crate) fn rules() -> impl Iterator<Item = Rule> {
        Self::ALL.into_iter().map(Self::rule)
    }

    fn name(self) -> &'static str {
        match self {
            Self::HookDeleted => "argocd-hook-deleted",
            Self::HookRecreatesStorage => "argocd-hook-recreates-storage",
            Self::HookRecreatesObject => "argocd-hook-recreates-object",
            Self::HookEverySync => "argocd-hook-every-sync",
            Self::NotApplied => "argocd-not-applied",
            Self::Pruned => "argocd-pruned",
            Self::TooLate => "argocd-too-late",
            Self::ClaimWaits => "argocd-claim-waits",
        }
    }

    fn rule(self) -> Rule {
        const PAGE: &str = concat!(
            env!("CARGO_PKG_REPOSITORY"),
            "/blob/main/docs/check.md#argo-cd"
        );
        Rule {
            name: self.name(),
            summary: match self {
                Self::HookDeleted => {
                    "Argo CD would delete a hook that pods need at the end of each sync"
                }
                Self::HookRecreatesStorage => {
                    "Argo CD would delete a claim, a Namespace or a CustomResourceDefinition in each sync, with what it holds"
                }
                Self::HookRecreatesObject => {
                    "Argo CD would delete a ServiceAccount or a custom resource that is in use in each sync, and create it again"
                }
                Self::HookEverySync => {
                    "Argo CD would run a hook in each sync that Helm runs once, at the install"
                }
                Self::NotApplied => "Argo CD would not create an object that pods need",
                Self::Pruned => {
                    "Argo CD would prune an object that pods need, or that is deleted with what is in it"
                }
                Self::TooLate => {
                    "Argo CD would wait for pods before it creates an object that they need"
                }
                Self::ClaimWaits => {
                    "Argo CD would wait until a claim is bound before it creates the pods that use it"
                }
            },
            url: PAGE.to_owned(),
        }
    }
}

/// Something that is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    object: ObjectId,
    fact: Fact,
    /// Who needs the object.
    consumers: Vec<ObjectId>,
    /// No pods of them may run now.
    nobody_runs: bool,
}

/// What Argo CD would do to the object, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    HookDeleted(Declaration),
    HookRecreatesStorage {
        hook: Declaration,
        storage: Storage,
        /// By `hook-succeeded`, or else before it is created again.
        after: bool,
        /// Nothing in the chart may use a claim.
        is_in_use: bool,
    },
    HookRecreatesObject {
        hook: Declaration,
        is_account: bool,
    },
    HookEverySync {
        runs: bool,
    },
    NotApplied(Why),
    Pruned {
        now: Now,
        storage: Option<Storage>,
    },
    TooLate {
        at: Point,
        /// `None`: a regular resource.
        hook: Option<Declaration>,
        /// A hook needs it that runs before regular resources are applied.
        before_sync: bool,
    },
    ClaimWaits(Point),
}

/// What makes an object a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Declaration {
    phase: Phase,
    annotation: &'static str,
}

/// What is deleted with something in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Claim,
    Namespace,
    CustomResourceDefinition,
}

impl Storage {
    fn of(id: &ObjectId) -> Option<Self> {
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "PersistentVolumeClaim") => Some(Self::Claim),
            ("", "Namespace") => Some(Self::Namespace),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                Some(Self::CustomResourceDefinition)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "with its data",
            Self::Namespace => "with everything in it",
            Self::CustomResourceDefinition => "with all custom resources of its kind",
        })
    }
}

/// What a resource of the old version is in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Now {
    Gone {
        /// With an annotation that does not keep it.
        helm_keeps: bool,
    },
    NotApplied(Why),
    /// Created there.
    Later(Point),
}

/// What a sync from one version to another does.
pub(crate) fn findings(old: &[Object], new: &[Object]) -> Result<Vec<Finding>, consumers::Error> {
    let change = Change {
        old: App::of(old)?,
        new: App::of(new)?,
    };
    let is_named = |object: &Object| !object.id.name.is_empty();
    let old = old.iter().filter(|object| is_named(object));
    let mut seen = BTreeSet::new();
    let objects = old.chain(new);
    let once = objects.filter(|object| !is_named(object) || seen.insert(&object.id));
    Ok(once.flat_map(|object| change.check(object)).collect())
}

struct Change<'a> {
    old: App<'a>,
    new: App<'a>,
}

impl Change<'_> {
    fn check(&self, object: &Object) -> Vec<Finding> {
        let id = &object.id;
        let mut findings = Vec::new();
        let generated = Declared {
            object,
            role: sync::role(object),
        };
        let new = match id.name.is_empty() {
            // Each sync creates another one, and leaves the older ones as they are.
            true => Some(&generated),
            false => self.new.get(id),
        };
        if let Some(Declared {
            object,
            role: Role::Hook(hook),
        }) = new
            && let Some(at) = new.and_then(|new| new.role.first())
        {
            findings.extend(self.deleted(id, hook, at).or_else(|| {
                self.recreates_storage(id, hook, at)
                    .or_else(|| self.recreates_object(object, hook, at))
                    .or_else(|| self.every_sync(id, hook))
            }));
        }
        if !id.name.is_empty() {
            findings.extend(self.pruned(id));
            findings.extend(new.and_then(|new| self.not_applied(id, new)));
            findings.extend(new.and_then(|new| self.too_late(id, new)));
            findings.extend(new.and_then(|new| self.claim_waits(id, new)));
        }
        findings
    }

    /// The hook is gone when the sync has succeeded (`sync_context.go`, Sync: hooksPendingDeletionSuccessful, deleteHooks).
    fn deleted(&self, id: &ObjectId, hook: &Hook, at: Point) -> Option<Finding> {
        let consumers = self.required_by(id, |one| one.lasts());
        let is_missed = hook.deleted_after && !consumers.is_empty();
        is_missed.then(|| self.finding(id, Fact::HookDeleted(hook.declared(at)), &consumers))
    }

    /// The hook is deleted before it is created again (`sync_task.go`, deleteBeforeCreation; `sync_context.go`, runTasks), whatever its
    /// kind, and so it is afterwards. Helm makes an exception of CustomResourceDefinitions.
    fn recreates_storage(&self, id: &ObjectId, hook: &Hook, at: Point) -> Option<Finding> {
        let storage = Storage::of(id)?;
        let consumers = self.new.consumers(id);
        let is_scratch = !consumers.is_empty() && !consumers.iter().any(Consumer::lasts);
        if is_scratch || !(hook.deleted_before || hook.deleted_after) {
            return None;
        }
        let fact = Fact::HookRecreatesStorage {
            hook: hook.declared(at),
            storage,
            after: hook.deleted_after,
            is_in_use: storage != Storage::Claim || !consumers.is_empty(),
        };
        Some(self.finding(id, fact, consumers))
    }

    /// As for Helm (hook-recreates-object), but in each sync.
    fn recreates_object(&self, object: &Object, hook: &Hook, at: Point) -> Option<Finding> {
        let id = &object.id;
        let is_account = id.group.is_empty() && id.kind == "ServiceAccount";
        let is_deleted = hook.deleted_before || hook.deleted_after;
        let is_custom = id.is_custom() && !id.is_custom_run() && !id.name.is_empty();
        if !is_deleted || !(is_account || is_custom) {
            return None;
        }
        let has_token = |consumer: &Consumer<'_>| {
            consumer.lasts() && consumers::has_token(consumer.object, [object].into_iter())
        };
        let consumers = match is_account {
            true => self.required_by(id, has_token),
            false => Vec::new(),
        };
        let fact = Fact::HookRecreatesObject {
            hook: hook.declared(at),
            is_account,
        };
        (!is_account || !consumers.is_empty()).then(|| self.finding(id, fact, &consumers))
    }

    /// There are no installs (`hook/helm/type.go`: both events are the same phase), and what has left with its policy is created again.
    fn every_sync(&self, id: &ObjectId, hook: &Hook) -> Option<Finding> {
        let runs = id.runs_to_completion() || id.is_custom_run();
        let is_again = hook.deleted_before || hook.deleted_after || id.name.is_empty();
        let consumers: Vec<_> = match id.is_config() {
            true => self.new.consumers(id).to_vec(),
            false => Vec::new(),
        };
        let is_found =
            hook.is_for_installs && is_again && (runs || consumers.iter().any(Consumer::lasts));
        is_found.then(|| self.finding(id, Fact::HookEverySync { runs }, &consumers))
    }

    /// Neither a resource nor a hook (`reconcile.go`, splitHooks), and not in the cluster either.
    fn not_applied(&self, id: &ObjectId, new: &Declared<'_>) -> Option<Finding> {
        let Role::NotApplied(why) = &new.role else {
            return None;
        };
        let was_applied = self
            .old
            .get(id)
            .is_some_and(|old| old.role.first().is_some());
        let consumers = self.newly_required_by(id, |_| true);
        let is_missing = !was_applied && !consumers.is_empty();
        is_missing.then(|| self.finding(id, Fact::NotApplied(why.clone()), &consumers))
    }

    /// A live object without a target, or whose target is a hook and which is none itself, is pruned in the Sync phase, before anything of
    /// its wave is applied (`reconcile.go`, Reconcile; `sync_context.go`, getSyncTasks, runTasks, pruneObject). A hook of the PreSync phase
    /// has by then made the live object a hook, which is never pruned. Of no kind is an exception made: a CustomResourceDefinition of the
    /// folder `crds`, which Helm leaves alone, is pruned like everything else.
    fn pruned(&self, id: &ObjectId) -> Option<Finding> {
        let old = self.old.get(id)?;
        if !matches!(old.role, Role::Resource { .. }) || sync::is_never_pruned(old.object) {
            return None;
        }
        let new = self.new.get(id).map(|new| &new.role);
        let (now, consumers) = match new {
            None => {
                let helm_keeps = metadata::is_kept(&old.object.body);
                (Now::Gone { helm_keeps }, self.required_by(id, |_| true))
            }
            // Its target is there, so it is not pruned (`sync_phase.go`, syncPhases).
            Some(Role::Resource { .. } | Role::NotApplied(Why::Skip)) => return None,
            Some(Role::NotApplied(why)) => {
                let consumers = self.required_by(id, |_| true);
                (Now::NotApplied(why.clone()), consumers)
            }
            Some(role @ Role::Hook(_)) => {
                let at = role.first().filter(|at| at.phase == Phase::PostSync)?;
                let is_before = |one: &Consumer<'_>| one.lasts() && one.at < at;
                (Now::Later(at), self.required_by(id, is_before))
            }
        };
        let storage = Storage::of(id);
        let is_missed = !consumers.is_empty()
            || matches!(
                storage,
                Some(Storage::Namespace | Storage::CustomResourceDefinition)
            );
        is_missed.then(|| self.finding(id, Fact::Pruned { now, storage }, &consumers))
    }

    /// Argo CD waits until what it has applied is healthy before it goes on with the next wave or phase (`sync_context.go`, Sync:
    /// multiStep, runningTasks). If that takes longer than the Deployment may take, the sync has failed
    /// (`pkg/health/health_deployment.go`).
    fn too_late(&self, id: &ObjectId, new: &Declared<'_>) -> Option<Finding> {
        let at = new.role.first()?;
        if self.old.get(id).is_some_and(|old| old.role.stays()) {
            return None;
        }
        let waits = |consumer: &Consumer<'_>| {
            let before = self.old.get(&consumer.object.id).map(|old| old.object);
            consumer.at < at
                && consumer.is_waited_for()
                && !consumers::is_idle(before, consumer.object)
        };
        let consumers = self.newly_required_by(id, waits);
        let hook = match &new.role {
            Role::Hook(hook) => Some(hook.declared(at)),
            Role::Resource { .. } | Role::NotApplied(_) => None,
        };
        let is_before = |one: &Consumer<'_>| one.at.phase < Phase::Sync;
        let fact = Fact::TooLate {
            at,
            hook,
            before_sync: at.phase >= Phase::Sync && consumers.iter().any(is_before),
        };
        (!consumers.is_empty()).then(|| self.finding(id, fact, &consumers))
    }

    /// To Argo CD, a claim that is not bound is not healthy (`pkg/health/health_pvc.go`).
    fn claim_waits(&self, id: &ObjectId, new: &Declared<'_>) -> Option<Finding> {
        let at = new.role.first()?;
        let is_bound = self.old.get(id).is_some_and(|old| old.role.stays())
            && matches!(new.role, Role::Resource { .. });
        let consumers = self.new.consumers(id);
        let waits = id.group.is_empty()
            && id.kind == "PersistentVolumeClaim"
            && !is_bound
            && !consumers.is_empty()
            && consumers.iter().all(|consumer| consumer.at > at);
        waits.then(|| self.finding(id, Fact::ClaimWaits(at), consumers))
    }

    /// The consumers of the new version that cannot do without an object.
    fn required_by(
        &self,
        id: &ObjectId,
        counts: impl Fn(&Consumer<'_>) -> bool,
    ) -> Vec<Consumer<'_>> {
        let consumers = self.new.consumers(id).iter();
        consumers
            .filter(|consumer| !consumer.optional && counts(consumer))
            .copied()
            .collect()
    }

    /// Those that could before. The others have it from elsewhere.
    fn newly_required_by(
        &self,
        id: &ObjectId,
        counts: impl Fn(&Consumer<'_>) -> bool,
    ) -> Vec<Consumer<'_>> {
        self.required_by(id, |consumer| {
            counts(consumer) && !self.old.requires(&consumer.object.id, id)
        })
    }

    fn finding(&self, id: &ObjectId, fact: Fact, consumers: &[Consumer<'_>]) -> Finding {
        let is_idle = |consumer: &Consumer<'_>| {
            let before = self.old.get(&consumer.object.id).map(|old| old.object);
            consumers::is_idle(before, consumer.object)
        };
        Finding {
            object: id.clone(),
            fact,
            consumers: ids(consumers),
            nobody_runs: !consumers.is_empty() && consumers.iter().all(is_idle),
        }
    }
}

impl Hook {
    fn declared(&self, at: Point) -> Declaration {
        Declaration {
            phase: at.phase,
            annotation: self.annotation,
        }
    }
}

impl Finding {
    fn lint(&self) -> Lint {
        match self.fact {
            Fact::HookDeleted(_) => Lint::HookDeleted,
            Fact::HookRecreatesStorage { .. } => Lint::HookRecreatesStorage,
            Fact::HookRecreatesObject { .. } => Lint::HookRecreatesObject,
            Fact::HookEverySync { .. } => Lint::HookEverySync,
            Fact::NotApplied(_) => Lint::NotApplied,
            Fact::Pruned { .. } => Lint::Pruned,
            Fact::TooLate { .. } => Lint::TooLate,
            Fact::ClaimWaits(_) => Lint::ClaimWaits,
        }
    }

    /// [`Level::Reject`] if it will come true.
    pub(crate) fn level(&self) -> Level {
        let is_certain = match &self.fact {
            Fact::HookDeleted(_) | Fact::NotApplied(_) | Fact::TooLate { .. } => true,
            Fact::HookRecreatesStorage { is_in_use, .. } => *is_in_use,
            // The tokens are renewed, and what an operator does is not known.
            Fact::HookRecreatesObject { .. }
            // It may do no harm.
            | Fact::HookEverySync { .. }
            // By default, Argo CD does not prune.
            | Fact::Pruned { .. }
            // It depends on the StorageClass.
            | Fact::ClaimWaits(_) => false,
        };
        match is_certain && !self.nobody_runs {
            true => Level::Reject,
            false => Level::Warn,
        }
    }

    /// Whether it follows from the step from one version to the other, and not from one alone.
    pub(crate) fn is_of_change(&self) -> bool {
        matches!(self.fact, Fact::Pruned { .. } | Fact::TooLate { .. })
    }

    fn ways_out(&self) -> Vec<String> {
        let regular =
            |annotation| format!("make it a regular resource: remove the annotation {annotation}");
        let keep = "before the sync, annotate the live object with argocd.argoproj.io/sync-options=Prune=false".to_owned();
        match &self.fact {
            Fact::HookDeleted(hook) => vec![
                regular(hook.annotation),
                "if hooks need it before: give them one of their own".to_owned(),
            ],
            Fact::HookRecreatesStorage { hook, .. } => vec![regular(hook.annotation)],
            Fact::HookRecreatesObject { hook, is_account } => {
                let mut ways_out = vec![regular(hook.annotation)];
                if *is_account {
                    ways_out.push("give hooks an account of their own".to_owned());
                }
                ways_out
            }
            Fact::HookEverySync { runs: true } => {
                vec!["let it find out whether its work is done already".to_owned()]
            }
            Fact::HookEverySync { runs: false } => vec![
                "create generated content outside of the chart, and let the chart refer to it"
                    .to_owned(),
                regular(metadata::HOOK),
            ],
            Fact::NotApplied(why) => vec![regular(why.annotation())],
            Fact::Pruned { now, .. } => {
                let way_out = match (now, self.consumers.is_empty()) {
                    (Now::Gone { .. }, true) => "put it back into the chart",
                    (Now::Gone { .. }, false) => {
                        "put it back into the chart, or remove the references to it"
                    }
                    (Now::NotApplied(_) | Now::Later(_), _) => "keep it a regular resource",
                };
                vec![way_out.to_owned(), keep]
            }
            Fact::TooLate {
                before_sync: true, ..
            } => vec![
                "let the hook run in a later phase, or give it one of its own: a hook of the same phase with a lower argocd.argoproj.io/sync-wave"
                    .to_owned(),
            ],
            Fact::TooLate {
                hook: Some(hook), ..
            } => vec![regular(hook.annotation)],
            Fact::TooLate { hook: None, .. } => vec![
                "give it the argocd.argoproj.io/sync-wave of what needs it, or a lower one"
                    .to_owned(),
            ],
            Fact::ClaimWaits(_) => {
                vec!["give it the phase and the argocd.argoproj.io/sync-wave of what uses it".to_owned()]
            }
        }
    }
}

impl From<&Finding> for Entry {
    fn from(finding: &Finding) -> Self {
        let reason = finding.fact.to_string();
        let doubt = match finding.nobody_runs {
            true => " (no pods of them run now)",
            false => "",
        };
        Self {
            rule: finding.lint().rule(),
            object: finding.object.clone(),
            sentence: format!(
                "{}: {} {reason}{doubt}",
                finding.lint().name(),
                finding.object
            ),
            reason,
            consumers: finding.consumers.clone(),
            ways_out: finding.ways_out(),
        }
    }
}

/// The predicate of a sentence about the object.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HookDeleted(hook) => write!(
                f,
                "is a {} hook with the delete policy hook-succeeded, so Argo CD deletes it at the end of each sync that succeeds; pods that need it cannot start after that",
                hook.phase
            ),
            Self::HookRecreatesStorage {
                hook,
                storage,
                after,
                ..
            } => {
                write!(f, "is a {} hook, so ", hook.phase)?;
                f.write_str(match after {
                    true => "each sync that succeeds deletes it (hook-succeeded), ",
                    false => {
                        "each sync deletes and recreates it (before-hook-creation, which is also the default), "
                    }
                })?;
                write!(f, "{storage}")?;
                f.write_str(match storage {
                    Storage::Claim => "; while pods use it, the deletion and the sync wait",
                    Storage::Namespace => "",
                    Storage::CustomResourceDefinition => "; Helm never does",
                })
            }
            Self::HookRecreatesObject { hook, is_account } => {
                write!(
                    f,
                    "is a {} hook, so each sync deletes and recreates it; ",
                    hook.phase
                )?;
                f.write_str(match is_account {
                    true => "the API server refuses the tokens of running pods (401) until they are renewed, up to 48 minutes",
                    false => "what its operator has made for it may be deleted with it",
                })
            }
            Self::HookEverySync { runs: true } => f.write_str(
                "is a hook for installs only, but Argo CD runs it in each sync: it does not tell installs from upgrades",
            ),
            Self::HookEverySync { runs: false } => f.write_str(
                "is a hook for installs only, but Argo CD deletes and recreates it in each sync: it does not tell installs from upgrades; content that was generated at the install is replaced",
            ),
            Self::NotApplied(why) => write!(
                f,
                "{why}, so Argo CD does not create it; the pods that need it cannot start"
            ),
            Self::Pruned { now, storage } => {
                match now {
                    Now::Gone { .. } => f.write_str("is in the old version but not in the new one"),
                    Now::NotApplied(why) => {
                        write!(f, "is a regular resource in the old version; in the new one it {why}")
                    }
                    Now::Later(at) => write!(
                        f,
                        "is a regular resource in the old version and created only in {at} in the new one"
                    ),
                }?;
                f.write_str(", so Argo CD deletes it if it prunes (automated.prune, or a sync with --prune)")?;
                if let Now::Gone { helm_keeps: true } = now {
                    f.write_str(", in spite of helm.sh/resource-policy: keep")?;
                }
                if let Some(storage) = storage {
                    write!(f, ", {storage}")?;
                }
                f.write_str(match (now, storage) {
                    (_, Some(Storage::Namespace | Storage::CustomResourceDefinition)) => "",
                    (Now::Gone { .. } | Now::NotApplied(_), _) => {
                        "; pods that need it could not start"
                    }
                    (Now::Later(_), _) => {
                        "; pods that start before that phase could not, and Argo CD waits for them"
                    }
                })
            }
            Self::TooLate { at, .. } => write!(
                f,
                "is created only in {at}, and Argo CD goes there when the pods that need it are healthy; without it they never are, so the sync does not end or fails"
            ),
            Self::ClaimWaits(at) => write!(
                f,
                "is created in {at}, before the pods that use it, and Argo CD waits there until it is bound; if its StorageClass waits for a pod (WaitForFirstConsumer), it never is"
            ),
        }
    }
}

impl Why {
    /// The annotation to remove.
    fn annotation(&self) -> &'static str {
        match self {
            Self::UnknownHook(annotation, _) | Self::DeletionHook(annotation) => annotation,
            Self::Skip => sync::ARGO_HOOK,
        }
    }
}

/// The predicate of a sentence about the object.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHook(annotation, events) => write!(
                f,
                "has the annotation {annotation}: {events}, and Argo CD knows no such hook"
            ),
            Self::DeletionHook(_) => {
                f.write_str("is a hook for the time when the Application is deleted")
            }
            Self::Skip => f.write_str("has the annotation argocd.argoproj.io/hook: Skip"),
        }
    }
}
