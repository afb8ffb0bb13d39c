//! Each change of the config or the template of a workload rolls it out once, for any client.

use anyhow::{Context, Result, anyhow, ensure};
use cluster_tests::k8s_openapi::api::apps::v1::Deployment;
use cluster_tests::k8s_openapi::api::core::v1::ConfigMap;
use cluster_tests::kube::Api;
use cluster_tests::kube::api::{Patch, PatchParams};
use cluster_tests::{Case, HelmVersion, Suite};
use config_digest::stamp;
use rollout_guard::annotations::{CONFIG_HASH, CONFIGS, OBJECT, TEMPLATE};
use serde_json::{Value, json};

use crate::app::recorded;
use crate::guard::Guard;
use crate::rollouts::assert_rollouts;

/// Who writes config and workload.
#[derive(Debug, Clone, Copy)]
enum Writer {
    Apply,
    ApplyServerSide,
    Replace,
    Helm(HelmVersion),
}

pub(crate) fn add_to(suite: &mut Suite) {
    let [helm3, helm4] = HelmVersion::ALL;
    for (name, writer) in [
        ("kubectl apply", Writer::Apply),
        ("kubectl apply --server-side", Writer::ApplyServerSide),
        ("kubectl replace", Writer::Replace),
        ("helm3", Writer::Helm(helm3)),
        ("helm4", Writer::Helm(helm4)),
    ] {
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            suite.case(
                format!("{name}: a {kind} is rolled out as often as something changes"),
                move |case| history(case, writer, kind, Guard::new(case, json!({}))?),
            );
            suite.case(
                format!("{name}: the same for a {kind} whose images another webhook pins"),
                move |case| {
                    history(
                        case,
                        writer,
                        kind,
                        Guard::with_pinned_images(case, json!({}))?,
                    )
                },
            );
        }
    }
    suite.case(
        "config and workload written at once give the new hash, 500 times in a row",
        races,
    );
}

fn objects(kind: &str, setting: &str, image: &str, round: usize) -> String {
    let special = match kind {
        "Deployment" => "replicas: 0",
        "StatefulSet" => "{replicas: 0, serviceName: web}",
        _ => "{}",
    };
    let special = special.trim_matches(['{', '}']).replace(", ", "\n  ");
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: app-config}}
data: {{setting: {setting}}}
---
apiVersion: apps/v1
kind: {kind}
metadata:
  name: web
  annotations: {{round: '{round}'}}
spec:
  {special}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: '{image}', envFrom: [{{configMapRef: {{name: app-config}}}}]}}]
"
    )
}

impl Writer {
    fn write(self, case: &Case<'_>, round: usize, objects: &str) -> Result<()> {
        let cluster = case.cluster;
        let namespace = &case.namespace;
        let output = match self {
            Writer::Apply => cluster.apply(namespace, objects),
            Writer::ApplyServerSide => {
                let flags = ["apply", "--server-side", "--force-conflicts"];
                cluster.kubectl_with(namespace, &flags, objects)
            }
            // It never creates objects, and its manifests have no annotations of the policy.
            Writer::Replace => match round {
                1 => cluster.kubectl_with(namespace, &["create"], objects),
                _ => cluster.kubectl_with(namespace, &["replace"], objects),
            },
            Writer::Helm(helm) => {
                let chart = case.chart(&format!("{round}.0.0"), &[("all.yaml", objects)])?;
                case.helm(helm, &["upgrade", "--install", "app", &chart])
            }
        };
        output?.success()?;
        Ok(())
    }
}

fn history(case: &Case<'_>, writer: Writer, kind: &str, _guard: Guard<'_>) -> Result<()> {
    let workload = format!("{}/web", kind.to_lowercase());
    for (index, (what, setting, image, rollouts)) in [
        ("it is new", "one", "web:1", 1),
        ("nothing changes", "one", "web:1", 1),
        ("the config changes", "two", "web:1", 2),
        ("nothing changes after that", "two", "web:1", 2),
        ("the image changes", "two", "web:2", 3),
        ("both change", "three", "web:3", 4),
        // The controllers already know this template.
        ("all is as at first", "one", "web:1", 4),
        ("nothing changes in the end", "one", "web:1", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let round = index + 1;
        writer.write(case, round, &objects(kind, setting, image, round))?;
        assert_rollouts(case, &workload, rollouts).with_context(|| format!("{round}: {what}"))?;
    }
    // The config is deleted and created again. Pods could not start in between.
    case.kubectl(&["delete", "configmap", "app-config"])?
        .success()?;
    case.kubectl(&["annotate", &workload, "seen=without"])?
        .success()?;
    case.kubectl(&[
        "create",
        "configmap",
        "app-config",
        "--from-literal=setting=one",
    ])?
    .success()?;
    case.kubectl(&["annotate", &workload, "seen=with", "--overwrite"])?
        .success()?;
    assert_rollouts(case, &workload, 4).context("the config was deleted for a while")?;
    // The previous image with the current config is a new combination. The second undo goes back.
    for undo in 1..=2 {
        case.kubectl(&["rollout", "undo", &workload])?.success()?;
        assert_rollouts(case, &workload, 5).with_context(|| format!("undo {undo}"))?;
    }
    Ok(())
}

/// Two requests, one right after the other. The hash is always that of the new content.
fn races(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let first = objects("Deployment", "zero", "web", 0);
    case.cluster.apply(&case.namespace, &first)?.success()?;
    let configs = Api::<ConfigMap>::namespaced(case.cluster.client(), &case.namespace);
    let workloads = Api::<Deployment>::namespaced(case.cluster.client(), &case.namespace);
    let parameters = PatchParams::default();
    for round in 0..500 {
        let setting = format!("round {round}");
        let config = Patch::Merge(json!({"data": {"setting": setting}}));
        let nothing = Patch::Merge(json!({}));
        let written = case.cluster.block_on(async {
            configs.patch("app-config", &parameters, &config).await?;
            workloads.patch("web", &parameters, &nothing).await
        });
        let written = serde_json::to_value(written?)?;
        let recorded = recorded("app-config", &setting);
        let annotation = |place, key| rollout_guard::annotations::get(&written, place, key);
        let seen = (
            annotation(OBJECT, CONFIGS),
            annotation(TEMPLATE, CONFIG_HASH),
        );
        let read: Option<Value> = seen.0.and_then(|text| serde_json::from_str(text).ok());
        ensure!(read == Some(json!(recorded)), "round {round}: {seen:?}");
        ensure!(
            seen.1.ok_or_else(|| anyhow!("no config hash"))? == stamp(&recorded),
            "round {round}: {seen:?}"
        );
    }
    Ok(())
}
