//! Who needs an object: the pods of the target release, and its claims for storage.
//!
//! In: the target release. Out: each [`Consumer`] with what it needs, in the order of the manifest, then
//! those of hooks.
//! Refuses: an object of Kubernetes itself whose pod template or claim has the wrong shape.

use std::collections::BTreeSet;

use pod_references::{Keys, Kind, Need, Purpose, WrongShape, extra};
use serde_json::Value;

use crate::{
    declared::Declared,
    kinds::{self, Claims, PodTemplate},
    lifecycle::{Operation, Stage},
    manifest::{Object, ObjectId},
    release::{Hook, Release},
};

/// A workload or claim that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {source}")]
pub struct Error {
    /// The workload or claim.
    pub object: Box<ObjectId>,
    /// What is wrong with it.
    pub source: WrongShape,
}

/// A need of one object: of its pods, or of a claim.
#[derive(Debug, Clone)]
pub struct Consumer<'a> {
    /// The object with the pod template or the claim.
    pub object: &'a Object,
    /// When its pods run, or the claim is there.
    pub when: When,
    /// The hook that it is part of.
    pub hook: Option<&'a Hook>,
    /// What they need.
    pub needs: ObjectId,
    /// The keys that the pods cannot start without; none, if any content will do. `None`: they use the object
    /// as a whole.
    pub keys: Option<BTreeSet<String>>,
    /// Their programs do not see the content. The kubelet or a volume driver uses it to start them.
    pub is_unseen: bool,
    /// The pods start without it.
    pub optional: bool,
    /// Its manifest no longer names the ServiceAccount, and its pods keep it.
    pub kept_by_api_server: bool,
    /// No pods of it may need the object now: it has no replicas, is suspended, or is a Job that may have
    /// finished. Or its claims may be bound, and need their StorageClass no more. What is lost is missed
    /// later, if ever.
    pub is_idle: bool,
}

/// When the pods run. A claim is a thing that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From the time at which the target's resources are applied.
    Workload,
    /// As a hook of this operation, until they are done.
    Hook(Stage),
    /// From a hook of this operation on: a Deployment that is a hook stays.
    LastingHook(Stage),
    /// As a hook of another operation; tests do not count.
    Later,
}

impl When {
    /// Whether its pods start, or start again, when this operation has pruned.
    pub fn is_after_prune(self) -> bool {
        matches!(
            self,
            Self::Workload | Self::LastingHook(_) | Self::Hook(Stage::Post)
        )
    }
}

