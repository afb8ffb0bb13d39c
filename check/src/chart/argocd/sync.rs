//! What a sync of Argo CD makes of one object.
//!
//! In: an object as `helm template` prints it. Out: its [`Role`]. Refuses: nothing; what Argo CD does not know, it ignores.
//!
//! # Source
//!
//! argoproj/argo-cd 3.6.0 (37ee0097), in `gitops-engine/pkg/sync`:
//!
//! - `hook/hook.go`, IsHook, Skip, Types: Helm's events count if `argocd.argoproj.io/hook` names no type that Argo CD knows
//! - `hook/helm/hook.go`, IsHook: `crd-install` alone is no hook
//! - `hook/helm/type.go`, Types: which of Helm's events are known, and as what
//! - `hook/delete_policy.go`, DeletePolicies: the policies of both annotations; without a known one, BeforeHookCreation
//! - `syncwaves/waves.go`, Wave: the wave, or else Helm's weight
//! - `sync_phase.go`, syncPhases: when it is applied; `ignore/ignore.go`, Ignore: a hook without a known type is not
//! - `resource/annotations.go`, GetAnnotationCSVs: lists are read with their case, unlike Helm's
//!
//! And `controller/hook.go`, isHookOfType, with `controller/state.go`, partitionTargetObjsForSync: what belongs to the deletion of the
//! Application.

use std::{collections::BTreeSet, fmt};

use helm_plan::{
    Object,
    metadata::{HOOK, HOOK_DELETE_POLICY, HOOK_WEIGHT, annotation},
};

pub(super) const ARGO_HOOK: &str = "argocd.argoproj.io/hook";
const ARGO_DELETE_POLICY: &str = "argocd.argoproj.io/hook-delete-policy";
const WAVE: &str = "argocd.argoproj.io/sync-wave";
const OPTIONS: &str = "argocd.argoproj.io/sync-options";

/// A phase of a sync, in their order (`sync_tasks.go`, syncPhaseOrder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    PreSync,
    Sync,
    PostSync,
    /// Only if the sync has failed.
    SyncFail,
}

/// As Argo CD names it.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreSync => "PreSync",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::SyncFail => "SyncFail",
        })
    }
}

/// When in a sync an object is applied. Argo CD goes on from one point to the next when all that it has applied is healthy
/// (`sync_context.go`, Sync: multiStep).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) phase: Phase,
    pub(super) wave: i64,
}

/// `the PostSync phase`, `wave 5 of the Sync phase`
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wave {
            0 => write!(f, "the {} phase", self.phase),
            wave => write!(f, "wave {wave} of the {} phase", self.phase),
        }
    }
}

/// What Argo CD does with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Applies it, and prunes it when it has left the chart.
    Resource { wave: i64 },
    /// Applies it in some phases of each sync. It never prunes it.
    Hook(Hook),
    /// Nothing.
    NotApplied(Why),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    /// At least one.
    phases: BTreeSet<Phase>,
    wave: i64,
    /// `before-hook-creation`: an older object is deleted first (`sync_task.go`, deleteBeforeCreation).
    pub(super) deleted_before: bool,
    /// `hook-succeeded`: it is deleted when the sync has succeeded (`sync_context.go`, Sync: hooksPendingDeletionSuccessful).
    pub(super) deleted_after: bool,
    /// The annotation that makes it a hook.
    pub(super) annotation: &'static str,
    /// Of Helm's events it has those of an install only.
    pub(super) is_for_installs: bool,
}

