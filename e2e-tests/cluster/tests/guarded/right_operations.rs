//! Operations that are right although they look like a loss: they pass, with a warning where something is not known. And
//! some that are wrong although they look right.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{AuditMark, Case, FAIL_ANNOTATION, HelmVersion, Output, Suite, wait_until};
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
        suite.case(
            format!("{helm}: a custom kind may drop its ServiceAccount"),
            move |case| account_of_custom_kind(case, helm),
        );
        suite.case(
            format!("{helm}: config that no running pods need may leave the chart"),
            move |case| nobody_runs(case, helm),
        );
        suite.case(
            format!("{helm}: a hook that an interrupted upgrade has left behind is reported"),
            move |case| hook_is_left(case, helm),
        );
        suite.case(
            format!("{helm}: a hook that lists its event 400 times is judged in time"),
            move |case| hook_runs_often(case, helm),
        );
    }
}

pub(crate) fn upgrade(
    case: &Case<'_>,
    helm: HelmVersion,
    version: &str,
    chart: &str,
) -> Result<Output> {
    upgrade_with(case, helm, version, chart, &[])
}

pub(crate) fn upgrade_with(
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
    assert_says(&output.success()?, parts)
}

/// It fails, and says so much.
pub(crate) fn assert_rejected(output: Output, parts: &[&str]) -> Result<()> {
    assert_says(&output.failure()?, parts)
}

fn assert_says(output: &Output, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(output.stderr.contains(part), "no {part:?} in {output}");
    }
    Ok(())
}

/// Flags for client-side apply. Helm 3 has no other way, and no such flag.
fn client_side(helm: HelmVersion) -> &'static [&'static str] {
    match helm {
        HelmVersion::V3 => &[],
        HelmVersion::V4 => &["--server-side=false"],
    }
}

pub(crate) fn failing_job(event: &str) -> String {
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
    let hook = "helm.sh/hook: 'pre-install,pre-upgrade'";
    interrupted(case, || upgrade(case, helm, "2.0.0", &chart(hook, "two")))?;
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

/// Makes the records of revision 1 and 2 look as if the client had been killed during this upgrade.
fn interrupted(case: &Case<'_>, upgrade: impl FnOnce() -> Result<Output>) -> Result<()> {
    let first = record(case, 1)?;
    let mark = case.cluster.audit_mark()?;
    upgrade()?.success()?;
    for record in [first, created_record(case, mark)?] {
        let record = record.to_string();
        let replaced = case
            .cluster
            .kubectl_with(&case.namespace, &["replace"], &record)?;
        replaced.success()?;
    }
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
    let flags = client_side(helm);
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

/// Defines a kind of custom resources, `GROUP/VERSION/KIND`, with any content. `subresources` is YAML.
pub(crate) fn define_kind(
    case: &Case<'_>,
    name: &str,
    plural: &str,
    subresources: &str,
) -> Result<()> {
    let mut parts = name.splitn(3, '/');
    let mut part = || parts.next().with_context(|| name.to_owned());
    let (group, version, kind) = (part()?, part()?, part()?);
    let singular = kind.to_lowercase();
    let scope = match kind.starts_with("Cluster") {
        true => "Cluster",
        false => "Namespaced",
    };
    let definition = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: {scope}
  names: {{kind: {kind}, listKind: {kind}List, plural: {plural}, singular: {singular}}}
  versions:
    - name: {version}
      served: true
      storage: true
      subresources: {{{subresources}}}
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    );
    case.cluster
        .apply(&case.namespace, &definition)?
        .success()?;
    let definition = format!("crd/{plural}.{group}");
    let established = "--for=condition=Established";
    case.kubectl(&["wait", established, "--timeout=60s", &definition])?
        .success()?;
    Ok(())
}

/// Defines `Rollout` of `GROUP/v1`, a workload that no controller knows. Returns what kubectl calls it: other cases have Rollouts too.
pub(crate) fn define_rollouts(case: &Case<'_>, group: &str) -> Result<String> {
    define_kind(
        case,
        &format!("{group}/v1/Rollout"),
        "rollouts",
        "status: {}",
    )?;
    let resource = format!("rollouts.{group}");
    wait_until("the kind is served", Duration::from_secs(60), || {
        let found = case.kubectl(&["get", &resource])?;
        Ok(found.status.success().then_some(()))
    })?;
    Ok(resource)
}

/// Only in the kinds of Kubernetes itself does the API server keep the name.
fn account_of_custom_kind(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let group = format!("{}.example.com", case.namespace);
    let rollouts = define_rollouts(case, &group)?;
    let rollout = |pods: &str| {
        let web = web(pods).replace("apps/v1", &format!("{group}/v1"));
        web.replace("kind: Deployment", "kind: Rollout")
    };
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner}\n";
    let before = rollout("serviceAccountName: runner, containers: [{name: web, image: web}]");
    upgrade(case, helm, "1.0.0", &[account, &before].concat())?.success()?;

    let after = rollout("containers: [{name: web, image: web}]");
    let upgraded = upgrade(case, helm, "2.0.0", &after)?.success()?;

    ensure!(!upgraded.stderr.contains("rollout-guard"), "{upgraded}");
    let pods = "jsonpath={.spec.template.spec}";
    let live = case.kubectl(&["get", &rollouts, "web", "-o", pods])?;
    let live = live.success()?;
    ensure!(!live.stdout.contains("runner"), "{live}");
    Ok(())
}

