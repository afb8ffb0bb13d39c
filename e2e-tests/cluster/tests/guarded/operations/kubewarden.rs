//! What Kubewarden's controller and policy-server do with a ClusterAdmissionPolicy, as far as the commands of the pages need it.
//!
//! A policy in the mode `protect` gets a server and a webhook with the names that Kubewarden gives them, and the condition
//! `PolicyActive`. One in the mode `monitor` only gets the condition, because it accepts every request.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_tests::{CLOSED_PORT, Cluster, User, wait_until};
use serde_json::{Value, json};
use testbed::Kind;
use testbed::serve::{Options, Server};

use crate::guard::policy;

/// How long the API server may take to learn of something from a watch.
const PROPAGATION: Duration = Duration::from_secs(30);

/// The fields are not checked: this is about the commands. `documents.rs` and `ExamplePolicy` read them.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusteradmissionpolicies.policies.kubewarden.io}
spec:
  group: policies.kubewarden.io
  scope: Cluster
  names: {kind: ClusterAdmissionPolicy, plural: clusteradmissionpolicies, singular: clusteradmissionpolicy}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

pub(super) struct Kubewarden<'a> {
    cluster: &'a Cluster,
    /// By the name of the policy.
    webhooks: BTreeMap<String, Installed>,
    is_away: bool,
    /// How many webhooks it has written so far.
    written: usize,
}

struct Installed {
    probe: String,
    /// None while policy-server is away.
    #[allow(dead_code, reason = "it runs until it is dropped")]
    server: Option<Server>,
}

impl<'a> Kubewarden<'a> {
    pub(super) fn install(cluster: &'a Cluster) -> Result<Kubewarden<'a>> {
        cluster.create_namespace("kubewarden")?;
        cluster.apply("default", DEFINITION)?.success()?;
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd/clusteradmissionpolicies.policies.kubewarden.io",
        ];
        cluster.kubectl(wait)?.success()?;
        Ok(Kubewarden {
            cluster,
            webhooks: BTreeMap::new(),
            is_away: false,
            written: 0,
        })
    }

    /// policy-server stops, and its webhooks stay.
    pub(super) fn go_away(&mut self) {
        self.is_away = true;
        for webhook in self.webhooks.values_mut() {
            webhook.server = None;
        }
    }

    /// With the next [`Kubewarden::reconcile`].
    pub(super) fn come_back(&mut self) {
        self.is_away = false;
    }

    /// Does what the controller does after policies were created, changed or deleted.
    pub(super) fn reconcile(&mut self) -> Result<()> {
        let list = ["get", "clusteradmissionpolicies", "--output", "json"];
        let list = self.cluster.kubectl(list)?.success()?.stdout;
        let list: Value = serde_json::from_str(&list)?;
        let policies = list.pointer("/items").and_then(Value::as_array);
        let policies = policies.context("no items")?;
        let is_protecting = |policy: &&Value| text(policy, "/spec/mode") == "protect";
        let protecting: BTreeMap<_, _> = policies
            .iter()
            .filter(is_protecting)
            .map(|policy| (text(policy, "/metadata/name"), policy))
            .collect();

        let gone = self.webhooks.keys().cloned();
        let gone: Vec<_> = gone
            .filter(|name| !protecting.contains_key(name.as_str()))
            .collect();
        for name in gone {
            let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
            let configuration = format!("clusterwide-{name}");
            let delete = ["delete", kinds, &configuration, "--ignore-not-found"];
            self.cluster.kubectl(delete)?.success()?;
            self.wait_until_unused(&name)?;
            self.webhooks.remove(&name);
        }
        for (name, policy) in protecting {
            self.install_webhook(name, policy)?;
        }
        for policy in policies {
            self.set_active(text(policy, "/metadata/name"))?;
        }
        Ok(())
    }

