//! The empty patch, and what the API server and the policy answer.
//!
//! In: a [`Task`]. Out: a [`Report`], for the queue, the metrics, the log and the Events. Refuses: nothing; each failure is an
//! [`Outcome`].
//!
//! An empty patch changes nothing by itself. Mutating webhooks see it like any other request, and the policy answers with
//! another config hash if the pods run older config.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    client::Body,
    core::{PartialObjectMeta, Request, Status},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::{Value, json};

use crate::{
    object::{CONFIGS, ConfigId, GroupKind, MANAGER, recorded},
    work::{Ending, Lane, Task},
};

/// A webhook may take 30 seconds.
const LIMIT: Duration = Duration::from_secs(40);

const EVENT_LIMIT: Duration = Duration::from_secs(5);

/// What came of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pod template has changed.
    RolledOut,
    /// The policy saw the workload for the first time.
    Recorded,
    /// The policy saw it, and had nothing to do.
    Unchanged,
    /// The policy did not see it, although it did once.
    Unseen,
    /// The policy has not recorded the workload: it is not installed, or leaves it alone.
    Unrecorded,
    /// The workload does not exist any more.
    Gone,
    /// Somebody else wrote at the same time.
    Conflict,
    /// By the policy, by another webhook, or for lack of permissions.
    Denied(String),
    /// The API server or a webhook could not be reached, or has too much to do.
    Unavailable(String),
}

impl Outcome {
    /// The label of the metric.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::RolledOut => "rolled_out",
            Self::Recorded => "recorded",
            Self::Unchanged => "unchanged",
            Self::Unseen => "unseen",
            Self::Unrecorded => "unrecorded",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        match self {
            Self::RolledOut | Self::Recorded | Self::Unchanged => Ending::Done,
            Self::Unseen => Ending::Unseen,
            Self::Unrecorded => Ending::Unrecorded,
            // If it was deleted, the watch says so.
            Self::Gone | Self::Conflict | Self::Denied(_) | Self::Unavailable(_) => Ending::Failed,
        }
    }
}

/// What came of a task.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) task: Task,
    pub(crate) outcome: Outcome,
    /// The time from the change to the answer.
    pub(crate) after: Duration,
    /// What the policy and other webhooks say.
    pub(crate) warnings: Vec<String>,
}

/// Sends patches.
#[derive(Clone)]
pub(crate) struct Patcher {
    client: Client,
    kinds: Arc<BTreeMap<Arc<GroupKind>, ApiResource>>,
    /// Nothing is changed, but all is asked.
    dry_run: bool,
    reporter: Reporter,
}

struct Answer {
    generation: i64,
    recorded: Option<BTreeMap<ConfigId, String>>,
    warnings: Vec<String>,
}

impl Patcher {
    pub(crate) fn new(
        client: Client,
        kinds: BTreeMap<Arc<GroupKind>, ApiResource>,
        dry_run: bool,
        instance: String,
    ) -> Self {
        Self {
            client,
            kinds: Arc::new(kinds),
            dry_run,
            reporter: Reporter {
                controller: MANAGER.to_owned(),
                instance: Some(instance),
            },
        }
    }

    pub(crate) async fn run(self, task: Task) -> Report {
        let patched = tokio::time::timeout(LIMIT, self.patch(&task)).await;
        let (outcome, warnings) = patched.unwrap_or_else(|_| {
            let error = format!("no answer within {} s", LIMIT.as_secs());
            (Outcome::Unavailable(error), Vec::new())
        });
        let report = Report {
            after: task.since.elapsed(),
            task,
            outcome,
            warnings,
        };
        // Nothing waits for the Event but the report.
        if tokio::time::timeout(EVENT_LIMIT, self.publish(&report))
            .await
            .is_err()
        {
            tracing::warn!(workload = %report.task.workload, "no Event could be written in time");
        }
        report
    }

    async fn patch(&self, task: &Task) -> (Outcome, Vec<String>) {
        let Some(resource) = self.kinds.get(&task.workload.kind) else {
            return (Outcome::Gone, Vec::new());
        };
        let answer = match self.send(task, resource, &json!({}), self.dry_run).await {
            Ok(answer) => answer,
            Err(outcome) => return (outcome, Vec::new()),
        };
        let before = &task.before;
        let outcome = match (&before.recorded, &answer.recorded) {
            (None, None) => Outcome::Unrecorded,
            (None, Some(_)) => Outcome::Recorded,
            // Without a policy, somebody may have removed the record.
            (Some(_), None) => Outcome::Unseen,
            (Some(old), Some(new)) if answer.generation > before.generation && old != new => {
                Outcome::RolledOut
            }
            // The same answer comes without the policy, if its webhook fails open.
            (Some(_), Some(_)) => match self.is_seen(task, resource, &answer).await {
                Ok(true) => Outcome::Unchanged,
                Ok(false) => Outcome::Unseen,
                Err(outcome) => outcome,
            },
        };
        (outcome, answer.warnings)
    }

