//! The only module that makes host calls: reads objects of the cluster.
//!
//! In: which object. Out: the object, its absence, or a [`LookupError`]; every caller treats these three
//! differently. Also, whether a user may read a kind of objects. The host answers with texts, so the texts that tell the three apart are here, with their
//! source.

#[cfg(any(test, feature = "fake-cluster"))]
pub mod fake;
mod in_time;
mod items;

use std::{collections::BTreeSet, fmt};

use kubewarden_policy_sdk::host_capabilities::kubernetes::GetResourceRequest;
use serde::Serialize;
use serde_json::{Value, json};

pub use self::in_time::{InTime, stopwatch};

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
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        match *namespace {
            "" => write!(f, "{kind} {name}"),
            namespace => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// The cluster as the pipelines see it: policy-server in the policy, `fake::Objects` in tests.
pub trait Cluster {
    /// Reads one object from the API server (never from the host's cache), with only the `fields` asked
    /// for (`data`, `metadata.annotations`; a path is split on `.`). `None`: there is no such object.
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError>;

    /// Lists objects. The list is served from a watch cache and may lag behind.
    fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError>;

    /// Whether a user may read objects. If nobody can tell, he may not. The only error is [`Cause::OutOfTime`].
    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError>;
}

/// Which objects to list.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// `v1`, `apps/v1`, …
    pub api_version: &'a str,
    pub kind: &'a str,
    pub scope: Scope<'a>,
    /// Empty for all.
    pub label_selector: &'a str,
    /// What is asked for, in addition to `metadata`, which policy-server always sends. A path is split on `.`, and goes
    /// into the elements of a list.
    pub fields: &'a [&'a str],
    /// `None`: all objects, with all that is asked for.
    pub mention: Option<Mention<'a>>,
}

/// The name of an object that the objects of a list are wanted for. If it is nowhere in the answer, the answer is not parsed, or
/// not all of it, which is much cheaper. Names of objects have no characters that JSON escapes.
#[derive(Debug, Clone, Copy)]
pub struct Mention<'a> {
    pub name: &'a str,
    /// The fields of each object that are wanted all the same. With none, no object is.
    pub otherwise: &'a [&'a str],
}

/// Where the objects are. policy-server keeps a watch for each different list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// In this namespace, from a watch of its own.
    Namespace(&'a str),
    /// Anywhere.
    Cluster,
    /// In this namespace, from the watch for the whole cluster: policy-server hands over the objects of all namespaces.
    Within(&'a str),
}

impl<'a> List<'a> {
    /// All objects of a kind, with their `metadata`.
    pub fn of(api_version: &'a str, kind: &'a str, scope: Scope<'a>) -> Self {
        Self {
            api_version,
            kind,
            scope,
            label_selector: "",
            fields: &["metadata"],
            mention: None,
        }
    }

    /// `the list of Secrets in namespace shop`
    fn name(&self) -> String {
        let kind = self.kind;
        match self.scope {
            Scope::Cluster | Scope::Within(_) => format!("the list of {kind}s"),
            Scope::Namespace(namespace) => format!("the list of {kind}s in namespace {namespace}"),
        }
    }
}

/// May this user read the objects of a resource in a namespace?
#[derive(Debug, Clone)]
pub struct Review<'a> {
    pub user: &'a str,
    pub groups: Vec<&'a str>,
    /// Empty for the core group.
    pub group: &'a str,
    /// `secrets`
    pub resource: &'a str,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
}

/// A failed look-up. It does not tell whether the object exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object} cannot be read: {cause}")]
pub struct LookupError {
    /// What was looked up: `Secret shop/db`.
    pub object: String,
    #[source]
    pub cause: Cause,
}

/// Why a look-up failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The policy was not granted this kind.
    #[error(
        "this policy has not been granted access to {api_version}/{kind}; \
         add it to contextAwareResources of the policy"
    )]
    NotGranted { api_version: String, kind: String },
    /// The API server did not answer, or not as expected.
    #[error("{0}")]
    Failed(String),
    /// The host was not asked. The text has no time in it, so that the same outcome has the same words.
    #[error(
        "the API server is slow, and the time for look-ups is over; \
         raise timeoutEvalSeconds of the policy, and in its settings"
    )]
    OutOfTime,
}

/// The cluster behind policy-server. All that it knows comes from host calls of `kubewarden/kubernetes`; `F`
/// makes one, from the name of the operation and its payload.
#[derive(Debug, Clone, Copy)]
pub struct Host<F = HostCall> {
    call: F,
}

