//! Sends admission requests of the cluster to a server on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    WebhookClientConfig,
};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};

use crate::cluster::Cluster;
use crate::poll::wait_until;

/// How long to wait until the API server uses a new configuration. It learns about it from a watch.
const PROPAGATION_LIMIT: Duration = Duration::from_secs(30);

/// A port on which nothing listens.
pub const CLOSED_PORT: u16 = 1;

/// A mutating webhook at `https://127.0.0.1:PORT/PATH`. A request that it does not answer is rejected.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The name of the configuration, a DNS label. Cases use their namespace.
    pub name: String,
    /// The server's port.
    pub port: u16,
    /// The path for reviews: `/validate`, or `/validate/NAME` with Kubewarden.
    pub path: String,
    /// The certificate of the authority of the server, in PEM.
    pub ca_bundle: String,
    /// Which requests are sent.
    pub rules: Vec<RuleWithOperations>,
    /// Further conditions for sending a request: CEL expressions that must all be true.
    pub match_conditions: Vec<MatchCondition>,
    /// Only requests in these namespaces. Empty for all. Cases that share a cluster use their own namespace.
    pub namespaces: Vec<String>,
    /// What else must be true of the namespace.
    pub namespace_expressions: Vec<LabelSelectorRequirement>,
}

/// A webhook that is in use until this is dropped.
pub struct RegisteredWebhook<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Cluster {
    /// Registers a webhook and waits until the API server uses it.
    ///
    /// # Errors
    /// The API server rejected it, or does not use it.
    pub fn register_webhook(&self, webhook: &Webhook) -> Result<RegisteredWebhook<'_>> {
        let configurations = Api::<MutatingWebhookConfiguration>::all(self.client());
        let configuration = webhook.configuration();
        self.block_on(configurations.create(&PostParams::default(), &configuration))
            .with_context(|| format!("cannot register the webhook {}", webhook.name))?;
        let registered = RegisteredWebhook {
            cluster: self,
            name: webhook.name.clone(),
        };
        registered.wait_until_in_use(true)?;
        Ok(registered)
    }
}

impl RegisteredWebhook<'_> {
    /// Removes the webhook and waits until the API server no longer uses it.
    ///
    /// # Errors
    /// The API server still uses it.
    pub fn remove(self) -> Result<()> {
        self.delete()?;
        self.wait_until_in_use(false)
    }

    fn delete(&self) -> Result<()> {
        let configurations = Api::<MutatingWebhookConfiguration>::all(self.cluster.client());
        let parameters = DeleteParams::default();
        let answer = self
            .cluster
            .block_on(configurations.delete(&self.name, &parameters));
        match answer {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            answer => answer
                .map(|_| ())
                .with_context(|| format!("cannot remove the webhook {}", self.name)),
        }
    }

    /// The API server loads a configuration as a whole, so the probe shows the state of both webhooks.
    fn wait_until_in_use(&self, expected: bool) -> Result<()> {
        let config_maps = Api::<ConfigMap>::namespaced(self.cluster.client(), "default");
        let probe = ConfigMap {
            metadata: ObjectMeta {
                name: Some(probe_name(&self.name)),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let dry_run = PostParams {
            dry_run: true,
            field_manager: None,
        };
        let state = if expected { "used" } else { "not used" };
        let what = format!("the webhook {} is {state}", self.name);
        wait_until(&what, PROPAGATION_LIMIT, || {
            let answer = self.cluster.block_on(config_maps.create(&dry_run, &probe));
            Ok((answer.is_err() == expected).then_some(()))
        })
    }
}

impl Drop for RegisteredWebhook<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.delete() {
            eprintln!("{error:#}");
        }
    }
}

impl Webhook {
    fn configuration(&self) -> MutatingWebhookConfiguration {
        let namespaces = (!self.namespaces.is_empty()).then(|| LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(self.namespaces.clone()),
        });
        // Without expressions, it matches each namespace.
        let selector = LabelSelector {
            match_expressions: Some(
                namespaces
                    .into_iter()
                    .chain(self.namespace_expressions.iter().cloned())
                    .collect(),
            ),
            ..LabelSelector::default()
        };
        let webhook = MutatingWebhook {
            name: format!("{}.rollout-guard.test", self.name),
            client_config: WebhookClientConfig {
                ca_bundle: Some(ByteString(self.ca_bundle.clone().into_bytes())),
                url: Some(url(self.port, &self.path)),
                service: None,
            },
            rules: Some(self.rules.clone()),
            match_conditions: Some(self.match_conditions.clone()),
            namespace_selector: Some(selector),
            ..webhook_defaults()
        };
        MutatingWebhookConfiguration {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            webhooks: Some(vec![webhook, probe(&self.name)]),
        }
    }
}

/// A second webhook in the same configuration, without a server, so it rejects one object that no test uses. It shows
/// whether the configuration is in use, without the help of the first server.
fn probe(webhook: &str) -> MutatingWebhook {
    let condition = MatchCondition {
        name: "probe".to_owned(),
        expression: format!(
            "has(object.metadata.name) && object.metadata.name == '{}'",
            probe_name(webhook)
        ),
    };
    MutatingWebhook {
        name: format!("probe.{webhook}.rollout-guard.test"),
        client_config: WebhookClientConfig {
            url: Some(url(CLOSED_PORT, "/")),
            ..WebhookClientConfig::default()
        },
        rules: Some(vec![creation_of("configmaps")]),
        match_conditions: Some(vec![condition]),
        ..webhook_defaults()
    }
}

/// The rule for new objects of the core group, such as `configmaps`.
pub fn creation_of(resource: &str) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(vec!["CREATE".to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        scope: None,
    }
}

fn probe_name(webhook: &str) -> String {
    format!("{webhook}-probe")
}

fn url(port: u16, path: &str) -> String {
    format!("https://127.0.0.1:{port}{path}")
}

fn webhook_defaults() -> MutatingWebhook {
    MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        failure_policy: Some("Fail".to_owned()),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(10),
        ..MutatingWebhook::default()
    }
}
