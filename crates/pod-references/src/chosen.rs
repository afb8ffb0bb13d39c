//! Which workloads roll out when their config changes.
//!
//! In: a workload as raw JSON, and what its annotations say. Out: which of the configs that its pod template names count.
//! Refuses: nothing.

use serde_json::Value;

use crate::reloaders::{Unasked, Watched};

/// On the workload: `"true"` and `"false"` win over all else.
pub const ENABLED: &str = "rollout-guard/enabled";

/// `None`: the workload is left alone. Its own annotation (`enabled`) decides first; then the default, unless the workload has
/// an owner, which would overwrite the template, or the annotations of another tool opt out; then the annotations of other
/// tools.
pub fn unasked(
    workload: &Value,
    watched: &Watched,
    enabled: Option<bool>,
    by_default: bool,
) -> Option<Unasked> {
    if let Some(enabled) = enabled {
        return enabled.then_some(Unasked::All);
    }
    let owners = workload
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let controlled = owners
        .into_iter()
        .flatten()
        .any(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    match by_default && !controlled {
        true => (!watched.is_opted_out()).then_some(Unasked::UnlessOptedOut),
        false => watched.is_opted_in().then_some(Unasked::None),
    }
}
