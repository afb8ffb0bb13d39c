//! Seeds 001 and 002: harmless hooks are accepted, and removing a config that pods need is rejected.

use anyhow::{Result, ensure};
use cluster_tests::{Case, HelmVersion, Suite};
use serde_json::json;

use crate::guard::Guard;
use crate::hook_trap::assert_config;

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: seed 001, a job that waits before the upgrade is accepted"),
            move |case| waits(case, helm),
        );
        suite.case(
            format!("{helm}: seed 002, a preflight job with its own helpers is accepted"),
            move |case| preflight(case, helm),
        );
        suite.case(
            format!("{helm}: seed 002, removing config that is still used is rejected"),
            move |case| removal(case, helm),
        );
        suite.case(format!("{helm}: seed 002, removing an application with its config is accepted, and so is the rollback"), move |case| {
            whole_removal(case, helm)
        });
        suite.case(
            format!(
                "{helm}: a rollback that loses config is rejected, and accepted with the label"
            ),
            move |case| rollback(case, helm),
        );
    }
}

fn config(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{setting: one}}\n"
    )
}

fn deployment(name: &str, config: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: web, image: web, envFrom: [{{configMapRef: {{name: {config}}}}}]}}]
"
    )
}

fn hook_job(name: &str, service_account: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, annotations: {{helm.sh/hook: pre-upgrade}}}}
spec:
  template:
    spec:
      restartPolicy: Never
      serviceAccountName: {service_account}
      containers: [{{name: job, image: job}}]
"
    )
}

fn upgrade(
    case: &Case<'_>,
    helm: HelmVersion,
    version: &str,
    chart: &str,
    flags: &[&str],
) -> Result<cluster_tests::Output> {
    let chart = case.chart(version, &[("all.yaml", chart)])?;
    let arguments = ["upgrade", "--install", "app", chart.as_str()];
    case.helm(helm, &[&arguments, flags].concat())
}

fn waits(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = Guard::new(case, json!({}))?;
    let chart = [
        config("app-config"),
        deployment("web", "app-config"),
        hook_job("wait", "default"),
    ]
    .concat();
    upgrade(case, helm, "1.0.0", &chart, &[])?.success()?;
    upgrade(case, helm, "2.0.0", &chart, &["--timeout", "60s"])?.success()?;
    upgrade(case, helm, "3.0.0", &chart, &["--no-hooks"])?.success()?;
    ensure!(guard.rejected_nothing());
    assert_config(case, "one")
}

/// The ServiceAccount is a regular resource at first, and then only a helper of the migration job. Helm prunes it after
/// the job, which is harmless.
fn preflight(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let account = |annotations: &str| {
        format!(
            "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: migration, annotations: {{{annotations}}}}}\n"
        )
    };
    let app = [config("app-config"), deployment("web", "app-config")].concat();
    upgrade(
        case,
        helm,
        "1.0.0",
        &[app.clone(), account("")].concat(),
        &[],
    )?
    .success()?;
    let helper = account("helm.sh/hook: pre-upgrade, helm.sh/hook-weight: \"-1\"");
    let migration = [app, helper, hook_job("migrate", "migration")].concat();
    let upgraded = upgrade(case, helm, "2.0.0", &migration, &[])?.success()?;
    ensure!(
        upgraded
            .stderr
            .contains("hook-helper-pruned: ServiceAccount migration"),
        "{upgraded}"
    );
    assert_config(case, "one")
}

fn removal(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let web = deployment("web", "app-config");
    upgrade(
        case,
        helm,
        "1.0.0",
        &[config("app-config"), web.clone()].concat(),
        &[],
    )?
    .success()?;
    let before = case.cluster.snapshot(&case.namespace)?;

    let rejected = upgrade(case, helm, "2.0.0", &web, &[])?.failure()?;
    for part in [
        "dangling-reference: ConfigMap app-config",
        "Deployment web",
        "Nothing was changed",
    ] {
        ensure!(rejected.stderr.contains(part), "no {part:?} in {rejected}");
    }
    ensure!(
        before
            .changes(&case.cluster.snapshot(&case.namespace)?)
            .is_empty()
    );

    // The way out for an object that no hook recreates: annotate the live object, and Helm keeps it.
    case.kubectl(&[
        "annotate",
        "configmap",
        "app-config",
        "helm.sh/resource-policy=keep",
    ])?
    .success()?;
    upgrade(case, helm, "2.0.0", &web, &[])?.success()?;
    assert_config(case, "one")
}

fn whole_removal(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = Guard::new(case, json!({}))?;
    let app = [config("app-config"), deployment("web", "app-config")].concat();
    let old = [config("old-config"), deployment("old", "old-config")].concat();
    upgrade(case, helm, "1.0.0", &[app.clone(), old].concat(), &[])?.success()?;
    upgrade(case, helm, "2.0.0", &app, &[])?.success()?;
    case.helm(helm, &["rollback", "app", "1"])?.success()?;
    case.helm(helm, &["rollback", "app", "2"])?.success()?;
    ensure!(guard.rejected_nothing());
    assert_config(case, "one")
}

/// In revision 1, the ConfigMap is a hook only for installs. A rollback to it prunes the regular ConfigMap.
fn rollback(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let web = deployment("web", "app-config");
    let hook = config("app-config").replace(
        "{name: app-config}",
        "{name: app-config, annotations: {helm.sh/hook: pre-install}}",
    );
    upgrade(case, helm, "1.0.0", &[hook, web.clone()].concat(), &[])?.success()?;
    let regular = [config("app-config"), web].concat();
    upgrade(case, helm, "2.0.0", &regular, &["--take-ownership"])?.success()?;

    let before = case.cluster.snapshot(&case.namespace)?;
    let rejected = case.helm(helm, &["rollback", "app", "1"])?.failure()?;
    ensure!(
        rejected
            .stderr
            .contains("hook-pruned: ConfigMap app-config"),
        "{rejected}"
    );
    ensure!(
        before
            .changes(&case.cluster.snapshot(&case.namespace)?)
            .is_empty()
    );

    // helm rollback has no flag for labels. The new record inherits those of the record it goes back to.
    let record = "sh.helm.release.v1.app.v1";
    case.kubectl(&["label", "secret", record, "rollout-guard/allow-revision=3"])?
        .success()?;
    case.helm(helm, &["rollback", "app", "1"])?.success()?;
    Ok(())
}
