//! Which live workloads require what is taken away.
//!
//! In: what a request takes away, and the cluster. Out: [`Consumers`], each with its reason for doubt, if there is one, and what
//! could not be read. Refuses: nothing.
//!
//! Pods do not count: Helm removes workloads first and in the background, so that pods outlive them. Workloads do, and
//! ReplicaSets that still have pods: Flux prunes before a rollout is done. ReplicaSets are only listed while a Deployment of
//! the namespace, or a workload of another kind that the settings name, is rolled out: most of them are history, and a list of the whole
//! cluster would have many megabytes.
//!
//! The lists come from watches, one for each kind and the whole cluster, and may be some moments old. So each workload that
//! they show is read again. What was deleted meanwhile does not count, and nothing is rejected that nobody needs. What a
//! list does not show yet is not seen.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
    },
};
use pod_references::{WrongShape, extra, needs};
use serde_json::Value;

use super::{helm::Origin, taken::Taken};
use crate::{
    cluster::{Cluster, List, LookupError, Mention, ObjectRef, Scope},
    settings::WorkloadKind,
};

/// How many workloads are read again, and how many that surely need the object are enough.
const MAX_READ: usize = 64;
const ENOUGH: usize = 10;

/// How many owners there are one above the other: Job, CronJob, and the custom resource of an operator.
const MAX_OWNERS: usize = 4;

/// A kind of workloads.
struct Workload<'a> {
    api_version: &'a str,
    kind: &'a str,
    role: Role,
    /// Where the pod template is.
    template: &'static str,
    /// What else decides, besides the template.
    fields: &'static [&'static str],
}

/// How a workload works. Other groups have kinds of the same names.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    ReplicaSet,
    Other,
}

const TEMPLATE: &str = "spec.template";

/// In the order in which they are named.
const WORKLOADS: [Workload<'_>; 5] = [
    Workload {
        api_version: Deployment::API_VERSION,
        kind: Deployment::KIND,
        role: Role::Deployment,
        template: TEMPLATE,
        fields: &[
            "spec.replicas",
            "status.observedGeneration",
            "status.replicas",
            "status.updatedReplicas",
        ],
    },
    Workload {
        api_version: StatefulSet::API_VERSION,
        kind: StatefulSet::KIND,
        role: Role::StatefulSet,
        template: TEMPLATE,
        fields: &[
            "spec.replicas",
            "spec.volumeClaimTemplates.metadata.name",
            "status.currentRevision",
            "status.replicas",
            "status.updateRevision",
            "status.updatedReplicas",
        ],
    },
    Workload {
        api_version: DaemonSet::API_VERSION,
        kind: DaemonSet::KIND,
        role: Role::DaemonSet,
        template: TEMPLATE,
        fields: &[],
    },
    Workload {
        api_version: CronJob::API_VERSION,
        kind: CronJob::KIND,
        role: Role::CronJob,
        template: "spec.jobTemplate.spec.template",
        fields: &["spec.suspend"],
    },
    Workload {
        api_version: Job::API_VERSION,
        kind: Job::KIND,
        role: Role::Job,
        template: TEMPLATE,
        fields: &["spec.suspend", "status.conditions"],
    },
];

const REPLICA_SETS: Workload<'_> = Workload {
    api_version: ReplicaSet::API_VERSION,
    kind: ReplicaSet::KIND,
    role: Role::ReplicaSet,
    template: TEMPLATE,
    fields: &["spec.replicas", "status.replicas"],
};

/// Of another kind, nobody knows more than what it has like a Deployment.
fn other(WorkloadKind { api_version, kind }: &WorkloadKind) -> Workload<'_> {
    Workload {
        api_version,
        kind,
        role: Role::Other,
        template: TEMPLATE,
        fields: &[
            "spec.replicas",
            "spec.suspend",
            "spec.volumeClaimTemplates.metadata.name",
            "status.observedGeneration",
            "status.replicas",
            "status.updatedReplicas",
        ],
    }
}

