//! The other end of the policy's host calls: answers them from a [`Cluster`] and keeps a record of
//! them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    CanIRequest, GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Cluster, HostError, field_mask};

/// A host call of the policy, as it was made and answered. Logging is not among them: see
/// [`Evaluation::logs`](crate::Evaluation::logs).
#[derive(Clone, Debug, PartialEq)]
pub struct HostCall {
    /// `get_resource`, `list_resources_by_namespace`, `list_resources_all`, `can_i`, or the name of one
    /// that the testbed does not offer.
    pub operation: String,
    /// The request as the policy sent it, for example
    /// `{"api_version": "v1", "kind": "ConfigMap", "name": "app", "namespace": "shop",
    /// "disable_cache": true, "field_masks": ["data"]}`.
    pub request: Value,
    /// The size of the answer in bytes, or what the policy was told instead.
    pub answer: Result<usize, HostError>,
}

impl HostCall {
    /// What became of it: `found`, `absent`, `denied` or `failed`.
    pub fn outcome(&self) -> &'static str {
        match &self.answer {
            Ok(_) => "found",
            Err(HostError::Absent(_)) => "absent",
            Err(HostError::Denied(_)) => "denied",
            Err(HostError::Failed(_)) => "failed",
        }
    }
}

/// `{"operation": "get_resource", "request": {}, "answer": "found", "bytes": 12}` or
/// `{"operation": "get_resource", "request": {}, "answer": "absent", "error": "…"}`.
impl Serialize for HostCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("operation", &self.operation)?;
        map.serialize_entry("request", &self.request)?;
        map.serialize_entry("answer", self.outcome())?;
        match &self.answer {
            Ok(bytes) => map.serialize_entry("bytes", bytes)?,
            Err(error) => map.serialize_entry("error", &error.to_string())?,
        }
        map.end()
    }
}

/// One for each evaluation.
pub(crate) struct Host {
    cluster: Arc<dyn Cluster>,
    record: Mutex<Record>,
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) calls: Vec<HostCall>,
    pub(crate) logs: Vec<Value>,
}

