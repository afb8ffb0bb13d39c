//! Helm would delete an object that belongs to another release by now.
//!
//! ## Why
//!
//! Helm deletes what left the release by its name, whoever owns it now. If another release has taken the object over
//! (`helm upgrade --take-ownership`), or was installed with an object of the same name, that release loses it. This is common when a chart is
//! split into two. The live object tells: the annotations `meta.helm.sh/release-name` and `meta.helm.sh/release-namespace` name its release.
//!
//! rollout-guard looks at ConfigMaps, Secrets, ServiceAccounts and PersistentVolumeClaims for this, as far as it may read them.
//!
//! ## Example
//!
//! Before:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//! data:
//!   setting: one
//! ```
//!
//! After, the ConfigMap is gone from this chart. Another release has taken it over in the meantime.
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: other
//! ```
//!
//! ## Ways out
//!
//! - Keep the live object: `kubectl annotate configmap app-config helm.sh/resource-policy=keep`. Once this release no longer has the object, remove the
//!   annotation again.

use std::fmt;

use super::{Finding, Level, Lint, Linter, linter::Fate};
use crate::{
    live::{self, Live},
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "other-release",
    summary: "Helm would delete an object that belongs to another release by now",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// The live object belongs to another release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The name of that release.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let is_pruned = matches!(fate, Fate::Pruned | Fate::HookPruned);
    // What a hook makes anew first is another matter: hook-pruned.
    if !is_pruned || !id.is_named_by_pods() || linter.is_recreated(id) {
        return None;
    }
    let Some(Live::Present(object)) = linter.live_if_there_is_time(id) else {
        return None;
    };
    let (release, namespace) = live::release(object)?;
    let target = linter.change.target;
    if (release, namespace) == (&target.name, &target.namespace) {
        return None;
    }
    let fact = Fact {
        release: release.to_owned(),
        namespace: namespace.to_owned(),
    };
    Some(Finding {
        keep: linter.keep(id),
        ..Finding::new(id, fact)
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        // To keep it is the way out.
        Vec::new()
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "belongs to the release {} in the namespace {} by now, and Helm deletes it because it is no longer in this one",
            self.release, self.namespace
        )
    }
}
