//! Seed 003: the hook trap is rejected and nothing is lost. Each way out in the message works.

use anyhow::{Result, ensure};
use cluster_tests::{Case, HelmVersion, Output, Suite};
use serde_json::{Value, json};

use crate::app::{PRE_UPGRADE, config, deployment};
use crate::guard::Guard;

const KEPT: &str =
    r#""helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/resource-policy": "keep""#;

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: the trap is rejected and nothing changes"),
            move |case| rejected(case, helm, &[]),
        );
        suite.case(
            format!("{helm}: the trap is rejected with releases in ConfigMaps"),
            move |case| rejected(case, helm, &[("HELM_DRIVER", "configmap")]),
        );
        suite.case(
            format!("{helm}: the trap is rejected with --no-hooks"),
            move |case| no_hooks(case, helm),
        );
        suite.case(
            format!("{helm}: the second line stops the deletion by itself"),
            move |case| second_line(case, helm),
        );
        suite.case(
            format!("{helm}: the second line finds a record in another namespace"),
            move |case| second_line_elsewhere(case, helm),
        );
        suite.case(
            format!("{helm}: way out, keep it a regular resource"),
            move |case| way_out(case, helm, json!({}), "", &[]),
        );
        suite.case(format!("{helm}: way out, keep the hook"), move |case| {
            way_out(case, helm, json!({}), KEPT, &[])
        });
        suite.case(format!("{helm}: way out, rescue"), move |case| {
            way_out(case, helm, rescue(), PRE_UPGRADE, &[])
        });
        suite.case(
            format!("{helm}: what the policy does not annotate is rejected in spite of rescue"),
            move |case| not_rescued(case, helm),
        );
        suite.case(
            format!("{helm}: the bypass label allows one revision"),
            move |case| bypass(case, helm),
        );
        suite.case(
            format!("{helm}: a disabled bypass allows nothing"),
            move |case| {
                let settings = json!({"releaseGuard": {"bypass": false}});
                let guard = installed(case, helm, settings, &[])?;
                let hook = case.chart("2.0.0", &[("all.yaml", &chart(PRE_UPGRADE, "two"))])?;
                let label = [
                    "upgrade",
                    "app",
                    hook.as_str(),
                    "--labels",
                    "rollout-guard/allow-revision=2",
                ];
                let upgrade = case.helm(helm, &label)?.failure()?;
                ensure!(
                    upgrade.stderr.contains("hook-pruned: ConfigMap app-config"),
                    "{upgrade}"
                );
                ensure!(!upgrade.stderr.contains("allow-revision"), "{upgrade}");
                drop(guard);
                Ok(())
            },
        );
    }
}

fn rescue() -> Value {
    json!({"releaseGuard": {"hookRequests": true, "findings": {"hook-pruned": "rescue"}}})
}

pub(crate) fn chart(annotations: &str, value: &str) -> String {
    format!("{}---{}", config(annotations, value), deployment("", "web"))
}

fn installed<'a>(
    case: &Case<'a>,
    helm: HelmVersion,
    settings: Value,
    env: &[(&str, &str)],
) -> Result<Guard<'a>> {
    let guard = Guard::new(case, settings)?;
    let regular = case.chart("1.0.0", &[("all.yaml", &chart("", "one"))])?;
    run(case, helm, &["install", "app", &regular], env)?.success()?;
    Ok(guard)
}