fn nobody_runs(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let workloads = |replicas: u32| {
        let pod =
            "containers: [{name: app, image: app, envFrom: [{configMapRef: {name: app-config}}]}]";
        let runs_once = format!("template: {{spec: {{restartPolicy: Never, {pod}}}}}");
        format!(
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{{pod}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: report}}
spec: {{schedule: '0 0 * * *', suspend: true, jobTemplate: {{spec: {{{runs_once}}}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: seed}}
spec: {{{runs_once}}}
"
        )
    };
    let before = [config("", "one"), workloads(1)].concat();
    upgrade(case, helm, "1.0.0", &before)?.success()?;

    let loss = "dangling-reference: ConfigMap app-config";
    assert_rejected(upgrade(case, helm, "2.0.0", &workloads(1))?, &[loss])?;
    let warning = [
        loss,
        "could not start (no pods of them run now). Needed by: Deployment web, Job seed, CronJob report",
    ];
    assert_warned(upgrade(case, helm, "2.0.0", &workloads(0))?, &warning)
}

/// A client that is killed while hooks run leaves them behind. No revision that counts has ever had this one.
fn hook_is_left(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let flags = client_side(helm);
    let setup = |policies: &str| {
        format!(
            "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: setup, annotations: {{helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: '{policies}'}}}}
"
        )
    };
    let with = |setup: &str, value: &str| [chart("", value).as_str(), setup].concat();
    let hook = setup("hook-succeeded");
    upgrade_with(case, helm, "1.0.0", &chart("", "one"), flags)?.success()?;
    interrupted(case, || {
        upgrade_with(case, helm, "2.0.0", &with(&hook, "two"), flags)
    })?;
    case.cluster.apply(&case.namespace, &hook)?.success()?;
    let _guard = Guard::new(case, json!({}))?;
    case.helm(helm, &["rollback", "app", "1"])?.success()?;

    let failed = upgrade_with(case, helm, "4.0.0", &with(&hook, "four"), flags)?;

    let warning = [
        "hook-conflict: ConfigMap setup already exists",
        "How to fix it: add before-hook-creation to its helm.sh/hook-delete-policy",
        // From Helm itself.
        "\"setup\" already exists",
    ];
    assert_rejected(failed, &warning)?;
    let mended = setup("before-hook-creation,hook-succeeded");
    upgrade_with(case, helm, "5.0.0", &with(&mended, "five"), flags)?.success()?;
    assert_config(case, "five")
}

/// Helm itself would take minutes, so it is told not to run hooks. The record does not tell.
fn hook_runs_often(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let hook = |names: &[String]| {
        let events = vec!["pre-upgrade"; 400].join(",");
        let objects: Vec<_> = names
            .iter()
            .map(
                |name| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}),
            )
            .collect();
        let list = json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"annotations": {"helm.sh/hook": events}}, "items": objects,
        });
        format!("---\n{list}\n")
    };
    let names = |count: usize| (0..count).map(|n| format!("setup-{n}")).collect::<Vec<_>>();
    let web = ["---", &deployment("", "web")].concat();
    let upgrade = |version: &str, regular: &str, hook: &str| {
        let chart = [regular, web.as_str(), hook].concat();
        upgrade_with(case, helm, version, &chart, &["--no-hooks"])
    };
    let regular = config("", "one");
    upgrade("1.0.0", &regular, "")?.success()?;

    let mut trap = names(10);
    trap.push("app-config".to_owned());
    let lost = [
        "hook-pruned: ConfigMap app-config",
        "Needed by: Deployment web",
    ];
    assert_rejected(upgrade("2.0.0", "", &hook(&trap))?, &lost)?;
    let too_many = [
        "cannot be judged: the hooks of revision 2 create more than 20000 objects. Nothing was changed",
        "helm upgrade --labels rollout-guard/allow-revision=2",
    ];
    assert_rejected(upgrade("2.0.0", &regular, &hook(&names(300)))?, &too_many)?;
    upgrade("2.0.0", &regular, &hook(&names(10)))?.success()?;
    assert_config(case, "one")
}
