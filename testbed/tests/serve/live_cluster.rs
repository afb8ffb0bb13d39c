//! Look-ups in a live cluster.

use std::time::Duration;

use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    CanIRequest, GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde_json::{Value, json};
use testbed::{Cluster, HostError, Kind, LiveCluster};
use tokio::runtime::Runtime;

use crate::api_server::{ApiServer, status};
use crate::{LIMIT, wait_until};

const APP: &str = "/api/v1/namespaces/shop/configmaps/app";
const SHOP: &str = "/api/v1/namespaces/shop/configmaps";

fn config_map(colour: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
           "metadata": {"name": "app", "namespace": "shop"}, "data": {"colour": colour}})
}

fn get(kind: &str, namespace: Option<&str>, disable_cache: bool) -> GetResourceRequest {
    GetResourceRequest {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        name: "app".to_owned(),
        namespace: namespace.map(str::to_owned),
        disable_cache,
        field_masks: None,
    }
}

fn get_app() -> GetResourceRequest {
    get("ConfigMap", Some("shop"), true)
}

fn list(kind: &str) -> ListResourcesByNamespaceRequest {
    ListResourcesByNamespaceRequest {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        label_selector: None,
        field_selector: None,
        field_masks: None,
    }
}

/// A cluster, and its runtime, which must exist as long as the cluster.
fn connect(api: &ApiServer) -> (Runtime, LiveCluster) {
    let runtime = Runtime::new().unwrap();
    let grants = [
        "v1/ConfigMap",
        "v1/Namespace",
        "v1/Thing",
        "example.com/v1/Thing",
    ];
    let grants = grants.map(|kind| kind.parse::<Kind>().unwrap());
    let cluster = LiveCluster::connect(&api.kubeconfig(), runtime.handle().clone(), grants);
    (runtime, cluster.unwrap().with_list_limit(LIMIT))
}

#[test]
fn an_object_is_read_whole() {
    let api = ApiServer::start();
    api.answer(APP, 200, config_map("blue"));
    let (_runtime, cluster) = connect(&api);

    assert_eq!(cluster.get_resource(&get_app()), Ok(config_map("blue")));
    assert_eq!(api.requests(), [APP]);
}

#[test]
fn users_are_reviewed_by_the_api_server() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);
    let request: CanIRequest = serde_json::from_value(json!({
        "subject_access_review": {
            "user": "jenkins",
            "resource_attributes": {"resource": "secrets", "namespace": "bank", "verb": "get"},
        },
        "disable_cache": false,
    }))
    .unwrap();
    let review = |status: Value| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
               "spec": {}, "status": status})
    };
    for allowed in [true, false] {
        api.answer(REVIEWS, 201, review(json!({"allowed": allowed})));
        let status = cluster.can_i(&request).unwrap();
        assert_eq!(status.allowed, allowed);
    }
    api.answer(REVIEWS, 403, status(403, "Forbidden", "not allowed"));
    assert!(matches!(cluster.can_i(&request), Err(HostError::Failed(_))));
    assert!(api.requests().iter().all(|path| path.starts_with(REVIEWS)));
}

#[test]
fn a_cluster_wide_object_is_read_with_any_namespace() {
    let api = ApiServer::start();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}});
    api.answer("/api/v1/namespaces/app", 200, namespace.clone());
    let (_runtime, cluster) = connect(&api);

    for asked in [None, Some("shop")] {
        let answer = cluster.get_resource(&get("Namespace", asked, true));
        assert_eq!(answer, Ok(namespace.clone()));
    }
}

#[test]
fn an_absent_object() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);

    assert_eq!(
        cluster.get_resource(&get_app()),
        Err(HostError::absent(&get_app()))
    );
}

#[test]
fn a_kind_that_was_not_granted_is_not_looked_up() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);

    let denied = HostError::denied("v1", "Secret");
    let answer = cluster.get_resource(&get("Secret", Some("shop"), true));
    assert_eq!(answer, Err(denied.clone()));
    let answer = cluster.list_resources_by_namespace(&list("Secret"));
    assert_eq!(answer, Err(denied));
    assert_eq!(api.requests(), [""; 0]);
}

