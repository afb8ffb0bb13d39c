//! Reads what a pending record is judged by: itself, the current release, and live objects.
//!
//! In: a pending record, and the cluster. Out: an [`Assessed`] release. Refuses: a record that cannot be
//! read, a history without a current revision, a look-up that failed.

use helm_plan::{
    Assessment, Live, assess,
    lifecycle::Operation,
    manifest::ObjectId,
    record::{self, Driver},
    release::{self, Release},
};
use serde_json::Value;

use super::history::{self, History};
use crate::{
    cluster::{Cause, Cluster, LookupError, ObjectRef},
    settings::ReleaseGuard,
};

/// A pending record that is to be judged.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) driver: Driver,
    /// The namespace of the record.
    pub(super) namespace: &'a str,
    pub(super) object: &'a Value,
}

/// A pending release, and what was found.
pub(super) struct Assessed {
    pub(super) assessment: Assessment,
    /// How Helm stores this release.
    pub(super) driver: Driver,
    /// The revision that a rollback goes back to, where the record tells.
    pub(super) rollback_target: Option<u64>,
}

/// Why a record cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error("the label says pending, but the status inside the record does not")]
    NotPending,
    #[error(transparent)]
    History(#[from] history::Error),
    #[error(transparent)]
    Manifest(#[from] release::Error),
    #[error(transparent)]
    Assess(#[from] assess::Error<LookupError>),
    /// Of the pending records of a namespace.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

pub(super) fn assess(
    record: Record<'_>,
    guard: &ReleaseGuard,
    cluster: &dyn Cluster,
) -> Result<Assessed, Error> {
    let target = record::decode(record.object, record.driver, guard.max_record_bytes)?;
    let operation = Operation::pending(target.info.status).ok_or(Error::NotPending)?;
    let history = History {
        cluster,
        driver: record.driver,
        namespace: record.namespace,
        max_record_bytes: guard.max_record_bytes,
    };
    let current = history.current(operation, &target)?;
    let current = current.map(Release::parse).transpose()?;
    let rollback_target = target.info.rollback_target();
    let target = Release::parse(target)?;
    let live = |api_version: &str, id: &ObjectId| look_at(api_version, id, cluster);
    Ok(Assessed {
        assessment: helm_plan::assess(operation, current.as_ref(), target, live)?,
        driver: record.driver,
        rollback_target,
    })
}

fn look_at(api_version: &str, id: &ObjectId, cluster: &dyn Cluster) -> Result<Live, LookupError> {
    let object = ObjectRef {
        api_version,
        kind: &id.kind,
        namespace: &id.namespace,
        name: &id.name,
    };
    // Whether Helm spares it, who makes it again, and who fills its keys.
    let fields = [
        "metadata.annotations",
        "metadata.ownerReferences",
        "metadata.managedFields",
    ];
    match cluster.get(object, &fields) {
        Ok(None) => Ok(Live::Absent),
        Ok(Some(live)) => Ok(Live::Present(live)),
        Err(LookupError {
            cause: Cause::NotGranted { api_version, kind },
            ..
        }) => Ok(Live::Denied(format!(
            "let this policy read it (add {api_version}/{kind} to contextAwareResources, and get to the role of the PolicyServer)"
        ))),
        Err(error) => Err(error),
    }
}
