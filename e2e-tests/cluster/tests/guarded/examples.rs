//! The files in `examples/` work as described. The tests install exactly these files.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Suite, User, wait_until};
use helm_plan::{manifest, yaml};
use rollout_guard::settings::Settings;
use serde_json::{Value, json};
use testbed::LiveCluster;
use tokio::runtime::Runtime;

use crate::example_policy::{ExamplePolicy, example};
use crate::guard::{Guard, policy};
use crate::rollouts::{assert_rollouts, edit, rollouts, send_empty_patch};

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        for chart in ["release-revision", "refresh-hook"] {
            suite.case(
                format!("{helm}: examples/charts/{chart} rolls out a config change and a rollback"),
                move |case| rolls_out_and_back(case, helm, chart),
            );
        }
    }
    suite.case(
        "examples/workloads-policy.yaml rolls out what changed",
        workloads_policy,
    );
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: examples/releases-policy.yaml rejects the trap and stamps nothing"),
            move |case| releases_policy(case, helm),
        );
    }
    suite.case(
        "the kustomization of docs/operations.md changes the policies",
        kustomization,
    );
    suite.case(
        "helm4: the policy of kwctl scaffold manifest --allow-context-aware stamps and rejects",
        scaffolded,
    );
    suite.case(
        "kubectl annotate --all records and rolls out all workloads, as docs/operations.md describes it",
        annotate_all,
    );
    suite.case(
        "examples/refresh-cronjob.yaml rolls out what was edited by hand",
        refresh_cronjob,
    );
    suite.case(
        "examples/warn-consumers-policy.yaml warns about the consumers of a changed config",
        warn_consumers,
    );
    suite.case(
        "examples/verify-policy.yaml reports stale workloads to the audit scanner",
        verify,
    );
    suite.case(
        "examples/reloader-wave.yaml rolls out workloads with the annotations of Reloader and Wave",
        reloader_and_wave,
    );
}

/// The text of an example, for the namespace of a case.
pub(crate) fn example_text(case: &Case<'_>, name: &str) -> Result<String> {
    let text = fs::read_to_string(example(name)).with_context(|| name.to_owned())?;
    let namespace = format!("namespace: {}", case.namespace);
    Ok(text.replace("namespace: default", &namespace))
}

/// Without the help of these charts, Helm 3 would send no request for the Deployment (`no-rollout`).
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
    // The rollback uses the first ReplicaSet.
    assert_rollouts(case, "deployment/app", 2)
}

/// One Deployment and its config.
fn app(case: &Case<'_>) -> Result<()> {
    let objects = "
apiVersion: v1
kind: ConfigMap
metadata: {name: app-config}
data: {setting: one}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: app, envFrom: [{configMapRef: {name: app-config}}]}]}
";
    case.cluster.apply(&case.namespace, objects)?.success()?;
    Ok(())
}

fn workloads_policy(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::of(case, &ExamplePolicy::read("workloads-policy.yaml")?)?;
    app(case)?;
    edit(case, "two")?;
    send_empty_patch(case, "deployment/web")?;
    assert_rollouts(case, "deployment/web", 2)
}

fn releases_policy(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::of(case, &ExamplePolicy::read("releases-policy.yaml")?)?;
    let chart = example("charts/hook-trap");
    let chart = chart.to_str().context("not UTF-8")?;
    case.helm(helm, &["install", "yahoo", chart])?.success()?;
    let upgrade = ["upgrade", "yahoo", chart, "--set", "hook=true"];
    let upgrade = case.helm(helm, &upgrade)?.failure()?;
    ensure!(upgrade.stderr.contains("hook-pruned: "), "{upgrade}");
    let live = ["get", "deployment", "yahoo-basic-app", "-o", "json"];
    let live = case.kubectl(&live)?.success()?.stdout;
    ensure!(!live.contains("rollout-guard/"), "{live}");
    Ok(())
}

