//! The deletion guard, with the tools that delete: config in use is kept, what nobody needs goes, and no teardown is held up.
//!
//! Flux and Argo CD are here by their requests, as their ServiceAccounts. `make gitops` runs the programs themselves.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster_tests::{Case, HelmVersion, Output, Suite, User, wait_until};
use serde_json::{Value, json};

use crate::example_policy::{ContextAwareResource, ExamplePolicy};
use crate::guard::Guard;
use crate::right_operations::{
    assert_rejected, define_rollouts, failing_job, upgrade, upgrade_with,
};

pub(crate) const IN_USE: &str = "was not deleted, because it is in use";

pub(crate) const FLUX: &str = "system:serviceaccount:flux-system:kustomize-controller";
pub(crate) const ARGO_CD: &str = "system:serviceaccount:argocd:argocd-application-controller";

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case(
        "deletion guard, as in the example: people are warned, and Flux is rejected",
        example,
    );
    suite.case(
        "deletion guard: each kind of object and of workload, and keys",
        kinds,
    );
    suite.case(
        "deletion guard: what the pods of an old ReplicaSet need goes when the rollout is done",
        rollout,
    );
    suite.case(
        "deletion guard: what the old pods of a StatefulSet need stays until its rollout is done",
        stateful_set,
    );
    suite.case(
        "deletion guard: a workload of another kind, and its ReplicaSets",
        other_kind,
    );
    suite.case(
        "deletion guard: the review of a DELETECOLLECTION is one for each object",
        collection,
    );
    suite.case("deletion guard: kubectl apply --prune", prune);
    suite.case(
        "deletion guard: kubectl delete -f of a whole folder, twice",
        whole_folder,
    );
    suite.case("deletion guard: kubectl delete namespace", namespace);
    suite.case("deletion guard: what always passes", passes);
    suite.case(
        "deletion guard: Argo CD deletes an application, all at once and in the foreground",
        application,
    );
    for helm in HelmVersion::ALL {
        suite.case(
            format!(
                "deletion guard, {helm}: upgrades and uninstalls are left to the release guard"
            ),
            move |case| release(case, helm),
        );
        suite.case(
            format!("deletion guard, {helm}: an upgrade that fails cleans up after itself"),
            move |case| cleanup(case, helm),
        );
        suite.case(
            format!("deletion guard, {helm}: a hook is deleted to be created again"),
            move |case| hook(case, helm),
        );
        suite.case(
            format!("deletion guard, {helm}: what others need of a release is kept"),
            move |case| shared(case, helm),
        );
    }
}

/// The example, with another level for everybody.
pub(crate) fn guard<'a>(case: &Case<'a>, level: &str) -> Result<Guard<'a>> {
    let mut example = ExamplePolicy::read("deletion-guard-policy.yaml")?;
    example.settings["deletionGuard"]["level"] = level.into();
    started(case, &example)
}

/// At the level `reject`, for Rollouts of this API version too, as docs/deletion-guard.md describes it. `resource`: `PLURAL.GROUP`
pub(crate) fn guard_with_rollouts<'a>(
    case: &Case<'a>,
    api_version: &str,
    resource: &str,
) -> Result<Guard<'a>> {
    let user = format!("--user={}", User::Restricted.name());
    let resources = format!("--resource={resource}");
    let role = format!("--clusterrole={resource}");
    let verbs = "--verb=get,list,watch";
    case.kubectl(&["create", "clusterrole", resource, verbs, &resources])?
        .success()?;
    case.kubectl(&["create", "clusterrolebinding", resource, &role, &user])?
        .success()?;
    let mut example = ExamplePolicy::read("deletion-guard-policy.yaml")?;
    example.settings["deletionGuard"]["level"] = "reject".into();
    example.settings["deletionGuard"]["otherWorkloads"] = json!([format!("{api_version}/Rollout")]);
    example.context_aware_resources.push(ContextAwareResource {
        api_version: api_version.to_owned(),
        kind: "Rollout".to_owned(),
    });
    started(case, &example)
}

