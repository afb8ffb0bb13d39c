//! Many workloads, many configs, and all of them change at once.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster_tests::k8s_openapi::api::core::v1::ConfigMap;
use cluster_tests::kube::Api;
use cluster_tests::kube::api::{Patch, PatchParams};
use cluster_tests::{Case, User, wait_until};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::app::{config, deployment};
use crate::guard::Guard;
use crate::program::{Refresh, flags};

/// Patches in a second, and at once.
const RATE: u64 = 40;
const BURST: u64 = 100;
/// Changes within about a second.
const CHANGES: usize = 1000;
/// Objects in one call of kubectl.
const AT_ONCE: usize = 250;
const PATIENCE: Duration = Duration::from_secs(1200);

pub(crate) fn many(case: &Case<'_>, workloads: usize) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let numbers: Vec<_> = (0..workloads).collect();
    for some in numbers.chunks(AT_ONCE) {
        let mut manifests = String::new();
        for number in some {
            // Each uses two configs, of which one is its own.
            let name = format!("web-{number}");
            let web = deployment("", "web")
                .replace("name: web\n", &format!("name: {name}\n"))
                .replace("spec:\n  selector", "spec:\n  replicas: 0\n  selector")
                .replace(
                    "envFrom: [",
                    &format!("envFrom: [{{configMapRef: {{name: other-{number}}}}}, "),
                )
                .replace("app-config", &name);
            let own = config("", "one").replace("app-config", &name);
            let other = config("", "one").replace("app-config", &format!("other-{number}"));
            manifests += &format!("{own}---{other}---{web}---");
        }
        case.cluster.apply(&case.namespace, &manifests)?.success()?;
    }
    let mut flags = flags(case);
    flags.extend([
        format!("--rate={RATE}"),
        format!("--burst={BURST}"),
        format!("--namespace-rate={RATE}"),
        format!("--namespace-burst={BURST}"),
        format!("--gentle-rate={RATE}"),
    ]);
    let mark = case.cluster.audit_mark()?;
    let refresh = Refresh::start(case, &flags)?;
    refresh.wait_until_it_leads()?;
    let begin = Instant::now();
    wait_until("the first pass is over", PATIENCE, || {
        Ok(refresh.is_idle()?.then_some(()))
    })?;
    let pass = begin.elapsed();
    let gentle = requests(case, mark)?;
    let objects = 3 * workloads as u64;
    println!(
        "{workloads} workloads, {} configs: {} MiB, {} bytes an object; the first pass sent {gentle} requests in {} s",
        2 * workloads,
        refresh.resident_bytes()? >> 20,
        refresh.resident_bytes()? / objects,
        pass.as_secs(),
    );

    let mark = case.cluster.audit_mark()?;
    // One config of each workload. If both changed, it would be right to roll out twice, or once.
    let changes = CHANGES.min(workloads);
    let config_maps = Api::<ConfigMap>::namespaced(case.cluster.client(), &case.namespace);
    let before = refresh.patches("rolled_out")?;
    let begin = Instant::now();
    let names = (0..changes).map(|number| format!("web-{number}"));
    let patch = Patch::Merge(json!({"data": {"setting": "two"}}));
    let parameters = PatchParams::default();
    let patching = stream::iter(names)
        .map(Ok)
        .try_for_each_concurrent(16, |name| {
            let (config_maps, parameters, patch) = (&config_maps, &parameters, &patch);
            async move {
                config_maps
                    .patch(&name, parameters, patch)
                    .await
                    .map(|_| ())
            }
        });
    case.cluster.block_on(patching)?;
    let changed = begin.elapsed();
    let users = changes as u64;
    wait_until("all are rolled out", PATIENCE, || {
        let done = refresh.patches("rolled_out")? - before;
        let allowed = BURST + RATE * (begin.elapsed().as_secs() + 1);
        ensure!(
            done <= allowed,
            "{done} patches in {} s",
            begin.elapsed().as_secs()
        );
        Ok((done >= users && refresh.is_idle()?).then_some(()))
    })?;
    let requests = requests(case, mark)?;
    println!(
        "{changes} configs changed in {} ms: {users} workloads rolled out with {requests} requests in {} ms, {} MiB",
        changed.as_millis(),
        begin.elapsed().as_millis(),
        refresh.resident_bytes()? >> 20,
    );
    ensure!(
        refresh.patches("rolled_out")? - before == users,
        "{}",
        refresh.get("/metrics")?
    );
    Ok(())
}

/// Of the program, for workloads.
fn requests(case: &Case<'_>, mark: cluster_tests::AuditMark) -> Result<usize> {
    let trail = case
        .cluster
        .audit_since(mark)?
        .in_namespace(&case.namespace);
    Ok(trail.by_user(User::Refresh).events().len())
}