/// What a pod template names objects with, below `spec`. The values of environment variables stay where they are.
const POD_FIELDS: [&str; 9] = [
    "volumes",
    "containers.env.valueFrom",
    "containers.envFrom",
    "containers.volumeMounts",
    "initContainers.env.valueFrom",
    "initContainers.envFrom",
    "initContainers.volumeMounts",
    "serviceAccountName",
    "serviceAccount",
];

/// Why it is not known who needs an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("{workload} cannot be read: {source}")]
    Workload {
        workload: String,
        source: WrongShape,
    },
}

/// Why a workload may not need the object after all, or why a rejection may do harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has no replicas.
    ScaledToZero,
    /// A CronJob or Job.
    Suspended,
    /// Its owner could not be read, and may be gone. Then the garbage collector takes the workload too.
    OwnerUnknown(LookupError),
    /// Whether the namespace is being deleted could not be read.
    NamespaceUnknown(LookupError),
    /// The object is a hook, which its tool creates again.
    Hook,
    /// A controller that reads this annotation may create the object again.
    MadeAgain(&'static str),
    /// Its tool may be about to create it anew: it was told to replace what it cannot change.
    Replaced,
    /// Argo CD may be about to change the workload.
    PrunedFirst,
    /// A release of this name is pending elsewhere.
    MayBeHelm,
    /// The release has failed, and Helm may be cleaning up after it.
    HelmFailed,
    /// Whether Helm is at work could not be read.
    HelmUnknown(LookupError),
}

/// A workload that requires what is taken.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    pub(super) kind: String,
    pub(super) name: String,
    /// The keys that its pods would miss; none, if they would miss the object.
    pub(super) keys: BTreeSet<String>,
    /// The workload whose rollout is not done: its new pods do without it.
    pub(super) until_rolled_out: Option<String>,
    /// `None`: it surely needs it.
    pub(super) doubt: Option<Doubt>,
    /// How Helm has made it, or what owns it.
    pub(super) origin: Origin,
}

/// `Deployment web`
impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The live workloads that require what is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    pub(super) found: Vec<Consumer>,
    /// There may be others, which were not read.
    pub(super) others: bool,
    /// What could not be read: there may be others.
    pub(super) failed: Option<Error>,
}

impl Consumers {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && !self.others && self.failed.is_none()
    }

    /// Whether one surely needs it.
    pub(super) fn are_certain(&self) -> bool {
        self.found.iter().any(|consumer| consumer.doubt.is_none())
    }

    /// Adds a reason for doubt to those of them that have none.
    pub(super) fn doubt(&mut self, doubt: &Doubt, of: impl Fn(&Consumer) -> bool) {
        for consumer in &mut self.found {
            if consumer.doubt.is_none() && of(consumer) {
                consumer.doubt = Some(doubt.clone());
            }
        }
    }

    fn add(&mut self, consumer: Consumer) {
        // A Deployment that requires it speaks for its ReplicaSets, unless it is the one in doubt.
        let speaks_for_it = |other: &Consumer| {
            consumer.until_rolled_out.as_ref() == Some(&other.to_string())
                && (other.doubt.is_none() || consumer.doubt.is_some())
        };
        if !self.found.iter().any(speaks_for_it) {
            self.found.push(consumer);
        }
    }
}

/// Finds them, also those of `other_kinds`.
pub(super) fn live(
    taken: &Taken<'_>,
    other_kinds: &BTreeSet<WorkloadKind>,
    cluster: &dyn Cluster,
) -> Consumers {
    let mut consumers = Consumers::default();
    let mut search = Search {
        to_read: MAX_READ,
        has_rollouts: false,
    };
    let others = other_kinds.iter().map(other);
    for kind in WORKLOADS.into_iter().chain(others).chain([REPLICA_SETS]) {
        if kind.role == Role::ReplicaSet && !search.has_rollouts {
            continue;
        }
        if let Err(error) = kind.add_to(&mut consumers, &mut search, taken, cluster) {
            consumers.failed.get_or_insert(error);
        }
        if consumers.others {
            break;
        }
    }
    consumers
}