/// The consumers in the target, for an operation. `current` is what the current release declares.
pub(crate) fn consumers<'a>(
    current: &Declared<'_>,
    target: &'a Release,
    operation: Operation,
) -> Result<Vec<Consumer<'a>>, Error> {
    let workloads = target
        .resources
        .iter()
        .map(|object| (object, When::Workload, None));
    let runs = [Stage::Pre, Stage::Post].into_iter().flat_map(|stage| {
        let mut hooks = target.hooks_at(operation, stage);
        // A hook that lists the event again needs the same again.
        hooks.dedup_by(|one, other| std::ptr::eq(*one, *other));
        hooks.into_iter().map(move |hook| (hook, When::Hook(stage)))
    });
    let later = target
        .hooks
        .iter()
        .filter(|hook| !hook.runs_at(operation) && !hook.is_test())
        .map(|hook| (hook, When::Later));
    let hooks = runs.chain(later).flat_map(|(hook, when)| {
        let when_of = move |object: &Object| match when {
            When::Hook(stage) if !object.id.runs_to_completion() => When::LastingHook(stage),
            when => when,
        };
        let objects = hook.objects.iter();
        objects.map(move |object| (object, when_of(object), Some(hook)))
    });
    let mut consumers = Vec::new();
    let mut kept_of = BTreeSet::new();
    for (object, when, hook) in workloads.chain(hooks) {
        let (of_pods, of_claims) = match (needs_of_pods(object), needs_of_claims(object)) {
            (Ok(of_pods), Ok(of_claims)) => (of_pods, of_claims),
            // Whatever is wrong with it, this operation does not run it.
            _ if when == When::Later => continue,
            (of_pods, of_claims) => (of_pods?, of_claims?),
        };
        let before = match when {
            When::Workload => current.resources(&object.id).first().copied(),
            _ => None,
        };
        let kept = match before {
            // A manifest may repeat an object any number of times: one look at what it was is enough.
            Some(before) if keeps_account(object, &of_pods) && kept_of.insert(&object.id) => {
                account(before)
            }
            _ => None,
        };
        let is_idle = is_idle(before, object);
        let is_bound = is_idle || before.is_some_and(|before| has_its_claims(before, object));
        let of_pods = of_pods.into_iter().map(|need| (need, false, is_idle));
        let of_claims = of_claims.into_iter().map(|need| (need, false, is_bound));
        let kept = kept.map(|need| (need, true, is_idle));
        let needs = of_pods.chain(of_claims).chain(kept);
        consumers.extend(needs.map(|(need, kept_by_api_server, is_idle)| Consumer {
            object,
            when,
            hook,
            needs: needed(&need, object),
            optional: need.optional,
            keys: match need.keys {
                Keys::All => None,
                Keys::Only(keys) => Some(keys),
            },
            is_unseen: need.purpose == Purpose::Start,
            kept_by_api_server,
            is_idle,
        }));
    }
    Ok(consumers)
}

fn is_account(need: &Need) -> bool {
    need.kind == Kind::ServiceAccount
}

/// Whether an object that names no ServiceAccount keeps the one that it had. The API server has copied the
/// name to the deprecated field `serviceAccount`, which no client removes, and takes it from there
/// (kubernetes/kubernetes#72519, helm/helm#5473). It does so in the kinds of Kubernetes itself alone: in
/// custom kinds a pod template is just data.
fn keeps_account(object: &Object, now: &[Need]) -> bool {
    let place = kinds::pod_template(&object.id.group, &object.id.kind);
    place != PodTemplate::Unknown && !now.iter().any(is_account)
}

fn account(object: &Object) -> Option<Need> {
    needs_of_pods(object).ok()?.into_iter().find(is_account)
}

/// Whether no pods of an object may run now. `before` is the same object in the current release.
pub fn is_idle(before: Option<&Object>, object: &Object) -> bool {
    let is = |field, value: Value| spec(object, field) == Some(&value);
    // It ran when it was created, and its pods cannot be changed. If it is no longer there (its TTL has
    // removed it), Helm creates it again: nothing is certain.
    let has_run =
        || before.is_some_and(|before| before.body.get("spec") == object.body.get("spec"));
    match (object.id.group.as_str(), object.id.kind.as_str()) {
        ("apps", "DaemonSet") => false,
        ("batch", "CronJob") => is("suspend", true.into()),
        ("batch", "Job") => is("suspend", true.into()) || has_run(),
        ("", "Pod") => {
            let runs_once = ["Never", "OnFailure"]
                .into_iter()
                .any(|policy| is("restartPolicy", policy.into()));
            runs_once && has_run()
        }
        _ => replicas(object) == Some(0),
    }
}

/// Whether an object made its claims in the current release, and makes no more now. A claim that is bound
/// needs its class no more.
fn has_its_claims(before: &Object, object: &Object) -> bool {
    replicas(object).unwrap_or(1) <= replicas(before).unwrap_or(1)
}

fn replicas(object: &Object) -> Option<i64> {
    spec(object, "replicas")?.as_i64()
}

fn spec<'a>(object: &'a Object, field: &str) -> Option<&'a Value> {
    object.body.get("spec")?.get(field)
}

