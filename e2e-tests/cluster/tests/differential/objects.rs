//! Charts as values: the objects, and their state in each version of the chart.
//!
//! There are only a few names, so objects collide and refer to each other.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use cluster_tests::FAIL_ANNOTATION;
use serde_json::{Map, Value, json};

/// An object, and its state in each chart.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// What its pods refer to, if it has pods.
    pub(crate) references: Vec<Reference>,
    pub(crate) charts: [State; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
    ServiceAccount,
    PersistentVolumeClaim,
    Role,
    RoleBinding,
    ClusterRole,
    HorizontalPodAutoscaler,
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    /// A custom kind, whose operator would create the Secret with the same name.
    Certificate,
    Namespace,
    CustomResourceDefinition,
}

#[derive(Debug, Clone)]
pub(crate) enum State {
    Absent,
    Regular(Look),
    Hook(Look, Hook),
    /// Two documents: a hook and a regular resource.
    Both(Look, Hook),
    /// Two documents that differ. Those of an autoscaler also differ in their API version.
    Twice(Look),
}

#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// A number that changes the content of the object.
    pub(crate) content: u8,
    /// The config has only the key `url`, not `user`.
    pub(crate) one_key: bool,
    pub(crate) place: Place,
    pub(crate) keep: bool,
    pub(crate) listing: Listing,
    /// A reference in addition to [`Item::references`].
    pub(crate) extra: Option<Reference>,
    /// A hook Job that fails.
    pub(crate) fails: bool,
    pub(crate) pods: Pods,
}

/// How many pods a workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pods {
    /// The manifest does not say it.
    Default,
    One,
    /// No replicas, or suspended.
    None,
}

/// Whether the document is a `kind: List` that contains the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    No,
    List,
    /// The same, with `helm.sh/hook` only on the object, where Helm ignores it.
    ListOfHooks,
}

/// `metadata.namespace`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Unset,
    Release,
    Other,
    /// The [`Kind::Namespace`] of the chart.
    Team,
}

#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) events: String,
    pub(crate) weight: Option<&'static str>,
    pub(crate) delete_policy: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) optional: bool,
}

/// How a pod refers to a ConfigMap or Secret.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    EnvFrom,
    Key(&'static str),
    Volume,
    Projected,
}

impl Look {
    pub(crate) fn plain() -> Look {
        Look {
            content: 1,
            one_key: false,
            place: Place::Unset,
            keep: false,
            listing: Listing::No,
            extra: None,
            fails: false,
            pods: Pods::Default,
        }
    }
}

/// Each case has its own custom kind.
const GROUP: &str = "{{ .Release.Namespace }}.example.com";

impl Kind {
    fn is_cluster_wide(self) -> bool {
        matches!(
            self,
            Kind::ClusterRole | Kind::Namespace | Kind::CustomResourceDefinition
        )
    }

    fn api_version(self, content: u8) -> &'static str {
        match self {
            Kind::ConfigMap | Kind::Secret | Kind::ServiceAccount | Kind::PersistentVolumeClaim => {
                "v1"
            }
            Kind::Role | Kind::RoleBinding | Kind::ClusterRole => "rbac.authorization.k8s.io/v1",
            // It is the same object in both API versions.
            Kind::HorizontalPodAutoscaler if content.is_multiple_of(2) => "autoscaling/v1",
            Kind::HorizontalPodAutoscaler => "autoscaling/v2",
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => "apps/v1",
            Kind::CronJob | Kind::Job => "batch/v1",
            Kind::Certificate => "cert-manager.io/v1",
            Kind::Namespace => "v1",
            Kind::CustomResourceDefinition => "apiextensions.k8s.io/v1",
        }
    }
}

/// The template of a chart.
pub(crate) fn template(items: &[Item], chart: usize) -> String {
    let mut text = String::new();
    for item in items {
        let Some(state) = item.charts.get(chart) else {
            continue;
        };
        let documents = match state {
            State::Absent => vec![],
            State::Regular(look) => vec![item.document(look, None)],
            State::Hook(look, hook) => vec![item.document(look, Some(hook))],
            State::Both(look, hook) => {
                vec![item.document(look, Some(hook)), item.document(look, None)]
            }
            State::Twice(look) => {
                let other = Look {
                    content: look.content + 1,
                    ..look.clone()
                };
                vec![item.document(look, None), item.document(&other, None)]
            }
        };
        for document in documents {
            text.push_str("---\n");
            write_yaml(&document, 0, &mut text);
        }
    }
    text
}

