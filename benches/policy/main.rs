//! `make bench`: what the policy costs, as ratios measured in one run.
//!
//! Workloads are compared with a policy that does nothing. Releases are compared with the minimum of work: base64
//! and gunzip of two records, as native code. The report marks figures above their limit.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

#[path = "../../tests/support/record.rs"]
mod record;
mod releases;
mod timing;

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use rollout_guard::{
    cluster::{Cluster, List, LookupError, ObjectRef, Review},
    request::Request,
    settings::Settings,
};
use serde_json::{Value, json};
use testbed::{HostError, Objects, Policy};
use testbed_wasmtime::wasmtime;

use self::{
    releases::{Content, History, Upgrade},
    timing::{Case, medians},
};

/// How long policy-server lets an evaluation take, in milliseconds.
const TIME_LIMIT: f64 = 2000.0;
const MIB: usize = 1 << 20;

/// The upgrades that are measured: what the charts contain, the size of the records in kB, and where the current
/// revision is.
const UPGRADES: [(Content, usize, History); 8] = [
    (Content::Dashboards, 10, History::Deployed),
    (Content::Dashboards, 100, History::Deployed),
    (Content::Dashboards, LARGEST, History::Deployed),
    (Content::Dashboards, LARGEST, History::NineFailed),
    (Content::Crds, 10, History::Deployed),
    (Content::Crds, 100, History::Deployed),
    (Content::Crds, LARGEST, History::Deployed),
    (Content::Crds, LARGEST, History::NineFailed),
];
/// About the largest record that fits into a Secret.
const LARGEST: usize = 1000;

fn main() {
    if std::env::args().any(|argument| argument == PEAKS) {
        return print_peaks();
    }
    let (policy, noop) = (load("policy.wasm"), load("noop.wasm"));
    println!(
        "What rollout-guard costs. Compare the ratios: the times depend on this machine. They are medians of {} rounds.\n\
         OVER marks a figure above its limit.",
        timing::ROUNDS
    );
    module(&policy, &noop);
    workloads(&policy, &noop);
    deletions(&policy, &noop);
    releases(&policy);
}

fn path(module: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(module)
}

fn load(module: &str) -> Policy {
    Policy::load(&path(module), wasmtime).unwrap()
}

/// `3.5 of at most 5`
fn against(limit: f64, value: f64) -> String {
    let mark = if value > limit { " OVER" } else { "" };
    format!(
        "{value:.1} of at most {}{mark}",
        (limit * 10.0).round() / 10.0
    )
}

/// Prints rows under their headings, in columns.
fn print_table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) {
    let rows = [vec![headings.map(str::to_owned)], rows].concat();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap());
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}

fn module(policy: &Policy, noop: &Policy) {
    let kilobytes = |module| fs::metadata(path(module)).unwrap().len() as f64 / 1000.0;
    let start = |policy: &Policy| -> Case<'_> {
        let policy = policy.clone();
        Box::new(move || drop(policy.call("protocol_version", b"").unwrap()))
    };
    let [nothing, ours] = medians([start(noop), start(policy)], 40);
    println!("\nTHE MODULE, and a policy that does nothing, built with the same SDK");
    let row = |name: &str, size: String, ms: f64| {
        [
            name.to_owned(),
            size,
            format!("{ms:.3}"),
            format!("{:.1}", ms / nothing),
        ]
    };
    print_table(
        ["", "kB", "ms to start it", "ratio"],
        vec![
            row(
                "does nothing",
                format!("{:.0}", kilobytes("noop.wasm")),
                nothing,
            ),
            row(
                "policy.wasm",
                against(1150.0, kilobytes("policy.wasm")),
                ours,
            ),
        ],
    );
}