/// A deletion guard whose lists are complete. Until then, on a slow machine, it does not know who needs an object, and lets it go.
pub(crate) fn started<'a>(case: &Case<'a>, example: &ExamplePolicy) -> Result<Guard<'a>> {
    apply(
        case,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: any}\n",
    )?;
    let guard = Guard::of(case, example)?;
    wait_until("the lists", Duration::from_secs(60), || {
        let tried = case.kubectl(&["delete", "--dry-run=server", "configmap/any"])?;
        let knows = tried.status.success() && !tried.stderr.contains("it is not known");
        Ok(knows.then_some(()))
    })?;
    Ok(guard)
}

pub(crate) fn config(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{app: web}}}}\ndata: {{setting: one, other: two}}\n"
    )
}

/// Pods that read one key of a ConfigMap.
pub(crate) fn pods(config: &str) -> Value {
    let key = json!({"configMapKeyRef": {"name": config, "key": "setting"}});
    json!({"containers": [{"name": "app", "image": "app", "env": [{"name": "SETTING", "valueFrom": key}]}]})
}

/// A workload of `apps/v1` as YAML.
pub(crate) fn workload(kind: &str, name: &str, pods: &Value) -> String {
    let metadata = json!({"name": name, "labels": {"app": "web"}});
    let labels = json!({"app": name});
    let spec = json!({
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pods},
    });
    format!(
        "---\n{}\n",
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
    )
}

fn web(config: &str) -> String {
    workload("Deployment", "web", &pods(config))
}

pub(crate) fn apply(case: &Case<'_>, manifest: &str) -> Result<()> {
    case.cluster.apply(&case.namespace, manifest)?.success()?;
    Ok(())
}

pub(crate) fn delete(case: &Case<'_>, object: &str) -> Result<Output> {
    case.kubectl(&["delete", "--wait=false", object])
}

/// The same as another user, who may do everything.
fn delete_as(case: &Case<'_>, user: &str, object: &str) -> Result<Output> {
    let user = format!("--as={user}");
    case.kubectl(&[
        "delete",
        "--wait=false",
        &user,
        "--as-group=system:masters",
        object,
    ])
}

pub(crate) fn exists(case: &Case<'_>, object: &str) -> Result<bool> {
    Ok(case.kubectl(&["get", object])?.status.success())
}

fn is_gone(case: &Case<'_>, object: &str) -> Result<()> {
    ensure!(!exists(case, object)?, "{object} is still there");
    Ok(())
}

/// Workloads are seen by watches: those of a policy that has just started show everything, and later ones a moment later.
pub(crate) fn eventually_rejected(case: &Case<'_>, object: &str) -> Result<()> {
    wait_until("the rejection", Duration::from_secs(20), || {
        // A dry run costs nothing if the watch does not show the workload yet.
        let tried = case.kubectl(&["delete", "--dry-run=server", object])?;
        Ok(tried.stderr.contains("would be rejected").then_some(()))
    })?;
    assert_rejected(delete(case, object)?, &[IN_USE])?;
    ensure!(exists(case, object)?);
    Ok(())
}

/// Tries until it passes, as a GitOps controller does.
fn eventually_deleted(case: &Case<'_>, object: &str) -> Result<()> {
    wait_until("the deletion", Duration::from_secs(60), || {
        Ok(delete(case, object)?.status.success().then_some(()))
    })?;
    is_gone(case, object)
}

/// The pods of a workload are ready: there is no kubelet to say so.
pub(crate) fn make_ready(case: &Case<'_>) -> Result<()> {
    let pods = case.kubectl(&["get", "pods", "--output=name"])?.success()?;
    let ready =
        r#"{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}"#;
    for pod in pods.stdout.lines() {
        // It may have gone.
        case.kubectl(&["patch", "--subresource=status", pod, "--patch", ready])?;
    }
    Ok(())
}

