//! The policy as the files in `examples/` install it, for the webhooks of several test targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster_tests::k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations,
};
use cluster_tests::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use cluster_tests::{Case, Cluster, User, Webhook, wait_until};
use helm_plan::yaml;
use serde::Deserialize;
use serde_json::Value;
use testbed::Kind;

/// The spec of a ClusterAdmissionPolicy, with the fields that tests use.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExamplePolicy {
    pub(crate) rules: Vec<RuleWithOperations>,
    #[serde(default)]
    pub(crate) match_conditions: Vec<MatchCondition>,
    #[serde(default)]
    pub(crate) namespace_selector: NamespaceSelector,
    pub(crate) context_aware_resources: Vec<ContextAwareResource>,
    pub(crate) settings: Value,
}

/// Without `matchLabels`, which Kubewarden ignores.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamespaceSelector {
    pub(crate) match_expressions: Vec<LabelSelectorRequirement>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContextAwareResource {
    pub(crate) api_version: String,
    pub(crate) kind: String,
}

impl ExamplePolicy {
    pub(crate) fn read(name: &str) -> Result<ExamplePolicy> {
        let path = example(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let manifest = yaml::parse(&text).with_context(|| name.to_owned())?;
        let spec = manifest.get("spec").cloned().unwrap_or_default();
        serde_json::from_value(spec).with_context(|| name.to_owned())
    }

    /// The main policy with the rules of the second line, as docs/operations.md describes it for the level `rescue`.
    pub(crate) fn with_second_line() -> Result<ExamplePolicy> {
        let mut policy = ExamplePolicy::read("cluster-admission-policy.yaml")?;
        let second_line = ExamplePolicy::read("second-line-policy.yaml")?;
        policy.rules.extend(second_line.rules);
        let conditions = policy.match_conditions.iter();
        let conditions = conditions.chain(&second_line.match_conditions);
        let either: Vec<_> = conditions
            .map(|condition| format!("({})", condition.expression))
            .collect();
        // All conditions of a webhook must be true, so the two become one.
        policy.match_conditions = vec![MatchCondition {
            name: "either".to_owned(),
            expression: either.join(" || "),
        }];
        Ok(policy)
    }

    pub(crate) fn grants(&self) -> Vec<Kind> {
        let granted = self.context_aware_resources.iter();
        granted
            .map(|resource| Kind::new(&resource.api_version, &resource.kind))
            .collect()
    }

    /// The webhook for the namespace of a case, at a server that runs the policy.
    pub(crate) fn webhook(
        &self,
        case: &Case<'_>,
        port: u16,
        path: &str,
        ca_bundle: &str,
    ) -> Webhook {
        Webhook {
            name: case.namespace.clone(),
            port,
            path: path.to_owned(),
            ca_bundle: ca_bundle.to_owned(),
            rules: self.rules.clone(),
            match_conditions: self.match_conditions.clone(),
            namespaces: vec![case.namespace.clone()],
            namespace_expressions: self.namespace_selector.match_expressions.clone(),
        }
    }
}

/// A file or folder of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

/// Gives the restricted user the rights that the example gives to the PolicyServer, and no others.
pub(crate) fn grant_rights(cluster: &Cluster) -> Result<()> {
    static GRANTED: OnceLock<Result<(), String>> = OnceLock::new();
    let grant = || {
        let file = example("policy-server-rbac.yaml");
        let file = file.to_str().context("not UTF-8")?;
        cluster.kubectl(["apply", "--filename", file])?.success()?;
        bind_rights(cluster)
    };
    let granted =
        GRANTED.get_or_init(|| grant().map_err(|error: anyhow::Error| format!("{error:#}")));
    granted.clone().map_err(|error| anyhow!("{error}"))
}

/// Lets the restricted user do what the example lets the PolicyServer do, once it is applied.
pub(crate) fn bind_rights(cluster: &Cluster) -> Result<()> {
    let user = User::Restricted.name();
    let user_flag = format!("--user={user}");
    let role = "--clusterrole=rollout-guard";
    let binding = ["create", "clusterrolebinding", "guard", role, &user_flag];
    cluster.kubectl(binding)?.success()?;
    let may = [
        "auth",
        "can-i",
        "get",
        "secrets",
        "--all-namespaces",
        "--as",
        user,
    ];
    // The API server learns about the role from a watch.
    wait_until("the role takes effect", Duration::from_secs(10), || {
        Ok(cluster.kubectl(may)?.status.success().then_some(()))
    })
}