fn workloads(policy: &Policy, noop: &Policy) {
    const CONFIGS: [usize; 5] = [0, 1, 4, 16, 30];
    let requests = CONFIGS.map(deployment);
    let evaluations = requests
        .iter()
        .map(|(request, cluster)| evaluation(policy, request, cluster));
    let nothing = evaluation(noop, &requests[2].0, &requests[2].1);
    let cases: Vec<Case<'_>> = std::iter::once(nothing).chain(evaluations).collect();
    let [nothing, of_configs @ ..]: [f64; 6] = medians(cases.try_into().ok().unwrap(), 40);

    println!("\nA DEPLOYMENT that uses ConfigMaps, and a policy that does nothing with it");
    println!(
        "Last: an API server that takes 3 ms for each look-up, and the minimum, which is to wait for it"
    );
    let mut rows = vec![
        [
            "does nothing",
            &format!("{nothing:.3}"),
            "1.0",
            "",
            "",
            "",
            "",
            "",
        ]
        .map(str::to_owned),
    ];
    let mut before: Option<(usize, f64)> = None;
    for ((configs, ms), (request, cluster)) in CONFIGS.into_iter().zip(of_configs).zip(&requests) {
        let (calls, bytes) = host_calls(policy, request, cluster);
        let further = before.map(|(fewer, less)| (ms - less) / (configs - fewer) as f64);
        let (slow, ratio) = match configs {
            4 | 30 => {
                let wait: Case<'_> = Box::new(|| (0..configs).for_each(|_| Slow::wait()));
                let slow = evaluation_in(policy, request, Slow(Objects::new(cluster.to_vec())));
                let [wait, slow] = medians([wait, slow], 1);
                (format!("{slow:.1}"), against(1.2, slow / wait))
            }
            _ => (String::new(), String::new()),
        };
        rows.push([
            format!("{configs} ConfigMaps"),
            format!("{ms:.3}"),
            match configs {
                4 => against(5.0, ms / nothing),
                _ => format!("{:.1}", ms / nothing),
            },
            further
                .map(|further| format!("{further:.3}"))
                .unwrap_or_default(),
            calls.to_string(),
            bytes.to_string(),
            slow,
            ratio,
        ]);
        before = Some((configs, ms));
    }
    print_table(
        [
            "",
            "ms",
            "ratio",
            "ms for each more",
            "look-ups",
            "bytes looked up",
            "ms at 3 ms a look-up",
            "ratio",
        ],
        rows,
    );
}

/// A cluster behind a slow API server.
struct Slow(Objects);

impl Slow {
    fn wait() {
        thread::sleep(Duration::from_millis(3));
    }
}

impl testbed::Cluster for Slow {
    fn get_resource(&self, request: &GetResourceRequest) -> Result<Value, HostError> {
        Self::wait();
        self.0.get_resource(request)
    }

    fn list_resources_by_namespace(
        &self,
        request: &ListResourcesByNamespaceRequest,
    ) -> Result<Vec<Value>, HostError> {
        Self::wait();
        self.0.list_resources_by_namespace(request)
    }

    fn list_resources_all(
        &self,
        request: &ListAllResourcesRequest,
    ) -> Result<Vec<Value>, HostError> {
        Self::wait();
        self.0.list_resources_all(request)
    }
}