/// What is known so far.
struct Search {
    /// How many workloads may still be read.
    to_read: usize,
    /// A Deployment of the namespace, or a workload of another kind, may have pods of a previous template.
    has_rollouts: bool,
}

impl Workload<'_> {
    /// Adds those of this kind, until there are enough.
    fn add_to(
        &self,
        consumers: &mut Consumers,
        search: &mut Search,
        taken: &Taken<'_>,
        cluster: &dyn Cluster,
    ) -> Result<(), Error> {
        let (candidates, unreadable) = self.candidates(search, taken, cluster)?;
        for name in candidates {
            let certain = consumers.found.iter().filter(|one| one.doubt.is_none());
            if search.to_read == 0 || certain.count() == ENOUGH {
                consumers.others = true;
                return Ok(());
            }
            search.to_read -= 1;
            if let Some(consumer) = self.read_again(&name, taken, cluster)? {
                consumers.add(consumer);
            }
        }
        unreadable.map_or(Ok(()), Err)
    }

    fn fields(&self) -> Vec<String> {
        let template = self.template;
        let mut fields = Vec::new();
        for field in POD_FIELDS {
            fields.push(format!("{template}.spec.{field}"));
        }
        for &field in self.fields {
            fields.push(field.to_owned());
        }
        fields
    }

    /// The names of those that a watch shows as consumers, in order, and what is wrong with one that cannot be read.
    fn candidates(
        &self,
        search: &mut Search,
        taken: &Taken<'_>,
        cluster: &dyn Cluster,
    ) -> Result<(BTreeSet<String>, Option<Error>), Error> {
        let fields = self.fields();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let listed = cluster.list(&List {
            fields: &fields,
            mention: Some(Mention {
                name: taken.name,
                // The previous templates of these are elsewhere.
                otherwise: match self.role {
                    Role::Deployment | Role::StatefulSet | Role::Other => &["metadata", "status"],
                    Role::DaemonSet | Role::CronJob | Role::Job | Role::ReplicaSet => &[],
                },
            }),
            ..List::of(self.api_version, self.kind, Scope::Within(taken.namespace))
        })?;
        let (mut names, mut unreadable) = (BTreeSet::new(), None);
        for workload in &listed {
            let is_rolling_out = self.is_rolling_out(workload);
            search.has_rollouts |= is_rolling_out && self.role != Role::StatefulSet;
            if is_being_deleted(workload) || self.is_over(workload) {
                continue;
            }
            let may_miss_it = is_rolling_out && self.role == Role::StatefulSet;
            match self.missed_by(workload, taken) {
                Ok(missed) if may_miss_it || missed.is_some() => {
                    names.insert(name(workload).to_owned());
                }
                Ok(_) => {}
                Err(error) => drop(unreadable.get_or_insert(error)),
            }
        }
        Ok((names, unreadable))
    }

    /// The workload as the API server has it now, if it requires what is taken.
    fn read_again(
        &self,
        name: &str,
        taken: &Taken<'_>,
        cluster: &dyn Cluster,
    ) -> Result<Option<Consumer>, Error> {
        let namespace = taken.namespace;
        let object = ObjectRef {
            api_version: self.api_version,
            kind: self.kind,
            namespace,
            name,
        };
        let fields = self.fields();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let Some(workload) = cluster.get(object, &fields)? else {
            return Ok(None);
        };
        if is_being_deleted(&workload) || self.is_over(&workload) {
            return Ok(None);
        }
        let by_new_pods = self.missed_by(&workload, taken)?;
        let (keys, until_rolled_out) = match by_new_pods {
            Some(keys) if self.role == Role::ReplicaSet => {
                (keys, controller(&workload).map(|owner| owner.to_string()))
            }
            Some(keys) => (keys, None),
            None => match self.missed_by_old_pods(&workload, taken, cluster)? {
                Some(keys) => (keys, Some(format!("{} {name}", self.kind))),
                None => return Ok(None),
            },
        };
        let idle = idle(&workload);
        let mut origin = Origin::of(&workload);
        let doubt = match owners(&workload, &mut origin, namespace, cluster) {
            Ok(Owners::Live) => idle,
            Ok(Owners::Gone) => return Ok(None),
            Err(error) => Some(Doubt::OwnerUnknown(error)),
        };
        Ok(Some(Consumer {
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            keys,
            until_rolled_out,
            doubt,
            origin,
        }))
    }

    /// What the pods of its template would miss.
    fn missed_by(
        &self,
        workload: &Value,
        taken: &Taken<'_>,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let by_template = missed(workload, self.template, taken);
        let mut missed = by_template.map_err(|source| Error::Workload {
            workload: format!("{} {}", self.kind, name(workload)),
            source,
        })?;
        // A ReplicaSet keeps the annotations that its Deployment has dropped (deployment_util.go,
        // copyDeploymentAnnotationsToReplicaSet), and that is no rollout.
        if self.role != Role::ReplicaSet || controller(workload).is_none() {
            // A name that no object can have is not this one.
            for need in extra::needs(workload).flatten() {
                add(&mut missed, taken.missed_by(&need));
            }
        }
        Ok(missed)
    }

    /// Whether it may have pods of a previous template. A StatefulSet with `updateStrategy: OnDelete` has the name of the first
    /// revision as its current one for ever (stateful_set_utils.go, completeRollingUpdate), so pods are counted. (Those of a
    /// DaemonSet are not looked up: its status does not name their revision.)
    fn is_rolling_out(&self, workload: &Value) -> bool {
        let status = |field| workload.get("status").and_then(|status| status.get(field));
        let count = |field| status(field).and_then(Value::as_u64).unwrap_or(0);
        let has_old_pods = count("updatedReplicas") < count("replicas");
        // Until its controller has seen the new template, no pod counts as old. Argo Rollouts writes the number as a text.
        let generation = workload
            .pointer("/metadata/generation")
            .and_then(Value::as_u64);
        let observed = status("observedGeneration").and_then(|observed| match observed {
            Value::String(text) => text.parse().ok(),
            observed => observed.as_u64(),
        });
        match self.role {
            Role::Deployment => has_old_pods || generation != Some(observed.unwrap_or(0)),
            Role::StatefulSet => {
                has_old_pods && status("currentRevision") != status("updateRevision")
            }
            Role::Other => has_old_pods || observed.is_some() && observed != generation,
            Role::DaemonSet | Role::CronJob | Role::Job | Role::ReplicaSet => false,
        }
    }

    /// What the pods of the previous template of a StatefulSet would miss.
    fn missed_by_old_pods(
        &self,
        workload: &Value,
        taken: &Taken<'_>,
        cluster: &dyn Cluster,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let current = workload.pointer("/status/currentRevision");
        let Some(current) = current
            .and_then(Value::as_str)
            .filter(|_| self.role == Role::StatefulSet && self.is_rolling_out(workload))
        else {
            return Ok(None);
        };
        let object = ObjectRef {
            api_version: ControllerRevision::API_VERSION,
            kind: ControllerRevision::KIND,
            namespace: taken.namespace,
            name: current,
        };
        let Some(mut revision) = cluster.get(object, &["data"])? else {
            return Ok(None);
        };
        // A revision has only the template, and the claims never change.
        if let Some(fields) = revision.as_object_mut() {
            fields.insert(
                "spec".to_owned(),
                workload.get("spec").cloned().unwrap_or_default(),
            );
        }
        missed(&revision, "data.spec.template", taken).map_err(|source| Error::Workload {
            workload: object.to_string(),
            source,
        })
    }

    /// Whether it starts no pods any more: a Job that has ended, a ReplicaSet that has none.
    fn is_over(&self, workload: &Value) -> bool {
        let status = |field| workload.get("status").and_then(|status| status.get(field));
        match self.role {
            Role::Job => {
                let conditions = status("conditions").and_then(Value::as_array);
                conditions.into_iter().flatten().any(|condition| {
                    let text = |field| condition.get(field).and_then(Value::as_str);
                    matches!(text("type"), Some("Complete" | "Failed"))
                        && text("status") == Some("True")
                })
            }
            Role::ReplicaSet => status("replicas").and_then(Value::as_u64).unwrap_or(0) == 0,
            _ => false,
        }
    }
}

