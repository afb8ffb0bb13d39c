//! Charts, releases and records for tests, in a few words. It panics where a test is wrong.
//!
//! [`Doc`]s are what a chart renders; `chart` sorts them into manifest and hooks as Helm does
//! (`pkg/releaseutil/manifest_sorter.go`), and a [`Revision`] stores them as a record.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests, which may stop where something is not as they expect"
)]

use std::{fmt, io::Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::{
    live::Live,
    metadata::{HOOK, annotation},
    record::{HookRecord, Record},
    release::Release,
    rendered, yaml,
};

pub const NAMESPACE: &str = "shop";

/// One rendered document.
#[derive(Clone)]
pub struct Doc {
    api_version: String,
    kind: String,
    name: String,
    namespace: Option<String>,
    annotations: Vec<(String, String)>,
    /// Further fields, in the flow style of YAML: `data: {k: v}`.
    fields: String,
}

pub fn doc(api_version: &str, kind: &str, name: &str) -> Doc {
    Doc {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
        annotations: Vec::new(),
        fields: String::new(),
    }
}

pub fn config(name: &str) -> Doc {
    doc("v1", "ConfigMap", name).fields("data: {key: value}")
}

pub fn secret(name: &str) -> Doc {
    doc("v1", "Secret", name)
}

pub fn account(name: &str) -> Doc {
    doc("v1", "ServiceAccount", name)
}

pub fn claim(name: &str) -> Doc {
    doc("v1", "PersistentVolumeClaim", name)
}

pub fn role(name: &str) -> Doc {
    doc("rbac.authorization.k8s.io/v1", "Role", name)
}

pub fn binding(name: &str, role: &str, accounts: &[&str]) -> Doc {
    let subjects: Vec<_> = accounts
        .iter()
        .map(|account| format!("{{kind: ServiceAccount, name: {account}}}"))
        .collect();
    doc("rbac.authorization.k8s.io/v1", "RoleBinding", name).fields(&format!(
        "roleRef: {{kind: Role, name: {role}}}, subjects: [{}]",
        subjects.join(", ")
    ))
}

/// A Deployment, StatefulSet or Job whose pod spec has these fields besides its containers.
pub fn pods(kind: &str, name: &str, spec: &str) -> Doc {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    doc(api_version, kind, name).fields(&format!(
        "spec: {{template: {{spec: {{containers: [{{name: main}}], {spec}}}}}}}"
    ))
}

/// A pod spec that mounts these: `configMap: {name: a}`, …
pub fn volumes(sources: &[&str]) -> String {
    let mounted: Vec<_> = sources.iter().map(|source| (*source, "")).collect();
    mounted_at(&mounted)
}

/// The same, each with what its mount has besides the name: `subPath: a`.
pub fn mounted_at(sources: &[(&str, &str)]) -> String {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (number, (source, mount)) in sources.iter().enumerate() {
        volumes.push(format!("{{name: v{number}, {source}}}"));
        mounts.push(format!(
            "{{name: v{number}, mountPath: /v{number}, {mount}}}"
        ));
    }
    let (volumes, mounts) = (volumes.join(", "), mounts.join(", "));
    format!("volumes: [{volumes}], initContainers: [{{name: init, volumeMounts: [{mounts}]}}]")
}

pub fn deployment(name: &str, spec: &str) -> Doc {
    pods("Deployment", name, spec)
}

/// A Deployment that mounts a ConfigMap.
pub fn mounts(name: &str, config: &str) -> Doc {
    deployment(name, &volumes(&[&format!("configMap: {{name: {config}}}")]))
}

/// A live object without and with `helm.sh/resource-policy: keep`.
pub fn live(kept: bool) -> Live {
    let policy = if kept { "keep" } else { "" };
    Live::Present(json!({"metadata": {"annotations": {"helm.sh/resource-policy": policy}}}))
}

impl Doc {
    pub fn hook(self, events: &str) -> Self {
        self.annotation("helm.sh/hook", events)
    }

    pub fn policy(self, policies: &str) -> Self {
        self.annotation("helm.sh/hook-delete-policy", policies)
    }

    pub fn weight(self, weight: &str) -> Self {
        self.annotation("helm.sh/hook-weight", weight)
    }

    pub fn keep(self) -> Self {
        self.annotation("helm.sh/resource-policy", "keep")
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn namespace(self, namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..self
        }
    }

    /// Replaces the fields besides metadata.
    pub fn fields(self, fields: &str) -> Self {
        Self {
            fields: fields.to_owned(),
            ..self
        }
    }
}

impl fmt::Display for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut metadata = Vec::new();
        if !self.name.is_empty() {
            metadata.push(format!("name: {}", self.name));
        }
        metadata.extend(self.namespace.iter().map(|n| format!("namespace: {n}")));
        if !self.annotations.is_empty() {
            let annotations = self.annotations.iter();
            let annotations: Vec<_> = annotations.map(|(k, v)| format!("{k}: \"{v}\"")).collect();
            metadata.push(format!("annotations: {{{}}}", annotations.join(", ")));
        }
        write!(
            f,
            "{{apiVersion: {}, kind: {}, metadata: {{{}}}, {}}}",
            self.api_version,
            self.kind,
            metadata.join(", "),
            self.fields
        )
    }
}

