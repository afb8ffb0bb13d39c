//! `rollout-guard-check` on live releases, by itself and as a Helm plugin.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Output, Suite, User, wait_until, workspace_program};
use serde_json::{Value, json};

use crate::example_policy::example;
use crate::guard::Guard;
use crate::hook_trap::chart;
use crate::rollouts::send_empty_patch;

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: rollout-guard-check reports the trap before the upgrade"),
            move |case| upgrade(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check reports a rollback that loses config"),
            move |case| rollback(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check looks at live objects"),
            move |case| live_objects(case, helm),
        );
        suite.case(
            format!("{helm}: what rollout-guard-check says of a cluster comes true"),
            move |case| cluster(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check tells which Deployments were not rolled out since a config changed"),
            move |case| outdated(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check tells which pods run an older config, and which keys are missing"),
            move |case| recorded(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check compares two versions of a chart"),
            move |case| versions(case, helm),
        );
        suite.case(
            format!("{helm}: rollout-guard-check runs as a Helm plugin"),
            move |case| plugin(case, helm),
        );
    }
}

fn program() -> Result<PathBuf> {
    workspace_program("rollout-guard-check")
}

/// Runs the program. `flags` are passed on to Helm.
pub(crate) fn check(
    case: &Case<'_>,
    helm: HelmVersion,
    arguments: &[&str],
    flags: &[&str],
) -> Result<Output> {
    // The environment is the same as for Helm.
    let helm = case.cluster.helm_command(helm, User::Admin);
    let mut command = std::process::Command::new(program()?);
    command
        .env_clear()
        .envs(
            helm.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .env("HELM_BIN", helm.get_program())
        .env("KUBECTL", kubectl(case))
        .args(arguments)
        .args(["--namespace", &case.namespace]);
    if !flags.is_empty() {
        command.arg("--").args(flags);
    }
    case.cluster.run(&mut command)
}

/// The kubectl of the tests, which is in no `PATH`.
fn kubectl(case: &Case<'_>) -> OsString {
    let command = case.cluster.kubectl_command(User::Admin);
    command.get_program().to_owned()
}

fn upgrade(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let chart = example("charts/hook-trap");
    let chart = chart.to_str().context("not UTF-8")?;
    let install = check(case, helm, &["upgrade", "yahoo", chart], &[])?.success()?;
    let title = "helm install of release yahoo in namespace";
    ensure!(install.stdout.starts_with(title), "{install}");
    case.helm(helm, &["install", "yahoo", chart])?.success()?;
    let before = case.cluster.snapshot(&case.namespace)?;

    let report = check(
        case,
        helm,
        &["upgrade", "yahoo", chart],
        &["--set", "hook=true"],
    )?;

    ensure!(report.status.code() == Some(1), "{report}");
    for part in [
        "from revision 1 to 2",
        "delete ConfigMap basic-app-config, ",
        "reject hook-pruned: ConfigMap basic-app-config is a regular resource in revision 1",
        "Needed by: Deployment yahoo-basic-app.",
        "1 rejected, 0 warnings.",
    ] {
        ensure!(report.stdout.contains(part), "no {part:?} in {report}");
    }
    let changes = before.changes(&case.cluster.snapshot(&case.namespace)?);
    ensure!(changes.is_empty(), "{changes:?}");
    let same = ["upgrade", "yahoo", chart, "--output", "json"];
    let fine = check(case, helm, &same, &[])?.success()?;
    let fine: Value = serde_json::from_str(&fine.stdout)?;
    ensure!(fine.get("rejected") == Some(&Value::Bool(false)), "{fine}");
    Ok(())
}

fn rollback(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let hook = case.chart(
        "1.0.0",
        &[("all.yaml", &chart("helm.sh/hook: pre-install", "one"))],
    )?;
    case.helm(helm, &["install", "app", &hook])?.success()?;
    let regular = case.chart("2.0.0", &[("all.yaml", &chart("", "two"))])?;
    let flags = ["upgrade", "app", &regular, "--take-ownership"];
    case.helm(helm, &flags)?.success()?;

    let report = check(case, helm, &["rollback", "app", "1"], &[])?;

    ensure!(report.status.code() == Some(1), "{report}");
    for part in [
        "helm rollback of release app",
        "from revision 2 to 3",
        "reject hook-pruned: ConfigMap app-config",
    ] {
        ensure!(report.stdout.contains(part), "no {part:?} in {report}");
    }
    Ok(())
}

/// Somebody has annotated or deleted the object that leaves the release: nothing is lost that a manifest could tell of.
fn live_objects(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let all = chart("", "one");
    let with = case.chart("1.0.0", &[("all.yaml", &all)])?;
    case.helm(helm, &["install", "app", &with])?.success()?;
    let web: Vec<_> = all
        .split("---\n")
        .filter(|document| document.contains("kind: Deployment"))
        .collect();
    let without = case.chart("2.0.0", &[("all.yaml", &web.join("---\n"))])?;
    let report = || check(case, helm, &["upgrade", "app", &without], &[]);

    let lost = report()?.failure()?;
    let expected = "reject dangling-reference: ConfigMap app-config";
    ensure!(lost.stdout.contains(expected), "{lost}");
    let annotation = "helm.sh/resource-policy=keep";
    case.kubectl(&["annotate", "configmap", "app-config", annotation])?
        .success()?;
    let kept = report()?.success()?;
    ensure!(kept.stdout.contains("keep ConfigMap app-config"), "{kept}");
    ensure!(kept.stderr.is_empty(), "{kept}");
    case.kubectl(&["delete", "configmap", "app-config"])?
        .success()?;
    let gone = report()?.success()?;
    ensure!(gone.stdout.contains("No findings"), "{gone}");
    Ok(())
}

/// Three releases, each in a namespace of its own: one that has lost its config, one that can go back, one that cannot. Each claim is
/// checked by doing it.
fn cluster(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let hook = "helm.sh/hook: 'pre-install,pre-upgrade'";
    let only_installed = "helm.sh/hook: pre-install";
    let histories: [(&str, &[&str]); 3] = [
        ("lost", &["", hook]),
        ("fine", &["", "", ""]),
        ("no way back", &[only_installed, ""]),
    ];
    for (number, (name, history)) in histories.into_iter().enumerate() {
        let case = case.again(number)?;
        for (index, annotations) in history.iter().enumerate() {
            let version = format!("{}.0.0", index + 1);
            let chart = case.chart(&version, &[("all.yaml", &chart(annotations, &version))])?;
            let upgrade = ["upgrade", "--install", "app", &chart, "--take-ownership"];
            case.helm(helm, &upgrade)?.success()?;
        }
        let report = check(&case, helm, &["cluster", "--output", "json"], &[])?;
        let report: Value =
            serde_json::from_str(&report.stdout).with_context(|| report.to_string())?;

        let exists = || {
            Ok::<_, anyhow::Error>(
                case.kubectl(&["get", "configmap", "app-config"])?
                    .status
                    .success(),
            )
        };
        let missing = report.pointer("/missing/0");
        ensure!(missing.is_some() != exists()?, "{name}: {report}");
        if let Some(missing) = missing {
            let removed_by = missing
                .pointer("/removedBy/revision")
                .and_then(Value::as_u64);
            ensure!(removed_by == Some(2), "{report}");
        }
        let rollbacks = report
            .pointer("/releases/0/rollbacks")
            .and_then(Value::as_array);
        let rollbacks = rollbacks.context("no rollbacks")?;
        ensure!(rollbacks.len() == history.len() - 1, "{name}: {report}");
        // The newest one alone: a rollback changes what the others begin with.
        let first = rollbacks.first().context("no rollback")?;
        let to = first
            .get("to")
            .and_then(Value::as_u64)
            .context("no revision")?;
        case.helm(helm, &["rollback", "app", &to.to_string()])?
            .success()?;
        let is_rejected = first.get("rejected") == Some(&Value::Bool(true));
        ensure!(is_rejected != exists()?, "{name}: {report}");
    }
    Ok(())
}

/// Kubernetes counts in seconds, so the config is written until that can be seen.
fn outdated(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let chart = case.chart("1.0.0", &[("all.yaml", &chart("", "one"))])?;
    case.helm(helm, &["install", "app", &chart])?.success()?;
    let outdated = || {
        let report = check(case, helm, &["cluster", "--output", "json"], &[])?.success()?;
        let report: Value = serde_json::from_str(&report.stdout)?;
        let config = report.pointer("/outdated/0/config").cloned();
        Ok::<_, anyhow::Error>(config)
    };
    let mut edits = 0;
    wait_until(
        "the Deployment is outdated",
        Duration::from_secs(60),
        || {
            edits += 1;
            let patch = format!(r#"{{"data": {{"setting": "{edits}"}}}}"#);
            case.kubectl(&["patch", "configmap", "app-config", "--patch", &patch])?
                .success()?;
            Ok((outdated()? == Some("ConfigMap app-config".into())).then_some(()))
        },
    )?;
    case.kubectl(&["rollout", "restart", "deployment/web"])?
        .success()?;
    wait_until("it is rolled out", Duration::from_secs(60), || {
        Ok(outdated()?.is_none().then_some(()))
    })
}

/// The policy keeps a record, so the digests tell, whatever the clocks say.
fn recorded(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let one_key =
        "env: [{name: SETTING, valueFrom: {configMapKeyRef: {name: app-config, key: setting}}}]";
    let all = chart("", "one").replace("envFrom: [{configMapRef: {name: app-config}}]", one_key);
    let chart = case.chart("1.0.0", &[("all.yaml", &all)])?;
    case.helm(helm, &["install", "app", &chart])?.success()?;
    let edit = |patch: &Value| {
        let patch = patch.to_string();
        case.kubectl(&["patch", "configmap", "app-config", "--patch", &patch])?
            .success()
    };
    let found = |list: &str| {
        let report = check(case, helm, &["cluster", "--output", "json"], &[])?;
        let report: Value =
            serde_json::from_str(&report.stdout).with_context(|| report.to_string())?;
        let list = report.pointer(list).and_then(Value::as_array).cloned();
        list.context("no such list")
    };
    ensure!(found("/outdated")?.is_empty());
    ensure!(found("/missing")?.is_empty());

    edit(&json!({"metadata": {"labels": {"a": "b"}}, "data": {"other": "key"}}))?;
    ensure!(found("/outdated")?.is_empty(), "another key");
    edit(&json!({"data": {"setting": "two"}}))?;
    let outdated = found("/outdated")?;
    let expected = json!([{
        "namespace": case.namespace, "workload": "Deployment web", "config": "ConfigMap app-config", "evidence": "record",
        "written": null, "rolledOut": null,
    }]);
    ensure!(Value::from(outdated.clone()) == expected, "{outdated:?}");
    send_empty_patch(case, "deployment/web")?;
    ensure!(found("/outdated")?.is_empty(), "it was rolled out");

    edit(&json!({"data": {"setting": null}}))?;
    let missing = found("/missing")?;
    let key = missing.first().and_then(|missing| missing.get("key"));
    ensure!(
        key == Some(&json!("setting")) && missing.len() == 1,
        "{missing:?}"
    );
    Ok(())
}

/// With the helm of the tests, and the archive that it makes.
fn versions(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let old = case.chart("1.0.0", &[("all.yaml", &chart("", "one"))])?;
    let hook = chart("helm.sh/hook: pre-upgrade", "two");
    let new = case.chart("2.0.0", &[("all.yaml", &hook)])?;
    let report = check(case, helm, &["chart", &old, &new], &[])?.failure()?;
    let expected = "reject hook-pruned: ConfigMap app-config is a regular resource";
    ensure!(report.stdout.contains(expected), "{report}");
    let place = format!("In: {new}/templates/all.yaml:3");
    ensure!(report.stdout.contains(&place), "no {place:?} in {report}");

    let folder = tempfile::tempdir()?;
    let archive = |chart: &str, version: &str| -> Result<String> {
        let destination = format!("--destination={}", folder.path().display());
        case.helm(helm, &["package", chart, &destination])?
            .success()?;
        let name = format!("app-{version}.tgz");
        Ok(folder.path().join(name).display().to_string())
    };
    let (old, new) = (archive(&old, "1.0.0")?, archive(&new, "2.0.0")?);
    let report = check(case, helm, &["chart", &old, &new], &["--set", "a=b"])?.failure()?;
    ensure!(report.stdout.contains(expected), "{report}");
    let same = check(case, helm, &["chart", &new, &new], &[])?.success()?;
    ensure!(same.stdout.contains("No findings"), "{same}");
    Ok(())
}

fn plugin(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plugin = folder.path().join("rollout-guard");
    fs::create_dir(&plugin)?;
    let about = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../check/plugin.yaml");
    fs::copy(about, plugin.join("plugin.yaml"))?;
    fs::copy(program()?, plugin.join("rollout-guard-check"))?;
    let chart = example("charts/hook-trap");
    let chart = chart.to_str().context("not UTF-8")?;
    case.helm(helm, &["install", "yahoo", chart])?.success()?;

    let mut command = case.cluster.helm_command(helm, User::Admin);
    command
        .env("HELM_PLUGINS", folder.path())
        .env("KUBECTL", kubectl(case))
        .args(["rollout-guard", "upgrade", "yahoo", chart])
        .args(["--namespace", &case.namespace, "--", "--set", "hook=true"]);
    let report = case.cluster.run(&mut command)?.failure()?;

    let expected = "reject hook-pruned: ConfigMap basic-app-config";
    ensure!(report.stdout.contains(expected), "{report}");
    Ok(())
}
