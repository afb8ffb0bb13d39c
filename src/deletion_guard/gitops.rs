//! What GitOps tools do around a deletion.
//!
//! In: the request. Out: a [`Doubt`] where a rejection would hold up the tool for ever. Refuses: nothing.

use helm_plan::metadata::annotation;

use super::{consumers::Doubt, taken::Taken};
use crate::{request::Request, settings::DeletionGuard};

/// The ServiceAccounts of Argo CD's controller: in its own cluster, whatever operator has installed it, and in clusters that were added.
const ARGO_CD: [&str; 2] = ["argocd-application-controller", ":argocd-manager"];
const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";

/// Why a rejection would hold it up. Whoever names the user in the settings knows what his tool does.
pub(super) fn doubt(request: &Request, taken: &Taken<'_>, guard: &DeletionGuard) -> Option<Doubt> {
    let option = |wanted: &str| {
        let options = annotation(taken.object, SYNC_OPTIONS).unwrap_or_default();
        options.split(',').any(|option| option.trim() == wanted)
    };
    // Both delete what they cannot change, and create it again. If they may not, they apply nothing more.
    let is_forced =
        annotation(taken.object, FORCE).is_some_and(|force| force.eq_ignore_ascii_case("enabled"));
    if taken.keys.is_none() && (is_forced || option("Force=true")) {
        return Some(Doubt::Replaced);
    }
    // Within a sync wave, Argo CD prunes first and applies then, and a prune that fails ends the sync (gitops-engine,
    // pkg/sync/sync_context.go, runTasks). A rejection would keep back the very change that lets go of the object.
    let user = request.user();
    let prunes_first = ARGO_CD.iter().any(|controller| user.ends_with(controller))
        && taken.keys.is_none()
        && !option("PruneLast=true")
        && !guard.reject_for.include(user, &request.groups());
    prunes_first.then_some(Doubt::PrunedFirst)
}
