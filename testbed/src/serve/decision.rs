//! The decisions of the policy, for tests to read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::webhook::Request;
use crate::{Evaluation, HostCall};

/// The decision of the policy about a request. Only `micros` depends on time and machine.
///
/// A line of the log, wrapped here:
///
/// ```json
/// {"uid": "…", "operation": "CREATE", "kind": "Secret", "namespace": "shop", "name": "db",
///  "allowed": false, "code": 400, "message": "…", "warnings": [], "auditAnnotations": {},
///  "patched": ["/metadata/annotations"],
///  "hostCalls": [{"operation": "get_resource", "request": {}, "answer": "found", "bytes": 12}],
///  "micros": 480}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub uid: String,
    pub operation: String,
    pub kind: String,
    pub namespace: Option<String>,
    /// `None` if the API server generates it (`generateName`).
    pub name: Option<String>,
    pub allowed: bool,
    pub code: Option<u16>,
    pub message: Option<String>,
    pub warnings: Vec<String>,
    pub audit_annotations: BTreeMap<String, String>,
    /// JSON pointers to the changes in the object.
    pub patched: Vec<String>,
    pub host_calls: Vec<HostCall>,
    /// How long the evaluation took.
    pub micros: u64,
}

/// The decisions since the start, in order: in memory, in a log, in both or in neither.
pub(super) struct Decisions(Mutex<Record>);

struct Record {
    /// `None` if they are not kept, because they would take more and more memory.
    kept: Option<Vec<Decision>>,
    log: Option<File>,
}

impl Decision {
    pub(super) fn of(request: &Request, evaluation: &Evaluation, duration: Duration) -> Self {
        let response = &evaluation.response;
        let annotations = response.audit_annotations.iter().flatten();
        let changes = evaluation.patch.iter();
        Self {
            uid: request.uid.clone(),
            operation: request.operation.clone(),
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            allowed: response.accepted,
            code: response.code,
            message: response.message.clone(),
            warnings: response.warnings.clone().unwrap_or_default(),
            audit_annotations: annotations
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            patched: changes.map(|change| change.path().to_string()).collect(),
            host_calls: evaluation.host_calls.clone(),
            micros: duration.as_micros().try_into().unwrap_or(u64::MAX),
        }
    }
}

impl Decisions {
    /// Overwrites an existing log.
    pub(super) fn new(keep: bool, log: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("cannot write the log {}", path.display()))
        };
        Ok(Self(Mutex::new(Record {
            kept: keep.then(Vec::new),
            log: log.map(create).transpose()?,
        })))
    }

    /// Writes whole lines, so a reader of the log never sees a partial one.
    pub(super) fn add(&self, decision: Decision) -> anyhow::Result<()> {
        let mut record = self.record();
        if let Some(log) = &mut record.log {
            let line = serde_json::to_string(&decision)? + "\n";
            log.write_all(line.as_bytes())
                .context("cannot write the log")?;
        }
        if let Some(kept) = &mut record.kept {
            kept.push(decision);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<Decision> {
        self.record().kept.clone().unwrap_or_default()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