/// With the files of this repository instead of those of the release.
fn kustomization(case: &Case<'_>) -> Result<()> {
    let page = fs::read_to_string(example("../docs/operations.md"))?;
    let (_, section) = page
        .split_once("### Your own changes\n")
        .context("no section")?;
    let (_, block) = section.split_once("```yaml\n").context("no YAML")?;
    let (block, _) = block.split_once("```\n").context("no end")?;
    let version = &metadata()?["annotations"]["io.kubewarden.policy.version"];
    let version = version.as_str().context("no version")?;
    let release = format!(
        "https://raw.githubusercontent.com/rollout-guard/rollout-guard/v{version}/examples"
    );
    let folder = tempfile::tempdir()?;
    let examples = example("").canonicalize()?.display().to_string();
    fs::write(
        folder.path().join("kustomization.yaml"),
        block.replace(&release, &examples),
    )?;
    let folder = folder.path().to_str().context("not UTF-8")?;
    let anywhere = "--load-restrictor=LoadRestrictionsNone";
    let built = case
        .cluster
        .kubectl(["kustomize", folder, anywhere])?
        .success()?;

    let objects: Vec<_> = manifest::documents(&built.stdout)
        .map(yaml::parse)
        .collect::<Result<_, _>>()?;
    let kinds: Vec<_> = objects
        .iter()
        .map(|object| object["kind"].clone())
        .collect();
    let policy = "ClusterAdmissionPolicy";
    ensure!(
        kinds == ["ClusterRole", "ClusterRoleBinding", policy, policy],
        "{built}"
    );
    for object in &objects[2..] {
        let spec: ExamplePolicy = serde_json::from_value(object["spec"].clone())?;
        let namespaces = spec.namespace_selector.match_expressions;
        let expected = Some(vec!["kube-system".to_owned(), "calico-system".to_owned()]);
        ensure!(namespaces[0].values == expected, "{built}");
        ensure!(
            object["spec"]["module"]
                == "registry://registry.example.com/policies/rollout-guard:v0.1.0",
            "{built}"
        );
        let releases = object["metadata"]["name"] == "rollout-guard-releases";
        ensure!((object["spec"]["mode"] == "monitor") == releases, "{built}");
        let settings = Settings::parse(&spec.settings)?;
        ensure!(settings.config_hash.enabled != releases, "{built}");
        ensure!(settings.release_guard.enabled == releases, "{built}");
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    Ok(yaml::parse(&fs::read_to_string(example(
        "../metadata.yml",
    ))?)?)
}

/// kwctl copies the rules and the resources of metadata.yml, and writes neither conditions nor a selector nor settings (`scaffold/manifest.rs`).
fn scaffolded(case: &Case<'_>) -> Result<()> {
    let metadata = metadata()?;
    let spec = json!({
        "rules": metadata["rules"], "contextAwareResources": metadata["contextAwareResources"], "settings": {},
    });
    let _guard = Guard::of(case, &serde_json::from_value(spec)?)?;
    let chart = example("charts/hook-trap");
    let chart = chart.to_str().context("not UTF-8")?;
    case.helm(HelmVersion::V4, &["install", "yahoo", chart])?
        .success()?;
    let live = ["get", "deployment", "yahoo-basic-app", "-o", "json"];
    let live = case.kubectl(&live)?.success()?.stdout;
    ensure!(live.contains("rollout-guard/configs"), "{live}");
    let upgrade = ["upgrade", "yahoo", chart, "--set", "hook=true"];
    let upgrade = case.helm(HelmVersion::V4, &upgrade)?.failure()?;
    ensure!(upgrade.stderr.contains("hook-pruned: "), "{upgrade}");
    Ok(())
}

/// For workloads that are older than the policy. The command of the page selects all namespaces of the cluster; this one, those of the case.
fn annotate_all(case: &Case<'_>) -> Result<()> {
    app(case)?;
    let _guard = Guard::new(case, json!({}))?;
    let refresh = || {
        let kinds = "deployments,statefulsets,daemonsets";
        let annotate = ["annotate", kinds, "--all", "rollout-guard/refresh-"];
        case.kubectl(&annotate)?.success()
    };
    refresh()?;
    assert_rollouts(case, "deployment/web", 1)?;
    edit(case, "two")?;
    refresh()?;
    assert_rollouts(case, "deployment/web", 2)
}

fn warn_consumers(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::of(case, &ExamplePolicy::read("warn-consumers-policy.yaml")?)?;
    app(case)?;
    let warns = |value: &str, follows: &str| {
        let edited = edit(case, value)?;
        let warning =
            format!("Warning: rollout-guard: Deployment web uses ConfigMap app-config, {follows}");
        ensure!(edited.stderr.contains(&warning), "{edited}");
        Ok::<_, anyhow::Error>(())
    };
    // Here, no policy stamps workloads.
    let never_recorded = format!(
        "but does not roll out: its next update only records the config, for the first time. \
         To restart it: kubectl rollout restart -n {} deployment web",
        case.namespace
    );
    warns("one more", &never_recorded)?;
    let record =
        r#"rollout-guard/configs={"ConfigMap/app-config":"00000000000000000000000000000000"}"#;
    case.kubectl(&["annotate", "deployment", "web", record])?
        .success()?;
    let rolls_out = format!(
        "and rolls out at its next update: kubectl patch -n {} deployment web -p '{{}}'",
        case.namespace
    );
    warns("two", &rolls_out)?;
    let unchanged = edit(case, "two")?;
    ensure!(unchanged.stderr.is_empty(), "{unchanged}");
    let deleted = case.kubectl(&["delete", "configmap", "app-config"])?;
    let warning = "Deployment web uses ConfigMap app-config, and its pods cannot start without it";
    ensure!(deleted.stderr.contains(warning), "{deleted}");
    Ok(())
}

/// The audit scanner sends live objects as CREATE requests.
fn verify(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let example = ExamplePolicy::read("verify-policy.yaml")?;
    let runtime = Runtime::new()?;
    let kubeconfig = case.cluster.kubeconfig_of(User::Restricted);
    let cluster = LiveCluster::connect(&kubeconfig, runtime.handle().clone(), example.grants())?;
    let cluster: Arc<dyn testbed::Cluster> = Arc::new(cluster);
    let scan = || {
        let live = case.kubectl(&["get", "deployment", "web", "-o", "json"])?;
        let live: Value = serde_json::from_str(&live.success()?.stdout)?;
        let request = json!({
            "uid": "1", "operation": "CREATE", "name": "web", "namespace": case.namespace,
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "object": live,
        });
        let answer = policy().validate(&request, &example.settings, Arc::clone(&cluster))?;
        ensure!(answer.response.mutated_object.is_none());
        Ok(answer.response.message)
    };
    app(case)?;
    ensure!(scan()?.is_none());
    edit(case, "two")?;
    let stale = scan()?.context("it was not reported")?;
    let expected = "Deployment/web runs stale config: ConfigMap app-config changed";
    ensure!(stale.contains(expected), "{stale}");
    send_empty_patch(case, "deployment/web")?;
    ensure!(scan()?.is_none());
    Ok(())
}

fn reloader_and_wave(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({"configHash": {"workloads": "annotated"}}))?;
    let objects = example_text(case, "reloader-wave.yaml")?;
    case.cluster.apply(&case.namespace, &objects)?.success()?;
    edit(case, "two")?;
    for (name, expected) in [("for-reloader", 2), ("for-wave", 2), ("for-nobody", 1)] {
        let workload = format!("deployment/{name}");
        send_empty_patch(case, &workload)?;
        assert_rollouts(case, &workload, expected)?;
    }
    Ok(())
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

    edit(case, "two")?;
    refresh("something-to-do")?;
    wait_until("the rollout", Duration::from_secs(30), || {
        Ok((rollouts(case, "deployment/asks")?.len() == 2).then_some(()))
    })?;
    assert_rollouts(case, "deployment/does-not", 1)
}
