//! Operations that are right although they look like a loss: they pass, with a warning where something is not known.

use anyhow::{Context, Result, ensure};
use cluster_tests::{AuditMark, Case, FAIL_ANNOTATION, HelmVersion, Output, Suite};
use serde_json::{Value, json};

use crate::app::{config, deployment};
use crate::guard::Guard;
use crate::hook_trap::{assert_config, chart};

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: a rollback after a failed upgrade with --history-max 2 passes"),
            move |case| rollback_without_record(case, helm),
        );
        suite.case(
            format!("{helm}: an upgrade after a failed install with --history-max 1 passes"),
            move |case| upgrade_without_record(case, helm),
        );
        suite.case(
            format!("{helm}: a record that stays pending stops no later operation"),
            move |case| pending_for_ever(case, helm),
        );
        suite.case(
            format!("{helm}: a key that an operator fills may leave the chart"),
            move |case| filled_by_operator(case, helm),
        );
        suite.case(
            format!("{helm}: the ServiceAccount default may leave the chart"),
            move |case| default_account(case, helm),
        );
        suite.case(
            format!("{helm}: a Secret that a controller owns may leave the chart"),
            move |case| owned_by_controller(case, helm),
        );
        suite.case(
            format!("{helm}: a Job that is gone hides no trap"),
            move |case| job_is_gone(case, helm),
        );
    }
}

fn upgrade(case: &Case<'_>, helm: HelmVersion, version: &str, chart: &str) -> Result<Output> {
    upgrade_with(case, helm, version, chart, &[])
}

fn upgrade_with(
    case: &Case<'_>,
    helm: HelmVersion,
    version: &str,
    chart: &str,
    flags: &[&str],
) -> Result<Output> {
    let chart = case.chart(version, &[("all.yaml", chart)])?;
    let arguments = ["upgrade", "--install", "app", chart.as_str()];
    case.helm(helm, &[&arguments, flags].concat())
}

/// It succeeds, and says so much.
fn assert_warned(output: Output, parts: &[&str]) -> Result<()> {
    let output = output.success()?;
    for part in parts {
        ensure!(output.stderr.contains(part), "no {part:?} in {output}");
    }
    Ok(())
}

fn failing_job(event: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata: {{name: migrate, annotations: {{helm.sh/hook: {event}, {FAIL_ANNOTATION}: 'true'}}}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: job, image: job}}]
"
    )
}

/// Helm deletes the record of the failed revision before it writes the new one, and spares only the deployed one.
fn rollback_without_record(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let good = chart("", "one");
    upgrade(case, helm, "1.0.0", &good)?.success()?;
    let bad = [chart("", "two"), failing_job("pre-upgrade")].concat();
    upgrade(case, helm, "2.0.0", &bad)?.failure()?;

    let rollback = case.helm(helm, &["rollback", "app", "1", "--history-max=2"])?;

    assert_warned(rollback, &["app.v2 does not exist", "was not checked"])?;
    upgrade(case, helm, "3.0.0", &chart("", "three"))?.success()?;
    assert_config(case, "three")
}

fn upgrade_without_record(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let bad = [chart("", "one"), failing_job("pre-install")].concat();
    upgrade(case, helm, "1.0.0", &bad)?.failure()?;

    let limit = ["--history-max=1"];
    let mended = upgrade_with(case, helm, "2.0.0", &chart("", "two"), &limit)?;

    assert_warned(mended, &["app.v1 does not exist", "was not checked"])?;
    assert_config(case, "two")
}

/// Revision 2 was the trap, and its client was killed. Revision 3 is the rollback that frees the release. The mended chart
/// deletes the ConfigMap before it creates its hook, which revision 2 must not stop.
fn pending_for_ever(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    upgrade(case, helm, "1.0.0", &chart("", "one"))?.success()?;
    let first = record(case, 1)?;
    let mark = case.cluster.audit_mark()?;
    let hook = "helm.sh/hook: 'pre-install,pre-upgrade'";
    upgrade(case, helm, "2.0.0", &chart(hook, "two"))?.success()?;
    for record in [first, created_record(case, mark)?] {
        let record = record.to_string();
        let replaced = case
            .cluster
            .kubectl_with(&case.namespace, &["replace"], &record)?;
        replaced.success()?;
    }
    let guard = Guard::new(case, json!({}))?;
    upgrade(case, helm, "2.0.0", &chart("", "two"))?.failure()?;

    case.helm(helm, &["rollback", "app", "1"])?.success()?;
    assert_config(case, "one")?;
    let mended = format!("{hook}, helm.sh/resource-policy: keep");
    upgrade(case, helm, "4.0.0", &chart(&mended, "four"))?.success()?;
    assert_config(case, "four")?;
    case.kubectl(&["delete", "configmap", "app-config"])?
        .success()?;
    case.helm(helm, &["uninstall", "app"])?.success()?;
    ensure!(guard.rejected_nothing());
    Ok(())
}

