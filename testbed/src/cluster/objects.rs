//! A cluster of JSON objects, with look-ups that fail where a test wants it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::authorization::v1::SubjectAccessReviewStatus;
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    CanIRequest, GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde_json::Value;

use super::selector::{FieldSelector, LabelSelector};
use super::{Cluster, HostError, Kind};

/// A cluster of JSON objects.
///
/// An object is found by its `apiVersion`, `kind`, `metadata.namespace` and `metadata.name`. They are compared exactly:
/// only a request without a namespace finds an object without a namespace. If two objects have the same identity, the
/// later one counts. Lists are sorted by namespace and name; in policy-server, they have no order.
///
/// # Incomplete support
///
/// Label selectors: `key=value`, `key in (a,b)` and `key`, joined by commas. Field selectors:
/// `metadata.name=…` and `metadata.namespace=…`, joined by commas. Any other selector is a failure that quotes it.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    objects: BTreeMap<Identity, Value>,
    denied: BTreeSet<Kind>,
    failures: Vec<Failure>,
    /// Resources and namespaces.
    forbidden: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

#[derive(Clone, Debug)]
struct Failure {
    kind: Kind,
    name: Option<String>,
    text: String,
}

impl Objects {
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        Self {
            objects: objects
                .into_iter()
                .map(|object| (Identity::of(&object), object))
                .collect(),
            ..Self::default()
        }
    }

    /// Denies every look-up of this kind, because the policy was not granted it.
    #[must_use]
    pub fn denied(mut self, api_version: &str, kind: &str) -> Self {
        self.denied.insert(Kind::new(api_version, kind));
        self
    }

    /// Lets look-ups of the object with this name fail with this text. Without a name, all look-ups of the kind fail,
    /// including lists.
    #[must_use]
    pub fn failing<'a>(
        mut self,
        api_version: &str,
        kind: &str,
        name: impl Into<Option<&'a str>>,
        text: &str,
    ) -> Self {
        self.failures.push(Failure {
            kind: Kind::new(api_version, kind),
            name: name.into().map(str::to_owned),
            text: text.to_owned(),
        });
        self
    }

    /// Forbids all users this resource (`secrets`) in a namespace. An empty namespace stands for cluster-scoped objects.
    #[must_use]
    pub fn forbidding(mut self, resource: &str, namespace: &str) -> Self {
        self.forbidden
            .insert((resource.to_owned(), namespace.to_owned()));
        self
    }

    fn check(&self, kind: &Kind, name: Option<&str>) -> Result<(), HostError> {
        if self.denied.contains(kind) {
            return Err(HostError::denied(&kind.api_version, &kind.kind));
        }
        let failure = self.failures.iter().find(|failure| {
            failure.kind == *kind && (failure.name.is_none() || failure.name.as_deref() == name)
        });
        failure.map_or(Ok(()), |failure| Err(HostError::failed(&failure.text)))
    }

    fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Vec<Value>, HostError> {
        self.check(kind, None)?;
        let labels = LabelSelector::parse(labels.unwrap_or_default()).map_err(HostError::failed)?;
        let fields = FieldSelector::parse(fields.unwrap_or_default()).map_err(HostError::failed)?;

        let selected = self.objects.iter().filter(|(identity, object)| {
            identity.kind == *kind
                && (namespace.is_none() || identity.namespace.as_deref() == namespace)
                && labels.selects(object)
                && fields.selects(object)
        });
        Ok(selected.map(|(_, object)| object.clone()).collect())
    }
}

impl Cluster for Objects {
    fn get_resource(&self, request: &GetResourceRequest) -> Result<Value, HostError> {
        let kind = Kind::new(&request.api_version, &request.kind);
        self.check(&kind, Some(&request.name))?;

        let identity = Identity {
            kind,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
        };
        let object = self.objects.get(&identity);
        object.cloned().ok_or_else(|| HostError::absent(request))
    }

    fn list_resources_by_namespace(
        &self,
        request: &ListResourcesByNamespaceRequest,
    ) -> Result<Vec<Value>, HostError> {
        self.list(
            &Kind::new(&request.api_version, &request.kind),
            Some(&request.namespace),
            request.label_selector.as_deref(),
            request.field_selector.as_deref(),
        )
    }

    fn list_resources_all(
        &self,
        request: &ListAllResourcesRequest,
    ) -> Result<Vec<Value>, HostError> {
        self.list(
            &Kind::new(&request.api_version, &request.kind),
            None,
            request.label_selector.as_deref(),
            request.field_selector.as_deref(),
        )
    }

    fn can_i(&self, request: &CanIRequest) -> Result<SubjectAccessReviewStatus, HostError> {
        let asked = &request.subject_access_review.resource_attributes;
        let namespace = asked.namespace.clone().unwrap_or_default();
        Ok(SubjectAccessReviewStatus {
            allowed: !self
                .forbidden
                .contains(&(asked.resource.clone(), namespace)),
            ..SubjectAccessReviewStatus::default()
        })
    }
}

