//! `make bench`: what the policy costs, as ratios measured in one run.
//!
//! Workloads are compared with a policy that does nothing, releases with the least that must be done:
//! base64 and gunzip of two records, natively. The report says where a figure is over its limit.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/support/record.rs"]
mod record;
mod releases;
mod timing;

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rollout_guard::{
    cluster::{Cluster, LookupError, ObjectRef},
    request::Request,
    settings::Settings,
};
use serde_json::{Value, json};
use testbed::{Objects, Policy};

use self::{
    releases::{Shape, Upgrade, Walk},
    timing::{Case, medians},
};

/// How long policy-server lets an evaluation take, in milliseconds.
const TIME_LIMIT: f64 = 2000.0;

fn main() {
    let (policy, noop) = (load("policy.wasm"), load("noop.wasm"));
    println!(
        "Times are of this machine and moment; the ratios are what counts. All are medians of 15 rounds."
    );
    module(&policy, &noop);
    workloads(&policy, &noop);
    releases(&policy);
}

fn path(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(module)
}

fn load(module: &str) -> Policy {
    Policy::load(&path(module)).unwrap()
}

/// `3.5 (limit 5)`, with a mark where it is over.
fn against(limit: f64, value: f64) -> String {
    let mark = if value > limit { " OVER" } else { "" };
    format!("{value:.1} (limit {limit}){mark}")
}

fn module(policy: &Policy, noop: &Policy) {
    let kilobytes = |module| fs::metadata(path(module)).unwrap().len() as f64 / 1000.0;
    let start = |policy: &Policy| {
        let policy = policy.clone();
        move || drop(policy.call("protocol_version", b"").unwrap())
    };
    let [nothing, ours] = medians([Box::new(start(noop)), Box::new(start(policy))], 40);
    println!("\nTHE MODULE, compared with a policy that does nothing, built from the same SDK");
    println!(
        "  size in kB              {:>8.0}   does nothing: {:.0}",
        kilobytes("policy.wasm"),
        kilobytes("noop.wasm")
    );
    println!(
        "  instantiation in ms     {ours:>8.3}   does nothing: {nothing:.3}   ratio {:.1}",
        ours / nothing
    );
}

fn workloads(policy: &Policy, noop: &Policy) {
    const CONFIGS: [usize; 4] = [0, 1, 4, 16];
    let requests = CONFIGS.map(deployment);
    let evaluations = requests
        .iter()
        .map(|(request, cluster)| evaluation(policy, request, cluster));
    let nothing = evaluation(noop, &requests[2].0, &requests[2].1);
    let cases: Vec<Case<'_>> = std::iter::once(nothing).chain(evaluations).collect();
    let [nothing, of_configs @ ..]: [f64; 5] = medians(cases.try_into().ok().unwrap(), 40);

    println!("\nA DEPLOYMENT, through policy.wasm, compared with a policy that does nothing");
    println!("  configs   ms       ratio               look-ups   bytes   a further config, ms");
    println!("  (nothing) {nothing:<8.3} 1.0");
    let mut before: Option<(usize, f64)> = None;
    for ((configs, ms), (request, cluster)) in CONFIGS.into_iter().zip(of_configs).zip(&requests) {
        let ratio = match configs {
            4 => against(5.0, ms / nothing),
            _ => format!("{:.1}", ms / nothing),
        };
        let (calls, bytes) = host_calls(policy, request, cluster);
        let further = match before {
            Some((fewer, less)) => format!("{:.3}", (ms - less) / (configs - fewer) as f64),
            None => String::new(),
        };
        println!("  {configs:<9} {ms:<8.3} {ratio:<19} {calls:<10} {bytes:<7} {further}");
        before = Some((configs, ms));
    }
}