/// How the policy makes a host call.
pub type HostCall = fn(&str, &[u8]) -> Result<Vec<u8>, String>;

impl Host {
    /// Calls policy-server.
    pub fn policy_server() -> Self {
        Self::new(|operation, payload| {
            wapc_guest::host_call("kubewarden", "kubernetes", operation, payload)
                .map_err(|error| error.to_string())
        })
    }
}

impl<F: Fn(&str, &[u8]) -> Result<Vec<u8>, String>> Host<F> {
    /// Makes its host calls with this function.
    pub fn new(call: F) -> Self {
        Self { call }
    }

    fn call(&self, operation: &str, request: &impl Serialize) -> Result<Value, String> {
        let answer = self.answer(operation, request)?;
        serde_json::from_slice(&answer).map_err(|error| not_json(&error))
    }

    fn answer(&self, operation: &str, request: &impl Serialize) -> Result<Vec<u8>, String> {
        let payload = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        (self.call)(operation, &payload)
    }
}

impl<F: Fn(&str, &[u8]) -> Result<Vec<u8>, String>> Cluster for Host<F> {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        let request = GetResourceRequest {
            api_version: object.api_version.to_owned(),
            kind: object.kind.to_owned(),
            name: object.name.to_owned(),
            namespace: Some(object.namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            // Config and workload are often applied within milliseconds of each other, and the host's
            // cache is up to 5 seconds old: the policy would hash the previous config.
            disable_cache: true,
            field_masks: field_masks(fields),
        };
        match self.call("get_resource", &request) {
            Ok(found) => Ok(Some(found)),
            Err(text) if means_absent(&text, object) => Ok(None),
            Err(text) => Err(lookup_error(
                object.to_string(),
                object.api_version,
                object.kind,
                &text,
            )),
        }
    }

    fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
        // As JSON by hand: the types of the SDK, one for each operation, would add to the size of the policy.
        let mut request = json!({
            "api_version": list.api_version,
            "kind": list.kind,
            "label_selector": Some(list.label_selector).filter(|selector| !selector.is_empty()),
            "field_selector": null,
            "field_masks": list.fields,
        });
        let operation = match (list.scope, &mut request) {
            (Scope::Namespace(namespace), Value::Object(fields)) => {
                fields.insert("namespace".to_owned(), namespace.into());
                "list_resources_by_namespace"
            }
            _ => "list_resources_all",
        };
        self.answer(operation, &request)
            .and_then(|answer| items::select(&answer, list))
            .map_err(|text| lookup_error(list.name(), list.api_version, list.kind, &text))
    }

    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
        // A SubjectAccessReview needs a user.
        if review.user.is_empty() {
            return Ok(false);
        }
        let request = json!({
            "subject_access_review": {
                "user": review.user,
                "groups": review.groups,
                "resource_attributes": {
                    "group": review.group,
                    "resource": review.resource,
                    "namespace": review.namespace,
                    "verb": "get",
                },
            },
            "disable_cache": false,
        });
        let answer = self.call("can_i", &request).unwrap_or_default();
        Ok(answer.get("allowed").and_then(Value::as_bool) == Some(true))
    }
}

/// Describes the error by its position only: the answer may be a Secret.
fn not_json(error: &serde_json::Error) -> String {
    format!(
        "the answer is not JSON (line {}, column {})",
        error.line(),
        error.column()
    )
}

fn field_masks(fields: &[&str]) -> Option<BTreeSet<String>> {
    Some(fields.iter().map(|&field| field.to_owned()).collect())
}

/// policy-evaluator, `callback_handler/kubernetes/client.rs`: "Cannot find v1/ConfigMap named 'x' inside
/// of namespace 'Some("y")'", with other text before it and sometimes after it. A text without a name
/// means that the kind is unknown, which is a failure.
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
fn lookup_error(object: String, api_version: &str, kind: &str, text: &str) -> LookupError {
    let cause = if text.contains("has not been granted access to Kubernetes") {
        Cause::NotGranted {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }
    } else {
        Cause::Failed(reason(text).to_owned())
    };
    LookupError { object, cause }
}

