//! The objects of a live cluster, read through its API server.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures::StreamExt;
use futures::future::ready;
use k8s_openapi::api::authorization::v1::{
    SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config};
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    CanIRequest, GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Cluster, HostError, Kind};

/// How long policy-server caches the answer of `get_resource`.
const CACHE_TIME: Duration = Duration::from_secs(5);

/// Less than the two seconds of an evaluation, so that the policy still receives the error.
const LIST_LIMIT: Duration = Duration::from_millis(1500);

/// The objects of a live cluster, looked up as in policy-server:
///
/// | | |
/// | --- | --- |
/// | a look-up of objects | only for granted kinds; discovers the API resource of a kind once |
/// | `get_resource` with `disable_cache` | a GET each time |
/// | `get_resource` | a GET, or the last answer for this kind, namespace and name for five seconds; failures are not cached |
/// | `can_i` | a SubjectAccessReview each time; policy-server may answer with one of the last five seconds |
/// | lists | a watch for each kind, namespace and selectors; it starts with the first call and never ends; unordered |
///
/// An object that does not exist is [`HostError::Absent`], a kind that is not granted is [`HostError::Denied`], and
/// anything else is [`HostError::Failed`] with the error of the client and its causes.
///
/// Look-ups block until the runtime has done its work, so its own worker threads must not call them.
///
/// # Differences
///
/// policy-server waits forever for a first list that is never complete, most often because the user may not list or
/// watch the kind. Here, the look-up fails after a second and a half, with the error of the API server. The watch
/// continues, so a later look-up may succeed.
pub struct LiveCluster {
    client: Client,
    runtime: Handle,
    grants: BTreeSet<Kind>,
    cache_time: Duration,
    list_limit: Duration,
    resources: Mutex<HashMap<Kind, Resource>>,
    cache: Mutex<HashMap<CacheKey, Cached>>,
    watches: Mutex<Watches>,
}

/// How the API serves the objects of a kind.
#[derive(Clone)]
struct Resource {
    api: ApiResource,
    namespaced: bool,
}

/// As in policy-server, field masks are not part of the key.
#[derive(PartialEq, Eq, Hash)]
struct CacheKey {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

struct Cached {
    since: Instant,
    object: Value,
}

/// The objects that a watch selects.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Selection {
    kind: Kind,
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
}

#[derive(Default)]
struct Watches {
    by_selection: HashMap<Selection, Watch>,
    // Dropping it ends the watches.
    tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Watch {
    objects: Store<DynamicObject>,
    /// Meaningless once there are objects.
    last_error: Arc<Mutex<Option<String>>>,
}

impl LiveCluster {
    /// The cluster and user of the current context in a kubeconfig file, for a policy that may read these kinds.
    /// Nothing is sent to the cluster yet.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or used.
    pub fn connect(
        kubeconfig: &Path,
        runtime: Handle,
        grants: impl IntoIterator<Item = Kind>,
    ) -> anyhow::Result<Self> {
        let client = runtime
            .block_on(connect(kubeconfig))
            .with_context(|| format!("cannot use the kubeconfig {}", kubeconfig.display()))?;
        Ok(Self {
            client,
            runtime,
            grants: grants.into_iter().collect(),
            cache_time: CACHE_TIME,
            list_limit: LIST_LIMIT,
            resources: Mutex::default(),
            cache: Mutex::default(),
            watches: Mutex::default(),
        })
    }

    /// Sets how long answers of `get_resource` without `disable_cache` are cached.
    #[must_use]
    pub fn with_cache_time(mut self, time: Duration) -> Self {
        self.cache_time = time;
        self
    }

    /// Sets how long to wait for the first list of a watch.
    #[must_use]
    pub fn with_list_limit(mut self, limit: Duration) -> Self {
        self.list_limit = limit;
        self
    }

    fn granted(&self, api_version: &str, kind: &str) -> Result<Kind, HostError> {
        let kind = Kind::new(api_version, kind);
        if self.grants.contains(&kind) {
            Ok(kind)
        } else {
            Err(HostError::denied(&kind.api_version, &kind.kind))
        }
    }

    fn get(&self, key: &CacheKey, request: &GetResourceRequest) -> Result<Value, HostError> {
        let object = self.runtime.block_on(self.fetch(key)).map_err(failed)?;
        object.ok_or_else(|| HostError::absent(request))
    }

