//! Input that is made to take much time or memory, through policy.wasm. Each is answered within half of the time
//! limit of policy-server, in at most 128 MiB, with few look-ups, and with a message that says why.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use testbed::{Objects, Policy};

use crate::{policy, record};

const MIB: usize = 1 << 20;

/// Half of the time that policy-server gives an evaluation. Here only the CPU time of the thread counts, because the
/// machine may be busy with other work.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Stops a policy that hangs.
const HANGS: Duration = Duration::from_secs(120);

/// What else the answer may cost.
struct Bounds {
    memory: usize,
    look_ups: usize,
}

fn bounded(bounds: &Bounds) -> Policy {
    let limited = policy().with_time_limit(HANGS);
    limited.with_memory_limit(bounds.memory)
}

fn in_time<T>(evaluate: impl FnOnce() -> T) -> T {
    let time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = time();
    let answer = evaluate();
    let taken = time() - start;
    assert!(taken < TIME_LIMIT, "{taken:?}");
    answer
}

/// `accepted`, or the code and the message.
fn answer(bounds: &Bounds, request: &Value, cluster: Vec<Value>) -> String {
    let cluster = Arc::new(Objects::new(cluster));
    let policy = bounded(bounds);
    // Processor time counts here. On a busy machine, the policy must not give up its look-ups.
    let settings = json!({"timeoutEvalSeconds": 30, "deletionGuard": {"level": "reject"}});
    let evaluation = in_time(|| policy.validate(request, &settings, cluster)).unwrap();
    assert!(
        evaluation.host_calls.len() <= bounds.look_ups,
        "{} look-ups",
        evaluation.host_calls.len()
    );
    let response = evaluation.response;
    match response.accepted {
        true => "accepted".to_owned(),
        false => format!(
            "{}: {}",
            response.code.unwrap_or_default(),
            response.message.unwrap_or_default()
        ),
    }
}

fn release(revision: u64, status: &str, manifest: &str, hooks: &[Value]) -> Value {
    let content = json!({
        "name": "web", "namespace": "shop", "version": revision, "info": {"status": status},
        "manifest": manifest, "hooks": hooks,
    });
    record::secret("web", revision, status, content.to_string().as_bytes())
}

/// The upgrade from one manifest to another.
fn upgrade(current: &str, target: &str, hooks: &[Value]) -> (Value, Vec<Value>) {
    let request = record::create(release(2, "pending-upgrade", target, hooks));
    (request, vec![release(1, "deployed", current, &[])])
}

/// The answer to a pending record that cannot be judged. `advice` are lines for this case only.
fn not_judged(revision: u64, why: &str, advice: &str) -> String {
    format!(
        "500: rollout-guard: release record Secret shop/sh.helm.release.v1.web.v{revision} cannot be judged: {why}. Nothing was changed.\n\
         To allow revision {revision} without checking it: helm upgrade --labels rollout-guard/allow-revision={revision} …\n\
         Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v{} rollout-guard/allow-revision={revision} --overwrite, and try again\n\
         {advice}\
         To allow all such releases: set `lookupFailure: warn` in this policy's settings",
        revision - 1
    )
}

/// An upgrade to a manifest that cannot be read.
#[track_caller]
fn assert_not_judged(memory: usize, manifest: &str, why: &str) {
    let (request, cluster) = upgrade("", manifest, &[]);
    let bounds = Bounds {
        memory,
        look_ups: 1,
    };
    assert_eq!(answer(&bounds, &request, cluster), not_judged(2, why, ""));
}

/// A pending record that cannot be read.
#[track_caller]
fn assert_unreadable(record: Value, why: &str, advice: &str) {
    let bounds = Bounds {
        memory: 80 * MIB,
        look_ups: 0,
    };
    assert_eq!(
        answer(&bounds, &record::create(record), vec![]),
        not_judged(2, why, advice)
    );
}

fn config_map(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n")
}

/// A ConfigMap that is a hook.
fn hook(name: &str, delete_policies: &[&str]) -> Value {
    json!({
        "name": name, "kind": "ConfigMap", "path": "a.yaml", "manifest": config_map(name),
        "events": ["pre-upgrade"], "delete_policies": delete_policies,
    })
}