/// Why no pods of a workload may need anything now.
fn idle(workload: &Value) -> Option<Doubt> {
    let spec = |field| workload.get("spec").and_then(|spec| spec.get(field));
    if spec("suspend") == Some(&Value::Bool(true)) {
        return Some(Doubt::Suspended);
    }
    let is_scaled_to_zero = spec("replicas").and_then(Value::as_u64) == Some(0);
    is_scaled_to_zero.then_some(Doubt::ScaledToZero)
}

/// What the pods of the template of an object would miss: keys, or with none of them the object. `None`: nothing.
fn missed(
    object: &Value,
    template: &str,
    taken: &Taken<'_>,
) -> Result<Option<BTreeSet<String>>, WrongShape> {
    let mut missed = None;
    for need in needs(object, template)? {
        add(&mut missed, taken.missed_by(&need));
    }
    Ok(missed)
}

fn add(missed: &mut Option<BTreeSet<String>>, more: Option<BTreeSet<String>>) {
    match (missed, more) {
        (_, None) => {}
        (Some(missed), Some(more)) => {
            for key in more {
                missed.insert(key);
            }
        }
        (missed, more) => *missed = more,
    }
}

/// Whether what owns a workload is there.
enum Owners {
    /// They are, or it has none.
    Live,
    /// One is not, or is being deleted: the garbage collector takes what it owned.
    Gone,
}

