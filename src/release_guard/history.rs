//! Which revision a release is at before the operation, by Helm's own rule.
//!
//! In: the pending record, and the cluster. Out: the current [`Release`]. Refuses: a history in which
//! it cannot be found.
//!
//! For a rollback, current is the last revision. For an upgrade it is the last one if that is
//! `deployed`, else the newest `deployed` one, else the last one when it is `failed` or `superseded`
//! (helm `pkg/action/upgrade.go`, prepareUpgrade). The new revision is always the last one plus one,
//! so records are read by name: a list would come from a cache that may not know the last one yet.
//!
//! The status of the last revision is the one in its content; `deployed` ones are found by label
//! (`pkg/storage/storage.go`, Last and Deployed). The two differ where somebody has edited the label.

use k8s_openapi::{
    Resource,
    api::core::v1::{ConfigMap, Secret},
};
use serde_json::Value;

use super::{
    plan::Operation,
    record::{self, Release},
};
use crate::cluster::{Cluster, ObjectRef};

/// How many revisions are looked at, newest first. Helm keeps ten unless told otherwise, and each is a
/// look-up within the two seconds that an evaluation has.
const MAX_REVISIONS: u64 = 64;

/// The records of one release.
pub struct History<'a> {
    pub cluster: &'a dyn Cluster,
    /// `Secret` or `ConfigMap`, as the pending record.
    pub kind: &'a str,
    /// The namespace of the records.
    pub namespace: &'a str,
    pub max_record_bytes: u64,
}

impl History<'_> {
    /// The revision that `target` replaces. `None` for an install.
    pub fn current(
        &self,
        operation: Operation,
        target: &Release,
    ) -> Result<Option<Release>, String> {
        let last = target.version.saturating_sub(1);
        match operation {
            Operation::Install => Ok(None),
            Operation::Rollback => match self.read(&target.name, last, &DATA)? {
                Some(record) => self.decode(&target.name, last, &record).map(Some),
                None => Err(format!(
                    "{} does not exist",
                    self.record(&target.name, last)
                )),
            },
            Operation::Upgrade => self.current_of_upgrade(&target.name, last).map(Some),
        }
    }

    fn current_of_upgrade(&self, name: &str, last: u64) -> Result<Release, String> {
        let last_record = self.read(name, last, &DATA)?;
        let status = match &last_record {
            Some(record) if is_deployed(record) => "deployed".to_owned(),
            Some(record) => record::status(record, self.kind, self.max_record_bytes)
                .map_err(|error| self.unreadable(name, last, &error))?,
            None => String::new(),
        };
        if let (Some(record), "deployed") = (&last_record, status.as_str()) {
            return self.decode(name, last, record);
        }
        let oldest = last.saturating_sub(MAX_REVISIONS - 1).max(1);
        for revision in (oldest..last).rev() {
            let labels = self.read(name, revision, &["metadata.labels"])?;
            if !labels.as_ref().is_some_and(is_deployed) {
                continue;
            }
            let record = self.read(name, revision, &DATA)?;
            let record = record
                .ok_or_else(|| format!("{} has just been deleted", self.record(name, revision)))?;
            return self.decode(name, revision, &record);
        }
        match last_record {
            _ if oldest > 1 => Err(format!(
                "none of the last {MAX_REVISIONS} revisions of release {name} in namespace {} is deployed",
                self.namespace
            )),
            Some(record) if matches!(status.as_str(), "failed" | "superseded") => {
                self.decode(name, last, &record)
            }
            _ => Err(format!(
                "release {name} in namespace {} has no revision to upgrade from",
                self.namespace
            )),
        }
    }

    fn read(&self, name: &str, revision: u64, fields: &[&str]) -> Result<Option<Value>, String> {
        let api_version = if self.kind == Secret::KIND {
            Secret::API_VERSION
        } else {
            ConfigMap::API_VERSION
        };
        let name = record_name(name, revision);
        let object = ObjectRef {
            api_version,
            kind: self.kind,
            namespace: self.namespace,
            name: &name,
        };
        self.cluster
            .get(object, fields)
            .map_err(|error| error.to_string())
    }

    fn decode(&self, name: &str, revision: u64, record: &Value) -> Result<Release, String> {
        record::decode(record, self.kind, self.max_record_bytes)
            .map_err(|error| self.unreadable(name, revision, &error))
    }

    fn unreadable(&self, name: &str, revision: u64, error: &str) -> String {
        format!("{} cannot be read: {error}", self.record(name, revision))
    }

    fn record(&self, name: &str, revision: u64) -> String {
        format!(
            "release record {} {}/{}",
            self.kind,
            self.namespace,
            record_name(name, revision)
        )
    }
}

const DATA: [&str; 2] = ["metadata.labels", "data"];

fn record_name(release: &str, revision: u64) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

fn is_deployed(record: &Value) -> bool {
    let status = record.pointer("/metadata/labels/status");
    status.and_then(Value::as_str) == Some("deployed")
}

#[cfg(test)]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
mod tests;