fn deployment(name: &str, configs: &[String]) -> String {
    let from: Vec<_> = configs
        .iter()
        .map(|config| json!({"configMapRef": {"name": config}}))
        .collect();
    let spec = json!({"template": {"spec": {"containers": [{"name": "a", "envFrom": from}]}}});
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

#[test]
fn one_mebibyte_that_decompresses_to_a_gibibyte() {
    let megabyte = vec![b' '; MIB];
    let compressed = record::gzip_of(std::iter::repeat_n(megabyte.as_slice(), 1024));
    assert!(
        (MIB / 2..=MIB * 3 / 2).contains(&compressed.len()),
        "{}",
        compressed.len()
    );
    assert_unreadable(
        record::secret_of("web", 2, "pending-upgrade", &compressed),
        "data.release: the decoded record is larger than 33554432 bytes",
        "To read larger records: raise `releaseGuard.maxRecordBytes` in this policy's settings\n",
    );
}

#[test]
fn aliases_of_aliases() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let alias = format!("*a{}", n - 1);
        writeln!(laughs, "a{n}: &a{n} [{}]", [alias.as_str(); 10].join(", ")).unwrap();
    }
    assert_not_judged(
        32 * MIB,
        &laughs,
        "manifest of revision 2: document 1: anchors and aliases copy more than 100000 nodes at line 5 column 40",
    );
}

#[test]
fn aliases_in_each_of_many_documents() {
    let mut document = "---\nkind: A\na: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [".to_owned();
    document += &"*a, ".repeat(800);
    document += "]\nc: [*b, *b, *b]\n";
    assert_not_judged(
        96 * MIB,
        &document.repeat(100),
        "manifest of revision 2: document 7: more than 250000 YAML nodes in one release at line 4 column 13",
    );
}

#[test]
fn a_million_nodes() {
    assert_not_judged(
        128 * MIB,
        &format!("kind: A\na:\n{}", "- b\n".repeat(1_000_000)),
        "manifest of revision 2: document 1: more than 250000 YAML nodes in one release at line 249996 column 3",
    );
}

#[test]
fn thirty_megabytes_of_yaml() {
    assert_not_judged(
        128 * MIB,
        &format!("kind: A\n{}", "# a comment\n".repeat(2_500_000)),
        "manifest of revision 2: document 1: more than 16777216 bytes of YAML in one release",
    );
}

/// It is decompressed twice, because the place of the error depends on the chart.
#[test]
fn thirty_megabytes_of_chart_before_invalid_json() {
    let content = format!(r#"{{"name":"web","chart":"{}",}}"#, "a".repeat(30_000_000));
    assert_unreadable(
        record::secret("web", 2, "pending-upgrade", content.as_bytes()),
        "data.release: JSON: trailing comma at line 1 column 30000026",
        "",
    );
}

#[test]
fn deep_nesting() {
    assert_not_judged(
        32 * MIB,
        &"[".repeat(1_000_000),
        "manifest of revision 2: document 1: nested deeper than 200 levels at line 1 column 201",
    );
    let mut request = json!({"operation": "CREATE", "object": null}).to_string();
    request = request.replace("null", &("[".repeat(100_000) + &"]".repeat(100_000)));
    // Policy::validate takes a value, and a value cannot be nested so deep.
    let payload = format!("{{\"request\": {request}, \"settings\": {{}}}}");
    let bounds = Bounds {
        memory: 32 * MIB,
        look_ups: 0,
    };
    let policy = bounded(&bounds);
    let answer = in_time(|| policy.call("validate", payload.as_bytes())).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        answer["message"],
        "rollout-guard: the request cannot be read: recursion limit exceeded at line 1 column 169"
    );
}

#[test]
fn ten_thousand_documents() {
    let names = names(10_000);
    let manifest: String = names.iter().map(|name| config_map(name)).collect();
    let bounds = Bounds {
        memory: 96 * MIB,
        look_ups: 1,
    };
    let (request, cluster) = upgrade(&manifest, &manifest, &[]);
    assert_eq!(answer(&bounds, &request, cluster), "accepted");
}

#[test]
fn eight_thousand_findings() {
    let names = names(8_000);
    let configs: String = names.iter().map(|name| config_map(name)).collect();
    let workloads: String = (0..8)
        .map(|n| deployment(&format!("w{n}"), &names[n * 1000..(n + 1) * 1000]))
        .collect();
    // One look-up of the record, and those of live objects up to the limit.
    let bounds = Bounds {
        memory: 128 * MIB,
        look_ups: 33,
    };
    let (request, cluster) = upgrade(&(configs + &workloads), &workloads, &[]);
    let answer = answer(&bounds, &request, cluster);
    assert!(
        answer.starts_with("403: rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would lose what its pods need. Nothing was changed.\n\n\
            dangling-reference: ConfigMap c32 is in revision 1 but not in revision 2, so Helm deletes it; the pods that need it could not start.\nNeeded by: Deployment w0.\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\n\nAnd 7958 more findings.\n\n"),
        "{answer}"
    );
}

