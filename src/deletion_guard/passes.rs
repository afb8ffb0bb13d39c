//! What passes whatever needs the object, and without a look-up.
//!
//! In: the request. Out: a [`Pass`], or nothing. Refuses: nothing.

use helm_plan::metadata::{self, annotation};
use pod_references::Kind;

use super::{
    consumers::{Controller, controller},
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

/// Annotations of objects that a controller makes again when they are deleted.
const MADE_BY: [&str; 2] = [
    // cert-manager: the Secret of a Certificate, which is deleted to have it issued again
    "cert-manager.io/certificate-name",
    // emberstack/kubernetes-reflector: a copy
    "reflector.v1.k8s.emberstack.com/auto-reflects",
];

/// What controllers put into each namespace, and put there again: those of Kubernetes, and of OpenShift.
const IN_EACH_NAMESPACE: [(Kind, &str); 5] = [
    (Kind::ConfigMap, "kube-root-ca.crt"),
    (Kind::ConfigMap, "openshift-service-ca.crt"),
    (Kind::ServiceAccount, "default"),
    (Kind::ServiceAccount, "builder"),
    (Kind::ServiceAccount, "deployer"),
];

/// Why a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The garbage collector or the namespace controller sent it.
    Kubernetes,
    /// The annotation says so.
    Allowed,
    /// A controller makes the object, or its keys, again.
    MadeAgain,
}

impl Pass {
    pub(super) fn verdict(self, taken: &Taken<'_>) -> Verdict {
        match self {
            Self::Kubernetes | Self::MadeAgain => Verdict::accept(),
            Self::Allowed => {
                Verdict::accept().audit("deletion-allowed", format!("{taken}: {ALLOW_DELETE}"))
            }
        }
    }
}

/// Whether the request passes, whoever needs the object.
pub(super) fn without_looking(request: &Request, taken: &Taken<'_>) -> Option<Pass> {
    if CONTROLLERS.contains(&request.user()) {
        return Some(Pass::Kubernetes);
    }
    // Whoever updates an object can allow it in the same request.
    let allows = |object| flag(object, ALLOW_DELETE) == Ok(Some(true));
    if allows(taken.object) || allows(&request.object) {
        return Some(Pass::Allowed);
    }
    let is_made_again = match taken.keys {
        None => makes_object(taken),
        Some(_) => makes_object(taken) || metadata::filled_by(taken.object).is_some(),
    };
    is_made_again.then_some(Pass::MadeAgain)
}

fn makes_object(taken: &Taken<'_>) -> bool {
    IN_EACH_NAMESPACE.contains(&(taken.kind, taken.name))
        || MADE_BY
            .iter()
            .any(|key| annotation(taken.object, key).is_some())
        || controller(taken.object).is_some_and(|owner| is_maker(&owner, taken.kind))
}

/// Whether an owner makes the object again. It is not looked up: if it is gone, the garbage collector takes the object
/// anyway.
fn is_maker(owner: &Controller<'_>, kind: Kind) -> bool {
    let group = owner.api_version.split_once('/');
    let group = group.map_or("", |(group, _)| group);
    // StatefulSets and pods make claims.
    kind == Kind::PersistentVolumeClaim || !BUILT_IN.contains(&group)
}
