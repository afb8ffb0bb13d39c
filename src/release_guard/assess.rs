//! Reads what a pending record is judged by: itself, the current release, and live objects.
//!
//! In: a pending record, and the cluster. Out: a [`Target`], and an [`Assessed`] release. Refuses: a record that cannot be
//! read, a look-up that failed.

use helm_plan::{
    Assessment, Live,
    lifecycle::Operation,
    manifest::ObjectId,
    record::{self, Driver},
    release::{self, Release},
};
use serde_json::Value;

use super::{
    access::Access,
    history::{self, Current, History},
};
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

/// The release of a pending record.
pub(super) struct Target {
    operation: Operation,
    pub(super) release: Release,
    rollback_target: Option<u64>,
}

/// A pending release, and what was found.
pub(super) struct Assessed<'a> {
    pub(super) record: Record<'a>,
    pub(super) assessment: Assessment,
    /// Why the target was not compared with the current revision.
    pub(super) not_compared: Option<String>,
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
    Assess(#[from] helm_plan::assess::Error<LookupError>),
    /// Of a pending record.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl Target {
    pub(super) fn read(record: Record<'_>, guard: &ReleaseGuard) -> Result<Self, Error> {
        let target = record::decode(record.object, record.driver, guard.max_record_bytes)?;
        Ok(Self {
            operation: Operation::pending(target.info.status).ok_or(Error::NotPending)?,
            rollback_target: target.info.rollback_target(),
            release: Release::parse(target)?,
        })
    }
}

pub(super) fn assess<'a>(
    record: Record<'a>,
    target: Target,
    guard: &ReleaseGuard,
    cluster: &dyn Cluster,
    access: &Access<'_>,
) -> Result<Assessed<'a>, Error> {
    let Target {
        operation,
        release,
        rollback_target,
    } = target;
    let history = History {
        cluster,
        driver: record.driver,
        namespace: record.namespace,
        max_record_bytes: guard.max_record_bytes,
    };
    let current = history.current(operation, &release.name, release.revision)?;
    let (current, not_compared) = match current {
        Current::None => (None, None),
        Current::Record(record) => (Some(Release::parse(record)?), None),
        Current::Unknown(why) => (None, Some(why)),
    };
    let mut out_of_time = 0;
    let live = |api_version: &str, id: &ObjectId| {
        let seen = access.may_look_at(id).and_then(|may| match may {
            Ok(()) => look_at(api_version, id, cluster),
            Err(denied) => Ok(Live::Denied(denied)),
        });
        match seen {
            Err(LookupError {
                cause: Cause::OutOfTime,
                ..
            }) => {
                out_of_time += 1;
                Ok(Live::Unknown)
            }
            seen => seen,
        }
    };
    let mut assessment = helm_plan::assess(operation, current.as_ref(), release, live)?;
    assessment.not_looked_at += out_of_time;
    Ok(Assessed {
        record,
        assessment,
        not_compared,
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