fn example(case: &Case<'_>) -> Result<()> {
    apply(
        case,
        &[config("used"), config("unused"), web("used")].concat(),
    )?;
    let _guard = guard(case, "warn")?;
    let rejected = delete_as(case, FLUX, "configmap/used")?;
    assert_rejected(rejected, &[IN_USE, "Deployment web requires it."])?;
    // In one commit, the keys go before the Deployment lets go of them.
    let user = format!("--as={FLUX}");
    let removal = r#"{"data": {"setting": null}}"#;
    let patch = [
        "patch",
        &user,
        "--as-group=system:masters",
        "configmap/used",
        "--patch",
        removal,
    ];
    let patched = case.kubectl(&patch)?.success()?;
    let warning =
        "ConfigMap used loses keys that are in use: Deployment web requires its key setting";
    ensure!(patched.stderr.contains(warning), "{patched}");
    delete_as(case, FLUX, "configmap/unused")?.success()?;
    is_gone(case, "configmap/unused")?;
    ensure!(exists(case, "configmap/used")?);
    let warned = delete(case, "configmap/used")?.success()?;
    let warning = "Warning: rollout-guard: ConfigMap used is in use: Deployment web requires it";
    ensure!(warned.stderr.contains(warning), "{warned}");
    is_gone(case, "configmap/used")
}