fn releases(policy: &Policy) {
    println!(
        "\nA HELM UPGRADE: the pending record and the history, compared with base64 and gunzip of two records, natively"
    );
    println!(
        "  records      of           current revision   decoded   floor ms   natively            policy.wasm         % of 2 s         look-ups   bytes     memory"
    );
    for shape in [Shape::Dashboards, Shape::Crds] {
        for (kilobytes, walk) in [
            (10, Walk::First),
            (100, Walk::First),
            (1000, Walk::First),
            (1000, Walk::Worst),
        ] {
            let largest = kilobytes == 1000;
            let upgrade = Upgrade::new(shape, kilobytes, walk);
            let floor = || {
                for record in upgrade.pair() {
                    black_box(decode(record));
                }
            };
            let natively: Case<'_> = Box::new(|| natively(&upgrade));
            let wasm = evaluation(policy, &upgrade.request, &upgrade.history);
            let repeats = if largest { 1 } else { 10 };
            let [floor, native, wasm] = medians([Box::new(floor), natively, wasm], repeats);
            let decoded: usize = upgrade
                .pair()
                .into_iter()
                .map(|record| decode(record).len())
                .sum();
            let ratio = |limit, ms: f64| match (largest, walk) {
                (true, Walk::First) => against(limit, ms / floor),
                _ => format!("{:.1}", ms / floor),
            };
            let (calls, bytes) = host_calls(policy, &upgrade.request, &upgrade.history);
            let peak = peak_memory(policy, &upgrade);
            let most = 4.0 * decoded as f64 / MIB as f64 + 16.0;
            println!(
                "  {:<12} {:<12} {:<18} {:<9} {floor:<10.2} {:<19} {:<19} {:<16} {calls:<10} {:<9} {}",
                format!("2 x {} kB", upgrade.pair()[0].len() / 4 * 3 / 1000),
                match shape {
                    Shape::Dashboards => "dashboards",
                    Shape::Crds => "CRDs",
                },
                match walk {
                    Walk::First => "the last",
                    Walk::Worst => "nine before",
                },
                format!("{:.1} MB", decoded as f64 / 1e6),
                ratio(2.5, native),
                ratio(4.0, wasm),
                against(10.0, wasm / TIME_LIMIT * 100.0),
                format!("{} kB", bytes / 1000),
                format!("{peak} MiB (limit {most:.0})"),
            );
        }
    }
}

const MIB: usize = 1 << 20;

/// The least memory, in MiB, in which the upgrade is judged. Memory never shrinks, so that is its peak.
fn peak_memory(policy: &Policy, upgrade: &Upgrade) -> usize {
    let cluster = Arc::new(Objects::new(upgrade.history.iter().cloned()));
    let is_enough = |mib: usize| {
        let limited = policy.clone().with_memory_limit(mib * MIB).unwrap();
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
    let (policy, cluster) = (policy.clone(), Arc::new(Objects::new(cluster.to_vec())));
    Box::new(move || {
        let response = policy
            .validate(request, &json!({}), cluster.clone())
            .unwrap()
            .response;
        assert!(response.accepted, "{:?}", response.message);
    })
}

/// How many look-ups an evaluation makes, and how many bytes it gets.
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

/// The floor: what no reader of a record can do without, by the library that is in most Rust programs.
/// (The policy has one that takes about two thirds of the time, so that this measure does not move when
/// the policy gets a faster one.)
fn decode(record: &str) -> Vec<u8> {
    const HEADER: usize = 10;
    const TRAILER: usize = 8;
    let helm = BASE64_STANDARD.decode(record).unwrap();
    let gzip = BASE64_STANDARD.decode(helm).unwrap();
    miniz_oxide::inflate::decompress_to_vec(&gzip[HEADER..gzip.len() - TRAILER]).unwrap()
}

/// The same decision without wasm.
fn natively(upgrade: &Upgrade) {
    struct Given<'a>(&'a [Value]);

    impl Cluster for Given<'_> {
        fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
            let mut objects = self.0.iter();
            Ok(objects
                .find(|given| given["metadata"]["name"] == object.name)
                .cloned())
        }

        fn list(
            &self,
            _: &str,
            _: &str,
            _: &str,
            _: &str,
            _: &[&str],
        ) -> Result<Vec<Value>, LookupError> {
            Ok(Vec::new())
        }
    }

    let request: Request = serde_json::from_value(upgrade.request.clone()).unwrap();
    black_box(rollout_guard::judge(
        &request,
        &Settings::default(),
        &Given(&upgrade.history),
    ));
}
