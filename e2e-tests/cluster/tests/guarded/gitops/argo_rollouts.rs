//! Argo Rollouts, whose Rollouts own their ReplicaSets themselves. The settings name the kind.

use anyhow::{Result, ensure};
use cluster_tests::{Case, Suite, wait_until};
use serde_json::json;

use super::{Kind, LIMIT, Program, STATUS, free_port, install_kinds, kind};
use crate::deletions::{
    IN_USE, apply, config, delete, eventually_rejected, exists, guard_with_rollouts, make_ready,
    pods, workload,
};
use crate::right_operations::assert_rejected;

pub(super) fn add_to(suite: &mut Suite) {
    suite.case(
        "gitops, Argo Rollouts: config of the old pods goes when the canary is promoted",
        canary,
    );
}

/// The kinds that the controller watches.
const KINDS: [Kind; 5] = [
    kind("argoproj.io/v1alpha1/Rollout", "rollouts", STATUS),
    kind("argoproj.io/v1alpha1/Experiment", "experiments", STATUS),
    kind("argoproj.io/v1alpha1/AnalysisRun", "analysisruns", STATUS),
    kind(
        "argoproj.io/v1alpha1/AnalysisTemplate",
        "analysistemplates",
        "",
    ),
    kind(
        "argoproj.io/v1alpha1/ClusterAnalysisTemplate",
        "clusteranalysistemplates",
        "",
    ),
];

const CONTROLLER: &str = "system:serviceaccount:argo-rollouts:argo-rollouts";

/// With a canary that waits for a person.
fn rollout(config: &str) -> String {
    let strategy = json!({"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}});
    workload("Rollout", "web", &pods(config))
        .replace("apps/v1", "argoproj.io/v1alpha1")
        .replace(
            "\"selector\":",
            &format!("\"replicas\":2,\"strategy\":{strategy},\"selector\":"),
        )
}

fn canary(case: &Case<'_>) -> Result<()> {
    install_kinds(case, &KINDS)?;
    let namespace = format!("--namespace={}", case.namespace);
    let metrics = format!("--metricsPort={}", free_port()?);
    let health = format!("--healthzPort={}", free_port()?);
    let own_namespace = format!("POD_NAMESPACE={}", case.namespace);
    let controller = Program::start(
        case,
        "argo-rollouts",
        CONTROLLER,
        &[&own_namespace],
        &[
            "--leader-elect=false",
            "--namespaced",
            &namespace,
            &metrics,
            &health,
        ],
    )?;
    let waits = |what: &str, is: &dyn Fn() -> Result<bool>| {
        wait_until(what, LIMIT, || Ok(is()?.then_some(())))
            .map_err(|error| error.context(controller.end_of_log()))
    };
    let status = |field: &str| -> Result<String> {
        let path = format!("--output=jsonpath={{.status.{field}}}");
        Ok(case.kubectl(&["get", "rollout", "web", &path])?.stdout)
    };

    apply(case, &[config("v1"), config("v2"), rollout("v1")].concat())?;
    waits("the first version", &|| {
        make_ready(case)?;
        Ok(status("phase")? == "Healthy")
    })?;
    let _guard = guard_with_rollouts(case, "argoproj.io/v1alpha1", "rollouts.argoproj.io")?;
    eventually_rejected(case, "configmap/v1")?;

    apply(case, &rollout("v2"))?;
    waits("the canary waits", &|| {
        make_ready(case)?;
        Ok(status("phase")? == "Paused")
    })?;
    eventually_rejected(case, "configmap/v2")?;
    eventually_rejected(case, "configmap/v1")?;
    assert_rejected(
        delete(case, "configmap/v1")?,
        &[
            IN_USE,
            "requires it until the rollout of Rollout web is done.",
        ],
    )?;
    // As `kubectl argo rollouts promote --full` does.
    let promote = r#"{"status": {"promoteFull": true}}"#;
    let patch = [
        "patch",
        "--subresource=status",
        "--type=merge",
        "rollout",
        "web",
        "--patch",
        promote,
    ];
    case.kubectl(&patch)?.success()?;
    waits("the old config goes", &|| {
        make_ready(case)?;
        Ok(delete(case, "configmap/v1")?.status.success())
    })?;
    ensure!(status("phase")? == "Healthy" || status("updatedReplicas")? == status("replicas")?);
    ensure!(exists(case, "configmap/v2")?);
    Ok(())
}