#[test]
fn five_thousand_hooks() {
    let names = names(5_000);
    let configs: String = names.iter().map(|name| config_map(name)).collect();
    let hooks: Vec<_> = names.iter().map(|name| hook(name, &[])).collect();
    let workload = deployment("w", &names);
    let bounds = Bounds {
        memory: 128 * MIB,
        look_ups: 1,
    };
    let (request, cluster) = upgrade(&(configs + &workload), &workload, &hooks);
    let answer = answer(&bounds, &request, cluster);
    assert!(
        answer.contains("\n\nhook-pruned: ConfigMap c0 is a regular resource in revision 1 and a hook (pre-upgrade) in revision 2. "),
        "{answer}"
    );
    assert!(
        answer.contains("\n\nAnd 4990 more findings.\n\n"),
        "{answer}"
    );
}

/// Each hook fails the operation unless somebody has deleted its object, as here. No conflict is supposed.
#[test]
fn five_thousand_hooks_that_may_fail() {
    let names = names(5_000);
    let before: String = names.iter().map(|name| config_map(name)).collect();
    let hooks: Vec<_> = names
        .iter()
        .map(|name| hook(name, &["hook-failed"]))
        .collect();
    let bounds = Bounds {
        memory: 128 * MIB,
        look_ups: 33,
    };
    let (request, cluster) = upgrade(&before, "", &hooks);
    let answer = answer(&bounds, &request, cluster);
    assert!(
        answer.starts_with("403: rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would delete objects of the release. Nothing was changed.\n\nhook-pruned: ConfigMap c0 is"),
        "{answer}"
    );
}

/// Roles, their bindings and Jobs, all hooks. A role is a helper only if every Job is one.
#[test]
fn helpers_of_helpers() {
    let role = |n: usize| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r{n}}}\n"
        )
    };
    let binding = |n: usize| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: r{n}}}\nroleRef: {{kind: Role, name: r{n}}}\nsubjects: [{{kind: ServiceAccount, name: a}}]\n"
        )
    };
    let hook = |name: &str, kind: &str, manifest: String| json!({"name": name, "kind": kind, "path": "a.yaml", "manifest": manifest, "events": ["pre-upgrade"]});
    let mut hooks = vec![];
    for n in 0..1_500 {
        hooks.push(hook(&format!("r{n}"), "Role", role(n)));
        hooks.push(hook(&format!("r{n}"), "RoleBinding", binding(n)));
        let job = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j{n}}}\nspec: {{template: {{spec: {{serviceAccountName: a}}}}}}\n"
        );
        hooks.push(hook(&format!("j{n}"), "Job", job));
    }
    let before: String = (0..1_500).map(|n| role(n) + &binding(n)).collect();
    let bounds = Bounds {
        memory: 96 * MIB,
        look_ups: 1,
    };
    let (request, cluster) = upgrade(&before, "", &hooks);
    assert_eq!(answer(&bounds, &request, cluster), "accepted");
}

/// A hook that lists its event many times runs as often. Helm would run for days.
#[test]
fn a_hook_that_runs_two_thousand_times() {
    let objects: String = names(2_000).iter().map(|name| config_map(name)).collect();
    let mut many = hook("many", &[]);
    many["manifest"] = objects.into();
    let runs = |count: usize| {
        let mut many = many.clone();
        many["events"] = json!(vec!["pre-upgrade"; count]);
        let bounds = Bounds {
            memory: 64 * MIB,
            look_ups: 33,
        };
        let (request, cluster) = upgrade("", "", &[many]);
        answer(&bounds, &request, cluster)
    };
    assert_eq!(runs(10), "accepted");
    assert_eq!(
        runs(2_000),
        not_judged(
            2,
            "the hooks of revision 2 create more than 20000 objects",
            ""
        )
    );
}

/// A binding that names an account many times, and many Jobs that run as it.
#[test]
fn subjects_times_users() {
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";
    let role = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n";
    let subjects = vec![json!({"kind": "ServiceAccount", "name": "a"}); 5_000];
    let binding = format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: r}}\nroleRef: {{kind: Role, name: r}}\nsubjects: {}\n",
        json!(subjects)
    );
    let hook = |name: &str, kind: &str, manifest: &str| json!({"name": name, "kind": kind, "path": "a.yaml", "manifest": manifest, "events": ["pre-upgrade"]});
    let mut hooks = vec![
        hook("a", "ServiceAccount", account),
        hook("r", "Role", role),
        hook("b", "RoleBinding", &binding),
    ];
    hooks.extend((0..4_000).map(|n| {
        let job = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j{n}}}\nspec: {{template: {{spec: {{serviceAccountName: a}}}}}}\n"
        );
        hook(&format!("j{n}"), "Job", &job)
    }));
    let bounds = Bounds {
        memory: 96 * MIB,
        look_ups: 33,
    };
    let before = [account, role, &binding].concat();
    let (request, cluster) = upgrade(&before, "", &hooks);
    assert_eq!(answer(&bounds, &request, cluster), "accepted");
}