    /// Whether the policy saw the patch: it keeps its record, whatever a client sends, and would change nothing now either. One of
    /// its replicas may be away, so that one request is seen and another is not.
    async fn is_seen(
        &self,
        task: &Task,
        resource: &ApiResource,
        answer: &Answer,
    ) -> Result<bool, Outcome> {
        let patch = json!({"metadata": {"annotations": {CONFIGS: null}}});
        let again = self.send(task, resource, &patch, true).await?;
        Ok(again.recorded == answer.recorded && again.generation == answer.generation)
    }

    async fn send(
        &self,
        task: &Task,
        resource: &ApiResource,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Answer, Outcome> {
        let id = &task.workload;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &id.namespace, resource);
        let parameters = PatchParams {
            dry_run,
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(api.resource_url());
        let request = request
            .patch_metadata(&id.name, &parameters, &Patch::Merge(patch))
            .map_err(|error| Outcome::Unavailable(error.to_string()))?;
        // Not `Api::patch`, which drops the warnings.
        let response = self.client.send(request.map(Body::from)).await;
        let unavailable = |error: kube::Error| Outcome::Unavailable(with_causes(&error));
        let (head, body) = response.map_err(unavailable)?.into_parts();
        let body = body.collect_bytes().await.map_err(unavailable)?;
        if !head.status.is_success() {
            return Err(refused(head.status, &body));
        }
        let object: PartialObjectMeta<DynamicObject> = serde_json::from_slice(&body)
            .map_err(|error| Outcome::Unavailable(format!("the answer cannot be read: {error}")))?;
        let annotations = object.metadata.annotations.unwrap_or_default();
        let warnings = head.headers.get_all(http::header::WARNING).iter();
        Ok(Answer {
            generation: object.metadata.generation.unwrap_or(0),
            recorded: recorded(
                annotations.get(CONFIGS).map(String::as_str),
                &task.before.uses,
            ),
            warnings: warnings
                .filter_map(|value| warning(value.to_str().ok()?))
                .collect(),
        })
    }

    /// An Event on the workload, if there is something to tell.
    async fn publish(&self, report: &Report) {
        let (type_, reason, note) = match &report.outcome {
            Outcome::RolledOut if report.task.lane == Lane::Gentle => {
                let note = "rolled out: its pods ran older config".to_owned();
                (EventType::Normal, "ConfigChanged", note)
            }
            Outcome::RolledOut => {
                let note = format!("config changed: {}", list(&report.task));
                (EventType::Normal, "ConfigChanged", note)
            }
            Outcome::Denied(error) => {
                let note = format!("cannot be rolled out for changed config: {error}");
                (EventType::Warning, "RefreshDenied", note)
            }
            _ => return,
        };
        if self.dry_run {
            return;
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: "Refresh".to_owned(),
            secondary: None,
        };
        let workload = &report.task.workload;
        let reference = self.reference(&report.task);
        // A new one each time: it would count events of one reason together, whatever they say.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let published = recorder.publish(&event, &reference).await;
        if let Err(error) = published {
            tracing::warn!(%workload, error = with_causes(&error), "no Event could be written");
        }
    }

    fn reference(&self, task: &Task) -> ObjectReference {
        let id = &task.workload;
        let resource = self.kinds.get(&id.kind);
        ObjectReference {
            api_version: resource.map(|resource| resource.api_version.clone()),
            kind: Some(id.kind.kind.clone()),
            name: Some(id.name.clone()),
            namespace: Some(id.namespace.to_string()),
            // Without it, `kubectl describe` does not show the Event.
            uid: Some(task.before.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Of the note of an Event (events.k8s.io/v1: less than 1 kB).
const MAX_NOTE: usize = 250;

/// `ConfigMap app, Secret db`
pub(crate) fn list(task: &Task) -> String {
    let configs: Vec<_> = task.configs.iter().map(ToString::to_string).collect();
    configs.join(", ")
}

fn refused(code: http::StatusCode, body: &[u8]) -> Outcome {
    let status: Result<Status, _> = serde_json::from_slice(body);
    let message = match status {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => code.to_string(),
    };
    match code.as_u16() {
        404 => Outcome::Gone,
        409 => Outcome::Conflict,
        429 | 500.. => Outcome::Unavailable(message),
        _ => Outcome::Denied(message),
    }
}

/// The text of a warning header: `299 - "text"` (RFC 7234, section 5.5).
fn warning(value: &str) -> Option<String> {
    let quoted = value.split_once('"')?.1.rsplit_once('"')?.0;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// `error: cause: its cause`
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
