//! What the cluster tells: one watch for each kind, in all namespaces or in each of some.
//!
//! In: the API server. Out: a [`Seen`] for each event, and one for each whole list. A watch that fails begins again by
//! itself, with growing pauses (kube-runtime).

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use crate::{
    metrics::Metrics,
    object::{
        Choice, ConfigId, ConfigKind, GroupKind, Version, Workload, WorkloadId, is_opted_out,
    },
    work::Source,
};

/// Where workloads are, and in which namespace; `None` for all.
pub(crate) type Place = (Arc<GroupKind>, Option<Arc<str>>);

/// What one watch has seen.
#[derive(Debug)]
pub(crate) enum Seen {
    Configs(Source, BTreeMap<ConfigId, Version>),
    Config(ConfigId, Version),
    ConfigGone(ConfigId, u64),
    Workloads(Place, BTreeMap<WorkloadId, Option<Workload>>),
    Workload(WorkloadId, Option<Workload>),
    WorkloadGone(WorkloadId),
    /// With whether they opt out.
    Namespaces(BTreeMap<Arc<str>, bool>),
    Namespace(Arc<str>, bool),
}

/// Which objects are watched.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Empty for all.
    pub(crate) namespaces: Vec<Arc<str>>,
    pub(crate) excluded_namespaces: Vec<String>,
    pub(crate) workload_selector: Option<String>,
    pub(crate) config_selector: Option<String>,
    pub(crate) choice: Choice,
    pub(crate) kinds: BTreeMap<Arc<GroupKind>, ApiResource>,
}

/// A watch, and where its first list has come from when it is complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watch {
    Configs(Source),
    Workloads(Place),
    Namespaces,
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, namespace) = match self {
            Self::Configs((kind, namespace)) => (kind.name(), namespace),
            Self::Workloads((kind, namespace)) => (kind.kind.as_str(), namespace),
            Self::Namespaces => ("Namespace", &None),
        };
        match namespace {
            Some(namespace) => write!(f, "{what} in {namespace}"),
            None => f.write_str(what),
        }
    }
}

impl Scope {
    /// Whatever leads with another one looks at other objects.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Each of these begins with a whole list.
    pub(crate) fn watches(&self) -> Vec<Watch> {
        let mut watches = Vec::new();
        for namespace in self.places() {
            for kind in ConfigKind::ALL {
                watches.push(Watch::Configs((kind, namespace.clone())));
            }
            for kind in self.kinds.keys() {
                watches.push(Watch::Workloads((Arc::clone(kind), namespace.clone())));
            }
        }
        if self.namespaces.is_empty() {
            watches.push(Watch::Namespaces);
        }
        watches
    }