/// One large workload of the current revision, and many small documents with its name.
#[test]
fn many_documents_for_one_large_workload() {
    let large = deployment("w", &names(10_000));
    let small = deployment("w", &[]).repeat(5_000);
    let bounds = Bounds {
        memory: 96 * MIB,
        look_ups: 33,
    };
    let (request, cluster) = upgrade(&large, &small, &[]);
    assert_eq!(answer(&bounds, &request, cluster), "accepted");
}

/// Each custom resource names each config that is deleted.
#[test]
fn many_custom_resources_that_may_recreate_a_config() {
    let configs = names(300);
    let before: String = configs.iter().map(|name| config_map(name)).collect();
    let workload = deployment("w", &configs);
    let named = json!(configs);
    let custom_resources: String = (0..300)
        .map(|n| format!("---\napiVersion: example.com/v1\nkind: Operator\nmetadata: {{name: m{n}}}\nspec: {named}\n"))
        .collect();
    let bounds = Bounds {
        memory: 96 * MIB,
        look_ups: 33,
    };
    let (request, cluster) = upgrade(&(before + &workload), &(workload + &custom_resources), &[]);
    assert_eq!(answer(&bounds, &request, cluster), "accepted");
}

/// No object can have such a name, and comparing them takes time.
#[test]
fn names_of_a_megabyte() {
    assert_not_judged(
        32 * MIB,
        &config_map(&"n".repeat(MIB)),
        "manifest of revision 2: document 1: a name of more than 253 characters",
    );
}

#[test]
fn ten_thousand_references_in_one_template() {
    let from: Vec<_> = names(10_000)
        .iter()
        .map(|name| json!({"configMapRef": {"name": name}}))
        .collect();
    let request = |from: Vec<Value>| {
        json!({
            "uid": "1", "operation": "CREATE", "name": "web", "namespace": "shop",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "object": {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [{"envFrom": from}]}}}},
        })
    };
    let bounds = |look_ups| Bounds {
        memory: 32 * MIB,
        look_ups,
    };
    // The first 256 are read, and none of them is there.
    assert_eq!(answer(&bounds(256), &request(from), vec![]), "accepted");
    // One config in ten thousand places is read once.
    let from = vec![json!({"configMapRef": {"name": "a", "optional": true}}); 10_000];
    assert_eq!(answer(&bounds(1), &request(from), vec![]), "accepted");
}

/// policy-server hands over the workloads of all namespaces, and a name that is often used is in the answer. Here, in each
/// namespace one workload uses it.
#[test]
fn a_deletion_in_a_cluster_of_ten_thousand_workloads() {
    let workload = |namespace: usize, n: usize| {
        let config = match n {
            0 => "app".to_owned(),
            n => format!("app-{n}"),
        };
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("web-{n}"), "namespace": format!("shop-{namespace}"), "labels": {"app": "web"}},
            "spec": {"template": {"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": config}}]}]}}},
        })
    };
    let metadata = json!({"name": "app", "namespace": "shop-7"});
    let request = json!({
        "uid": "1", "operation": "DELETE", "name": "app", "namespace": "shop-7",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "oldObject": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata},
    });
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop-7"}});
    let workloads = (0..10_000).map(|n| workload(n / 100, n % 100));
    let bounds = Bounds {
        memory: 32 * MIB,
        look_ups: 8,
    };
    let answer = answer(&bounds, &request, workloads.chain([namespace]).collect());
    let expected = "403: rollout-guard: ConfigMap app in namespace shop-7 was not deleted, because it is in use.\nDeployment web-0 requires it.\n";
    assert!(answer.starts_with(expected), "{answer}");
}

#[test]
fn a_million_revisions() {
    let request = record::create(release(1_000_000, "pending-upgrade", "", &[]));
    let bounds = Bounds {
        memory: 8 * MIB,
        look_ups: 64,
    };
    // With a warning: what no record tells cannot be compared.
    assert_eq!(answer(&bounds, &request, vec![]), "accepted");
}

/// A record within a record, many times. Only the outermost one is read.
#[test]
fn layers_of_base64_and_gzip() {
    let mut content =
        br#"{"name": "web", "version": 2, "info": {"status": "pending-upgrade"}}"#.to_vec();
    for _ in 0..20 {
        content = BASE64_STANDARD.encode(record::gzip(&content)).into_bytes();
    }
    let secret = record::secret_of("web", 2, "pending-upgrade", &record::gzip(&content));
    let bounds = Bounds {
        memory: 8 * MIB,
        look_ups: 0,
    };
    assert_eq!(
        answer(&bounds, &record::create(secret), vec![]),
        not_judged(
            2,
            "data.release: JSON: expected value at line 1 column 1",
            ""
        )
    );
}
