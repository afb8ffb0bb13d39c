//! What `examples/` offers does what it says, as it is in the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Suite, wait_until};
use serde_json::json;

use crate::guard::Guard;
use crate::rollouts::{assert_rollouts, rollouts};

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        for chart in ["release-revision", "refresh-hook"] {
            suite.case(
                format!("{helm}: examples/charts/{chart} rolls out a config change, and back"),
                move |case| rolls_out_and_back(case, helm, chart),
            );
        }
    }
    suite.case(
        "examples/refresh-cronjob.yaml rolls out what was edited by hand",
        refresh_cronjob,
    );
}

/// A file or folder of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

/// The text of an example, for the namespace of a case.
pub(crate) fn example_text(case: &Case<'_>, name: &str) -> Result<String> {
    let text = fs::read_to_string(example(name)).with_context(|| name.to_owned())?;
    let namespace = format!("namespace: {}", case.namespace);
    Ok(text.replace("namespace: default", &namespace))
}

/// Without what these charts do, Helm 3 would send nothing for the Deployment (`no-rollout`).
fn rolls_out_and_back(case: &Case<'_>, helm: HelmVersion, chart: &str) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let chart = example(&format!("charts/{chart}"));
    let chart = chart.to_str().context("not UTF-8")?;
    let upgrade = |setting: &str| {
        let setting = format!("setting={setting}");
        let arguments = ["upgrade", "--install", "app", chart, "--set", &setting];
        case.helm(helm, &arguments)?.success()
    };
    let hash = || {
        let hash = "jsonpath={.spec.template.metadata.annotations.rollout-guard/config-hash}";
        let found = case.kubectl(&["get", "deployment", "app", "-o", hash])?;
        Ok::<_, anyhow::Error>(found.success()?.stdout)
    };
    upgrade("one")?;
    let first = hash()?;
    upgrade("one")?;
    assert_rollouts(case, "deployment/app", 1)?;
    upgrade("two")?;
    assert_rollouts(case, "deployment/app", 2)?;

    case.helm(helm, &["rollback", "app", "1"])?.success()?;
    ensure!(hash()? == first, "{} is not {first}", hash()?);
    // It goes back to the first ReplicaSet.
    assert_rollouts(case, "deployment/app", 2)
}

fn refresh_cronjob(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let deployment = |name: &str, labels: &str| {
        format!(
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: app, envFrom: [{{configMapRef: {{name: app-config}}}}]}}]}}
"
        )
    };
    let objects = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-config}\ndata: {setting: one}\n",
        &deployment("asks", "rollout-guard/refresh: 'true'"),
        &deployment("does-not", ""),
    ];
    let apply = |text: &str| case.cluster.apply(&case.namespace, text)?.success();
    apply(&objects.concat())?;
    apply(&example_text(case, "refresh-cronjob.yaml")?)?;
    let refresh = |job: &str| {
        let cronjob = "--from=cronjob/rollout-guard-refresh";
        case.kubectl(&["create", "job", job, cronjob])?.success()?;
        let complete = [
            "wait",
            "--for=condition=Complete",
            "--timeout=60s",
            &format!("job/{job}"),
        ];
        case.kubectl(&complete)?.success()
    };
    refresh("nothing-to-do")?;
    assert_rollouts(case, "deployment/asks", 1)?;

    let edit = r#"{"data": {"setting": "two"}}"#;
    case.kubectl(&["patch", "configmap", "app-config", "--patch", edit])?
        .success()?;
    refresh("something-to-do")?;
    wait_until("the rollout", Duration::from_secs(30), || {
        Ok((rollouts(case, "deployment/asks")?.len() == 2).then_some(()))
    })?;
    assert_rollouts(case, "deployment/does-not", 1)
}
