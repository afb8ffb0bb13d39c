//! The policy as the webhook of one case.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use cluster_tests::k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use cluster_tests::{Case, RegisteredWebhook, Webhook};
use serde_json::Value;
use testbed::serve::{Decision, Options, Server};
use testbed::{Kind, Policy};

/// Judges every request of a case's namespace until it is dropped.
pub(crate) struct Guard<'a> {
    // Removed before the server that it names stops.
    _webhook: RegisteredWebhook<'a>,
    server: Server,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        let records = rule("", &["secrets"], &["CREATE"]);
        Guard::with_rules(case, settings, [vec![records], other_rules()].concat())
    }

    /// Never sees a release record at its creation: the policy was down, or is new.
    pub(crate) fn second_line(case: &Case<'a>, settings: Value) -> Result<Guard<'a>> {
        Guard::with_rules(case, settings, other_rules())
    }

    fn with_rules(
        case: &Case<'a>,
        settings: Value,
        rules: Vec<RuleWithOperations>,
    ) -> Result<Guard<'a>> {
        let kinds = ["ConfigMap", "Secret"].map(|kind| Kind::new("v1", kind));
        let server = Server::start(Options {
            settings,
            grants: kinds.into(),
            ..Options::new(policy(), case.cluster.kubeconfig())
        })?;
        let webhook = case.cluster.register_webhook(&Webhook {
            name: case.namespace.clone(),
            port: server.port(),
            ca_bundle: server.ca_pem().to_owned(),
            rules,
            match_conditions: Vec::new(),
            namespaces: vec![case.namespace.clone()],
        })?;
        Ok(Guard {
            _webhook: webhook,
            server,
        })
    }

    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.server.decisions()
    }
}

fn other_rules() -> Vec<RuleWithOperations> {
    vec![
        rule(
            "apps",
            &["deployments", "statefulsets", "daemonsets"],
            &["CREATE", "UPDATE"],
        ),
        // Updates too: with server-side apply, a hook may be patched onto what is there.
        rule("", &["configmaps"], &["CREATE", "UPDATE", "DELETE"]),
    ]
}

fn rule(group: &str, resources: &[&str], operations: &[&str]) -> RuleWithOperations {
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    RuleWithOperations {
        api_groups: texts(&[group]),
        api_versions: texts(&["v1"]),
        resources: texts(resources),
        operations: texts(operations),
        scope: None,
    }
}

/// `make policy.wasm` builds it; compiled once for all cases.
fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy.wasm");
        Policy::load(&path)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}