/// What a chart renders, in any order. A [`Doc`] or YAML as it is.
pub type Docs<'a> = &'a [&'a dyn fmt::Display];

/// The manifest and the hooks that Helm makes of it.
fn chart(docs: Docs<'_>) -> (String, Vec<Value>) {
    let mut regular: Vec<(String, String)> = Vec::new();
    let mut hooks: Vec<(String, Value)> = Vec::new();
    for text in docs.iter().map(ToString::to_string) {
        let head = yaml::parse(&text).unwrap_or_default();
        let kind = head.pointer("/kind").and_then(Value::as_str);
        let kind = kind.unwrap_or_default().to_owned();
        match annotation(&head, HOOK) {
            None => {
                let text = format!("---\n# Source: app/templates/all.yaml\n{text}\n");
                regular.push((kind, text));
            }
            Some(events) => {
                let text = format!("# Source: app/templates/hooks.yaml\n{text}");
                let hook = rendered::hook(&head, events, &text);
                hooks.extend(hook.map(|hook| (kind, stored(hook))));
            }
        }
    }
    let rank = |kind: &str| {
        ORDER
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(ORDER.len())
    };
    regular.sort_by_key(|(kind, _)| rank(kind));
    hooks.sort_by_key(|(kind, _)| rank(kind));
    (
        regular.into_iter().map(|(_, text)| text).collect(),
        hooks.into_iter().map(|(_, hook)| hook).collect(),
    )
}

/// A hook that has not run, as it is stored.
fn stored(hook: HookRecord) -> Value {
    let events: Vec<_> = hook.events.iter().map(|event| event.name()).collect();
    let policies = hook.delete_policies.iter().map(|policy| policy.name());
    json!({
        "name": hook.name, "kind": hook.kind, "path": hook.path, "manifest": hook.manifest, "events": events,
        "weight": hook.weight, "delete_policies": policies.collect::<Vec<_>>(), "last_run": {"phase": ""},
    })
}

/// Some of Helm's order (`pkg/releaseutil/kind_sorter.go`, InstallOrder).
const ORDER: [&str; 14] = [
    "Namespace",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Pod",
    "Deployment",
    "StatefulSet",
    "Job",
];

/// One revision of the release `web`.
#[derive(Clone)]
pub struct Revision {
    /// The JSON of the record.
    pub content: Value,
}

/// A deployed revision, applied client-side.
pub fn revision(number: u64, docs: Docs<'_>) -> Revision {
    let (manifest, hooks) = chart(docs);
    Revision {
        content: json!({
            "name": "web",
            "namespace": NAMESPACE,
            "version": number,
            "info": {"status": "deployed", "description": "Install complete"},
            "manifest": manifest,
            "hooks": hooks,
            "chart": {"metadata": {"name": "app"}},
        }),
    }
}

impl Revision {
    pub fn status(self, status: &str) -> Self {
        self.with("/info/status", status)
    }

    pub fn server_side(mut self) -> Self {
        if let Value::Object(fields) = &mut self.content {
            fields.insert("apply_method".to_owned(), "ssa".into());
        }
        self
    }

    /// Sets a field that is there.
    #[track_caller]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        *self.content.pointer_mut(path).unwrap() = value.into();
        self
    }

    /// All its hooks have run.
    pub fn ran(mut self) -> Self {
        for hook in self.content["hooks"].as_array_mut().unwrap() {
            hook["last_run"]["phase"] = "Succeeded".into();
        }
        self
    }

    pub fn release(&self) -> Release {
        let record: Record = serde_json::from_value(self.content.clone()).unwrap();
        Release::parse(record).unwrap()
    }

    /// The record as Helm stores it in a Secret.
    pub fn secret(&self) -> Value {
        let data = BASE64_STANDARD.encode(encode(&self.content));
        let mut object = self.object("Secret", data.into());
        object["type"] = "helm.sh/release.v1".into();
        object
    }

    /// The same of the ConfigMap driver.
    pub fn config_map(&self) -> Value {
        self.object("ConfigMap", encode(&self.content).into())
    }

    fn object(&self, kind: &str, data: Value) -> Value {
        let content = &self.content;
        let number = content["version"].to_string();
        json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {
                "name": format!("sh.helm.release.v1.web.v{number}"),
                "namespace": NAMESPACE,
                "labels": {
                    "name": content["name"], "owner": "helm", "status": content["info"]["status"], "version": number,
                },
            },
            "data": {"release": data},
        })
    }
}

/// base64 of gzip of JSON.
pub fn encode(content: &Value) -> String {
    BASE64_STANDARD.encode(gzip(content.to_string().as_bytes()))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