    fn install_webhook(&mut self, name: &str, manifest: &Value) -> Result<()> {
        let spec = manifest.get("spec").cloned().unwrap_or_default();
        let server = match self.is_away {
            true => None,
            false => Some(self.serve(&spec)?),
        };
        let (url, authority) = match &server {
            Some(server) => (server.url(), server.ca_pem().to_owned()),
            None => {
                let authority = fs::read_to_string(self.cluster.ca_file())?;
                (closed(), authority)
            }
        };
        let field = |name: &str| spec.get(name).cloned().unwrap_or_default();
        // The controller leaves out its own namespace, first.
        let mut namespaces = vec![json!(
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kubewarden"]}
        )];
        let chosen = spec.pointer("/namespaceSelector/matchExpressions");
        let chosen = chosen.and_then(Value::as_array).into_iter().flatten();
        namespaces.extend(chosen.cloned());
        let webhook = json!({
            "name": format!("clusterwide-{name}.kubewarden.admission"),
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority)},
            "rules": field("rules"),
            "matchConditions": field("matchConditions"),
            "namespaceSelector": {"matchExpressions": namespaces},
            "failurePolicy": field("failurePolicy"),
            "timeoutSeconds": field("timeoutSeconds"),
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        self.written += 1;
        let probe = format!("probe-{}", self.written);
        let kind = match field("mutating") {
            Value::Bool(true) => "MutatingWebhookConfiguration",
            _ => "ValidatingWebhookConfiguration",
        };
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": format!("clusterwide-{name}")},
            "webhooks": [webhook, probe_webhook(&probe)],
        });
        let manifest = configuration.to_string();
        self.cluster.apply("default", &manifest)?.success()?;
        self.wait_for_probe(&probe, true)?;
        let installed = Installed { probe, server };
        self.webhooks.insert(name.to_owned(), installed);
        Ok(())
    }

    fn serve(&self, spec: &Value) -> Result<Server> {
        let granted = spec.get("contextAwareResources").and_then(Value::as_array);
        let granted = granted.into_iter().flatten();
        let grants = granted.map(|kind| Kind::new(text(kind, "/apiVersion"), text(kind, "/kind")));
        let limit = spec.get("timeoutEvalSeconds").and_then(Value::as_u64);
        Server::start(Options {
            settings: spec.get("settings").cloned().unwrap_or_default(),
            grants: grants.collect(),
            time_limit: Duration::from_secs(limit.unwrap_or(2)),
            ..Options::new(policy(), self.cluster.kubeconfig_of(User::Restricted))
        })
    }

    fn set_active(&self, name: &str) -> Result<()> {
        let status = json!({"status": {"policyStatus": "active", "conditions": [
            {"type": "PolicyActive", "status": "True", "reason": "PolicyActive"},
        ]}});
        let status = status.to_string();
        let patch = ["patch", "clusteradmissionpolicy", name, "--type", "merge"];
        let status = ["--subresource", "status", "--patch", &status];
        self.cluster
            .kubectl(patch.into_iter().chain(status))?
            .success()?;
        Ok(())
    }

    /// Waits until the API server no longer asks the webhook of a policy, which somebody has deleted.
    pub(super) fn wait_until_unused(&self, policy: &str) -> Result<()> {
        let webhook = self.webhooks.get(policy);
        let webhook = webhook.with_context(|| format!("no webhook of {policy}"))?;
        self.wait_for_probe(&webhook.probe, false)
    }

    fn wait_for_probe(&self, probe: &str, in_use: bool) -> Result<()> {
        let create = ["create", "configmap", probe, "--dry-run=server"];
        wait_until(probe, PROPAGATION, || {
            let created = self.cluster.kubectl(create)?.status.success();
            Ok((created != in_use).then_some(()))
        })
    }
}

/// Rejects one object that nobody creates. While it does so, its configuration is in use as a whole.
fn probe_webhook(name: &str) -> Value {
    let is_probe = format!("has(object.metadata.name) && object.metadata.name == '{name}'");
    json!({
        "name": "probe.rollout-guard.test",
        "clientConfig": {"url": closed()},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "matchConditions": [{"name": "probe", "expression": is_probe}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    })
}

fn closed() -> String {
    format!("https://127.0.0.1:{CLOSED_PORT}/")
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
