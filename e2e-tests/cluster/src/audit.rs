//! The requests to the API server, from its audit log.
//!
//! In: the log of the API server, one JSON document per line. Out: the events in order, and the mutations among them as
//! [`Step`]s.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::credentials::User;

/// How much the audit log shows of each request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditLevel {
    /// Who did what to which object, and the code of the answer. For new ConfigMaps and Secrets, also the object that was
    /// sent: a release record is soon overwritten, and only the log shows its first content.
    #[default]
    Metadata,
    /// Also the objects in requests and answers.
    RequestResponse,
}

impl AuditLevel {
    pub(crate) fn policy(self) -> Value {
        let (level, records) = match self {
            AuditLevel::Metadata => ("Metadata", "Request"),
            AuditLevel::RequestResponse => ("RequestResponse", "RequestResponse"),
        };
        json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "omitManagedFields": true,
            "rules": [
                {"level": "None", "nonResourceURLs": ["*"]},
                {"level": "None", "resources": [
                    {"group": "", "resources": ["events"]},
                    {"group": "coordination.k8s.io"},
                    {"group": "events.k8s.io"},
                ]},
                {"level": records, "verbs": ["create"], "resources": [
                    {"group": "", "resources": ["configmaps", "secrets"]},
                ]},
                {"level": level},
            ],
        })
    }
}

/// A position in the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditMark(u64);

/// One request and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// The verb of Kubernetes: `get`, `create`, ...
    pub verb: String,
    /// The path and the query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who sent the request.
    pub user: AuditUser,
    /// The program, such as `Helm/3.22.0`.
    #[serde(default)]
    pub user_agent: String,
    /// The object of the request.
    pub object_ref: Option<ObjectRef>,
    /// The answer.
    pub response_status: Option<ResponseStatus>,
    /// The object that was sent, if the [`AuditLevel`] shows it.
    pub request_object: Option<Value>,
    /// The object in the answer (only with [`AuditLevel::RequestResponse`]).
    pub response_object: Option<Value>,
}

/// Who sent a request.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditUser {
    /// The user name.
    pub username: String,
}

/// The object of a request. A list has no name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Empty for the core group.
    #[serde(rename = "apiGroup")]
    pub group: String,
    /// The plural: `configmaps`.
    pub resource: String,
    /// Such as `status` or `scale`. Mostly empty.
    pub subresource: String,
    /// Empty for cluster-wide objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// How the API server answered.
#[derive(Debug, Clone, Deserialize)]
pub struct ResponseStatus {
    /// The HTTP status code.
    pub code: u16,
    /// Why the request was rejected.
    #[serde(default)]
    pub message: String,
}

/// A verb that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Creates an object.
    Create,
    /// Replaces a whole object.
    Update,
    /// Changes an object. With server-side apply, it may also create one (code 201).
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes all objects of a kind.
    DeleteCollection,
}

/// A request to change something, successful or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The verb of the request.
    pub verb: Verb,
    /// The object of the request.
    pub object: ObjectRef,
    /// The HTTP status code of the answer.
    pub code: u16,
}

/// Events in their order.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    events: Vec<AuditEvent>,
}

impl Cluster {
    /// The current position, for [`Cluster::audit_since`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_mark(&self) -> Result<AuditMark> {
        Ok(AuditMark(fs::metadata(self.audit_log())?.len()))
    }

    /// The events since a mark. [`AuditMark::default`] is the beginning.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_since(&self, mark: AuditMark) -> Result<AuditTrail> {
        self.audit_between(mark, self.audit_mark()?)
    }

    /// The events between two marks.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_between(&self, from: AuditMark, to: AuditMark) -> Result<AuditTrail> {
        // A mark may be inside a line that was being written at that time. The caller has not waited for that event, so
        // such lines are left out.
        let start = from.0.saturating_sub(1);
        let mut log = File::open(self.audit_log())?;
        log.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        log.take(to.0.saturating_sub(start))
            .read_to_end(&mut text)?;
        let mut events = Vec::new();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.skip(usize::from(from.0 > 0));
        for line in lines.filter(|line| line.ends_with(b"\n")) {
            let event = serde_json::from_slice(line)
                .with_context(|| format!("audit log: {}", String::from_utf8_lossy(line)))?;
            events.push(event);
        }
        Ok(AuditTrail { events })
    }
}

impl AuditTrail {
    /// The events themselves.
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }

    /// Only the events for objects in a namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> AuditTrail {
        self.filter(|event| {
            let object = event.object_ref.as_ref();
            object.is_some_and(|object| object.namespace == namespace)
        })
    }

    /// Only the requests of a user. All requests are from the administrator, except those of controllers and where a test
    /// says otherwise.
    #[must_use]
    pub fn by_user(self, user: User) -> AuditTrail {
        self.filter(|event| event.user.username == user.name())
    }

    /// Only the requests of programs whose name starts with this prefix, such as `Helm/`.
    #[must_use]
    pub fn by_agent(self, prefix: &str) -> AuditTrail {
        self.filter(|event| event.user_agent.starts_with(prefix))
    }

    /// The mutations, without dry runs.
    pub fn steps(&self) -> Vec<Step> {
        self.events.iter().filter_map(AuditEvent::step).collect()
    }

    fn filter(mut self, keep: impl FnMut(&AuditEvent) -> bool) -> AuditTrail {
        self.events.retain(keep);
        self
    }
}

impl AuditEvent {
    /// This event as a mutation, if it is one.
    ///
    /// A dry run is recognised by its query. All clients use it, except for deletes: these may ask for a dry run in their
    /// body, which the log does not show at the level `Metadata`.
    pub fn step(&self) -> Option<Step> {
        let verb = match self.verb.as_str() {
            "create" => Verb::Create,
            "update" => Verb::Update,
            "patch" => Verb::Patch,
            "delete" => Verb::Delete,
            "deletecollection" => Verb::DeleteCollection,
            _ => return None,
        };
        if self.request_uri.contains("dryRun=") {
            return None;
        }
        Some(Step {
            verb,
            object: self.object_ref.clone()?,
            code: self.response_status.as_ref()?.code,
        })
    }
}

impl Step {
    /// Whether the request succeeded.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        Ok(())
    }
}

/// `delete configmaps/app`. An unusual code is shown too: `create configmaps/app 409`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object)?;
        let usual = match self.verb {
            Verb::Create => 201,
            Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => 200,
        };
        if self.code == usual {
            return Ok(());
        }
        write!(f, " {}", self.code)
    }
}
