//! What is wrong with a plan: the registry of findings.
//!
//! In: a [`Change`]. Out: [`Finding`]s, in the order of the manifests and, for one object, of the
//! registry; at most one for each object and lint. Refuses: a workload whose pod template cannot be read.
//!
//! Each finding has a module of its own, with its documentation, its [`Lint`], the facts that it states,
//! the check that finds them, and the words for them. To add one: that module, its line in the registry
//! below, and its tests.

mod config_data;
pub mod levels;
mod linter;

use std::{collections::BTreeSet, fmt};

pub use self::{
    levels::{Level, Levels},
    linter::Linter,
};
use crate::{
    consumers::Error,
    lifecycle::Operation,
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
            [$($module::check(linter, id, fate)),+].into_iter().flatten()
        }
    };
}

registry! {
    hook_pruned: HookPruned,
    hook_helper_pruned: HookHelperPruned,
    dangling_reference: DanglingReference,
    hook_self_deleted: HookSelfDeleted,
    hook_too_late: HookTooLate,
    hook_conflict: HookConflict,
    hook_recreates_storage: HookRecreatesStorage,
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
    /// Something else may create the object again: never more than a warning.
    pub uncertain: bool,
    /// The hook runs before the prune, so that `helm.sh/resource-policy: keep` at its CREATE saves it.
    pub rescuable: bool,
    /// The API version to look the live object up with, where that can change the finding: Helm spares
    /// it for its annotation, or somebody has deleted it.
    pub depends_on_live: Option<String>,
}

impl Finding {
    fn new(object: &ObjectId, fact: impl Into<Fact>) -> Self {
        Self {
            object: object.clone(),
            fact: fact.into(),
            consumers: Vec::new(),
            uncertain: false,
            rescuable: false,
            depends_on_live: None,
        }
    }

    /// The kind of finding.
    pub fn lint(&self) -> &'static Lint {
        self.fact.lint()
    }

    /// What to do about it, best first.
    pub fn ways_out(&self) -> Vec<String> {
        self.fact.ways_out(&self.object)
    }
}

/// `hook-pruned: ConfigMap basic-app-config is a regular resource in …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.lint(), self.object, self.fact)
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
}

/// Reads the findings off a plan.
pub fn findings(change: Change<'_>) -> Result<Vec<Finding>, Error> {
    let linter = Linter::new(change)?;
    let mut seen = BTreeSet::new();
    let findings = change
        .objects()
        .filter(|object| seen.insert(&object.id))
        .flat_map(|object| check(&linter, &object.id));
    Ok(findings.collect())
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

/// The command that makes Helm spare a live object.
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
        "keep the live object: kubectl annotate{namespace} {}{group} {} helm.sh/resource-policy=keep",
        id.kind.to_lowercase(),
        id.name
    )
}

#[cfg(test)]
mod tests;
