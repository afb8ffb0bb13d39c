//! The policy as the webhook of one case, installed as in `examples/`.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use cluster_tests::k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use cluster_tests::{Case, RegisteredWebhook, User, Webhook};
use serde_json::Value;
use testbed::Policy;
use testbed::serve::{Decision, Options, Server};
use testbed_wasmtime::wasmtime;

use crate::example_policy::{ExamplePolicy, grant_rights};
use crate::policy_server::{self, PolicyServer};

/// Judges the requests in the namespace of a case until it is dropped.
pub(crate) struct Guard<'a> {
    // Removed before its server stops.
    webhooks: Vec<RegisteredWebhook<'a>>,
    server: PolicyHost,
}

/// What runs the policy.
enum PolicyHost {
    Testbed(Server),
    PolicyServer(#[allow(dead_code, reason = "it runs until it is dropped")] PolicyServer),
}

impl<'a> Guard<'a> {
    /// The policy in mode `enforce`, with these settings. With `releaseGuard.hookRequests`, it also has the rules for hooks.
    pub(crate) fn new(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        let hook_requests = settings.pointer("/releaseGuard/hookRequests");
        let mut example = match hook_requests {
            Some(Value::Bool(true)) => ExamplePolicy::with_second_line()?,
            _ => ExamplePolicy::read("cluster-admission-policy.yaml")?,
        };
        example.settings = settings;
        Guard::of(case, &example)
    }

    /// The same, and behind it another webhook that pins the images of workloads. Only the testbed has one.
    pub(crate) fn with_pinned_images(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        let mut guard = Guard::new(case, settings)?;
        if let PolicyHost::Testbed(server) = &guard.server {
            let webhook = Webhook {
                // The API server calls webhooks in the order of the names of their configurations.
                name: format!("z-{}", case.namespace),
                port: server.port(),
                path: "/pin-images".to_owned(),
                ca_bundle: server.ca_pem().to_owned(),
                rules: vec![writes_of_workloads()],
                match_conditions: Vec::new(),
                namespaces: vec![case.namespace.clone()],
                namespace_expressions: Vec::new(),
            };
            guard
                .webhooks
                .push(case.cluster.register_webhook(&webhook)?);
        }
        Ok(guard)
    }

    /// The second line alone, as if the main policy had been down or newly installed when the release began.
    pub(crate) fn second_line(case: &Case<'a>) -> Result<Guard<'a>> {
        Guard::of(case, &ExamplePolicy::read("second-line-policy.yaml")?)
    }

    /// A policy as an example installs it.
    pub(crate) fn of(case: &Case<'a>, example: &ExamplePolicy) -> Result<Guard<'a>> {
        grant_rights(case.cluster)?;
        let (server, port, path, ca_bundle) = match policy_server::program() {
            None => {
                let server = Server::start(Options {
                    settings: example.settings.clone(),
                    grants: example.grants(),
                    ..Options::new(policy(), case.cluster.kubeconfig_of(User::Restricted))
                })?;
                let (port, ca_bundle) = (server.port(), server.ca_pem().to_owned());
                (PolicyHost::Testbed(server), port, "/validate", ca_bundle)
            }
            Some(program) => {
                let server = PolicyServer::start(&program, case.cluster, example)?;
                let (port, ca_bundle) = (server.port, fs::read_to_string(case.cluster.ca_file())?);
                (
                    PolicyHost::PolicyServer(server),
                    port,
                    "/validate/guard",
                    ca_bundle,
                )
            }
        };
        let webhook = example.webhook(case, port, path, &ca_bundle);
        let webhook = case.cluster.register_webhook(&webhook)?;
        Ok(Guard {
            webhooks: vec![webhook],
            server,
        })
    }

    /// Removes it and waits until the API server no longer asks it.
    pub(crate) fn remove(self) -> Result<()> {
        // The server stops after that.
        let Guard {
            webhooks,
            server: _server,
        } = self;
        webhooks.into_iter().try_for_each(RegisteredWebhook::remove)
    }

    /// Available only from the testbed.
    pub(crate) fn decisions(&self) -> Option<Vec<Decision>> {
        match &self.server {
            PolicyHost::Testbed(server) => Some(server.decisions()),
            PolicyHost::PolicyServer(_) => None,
        }
    }

    /// Whether nothing was rejected, as far as it is known.
    pub(crate) fn rejected_nothing(&self) -> bool {
        let decisions = self.decisions().unwrap_or_default();
        decisions.iter().all(|decision| decision.allowed)
    }
}

fn writes_of_workloads() -> RuleWithOperations {
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    RuleWithOperations {
        api_groups: texts(&["apps"]),
        api_versions: texts(&["v1"]),
        operations: texts(&["CREATE", "UPDATE"]),
        resources: texts(&["deployments", "statefulsets", "daemonsets"]),
        scope: None,
    }
}

/// The policy that `make policy.wasm` builds. It is compiled once for all cases.
pub(crate) fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy.wasm");
        Policy::load(&path, wasmtime)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}
