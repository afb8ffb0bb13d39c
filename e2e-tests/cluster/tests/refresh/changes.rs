//! Changes for which nobody sends a request for the workload.

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster_tests::k8s_openapi::api::apps::v1::ReplicaSet;
use cluster_tests::k8s_openapi::api::core::v1::ConfigMap;
use cluster_tests::kube::Api;
use cluster_tests::kube::api::{ListParams, Patch, PatchParams};
use cluster_tests::{Case, HelmVersion, Processes, Suite, from_environment, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{config, deployment};
use crate::guard::Guard;
use crate::program::{HOME, LIMIT, Refresh, flags};
use crate::rollouts::rollouts;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case("what changes by itself rolls out once", rolls_out_once);
    suite.case("a label of a config rolls nothing out", labels);
    suite.case("from a change to the rollout", latency);
    suite.case("a dry run changes nothing, and says what it would", dry_run);
    suite.case(
        "one namespace, with the rights of examples/refresh-namespaced.yaml",
        one_namespace,
    );
    suite.case("opted out is left alone", opted_out);
}

/// Two replicas, of which the first leads.
pub(crate) fn replicas(case: &Case<'_>, flags: &[String]) -> Result<[Refresh; 2]> {
    let leader = Refresh::start(case, flags)?;
    leader.wait_until_it_leads()?;
    Ok([leader, Refresh::start(case, flags)?])
}

/// One more rollout of a workload than before, and no further one.
pub(crate) fn rolled_out(case: &Case<'_>, workload: &str, expected: usize) -> Result<()> {
    let what = format!("{workload} is rolled out {expected} times");
    wait_until(&what, LIMIT, || {
        let count = rollouts(case, workload)?.len();
        ensure!(
            count <= expected,
            "{workload} is rolled out {count} times, not {expected}"
        );
        Ok((count == expected).then_some(()))
    })
}

fn rolls_out_once(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    // All namespaces; no case was before this one.
    let mut flags = flags(case);
    flags.retain(|flag| !flag.starts_with("--namespace="));
    flags.push(format!("--exclude-namespace={HOME}"));
    let replicas = replicas(case, &flags)?;
    let web = deployment("", "web");
    // The same with a Secret, of another kind.
    let with_secret = web.replace(
        "configMapRef: {name: app-config}",
        "secretRef: {name: password}",
    );
    let agent = with_secret
        .replace("kind: Deployment", "kind: DaemonSet")
        .replace("name: web\n", "name: agent\n");
    let db = with_secret
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("name: web\n", "name: db\n")
        .replace("spec:\n  selector", "spec:\n  serviceName: db\n  selector");
    let apply = |manifest: &str| case.cluster.apply(&case.namespace, manifest)?.success();
    let literal = "--from-literal=setting=one";
    case.kubectl(&["create", "secret", "generic", "password", literal])?
        .success()?;
    apply(&format!("{}---{agent}---{db}", config("", "one")))?;
    // The Deployment and its ConfigMap are those of Helm 3, which sends no request for what it does not change.
    let release = |version: &str, value: &str| {
        let manifests = format!(
            "{}---{web}",
            config("", value).replace("app-config", "of-helm")
        );
        let manifests = manifests.replace("name: app-config", "name: of-helm");
        let chart = case.chart(version, &[("all.yaml", &manifests)])?;
        case.helm(HelmVersion::V3, &["upgrade", "--install", "app", &chart])?
            .success()
    };
    release("1.0.0", "one")?;
    let plain = web.replace("name: web\n", "name: plain\n");
    apply(&plain)?;
    for workload in [
        "deployment/web",
        "deployment/plain",
        "daemonset/agent",
        "statefulset/db",
    ] {
        rolled_out(case, workload, 1)?;
    }

    let edited = json!({"data": {"setting": "two"}}).to_string();
    case.kubectl(&["patch", "configmap", "app-config", "--patch", &edited])?
        .success()?;
    rolled_out(case, "deployment/plain", 2).context("edited by hand")?;
    apply(&config("", "three"))?;
    rolled_out(case, "deployment/plain", 3).context("kubectl apply")?;
    let rotated = json!({"stringData": {"setting": "two"}}).to_string();
    case.kubectl(&["patch", "secret", "password", "--patch", &rotated])?
        .success()?;
    rolled_out(case, "daemonset/agent", 2).context("rotated")?;
    rolled_out(case, "statefulset/db", 2).context("rotated")?;
    release("2.0.0", "two")?;
    rolled_out(case, "deployment/web", 2).context("Helm 3")?;

    let [leader, other] = replicas;
    leader.wait_until_idle()?;
    rolled_out(case, "deployment/plain", 3)?;
    rolled_out(case, "deployment/web", 2)?;
    ensure!(!other.leads()?, "both lead");
    ensure!(
        leader.patches("rolled_out")? == 5,
        "{}",
        leader.get("/metrics")?
    );
    // `kubectl describe` shows why.
    let events = case
        .kubectl(&["describe", "deployment", "plain"])?
        .success()?
        .stdout;
    ensure!(
        events.contains("config changed: ConfigMap app-config"),
        "{events}"
    );
    leader.stop()
}