fn kinds(case: &Case<'_>) -> Result<()> {
    let objects = "
apiVersion: v1
kind: Secret
metadata: {name: used}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: used}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: used}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 0 31 2 *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: job, image: job, envFrom: [{configMapRef: {name: for-cronjob}}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: job, image: job, envFrom: [{configMapRef: {name: for-job}}]}]
";
    let all = json!({
        "serviceAccountName": "used",
        "volumes": [
            {"name": "a", "secret": {"secretName": "used"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "used"}},
        ],
        "containers": [{"name": "app", "image": "app", "volumeMounts": [
            {"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"},
        ]}],
    });
    let configs = ["for-set", "for-daemon", "for-cronjob", "for-job"];
    let manifest = [
        objects.to_owned(),
        configs.map(config).concat(),
        workload("Deployment", "web", &all),
        workload("StatefulSet", "db", &pods("for-set")),
        workload("DaemonSet", "log", &pods("for-daemon")),
    ];
    apply(case, &manifest.concat())?;
    let _guard = guard(case, "reject")?;
    for object in [
        "secret/used",
        "serviceaccount/used",
        "persistentvolumeclaim/used",
    ] {
        assert_rejected(
            delete(case, object)?,
            &[IN_USE, "Deployment web requires it."],
        )?;
        ensure!(exists(case, object)?);
    }
    for (name, who) in [
        ("for-set", "StatefulSet db"),
        ("for-daemon", "DaemonSet log"),
        ("for-cronjob", "CronJob nightly"),
        ("for-job", "Job once"),
    ] {
        let object = format!("configmap/{name}");
        assert_rejected(delete(case, &object)?, &[IN_USE, who])?;
    }
    let patch = |patch: &str| case.kubectl(&["patch", "configmap", "for-set", "--patch", patch]);
    assert_rejected(
        patch(r#"{"data": {"setting": null}}"#)?,
        &[
            "ConfigMap for-set in namespace",
            "was not changed, because it would lose keys that are in use",
            "StatefulSet db requires its key setting.",
        ],
    )?;
    patch(r#"{"data": {"other": null, "setting": "new"}}"#)?.success()?;

    let done = r#"{"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:00Z", "conditions": [
        {"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}}"#;
    let status = ["patch", "--subresource=status", "job/once", "--patch", done];
    case.kubectl(&status)?.success()?;
    eventually_deleted(case, "configmap/for-job")
}

/// How many pods each ReplicaSet has.
fn replicas(case: &Case<'_>) -> Result<String> {
    let counts = "--output=jsonpath={.items[*].status.replicas}";
    let sets = case.kubectl(&["get", "replicasets", counts])?.success()?;
    Ok(sets.stdout.trim().to_owned())
}

pub(crate) fn pods_of_first_rollout(case: &Case<'_>) -> Result<()> {
    wait_until("a ReplicaSet with pods", Duration::from_secs(60), || {
        Ok((replicas(case)? == "1").then_some(()))
    })
}

fn rollout(case: &Case<'_>) -> Result<()> {
    apply(case, &[config("v1"), config("v2"), web("v1")].concat())?;
    pods_of_first_rollout(case)?;
    let _guard = guard(case, "reject")?;
    eventually_rejected(case, "configmap/v1")?;
    apply(case, &web("v2"))?;
    wait_until("the new ReplicaSet", Duration::from_secs(30), || {
        Ok((replicas(case)? == "1 1").then_some(()))
    })?;
    // ReplicaSets are listed for the first time.
    eventually_rejected(case, "configmap/v1")?;
    assert_rejected(
        delete_as(case, FLUX, "configmap/v1")?,
        &[
            IN_USE,
            "ReplicaSet web-",
            "requires it until the rollout of Deployment web is done.",
        ],
    )?;
    make_ready(case)?;
    eventually_deleted(case, "configmap/v1")?;
    ensure!(exists(case, "configmap/v2")?);
    Ok(())
}

fn stateful_set(case: &Case<'_>) -> Result<()> {
    let db = |config: &str| workload("StatefulSet", "db", &pods(config));
    let status = |field: &str| -> Result<String> {
        let output = format!("--output=jsonpath={{.status.{field}}}");
        Ok(case
            .kubectl(&["get", "statefulset", "db", &output])?
            .success()?
            .stdout)
    };
    apply(case, &[config("v1"), config("v2"), db("v1")].concat())?;
    wait_until("a revision", Duration::from_secs(30), || {
        Ok((!status("currentRevision")?.is_empty()).then_some(()))
    })?;
    let _guard = guard(case, "reject")?;
    apply(case, &db("v2"))?;
    wait_until("the new revision", Duration::from_secs(30), || {
        Ok((status("currentRevision")? != status("updateRevision")?).then_some(()))
    })?;
    wait_until("the rejection", Duration::from_secs(20), || {
        let tried = case.kubectl(&["delete", "--dry-run=server", "configmap/v1"])?;
        let why = "StatefulSet db requires it until the rollout of StatefulSet db is done";
        Ok(tried.stderr.contains(why).then_some(()))
    })?;
    assert_rejected(delete(case, "configmap/v1")?, &[IN_USE])?;
    wait_until("the end of the rollout", Duration::from_secs(60), || {
        make_ready(case)?;
        Ok((status("currentRevision")? == status("updateRevision")?).then_some(()))
    })?;
    eventually_deleted(case, "configmap/v1")
}

fn other_kind(case: &Case<'_>) -> Result<()> {
    let group = format!("{}.example.com", case.namespace);
    let rollouts = define_rollouts(case, &group)?;
    let rollout = |config: &str| {
        workload("Rollout", "web", &pods(config)).replace("apps/v1", &format!("{group}/v1"))
    };
    let old_pods = workload("ReplicaSet", "web-1", &pods("v1"));
    let objects = [config("v1"), config("v2"), rollout("v1"), old_pods];
    apply(case, &objects.concat())?;
    let uid = case.kubectl(&["get", &rollouts, "web", "--output=jsonpath={.metadata.uid}"])?;
    let uid = uid.success()?.stdout;
    let owner = json!({"apiVersion": format!("{group}/v1"), "kind": "Rollout", "name": "web", "uid": uid, "controller": true});
    let owned = json!({"metadata": {"ownerReferences": [owner]}}).to_string();
    case.kubectl(&["patch", "replicaset/web-1", "--patch", &owned])?
        .success()?;
    let replicas = |observed: &str, updated: u64| -> Result<()> {
        let status =
            json!({"observedGeneration": observed, "replicas": 2, "updatedReplicas": updated});
        let status = json!({"status": status}).to_string();
        let patch = [
            "patch",
            "--subresource=status",
            "--type=merge",
            &rollouts,
            "web",
            "--patch",
            &status,
        ];
        case.kubectl(&patch)?.success()?;
        Ok(())
    };
    replicas("1", 2)?;

    let _guard = guard_with_rollouts(case, &format!("{group}/v1"), &rollouts)?;
    eventually_rejected(case, "configmap/v1")?;
    let web = ["Rollout web requires it."];
    assert_rejected(delete(case, "configmap/v1")?, &web)?;

    pods_of_first_rollout(case)?;
    apply(case, &rollout("v2"))?;
    wait_until("the old ReplicaSet counts", Duration::from_secs(20), || {
        let tried = case.kubectl(&["delete", "--dry-run=server", "configmap/v1"])?;
        let why = "ReplicaSet web-1 requires it until the rollout of Rollout web is done";
        Ok(tried.stderr.contains(why).then_some(()))
    })?;
    replicas("2", 1)?;
    eventually_rejected(case, "configmap/v2")?;
    assert_rejected(delete(case, "configmap/v1")?, &[IN_USE])?;
    replicas("2", 2)?;
    eventually_deleted(case, "configmap/v1")
}

fn collection(case: &Case<'_>) -> Result<()> {
    apply(
        case,
        &[config("used"), config("unused"), web("used")].concat(),
    )?;
    let guard = guard(case, "reject")?;
    let path = format!(
        "/api/v1/namespaces/{}/configmaps?labelSelector=app%3Dweb",
        case.namespace
    );
    assert_rejected(
        case.cluster.kubectl(["delete", "--raw", &path])?,
        &["ConfigMap used in namespace", IN_USE],
    )?;
    ensure!(exists(case, "configmap/used")?);
    if let Some(decisions) = guard.decisions() {
        ensure!(!decisions.is_empty());
        for decision in decisions {
            ensure!(
                decision.allowed
                    != decision
                        .message
                        .as_deref()
                        .unwrap_or_default()
                        .contains("ConfigMap used"),
                "{decision:?}"
            );
        }
    }
    delete(case, "deployment/web")?.success()?;
    wait_until("the deletion", Duration::from_secs(30), || {
        Ok(case
            .cluster
            .kubectl(["delete", "--raw", &path])?
            .status
            .success()
            .then_some(()))
    })?;
    is_gone(case, "configmap/used")?;
    is_gone(case, "configmap/unused")
}

/// It prunes directly after it has applied, kind by kind, and stops at the first error.
fn prune(case: &Case<'_>) -> Result<()> {
    let (configs, deployments) = ("core/v1/ConfigMap", "apps/v1/Deployment");
    let prune_in_order = |kinds: [&str; 2], manifest: &str| {
        let [first, second] = kinds.map(|kind| format!("--prune-allowlist={kind}"));
        let prune = ["apply", "--prune", "--selector=app=web", &first, &second];
        case.cluster.kubectl_with(&case.namespace, &prune, manifest)
    };
    let prune = |manifest: &str| prune_in_order([configs, deployments], manifest);
    prune(&[config("a"), config("b"), web("a")].concat())?.success()?;
    let _guard = guard(case, "reject")?;
    // Not in use.
    prune(&[config("a"), web("a")].concat())?.success()?;
    is_gone(case, "configmap/b")?;
    assert_rejected(prune(&web("a"))?, &["ConfigMap a", IN_USE])?;
    ensure!(exists(case, "configmap/a")?);
    // Both at once: workloads have to come first.
    assert_rejected(prune(&config("last"))?, &["ConfigMap a", IN_USE])?;
    ensure!(exists(case, "deployment/web")?);
    prune_in_order([deployments, configs], &config("last"))?.success()?;
    is_gone(case, "configmap/a")?;
    is_gone(case, "deployment/web")
}

fn whole_folder(case: &Case<'_>) -> Result<()> {
    let manifest = [config("app"), web("app")].concat();
    apply(case, &manifest)?;
    let _guard = guard(case, "reject")?;
    let delete = || {
        let delete = ["delete", "--ignore-not-found"];
        case.cluster
            .kubectl_with(&case.namespace, &delete, &manifest)
    };
    assert_rejected(delete()?, &["ConfigMap app", IN_USE])?;
    is_gone(case, "deployment/web")?;
    delete()?.success()?;
    is_gone(case, "configmap/app")?;

    apply(case, &manifest)?;
    let selected = [
        "delete",
        "all,configmap",
        "--selector=app=web",
        "--wait=false",
    ];
    case.kubectl(&selected)?.success()?;
    is_gone(case, "configmap/app")
}

fn namespace(case: &Case<'_>) -> Result<()> {
    let objects = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: app}
---
apiVersion: v1
kind: Secret
metadata: {name: app}
";
    apply(
        case,
        &[objects.to_owned(), config("app"), web("app")].concat(),
    )?;
    // The API server asks the policy about what the namespace controller deletes.
    let mut example = ExamplePolicy::read("deletion-guard-policy.yaml")?;
    example
        .match_conditions
        .retain(|condition| condition.name != "not-by-kubernetes-itself");
    example.settings["deletionGuard"]["level"] = "reject".into();
    let guard = started(case, &example)?;
    let delete = ["delete", "namespace", &case.namespace, "--timeout=90s"];
    case.cluster.kubectl(delete)?.success()?;
    ensure!(guard.rejected_nothing());
    if let Some(decisions) = guard.decisions() {
        let is_config = |name: &Option<String>| name.as_deref() == Some("app") || name.is_none();
        ensure!(
            decisions.iter().any(|decision| is_config(&decision.name)),
            "{decisions:?}"
        );
    }
    Ok(())
}

fn passes(case: &Case<'_>) -> Result<()> {
    let names = ["allowed", "owner", "owned", "dry", "kept"];
    let users = names.map(|name| workload("Deployment", &format!("web-{name}"), &pods(name)));
    apply(case, &[names.map(config).concat(), users.concat()].concat())?;
    let uid = case.kubectl(&[
        "get",
        "configmap",
        "owner",
        "--output=jsonpath={.metadata.uid}",
    ])?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid.success()?.stdout});
    let owned = json!({"metadata": {"ownerReferences": [owner]}}).to_string();
    case.kubectl(&["patch", "configmap", "owned", "--patch", &owned])?
        .success()?;
    let _guard = guard(case, "reject")?;

    assert_rejected(delete(case, "configmap/kept")?, &[IN_USE])?;
    let dry = case
        .kubectl(&["delete", "--dry-run=server", "configmap/dry"])?
        .success()?;
    let would = "ConfigMap dry is in use; this request would be rejected if it were no dry run";
    ensure!(dry.stderr.contains(would), "{dry}");

    // The command of the message.
    let allow = [
        "annotate",
        "configmap",
        "allowed",
        "rollout-guard/allow-delete=true",
    ];
    case.kubectl(&allow)?.success()?;
    delete(case, "configmap/allowed")?.success()?;
    is_gone(case, "configmap/allowed")?;

    case.kubectl(&[
        "annotate",
        "configmap",
        "owner",
        "rollout-guard/allow-delete=true",
    ])?
    .success()?;
    delete(case, "configmap/owner")?.success()?;
    wait_until("garbage collection", Duration::from_secs(60), || {
        Ok((!exists(case, "configmap/owned")?).then_some(()))
    })?;
    ensure!(exists(case, "configmap/kept")?);
    ensure!(exists(case, "configmap/dry")?);
    Ok(())
}

