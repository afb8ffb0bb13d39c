//! Secrets stay secret: no answer and no log of the policy contains a planted value.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use config_digest::{Digester, of_keys, stamp};
use helm_plan::testing::revision;
use serde_json::{Value, json};
use testbed::Objects;

use crate::support::policy;

const PLANTED: &str = "hunter2-planted";
const OTHER: &str = "swordfish-planted";

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn secret(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {"name": name, "namespace": "shop", "annotations": {}},
    })
}

fn password(value: &str) -> Value {
    secret("db", json!({"password": base64(value)}))
}

fn key() -> Value {
    secret(
        "key",
        json!({"key": base64("0123456789abcdef0123456789abcdef")}),
    )
}

fn keyed() -> Value {
    json!({"configHash": {"key": {"namespace": "shop", "name": "key", "key": "key"}}})
}

fn request(operation: &str, kind: Value, object: Value, old: Value) -> Value {
    let name = object
        .pointer("/metadata/name")
        .or(old.pointer("/metadata/name"));
    json!({
        "uid": "1", "operation": operation, "name": name, "namespace": "shop",
        "kind": kind, "object": object, "oldObject": old,
    })
}

fn workload(configs: Option<&str>) -> Value {
    let source = json!({"secretKeyRef": {"name": "db", "key": "password"}});
    let container = json!({"name": "a", "env": [{"name": "P", "valueFrom": source}]});
    let annotations = configs.map(|configs| json!({"rollout-guard/configs": configs}));
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
        "spec": {"template": {"spec": {"containers": [container]}}},
    })
}

fn deployment(operation: &str, object: Value, old: Value) -> Value {
    request(
        operation,
        json!({"group": "apps", "version": "v1", "kind": "Deployment"}),
        object,
        old,
    )
}

/// The record of a revision with this manifest.
fn record(number: u64, status: &str, manifest: &str) -> Value {
    let revision = revision(number, &[]).status(status);
    revision.with("/manifest", manifest).secret()
}

fn upgrade(manifest: &str) -> Value {
    let record = record(2, "pending-upgrade", manifest);
    request("CREATE", secret_kind(), record, Value::Null)
}

fn secret_kind() -> Value {
    json!({"group": "", "version": "v1", "kind": "Secret"})
}

/// Everything that the policy answers and logs.
fn output(request: &Value, settings: &Value, objects: Vec<Value>) -> String {
    let evaluation = policy()
        .validate(request, settings, Arc::new(Objects::new(objects)))
        .unwrap();
    let response = serde_json::to_string(&evaluation.response).unwrap();
    format!("{response}\n{:?}", evaluation.logs)
}

