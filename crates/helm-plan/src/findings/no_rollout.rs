//! Helm would change a config, but send no request for the workload that uses it.
//!
//! ## Why
//!
//! With client-side apply (Helm 3, and releases that Helm 3 began), Helm sends no request for a workload whose manifest did not change, even if
//! its ConfigMap or Secret did. The policy acts only on requests, so it does not see the workload, and its pods keep the old config.
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
//! ---
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata:
//!   name: web
//! spec:
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec:
//!       containers:
//!         - name: web
//!           image: nginx
//!           envFrom: [{configMapRef: {name: app-config}}]
//! ```
//!
//! After, with the same Deployment:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//! data:
//!   setting: two
//! ```
//!
//! ## Ways out
//!
//! - Let the workload change at each upgrade, outside its pod template. Helm then sends it, and it rolls out only if its config changed. The
//!   chart `examples/charts/release-revision` does this:
//!
//!   ```yaml
//!   kind: Deployment
//!   metadata:
//!     annotations:
//!       release-revision: {{ .Release.Revision | quote }}
//!   ```
//!
//! - Send an empty patch from a post-upgrade hook, as the chart `examples/charts/refresh-hook` does. The finding stays, because the release
//!   record does not tell what the hook does. To silence the finding, set its level to `ignore`.

use std::fmt;

use super::{Finding, Level, Lint, Linter, config_data::DataChange, linter::Fate};
use crate::{
    consumers::{Consumer, When},
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "no-rollout",
    summary: "Helm would change a config, but send no request for the workload that uses it",
    default_level: Level::Warn,
    is_loss: false,
    can_be_rescued: false,
};

/// A config changes, and the workloads that use it do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// How many workloads.
    pub workloads: usize,
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let target = linter.change.target;
    let is_silent = fate == Fate::Stays
        && !target.server_side_apply
        && linter.change.current?.is_live_before(target);
    if !is_silent {
        return None;
    }
    let DataChange { before, after } = DataChange::of(linter, id)?;
    let sees_change = |consumer: &Consumer<'_>| match &consumer.keys {
        None => before != after,
        Some(keys) => keys
            .iter()
            .map(String::as_str)
            .any(|key| before.get(key) != after.get(key)),
    };
    let stays = |consumer: &Consumer<'_>| {
        let object = consumer.object;
        let current = linter.current.resources(&object.id).first();
        consumer.when == When::Workload
            && !consumer.is_idle
            && !consumer.is_unseen
            && object.body.pointer("/spec/template").is_some()
            && object.id.kind != "Job"
            && current.is_some_and(|current| current.body == object.body)
    };
    let consumers = linter.consumers_of(id, |consumer| sees_change(consumer) && stays(consumer));
    let workloads = consumers.len();
    (workloads > 0).then(|| Finding {
        consumers,
        ..Finding::new(id, Fact { workloads })
    })
}

impl Fact {
    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        vec![
            "add an annotation with {{ .Release.Revision }} to the metadata of the workload (not of its pod template)".to_owned(),
        ]
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.workloads {
            1 => "changes, but the workload that uses it does not, so Helm sends no request for the workload, and its pods keep the old config",
            _ => "changes, but the workloads that use it do not, so Helm sends no request for them, and their pods keep the old config",
        })
    }
}
