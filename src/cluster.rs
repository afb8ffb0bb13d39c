//! The only module that makes host calls: reading objects of the cluster.
//!
//! In: which object. Out: the object, its absence, or a [`LookupError`]; these three are different
//! things everywhere in this policy. The host's answer is text, so the texts that tell them apart are
//! here, with their source.

#[cfg(test)]
pub(crate) mod fake;

use std::fmt;

use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    GetResourceRequest, ListResourcesByNamespaceRequest,
};
use serde::Serialize;
use serde_json::Value;

/// An object of the cluster, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRef<'a> {
    /// `v1`, `apps/v1`, …
    pub api_version: &'a str,
    pub kind: &'a str,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    pub name: &'a str,
}

impl fmt::Display for ObjectRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The cluster as the pipelines see it: the host in the policy, a map in tests.
pub trait Cluster {
    /// Reads one object as it is now (never from the host's cache), with only the `fields` asked for
    /// (`data`, `metadata.annotations`; a path is split on `.`). `None`: there is no such object.
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError>;

    /// Lists the objects of a kind in a namespace by label (empty for all of them). The list is served
    /// from a watch cache and may lag behind.
    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        label_selector: &str,
        fields: &[&str],
    ) -> Result<Vec<Value>, LookupError>;
}

/// A look-up that says nothing about the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupError {
    /// What was looked up: `Secret shop/db`.
    pub object: String,
    pub cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The policy was not granted this kind.
    NotGranted { api_version: String, kind: String },
    /// The API server did not answer, or not as expected.
    Failed(String),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::NotGranted { api_version, kind } => write!(
                f,
                "{} cannot be read: this policy has not been granted access to {api_version}/{kind}; \
                 add it to contextAwareResources of the policy",
                self.object
            ),
            Cause::Failed(reason) => write!(f, "{} cannot be read: {reason}", self.object),
        }
    }
}

impl std::error::Error for LookupError {}

/// The cluster behind the policy-server.
#[derive(Debug, Clone, Copy)]
pub struct Host;

impl Cluster for Host {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        let request = GetResourceRequest {
            api_version: object.api_version.to_owned(),
            kind: object.kind.to_owned(),
            name: object.name.to_owned(),
            namespace: Some(object.namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            // Config and workload are often applied within milliseconds of each other: the host's
            // cache of 5 seconds would hash the config of before.
            disable_cache: true,
            field_masks: field_masks(fields),
        };
        match host_call("get_resource", &request) {
            Ok(found) => Ok(Some(found)),
            Err(text) if means_absent(&text, object) => Ok(None),
            Err(text) => Err(lookup_error(
                object.to_string(),
                object.api_version,
                object.kind,
                text,
            )),
        }
    }

    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        label_selector: &str,
        fields: &[&str],
    ) -> Result<Vec<Value>, LookupError> {
        let request = ListResourcesByNamespaceRequest {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            label_selector: Some(label_selector.to_owned()).filter(|selector| !selector.is_empty()),
            field_selector: None,
            field_masks: field_masks(fields),
        };
        let failed = |text| {
            lookup_error(
                format!("the list of {kind}s in namespace {namespace}"),
                api_version,
                kind,
                text,
            )
        };
        match host_call("list_resources_by_namespace", &request)
            .map_err(failed)?
            .get_mut("items")
        {
            Some(Value::Array(items)) => Ok(std::mem::take(items)),
            _ => Err(failed("the answer has no items".to_owned())),
        }
    }
}

fn field_masks(fields: &[&str]) -> Option<std::collections::BTreeSet<String>> {
    Some(fields.iter().map(|&field| field.to_owned()).collect())
}

fn host_call(operation: &str, request: &impl Serialize) -> Result<Value, String> {
    let request = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    let answer = wapc_guest::host_call("kubewarden", "kubernetes", operation, &request)
        .map_err(|error| error.to_string())?;
    // The error is described by its position only: the answer may be a Secret.
    serde_json::from_slice(&answer).map_err(|error| {
        format!(
            "the answer is not JSON (line {}, column {})",
            error.line(),
            error.column()
        )
    })
}

/// policy-evaluator, `callback_handler/kubernetes/client.rs`: "Cannot find v1/ConfigMap named 'x' inside
/// of namespace 'Some("y")'", with other text in front and sometimes behind. Without a name it is the
/// kind that is unknown, which is a failure.
fn means_absent(text: &str, object: ObjectRef<'_>) -> bool {
    let ObjectRef {
        api_version,
        kind,
        name,
        ..
    } = object;
    text.contains(&format!("Cannot find {api_version}/{kind} named '{name}' "))
}

/// policy-evaluator, `runtimes/callback`: "Policy has not been granted access to Kubernetes
/// {api_version}/{kind} resources. The violation has been reported."
fn lookup_error(object: String, api_version: &str, kind: &str, text: String) -> LookupError {
    let cause = if text.contains("has not been granted access to Kubernetes") {
        Cause::NotGranted {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }
    } else {
        Cause::Failed(reason(&text).to_owned())
    };
    LookupError { object, cause }
}

/// The sentence in a failure of the host: without what wapc and policy-evaluator put in front, and
/// without the details of the Kubernetes client behind it ("ApiError: …: Forbidden (Status { … })").
fn reason(text: &str) -> &str {
    let text = text.trim_start_matches("Host error: ");
    let text = text.trim_start_matches("Callback evaluation failure: ");
    let line = text.lines().next().unwrap_or_default();
    line.split(" (Status {").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: ObjectRef<'static> = ObjectRef {
        api_version: "v1",
        kind: "ConfigMap",
        namespace: "shop",
        name: "x",
    };

    #[test]
    fn only_a_missing_object_is_absent() {
        let absent = |text| means_absent(text, CONFIG);
        assert!(absent(
            "Host error: Callback evaluation failure: Cannot find v1/ConfigMap named 'x' inside of namespace 'Some(\"shop\")'\nStack backtrace: …"
        ));
        assert!(!absent(
            "Host error: Callback evaluation failure: Cannot find v1/ConfigMap named 'x2' inside of namespace 'None'"
        ));
        assert!(!absent(
            "Host error: Callback evaluation failure: Cannot find resource v1/ConfigMap"
        ));
        assert!(!absent(
            "Host error: Callback evaluation failure: ApiError: not found"
        ));
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = |text: &str| {
            lookup_error(CONFIG.to_string(), "v1", "ConfigMap", text.to_owned()).to_string()
        };
        assert_eq!(
            error(
                "Host error: Policy has not been granted access to Kubernetes v1/ConfigMap resources. The violation has been reported."
            ),
            "ConfigMap shop/x cannot be read: this policy has not been granted access to v1/ConfigMap; add it to contextAwareResources of the policy"
        );
        assert_eq!(
            error(
                "Host error: Callback evaluation failure: ApiError: configmaps is forbidden: Forbidden (Status { code: 403 })\n\nCaused by: …"
            ),
            "ConfigMap shop/x cannot be read: ApiError: configmaps is forbidden: Forbidden"
        );
    }
}
