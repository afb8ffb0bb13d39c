//! Will this Helm release keep what its pods need?
//!
//! ```text
//! record → target release  ┐
//! history → current release┴→ plan: Helm's own steps, in order → findings → verdict
//! ```
//!
//! In: CREATE of a pending release record; [`second_line`] takes what Helm does afterwards. Out: a
//! [`Verdict`]. Refuses: what the settings say about findings, and about records that cannot be read.
//!
//! Plan and findings are the crate `helm-plan`; here are the look-ups and the answer.

mod access;
mod assess;
mod bypass;
mod history;
mod message;
pub mod second_line;

use helm_plan::{
    lifecycle::{Operation, Status},
    manifest::ObjectId,
    metadata::label,
    record::Driver,
};
use serde_json::Value;

use self::{
    access::Access,
    assess::{Record, Target, assess},
    bypass::{Bypass, is_bypassed},
};
use crate::{
    cluster::Cluster,
    request::{self, Request},
    settings::{LookupFailure, Settings},
    verdict::Verdict,
};

/// Whether the request creates a release record in a pending state: what Helm does before anything
/// else. Records in other states (a restored backup) change nothing.
pub fn concerns(request: &Request) -> bool {
    request.operation == request::Operation::Create
        && request.kind.group.is_empty()
        && Driver::of_record(&request.kind.kind, &request.object).is_some()
        && pending_operation(&request.object).is_some()
}

/// What a record is in the middle of, by its label.
fn pending_operation(record: &Value) -> Option<Operation> {
    Operation::pending(Status::from_name(label(record, "status")?))
}

/// Whether the second line makes Helm keep such an object. Only these kinds: the rules name them, workloads that
/// are hooks are stamped instead, and what else a release needs is no config.
fn is_rescuable(id: &ObjectId) -> bool {
    id.is_named_by_pods()
}

/// Judges a pending release.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let Some(driver) = Driver::of_record(&request.kind.kind, &request.object) else {
        return Verdict::accept();
    };
    let record = Record {
        driver,
        namespace: &request.namespace,
        object: &request.object,
    };
    let guard = &settings.release_guard;
    let bypassed = guard.bypass && is_bypassed(&request.object);
    let access = Access::new(cluster, request);
    let assessed = Target::read(record, guard)
        .and_then(|target| assess(record, target, guard, cluster, &access));
    match assessed {
        Ok(assessed) => message::verdict(&assessed, guard, bypassed),
        Err(error) => {
            let accepts = bypassed || settings.lookup_failure == LookupFailure::Warn;
            let bypass = Bypass::of_labels(record).filter(|_| guard.bypass);
            message::not_judged(request, &error, accepts, bypass)
        }
    }
}

#[cfg(test)]
mod tests;