impl Host {
    pub(crate) fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self {
            cluster,
            record: Mutex::default(),
        }
    }

    /// Answers one host call and records it.
    pub(crate) fn answer(
        &self,
        binding: &str,
        namespace: &str,
        operation: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        let request = serde_json::from_slice(payload)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()));
        if (binding, namespace) == ("kubewarden", "tracing") {
            self.record().logs.push(request);
            return Ok(Vec::new());
        }

        let answer = match (binding, namespace) {
            ("kubewarden", "kubernetes") => look_up(&*self.cluster, operation, &request),
            _ => Err(not_offered(&format!("{binding}/{namespace}/{operation}"))),
        };
        let answer = answer.map(|value| value.to_string().into_bytes());
        self.record().calls.push(HostCall {
            operation: operation.to_owned(),
            request,
            answer: answer.as_ref().map(Vec::len).map_err(HostError::clone),
        });
        answer
    }

    pub(crate) fn take_record(&self) -> Record {
        std::mem::take(&mut self.record())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one call of the host capability `kubernetes`, as policy-server does: an operation
/// (`get_resource`, …) and its payload, both as the policy sends them.
pub fn answer(
    cluster: &dyn Cluster,
    operation: &str,
    payload: &[u8],
) -> Result<Vec<u8>, HostError> {
    let request: Value =
        serde_json::from_slice(payload).map_err(|error| HostError::Failed(error.to_string()))?;
    let answer = look_up(cluster, operation, &request)?;
    Ok(answer.to_string().into_bytes())
}

fn look_up(cluster: &dyn Cluster, operation: &str, request: &Value) -> Result<Value, HostError> {
    match operation {
        "get_resource" => {
            let request: GetResourceRequest = read(request)?;
            let mut object = cluster.get_resource(&request)?;
            apply(request.field_masks.as_ref(), &mut object);
            Ok(object)
        }
        "list_resources_by_namespace" => {
            let request: ListResourcesByNamespaceRequest = read(request)?;
            let objects = cluster.list_resources_by_namespace(&request)?;
            Ok(list(
                &request.api_version,
                &request.kind,
                objects,
                request.field_masks.as_ref(),
            ))
        }
        "list_resources_all" => {
            let request: ListAllResourcesRequest = read(request)?;
            let objects = cluster.list_resources_all(&request)?;
            Ok(list(
                &request.api_version,
                &request.kind,
                objects,
                request.field_masks.as_ref(),
            ))
        }
        "can_i" => {
            let request: CanIRequest = read(request)?;
            let status = cluster.can_i(&request)?;
            Ok(json!({"allowed": status.allowed}))
        }
        _ => Err(not_offered(&format!("kubewarden/kubernetes/{operation}"))),
    }
}

fn read<'a, T: Deserialize<'a>>(request: &'a Value) -> Result<T, HostError> {
    T::deserialize(request).map_err(|error| HostError::Failed(error.to_string()))
}

fn not_offered(capability: &str) -> HostError {
    HostError::Failed(format!(
        "the testbed does not offer the host capability {capability}"
    ))
}

fn apply(masks: Option<&BTreeSet<String>>, object: &mut Value) {
    if let Some(masks) = masks {
        field_mask::apply(object, masks);
    }
}

/// A list as it comes out of the watch cache of policy-server.
fn list(
    api_version: &str,
    kind: &str,
    mut objects: Vec<Value>,
    masks: Option<&BTreeSet<String>>,
) -> Value {
    for object in &mut objects {
        apply(masks, object);
        if let Some(fields) = object.as_object_mut() {
            // The items of a list come from the API server without them; only what changes later
            // has them. A policy that depends on them has to fail here.
            fields.shift_remove("apiVersion");
            fields.shift_remove("kind");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
    }
    json!({
        "apiVersion": api_version,
        "kind": format!("{kind}List"),
        "metadata": {},
        "items": objects,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Objects;

    fn host() -> Host {
        Host::new(Arc::new(Objects::new([json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "db", "namespace": "shop", "managedFields": [{"manager": "helm"}],
                "annotations": {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "type": "Opaque",
            "data": {"password": "aHVudGVyMg=="},
        })])))
    }

    fn ask(host: &Host, operation: &str, request: &Value) -> Result<Value, HostError> {
        let answer = host.answer(
            "kubewarden",
            "kubernetes",
            operation,
            request.to_string().as_bytes(),
        )?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    #[test]
    fn get_resource_gives_the_object_under_the_masks() {
        let request = json!({"api_version": "v1", "kind": "Secret", "name": "db", "namespace": "shop",
                             "disable_cache": true, "field_masks": ["type"]});
        let host = host();
        let answer = ask(&host, "get_resource", &request).unwrap();

        assert_eq!(answer["type"], "Opaque");
        assert_eq!(answer["data"], Value::Null);
        assert_eq!(
            answer["metadata"]["managedFields"],
            json!([{"manager": "helm"}])
        );
        let call = HostCall {
            operation: "get_resource".to_owned(),
            request,
            answer: Ok(answer.to_string().len()),
        };
        assert_eq!(host.take_record().calls, [call]);
    }

    #[test]
    fn a_cluster_answers_without_a_policy_too() {
        let cluster = Objects::default();
        let payload = br#"{"api_version": "v1", "kind": "Secret", "field_masks": ["type"]}"#;
        assert_eq!(
            answer(&cluster, "list_resources_all", payload),
            Ok(br#"{"apiVersion":"v1","kind":"SecretList","metadata":{},"items":[]}"#.to_vec())
        );
        let error = answer(&cluster, "get_resource", b"{").unwrap_err();
        assert_eq!(
            error.to_string(),
            "EOF while parsing an object at line 1 column 1"
        );
    }

    #[test]
    fn lists_have_the_shape_of_the_watch_cache() {
        let expected = json!({
            "apiVersion": "v1",
            "kind": "SecretList",
            "metadata": {},
            "items": [{
                "metadata": {"name": "db", "namespace": "shop", "annotations": {"a": "b"}},
                "type": "Opaque",
            }],
        });
        let mut request = json!({"api_version": "v1", "kind": "Secret", "field_masks": ["type"]});
        assert_eq!(
            ask(&host(), "list_resources_all", &request),
            Ok(expected.clone())
        );
        request["namespace"] = json!("shop");
        assert_eq!(
            ask(&host(), "list_resources_by_namespace", &request),
            Ok(expected)
        );
    }

    #[test]
    fn users_may_do_what_is_not_forbidden() {
        let cluster = Objects::default().forbidding("secrets", "bank");
        let host = Host::new(Arc::new(cluster));
        for (resource, namespace, allowed) in [
            ("secrets", Some("bank"), false),
            ("secrets", Some("shop"), true),
            ("configmaps", Some("bank"), true),
            ("secrets", None, true),
        ] {
            let attributes = json!({"resource": resource, "namespace": namespace, "verb": "get"});
            let request = json!({
                "subject_access_review": {"user": "jenkins", "resource_attributes": attributes},
                "disable_cache": false,
            });
            assert_eq!(
                ask(&host, "can_i", &request),
                Ok(json!({"allowed": allowed})),
                "{request}"
            );
        }
    }

    #[test]
    fn refusals_are_recorded_in_order() {
        let host = host();
        let absent = json!({"api_version": "v1", "kind": "Secret", "name": "x", "namespace": null,
                            "disable_cache": true, "field_masks": null});
        ask(&host, "get_resource", &absent).unwrap_err();
        ask(&host, "get_resource", &json!({"api_version": "v1"})).unwrap_err();
        ask(&host, "is_pod_running", &json!({})).unwrap_err();
        host.answer("kubewarden", "net", "v1/dns_lookup_host", b"\"host\"")
            .unwrap_err();

        let told: Vec<String> = host
            .take_record()
            .calls
            .into_iter()
            .map(|call| call.answer.unwrap_err().to_string())
            .collect();
        assert_eq!(
            told,
            [
                "Callback evaluation failure: Cannot find v1/Secret named 'x' inside of namespace 'None'",
                "missing field `kind`",
                "the testbed does not offer the host capability kubewarden/kubernetes/is_pod_running",
                "the testbed does not offer the host capability kubewarden/net/v1/dns_lookup_host",
            ]
        );
    }

    #[test]
    fn logs_are_kept_apart() {
        let host = host();
        let event = json!({"level": "info", "message": "hello"});
        let answer = host.answer("kubewarden", "tracing", "log", event.to_string().as_bytes());

        assert_eq!(answer, Ok(vec![]));
        let record = host.take_record();
        assert_eq!(record.logs, [event]);
        assert_eq!(record.calls, []);
    }
}
