//! The promises of the library.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::k8s_openapi::api::admissionregistration::v1::MatchCondition;
use cluster_tests::{
    AuditLevel, AuditMark, CLOSED_PORT, Case, Cluster, FAIL_ANNOTATION, HelmVersion, Options,
    Suite, User, Webhook, creation_of, wait_until,
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case("a case can start its own cluster", |_| {
        a_case_can_start_its_own_cluster()
    });
    suite.case(
        "a role gives rights to the restricted user",
        a_role_gives_rights,
    );
    suite.case("a webhook is used until it is removed", webhook_is_used);
    suite.case(
        "a snapshot distinguishes changes",
        changes_are_distinguished,
    );
    suite.case("a snapshot ignores controllers", controllers_are_ignored);
    for helm in HelmVersion::ALL {
        for (kind, spec) in [("Job", JOB_SPEC), ("Pod", POD_SPEC)] {
            suite.case(format!("{helm}: a hook {kind} completes"), move |case| {
                hook_completes(case, helm, kind, spec)
            });
            suite.case(format!("{helm}: a hook {kind} fails"), move |case| {
                hook_fails(case, helm, kind, spec)
            });
        }
    }
}

fn a_case_can_start_its_own_cluster() -> Result<()> {
    let cluster = Cluster::start_with(Options {
        audit_level: AuditLevel::RequestResponse,
    })?;
    cluster
        .apply("default", &config_map("config", 7))?
        .success()?;
    let trail = cluster.audit_since(AuditMark::default())?;
    let trail = trail.in_namespace("default").by_agent("kubectl");
    let sent = trail.events().iter().find_map(|event| {
        let object = event.request_object.as_ref()?;
        object.pointer("/data/version")
    });
    assert_eq!(sent.context("no object was sent")?, "7");

    let server: SocketAddr = cluster.server().trim_start_matches("https://").parse()?;
    let ca_file = cluster.ca_file();
    drop(cluster);
    ensure!(TcpStream::connect(server).is_err(), "the server still runs");
    ensure!(!ca_file.exists(), "{} still exists", ca_file.display());
    Ok(())
}

fn a_role_gives_rights(case: &Case) -> Result<()> {
    let list = || {
        let mut kubectl = case.cluster.kubectl_command(User::Restricted);
        kubectl.args(["get", "configmaps", "--namespace", &case.namespace]);
        case.cluster.run(&mut kubectl)
    };
    let denied = list()?.failure()?;
    ensure!(denied.stderr.contains("Forbidden"), "{denied}");

    let user = format!("--user={}", User::Restricted.name());
    let binding = ["create", "rolebinding", "view", "--clusterrole=view", &user];
    case.kubectl(&binding)?.success()?;
    // The API server learns about the role from a watch.
    wait_until("the role takes effect", Duration::from_secs(10), || {
        Ok(list()?.status.success().then_some(()))
    })
}

/// Nothing listens at this webhook, so every request that is sent to it is rejected.
fn webhook_is_used(case: &Case) -> Result<()> {
    let webhook = Webhook {
        name: case.namespace.clone(),
        port: CLOSED_PORT,
        path: "/validate".to_owned(),
        ca_bundle: std::fs::read_to_string(case.cluster.ca_file())?,
        rules: vec![creation_of("configmaps")],
        match_conditions: vec![MatchCondition {
            name: "not-exempt".to_owned(),
            expression: "object.metadata.name != 'exempt'".to_owned(),
        }],
        namespaces: vec![case.namespace.clone()],
        namespace_expressions: Vec::new(),
    };
    let create = |name| case.kubectl(&["create", "configmap", name]);

    let registered = case.cluster.register_webhook(&webhook)?;
    let rejected = create("sent")?.failure()?;
    ensure!(
        rejected.stderr.contains("failed calling webhook"),
        "{rejected}"
    );
    create("exempt")?.success()?;
    let elsewhere = ["create", "configmap", &case.namespace];
    case.cluster.kubectl(elsewhere)?.success()?;

    registered.remove()?;
    create("sent")?.success()?;
    Ok(())
}

fn changes_are_distinguished(case: &Case) -> Result<()> {
    let apply = |name, version| {
        let manifest = config_map(name, version);
        case.cluster.apply(&case.namespace, &manifest)?.success()
    };
    for name in ["changed", "removed", "replaced", "same"] {
        apply(name, 1)?;
    }
    let before = case.cluster.snapshot(&case.namespace)?;

    case.kubectl(&["delete", "configmap", "removed", "replaced"])?
        .success()?;
    apply("replaced", 1)?;
    apply("changed", 2)?;
    apply("added", 1)?;

    let changes = before.changes(&case.cluster.snapshot(&case.namespace)?);
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "added ConfigMap/added",
            "changed ConfigMap/changed",
            "removed ConfigMap/removed",
            "replaced ConfigMap/replaced",
        ]
    );
    Ok(())
}

fn controllers_are_ignored(case: &Case) -> Result<()> {
    let create = ["create", "deployment", "app", "--image=app", "--replicas=2"];
    case.kubectl(&create)?.success()?;
    let before = case.cluster.snapshot(&case.namespace)?;

    // Instead of the controller, which may have written its last status already.
    let status = "--patch={\"status\": {\"collisionCount\": 1}}";
    let patch = ["patch", "deployment", "app", "--subresource=status", status];
    case.kubectl(&patch)?.success()?;

    let after = case.cluster.snapshot(&case.namespace)?;
    ensure!(before != after, "nothing was written");
    assert_eq!(before.changes(&after), []);
    Ok(())
}

const JOB_SPEC: &str =
    "{template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}";
const POD_SPEC: &str = "{restartPolicy: Never, containers: [{name: a, image: a}]}";

fn hook_completes(case: &Case, helm: HelmVersion, kind: &str, spec: &str) -> Result<()> {
    let chart = chart_with_hook(case, kind, spec, "")?;
    case.helm(helm, &["install", "app", &chart])?.success()?;
    Ok(())
}

fn hook_fails(case: &Case, helm: HelmVersion, kind: &str, spec: &str) -> Result<()> {
    let fail = format!("{FAIL_ANNOTATION}: 'true'");
    let chart = chart_with_hook(case, kind, spec, &fail)?;
    let install = case.helm(helm, &["install", "app", &chart])?.failure()?;
    ensure!(install.stderr.contains("failed pre-install"), "{install}");
    Ok(())
}

fn chart_with_hook(case: &Case, kind: &str, spec: &str, annotation: &str) -> Result<String> {
    let version = if kind == "Job" { "batch/v1" } else { "v1" };
    let hook = format!(
        "\
apiVersion: {version}
kind: {kind}
metadata:
  name: hook
  annotations:
    helm.sh/hook: pre-install
    {annotation}
spec: {spec}
"
    );
    case.chart("1.0.0", &[("hook.yaml", &hook)])
}

fn config_map(name: &str, version: u32) -> String {
    format!(
        "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  version: '{version}'
"
    )
}