/// What an object needs: its pods, by their template and by the annotations of the workload, and its claims
/// for storage. Nothing, when it has none.
pub fn needs(object: &Object) -> Result<Vec<Need>, Error> {
    let mut needs = needs_of_pods(object)?;
    needs.extend(needs_of_claims(object)?);
    Ok(needs)
}

/// The object that a need of another one is about.
pub fn needed(need: &Need, of: &Object) -> ObjectId {
    ObjectId {
        group: need.kind.group().to_owned(),
        kind: need.kind.to_string(),
        namespace: match need.kind.is_cluster_scoped() {
            true => String::new(),
            false => of.id.namespace.clone(),
        },
        name: need.name.clone(),
    }
}

/// The pod template of an object, and its place in it, as a JSON pointer. A Pod is its own.
pub(crate) fn pod_template(object: &Object) -> Option<(&'static str, &Value)> {
    let place = match kinds::pod_template(&object.id.group, &object.id.kind) {
        PodTemplate::Object => "",
        PodTemplate::JobTemplate => "/spec/jobTemplate/spec/template",
        PodTemplate::Unknown if !has_pods(object) => return None,
        PodTemplate::SpecTemplate | PodTemplate::Unknown => "/spec/template",
    };
    Some((place, object.body.pointer(place)?))
}

/// Whether the pods of a workload get a token of their ServiceAccount. `accounts` are its declarations.
pub fn has_token<'a>(workload: &'a Object, mut accounts: impl Iterator<Item = &'a Object>) -> bool {
    const AUTOMOUNT: &str = "automountServiceAccountToken";
    let pods = pod_template(workload).and_then(|(_, pods)| pods.get("spec"));
    let of_account = || accounts.find_map(|account| account.body.get(AUTOMOUNT));
    let automount = pods
        .and_then(|pods| pods.get(AUTOMOUNT))
        .or_else(of_account);
    automount != Some(&Value::Bool(false)) || pods.is_some_and(projects_token)
}

fn projects_token(pods: &Value) -> bool {
    let volumes = pods.get("volumes").and_then(Value::as_array);
    let sources = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.pointer("/projected/sources")?.as_array());
    sources
        .flatten()
        .any(|source| source.get("serviceAccountToken").is_some())
}

fn needs_of_pods(object: &Object) -> Result<Vec<Need>, Error> {
    let Some((place, _)) = pod_template(object) else {
        return Ok(Vec::new());
    };
    let kind = kinds::pod_template(&object.id.group, &object.id.kind);
    let place = place.trim_start_matches('/').replace('/', ".");
    let mut needs = match pod_references::needs(&object.body, &place) {
        // What other kinds have there is theirs to define.
        Err(_) if kind == PodTemplate::Unknown => Vec::new(),
        needs => needs.map_err(|source| Error::in_object(object, source))?,
    };
    // The config hash tells of names that no object can have. Nothing that leaves has one.
    needs.extend(extra::needs(&object.body).filter_map(Result::ok));
    Ok(needs)
}

fn needs_of_claims(object: &Object) -> Result<Vec<Need>, Error> {
    let needs = match kinds::claims(&object.id.group, &object.id.kind) {
        Claims::Object => pod_references::claim_needs(&object.body, ""),
        Claims::Templates => pod_references::claim_template_needs(&object.body),
        Claims::Unknown if has_pods(object) => {
            let needs = pod_references::claim_template_needs(&object.body);
            Ok(needs.unwrap_or_default())
        }
        Claims::Unknown | Claims::None => Ok(Vec::new()),
    };
    needs.map_err(|source| Error::in_object(object, source))
}

/// Whether `spec.template` of a kind that is not known reads as a pod template. In other kinds it may be
/// the template of something else (a SealedSecret's Secret).
pub(crate) fn has_pods(object: &Object) -> bool {
    let containers = object.body.pointer("/spec/template/spec/containers");
    containers.is_some()
}

impl Error {
    fn in_object(object: &Object, source: WrongShape) -> Self {
        Self {
            object: Box::new(object.id.clone()),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