/// Its finalizer deletes all objects of an application with propagation in the foreground, and again until none is left.
fn application(case: &Case<'_>) -> Result<()> {
    apply(case, &[config("app"), web("app")].concat())?;
    let mut example = ExamplePolicy::read("deletion-guard-policy.yaml")?;
    // As with PruneLast.
    example.settings["deletionGuard"]["rejectFor"]["users"] = json!([ARGO_CD]);
    let _guard = started(case, &example)?;
    let first = delete_as(case, ARGO_CD, "configmap/app")?;
    assert_rejected(first, &[IN_USE])?;
    wait_until(
        "the end of the application",
        Duration::from_secs(90),
        || {
            for object in ["configmap/app", "deployment/web"] {
                let user = format!("--as={ARGO_CD}");
                case.kubectl(&[
                    "delete",
                    "--wait=false",
                    "--cascade=foreground",
                    "--ignore-not-found",
                    &user,
                    "--as-group=system:masters",
                    object,
                ])?;
            }
            Ok((!exists(case, "configmap/app")? && !exists(case, "deployment/web")?).then_some(()))
        },
    )
}

fn release(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = guard(case, "reject")?;
    let both = [config("app"), web("app"), config("plain")].concat();
    upgrade(case, helm, "1.0.0", &both)?.success()?;
    // By hand, it is in use.
    eventually_rejected(case, "configmap/app")?;
    // Helm deletes the ConfigMap before the Deployment.
    upgrade(case, helm, "2.0.0", &config("plain"))?.success()?;
    is_gone(case, "configmap/app")?;
    is_gone(case, "deployment/web")?;

    upgrade(case, helm, "3.0.0", &both)?.success()?;
    // A rollout begins, and the old config leaves at once.
    upgrade(
        case,
        helm,
        "4.0.0",
        &[config("app-2"), web("app-2")].concat(),
    )?
    .success()?;
    is_gone(case, "configmap/app")?;
    eventually_rejected(case, "configmap/app-2")?;
    case.helm(helm, &["uninstall", "app"])?.success()?;
    is_gone(case, "configmap/app-2")?;
    if let Some(decisions) = guard.decisions() {
        let rejected = decisions.iter().filter(|decision| !decision.allowed);
        ensure!(rejected.count() == 2, "{decisions:?}");
    }
    Ok(())
}