    fn places(&self) -> Vec<Option<Arc<str>>> {
        match self.namespaces.is_empty() {
            true => vec![None],
            false => self.namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// Runs one watch for ever.
    pub(crate) async fn run(
        self: Arc<Self>,
        watch: Watch,
        client: Client,
        metrics: Arc<Metrics>,
        seen: Sender<Seen>,
    ) {
        let failed = |error: &watcher::Error| metrics.watch_failed(&watch, error);
        match &watch {
            Watch::Configs(source) => {
                let (kind, namespace) = source;
                let config = self.config(
                    self.config_selector.as_deref(),
                    (*kind == ConfigKind::Secret).then_some(NOT_OF_HELM),
                );
                match kind {
                    ConfigKind::ConfigMap => {
                        let api = api::<PartialObjectMeta<ConfigMap>>(client, namespace.as_deref());
                        let events = watcher(api, config).default_backoff();
                        forward_configs(source, events.inspect_err(failed), &seen).await;
                    }
                    ConfigKind::Secret => {
                        let api = api::<PartialObjectMeta<Secret>>(client, namespace.as_deref());
                        let events = watcher(api, config).default_backoff();
                        forward_configs(source, events.inspect_err(failed), &seen).await;
                    }
                }
            }
            Watch::Workloads(place) => {
                let (kind, namespace) = place;
                let Some(resource) = self.kinds.get(kind) else {
                    return;
                };
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(client, namespace, resource),
                    None => Api::all_with(client, resource),
                };
                let config = self.config(self.workload_selector.as_deref(), None);
                let events = watcher::<DynamicObject>(api, config).default_backoff();
                let messages = Messages {
                    all: |listed| Seen::Workloads(place.clone(), listed),
                    applied: Seen::Workload,
                    gone: |id, _| Seen::WorkloadGone(id),
                };
                let read = |object| self.workload(kind, object);
                forward(events.inspect_err(failed), read, messages, &seen).await;
            }
            Watch::Namespaces => {
                let api = Api::<PartialObjectMeta<Namespace>>::all(client);
                let config = watcher::Config::default();
                let events = watcher(api, config).default_backoff();
                let messages = Messages {
                    all: Seen::Namespaces,
                    applied: Seen::Namespace,
                    gone: |name, _| Seen::Namespace(name, false),
                };
                let read = |object: PartialObjectMeta<Namespace>| {
                    let opts_out = is_opted_out(&object.metadata);
                    (object.metadata.name.unwrap_or_default().into(), opts_out)
                };
                forward(events.inspect_err(failed), read, messages, &seen).await;
            }
        }
    }

    fn config(&self, labels: Option<&str>, field: Option<&str>) -> watcher::Config {
        let excluded = self.excluded_namespaces.iter();
        let fields: Vec<_> = excluded
            .map(|namespace| format!("metadata.namespace!={namespace}"))
            .chain(field.map(str::to_owned))
            .collect();
        let config = watcher::Config::default().fields(&fields.join(","));
        match labels {
            Some(labels) => config.labels(labels),
            None => config,
        }
    }

    fn workload(
        &self,
        kind: &Arc<GroupKind>,
        object: DynamicObject,
    ) -> (WorkloadId, Option<Workload>) {
        let id = WorkloadId {
            namespace: object
                .metadata
                .namespace
                .as_deref()
                .unwrap_or_default()
                .into(),
            kind: Arc::clone(kind),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        let raw = serde_json::to_value(&object).unwrap_or(Value::Null);
        let workload = Workload::read(&raw, &object.metadata, &id.namespace, self.choice);
        let workload = workload.unwrap_or_else(|error| {
            tracing::warn!(workload = %id, %error, "cannot be read, and is left alone");
            None
        });
        (id, workload)
    }
}

/// Release records of Helm are no config, and large.
const NOT_OF_HELM: &str = "type!=helm.sh/release.v1";

fn api<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// How the events of a watch become messages.
struct Messages<All, Applied, Gone> {
    all: All,
    applied: Applied,
    gone: Gone,
}

/// Sends a message for each event, and one for each whole list, until nobody listens any more.
async fn forward<Object, Id: Ord, State>(
    events: impl Stream<Item = watcher::Result<Event<Object>>>,
    read: impl Fn(Object) -> (Id, State),
    messages: Messages<
        impl Fn(BTreeMap<Id, State>) -> Seen,
        impl Fn(Id, State) -> Seen,
        impl Fn(Id, State) -> Seen,
    >,
    seen: &Sender<Seen>,
) {
    let mut listed = BTreeMap::new();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let message = match event {
            // It was counted, and the watch begins again.
            Err(_) => continue,
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.extend([read(object)]);
                continue;
            }
            Ok(Event::InitDone) => (messages.all)(std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => {
                let (id, state) = read(object);
                (messages.applied)(id, state)
            }
            Ok(Event::Delete(object)) => {
                let (id, state) = read(object);
                (messages.gone)(id, state)
            }
        };
        if seen.send(message).await.is_err() {
            return;
        }
    }
}

async fn forward_configs<K>(
    source: &Source,
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>>,
    seen: &Sender<Seen>,
) {
    let read = |object: PartialObjectMeta<K>| {
        let version = Version::of(&object.metadata);
        let id = ConfigId {
            namespace: object.metadata.namespace.unwrap_or_default().into(),
            kind: source.0,
            name: object.metadata.name.unwrap_or_default(),
        };
        (id, version)
    };
    let messages = Messages {
        all: |listed| Seen::Configs(source.clone(), listed),
        applied: Seen::Config,
        gone: |id, version: Version| Seen::ConfigGone(id, version.revision),
    };
    forward(events, read, messages, seen).await;
}
