//! Seed 004: a changed config rolls out, and an unchanged one does not, for any client.

use std::time::Duration;

use anyhow::{Context, Result};
use cluster_tests::{Case, HelmVersion, Suite, wait_until};
use serde_json::json;

use crate::app::{REVISION, config, deployment};
use crate::guard::Guard;
use crate::rollouts::{assert_rollouts, edit, send_empty_patch};

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: seed 004, a config change rolls out once"),
            move |case| helm_rolls_out(case, helm),
        );
    }
    suite.case(
        "kubectl: each change adds one ReplicaSet",
        kubectl_rolls_out,
    );
    suite.case(
        "kubectl: a Secret that comes late rolls out only if it was rotated since",
        late_secret,
    );
    suite.case(
        "kubectl: installing the policy restarts nothing",
        installing_restarts_nothing,
    );
}

/// The workload comes first, as with an ExternalSecret. Its pods wait for the Secret, and start with what it is created
/// with.
fn late_secret(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let web = deployment("", "web").replace(
        "configMapRef: {name: app-config}",
        "secretRef: {name: late}",
    );
    let apply = |manifest: &str| case.cluster.apply(&case.namespace, manifest);
    apply(&web)?.success()?;
    let create = |value: &str| {
        let literal = format!("--from-literal=setting={value}");
        case.kubectl(&["create", "secret", "generic", "late", &literal])?
            .success()
    };
    create("one")?;
    send_empty_patch(case, "deployment/web")?;
    assert_rollouts(case, "deployment/web", 1).context("as it was created")?;

    // Another workload, and the Secret changes before anybody sends a request for it.
    case.kubectl(&["delete", "secret", "late"])?.success()?;
    apply(&web.replace(": web", ": rotated"))?.success()?;
    create("one")?;
    // The times are in seconds: the Secret is changed until one of them is later than its creation.
    let times = "jsonpath={.metadata.creationTimestamp} {.metadata.managedFields[*].time}";
    let mut values = 1_u32..;
    wait_until("it was rotated", Duration::from_secs(30), || {
        let setting = values.next().unwrap_or(0).to_string();
        let patch = json!({"stringData": {"setting": setting}}).to_string();
        case.kubectl(&["patch", "secret", "late", "--patch", &patch])?
            .success()?;
        let found = case.kubectl(&["get", "secret", "late", "-o", times])?;
        let found = found.success()?.stdout;
        let (created, managed) = found.split_once(' ').context("two times")?;
        Ok(managed.split(' ').any(|time| time != created).then_some(()))
    })?;
    send_empty_patch(case, "deployment/rotated")?;
    assert_rollouts(case, "deployment/rotated", 2).context("it was rotated")
}

fn manifests(value: &str, annotations: &str, image: &str) -> String {
    format!("{}---{}", config("", value), deployment(annotations, image))
}

fn helm_rolls_out(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    for (version, value, rollouts) in [
        ("1.0.0", "one", 1),
        ("2.0.0", "two", 2),
        ("3.0.0", "two", 2),
        ("4.0.0", "three", 3),
    ] {
        let chart = case.chart(version, &[("all.yaml", &manifests(value, REVISION, "web"))])?;
        case.helm(helm, &["upgrade", "--install", "app", &chart])?
            .success()?;
        assert_rollouts(case, "deployment/web", rollouts)
            .with_context(|| format!("chart {version}"))?;
    }
    Ok(())
}

fn kubectl_rolls_out(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let apply = |value: &str, image: &str| {
        case.cluster
            .apply(&case.namespace, &manifests(value, "", image))
    };
    apply("one", "web")?.success()?;
    assert_rollouts(case, "deployment/web", 1)?;
    for unchanged in [
        vec!["annotate", "deployment", "web", "note=x"],
        // The manifest has no replicas, so the next apply does not scale the workload. If it did, the controller would
        // scale it first, and report the new template as observed before it is rolled out.
        vec!["scale", "deployment", "web", "--replicas=2"],
        vec!["annotate", "deployment", "web", "rollout-guard/configs-"],
        vec!["patch", "deployment", "web", "-p", "{}"],
    ] {
        case.kubectl(&unchanged)?.success()?;
    }
    assert_rollouts(case, "deployment/web", 1)?;

    // A manual change rolls out at the next request, and only once.
    edit(case, "two")?;
    for _ in 0..2 {
        send_empty_patch(case, "deployment/web")?;
        assert_rollouts(case, "deployment/web", 2)?;
    }

    // Undoing a rollout changes nothing if only the config hash had changed.
    case.kubectl(&["rollout", "undo", "deployment", "web"])?
        .success()?;
    assert_rollouts(case, "deployment/web", 2)?;

    apply("two", "web:2")?.success()?;
    assert_rollouts(case, "deployment/web", 3)?;
    // The previous image with the current config already has a ReplicaSet.
    case.kubectl(&["rollout", "undo", "deployment", "web"])?
        .success()?;
    assert_rollouts(case, "deployment/web", 3)
}

fn installing_restarts_nothing(case: &Case<'_>) -> Result<()> {
    case.cluster
        .apply(&case.namespace, &manifests("one", "", "web"))?
        .success()?;
    let _guard = Guard::new(case, json!({}))?;
    send_empty_patch(case, "deployment/web")?;
    assert_rollouts(case, "deployment/web", 1)?;
    edit(case, "two")?;
    send_empty_patch(case, "deployment/web")?;
    assert_rollouts(case, "deployment/web", 2)
}