/// Looks at the controller that owns a workload, at that which owns it, and so on. What Helm has made of them tells of the workload as
/// well: a Job has no annotations of its CronJob.
fn owners(
    workload: &Value,
    origin: &mut Origin,
    namespace: &str,
    cluster: &dyn Cluster,
) -> Result<Owners, LookupError> {
    let mut above = None;
    for _ in 0..MAX_OWNERS {
        let owned = above.as_ref().unwrap_or(workload);
        let Some(owner) = controller(owned) else {
            break;
        };
        let object = ObjectRef {
            api_version: owner.api_version,
            kind: owner.kind,
            namespace,
            name: owner.name,
        };
        let found = cluster.get(object, &["metadata"])?;
        let found = found.filter(|found| {
            let uid = found.pointer("/metadata/uid").and_then(Value::as_str);
            uid == Some(owner.uid) && (!is_being_deleted(found) || leaves_orphans(found))
        });
        let Some(found) = found else {
            return Ok(Owners::Gone);
        };
        origin.or(Origin::of(&found));
        above = Some(found);
    }
    Ok(Owners::Live)
}

/// Whether an object that is being deleted leaves alone what it owns (`--cascade=orphan`).
fn leaves_orphans(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers");
    let finalizers = finalizers.and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|one| one == "orphan"))
}

/// The owner that looks after an object.
pub(super) struct Controller<'a> {
    pub(super) api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

impl fmt::Display for Controller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The owner with `controller: true`.
pub(super) fn controller(object: &Value) -> Option<Controller<'_>> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let text = |field| owner.get(field).and_then(Value::as_str);
    Some(Controller {
        api_version: text("apiVersion")?,
        kind: text("kind")?,
        name: text("name")?,
        uid: text("uid")?,
    })
}

/// Whether somebody has deleted the object, and it waits for finalizers or for what it owns.
pub(super) fn is_being_deleted(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|time| !time.is_null())
}

fn name(workload: &Value) -> &str {
    let name = workload.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}
