//! What passes whatever needs the object, and without a look-up.
//!
//! In: the request. Out: a [`Pass`], a [`Doubt`], or nothing. Refuses: nothing.

use helm_plan::metadata::{self, annotation};
use pod_references::Kind;

use super::{
    consumers::{Controller, Doubt, controller, is_being_deleted},
    taken::Taken,
};
use crate::{
    annotations::{ALLOW_DELETE, flag},
    request::Request,
    verdict::Verdict,
};

/// The users that are told what to delete by Kubernetes itself: with an own account for each controller, and without.
const CONTROLLERS: [&str; 3] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:kube-controller-manager",
];

/// API groups of Kubernetes itself. Their kinds make no ConfigMaps or Secrets for those that they own.
const BUILT_IN: [&str; 3] = ["", "apps", "batch"];

/// Annotations of objects that a controller makes again when they are deleted, if it still does: they stay when its own object has gone.
const MADE_BY: [&str; 2] = [
    // cert-manager: the Secret of a Certificate, which is deleted to have it issued again
    "cert-manager.io/certificate-name",
    // emberstack/kubernetes-reflector: a copy
    "reflector.v1.k8s.emberstack.com/auto-reflects",
];

/// What controllers put into each namespace, and put there again: those of Kubernetes, and of OpenShift.
const IN_EACH_NAMESPACE: [(Kind, &str); 3] = [
    (Kind::ConfigMap, "kube-root-ca.crt"),
    (Kind::ConfigMap, "openshift-service-ca.crt"),
    (Kind::ServiceAccount, "default"),
];

/// Why a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The garbage collector or the namespace controller sent it.
    Kubernetes,
    /// It waits for finalizers, and cannot be brought back.
    BeingDeleted,
    /// The annotation says so.
    Allowed,
    /// A controller makes the object again.
    MadeAgain,
}

impl Pass {
    pub(super) fn verdict(self, taken: &Taken<'_>) -> Verdict {
        match self {
            Self::Kubernetes | Self::BeingDeleted | Self::MadeAgain => Verdict::accept(),
            Self::Allowed => {
                Verdict::accept().audit("deletion-allowed", format!("{taken}: {ALLOW_DELETE}"))
            }
        }
    }
}

/// Whether the request passes, whoever needs the object.
pub(super) fn without_looking(request: &Request, taken: &Taken<'_>) -> Option<Pass> {
    // Whoever updates an object can allow it in the same request.
    let allows = |object| flag(object, ALLOW_DELETE) == Ok(Some(true));
    if CONTROLLERS.contains(&request.user()) {
        Some(Pass::Kubernetes)
    } else if is_being_deleted(taken.object) {
        Some(Pass::BeingDeleted)
    } else if allows(taken.object) || allows(&request.object) {
        Some(Pass::Allowed)
    } else if IN_EACH_NAMESPACE.contains(&(taken.kind, taken.name))
        || controller(taken.object).is_some_and(|owner| is_maker(&owner, taken.kind))
    {
        Some(Pass::MadeAgain)
    } else {
        None
    }
}

/// Whether an annotation says that a controller makes the object, or its keys, again.
pub(super) fn made_again(taken: &Taken<'_>) -> Option<Doubt> {
    let key = match taken.keys {
        None => MADE_BY
            .into_iter()
            .find(|key| annotation(taken.object, key).is_some()),
        Some(_) => metadata::filled_by(taken.object),
    };
    key.map(Doubt::MadeAgain)
}

/// Whether an owner makes the object again. It is not looked up: if it is gone, the garbage collector takes the object
/// anyway.
fn is_maker(owner: &Controller<'_>, kind: Kind) -> bool {
    let group = owner.api_version.split_once('/');
    let group = group.map_or("", |(group, _)| group);
    // StatefulSets and pods make claims.
    kind == Kind::PersistentVolumeClaim || !BUILT_IN.contains(&group)
}