#[test]
fn no_output_contains_a_planted_value() {
    let db = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": PLANTED}});
    let web = workload(None);
    let other = of_keys(
        "00000000000000000000000000000000",
        &["password".to_owned()].into(),
    );
    let stale = workload(Some(&json!({"Secret/db": other}).to_string()));
    let broken = format!("kind: Secret\nstringData: {{password: {PLANTED}, : [}}\n");
    let current = || record(1, "deployed", &format!("---\n{db}\n---\n{web}\n"));
    let warn = json!({"configHash": {"warnConsumers": true}});
    let lax = json!({"lookupFailure": "warn"});
    let verify = json!({"mode": "verify"});
    let guarding = json!({"deletionGuard": {"level": "reject"}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let cases: [(&str, Value, Value, Vec<Value>, &str); 15] = [
        (
            "stamped",
            deployment("CREATE", web.clone(), Value::Null),
            json!({}),
            vec![password(PLANTED)],
            "config-hash",
        ),
        (
            "stamped with a key",
            deployment("CREATE", web.clone(), Value::Null),
            keyed(),
            vec![password(PLANTED), key()],
            "config-hash",
        ),
        (
            "changed",
            deployment("UPDATE", stale.clone(), stale.clone()),
            json!({}),
            vec![password(PLANTED)],
            "rolls out",
        ),
        (
            "stale",
            deployment("CREATE", stale, Value::Null),
            verify,
            vec![password(PLANTED)],
            "runs stale config",
        ),
        (
            "not base64",
            deployment("CREATE", web.clone(), Value::Null),
            json!({}),
            vec![secret("db", json!({"password": PLANTED}))],
            "is not base64",
        ),
        (
            "not a string",
            deployment("CREATE", web.clone(), Value::Null),
            json!({}),
            vec![secret("db", json!({"password": [PLANTED]}))],
            "is not a string",
        ),
        (
            "unreadable, with a warning",
            deployment("CREATE", web.clone(), Value::Null),
            lax,
            vec![secret("db", json!(PLANTED))],
            "is not an object",
        ),
        (
            "a bad key",
            deployment("CREATE", web.clone(), Value::Null),
            keyed(),
            vec![password(OTHER), secret("key", json!({"key": PLANTED}))],
            "cannot be used as the hash key",
        ),
        (
            "a short key",
            deployment("CREATE", web.clone(), Value::Null),
            keyed(),
            vec![
                password(OTHER),
                secret("key", json!({"key": base64("planted")})),
            ],
            "cannot be used as the hash key",
        ),
        (
            "edited",
            request("UPDATE", secret_kind(), password(OTHER), password(PLANTED)),
            warn,
            vec![web.clone()],
            "uses Secret db",
        ),
        (
            "deleted",
            request("DELETE", secret_kind(), Value::Null, password(PLANTED)),
            guarding,
            vec![web.clone(), namespace],
            "Secret db in namespace shop was not deleted",
        ),
        (
            "lost",
            upgrade(&format!("---\n{web}\n")),
            json!({}),
            vec![current(), password(PLANTED)],
            "dangling-reference: Secret db",
        ),
        (
            "a manifest that is not YAML",
            upgrade(&broken),
            json!({}),
            vec![current()],
            "cannot be judged",
        ),
        (
            "a current manifest that is not YAML",
            upgrade(&format!("---\n{db}\n")),
            json!({}),
            vec![record(1, "deployed", &broken)],
            "cannot be judged",
        ),
        (
            "not a request",
            json!({"operation": PLANTED.len(), "object": db}),
            json!({}),
            vec![],
            "cannot be read",
        ),
    ];
    for (name, request, settings, objects, expected) in cases {
        let output = output(&request, &settings, objects);
        assert!(output.contains(expected), "{name}: {output}");
        for planted in [PLANTED, OTHER, "planted"] {
            for shape in [planted.to_owned(), base64(planted)] {
                assert!(!output.contains(&shape), "{name}: {output}");
            }
        }
    }
}

/// Anyone who can read a Deployment can hash a guess of a short Secret and compare.
#[test]
fn with_a_key_no_guess_can_be_checked() {
    let request = deployment("CREATE", workload(None), Value::Null);
    let objects = || vec![password(PLANTED), key()];
    let used = ["password".to_owned()].into();
    let guess = Digester::default().digest(&[("password", PLANTED.as_bytes())].into());
    let guessed_stamp = stamp(&[("Secret/db".to_owned(), of_keys(&guess, &used))].into());

    let unkeyed = output(&request, &json!({}), objects());
    assert!(
        unkeyed.contains(&guess) && unkeyed.contains(&guessed_stamp),
        "{unkeyed}"
    );
    let keyed = output(&request, &keyed(), objects());
    assert!(
        !keyed.contains(&guess) && !keyed.contains(&guessed_stamp),
        "{keyed}"
    );
}

/// Who may create Secrets and Deployments in a namespace lets the policy hash a guess there, and compares it with
/// what he sees in another namespace.
#[test]
fn with_a_key_no_guess_can_be_checked_from_another_namespace() {
    let in_namespace = |mut value: Value, namespace: &str| {
        value["metadata"]["namespace"] = json!(namespace);
        value
    };
    let recorded = |settings: &Value, namespace: &str| {
        let mut request = deployment(
            "CREATE",
            in_namespace(workload(None), namespace),
            Value::Null,
        );
        request["namespace"] = json!(namespace);
        let objects = vec![in_namespace(password(PLANTED), namespace), key()];
        let output = output(&request, settings, objects);
        let (_, rest) = output.split_once(r#"Secret/db\":\""#).expect("recorded");
        rest.split('\\').next().expect("a digest").to_owned()
    };
    let unkeyed = json!({});
    assert_eq!(recorded(&unkeyed, "shop"), recorded(&unkeyed, "attacker"));
    assert_eq!(recorded(&keyed(), "shop"), recorded(&keyed(), "shop"));
    assert_ne!(recorded(&keyed(), "shop"), recorded(&keyed(), "attacker"));
}
