//! What an operation does to a release, and what that breaks: all of this crate in one call.
//!
//! ```text
//! current, target ─► plan ─► findings ─┬─► assessment
//!       ▲                              │
//!       └── live objects ◄── looked at ┘ as far as they can change a finding
//! ```
//!
//! In: the operation, the current release and the target, and a closure that looks at live objects. Out: an
//! [`Assessment`]. Refuses: a workload whose pod template cannot be read; whatever the closure refuses.

use std::collections::BTreeSet;

use crate::{
    consumers,
    findings::{Change, Finding, findings},
    lifecycle::Operation,
    manifest::ObjectId,
    plan::{LiveObjects, Plan},
    release::Release,
};

/// How many live objects are looked at; each may be a look-up in a cluster. Findings beyond stay as they
/// are.
const MAX_LIVE_LOOKUPS: usize = 32;

/// A planned operation, and what was found.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// What is done to the release.
    pub operation: Operation,
    /// The current revision; `None` for an install.
    pub current: Option<u64>,
    /// The release that is to be.
    pub target: Release,
    /// What Helm will do.
    pub plan: Plan,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// What is known of a live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// It does not exist.
    Absent,
    /// It exists.
    Present {
        /// Whether it has `helm.sh/resource-policy: keep`.
        kept: bool,
    },
    /// Nobody may look: it counts as its manifest says.
    Unknown,
}

/// Why an operation cannot be assessed.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// Who needs what cannot be told.
    #[error(transparent)]
    Consumers(#[from] consumers::Error),
    /// A live object could not be looked at.
    #[error(transparent)]
    Live(E),
}

/// Plans an operation and reads the findings off it. `live` looks up an object of an API version:
/// `live("v1", id)`.
pub fn assess<E>(
    operation: Operation,
    current: Option<&Release>,
    target: Release,
    mut live: impl FnMut(&str, &ObjectId) -> Result<Live, E>,
) -> Result<Assessment, Error<E>> {
    let mut known = LiveObjects::default();
    let mut asked = BTreeSet::new();
    loop {
        let plan = Plan::new(operation, current, &target, &known);
        let findings = findings(Change {
            operation,
            current,
            target: &target,
            plan: &plan,
        })?;
        let mut learned = false;
        for finding in &findings {
            let (id, Some(api_version)) = (&finding.object, &finding.depends_on_live) else {
                continue;
            };
            if asked.len() == MAX_LIVE_LOOKUPS || !asked.insert(id.clone()) {
                continue;
            }
            learned |= match live(api_version, id).map_err(Error::Live)? {
                Live::Absent => known.gone.insert(id.clone()),
                Live::Present { kept } => kept && known.kept.insert(id.clone()),
                Live::Unknown => false,
            };
        }
        // What is learned may bring up the next finding: behind a hook that fails nothing is planned.
        if !learned {
            return Ok(Assessment {
                operation,
                current: current.map(|current| current.revision),
                target,
                plan,
                findings,
            });
        }
    }
}
