//! Helm would delete a ServiceAccount or a custom resource that is in use, and create it again.
//!
//! ## Why
//!
//! The object is a hook whose delete policy is `before-hook-creation`, which is also the default. Each operation that runs the hook deletes the
//! object and creates it again.
//!
//! - A new ServiceAccount has another UID. The API server refuses the tokens of pods that run as the old one with 401 (Unauthorized), until
//!   the kubelet renews them: up to 48 minutes. Operators, ingress controllers and everything else that talks to the API server stop working
//!   until then. Pods that do not get a token, because of `automountServiceAccountToken: false`, do not count.
//! - With a custom resource, its operator usually deletes all that it has made for it.
//!
//! Custom resources that run once, such as an Argo Workflow, do not count.
//!
//! ## Example
//!
//! The chart contains these objects before and after the upgrade:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ServiceAccount
//! metadata:
//!   name: operator
//!   annotations:
//!     helm.sh/hook: pre-install,pre-upgrade
//! ---
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata:
//!   name: operator
//! spec:
//!   selector: {matchLabels: {app: operator}}
//!   template:
//!     metadata: {labels: {app: operator}}
//!     spec:
//!       serviceAccountName: operator
//!       containers: [{name: operator, image: operator}]
//! ```
//!
//! ## Ways out
//!
//! - Make the object a regular resource: remove the annotation `helm.sh/hook`. For the first upgrade after that change, use
//!   `helm upgrade --take-ownership`: the object was created by a hook, and Helm does not yet count it as part of the release.
//! - If a hook needs the ServiceAccount before Helm applies resources, give the hook an account of its own.

use std::fmt;

use super::{Finding, Level, Lint, Linter, linter::Fate};
use crate::{
    consumers::{self, Consumer, When},
    lifecycle::Operation,
    live::Live,
    manifest::ObjectId,
    plan::Action,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-recreates-object",
    summary: "Helm would delete a ServiceAccount or a custom resource that is in use, and create it again",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// A hook with `before-hook-creation` is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is done to the release.
    pub operation: Operation,
    /// Whether it is a ServiceAccount.
    pub is_account: bool,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let operation = linter.change.operation;
    let mut actions = linter.change.plan.actions(id);
    let is_recreated = fate == Fate::Stays
        && operation != Operation::Install
        && linter.current.all(id).next().is_some()
        && linter.change.live.get(id) != Some(&Live::Absent)
        && actions.any(|action| matches!(action, Action::DeleteBeforeHook(_)));
    let is_account = id.group.is_empty() && id.kind == "ServiceAccount";
    if !is_recreated || !(is_account || id.is_custom()) || id.is_custom_run() {
        return None;
    }
    let consumers = match is_account {
        true => linter.consumers_of(id, |consumer| runs_with_token(linter, consumer)),
        false => Vec::new(),
    };
    if is_account && consumers.is_empty() {
        return None;
    }
    let fact = Fact {
        operation,
        is_account,
    };
    Some(Finding {
        consumers,
        ..Finding::new(id, fact)
    })
}

/// Whether its pods run on while the account is deleted, and use a token of it.
fn runs_with_token(linter: &Linter<'_>, consumer: &Consumer<'_>) -> bool {
    let lasts = matches!(consumer.when, When::Workload | When::LastingHook(_));
    let accounts = linter.target.hooks(&consumer.needs).iter();
    lasts && consumers::has_token(consumer.object, accounts.map(|(_, account)| *account))
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let mut ways_out =
            vec!["make it a regular resource: remove the annotation helm.sh/hook".to_owned()];
        if self.is_account {
            ways_out.push("give hooks an account of their own".to_owned());
        }
        ways_out
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "is a hook with the delete policy before-hook-creation, so each {} deletes and recreates it; ",
            self.operation.name()
        )?;
        f.write_str(match self.is_account {
            true => "the API server refuses the tokens of running pods (401) until they are renewed, up to 48 minutes",
            false => "what its operator has made for it may be deleted with it",
        })
    }
}
