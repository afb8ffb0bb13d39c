//! What is wrong with a plan: the registry of findings.
//!
//! In: a [`Change`]. Out: a [`Report`]: [`Finding`]s, in the order of the manifests and, for one object, of
//! the registry, at most one for each object and lint; and which live objects to look at. Refuses: a workload whose pod template cannot be read.
//!
//! Each finding has a module of its own, with its documentation, its [`Lint`], the facts that it states,
//! the check that finds them, and the words for them. To add one: that module, its line in the registry
//! below, and its tests.

mod config_data;
mod index;
pub mod levels;
mod linter;

use std::{collections::BTreeSet, fmt};

pub use self::{
    levels::{Level, Levels},
    linter::Linter,
};
pub use crate::makers::Maker;
use crate::{
    consumers::Error,
    lifecycle::Operation,
    live::LiveObjects,
    manifest::{Object, ObjectId},
    plan::Plan,
    release::Release,
};

/// Declares the modules of the findings, in the order in which they are listed and reported.
macro_rules! registry {
    ($($module:ident: $Variant:ident,)+) => {
        $(pub mod $module;)+

        /// Every finding that there is.
        pub const LINTS: &[&Lint] = &[$(&$module::LINT),+];

        const NAMES: &[&str] = &[$($module::LINT.name),+];

        /// What a finding states.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Fact {
            $(#[allow(missing_docs, reason = "the module says it")] $Variant($module::Fact),)+
        }

        impl Fact {
            /// The finding that it is of.
            pub fn lint(&self) -> &'static Lint {
                match self {
                    $(Self::$Variant(_) => &$module::LINT,)+
                }
            }

            /// What to do about it.
            pub fn ways_out(&self, object: &ObjectId) -> Vec<String> {
                match self {
                    $(Self::$Variant(fact) => fact.ways_out(object),)+
                }
            }
        }

        /// The predicate of a sentence about the object: `already exists, and …`.
        impl fmt::Display for Fact {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$Variant(fact) => fact.fmt(f),)+
                }
            }
        }

        $(impl From<$module::Fact> for Fact {
            fn from(fact: $module::Fact) -> Self {
                Self::$Variant(fact)
            }
        })+

        fn check(linter: &Linter<'_>, id: &ObjectId) -> impl Iterator<Item = Finding> {
            let fate = linter.fate(id);
            let findings = [$($module::check(linter, id, fate)),+].into_iter().flatten();
            findings.inspect(|_| linter.ask_whether_it_is_kept(id))
        }
    };
}

registry! {
    hook_pruned: HookPruned,
    hook_helper_pruned: HookHelperPruned,
    namespace_deleted: NamespaceDeleted,
    crd_deleted: CrdDeleted,
    dangling_reference: DanglingReference,
    maker_deleted: MakerDeleted,
    other_release: OtherRelease,
    hook_self_deleted: HookSelfDeleted,
    hook_not_run: HookNotRun,
    hook_too_late: HookTooLate,
    hook_waits: HookWaits,
    hook_conflict: HookConflict,
    hook_recreates_storage: HookRecreatesStorage,
    hook_recreates_object: HookRecreatesObject,
    no_rollout: NoRollout,
}

/// A kind of finding. Its documentation is that of its module.
#[derive(Debug, PartialEq, Eq)]
pub struct Lint {
    /// As in settings and messages: `hook-pruned`.
    pub name: &'static str,
    /// What Helm would do, in one line.
    pub summary: &'static str,
    /// What follows from it unless the user says otherwise.
    pub default_level: Level,
    /// Whether the release loses something that it needs.
    pub is_loss: bool,
    /// Whether the level `rescue` can help.
    pub can_be_rescued: bool,
}

impl Lint {
    /// The page that explains it.
    pub fn url(&self) -> String {
        const PAGE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/findings.md");
        format!("{PAGE}#{}", self.name)
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Something that is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object that it is about.
    pub object: ObjectId,
    /// What Helm would do to the object, and what follows.
    pub fact: Fact,
    /// Who needs the object.
    pub consumers: Vec<ObjectId>,
    /// Why it may not come true: then it is never more than a warning.
    pub doubt: Option<Doubt>,
    /// The hook runs before the prune, so that `helm.sh/resource-policy: keep` at its CREATE saves it.
    pub rescuable: bool,
    /// How the live object can be kept, where Helm would spare it for its annotation.
    pub keep: Option<Keep>,
}

/// Why a finding may not come true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Something else than Helm makes the object again, or fills the key.
    RestoredBy(Maker),
    /// No pods of its consumers run now.
    NobodyRuns,
    /// No record tells, as the fact says.
    NotSeen,
}