    async fn fetch(&self, key: &CacheKey) -> anyhow::Result<Option<Value>> {
        let CacheKey {
            kind,
            namespace,
            name,
        } = key;
        let Resource { api, namespaced } = self.resource(kind).await?;
        let client = self.client.clone();
        let objects: Api<DynamicObject> = match (namespaced, namespace) {
            (true, Some(namespace)) => Api::namespaced_with(client, namespace, &api),
            (true, None) => bail!("Resource {kind} is namespaced, but no namespace was provided"),
            (false, _) => Api::all_with(client, &api),
        };
        let object = objects.get_opt(name).await?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    fn list(&self, selection: Selection) -> Result<Vec<Value>, HostError> {
        self.runtime.block_on(self.watch(selection)).map_err(failed)
    }

    async fn watch(&self, selection: Selection) -> anyhow::Result<Vec<Value>> {
        let kind = selection.kind.clone();
        let resource = self.resource(&kind).await?;
        if selection.namespace.is_some() && !resource.namespaced {
            bail!("resource {kind} is cluster wide. Cannot search for it inside of a namespace");
        }

        let Watch {
            objects,
            last_error,
        } = self.watch_of(selection, &resource.api);
        let ready = timeout(self.list_limit, objects.wait_until_ready()).await;
        if !matches!(ready, Ok(Ok(()))) {
            let error = lock(&last_error).clone();
            bail!(
                "no list of {kind} within {:?}: {}",
                self.list_limit,
                error.as_deref().unwrap_or("the API server does not answer")
            );
        }
        let objects = objects.state();
        let values = objects.iter().map(|object| serde_json::to_value(&**object));
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// The existing watch, or a new one.
    fn watch_of(&self, selection: Selection, resource: &ApiResource) -> Watch {
        let mut watches = lock(&self.watches);
        if let Some(watch) = watches.by_selection.get(&selection) {
            return watch.clone();
        }

        let client = self.client.clone();
        let objects: Api<DynamicObject> = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        };
        let config = watcher::Config {
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            ..watcher::Config::default()
        };
        let writer = Writer::new(resource.clone());
        let watch = Watch {
            objects: writer.as_reader(),
            last_error: Arc::default(),
        };
        let last_error = Arc::clone(&watch.last_error);
        let events = watcher(objects, config).default_backoff().reflect(writer);
        let task = events.for_each(move |event| {
            if let Err(error) = event {
                *lock(&last_error) = Some(in_one_line(&error));
            }
            ready(())
        });
        watches.tasks.spawn_on(task, &self.runtime);
        watches.by_selection.insert(selection, watch.clone());
        watch
    }

    /// Looks a kind up. If it is found, the result is kept. Otherwise it may appear later.
    async fn resource(&self, kind: &Kind) -> anyhow::Result<Resource> {
        if let Some(resource) = lock(&self.resources).get(kind) {
            return Ok(resource.clone());
        }

        let Kind {
            api_version,
            kind: name,
        } = kind;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let list = if group.is_empty() {
            self.client.list_core_api_resources(version).await?
        } else {
            let list = self.client.list_api_group_resources(api_version).await;
            list.map_err(|error| anyhow!("error finding resource {api_version} / {name}: {error}"))?
        };
        let found = list.resources.into_iter().find(|found| found.kind == *name);
        let found = found.with_context(|| format!("Cannot find resource {kind}"))?;
        let resource = Resource {
            api: ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version.clone(),
                kind: name.clone(),
                plural: found.name,
            },
            namespaced: found.namespaced,
        };
        lock(&self.resources).insert(kind.clone(), resource.clone());
        Ok(resource)
    }
}

impl Cluster for LiveCluster {
    fn get_resource(&self, request: &GetResourceRequest) -> Result<Value, HostError> {
        let key = CacheKey {
            kind: self.granted(&request.api_version, &request.kind)?,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
        };
        if request.disable_cache {
            return self.get(&key, request);
        }

        // Locked until there is an answer, as in policy-server: others may want the same object.
        let mut cache = lock(&self.cache);
        if let Some(Cached { since, object }) = cache.get(&key)
            && since.elapsed() < self.cache_time
        {
            return Ok(object.clone());
        }
        let object = self.get(&key, request)?;
        let cached = Cached {
            since: Instant::now(),
            object: object.clone(),
        };
        cache.insert(key, cached);
        Ok(object)
    }

    fn list_resources_by_namespace(
        &self,
        request: &ListResourcesByNamespaceRequest,
    ) -> Result<Vec<Value>, HostError> {
        self.list(Selection {
            kind: self.granted(&request.api_version, &request.kind)?,
            namespace: Some(request.namespace.clone()),
            labels: request.label_selector.clone(),
            fields: request.field_selector.clone(),
        })
    }

    fn list_resources_all(
        &self,
        request: &ListAllResourcesRequest,
    ) -> Result<Vec<Value>, HostError> {
        self.list(Selection {
            kind: self.granted(&request.api_version, &request.kind)?,
            namespace: None,
            labels: request.label_selector.clone(),
            fields: request.field_selector.clone(),
        })
    }

    fn can_i(&self, request: &CanIRequest) -> Result<SubjectAccessReviewStatus, HostError> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec::from(request.subject_access_review.clone()),
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let answer = self.runtime.block_on(reviews.create(&parameters, &review));
        let answer = answer.map_err(|error| failed(error.into()))?;
        Ok(answer.status.unwrap_or_default())
    }
}

async fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// As in policy-server, which prints the debug output of anyhow. The text is built here, because anyhow may add a stack
/// trace, depending on the environment.
fn failed(error: anyhow::Error) -> HostError {
    let causes: Vec<_> = error.chain().skip(1).collect();
    let mut text = error.to_string();
    if !causes.is_empty() {
        text += "\n\nCaused by:";
    }
    for (number, cause) in causes.iter().enumerate() {
        let label = if causes.len() == 1 {
            "    ".to_owned()
        } else {
            format!("{number:>5}: ")
        };
        text += &format!("\n{label}{cause}");
    }
    HostError::failed(text)
}

/// The error with the causes that its own text does not contain.
fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_show_their_causes() {
        let error = anyhow!("b").context("a");
        assert_eq!(failed(error), HostError::failed("a\n\nCaused by:\n    b"));
        let error = anyhow!("c").context("b").context("a");
        assert_eq!(
            failed(error),
            HostError::failed("a\n\nCaused by:\n    0: b\n    1: c")
        );
        assert_eq!(failed(anyhow!("a")), HostError::failed("a"));
    }

    #[test]
    fn causes_are_shown_once() {
        let error = anyhow!("c").context("b").context("a: b");
        assert_eq!(in_one_line(&*error), "a: b: c");
    }
}