impl Item {
    fn document(&self, look: &Look, hook: Option<&Hook>) -> Value {
        let annotations = self.annotations(look, hook);
        let mut object = self.object(look);
        set(&mut object, "annotations", annotations.clone());
        match look.listing {
            Listing::No => object,
            Listing::List if hook.is_some() => json!({
                "apiVersion": "v1",
                "kind": "List",
                "metadata": {"annotations": annotations},
                "items": [object],
            }),
            Listing::List | Listing::ListOfHooks => {
                json!({"apiVersion": "v1", "kind": "List", "items": [object]})
            }
        }
    }

    fn annotations(&self, look: &Look, hook: Option<&Hook>) -> Value {
        let mut annotations = Map::new();
        let mut put = |key: &str, value: &str| annotations.insert(key.to_owned(), value.into());
        if let Some(hook) = hook {
            put("helm.sh/hook", &hook.events);
            hook.weight.map(|weight| put("helm.sh/hook-weight", weight));
            hook.delete_policy
                .map(|policy| put("helm.sh/hook-delete-policy", policy));
            if look.fails && self.kind == Kind::Job {
                put(FAIL_ANNOTATION, "true");
            }
        }
        if look.keep {
            put("helm.sh/resource-policy", "keep");
        }
        Value::Object(annotations)
    }

    fn object(&self, look: &Look) -> Value {
        let name = match self.kind {
            // They are cluster-wide, and all cases share one cluster.
            Kind::ClusterRole => format!("{{{{ .Release.Namespace }}}}.{}", self.name),
            Kind::Namespace => format!("{{{{ .Release.Namespace }}}}-{}", self.name),
            Kind::CustomResourceDefinition => format!("{}.{GROUP}", self.name),
            _ => self.name.to_owned(),
        };
        let mut metadata = json!({"name": name});
        let place = match look.place {
            Place::Unset => None,
            Place::Release => Some("{{ .Release.Namespace }}"),
            Place::Other => Some("{{ .Release.Namespace }}-other"),
            Place::Team => Some("{{ .Release.Namespace }}-team"),
        };
        if let (Some(place), Some(fields)) = (place, metadata.as_object_mut()) {
            fields.insert("namespace".to_owned(), place.into());
        }
        if self.kind.is_cluster_wide()
            && let Some(fields) = metadata.as_object_mut()
        {
            fields.insert(
                "labels".to_owned(),
                json!({"case": "{{ .Release.Namespace }}"}),
            );
        }
        let mut object = json!({
            "apiVersion": self.kind.api_version(look.content),
            "kind": format!("{:?}", self.kind),
            "metadata": metadata,
        });
        if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), self.fields(look)) {
            object.extend(fields);
        }
        if let (Some(spec), Some((field, value))) = (
            object.get_mut("spec").and_then(Value::as_object_mut),
            self.pod_count(look),
        ) {
            spec.insert(field.to_owned(), value);
        }
        object
    }

    /// The field that says whether pods run.
    fn pod_count(&self, look: &Look) -> Option<(&'static str, Value)> {
        let none = look.pods == Pods::None;
        match self.kind {
            _ if look.pods == Pods::Default => None,
            Kind::Deployment | Kind::StatefulSet => {
                Some(("replicas", if none { 0 } else { 1 }.into()))
            }
            Kind::CronJob => Some(("suspend", none.into())),
            _ => None,
        }
    }

    /// The fields besides those of every object. Immutable fields never change: the pod template of a Job, the spec of a
    /// claim, the role of a binding.
    fn fields(&self, look: &Look) -> Value {
        let content = look.content.to_string();
        match self.kind {
            Kind::ConfigMap => json!({"data": data(look)}),
            // One Secret for each way to write its data.
            Kind::Secret if self.name == "a" => json!({"data": base64(data(look))}),
            Kind::Secret => json!({"stringData": data(look)}),
            Kind::ServiceAccount => json!({"automountServiceAccountToken": look.content == 1}),
            Kind::PersistentVolumeClaim => json!({"spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            }}),
            Kind::Role | Kind::ClusterRole => json!({"rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [content]},
            ]}),
            Kind::RoleBinding => json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name},
                "subjects": [{"kind": "ServiceAccount", "name": self.name}],
            }),
            Kind::HorizontalPodAutoscaler => json!({"spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "maxReplicas": look.content,
            }}),
            Kind::Deployment => json!({"spec": {
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.pods(look.extra.as_ref(), "Always"),
            }}),
            Kind::StatefulSet => json!({"spec": {
                "serviceName": self.name,
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.pods(look.extra.as_ref(), "Always"),
            }}),
            Kind::DaemonSet => json!({"spec": {
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.pods(look.extra.as_ref(), "Always"),
            }}),
            Kind::CronJob => json!({"spec": {
                "schedule": "0 0 1 1 *",
                "jobTemplate": {"spec": {"template": self.pods(look.extra.as_ref(), "Never")}},
            }}),
            Kind::Job => json!({"spec": {"template": self.pods(None, "Never")}}),
            Kind::Namespace => json!({}),
            Kind::CustomResourceDefinition => json!({"spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": "Backup", "plural": self.name},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "description": content}},
                }],
            }}),
            Kind::Certificate => json!({"spec": {"secretName": self.name, "dnsNames": [content]}}),
        }
    }

    fn pods(&self, extra: Option<&Reference>, restart_policy: &str) -> Value {
        let (mut env, mut env_from) = (vec![], vec![]);
        let (mut volumes, mut mounts) = (vec![], vec![]);
        let mut service_account = None;
        for (index, reference) in self.references.iter().chain(extra).enumerate() {
            let number = format!("n{index}");
            let Reference { name, optional, .. } = reference;
            let mut volume = |source| {
                volumes.push(with_name(source, &number));
                mounts.push(json!({"name": number, "mountPath": format!("/{number}")}));
            };
            match (reference.kind, reference.form) {
                (Kind::ServiceAccount, _) => service_account = Some(*name),
                (Kind::PersistentVolumeClaim, _) => {
                    volume(json!({"persistentVolumeClaim": {"claimName": name}}));
                }
                (kind, Form::EnvFrom) => {
                    let source = if kind == Kind::Secret {
                        "secretRef"
                    } else {
                        "configMapRef"
                    };
                    env_from.push(json!({source: {"name": name, "optional": optional}}));
                }
                (kind, Form::Key(key)) => {
                    let source = if kind == Kind::Secret {
                        "secretKeyRef"
                    } else {
                        "configMapKeyRef"
                    };
                    let value = json!({"valueFrom": {source: {"name": name, "key": key, "optional": optional}}});
                    env.push(with_name(value, &number));
                }
                (Kind::Secret, Form::Volume) => {
                    volume(json!({"secret": {"secretName": name, "optional": optional}}));
                }
                (_, Form::Volume) => {
                    volume(json!({"configMap": {"name": name, "optional": optional}}));
                }
                (kind, Form::Projected) => {
                    let source = if kind == Kind::Secret {
                        "secret"
                    } else {
                        "configMap"
                    };
                    let sources = json!([{source: {"name": name, "optional": optional}}]);
                    volume(json!({"projected": {"sources": sources}}));
                }
            }
        }
        let mut container = json!({"name": "app", "image": "app"});
        let mut spec = json!({"restartPolicy": restart_policy});
        put_list(&mut container, "env", env);
        put_list(&mut container, "envFrom", env_from);
        put_list(&mut container, "volumeMounts", mounts);
        put_list(&mut spec, "volumes", volumes);
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("containers".to_owned(), json!([container]));
            if let Some(name) = service_account {
                fields.insert("serviceAccountName".to_owned(), name.into());
            }
        }
        json!({"metadata": {"labels": {"app": self.name}}, "spec": spec})
    }
}

