//! Which workloads are stamped, and which of their configs count.
//!
//! In: the workload as raw JSON, and the settings. Out: whether it is chosen; its references without those that do not
//! count, and with those that only an annotation names. Refuses: `rollout-guard/enabled` with an odd value. Odd
//! annotations of other tools are warnings.

use pod_references::{
    chosen,
    reloaders::{self, Counts, Unasked, Warning, Watched},
};
use serde_json::Value;

use super::references::{ConfigId, ConfigKind, References, Use};
use crate::{
    annotations::{self, ENABLED},
    settings::Workloads,
};

/// Whether this policy stamps the workload.
pub fn is_chosen(workload: &Value, workloads: Workloads) -> Result<bool, annotations::Error> {
    Ok(unasked(workload, &Watched::of(workload), workloads)?.is_some())
}

/// `None`: the workload is not chosen.
fn unasked(
    workload: &Value,
    watched: &Watched,
    workloads: Workloads,
) -> Result<Option<Unasked>, annotations::Error> {
    let enabled = annotations::flag(workload, ENABLED)?;
    let by_default = workloads == Workloads::All;
    Ok(chosen::unasked(workload, watched, enabled, by_default))
}

/// Of the configs that the pod template names, leaves those that count, and adds those that only the annotations of other
/// tools name.
pub fn narrow(named: &mut References, workload: &Value, workloads: Workloads) {
    let watched = Watched::of(workload);
    // A workload that is not chosen was recorded when everything counted.
    let chosen = unasked(workload, &watched, workloads).ok().flatten();
    let unasked = chosen.unwrap_or(Unasked::All);
    named.retain(|id, r#use| {
        let counts = watched.counts(id.kind.into(), &id.name, unasked);
        r#use.if_marked = counts == Counts::IfMarked;
        r#use.whole |= counts == Counts::Whole;
        counts != Counts::No
    });
    for (kind, name) in watched.listed() {
        if let Some(kind) = ConfigKind::of(kind) {
            let name = name.to_owned();
            let listed = named.entry(ConfigId { kind, name }).or_default();
            listed.whole = true;
        }
    }
}

/// Whether a config does not count that a workload uses: annotations of the config of another tool say so.
pub fn leaves_out(config: &Value, r#use: &Use) -> bool {
    reloaders::is_ignored(config) || r#use.if_marked && !reloaders::is_marked(config)
}

/// What is odd in the annotations of other tools. As long as the workload is not chosen, only that which may be why.
pub fn warnings(workload: &Value, workloads: Workloads) -> Vec<Warning> {
    let watched = Watched::of(workload);
    let is_chosen = matches!(unasked(workload, &watched, workloads), Ok(Some(_)));
    let matters = |warning: &Warning| is_chosen || !matches!(warning, Warning::NotSupported { .. });
    watched.warnings.into_iter().filter(matters).collect()
}