fn run(
    case: &Case<'_>,
    helm: HelmVersion,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Result<Output> {
    let mut command = case.cluster.helm_command(helm, cluster_tests::User::Admin);
    command
        .args(arguments)
        .args(["--namespace", &case.namespace])
        .envs(env.iter().copied());
    case.cluster.run(&mut command)
}

fn rejected(case: &Case<'_>, helm: HelmVersion, env: &[(&str, &str)]) -> Result<()> {
    let guard = installed(case, helm, json!({}), env)?;
    let before = case.cluster.snapshot(&case.namespace)?;

    let hook = case.chart("2.0.0", &[("all.yaml", &chart(PRE_UPGRADE, "two"))])?;
    let upgrade = run(case, helm, &["upgrade", "app", &hook], env)?.failure()?;
    for part in [
        "UPGRADE FAILED",
        "hook-pruned: ConfigMap app-config",
        "Deployment web",
        "Nothing was changed",
    ] {
        ensure!(upgrade.stderr.contains(part), "no {part:?} in {upgrade}");
    }
    let after = case.cluster.snapshot(&case.namespace)?;
    let changes = before.changes(&after);
    ensure!(changes.is_empty(), "{changes:?}");

    let next = case.chart("3.0.0", &[("all.yaml", &chart("", "three"))])?;
    run(case, helm, &["upgrade", "app", &next], env)?.success()?;
    assert_config(case, "three")?;
    if let Some(decisions) = guard.decisions() {
        ensure!(
            decisions
                .iter()
                .filter(|decision| !decision.allowed)
                .count()
                == 1
        );
    }
    Ok(())
}

/// The object would be lost too: Helm prunes it, and no hook creates it.
fn no_hooks(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = installed(case, helm, json!({}), &[])?;
    let before = case.cluster.snapshot(&case.namespace)?;
    let hook = case.chart("2.0.0", &[("all.yaml", &chart(PRE_UPGRADE, "two"))])?;
    let upgrade = ["upgrade", "app", hook.as_str(), "--no-hooks"];
    let rejected = case.helm(helm, &upgrade)?.failure()?;
    ensure!(
        rejected
            .stderr
            .contains("hook-pruned: ConfigMap app-config"),
        "{rejected}"
    );
    let changes = before.changes(&case.cluster.snapshot(&case.namespace)?);
    ensure!(changes.is_empty(), "{changes:?}");

    drop(guard);
    case.helm(helm, &upgrade)?.success()?;
    case.kubectl(&["get", "configmap", "app-config"])?
        .failure()?;
    Ok(())
}

/// The policy starts after Helm has written its record. The first further request of Helm is rejected.
fn second_line(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::second_line(case)?;
    let regular = case.chart("1.0.0", &[("all.yaml", &chart("", "one"))])?;
    case.helm(helm, &["install", "app", &regular])?.success()?;
    let hook = case.chart("2.0.0", &[("all.yaml", &chart(PRE_UPGRADE, "two"))])?;
    let upgrade = case.helm(helm, &["upgrade", "app", &hook])?.failure()?;
    for part in [
        "hook-pruned: ConfigMap app-config",
        "The upgrade is already running; only this request was stopped.",
    ] {
        ensure!(upgrade.stderr.contains(part), "no {part:?} in {upgrade}");
    }
    assert_config(case, "one")?;

    let next = case.chart("3.0.0", &[("all.yaml", &chart("", "three"))])?;
    case.helm(helm, &["upgrade", "app", &next])?.success()?;
    assert_config(case, "three")
}

/// The objects name their namespace, and the record is in another one, as with Flux.
fn second_line_elsewhere(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::second_line(case)?;
    let records = format!("{}-records", case.namespace);
    case.cluster.create_namespace(&records)?;
    let upgrade = |version: &str, annotations: &str| {
        let metadata = format!("\nmetadata:\n  namespace: {}\n", case.namespace);
        let templates = chart(annotations, version).replace("\nmetadata:\n", &metadata);
        let chart = case.chart(version, &[("all.yaml", &templates)])?;
        let arguments = ["upgrade", "--install", "app", &chart];
        let namespace = ["--namespace", &records];
        case.cluster
            .helm(helm, arguments.into_iter().chain(namespace))
    };
    upgrade("1.0.0", "")?.success()?;

    let rejected = upgrade("2.0.0", PRE_UPGRADE)?.failure()?;

    for part in [
        "hook-pruned: ConfigMap app-config",
        "The upgrade is already running; only this request was stopped.",
        &format!(
            "kubectl label -n {records} secret sh.helm.release.v1.app.v1 rollout-guard/allow-revision=2"
        ),
    ] {
        ensure!(rejected.stderr.contains(part), "no {part:?} in {rejected}");
    }
    assert_config(case, "1.0.0")?;
    upgrade("3.0.0", "")?.success()?;
    assert_config(case, "3.0.0")
}

/// Of three regular resources that become hooks, the policy would keep the ConfigMap alone.
fn not_rescued(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = Guard::new(case, rescue())?;
    let upgrade = |version: &str, on_config: &str, on_others: &str| {
        let web = deployment(on_others, "web");
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{on_others}}}}}\n\
             spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}\n"
        );
        let templates = [config(on_config, version), web, service].join("---\n");
        let chart = case.chart(version, &[("all.yaml", &templates)])?;
        case.helm(helm, &["upgrade", "--install", "app", &chart])
    };
    upgrade("1.0.0", "", "")?.success()?;
    let before = case.cluster.snapshot(&case.namespace)?;

    let rejected = upgrade("2.0.0", PRE_UPGRADE, PRE_UPGRADE)?.failure()?;
    for part in [
        "hook-pruned: Deployment web",
        "hook-pruned: Service web",
        "kept by this policy (not with --no-hooks): hook-pruned: ConfigMap app-config",
        "Nothing was changed",
    ] {
        ensure!(rejected.stderr.contains(part), "no {part:?} in {rejected}");
    }
    let changes = before.changes(&case.cluster.snapshot(&case.namespace)?);
    ensure!(changes.is_empty(), "{changes:?}");

    upgrade("2.0.0", PRE_UPGRADE, "")?.success()?;
    assert_config(case, "2.0.0")?;

    guard.remove()?;
    upgrade("3.0.0", PRE_UPGRADE, PRE_UPGRADE)?.success()?;
    for lost in ["deployment", "service"] {
        case.kubectl(&["get", lost, "web"])?.failure()?;
    }
    Ok(())
}

