//! The policy as the webhook of one case, as the files in `examples/` install it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster_tests::k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations,
};
use cluster_tests::{Case, Cluster, RegisteredWebhook, User, Webhook, wait_until};
use rollout_guard::release_guard::yaml;
use serde::Deserialize;
use serde_json::Value;
use testbed::serve::{Decision, Options, Server};
use testbed::{Kind, Policy};

use crate::policy_server::{self, PolicyServer};

/// Judges the requests of a case's namespace until it is dropped.
pub(crate) struct Guard<'a> {
    // Removed before the server that it names stops.
    _webhook: RegisteredWebhook<'a>,
    server: Judge,
}

/// Who runs the policy.
enum Judge {
    Testbed(Server),
    PolicyServer(#[allow(dead_code, reason = "it runs until it is dropped")] PolicyServer),
}

/// The spec of a ClusterAdmissionPolicy, as far as it counts here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExamplePolicy {
    rules: Vec<RuleWithOperations>,
    #[serde(default)]
    match_conditions: Vec<MatchCondition>,
    context_aware_resources: Vec<ContextAwareResource>,
    pub(crate) settings: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextAwareResource {
    api_version: String,
    kind: String,
}

impl<'a> Guard<'a> {
    /// The policy that enforces, with other settings.
    pub(crate) fn new(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        let example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
        Guard::of(
            case,
            &ExamplePolicy {
                settings,
                ..example
            },
        )
    }

    /// Never sees a release record at its creation: the policy was down, or is new.
    pub(crate) fn second_line(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        let mut example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
        example.match_conditions.push(MatchCondition {
            name: "no-records".to_owned(),
            expression: "!request.name.startsWith('sh.helm.release.v1.')".to_owned(),
        });
        Guard::of(
            case,
            &ExamplePolicy {
                settings,
                ..example
            },
        )
    }

    /// A policy as its example installs it.
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
                (Judge::Testbed(server), port, "/validate", ca_bundle)
            }
            Some(program) => {
                let server = PolicyServer::start(&program, case.cluster, example)?;
                let (port, ca_bundle) = (server.port, fs::read_to_string(case.cluster.ca_file())?);
                (
                    Judge::PolicyServer(server),
                    port,
                    "/validate/guard",
                    ca_bundle,
                )
            }
        };
        let webhook = case.cluster.register_webhook(&Webhook {
            name: case.namespace.clone(),
            port,
            path: path.to_owned(),
            ca_bundle,
            rules: example.rules.clone(),
            match_conditions: example.match_conditions.clone(),
            namespaces: vec![case.namespace.clone()],
        })?;
        Ok(Guard {
            _webhook: webhook,
            server,
        })
    }

    /// Only the testbed tells.
    pub(crate) fn decisions(&self) -> Option<Vec<Decision>> {
        match &self.server {
            Judge::Testbed(server) => Some(server.decisions()),
            Judge::PolicyServer(_) => None,
        }
    }

    /// Whether nothing was rejected, as far as the server tells.
    pub(crate) fn rejected_nothing(&self) -> bool {
        let decisions = self.decisions().unwrap_or_default();
        decisions.iter().all(|decision| decision.allowed)
    }
}

impl ExamplePolicy {
    pub(crate) fn read(name: &str) -> Result<ExamplePolicy> {
        let path = example(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let manifest = yaml::parse(&text).map_err(|error| anyhow!("{name}: {error}"))?;
        let spec = manifest.get("spec").cloned().unwrap_or_default();
        serde_json::from_value(spec).with_context(|| name.to_owned())
    }

    pub(crate) fn grants(&self) -> Vec<Kind> {
        let granted = self.context_aware_resources.iter();
        granted
            .map(|resource| Kind::new(&resource.api_version, &resource.kind))
            .collect()
    }
}

/// A file or folder of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

/// The restricted user has the rights that the example gives to the PolicyServer, and no others.
fn grant_rights(cluster: &Cluster) -> Result<()> {
    static GRANTED: OnceLock<Result<(), String>> = OnceLock::new();
    let grant = || {
        let file = example("policy-server-rbac.yaml");
        let file = file.to_str().context("not UTF-8")?;
        cluster.kubectl(["apply", "--filename", file])?.success()?;
        let user = format!("--user={}", User::Restricted.name());
        let role = "--clusterrole=rollout-guard";
        let binding = ["create", "clusterrolebinding", "guard", role, user.as_str()];
        cluster.kubectl(binding)?.success()?;
        let user = User::Restricted.name();
        let may = [
            "auth",
            "can-i",
            "get",
            "secrets",
            "--all-namespaces",
            "--as",
            user,
        ];
        // The API server hears of it by a watch.
        wait_until("the role counts", Duration::from_secs(10), || {
            Ok(cluster.kubectl(may)?.status.success().then_some(()))
        })
    };
    let granted =
        GRANTED.get_or_init(|| grant().map_err(|error: anyhow::Error| format!("{error:#}")));
    granted.clone().map_err(|error| anyhow!("{error}"))
}

/// `make policy.wasm` builds it; compiled once for all cases.
pub(crate) fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy.wasm");
        Policy::load(&path)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}
