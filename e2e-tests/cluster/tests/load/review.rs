//! Requests whose answers are known in advance.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config_digest::stamp;
use rollout_guard::annotations::{CONFIG_HASH, CONFIGS};
use serde_json::{Value, json};

use crate::app::recorded;

/// A request, and its whole `response` without the `uid`, which differs each time.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) request: Value,
    pub(crate) response: Value,
}

/// What is known about an answer whose exact text other tests check.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Accepted,
    /// With this code, and a message that contains this text.
    Rejected(u16, &'static str),
}

/// The kind of an object: group, version, kind.
pub(crate) const CONFIG_MAP: [&str; 3] = ["", "v1", "ConfigMap"];
pub(crate) const SECRET: [&str; 3] = ["", "v1", "Secret"];
pub(crate) const SERVICE: [&str; 3] = ["", "v1", "Service"];
pub(crate) const JOB: [&str; 3] = ["batch", "v1", "Job"];
const DEPLOYMENT: [&str; 3] = ["apps", "v1", "Deployment"];

impl Question {
    /// The review, as the API server would send it.
    pub(crate) fn review(&self, uid: &str) -> Result<Value> {
        let mut request = self.request.clone();
        let fields = request.as_object_mut().context("not an object")?;
        fields.insert("uid".to_owned(), json!(uid));
        Ok(json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
        }))
    }

    /// If the answer is as expected, it is the answer that every client has to get from now on.
    pub(crate) fn learn(&mut self, mut answer: Value, expected: Expected) -> Result<()> {
        let response = answer.get_mut("response").context("no response")?.take();
        let text = |pointer| response.pointer(pointer).and_then(Value::as_str);
        let message = text("/status/message").unwrap_or_default();
        let is_expected = match expected {
            Expected::Accepted => {
                let passed = json!({
                    "uid": text("/uid"), "allowed": true, "auditAnnotations": null, "warnings": null,
                });
                response == passed
            }
            Expected::Rejected(code, part) => {
                response.pointer("/allowed") == Some(&json!(false))
                    && response.pointer("/status/code") == Some(&json!(code))
                    && message.contains(part)
            }
        };
        let name = self.name;
        ensure!(
            is_expected,
            "{name}: expected {expected:?}, but got {response:#}"
        );
        self.response = response;
        Ok(())
    }

    /// Fails unless this is the known answer, for this request.
    pub(crate) fn check(&self, uid: &str, answer: &Value) -> Result<()> {
        let mut response = self.response.clone();
        let fields = response.as_object_mut().context("not an object")?;
        fields.insert("uid".to_owned(), json!(uid));
        let expected = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
        });
        let name = self.name;
        ensure!(
            *answer == expected,
            "{name}: {answer:#}\nis not {expected:#}"
        );
        Ok(())
    }
}

/// An AdmissionRequest without `uid`.
pub(crate) fn request(
    operation: &str,
    [group, version, kind]: [&str; 3],
    (object, old_object): (&Value, &Value),
) -> Value {
    let one = if object.is_null() { old_object } else { object };
    let metadata = |field| one.pointer(&format!("/metadata/{field}"));
    json!({
        "operation": operation,
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": kind.to_lowercase() + "s"},
        "namespace": metadata("namespace"), "name": metadata("name"),
        "userInfo": {"username": "admin"},
        "object": object, "oldObject": old_object,
    })
}

/// The Deployment of a client, which uses a ConfigMap of the same name.
pub(crate) struct Workload<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Workload<'_> {
    /// The questions after the ConfigMap was changed from one content (`None` at first) to another. It must not change
    /// again before they are answered.
    pub(crate) fn questions(&self, previous: Option<&str>, current: &str) -> Result<Vec<Question>> {
        let plain = self.object(None)?;
        let stamped = self.object(Some(current))?;
        let (configs, hash) = self.annotations(current)?;
        let patch = |operation: &str| {
            let patch = json!([
                {"op": operation, "path": pointer("/metadata", CONFIGS), "value": configs},
                {"op": operation, "path": pointer("/spec/template/metadata", CONFIG_HASH), "value": hash},
            ]);
            BASE64_STANDARD.encode(patch.to_string())
        };
        let passes =
            json!({"uid": null, "allowed": true, "auditAnnotations": null, "warnings": null});
        let stamps = json!({
            "uid": null, "allowed": true, "patchType": "JSONPatch", "patch": patch("add"),
            "auditAnnotations": null, "warnings": null,
        });
        let mut questions = vec![
            Question {
                name: "a new workload",
                request: request("CREATE", DEPLOYMENT, (&plain, &Value::Null)),
                response: stamps.clone(),
            },
            Question {
                name: "a workload and its config, unchanged",
                request: request("UPDATE", DEPLOYMENT, (&stamped, &stamped)),
                response: passes,
            },
            Question {
                name: "an unchanged workload without its annotations",
                request: request("UPDATE", DEPLOYMENT, (&plain, &stamped)),
                response: stamps,
            },
        ];
        if let Some(previous) = previous {
            let stale = self.object(Some(previous))?;
            let name = self.name;
            let warning = format!(
                "rollout-guard: Deployment/{name} rolls out, since its config changed: ConfigMap {name}"
            );
            questions.push(Question {
                name: "a workload whose config changed",
                request: request("UPDATE", DEPLOYMENT, (&stale, &stale)),
                response: json!({
                    "uid": null, "allowed": true,
                    "patchType": "JSONPatch", "patch": patch("replace"),
                    "auditAnnotations": {"config-changed": format!("ConfigMap {name}")},
                    "warnings": [warning],
                }),
            });
        }
        Ok(questions)
    }

    /// The Deployment, with the config hash for this content of its ConfigMap.
    fn object(&self, stamped_for: Option<&str>) -> Result<Value> {
        let mut on_workload = json!({"team": "load"});
        let mut on_template = on_workload.clone();
        if let Some(setting) = stamped_for {
            let (configs, hash) = self.annotations(setting)?;
            for (annotations, key, value) in [
                (&mut on_workload, CONFIGS, configs),
                (&mut on_template, CONFIG_HASH, hash),
            ] {
                let annotations = annotations.as_object_mut().context("not an object")?;
                annotations.insert(key.to_owned(), json!(value));
            }
        }
        let Workload { namespace, name } = self;
        let container = json!({
            "name": "web", "image": "web", "envFrom": [{"configMapRef": {"name": name}}],
        });
        Ok(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "annotations": on_workload},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}, "annotations": on_template},
                    "spec": {"containers": [container]},
                },
            },
        }))
    }

    /// `rollout-guard/configs` and `rollout-guard/config-hash`.
    fn annotations(&self, setting: &str) -> Result<(String, String)> {
        let recorded = recorded(self.name, setting);
        Ok((serde_json::to_string(&recorded)?, stamp(&recorded)))
    }
}

fn pointer(metadata: &str, annotation: &str) -> String {
    format!("{metadata}/annotations/{}", annotation.replace('/', "~1"))
}