/// How a live object can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// With `helm.sh/resource-policy: keep`.
    Annotation,
    /// With this annotation, and one for Argo CD, which does not read it.
    AnnotationAndArgoCd,
    /// Only once the live object can be read, and this is what to do for that.
    Denied(String),
}

impl Finding {
    fn new(object: &ObjectId, fact: impl Into<Fact>) -> Self {
        Self {
            object: object.clone(),
            fact: fact.into(),
            consumers: Vec::new(),
            doubt: None,
            rescuable: false,
            keep: None,
        }
    }

    /// The kind of finding.
    pub fn lint(&self) -> &'static Lint {
        self.fact.lint()
    }

    /// Whether it may not come true.
    pub fn is_uncertain(&self) -> bool {
        self.doubt.is_some()
    }

    /// The level if it is neither rescued nor chosen to be milder: it is rejected, unless it may not come true.
    pub fn not_rescued(&self) -> Level {
        match self.is_uncertain() {
            true => Level::Warn,
            false => Level::Reject,
        }
    }

    /// What to do about it, best first.
    pub fn ways_out(&self) -> Vec<String> {
        let mut ways_out = self.fact.ways_out(&self.object);
        ways_out.extend(self.keep.as_ref().map(|keep| keep.way_out(&self.object)));
        ways_out
    }
}

/// `hook-pruned: ConfigMap basic-app-config is a regular resource in …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.lint(), self.object, self.fact)?;
        match &self.doubt {
            Some(Doubt::RestoredBy(maker)) => write!(f, ", unless {maker} restores it"),
            Some(Doubt::NobodyRuns) => f.write_str(" (no pods of them run now)"),
            Some(Doubt::NotSeen) | None => Ok(()),
        }
    }
}

/// What findings are read off.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What is done to the release.
    pub operation: Operation,
    /// `None` for an install.
    pub current: Option<&'a Release>,
    /// The revision that is to be.
    pub target: &'a Release,
    /// What Helm will do.
    pub plan: &'a Plan,
    /// What was seen of live objects.
    pub live: &'a LiveObjects,
}

/// What was found, and what could change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// As far as live objects are known.
    pub findings: Vec<Finding>,
    /// The live objects that could change this, those that matter most first.
    pub questions: Vec<Question>,
}

/// A live object to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The object.
    pub id: ObjectId,
    /// `v1`, `apps/v1`, …
    pub api_version: String,
}

/// Reads the findings off a plan.
pub fn report(change: Change<'_>) -> Result<Report, Error> {
    let linter = Linter::new(change)?;
    let mut seen = BTreeSet::new();
    let findings = change
        .objects()
        .filter(|object| seen.insert(&object.id))
        .flat_map(|object| check(&linter, &object.id))
        .collect();
    Ok(Report {
        findings,
        questions: linter.questions(),
    })
}

impl<'a> Change<'a> {
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

    fn revisions(self) -> Revisions {
        Revisions {
            current: self.current.map(|current| current.revision),
            target: self.target.revision,
        }
    }
}

/// The revisions that an operation leads from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revisions {
    /// `None` for an install.
    pub current: Option<u64>,
    /// The revision that is to be.
    pub target: u64,
}

impl Revisions {
    /// `revision 1`
    fn current(self) -> String {
        self.current
            .map(|current| format!("revision {current}"))
            .unwrap_or_default()
    }

    /// `revision 2`
    fn target(self) -> String {
        format!("revision {}", self.target)
    }
}

impl Keep {
    fn way_out(&self, id: &ObjectId) -> String {
        match self {
            Self::Annotation => format!("keep the live object: {}", annotate(id, KEEP)),
            Self::AnnotationAndArgoCd => format!(
                "keep the live object: {} (Argo CD reads only the second annotation)",
                annotate(
                    id,
                    &format!("{KEEP} argocd.argoproj.io/sync-options=Prune=false")
                )
            ),
            Self::Denied(first) => format!(
                "keep the live object: {first}; then: {}",
                annotate(id, KEEP)
            ),
        }
    }
}

const KEEP: &str = "helm.sh/resource-policy=keep";

/// The command that annotates a live object.
fn annotate(id: &ObjectId, annotations: &str) -> String {
    let group = match id.is_custom() {
        true => format!(".{}", id.group),
        false => String::new(),
    };
    let namespace = match id.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    format!(
        "kubectl annotate{namespace} {}{group} {} {annotations}",
        id.kind.to_ascii_lowercase(),
        id.name
    )
}

#[cfg(test)]
mod tests;
