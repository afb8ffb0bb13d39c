//! The API server, the policy and the watches are away for some time.

use anyhow::{Context, Result, ensure};
use cluster_tests::k8s_openapi::api::core::v1::ConfigMap;
use cluster_tests::kube::Api;
use cluster_tests::kube::api::{ObjectMeta, PostParams};
use cluster_tests::{CLOSED_PORT, Case, Suite, wait_until};
use serde_json::json;

use crate::app::{config, deployment};
use crate::changes::rolled_out;
use crate::example_policy::ExamplePolicy;
use crate::guard::Guard;
use crate::program::{LIMIT, Refresh, flags};
use crate::relay::Relay;
use crate::rollouts::edit;

/// More events than the API server remembers of a kind for watches that were away (its window begins with 100 and grows
/// with use).
const EVENTS: usize = 1500;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case(
        "the API server is away, and its watches have expired",
        server_away,
    );
    suite.case("the policy is away, and fails open", policy_away);
    suite.case("the policy is away, and fails closed", webhook_away);
    suite.case("patches are denied", denied);
    suite.case("the Lease is deleted", lease_deleted);
}

fn app(case: &Case<'_>) -> Result<()> {
    let manifests = format!("{}---{}", config("", "one"), deployment("", "web"));
    case.cluster.apply(&case.namespace, &manifests)?.success()?;
    rolled_out(case, "deployment/web", 1)
}

fn leader(case: &Case<'_>) -> Result<Refresh> {
    let mut flags = flags(case);
    flags.extend(["--max-retry=2s".to_owned(), "--interval=100ms".to_owned()]);
    let refresh = Refresh::start(case, &flags)?;
    refresh.wait_until_it_leads()?;
    refresh.wait_until_idle()?;
    Ok(refresh)
}

fn server_away(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    // With the rights of the user.
    drop(Refresh::start(case, &flags(case))?);
    let relay = Relay::start(case.cluster)?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = relay.kubeconfig(case.cluster, folder.path())?;
    let refresh = Refresh::start_with(&kubeconfig, &flags(case))?;
    refresh.wait_until_it_leads()?;
    refresh.wait_until_idle()?;

    relay.cut();
    edit(case, "two")?;
    let config_maps = Api::<ConfigMap>::namespaced(case.cluster.client(), &case.namespace);
    case.cluster.block_on(async {
        for number in 0..EVENTS {
            let config_map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(format!("event-{number}")),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            };
            config_maps
                .create(&PostParams::default(), &config_map)
                .await?;
        }
        anyhow::Ok(())
    })?;
    wait_until("the watches fail", LIMIT, || {
        Ok(refresh
            .get("/metrics")?
            .contains("watch_errors_total")
            .then_some(()))
    })?;
    refresh
        .get("/healthz")
        .context("nothing is wrong with the program")?;
    rolled_out(case, "deployment/web", 1)?;
    relay.mend();
    rolled_out(case, "deployment/web", 2)?;
    wait_until("all is known again", LIMIT, || {
        Ok((refresh.metric("configs")? > EVENTS as u64).then_some(()))
    })?;
    edit(case, "three")?;
    rolled_out(case, "deployment/web", 3)
}

fn policy_away(case: &Case<'_>) -> Result<()> {
    let guard = Guard::new(case, json!({}))?;
    app(case)?;
    let refresh = leader(case)?;
    guard.remove()?;
    edit(case, "two")?;
    wait_until("the policy is missed", LIMIT, || {
        Ok((refresh.metric("retries{result=\"unseen\"}")? == 1).then_some(()))
    })?;
    rolled_out(case, "deployment/web", 1)?;
    let _guard = Guard::new(case, json!({}))?;
    rolled_out(case, "deployment/web", 2)?;
    refresh.wait_until_idle()?;
    ensure!(refresh.metric("retries{result=\"unseen\"}")? == 0);
    Ok(())
}

fn webhook_away(case: &Case<'_>) -> Result<()> {
    let guard = Guard::new(case, json!({}))?;
    app(case)?;
    let refresh = leader(case)?;
    guard.remove()?;
    let example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
    let nobody = case
        .cluster
        .register_webhook(&example.webhook(case, CLOSED_PORT, "/", ""))?;
    edit(case, "two")?;
    wait_until("patches fail", LIMIT, || {
        Ok((refresh.patches("unavailable")? >= 1).then_some(()))
    })?;
    ensure!(refresh.metric("retries{result=\"failed\"}")? <= 1);
    nobody.remove()?;
    let _guard = Guard::new(case, json!({}))?;
    rolled_out(case, "deployment/web", 2)
}

/// A config that the pods require was deleted, and the policy refuses such workloads.
fn denied(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({"configHash": {"missing": "reject"}}))?;
    app(case)?;
    let refresh = leader(case)?;
    case.kubectl(&["delete", "configmap", "app-config"])?
        .success()?;
    wait_until("patches are denied", LIMIT, || {
        Ok((refresh.patches("denied")? >= 2).then_some(()))
    })?;
    let events = case
        .kubectl(&["describe", "deployment", "web"])?
        .success()?
        .stdout;
    ensure!(
        events.contains("cannot be rolled out for changed config"),
        "{events}"
    );
    case.cluster
        .apply(&case.namespace, &config("", "two"))?
        .success()?;
    rolled_out(case, "deployment/web", 2)?;
    refresh.wait_until_idle()
}

fn lease_deleted(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    let refresh = leader(case)?;
    let name = case.namespace.as_str();
    let lease = ["lease", name, "--namespace", crate::program::HOME];
    case.cluster
        .kubectl(["delete"].into_iter().chain(lease))?
        .success()?;
    wait_until("there is a Lease again", LIMIT, || {
        let found = case.cluster.kubectl(["get"].into_iter().chain(lease))?;
        Ok(found.status.success().then_some(()))
    })?;
    refresh.wait_until_it_leads()?;
    edit(case, "two")?;
    rolled_out(case, "deployment/web", 2)
}
