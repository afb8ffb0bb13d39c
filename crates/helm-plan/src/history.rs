//! Which revision of a release is current, by Helm's own rule.
//!
//! In: the operation, the revision that it makes, and a closure that tells the status of an earlier
//! revision. Out: the number of the current revision. Refuses: a history in which it cannot be found.
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

/// Why no revision is current.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// The closure failed.
    #[error(transparent)]
    Status(E),
    /// None of the newest revisions is deployed, and not all were looked at.
    #[error("none of the last {MAX_REVISIONS} revisions is deployed")]
    NoneDeployed,
    /// Helm would refuse the operation as well.
    #[error("there is no revision to upgrade from")]
    NoRevision,
}

/// The revision that is current when an operation makes revision `next`; `None` for an install.
///
/// `status` is asked for the last revision first, then for older ones, newest first. It answers `None` for
/// a revision that does not exist.
pub fn current<E>(
    operation: Operation,
    next: u64,
    mut status: impl FnMut(u64) -> Result<Option<Status>, E>,
) -> Result<Option<u64>, Error<E>> {
    let last = next.saturating_sub(1);
    match operation {
        Operation::Install => return Ok(None),
        Operation::Rollback => return Ok(Some(last)),
        Operation::Upgrade => {}
    }
    let status_of_last = status(last).map_err(Error::Status)?;
    if status_of_last == Some(Status::Deployed) {
        return Ok(Some(last));
    }
    let oldest = last.saturating_sub(MAX_REVISIONS - 1).max(1);
    for revision in (oldest..last).rev() {
        if status(revision).map_err(Error::Status)? == Some(Status::Deployed) {
            return Ok(Some(revision));
        }
    }
    match status_of_last {
        _ if oldest > 1 => Err(Error::NoneDeployed),
        Some(Status::Failed | Status::Superseded) => Ok(Some(last)),
        Some(
            Status::Deployed
            | Status::Uninstalled
            | Status::Uninstalling
            | Status::PendingInstall
            | Status::PendingUpgrade
            | Status::PendingRollback
            | Status::Unknown,
        )
        | None => Err(Error::NoRevision),
    }
}

#[cfg(test)]
mod tests;
