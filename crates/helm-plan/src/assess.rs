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

use crate::{
    consumers,
    findings::{self, Change, Finding, Question},
    lifecycle::Operation,
    live::{Live, LiveObjects},
    manifest::ObjectId,
    plan::Plan,
    release::Release,
};

/// How many live objects are looked at; each may be a look-up in a cluster.
const MAX_LIVE_LOOKUPS: usize = 32;

/// How often the plan is made anew with what was seen. What is seen rarely brings up another question.
const MAX_ROUNDS: usize = 4;

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
    /// How many live objects were not looked at because there were too many. They count as their manifests
    /// say.
    pub not_looked_at: usize,
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
    let mut seen = LiveObjects::default();
    let mut rounds = 0;
    loop {
        let plan = Plan::new(operation, current, &target, &seen);
        let report = findings::report(Change {
            operation,
            current,
            target: &target,
            plan: &plan,
            live: &seen,
        })?;
        let room = match rounds {
            MAX_ROUNDS => 0,
            _ => MAX_LIVE_LOOKUPS - seen.len(),
        };
        if report.questions.is_empty() || room == 0 {
            return Ok(Assessment {
                operation,
                current: current.map(|current| current.revision),
                not_looked_at: report.questions.len(),
                findings: report.findings,
                plan,
                target,
            });
        }
        for Question { id, api_version } in report.questions.into_iter().take(room) {
            let answer = live(&api_version, &id).map_err(Error::Live)?;
            seen.insert(id, answer);
        }
        rounds += 1;
    }
}

#[cfg(test)]
mod tests;