/// A release record that can be put back.
fn record(case: &Case<'_>, revision: u64) -> Result<Value> {
    let name = format!("sh.helm.release.v1.app.v{revision}");
    let found = case.kubectl(&["get", "secret", &name, "-o", "json"])?;
    let mut record: Value = serde_json::from_str(&found.success()?.stdout)?;
    let metadata = record.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.context("no metadata")?;
    metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "labels"));
    Ok(record)
}

/// The record of the last operation as Helm first wrote it.
fn created_record(case: &Case<'_>, mark: AuditMark) -> Result<Value> {
    let trail = case.cluster.audit_since(mark)?;
    let trail = trail.in_namespace(&case.namespace).by_agent("Helm/");
    let mut events = trail.events().iter();
    let created = events.find(|event| {
        let object = event.object_ref.as_ref();
        let is_record = |name: &str| name.starts_with("sh.helm.release.v1.");
        event.verb == "create" && object.is_some_and(|object| is_record(&object.name))
    });
    let record = created.and_then(|event| event.request_object.clone());
    record.context("Helm wrote no record")
}

/// A workload that needs this of its pods.
fn web(pods: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{{pods}}}
"
    )
}

const NEEDS_PASSWORD: &str = "containers: [{name: web, image: web, env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}]}]";

fn secret(data: &str) -> String {
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\ndata: {{{data}}}\n")
}

fn filled_by_operator(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let web = web(NEEDS_PASSWORD);
    let both = secret("user: YWRtaW4=, password: aW5pdGlhbA==");
    upgrade(case, helm, "1.0.0", &[both, web.clone()].concat())?.success()?;
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=operator",
    ];
    let filled =
        "{apiVersion: v1, kind: Secret, metadata: {name: db}, data: {password: cm90YXRlZA==}}";
    case.cluster
        .kubectl_with(&case.namespace, &apply, filled)?
        .success()?;

    let without = [secret("user: YWRtaW4="), web].concat();
    let upgraded = upgrade(case, helm, "2.0.0", &without)?;

    // Helm escapes the quotes around the name of the manager.
    let parts = [
        "dangling-reference: Secret db",
        "unless its field manager",
        "operator",
    ];
    assert_warned(upgraded, &parts)
}

/// In a real cluster, a controller creates it again.
fn default_account(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}\n";
    let web = web("serviceAccountName: default, containers: [{name: web, image: web}]");
    upgrade(case, helm, "1.0.0", &[account, web.as_str()].concat())?.success()?;

    let upgraded = upgrade(case, helm, "2.0.0", &web)?;

    let warning = [
        "dangling-reference: ServiceAccount default",
        "unless Kubernetes restores it",
    ];
    assert_warned(upgraded, &warning)
}

/// A SealedSecret of another pipeline has taken over the Secret. The cluster does not know the kind of the owner, or the
/// garbage collector would delete the Secret, because that owner does not exist.
fn owned_by_controller(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let web = web(NEEDS_PASSWORD);
    let secret = secret("password: aW5pdGlhbA==");
    upgrade(case, helm, "1.0.0", &[secret, web.clone()].concat())?.success()?;
    let owner = json!({
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "name": "db",
        "uid": "2f3e6a4e-51f2-4d6f-9a6e-7f3a1f0c9b11",
        "controller": true,
    });
    let patch = json!({"metadata": {"ownerReferences": [owner]}}).to_string();
    case.kubectl(&["patch", "secret", "db", "--patch", &patch])?
        .success()?;

    let upgraded = upgrade(case, helm, "2.0.0", &web)?;

    let maker = "unless its owner SealedSecret db restores it";
    assert_warned(upgraded, &["dangling-reference: Secret db", maker])
}

/// The Job would meet its object of revision 1 if that still existed, and then nothing would be pruned. But it is gone, as
/// after its time to live, so the ConfigMap is lost.
fn job_is_gone(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let job = |annotations: &str| {
        format!(
            "---
apiVersion: batch/v1
kind: Job
metadata: {{name: migrate, annotations: {{{annotations}}}}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: job, image: job}}]
"
        )
    };
    let web = ["---", &deployment("", "web")].concat();
    // Helm 3 has no other way to apply.
    let flags = match helm {
        HelmVersion::V3 => &[][..],
        HelmVersion::V4 => &["--server-side=false"][..],
    };
    let before = [config("", "one"), web.clone(), job("")].concat();
    upgrade_with(case, helm, "1.0.0", &before, flags)?.success()?;
    case.kubectl(&["delete", "job", "migrate"])?.success()?;

    let hook = "helm.sh/hook: pre-upgrade";
    let after = [
        config(hook, "two"),
        web,
        job(&format!(
            "{hook}, helm.sh/hook-delete-policy: hook-succeeded"
        )),
    ]
    .concat();
    let rejected = upgrade_with(case, helm, "2.0.0", &after, flags)?.failure()?;

    let trap = "hook-pruned: ConfigMap app-config";
    ensure!(rejected.stderr.contains(trap), "{rejected}");
    assert_config(case, "one")
}
