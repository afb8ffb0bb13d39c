//! Which revision of a release is current, by Helm's own rule.
//!
//! In: the operation, the revision that it makes, and a closure that tells the status of an earlier
//! revision. Out: the number of the current revision, or why it is not known. Refuses: what the closure
//! refuses.
//!
//! For a rollback, current is the last revision. For an upgrade it is the last one if that is
//! `deployed`, else the newest `deployed` one, else the last one when it is `failed` or `superseded`
//! (helm `pkg/action/upgrade.go`, prepareUpgrade). The new revision is always the last one plus one.
//!
//! The status of the last revision is the one in its content; `deployed` ones are found by label
//! (`pkg/storage/storage.go`, Last and Deployed). The two differ where somebody has edited the label.

use crate::lifecycle::{Operation, Status};

/// How many revisions are looked at, newest first. Helm keeps ten unless told otherwise, and each may be a
/// look-up in a cluster.
pub const MAX_REVISIONS: u64 = 64;

/// What an operation starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Current {
    /// Nothing: it is an install.
    None,
    /// This revision.
    Revision(u64),
    /// A revision that no record tells. Helm keeps to `--history-max` before it writes the new record
    /// (`pkg/storage/storage.go`, Create), and spares only the deployed revision.
    Unknown(Reason),
}

/// Why the current revision is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The last revision has no record, and no older one is deployed.
    #[error("revision {0} has no record, and no older one is deployed")]
    Gone(u64),
    /// Helm upgrades from no revision in such a state, and no older one is deployed.
    #[error("revision {0} is {1}, and no older one is deployed")]
    NotDeployed(u64, Status),
    /// None of these revisions is deployed, and older ones were not looked at.
    #[error("none of the revisions {oldest} to {last} is deployed")]
    Beyond {
        /// The oldest one that was looked at.
        oldest: u64,
        /// The last one.
        last: u64,
    },
}

/// What an operation that makes revision `next` starts from.
///
/// `status` is asked for the last revision first, then for older ones, newest first. It answers `None` for
/// a revision that does not exist. For a rollback it is not asked.
pub fn current<E>(
    operation: Operation,
    next: u64,
    mut status: impl FnMut(u64) -> Result<Option<Status>, E>,
) -> Result<Current, E> {
    let last = next.saturating_sub(1);
    match operation {
        Operation::Install => return Ok(Current::None),
        Operation::Rollback => return Ok(Current::Revision(last)),
        Operation::Upgrade => {}
    }
    let status_of_last = status(last)?;
    if status_of_last == Some(Status::Deployed) {
        return Ok(Current::Revision(last));
    }
    let oldest = last.saturating_sub(MAX_REVISIONS - 1).max(1);
    for revision in (oldest..last).rev() {
        if status(revision)? == Some(Status::Deployed) {
            return Ok(Current::Revision(revision));
        }
    }
    Ok(match status_of_last {
        _ if oldest > 1 => Current::Unknown(Reason::Beyond { oldest, last }),
        Some(Status::Failed | Status::Superseded) => Current::Revision(last),
        Some(
            status @ (Status::Deployed
            | Status::Uninstalled
            | Status::Uninstalling
            | Status::PendingInstall
            | Status::PendingUpgrade
            | Status::PendingRollback
            | Status::Unknown),
        ) => Current::Unknown(Reason::NotDeployed(last, status)),
        None => Current::Unknown(Reason::Gone(last)),
    })
}

#[cfg(test)]
mod tests;
