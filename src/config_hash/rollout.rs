//! What a new stamp does to the pods of a workload.
//!
//! In: the workload. Out: whether its controller rolls the pods out, and how to say so. An odd value counts as
//! the default, since the controller decides by itself what it makes of it.

use serde_json::Value;

use crate::{
    annotations::FREEZE,
    request::{Operation, Request},
};

/// What becomes of the pods when the stamp changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    AtOnce,
    WhenResumed,
    OnDelete,
    /// Some pods keep the old template: the number of them, or their share.
    Partition(String),
    /// The stamp must not change, or would change nothing.
    Never(Hold),
}

/// Why changed config does not roll out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `rollout-guard/freeze`
    Freeze,
    /// Knative refuses another template under the same `spec.template.metadata.name`
    /// (serving `pkg/apis/serving/v1/revision_validation.go`, VerifyNameChange).
    NamedRevision,
    /// OpenKruise patches the annotations of a template onto the running pods, and restarts nothing
    /// (kruise `pkg/util/inplaceupdate`).
    InPlaceUpdate,
}

impl Rollout {
    /// `None`: it may roll out.
    pub fn hold(&self) -> Option<Hold> {
        match self {
            Self::Never(hold) => Some(*hold),
            Self::AtOnce | Self::WhenResumed | Self::OnDelete | Self::Partition(_) => None,
        }
    }

    /// The warning about a stamp that changes.
    pub fn announced(&self, subject: &str, changed: &str) -> String {
        let cause = format!("since its config changed: {changed}");
        match self {
            Self::AtOnce | Self::Never(_) => format!("{subject} rolls out, {cause}"),
            Self::WhenResumed => {
                format!("{subject} is paused and rolls out when it is resumed, {cause}")
            }
            Self::OnDelete => format!(
                "{subject} has another config hash now, {cause}. Its update strategy is OnDelete: \
                 each pod runs the old config until somebody deletes it"
            ),
            Self::Partition(partition) => format!(
                "{subject} rolls out, {cause}. Its partition is {partition}: the pods that it holds back \
                 run the old config until it is lowered"
            ),
        }
    }
}

impl Hold {
    /// Where the audit log has the names of the configs.
    pub fn audit_key(self) -> &'static str {
        match self {
            Self::Freeze => "config-frozen",
            Self::NamedRevision | Self::InPlaceUpdate => "config-held",
        }
    }

    /// The warning about changed config that does not roll out.
    pub fn explained(self, subject: &str, stale: &str) -> String {
        match self {
            Self::Freeze => {
                format!("{subject} is frozen ({FREEZE}) and runs stale config: {stale}")
            }
            Self::NamedRevision => format!(
                "{subject} runs stale config: {stale}. It names its revision (spec.template.metadata.name), \
                 and Knative takes no other template under the same name: change the name to roll it out"
            ),
            Self::InPlaceUpdate => format!(
                "{subject} runs stale config: {stale}. With its in-place update strategy, OpenKruise restarts \
                 nothing for another config hash: restart the pods, or set the type ReCreate"
            ),
        }
    }
}

/// What a new stamp would do to a workload of an API group. `old`: what is stored of it, in an update.
pub fn of(group: &str, object: &Value, old: Option<&Value>, frozen: bool) -> Rollout {
    let strategy = object.pointer("/spec/updateStrategy");
    let at = |path: &str| strategy.and_then(|strategy| strategy.pointer(path));
    let is = |path: &str, word: &str| at(path).and_then(Value::as_str) == Some(word);
    let in_place = [
        "/type",                            // CloneSet
        "/rollingUpdate/podUpdatePolicy",   // Advanced StatefulSet
        "/rollingUpdate/rollingUpdateType", // Advanced DaemonSet
    ]
    .iter()
    .any(|path| is(path, "InPlaceIfPossible") || is(path, "InPlaceOnly"));
    let is_paused = object.pointer("/spec/paused") == Some(&Value::Bool(true))
        || at("/paused") == Some(&Value::Bool(true));
    let partition = at("/rollingUpdate/partition").or_else(|| at("/partition"));
    match group {
        _ if frozen => Rollout::Never(Hold::Freeze),
        "serving.knative.dev" if keeps_revision(object, old) => Rollout::Never(Hold::NamedRevision),
        "apps.kruise.io" if in_place => Rollout::Never(Hold::InPlaceUpdate),
        _ if is("/type", "OnDelete") => Rollout::OnDelete,
        _ if is_paused => Rollout::WhenResumed,
        _ => match partition {
            Some(Value::Number(number)) if number.as_u64() != Some(0) => {
                Rollout::Partition(number.to_string())
            }
            Some(Value::String(share)) if share != "0%" => Rollout::Partition(share.clone()),
            Some(_) | None => Rollout::AtOnce,
        },
    }
}

/// Whether the revision of a Knative Service has a name, and keeps it.
fn keeps_revision(object: &Value, old: Option<&Value>) -> bool {
    let name = |service: &Value| service.pointer("/spec/template/metadata/name").cloned();
    let given = name(object).filter(|name| !name.is_null());
    given.is_some() && old.is_none_or(|old| given == name(old))
}

/// The pods of a live workload, by the status that its controller writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pods {
    pub all: u64,
    /// Those of an older template.
    pub old: u64,
}

/// How many pods run an older template. `None`: the request is no look at a live workload, as that of the audit
/// scanner, which sends it as CREATE.
pub fn left_behind(request: &Request) -> Option<Pods> {
    let status = request.object.get("status")?;
    status
        .get("observedGeneration")
        .filter(|_| request.operation == Operation::Create)?;
    let count = |field: &str| status.get(field).and_then(Value::as_u64);
    // Deployment and StatefulSet; DaemonSet.
    let all = count("replicas").or_else(|| count("currentNumberScheduled"));
    let all = all.unwrap_or_default();
    let updated = count("updatedReplicas").or_else(|| count("updatedNumberScheduled"));
    // A StatefulSet on its latest revision need not count.
    let revision = |field: &str| status.get(field).and_then(Value::as_str);
    let is_latest = revision("updateRevision").is_some()
        && revision("updateRevision") == revision("currentRevision");
    let old = match is_latest {
        true => 0,
        false => all.saturating_sub(updated.unwrap_or_default()),
    };
    Some(Pods { all, old })
}

#[cfg(test)]
mod tests;