fn releases(policy: &Policy) {
    println!(
        "\nA HELM UPGRADE: the pending record and the current one, and the minimum of work: base64 and gunzip of these two, as native code"
    );
    let mut rows = Vec::new();
    for ((content, kilobytes, history), peak) in UPGRADES.into_iter().zip(peaks()) {
        let upgrade = Upgrade::new(content, kilobytes, history);
        let minimum: Case<'_> = Box::new(|| {
            for record in upgrade.pair() {
                black_box(decode(record));
            }
        });
        let native: Case<'_> = Box::new(|| run_natively(&upgrade));
        let wasm = evaluation(policy, &upgrade.request, &upgrade.records);
        let repeats = if kilobytes == LARGEST { 1 } else { 10 };
        let [minimum, native, wasm] = medians([minimum, native, wasm], repeats);
        let decoded: usize = upgrade
            .pair()
            .map(|record| decode(record).len())
            .iter()
            .sum();
        let ratio = |limit, ms: f64| match (kilobytes, history) {
            (LARGEST, History::Deployed) => against(limit, ms / minimum),
            _ => format!("{:.1}", ms / minimum),
        };
        let (calls, bytes) = host_calls(policy, &upgrade.request, &upgrade.records);
        let most = 4.0 * decoded as f64 / MIB as f64 + 16.0;
        rows.push([
            format!("2 x {} kB", upgrade.pair()[0].len() / 4 * 3 / 1000),
            content.to_string(),
            history.to_string(),
            format!("{:.1} MB", decoded as f64 / 1e6),
            format!("{minimum:.2}"),
            ratio(2.5, native),
            ratio(4.0, wasm),
            against(10.0, wasm / TIME_LIMIT * 100.0),
            against(most, peak as f64),
            calls.to_string(),
            (bytes / 1000).to_string(),
        ]);
    }
    print_table(
        [
            "records",
            "content",
            "current revision",
            "decoded",
            "ms at minimum",
            "native code, ratio",
            "policy.wasm, ratio",
            "% of 2 s",
            "MiB of memory",
            "look-ups",
            "kB looked up",
        ],
        rows,
    );
}

/// With this argument, the program prints only the peaks.
const PEAKS: &str = "peaks";

/// The peak memory of each upgrade, in MiB. They are measured in a separate process, because a policy that runs
/// out of memory prints an error each time.
fn peaks() -> Vec<usize> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.arg(PEAKS).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn print_peaks() {
    let policy = load("policy.wasm");
    for (content, kilobytes, history) in UPGRADES {
        println!(
            "{}",
            peak_memory(&policy, &Upgrade::new(content, kilobytes, history))
        );
    }
}

/// The smallest memory limit, in MiB, under which the upgrade can be judged. Memory never shrinks, so this is the
/// peak.
fn peak_memory(policy: &Policy, upgrade: &Upgrade) -> usize {
    let cluster = Arc::new(Objects::new(upgrade.records.iter().cloned()));
    let is_enough = |mib: usize| {
        let limited = policy.clone().with_memory_limit(mib * MIB);
        let evaluation = limited.validate(&upgrade.request, &json!({}), cluster.clone());
        evaluation.is_ok_and(|evaluation| evaluation.response.accepted)
    };
    let (mut too_little, mut enough) = (0, 4096);
    while enough - too_little > 1 {
        let middle = usize::midpoint(too_little, enough);
        match is_enough(middle) {
            true => enough = middle,
            false => too_little = middle,
        }
    }
    enough
}

fn evaluation<'a>(policy: &Policy, request: &'a Value, cluster: &[Value]) -> Case<'a> {
    evaluation_in(policy, request, Objects::new(cluster.to_vec()))
}

fn evaluation_in<'a>(
    policy: &Policy,
    request: &'a Value,
    cluster: impl testbed::Cluster + 'static,
) -> Case<'a> {
    let (policy, cluster) = (policy.clone(), Arc::new(cluster));
    Box::new(move || {
        let response = policy
            .validate(request, &json!({}), cluster.clone())
            .unwrap()
            .response;
        assert!(response.accepted, "{:?}", response.message);
    })
}

/// How many look-ups an evaluation makes, and how many bytes it receives.
fn host_calls(policy: &Policy, request: &Value, cluster: &[Value]) -> (usize, usize) {
    let cluster = Arc::new(Objects::new(cluster.to_vec()));
    let calls = policy
        .validate(request, &json!({}), cluster)
        .unwrap()
        .host_calls;
    let bytes = calls
        .iter()
        .filter_map(|call| call.answer.as_ref().ok())
        .sum();
    (calls.len(), bytes)
}