/// Helm has written that the release failed by then.
fn cleanup(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let guard = guard(case, "reject")?;
    upgrade(case, helm, "1.0.0", &config("plain"))?.success()?;
    let fails = [
        config("plain"),
        config("app"),
        web("app"),
        failing_job("post-upgrade"),
    ]
    .concat();
    upgrade_with(case, helm, "2.0.0", &fails, &["--cleanup-on-fail"])?.failure()?;
    is_gone(case, "configmap/app")?;
    is_gone(case, "deployment/web")?;
    ensure!(guard.rejected_nothing());
    Ok(())
}

fn hook(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = guard(case, "reject")?;
    let hook = config("app").replace(
        "labels: {app: web}",
        "annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: before-hook-creation}",
    );
    let chart = [hook, web("app")].concat();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let upgraded = upgrade(case, helm, version, &chart)?.success()?;
        ensure!(!upgraded.stderr.contains("in use"), "{upgraded}");
    }
    ensure!(exists(case, "configmap/app")?);
    // A person who deletes it is warned.
    wait_until("the warning", Duration::from_secs(20), || {
        let tried = case
            .kubectl(&["delete", "--dry-run=server", "configmap/app"])?
            .success()?;
        Ok(tried.stderr.contains("but it is a hook").then_some(()))
    })
}

/// Helm 3 logs the failure and goes on; Helm 4 reports it.
fn shared(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    upgrade(
        case,
        helm,
        "1.0.0",
        &[config("app"), config("plain")].concat(),
    )?
    .success()?;
    apply(case, &workload("Deployment", "other", &pods("app")))?;
    let _guard = guard(case, "reject")?;
    let upgraded = upgrade(case, helm, "2.0.0", &config("plain"))?;
    ensure!(exists(case, "configmap/app")?);
    match helm {
        HelmVersion::V3 => drop(upgraded.success()?),
        HelmVersion::V4 => assert_rejected(upgraded, &["Deployment other requires it."])?,
    }
    Ok(())
}