fn app(case: &Case<'_>) -> Result<()> {
    let manifests = format!("{}---{}", config("", "one"), deployment("", "web"));
    case.cluster.apply(&case.namespace, &manifests)?.success()?;
    rolled_out(case, "deployment/web", 1)
}

fn labels(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    let refresh = Refresh::start(case, &flags(case))?;
    refresh.wait_until_it_leads()?;
    refresh.wait_until_idle()?;
    let before = refresh.patches("unchanged")?;
    case.kubectl(&["label", "configmap", "app-config", "team=shop"])?
        .success()?;
    wait_until("the label was looked at", LIMIT, || {
        Ok((refresh.patches("unchanged")? > before).then_some(()))
    })?;
    ensure!(refresh.patches("rolled_out")? == 0);
    rolled_out(case, "deployment/web", 1)
}

/// Prints the times, as a test must not depend on them. With `RELOADER=program`, that of Reloader in turns with ours.
fn latency(case: &Case<'_>) -> Result<()> {
    let changes = from_environment("CHANGES", 11)?;
    let _guard = Guard::new(case, json!({}))?;
    let refresh = Refresh::start(case, &flags(case))?;
    refresh.wait_until_it_leads()?;
    let others = case.again(0)?;
    let reloader = match env::var_os("RELOADER") {
        Some(program) => Some(Reloader::start(&others, Path::new(&program))?),
        None => None,
    };
    apps(case, changes, "")?;
    apps(&others, changes, r#""reloader.stakater.com/auto": "true""#)?;
    refresh.wait_until_idle()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..changes {
        let name = format!("web-{number}");
        ours.push(until_rolled_out(case, &name)?);
        if reloader.is_some() {
            theirs.push(until_rolled_out(&others, &name)?);
        }
    }
    println!("from the change of a ConfigMap to the new ReplicaSet, {changes} times");
    print_times("rollout-guard-refresh", ours);
    if reloader.is_some() {
        print_times("Reloader", theirs);
    }
    Ok(())
}

/// Each change has a workload of its own, for there is a least time between two patches of one.
fn apps(case: &Case<'_>, count: usize, annotations: &str) -> Result<()> {
    let app = |number| {
        let name = format!("web-{number}");
        let web = deployment(annotations, "web").replace("name: web\n", &format!("name: {name}\n"));
        format!("{}---{web}---", config("", "one")).replace("app-config", &name)
    };
    let apps: String = (0..count).map(app).collect();
    case.cluster.apply(&case.namespace, &apps)?.success()?;
    for number in 0..count {
        rolled_out(case, &format!("deployment/web-{number}"), 1)?;
    }
    Ok(())
}

fn until_rolled_out(case: &Case<'_>, name: &str) -> Result<Duration> {
    let replica_sets = Api::<ReplicaSet>::namespaced(case.cluster.client(), &case.namespace);
    let begin = Instant::now();
    set(case, name, "two")?;
    wait_until("a new ReplicaSet", LIMIT, || {
        let all = ListParams::default();
        let found = case.cluster.block_on(replica_sets.list(&all))?;
        let is_of_app = |replica_set: &&ReplicaSet| {
            let mut owners = replica_set.metadata.owner_references.iter().flatten();
            owners.any(|owner| owner.name == name)
        };
        let count = found.items.iter().filter(is_of_app).count();
        Ok((count > 1).then(|| begin.elapsed()))
    })
}

fn print_times(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |hundredths: usize| times.get(times.len() * hundredths / 100);
    let millis = |hundredths| at(hundredths).copied().unwrap_or_default().as_millis();
    let (median, most, longest) = (millis(50), millis(90), millis(99));
    println!("{name}: median {median} ms, 90 % within {most} ms, longest {longest} ms");
}

/// A program that was built from the public sources of Reloader. It is no part of this repository.
struct Reloader {
    _processes: Processes,
    _folder: TempDir,
}

impl Reloader {
    fn start(case: &Case<'_>, program: &Path) -> Result<Reloader> {
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(folder.path())?;
        let arguments = [
            format!("KUBECONFIG={}", case.cluster.kubeconfig().display()),
            format!("KUBERNETES_NAMESPACE={}", case.namespace),
            program.display().to_string(),
            "--reload-strategy=annotations".to_owned(),
        ];
        processes.start("reloader", Path::new("env"), arguments)?;
        // It says so when it has begun to watch both kinds.
        let log = folder.path().join("reloader.log");
        wait_until("Reloader watches", LIMIT, || {
            processes.check()?;
            let log = std::fs::read_to_string(&log)?;
            Ok((log.matches("Starting Controller").count() >= 2).then_some(()))
        })?;
        Ok(Reloader {
            _processes: processes,
            _folder: folder,
        })
    }
}

/// Changes a ConfigMap by one request.
pub(crate) fn set(case: &Case<'_>, config: &str, setting: &str) -> Result<()> {
    let config_maps = Api::<ConfigMap>::namespaced(case.cluster.client(), &case.namespace);
    let patch = Patch::Merge(json!({"data": {"setting": setting}}));
    let parameters = PatchParams::default();
    let patched = config_maps.patch(config, &parameters, &patch);
    case.cluster.block_on(patched)?;
    Ok(())
}

fn dry_run(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    let mut flags = flags(case);
    flags.push("--dry-run".to_owned());
    let refresh = Refresh::start(case, &flags)?;
    refresh.wait_until_idle()?;
    edit(case, "two")?;
    wait_until("it says what would happen", LIMIT, || {
        Ok((refresh.patches("rolled_out")? == 1).then_some(()))
    })?;
    rolled_out(case, "deployment/web", 1)?;
    let says = |line: &&Value| {
        line["result"] == "rolled_out"
            && line["dry_run"] == true
            && line["configs"] == "ConfigMap app-config"
    };
    let log = refresh.log()?;
    ensure!(log.iter().filter(says).count() == 1, "{log:?}");
    let lease = format!("lease/{}", case.namespace);
    case.cluster
        .kubectl(["get", &lease, "--namespace", HOME])?
        .failure()?;
    Ok(())
}

fn edit(case: &Case<'_>, value: &str) -> Result<()> {
    crate::rollouts::edit(case, value)?;
    Ok(())
}

fn one_namespace(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    let manifest =
        std::fs::read_to_string(crate::example_policy::example("refresh-namespaced.yaml"))?;
    let manifest = manifest.replace(
        "namespace: default",
        &format!("namespace: {}", case.namespace),
    );
    let manifest = manifest.replace(
        "--namespace=default",
        &format!("--namespace={}", case.namespace),
    );
    case.cluster.apply(&case.namespace, &manifest)?.success()?;
    // The Deployment of the example, which is in the same namespace, needs no config.
    let account = format!("--serviceaccount={}:rollout-guard-refresh", case.namespace);
    let may = format!(
        "system:serviceaccount:{}:rollout-guard-refresh",
        case.namespace
    );
    wait_until("the role takes effect", LIMIT, || {
        let asked = case.kubectl(&["auth", "can-i", "patch", "deployments", "--as", &may])?;
        Ok(asked.status.success().then_some(()))
    })
    .context(account)?;
    let token = case
        .kubectl(&["create", "token", "rollout-guard-refresh"])?
        .success()?;
    let kubeconfig = std::fs::read_to_string(case.cluster.kubeconfig())?;
    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig)?;
    kubeconfig["users"][0]["user"] = json!({"token": token.stdout.trim()});
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string())?;
    let flags = [
        format!("--namespace={}", case.namespace),
        format!("--lease-namespace={}", case.namespace),
        "--lease-duration=2s".to_owned(),
    ];
    let refresh = Refresh::start_with(&path, &flags)?;
    refresh.wait_until_it_leads()?;
    edit(case, "two")?;
    rolled_out(case, "deployment/web", 2)?;
    refresh.wait_until_idle()?;
    let log = std::fs::read_to_string(refresh.log_file())?;
    ensure!(!log.contains("\"level\":\"WARN\""), "{log}");
    refresh.stop()
}

fn opted_out(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    app(case)?;
    let refresh = Refresh::start(case, &flags(case))?;
    refresh.wait_until_it_leads()?;
    refresh.wait_until_idle()?;
    case.kubectl(&[
        "annotate",
        "deployment",
        "web",
        "rollout-guard/refresh=false",
    ])?
    .success()?;
    wait_until("the workload is left alone", LIMIT, || {
        Ok((refresh.metric("workloads")? == 0).then_some(()))
    })?;
    edit(case, "two")?;
    // One watch tells of both in their order.
    let seen = refresh.metric("configs")?;
    case.kubectl(&["create", "configmap", "later"])?.success()?;
    wait_until("the change is seen", LIMIT, || {
        Ok((refresh.metric("configs")? > seen).then_some(()))
    })?;
    refresh.wait_until_idle()?;
    rolled_out(case, "deployment/web", 1)?;
    case.kubectl(&["annotate", "deployment", "web", "rollout-guard/refresh-"])?
        .success()?;
    rolled_out(case, "deployment/web", 2).context("nothing is lost when it opts in again")
}