fn deployment(configs: usize) -> (Value, Vec<Value>) {
    let metadata = |name: &str| json!({"name": name, "namespace": "shop"});
    let name = |n: usize| format!("config-{n}");
    let cluster = (0..configs)
        .map(|n| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&name(n)), "data": {"app.yaml": "a: b\n".repeat(200)}}))
        .collect();
    let from: Vec<_> = (0..configs)
        .map(|n| json!({"configMapRef": {"name": name(n)}}))
        .collect();
    let request = json!({
        "uid": "1", "operation": "CREATE", "name": "web", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "object": {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("web"),
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web", "envFrom": from}]}}},
        },
    });
    (request, cluster)
}

/// Deletions of a ConfigMap, with and without somebody who needs it.
fn deletions(policy: &Policy, noop: &Policy) {
    const CASES: [(&str, &str, usize, bool); 4] = [
        ("nobody needs it", "unused", 1, false),
        ("nobody needs it", "unused", 10, false),
        ("the same in a rollout", "unused", 1, true),
        ("five need it", "config-7", 1, false),
    ];
    println!(
        "\nA DELETION of a ConfigMap in a namespace with 200 workloads, a policy that does nothing with it, and what \
         policy-server itself takes to hand over what the policy looks up"
    );
    let rows = CASES.map(|(case_name, config, namespaces, in_rollout)| {
        let (request, cluster) = deletion(config, namespaces, in_rollout);
        let objects = Objects::new(cluster.iter().cloned());
        let settings = json!({"deletionGuard": {"level": "warn"}});
        let judge = |policy: &Policy| {
            let cluster = Arc::new(objects.clone());
            policy.validate(&request, &settings, cluster).unwrap()
        };
        let calls = judge(policy).host_calls;
        let cluster = Arc::new(objects.clone());
        let case = |policy: &Policy| -> Case<'_> {
            let (policy, cluster) = (policy.clone(), cluster.clone());
            let (request, settings) = (&request, &settings);
            Box::new(move || {
                let evaluation = policy.validate(request, settings, cluster.clone()).unwrap();
                assert!(
                    evaluation.response.accepted,
                    "{:?}",
                    evaluation.response.message
                );
            })
        };
        let payloads: Vec<_> = calls
            .iter()
            .map(|call| (call.operation.as_str(), call.request.to_string()))
            .collect();
        let hand_over: Case<'_> = Box::new(|| {
            for (operation, payload) in &payloads {
                drop(black_box(testbed::answer(
                    &objects,
                    operation,
                    payload.as_bytes(),
                )));
            }
        });
        let [nothing, hand_over, ours] = medians([case(noop), hand_over, case(policy)], 2);
        let answers = calls.iter().filter_map(|call| call.answer.as_ref().ok());
        let ratio = ours / (nothing + hand_over);
        [
            case_name.to_owned(),
            (200 * namespaces).to_string(),
            format!("{nothing:.3}"),
            format!("{hand_over:.3}"),
            format!("{ours:.3}"),
            match config {
                "unused" => against(2.0, ratio),
                _ => format!("{ratio:.1}"),
            },
            format!("{:.0}", ours / nothing),
            calls.len().to_string(),
            (answers.sum::<usize>() / 1000).to_string(),
        ]
    });
    print_table(
        [
            "",
            "workloads in the cluster",
            "ms, does nothing",
            "ms to hand over",
            "ms",
            "ratio to both",
            "to the first",
            "look-ups",
            "kB looked up",
        ],
        rows.to_vec(),
    );
}