/// The sentence in a failure of the host: without the prefixes of wapc and policy-evaluator, and without
/// the details that the Kubernetes client appends ("ApiError: …: Forbidden (Status { … })").
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

    /// A look-up that the host answers so.
    fn get(answer: Result<&str, &str>) -> Result<Option<Value>, String> {
        let answer = answer
            .map(|text| text.as_bytes().to_vec())
            .map_err(str::to_owned);
        let host = Host::new(|_: &str, _: &[u8]| answer.clone());
        host.get(CONFIG, &[]).map_err(|error| error.to_string())
    }

    fn list(answer: Result<&str, &str>) -> Result<Vec<Value>, String> {
        let answer = answer
            .map(|text| text.as_bytes().to_vec())
            .map_err(str::to_owned);
        let host = Host::new(|_: &str, _: &[u8]| answer.clone());
        let listed = host.list(&List::of("v1", "ConfigMap", Scope::Namespace("shop")));
        listed.map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_missing_object_is_absent() {
        let absent = |text| get(Err(text)) == Ok(None);
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
    fn failed_look_ups_say_what_to_do() {
        let denied = "Host error: Policy has not been granted access to Kubernetes v1/ConfigMap resources. The violation has been reported.";
        let forbidden = "Host error: Callback evaluation failure: ApiError: configmaps is forbidden: Forbidden (Status { code: 403 })\n\nCaused by: …";
        for (text, expected) in [
            (
                denied,
                "cannot be read: this policy has not been granted access to v1/ConfigMap; add it to contextAwareResources of the policy",
            ),
            (
                forbidden,
                "cannot be read: ApiError: configmaps is forbidden: Forbidden",
            ),
        ] {
            assert_eq!(get(Err(text)), Err(format!("ConfigMap shop/x {expected}")));
            assert_eq!(
                list(Err(text)),
                Err(format!(
                    "the list of ConfigMaps in namespace shop {expected}"
                ))
            );
        }
    }

    /// The answer may be a Secret.
    #[test]
    fn odd_answers_are_errors_that_show_no_value() {
        assert_eq!(
            get(Ok("{\n\"data\": hidden")),
            Err(
                "ConfigMap shop/x cannot be read: the answer is not JSON (line 2, column 9)"
                    .to_owned()
            )
        );
        for answer in ["{}", r#"{"items": "hidden"}"#] {
            assert_eq!(
                list(Ok(answer)),
                Err("the list of ConfigMaps in namespace shop cannot be read: the answer has no items".to_owned())
            );
        }
    }

    /// A list of all namespaces, of an API server that answers so.
    #[test]
    fn lists_of_all_namespaces_fail_as_others_do() {
        let host = Host::new(|operation: &str, _: &[u8]| match operation {
            "list_resources_all" => Err("Host error: Callback evaluation failure: away".to_owned()),
            _ => Ok(Vec::new()),
        });
        let listed = host.list(&List::of("v1", "Secret", Scope::Cluster));
        assert_eq!(
            listed.map_err(|error| error.to_string()),
            Err("the list of Secrets cannot be read: away".to_owned())
        );
    }

    #[test]
    fn only_a_clear_yes_lets_a_user_read() {
        let may = |user, answer: Result<&str, &str>| {
            let answer = answer
                .map(|text| text.as_bytes().to_vec())
                .map_err(str::to_owned);
            let host = Host::new(|_: &str, _: &[u8]| answer.clone());
            host.may_read(&Review {
                user,
                groups: vec!["ci"],
                group: "",
                resource: "secrets",
                namespace: "bank",
            }) == Ok(true)
        };
        assert!(may("jenkins", Ok(r#"{"allowed": true}"#)));
        for answer in [
            Ok(r#"{"allowed": false}"#),
            Ok(r#"{"allowed": "true"}"#),
            Ok("{}"),
            Ok("null"),
            Ok("{"),
            Err("Host error: the policy has no capability"),
        ] {
            assert!(!may("jenkins", answer), "{answer:?}");
        }
        assert!(!may("", Ok(r#"{"allowed": true}"#)));
    }

    /// The testbed reads it with the type of the SDK.
    #[test]
    fn a_review_has_the_shape_of_the_sdk() {
        let host = |cluster: testbed::Objects| {
            Host::new(move |operation: &str, payload: &[u8]| {
                testbed::answer(&cluster, operation, payload).map_err(|error| error.to_string())
            })
        };
        let review = Review {
            user: "jenkins",
            groups: vec![],
            group: "",
            resource: "secrets",
            namespace: "bank",
        };
        let objects = testbed::Objects::default;
        assert_eq!(host(objects()).may_read(&review), Ok(true));
        let forbidding = objects().forbidding("secrets", "bank");
        assert_eq!(host(forbidding).may_read(&review), Ok(false));
    }

    #[test]
    fn objects_are_named_with_their_namespace() {
        assert_eq!(CONFIG.to_string(), "ConfigMap shop/x");
        let role = ObjectRef {
            kind: "ClusterRole",
            namespace: "",
            ..CONFIG
        };
        assert_eq!(role.to_string(), "ClusterRole x");
    }
}