/// The rest of the text is from the client: the debug output of the answer, and its causes.
#[track_caller]
fn assert_failed<T: std::fmt::Debug>(answer: Result<T, HostError>, start: &str) {
    let Err(HostError::Failed(text)) = answer else {
        unreachable!("not a failure: {answer:?}");
    };
    let expected = format!("Callback evaluation failure: {start}");
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn errors_of_the_api_server_are_failures() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);

    let forbidden = status(403, "Forbidden", "configmaps \"app\" is forbidden: no role");
    api.answer(APP, 403, forbidden);
    assert_failed(
        cluster.get_resource(&get_app()),
        "ApiError: configmaps \"app\" is forbidden: no role: Forbidden",
    );
    api.answer(APP, 500, status(500, "InternalError", "etcd is away"));
    assert_failed(
        cluster.get_resource(&get_app()),
        "ApiError: etcd is away: InternalError",
    );
}

#[test]
fn invalid_requests() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);

    assert_failed(
        cluster.get_resource(&get("Thing", Some("shop"), true)),
        "Cannot find resource v1/Thing",
    );
    assert_failed(
        cluster.get_resource(&get("ConfigMap", None, true)),
        "Resource v1/ConfigMap is namespaced, but no namespace was provided",
    );
    assert_failed(
        cluster.list_resources_by_namespace(&list("Namespace")),
        "resource v1/Namespace is cluster wide. Cannot search for it inside of a namespace",
    );
    let custom = GetResourceRequest {
        api_version: "example.com/v1".to_owned(),
        ..get("Thing", Some("shop"), true)
    };
    assert_failed(
        cluster.get_resource(&custom),
        "error finding resource example.com/v1 / Thing: ApiError: not found: NotFound",
    );
    api.answer(
        "/apis/example.com/v1",
        200,
        json!({"kind": "APIResourceList", "groupVersion": "example.com/v1", "resources": [
            {"name": "things", "kind": "Thing", "namespaced": true, "singularName": "thing", "verbs": []},
        ]}),
    );
    let thing =
        json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "app"}});
    let path = "/apis/example.com/v1/namespaces/shop/things/app";
    api.answer(path, 200, thing.clone());
    assert_eq!(cluster.get_resource(&custom), Ok(thing));
}

#[test]
fn answers_are_cached_unless_the_policy_disables_it() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);
    let cluster = cluster.with_cache_time(Duration::MAX);
    let cached = get("ConfigMap", Some("shop"), false);

    // Failures are not cached, and neither are the answers of uncached look-ups.
    let absent = cluster.get_resource(&cached);
    assert_eq!(absent, Err(HostError::absent(&cached)));
    api.answer(APP, 200, config_map("blue"));
    assert_eq!(cluster.get_resource(&get_app()), Ok(config_map("blue")));
    api.answer(APP, 200, config_map("green"));
    assert_eq!(cluster.get_resource(&cached), Ok(config_map("green")));

    api.answer(APP, 200, config_map("red"));
    assert_eq!(cluster.get_resource(&cached), Ok(config_map("green")));
    assert_eq!(cluster.get_resource(&get_app()), Ok(config_map("red")));
    // Field masks and uncached answers in between make no difference, but the namespace does.
    let masked = GetResourceRequest {
        field_masks: Some(["data".to_owned()].into()),
        ..get("ConfigMap", Some("shop"), false)
    };
    assert_eq!(cluster.get_resource(&masked), Ok(config_map("green")));
    let elsewhere = get("ConfigMap", Some("blog"), false);
    let absent = cluster.get_resource(&elsewhere);
    assert_eq!(absent, Err(HostError::absent(&elsewhere)));
}

#[test]
fn cached_answers_expire() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);
    let cluster = cluster.with_cache_time(Duration::ZERO);
    let cached = get("ConfigMap", Some("shop"), false);

    for colour in ["blue", "green"] {
        api.answer(APP, 200, config_map(colour));
        assert_eq!(cluster.get_resource(&cached), Ok(config_map(colour)));
    }
}