/// Why an object is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// A hook of no event that Argo CD knows; the annotation and its value.
    UnknownHook(&'static str, String),
    /// Created when the Application is deleted; the annotation.
    DeletionHook(&'static str),
    /// `argocd.argoproj.io/hook: Skip`. It is not pruned either.
    Skip,
}

/// Reads the role off the annotations.
pub(super) fn role(object: &Object) -> Role {
    let list = |key| words(object, key);
    let argo_types = list(ARGO_HOOK);
    let has_argo_hook = annotation(&object.body, ARGO_HOOK).is_some();
    let known = |name: &&str| *name == "Skip" || phase_of_argo(name).is_some();
    let argo_types: Vec<_> = argo_types.into_iter().filter(known).collect();
    if !argo_types.is_empty() && argo_types.iter().all(|name| *name == "Skip") {
        return Role::NotApplied(Why::Skip);
    }
    let helm = annotation(&object.body, HOOK);
    let is_helm_hook = helm.is_some_and(|events| events != "crd-install");
    let wave = wave(object);
    if !has_argo_hook && !is_helm_hook {
        return Role::Resource { wave };
    }
    let events = list(HOOK);
    let (annotation, phases): (_, BTreeSet<_>) = match argo_types.is_empty() {
        true => (
            HOOK,
            events.iter().copied().filter_map(phase_of_helm).collect(),
        ),
        false => (
            ARGO_HOOK,
            argo_types
                .iter()
                .copied()
                .filter_map(phase_of_argo)
                .collect(),
        ),
    };
    if phases.is_empty() {
        let deletion = [
            (ARGO_HOOK, ["PreDelete", "PostDelete"]),
            (HOOK, ["pre-delete", "post-delete"]),
        ];
        let for_deletion = deletion
            .into_iter()
            .find(|(key, names)| list(key).iter().any(|name| names.contains(name)));
        return Role::NotApplied(match for_deletion {
            Some((key, _)) => Why::DeletionHook(key),
            None => {
                let key = if is_helm_hook { HOOK } else { ARGO_HOOK };
                Why::UnknownHook(key, list(key).join(","))
            }
        });
    }
    let (argo, helm) = (list(ARGO_DELETE_POLICY), list(HOOK_DELETE_POLICY));
    let has = |of_argo, of_helm| argo.contains(&of_argo) || helm.contains(&of_helm);
    let deleted_after = has("HookSucceeded", "hook-succeeded");
    let is_default = !deleted_after && !has("HookFailed", "hook-failed");
    let is_event = |event: &&str| phase_of_helm(event).is_some();
    Role::Hook(Hook {
        phases,
        wave,
        deleted_before: is_default || has("BeforeHookCreation", "before-hook-creation"),
        deleted_after,
        annotation,
        is_for_installs: annotation == HOOK
            && events
                .iter()
                .filter(|event| is_event(event))
                .all(|event| event.ends_with("-install")),
    })
}

/// Whether the live object is not pruned (`sync_context.go`, isPruningDisabled). An option of the whole Application is not known here.
pub(super) fn is_never_pruned(object: &Object) -> bool {
    words(object, OPTIONS).contains(&"Prune=false")
}

impl Role {
    /// When a sync first applies the object, if it does.
    pub(super) fn first(&self) -> Option<Point> {
        match self {
            Self::Resource { wave } => Some(Point {
                phase: Phase::Sync,
                wave: *wave,
            }),
            Self::Hook(hook) => {
                let phase = *hook
                    .phases
                    .iter()
                    .find(|phase| **phase != Phase::SyncFail)?;
                Some(Point {
                    phase,
                    wave: hook.wave,
                })
            }
            Self::NotApplied(_) => None,
        }
    }

    /// Whether the object is there after a sync that has succeeded.
    pub(super) fn stays(&self) -> bool {
        match self {
            Self::Hook(hook) => !hook.deleted_after && self.first().is_some(),
            Self::Resource { .. } => true,
            Self::NotApplied(_) => false,
        }
    }
}

fn phase_of_argo(name: &str) -> Option<Phase> {
    match name {
        "PreSync" => Some(Phase::PreSync),
        "Sync" => Some(Phase::Sync),
        "PostSync" => Some(Phase::PostSync),
        "SyncFail" => Some(Phase::SyncFail),
        _ => None,
    }
}

fn phase_of_helm(event: &str) -> Option<Phase> {
    match event {
        "pre-install" | "pre-upgrade" => Some(Phase::PreSync),
        "post-install" | "post-upgrade" => Some(Phase::PostSync),
        _ => None,
    }
}

/// Helm's weight counts for regular resources too. What is not a number counts as missing.
fn wave(object: &Object) -> i64 {
    let number = |key| annotation(&object.body, key)?.parse().ok();
    number(WAVE)
        .or_else(|| number(HOOK_WEIGHT))
        .unwrap_or_default()
}

fn words<'a>(object: &'a Object, key: &str) -> Vec<&'a str> {
    let list = annotation(&object.body, key).unwrap_or_default();
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use helm_plan::{manifest, testing::config};

    use super::*;

    /// `PreSync:-5 before after`
    fn described(annotations: &[(&str, &str)]) -> String {
        let doc = annotations
            .iter()
            .fold(config("a"), |doc, (key, value)| doc.annotation(key, value));
        let objects = manifest::parse(&doc.to_string(), "shop").unwrap();
        match role(&objects[0]) {
            Role::Resource { wave } => format!("resource:{wave}"),
            Role::NotApplied(why) => format!("{why:?}"),
            Role::Hook(hook) => {
                let phases: Vec<_> = hook.phases.iter().map(ToString::to_string).collect();
                let flag = |is: bool, name| if is { name } else { "" };
                format!(
                    "{}:{}{}{}{}",
                    phases.join("+"),
                    hook.wave,
                    flag(hook.deleted_before, " before"),
                    flag(hook.deleted_after, " after"),
                    flag(hook.is_for_installs, " install"),
                )
            }
        }
    }

    /// The rows of the tests of Argo CD itself (`hook_test.go`, `type_test.go`, `delete_policy_test.go`, `waves_test.go`,
    /// `ignore_test.go`), and what they leave out.
    #[test]
    fn annotations_mean_what_they_mean_to_argo_cd() {
        let helm = "helm.sh/hook";
        let argo = "argocd.argoproj.io/hook";
        let policy = "helm.sh/hook-delete-policy";
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "resource:0"),
            (&[(helm, "pre-install")], "PreSync:0 before install"),
            (&[(helm, "pre-upgrade")], "PreSync:0 before"),
            (&[(helm, "pre-install, pre-upgrade")], "PreSync:0 before"),
            (&[(helm, "post-install")], "PostSync:0 before install"),
            (
                &[(helm, "pre-install,post-upgrade")],
                "PreSync+PostSync:0 before",
            ),
            (
                &[(helm, "pre-install,pre-rollback")],
                "PreSync:0 before install",
            ),
            (&[(helm, "crd-install")], "resource:0"),
            (&[(helm, "crd-install,pre-upgrade")], "PreSync:0 before"),
            (&[(helm, "test")], r#"UnknownHook("helm.sh/hook", "test")"#),
            (
                &[(helm, "Pre-Upgrade")],
                r#"UnknownHook("helm.sh/hook", "Pre-Upgrade")"#,
            ),
            (&[(helm, "post-delete")], r#"DeletionHook("helm.sh/hook")"#),
            (&[(helm, "pre-delete,post-upgrade")], "PostSync:0 before"),
            (&[(helm, "pre-install"), (argo, "Skip")], "Skip"),
            (
                &[(helm, "pre-install"), (argo, "PostSync")],
                "PostSync:0 before",
            ),
            (
                &[(helm, "pre-upgrade"), (argo, "Sometimes")],
                "PreSync:0 before",
            ),
            (
                &[(argo, "Sometimes")],
                r#"UnknownHook("argocd.argoproj.io/hook", "Sometimes")"#,
            ),
            (&[(argo, "Skip,Sometimes,Skip")], "Skip"),
            (&[(argo, "Sync,Skip")], "Sync:0 before"),
            (
                &[(argo, "PreDelete")],
                r#"DeletionHook("argocd.argoproj.io/hook")"#,
            ),
            (&[(argo, "SyncFail")], "SyncFail:0 before"),
            (
                &[(helm, "pre-upgrade"), (policy, "hook-succeeded")],
                "PreSync:0 after",
            ),
            (
                &[(helm, "pre-upgrade"), (policy, "hook-failed")],
                "PreSync:0",
            ),
            (
                &[(helm, "pre-upgrade"), (policy, "never")],
                "PreSync:0 before",
            ),
            (
                &[(helm, "pre-upgrade"), (policy, "Hook-Succeeded")],
                "PreSync:0 before",
            ),
            (
                &[
                    (helm, "pre-upgrade"),
                    (policy, "before-hook-creation, hook-succeeded"),
                ],
                "PreSync:0 before after",
            ),
            (
                &[
                    (helm, "pre-upgrade"),
                    (policy, "hook-failed"),
                    ("argocd.argoproj.io/hook-delete-policy", "HookSucceeded"),
                ],
                "PreSync:0 after",
            ),
            (
                &[(helm, "pre-upgrade"), ("helm.sh/hook-weight", "-5")],
                "PreSync:-5 before",
            ),
            (&[("helm.sh/hook-weight", "3")], "resource:3"),
            (
                &[
                    ("helm.sh/hook-weight", "3"),
                    ("argocd.argoproj.io/sync-wave", "7"),
                ],
                "resource:7",
            ),
            (
                &[
                    ("helm.sh/hook-weight", "3"),
                    ("argocd.argoproj.io/sync-wave", "first"),
                ],
                "resource:3",
            ),
        ];
        for (annotations, expected) in cases {
            assert_eq!(described(annotations), *expected, "{annotations:?}");
        }
    }
}
