//! The record of the policy on a workload: the annotation `rollout-guard/configs`.
//!
//! ```text
//! {"ConfigMap/app": entry, …}
//! entry  = memory | memory "@" template "|" [memory]
//! memory = digest | "absent" ["/" keys] | "missing"
//! ```

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The annotation on the workload.
pub const CONFIGS: &str = "rollout-guard/configs";

/// A config that the pods require and that did not exist when it was looked for.
pub const MISSING: &str = "missing";

const FINGERPRINT_BYTES: usize = 8;

/// Takes `memory@template|memory` apart: the pods of this template started with the first memory, those of any other with the second, which
/// is empty if nothing is known of them. `None`: the entry is one memory.
pub fn split(entry: &str) -> Option<(&str, &str, &str)> {
    let (running, rest) = entry.split_once('@')?;
    let (template, next) = rest.split_once('|')?;
    Some((running, template, next))
}

/// What pods started with. `template` is the fingerprint of the stored template; few entries need it. `None`: it is not known.
pub fn memory<'e, 't>(entry: &'e str, template: impl FnOnce() -> &'t str) -> Option<&'e str> {
    match split(entry) {
        None => Some(entry),
        Some((running, of, _)) if of == template() => Some(running),
        Some((_, _, next)) => Some(next).filter(|next| !next.is_empty()),
    }
}

/// Stored templates are alike if their fingerprints are.
pub fn fingerprint(template: &Value) -> String {
    let mut template = template.clone();
    template.sort_all_objects();
    let hash = Sha256::digest(template.to_string());
    crate::hex_prefix(&hash, FINGERPRINT_BYTES)
}