fn data(look: &Look) -> Value {
    let url = format!("url-{}", look.content);
    if look.one_key {
        json!({"url": url})
    } else {
        json!({"url": url, "user": "admin"})
    }
}

fn base64(mut data: Value) -> Value {
    for value in data.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let text = value.as_str().unwrap_or_default();
        *value = BASE64_STANDARD.encode(text).into();
    }
    data
}

fn with_name(source: Value, name: &str) -> Value {
    let mut named = json!({"name": name});
    if let (Some(named), Value::Object(fields)) = (named.as_object_mut(), source) {
        named.extend(fields);
    }
    named
}

fn put_list(object: &mut Value, field: &str, items: Vec<Value>) {
    if let (Some(fields), false) = (object.as_object_mut(), items.is_empty()) {
        fields.insert(field.to_owned(), items.into());
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    let is_empty = value.as_object().is_some_and(Map::is_empty);
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(metadata), false) = (metadata, is_empty) {
        metadata.insert(field.to_owned(), value);
    }
}

/// Writes block style, as in most charts.
fn write_yaml(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(text, "{:indent$}{key}:", "");
                write_nested(value, indent, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut nested = String::new();
                write_yaml(item, indent + 2, &mut nested);
                let _ = write!(text, "{:indent$}- {}", "", nested.trim_start());
            }
        }
        scalar => {
            let _ = writeln!(text, "{}", yaml_scalar(scalar));
        }
    }
}

fn write_nested(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write_yaml(value, indent + 2, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_yaml(value, indent + 2, text);
        }
        scalar => {
            let _ = writeln!(text, " {}", yaml_scalar(scalar));
        }
    }
}

fn yaml_scalar(value: &Value) -> String {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/' | ','))
            && text != "true"
    };
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string(),
    }
}
