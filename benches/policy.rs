//! `make bench`: what the policy costs, as ratios measured in one run.
//!
//! Every figure is the median over rounds in which all cases take turns, so that a machine whose speed
//! drifts slows them all. Workloads are compared with a policy that does nothing, releases with the
//! least that must be done: base64 and gunzip, natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fmt::Write as _,
    hint::black_box,
    io::{Read, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use rollout_guard::{
    cluster::{Cluster, LookupError, ObjectRef},
    request::Request,
    settings::Settings,
};
use serde_json::{Value, json};
use testbed::{Objects, Policy};

const ROUNDS: usize = 15;

/// One thing that is timed: a name and a closure that does it once.
struct Case {
    name: String,
    run: Box<dyn Fn()>,
    times: Vec<Duration>,
}

impl Case {
    fn new(name: impl Into<String>, run: impl Fn() + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
            times: Vec::new(),
        }
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let load = |name: &str| Policy::load(&root.join(name)).unwrap();
    let (policy, noop) = (load("policy.wasm"), load("noop.wasm"));
    for (name, file) in [
        ("policy.wasm", "policy.wasm"),
        ("a policy that does nothing", "noop.wasm"),
    ] {
        println!(
            "{name}: {} kB",
            std::fs::metadata(root.join(file)).unwrap().len() / 1000
        );
    }

    println!("\nA Deployment, compared with a policy that does nothing");
    let (request, cluster) = deployment(4);
    let mut cases = vec![Case::new("nothing", evaluation(&noop, request, cluster))];
    for configs in [0, 1, 4, 16] {
        let (request, cluster) = deployment(configs);
        cases.push(Case::new(
            format!("{configs} configs"),
            evaluation(&policy, request, cluster),
        ));
    }
    report(cases, 40);

    for (shape, document) in [
        ("dashboards", dashboard as fn(usize) -> String),
        ("CRDs", crd),
    ] {
        for kilobytes in [10, 100, 1000] {
            let (request, cluster) = upgrade(document, kilobytes);
            println!(
                "\nTwo records of {} kB of {shape} ({} kB decoded), compared with decoding them",
                record_size(&request) / 1000,
                decode(&request).len() / 1000
            );
            let records: Vec<_> = cluster
                .iter()
                .chain([&request["object"]])
                .map(|o| json!({"object": o}))
                .collect();
            let native = (request.clone(), cluster.clone());
            let cases = vec![
                Case::new("base64 and gunzip", move || {
                    records.iter().for_each(|record| {
                        black_box(decode(record));
                    })
                }),
                Case::new("natively", move || natively(&native.0, &native.1)),
                Case::new("policy.wasm", evaluation(&policy, request, cluster)),
            ];
            report(cases, 1);
        }
    }
}

/// Times the cases and prints them, with the first one as the measure.
fn report(mut cases: Vec<Case>, repeats: u32) {
    for _ in 0..=ROUNDS {
        for case in &mut cases {
            let start = Instant::now();
            (0..repeats).for_each(|_| (case.run)());
            case.times.push(start.elapsed() / repeats);
        }
    }
    // The first round warms up.
    for case in &mut cases {
        case.times.remove(0);
    }
    let floor = cases.first().unwrap().median();
    for case in &cases {
        let (name, median) = (&case.name, case.median());
        let ratio = median.as_secs_f64() / floor.as_secs_f64();
        println!(
            "  {name:<20} {:>10.3} ms {ratio:>7.2} x",
            median.as_secs_f64() * 1000.0
        );
    }
}

fn evaluation(policy: &Policy, request: Value, cluster: Vec<Value>) -> impl Fn() + 'static {
    let (policy, cluster) = (policy.clone(), Arc::new(Objects::new(cluster)));
    move || {
        let evaluation = policy
            .validate(&request, &json!({}), cluster.clone())
            .unwrap();
        assert!(
            evaluation.response.accepted,
            "{:?}",
            evaluation.response.message
        );
    }
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

/// A ConfigMap with one large block of text, as charts have them for Grafana.
fn dashboard(n: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dashboard-{n}\ndata:\n  dashboard.json: |\n"
    );
    for line in 0..600 {
        writeln!(
            text,
            "    {{\"id\": {line}, \"panel\": \"{:x}\"}},",
            mix(n * 1000 + line)
        )
        .unwrap();
    }
    text
}

/// A CustomResourceDefinition: many small nodes.
fn crd(n: usize) -> String {
    let mut text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things{n}.example.com\nspec:\n  properties:\n"
    );
    for field in 0..300 {
        let id = mix(n * 1000 + field);
        writeln!(
            text,
            "    field{id:x}:\n      description: The field {field} of a thing\n      type: string"
        )
        .unwrap();
    }
    text
}

/// Text that does not compress too well.
fn mix(n: usize) -> u64 {
    (n as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(17)
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// An upgrade whose records are about so large.
fn upgrade(document: fn(usize) -> String, kilobytes: usize) -> (Value, Vec<Value>) {
    let mut manifest = String::new();
    let mut documents = 0;
    let record = |manifest: &str, revision: u64, status: &str| {
        let release = json!({
            "name": "big", "namespace": "shop", "version": revision, "info": {"status": status}, "manifest": manifest,
            "chart": {"templates": [{"name": "templates/all.yaml", "data": BASE64_STANDARD.encode(manifest)}]},
        });
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(release.to_string().as_bytes()).unwrap();
        let helm = BASE64_STANDARD.encode(gzip.finish().unwrap());
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {
                "name": format!("sh.helm.release.v1.big.v{revision}"), "namespace": "shop",
                "labels": {"name": "big", "owner": "helm", "status": status, "version": revision.to_string()},
            },
            "data": {"release": BASE64_STANDARD.encode(helm)},
        })
    };
    while {
        for _ in 0..(kilobytes / 20).max(1) {
            manifest += &format!(
                "---\n# Source: big/templates/{documents}.yaml\n{}",
                document(documents)
            );
            documents += 1;
        }
        record_size(&json!({"object": record(&manifest, 1, "deployed")})) < kilobytes * 1000
    } {}
    let request = json!({
        "uid": "1", "operation": "CREATE", "name": "sh.helm.release.v1.big.v2", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Secret"},
        "object": record(&manifest, 2, "pending-upgrade"),
    });
    (request, vec![record(&manifest, 1, "deployed")])
}

/// What counts against the limit of a Secret.
fn record_size(request: &Value) -> usize {
    request["object"]["data"]["release"].as_str().unwrap().len() * 3 / 4
}

/// The floor: what no reader of the record can do without.
fn decode(request: &Value) -> Vec<u8> {
    let helm = BASE64_STANDARD
        .decode(request["object"]["data"]["release"].as_str().unwrap())
        .unwrap();
    let gzip = BASE64_STANDARD.decode(helm).unwrap();
    let mut json = Vec::new();
    MultiGzDecoder::new(gzip.as_slice())
        .read_to_end(&mut json)
        .unwrap();
    json
}

/// The same decision without wasm.
fn natively(request: &Value, cluster: &[Value]) {
    struct Given<'a>(&'a [Value]);

    impl Cluster for Given<'_> {
        fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
            Ok(self
                .0
                .iter()
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

    let request: Request = serde_json::from_value(request.clone()).unwrap();
    black_box(rollout_guard::judge(
        &request,
        &Settings::default(),
        &Given(cluster),
    ));
}
