//! The record of the current revision.
//!
//! In: the pending record, and the cluster. Out: the current [`Record`], by Helm's own rule
//! ([`helm_plan::history`]), or why it is not known. Refuses: a record that cannot be read, a look-up that
//! failed.
//!
//! Records are read by name: a list would come from a cache that may not know the last one yet.

use helm_plan::{
    history::{self, Reason},
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

/// What the pending release replaces.
pub(super) enum Current {
    /// Nothing: it is an install.
    None,
    /// This revision.
    Record(Record),
    /// No record tells: what this operation deletes cannot be checked. In words, with the record.
    Unknown(String),
}

/// Why a record of the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{record} cannot be read: {source}")]
    Unreadable {
        record: String,
        source: record::Error,
    },
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl History<'_> {
    /// What revision `next` of a release replaces.
    pub(super) fn current(
        &self,
        operation: Operation,
        name: &str,
        next: u64,
    ) -> Result<Current, Error> {
        let last = next.saturating_sub(1);
        let mut last_record = None;
        let current = history::current(operation, next, |revision| {
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
        let current = match current? {
            history::Current::None => return Ok(Current::None),
            history::Current::Revision(revision) => revision,
            history::Current::Unknown(reason) => {
                return Ok(self.unknown(operation, name, reason));
            }
        };
        let record = match last_record {
            Some(record) if current == last => Some(record),
            _ => self.read(name, current, &DATA)?,
        };
        let Some(record) = record else {
            // Of a rollback, the last revision is not asked for before; or it has just been deleted.
            return Ok(self.unknown(operation, name, Reason::Gone(current)));
        };
        let record = record::decode(&record, self.driver, self.max_record_bytes);
        record
            .map(Current::Record)
            .map_err(|source| self.unreadable(name, current, source))
    }

    /// That the current revision is not known, and what follows.
    fn unknown(&self, operation: Operation, name: &str, reason: Reason) -> Current {
        let because = match reason {
            Reason::Gone(revision) => format!("{} does not exist", self.record(name, revision)),
            Reason::NotDeployed(revision, status) => format!(
                "{} is {status}, and no older one is deployed",
                self.record(name, revision)
            ),
            Reason::Beyond { oldest, last } => format!(
                "no {} to v{last} is deployed, and older ones are not read",
                self.record(name, oldest)
            ),
        };
        let operation = operation.name();
        Current::Unknown(format!(
            "{because} (--history-max deletes records), so what this {operation} deletes was not checked"
        ))
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