/// The upgrade is accepted and the ConfigMap exists, also after the next upgrade and after a rollback.
fn way_out(
    case: &Case<'_>,
    helm: HelmVersion,
    settings: Value,
    annotations: &str,
    env: &[(&str, &str)],
) -> Result<()> {
    let _guard = installed(case, helm, settings, env)?;
    for (version, value) in [("2.0.0", "two"), ("3.0.0", "three")] {
        let chart = case.chart(version, &[("all.yaml", &chart(annotations, value))])?;
        case.helm(helm, &["upgrade", "app", &chart])?.success()?;
        assert_config(case, value)?;
    }
    case.helm(helm, &["rollback", "app", "1"])?.success()?;
    assert_config(case, "one")
}

/// The user asks for it: the object is lost. The label does not allow the next revision.
fn bypass(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = installed(case, helm, json!({}), &[])?;
    let hook = case.chart("2.0.0", &[("all.yaml", &chart(PRE_UPGRADE, "two"))])?;
    let upgrade = case
        .helm(
            helm,
            &[
                "upgrade",
                "app",
                &hook,
                "--labels",
                "rollout-guard/allow-revision=2",
            ],
        )?
        .success()?;
    ensure!(
        upgrade.stderr.contains("hook-pruned: ConfigMap app-config"),
        "{upgrade}"
    );
    if let Some(decisions) = guard.decisions() {
        let mut audits = decisions.iter().map(|decision| &decision.audit_annotations);
        let audited = audits.any(|audit| audit.contains_key("release-bypass"));
        ensure!(audited, "the bypass is not in the audit annotations");
    }

    let regular = case.chart("3.0.0", &[("all.yaml", &chart("", "three"))])?;
    case.helm(helm, &["upgrade", "app", &regular])?.success()?;
    let again = case.helm(helm, &["upgrade", "app", &hook])?.failure()?;
    ensure!(again.stderr.contains("hook-pruned"), "{again}");
    assert_config(case, "three")
}

pub(crate) fn assert_config(case: &Case<'_>, value: &str) -> Result<()> {
    let found = case
        .kubectl(&[
            "get",
            "configmap",
            "app-config",
            "-o",
            "jsonpath={.data.setting}",
        ])?
        .success()?;
    ensure!(found.stdout == value, "{found}");
    Ok(())
}
