//! The record of the current revision.
//!
//! In: the pending record, and the cluster. Out: the current [`Record`], by Helm's own rule
//! ([`helm_plan::history`]). Refuses: a history in which it cannot be found, a record that cannot be read.
//!
//! Records are read by name: a list would come from a cache that may not know the last one yet.

use helm_plan::{
    history,
    lifecycle::{Operation, Status},
    metadata::label,
    record::{self, Driver, Record, record_name},
};
use serde_json::Value;

use crate::cluster::{Cluster, LookupError, ObjectRef};

/// The records of one release.
pub(super) struct History<'a> {
    pub(super) cluster: &'a dyn Cluster,
    /// As of the pending record.
    pub(super) driver: Driver,
    /// The namespace of the records.
    pub(super) namespace: &'a str,
    pub(super) max_record_bytes: u64,
}

/// Why the current revision is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("release {release} in namespace {namespace} has no revision to upgrade from")]
    NoRevision { release: String, namespace: String },
    #[error(
        "none of the last {} revisions of release {release} in namespace {namespace} is deployed",
        history::MAX_REVISIONS
    )]
    NoneDeployed { release: String, namespace: String },
    #[error("{record} does not exist")]
    Missing { record: String },
    #[error("{record} has just been deleted")]
    JustDeleted { record: String },
    #[error("{record} cannot be read: {source}")]
    Unreadable {
        record: String,
        source: record::Error,
    },
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl History<'_> {
    /// The revision that `target` replaces. `None` for an install.
    pub(super) fn current(
        &self,
        operation: Operation,
        target: &Record,
    ) -> Result<Option<Record>, Error> {
        let name = &target.name;
        let last = target.version.saturating_sub(1);
        let mut last_record = None;
        let current = history::current(operation, target.version, |revision| {
            if revision != last {
                let labels = self.read(name, revision, &["metadata.labels"])?;
                return Ok(labels.as_ref().map(status_label));
            }
            last_record = self.read(name, last, &DATA)?;
            let Some(record) = &last_record else {
                return Ok(None);
            };
            if status_label(record) == Status::Deployed {
                return Ok(Some(Status::Deployed));
            }
            // The label may have been edited, and Helm reads the last status from the content.
            record::status(record, self.driver, self.max_record_bytes)
                .map(Some)
                .map_err(|source| self.unreadable(name, last, source))
        });
        let current = current.map_err(|error| match error {
            history::Error::Status(error) => error,
            history::Error::NoneDeployed => Error::NoneDeployed {
                release: name.clone(),
                namespace: self.namespace.to_owned(),
            },
            history::Error::NoRevision => Error::NoRevision {
                release: name.clone(),
                namespace: self.namespace.to_owned(),
            },
        })?;
        let Some(current) = current else {
            return Ok(None);
        };
        let record = match last_record {
            Some(record) if current == last => record,
            _ => self.read(name, current, &DATA)?.ok_or_else(|| {
                let record = self.record(name, current);
                match operation {
                    Operation::Upgrade => Error::JustDeleted { record },
                    Operation::Install | Operation::Rollback => Error::Missing { record },
                }
            })?,
        };
        let record = record::decode(&record, self.driver, self.max_record_bytes);
        record
            .map(Some)
            .map_err(|source| self.unreadable(name, current, source))
    }

    fn read(&self, name: &str, revision: u64, fields: &[&str]) -> Result<Option<Value>, Error> {
        let object = ObjectRef {
            api_version: "v1",
            kind: self.driver.kind(),
            namespace: self.namespace,
            name: &record_name(name, revision),
        };
        Ok(self.cluster.get(object, fields)?)
    }

    fn unreadable(&self, name: &str, revision: u64, source: record::Error) -> Error {
        let record = self.record(name, revision);
        Error::Unreadable { record, source }
    }

    fn record(&self, name: &str, revision: u64) -> String {
        let (kind, namespace) = (self.driver.kind(), self.namespace);
        format!(
            "release record {kind} {namespace}/{}",
            record_name(name, revision)
        )
    }
}

const DATA: [&str; 2] = ["metadata.labels", "data"];

fn status_label(record: &Value) -> Status {
    Status::from_name(label(record, "status").unwrap_or_default())
}

#[cfg(test)]
mod tests;