/// An item of a list, as the API server returns it.
fn item(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "data": {}})
}

fn answer_list(api: &ApiServer, path: &str, items: &[Value]) {
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1",
                      "metadata": {"resourceVersion": "1"}, "items": items});
    api.answer(path, 200, list);
}

fn names(objects: &[Value]) -> Vec<&str> {
    let names = objects
        .iter()
        .filter_map(|o| o["metadata"]["name"].as_str());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn lists_are_watched() {
    let api = ApiServer::start();
    answer_list(&api, SHOP, &[item("app"), item("db")]);
    let (_runtime, cluster) = connect(&api);
    let list = || {
        cluster
            .list_resources_by_namespace(&list("ConfigMap"))
            .unwrap()
    };

    assert_eq!(names(&list()), ["app", "db"]);
    wait_until("the watch begins", || api.watches() == 1);
    let mut added = config_map("blue");
    added["metadata"] = json!({"name": "new", "namespace": "shop", "resourceVersion": "2"});
    api.send_event("ADDED", &added);
    wait_until("the new object is listed", || {
        names(&list()) == ["app", "db", "new"]
    });
    api.send_event("DELETED", &added);
    wait_until("the deleted object is not listed", || {
        names(&list()) == ["app", "db"]
    });
    // One list and one watch are enough for all look-ups.
    assert_eq!(api.requests().len(), 2, "{:?}", api.requests());
}

#[test]
fn each_selection_has_its_own_watch() {
    let api = ApiServer::start();
    let (_runtime, cluster) = connect(&api);
    let select = |labels: Option<&str>, fields: Option<&str>| ListAllResourcesRequest {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        label_selector: labels.map(str::to_owned),
        field_selector: fields.map(str::to_owned),
        field_masks: None,
    };

    answer_list(&api, "/api/v1/configmaps", &[item("app")]);
    let answer = cluster.list_resources_all(&select(Some("a in (b,c)"), None));
    assert_eq!(names(&answer.unwrap()), ["app"]);
    answer_list(&api, "/api/v1/configmaps", &[item("db")]);
    let answer = cluster.list_resources_all(&select(None, Some("metadata.name=db")));
    assert_eq!(names(&answer.unwrap()), ["db"]);

    let requests = api.requests();
    let lists: Vec<_> = requests
        .iter()
        .filter(|path| !path.contains("watch="))
        .collect();
    assert!(
        matches!(lists.as_slice(), [labels, fields]
            if labels.contains("labelSelector=a+in+%28b%2Cc%29")
                && fields.contains("fieldSelector=metadata.name%3Ddb")),
        "{requests:?}"
    );
}

#[test]
fn a_rejected_list_is_a_failure() {
    let api = ApiServer::start();
    let forbidden = status(403, "Forbidden", "configmaps is forbidden: no role");
    api.answer(SHOP, 403, forbidden);
    let (_runtime, cluster) = connect(&api);
    let cluster = cluster.with_list_limit(Duration::from_millis(1));

    let mut answer = Ok(vec![]);
    wait_until("the error is reported", || {
        answer = cluster.list_resources_by_namespace(&list("ConfigMap"));
        !format!("{answer:?}").contains("does not answer")
    });
    assert_failed(
        answer,
        "no list of v1/ConfigMap within 1ms: failed to perform initial object list: ApiError: configmaps is forbidden: no role: Forbidden",
    );
}

#[test]
fn a_list_that_never_comes_is_a_failure() {
    let api = ApiServer::start();
    api.hold(SHOP, 200, json!({}));
    let (_runtime, cluster) = connect(&api);
    let cluster = cluster.with_list_limit(Duration::from_millis(1));

    assert_failed(
        cluster.list_resources_by_namespace(&list("ConfigMap")),
        "no list of v1/ConfigMap within 1ms: the API server does not answer",
    );
}