impl Identity {
    fn of(object: &Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        Self {
            kind: Kind::new(
                text("/apiVersion").unwrap_or_default(),
                text("/kind").unwrap_or_default(),
            ),
            namespace: text("/metadata/namespace").map(str::to_owned),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config_map(namespace: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
               "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}}})
    }

    fn get(kind: &str, namespace: Option<&str>, name: &str) -> GetResourceRequest {
        GetResourceRequest {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            disable_cache: true,
            field_masks: None,
        }
    }

    fn list(labels: Option<&str>, fields: Option<&str>) -> ListAllResourcesRequest {
        ListAllResourcesRequest {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            field_masks: None,
        }
    }

    #[test]
    fn an_object_is_found_by_its_whole_identity() {
        let cluster = Objects::new([config_map("shop", "app"), config_map("blog", "app")]);

        let found = cluster.get_resource(&get("ConfigMap", Some("shop"), "app"));
        assert_eq!(found, Ok(config_map("shop", "app")));
        for request in [
            get("Secret", Some("shop"), "app"),
            get("ConfigMap", Some("bank"), "app"),
            get("ConfigMap", None, "app"),
            get("ConfigMap", Some("shop"), "ap"),
        ] {
            let answer = cluster.get_resource(&request);
            assert!(matches!(answer, Err(HostError::Absent(_))), "{request:?}");
        }
    }

    #[test]
    fn the_later_object_of_the_same_identity_counts() {
        let mut newer = config_map("shop", "app");
        newer["data"] = json!({"colour": "blue"});
        let cluster = Objects::new([config_map("shop", "app"), newer.clone()]);

        assert_eq!(
            cluster.list_resources_all(&list(None, None)),
            Ok(vec![newer])
        );
    }

    #[track_caller]
    fn assert_fails(cluster: &Objects, request: &GetResourceRequest, text: &str) {
        let refusal = cluster.get_resource(request).map_err(|e| e.to_string());
        assert_eq!(refusal, Err(text.to_owned()));
    }

    #[test]
    fn failures_have_the_texts_of_policy_server() {
        let cluster = Objects::default().denied("v1", "Secret").failing(
            "v1",
            "ConfigMap",
            "app",
            "connection refused",
        );

        assert_fails(
            &cluster,
            &get("ConfigMap", Some("shop"), "other"),
            "Callback evaluation failure: Cannot find v1/ConfigMap named 'other' inside of namespace 'Some(\"shop\")'",
        );
        assert_fails(
            &cluster,
            &get("Namespace", None, "shop"),
            "Callback evaluation failure: Cannot find v1/Namespace named 'shop' inside of namespace 'None'",
        );
        assert_fails(
            &cluster,
            &get("Secret", Some("shop"), "db"),
            "Policy has not been granted access to Kubernetes v1/Secret resources. The violation has been reported.",
        );
        assert_fails(
            &cluster,
            &get("ConfigMap", Some("shop"), "app"),
            "Callback evaluation failure: connection refused",
        );
    }

    #[test]
    fn lists_fail_by_kind() {
        let all = list(None, None);

        let denied = Objects::default().denied("v1", "ConfigMap");
        assert!(matches!(
            denied.list_resources_all(&all),
            Err(HostError::Denied(_))
        ));
        let failing = Objects::default().failing("v1", "ConfigMap", None, "timed out");
        assert_eq!(
            failing.list_resources_all(&all),
            Err(HostError::failed("timed out"))
        );
        let one_name = Objects::default().failing("v1", "ConfigMap", "app", "timed out");
        assert_eq!(one_name.list_resources_all(&all), Ok(vec![]));
    }

    #[test]
    fn lists_are_selected_by_namespace_and_selectors() {
        let cluster = Objects::new([
            config_map("shop", "db"),
            config_map("shop", "app"),
            config_map("blog", "app"),
        ]);
        let in_shop = |labels: Option<&str>| {
            cluster.list_resources_by_namespace(&ListResourcesByNamespaceRequest {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: "shop".to_owned(),
                label_selector: labels.map(str::to_owned),
                field_selector: None,
                field_masks: None,
            })
        };

        assert_eq!(
            in_shop(None),
            Ok(vec![config_map("shop", "app"), config_map("shop", "db")])
        );
        assert_eq!(in_shop(Some("app=db")), Ok(vec![config_map("shop", "db")]));
        assert_eq!(
            cluster.list_resources_all(&list(Some("app"), Some("metadata.name=app"))),
            Ok(vec![config_map("blog", "app"), config_map("shop", "app")])
        );
    }

    #[test]
    fn an_unsupported_selector_is_a_failure() {
        let answer = Objects::default().list_resources_all(&list(Some("app!=db"), None));

        assert_eq!(
            answer,
            Err(HostError::failed(
                "the testbed does not support the label selector 'app!=db'"
            ))
        );
    }
}
