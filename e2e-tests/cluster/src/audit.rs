//! What the API server was asked to do, from its audit log.
//!
//! In: the log that the API server writes, one JSON document a line. Out: events, and of those the
//! mutations as [`Step`]s, in the order in which they happened.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::credentials::User;

/// How much the audit log tells about each request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditLevel {
    /// Who did what to which object, and the answer's code. Of new ConfigMaps and Secrets also what
    /// was sent: a release record is overwritten soon, and what it held at first is seen only here.
    #[default]
    Metadata,
    /// Also the objects that were sent and answered.
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

/// A moment in the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditMark(u64);

/// One request and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// The verb as Kubernetes writes it: `get`, `create`, ...
    pub verb: String,
    /// The path and the query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who asked.
    pub user: AuditUser,
    /// With which program: `Helm/3.22.0` for instance.
    #[serde(default)]
    pub user_agent: String,
    /// What about.
    pub object_ref: Option<ObjectRef>,
    /// The answer.
    pub response_status: Option<ResponseStatus>,
    /// The object that was sent, as far as the [`AuditLevel`] tells.
    pub request_object: Option<Value>,
    /// The object that was answered ([`AuditLevel::RequestResponse`] only).
    pub response_object: Option<Value>,
}

/// Who asked.
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
    /// `status` or `scale` for instance; mostly empty.
    pub subresource: String,
    /// Empty for what is not in a namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// How the API server answered.
#[derive(Debug, Clone, Deserialize)]
pub struct ResponseStatus {
    /// The HTTP status code.
    pub code: u16,
    /// Why, if it was refused.
    #[serde(default)]
    pub message: String,
}

/// A verb that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// A new object.
    Create,
    /// A whole object in the place of the old one.
    Update,
    /// Changes to an object; with server-side apply also a new one (code 201).
    Patch,
    /// One object less.
    Delete,
    /// All objects of a kind less.
    DeleteCollection,
}

/// A request that changed something, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was asked for.
    pub verb: Verb,
    /// On which object.
    pub object: ObjectRef,
    /// The HTTP status code of the answer.
    pub code: u16,
}

/// Events in the order in which they happened.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    events: Vec<AuditEvent>,
}

impl Cluster {
    /// The present moment, for [`Cluster::audit_since`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_mark(&self) -> Result<AuditMark> {
        Ok(AuditMark(fs::metadata(self.audit_log())?.len()))
    }

    /// What happened since a mark; [`AuditMark::default`] is the beginning.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_since(&self, mark: AuditMark) -> Result<AuditTrail> {
        self.audit_between(mark, self.audit_mark()?)
    }

    /// What happened between two marks.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_between(&self, from: AuditMark, to: AuditMark) -> Result<AuditTrail> {
        // A mark may be within a line that was being written then. That event is nothing that the
        // caller waited for, before or after the mark: those lines are left out.
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

    /// Only what was about objects in a namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> AuditTrail {
        self.filter(|event| {
            let object = event.object_ref.as_ref();
            object.is_some_and(|object| object.namespace == namespace)
        })
    }

    /// Only what a user asked for. Everything but the controllers' work is the administrator's,
    /// unless a test says otherwise.
    #[must_use]
    pub fn by_user(self, user: User) -> AuditTrail {
        self.filter(|event| event.user.username == user.name())
    }

    /// Only what came from programs whose name begins like this: `Helm/` for instance.
    #[must_use]
    pub fn by_agent(self, prefix: &str) -> AuditTrail {
        self.filter(|event| event.user_agent.starts_with(prefix))
    }

    /// The mutations. Dry runs are none.
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
    /// A dry run is recognised by its query, which is how all clients ask for one but for deletes:
    /// those may say so in their body, which the log does not show at the level `Metadata`.
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
    /// Whether the API server did what was asked.
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

/// `delete configmaps/app`, with the code when it is not the usual one, as in
/// `create configmaps/app 409`.
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