/// The deletion of a ConfigMap, and namespaces of 200 workloads each, with the fields that policy-server keeps of them.
fn deletion(name: &str, namespaces: usize, in_rollout: bool) -> (Value, Vec<Value>) {
    let metadata = json!({"name": name, "namespace": "shop"});
    let request = json!({
        "uid": "1", "operation": "DELETE", "name": name, "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "oldObject": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}},
    });
    const KINDS: [(&str, &str, usize); 6] = [
        ("apps/v1", "Deployment", 160),
        ("apps/v1", "ReplicaSet", 400),
        ("apps/v1", "StatefulSet", 10),
        ("apps/v1", "DaemonSet", 10),
        ("batch/v1", "CronJob", 10),
        ("batch/v1", "Job", 10),
    ];
    let mut cluster =
        vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})];
    for namespace in 0..namespaces {
        let namespace = match namespace {
            0 => "shop".to_owned(),
            other => format!("other-{other}"),
        };
        for (api_version, kind, count) in KINDS {
            cluster.extend((0..count).map(|n| listed(api_version, kind, &namespace, n)));
        }
    }
    if let Some(deployment) = cluster
        .iter_mut()
        .find(|object| object["kind"] == "Deployment")
    {
        deployment["status"]["updatedReplicas"] = usize::from(!in_rollout).into();
    }
    (request, cluster)
}

/// A workload that reads two ConfigMaps and a Secret.
fn listed(api_version: &str, kind: &str, namespace: &str, n: usize) -> Value {
    let labels =
        json!({"app.kubernetes.io/name": "app", "app.kubernetes.io/instance": format!("app-{n}")});
    let template = json!({"spec": {
        "serviceAccountName": format!("app-{n}"),
        "volumes": [
            {"name": "config", "configMap": {"name": format!("config-{n}"), "defaultMode": 420}},
            {"name": "tmp", "emptyDir": {}},
        ],
        "containers": [{
            "envFrom": [{"configMapRef": {"name": "shared"}}],
            "env": [{}, {}, {"valueFrom": {"secretKeyRef": {"name": format!("secret-{n}"), "key": "password"}}}],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "tmp", "mountPath": "/tmp"}],
        }],
    }});
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": format!("app-{n}"), "namespace": namespace, "uid": "0b1f0b6e-6a52-4b6e-8d0c-4f2b8f1e7a10",
            "resourceVersion": "123456", "generation": 3, "creationTimestamp": "2026-11-30T00:00:00Z",
            "labels": labels, "annotations": {"deployment.kubernetes.io/revision": "3"},
        },
        "spec": {"replicas": 1, "template": template},
        "status": {"observedGeneration": 3, "replicas": usize::from(n < 160), "updatedReplicas": 1},
    });
    if kind == "CronJob" {
        object["spec"] = json!({"jobTemplate": {"spec": {"template": object["spec"]["template"]}}});
    }
    object
}

/// The minimum: what every reader of a record has to do, with the library that most Rust programs use. The policy
/// uses a faster one, which takes about two thirds of this time. This measure does not change if the policy changes
/// its library.
fn decode(record: &str) -> Vec<u8> {
    const HEADER: usize = 10;
    const TRAILER: usize = 8;
    let helm = BASE64_STANDARD.decode(record).unwrap();
    let gzip = BASE64_STANDARD.decode(helm).unwrap();
    let (deflated, trailer) = gzip[HEADER..].split_at(gzip.len() - HEADER - TRAILER);
    let json = miniz_oxide::inflate::decompress_to_vec(deflated).unwrap();
    assert_eq!(crc32fast::hash(&json).to_le_bytes(), trailer[..4]);
    json
}

/// The same decision as native code.
fn run_natively(upgrade: &Upgrade) {
    struct Records<'a>(&'a [Value]);

    impl Cluster for Records<'_> {
        fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
            let mut objects = self.0.iter();
            Ok(objects
                .find(|found| found["metadata"]["name"] == object.name)
                .cloned())
        }

        fn list(&self, _: &List<'_>) -> Result<Vec<Value>, LookupError> {
            Ok(Vec::new())
        }

        fn may_read(&self, _: &Review<'_>) -> Result<bool, LookupError> {
            Ok(true)
        }
    }

    let request: Request = serde_json::from_value(upgrade.request.clone()).unwrap();
    black_box(rollout_guard::judge(
        &request,
        &Settings::default(),
        &Records(&upgrade.records),
    ));
}
