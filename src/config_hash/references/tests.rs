//! What a workload uses, in all its places together.

mod oracle;
mod typed;

use serde_json::json;

use super::*;
use crate::{
    annotations::{EXTRA_CONFIGMAPS, EXTRA_SECRETS},
    settings::{ConfigHash, Ignore},
};

/// `ConfigMap app: required, all keys`, `Secret db: required, keys {"user"}, required {"user"}`, …
fn shown((id, r#use): (&ConfigId, &Use)) -> String {
    let mut words = Vec::new();
    if r#use.required {
        words.push("required".to_owned());
    }
    if r#use.whole {
        words.push("all keys".to_owned());
    }
    if !r#use.keys.is_empty() {
        words.push(format!("keys {:?}", r#use.keys));
    }
    if !r#use.required_keys.is_empty() {
        words.push(format!("required {:?}", r#use.required_keys));
    }
    format!("{id}: {}", words.join(", "))
}

#[track_caller]
fn assert_references(case: &str, workload: Value, settings: &ConfigHash, expected: &[&str]) {
    let references = references(&workload, settings).unwrap();
    let shown: Vec<_> = references.iter().map(shown).collect();
    assert_eq!(shown, expected, "{case}");
}

fn workload(annotations: Value, spec: Value) -> Value {
    json!({"metadata": {"annotations": annotations}, "spec": {"template": {"spec": spec}}})
}

#[test]
fn uses_of_one_object_are_joined() {
    let env = |kind: &str, name: &str, key: &str, optional: bool| json!({"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}});
    for (case, containers, expected) in [
        (
            "two keys, one of them optional",
            json!([{"env": [env("configMapKeyRef", "app", "a", false)]}, {"env": [env("configMapKeyRef", "app", "b", true)]}]),
            r#"ConfigMap app: required, keys {"a", "b"}, required {"a"}"#,
        ),
        (
            "the same key, optional and required",
            json!([{"env": [env("configMapKeyRef", "app", "a", true), env("configMapKeyRef", "app", "a", false)]}]),
            r#"ConfigMap app: required, keys {"a"}, required {"a"}"#,
        ),
        (
            "optional everywhere",
            json!([{"env": [env("secretKeyRef", "db", "a", true)], "envFrom": [{"secretRef": {"name": "db", "optional": true}}]}]),
            r#"Secret db: all keys, keys {"a"}"#,
        ),
        (
            "all keys and one required",
            json!([{"env": [env("secretKeyRef", "db", "a", false)], "envFrom": [{"secretRef": {"name": "db", "optional": true}}]}]),
            r#"Secret db: required, all keys, keys {"a"}, required {"a"}"#,
        ),
    ] {
        assert_references(
            case,
            workload(Value::Null, json!({"containers": containers})),
            &ConfigHash::default(),
            &[expected],
        );
    }
}

#[test]
fn only_what_containers_see_counts() {
    let volumes = json!([
        {"name": "app", "configMap": {"name": "app"}},
        {"name": "db", "secret": {"secretName": "db", "items": [{"key": "user", "path": "user"}, {"key": "ca", "path": "tls/ca"}]}},
    ]);
    let mounts = |mounts: Value| {
        let spec = json!({"volumes": volumes, "containers": [{"volumeMounts": mounts}]});
        workload(Value::Null, spec)
    };
    for (case, workload, expected) in [
        ("no mount", mounts(json!([])), &[][..]),
        (
            "all",
            mounts(json!([{"name": "app"}, {"name": "db"}])),
            &[
                "ConfigMap app: required, all keys",
                r#"Secret db: required, keys {"ca", "user"}, required {"ca", "user"}"#,
            ],
        ),
        (
            "one key, and one item",
            mounts(
                json!([{"name": "app", "subPath": "app.yaml"}, {"name": "db", "subPath": "tls"}]),
            ),
            &[
                r#"ConfigMap app: required, keys {"app.yaml"}, required {"app.yaml"}"#,
                r#"Secret db: required, keys {"ca"}, required {"ca"}"#,
            ],
        ),
        (
            "nothing of what is there",
            mounts(json!([{"name": "db", "subPath": "nowhere"}])),
            &["Secret db: required"],
        ),
    ] {
        assert_references(case, workload, &ConfigHash::default(), expected);
    }
    let sources = json!([{"configMap": {"name": "app"}}, {"secret": {"name": "db"}}]);
    assert_references(
        "the key of one of two sources",
        workload(
            Value::Null,
            json!({
                "volumes": [{"name": "all", "projected": {"sources": sources}}],
                "containers": [{"volumeMounts": [{"name": "all", "subPath": "app.yaml"}]}],
            }),
        ),
        &ConfigHash::default(),
        &[
            r#"ConfigMap app: required, keys {"app.yaml"}"#,
            r#"Secret db: required, keys {"app.yaml"}"#,
        ],
    );
}

#[test]
fn references_are_ordered_by_kind_and_name() {
    let sources = json!([
        {"secretRef": {"name": "b"}}, {"configMapRef": {"name": "z"}}, {"secretRef": {"name": "a"}}, {"configMapRef": {"name": "b"}},
    ]);
    assert_references(
        "ConfigMap b and Secret b are two",
        workload(Value::Null, json!({"containers": [{"envFrom": sources}]})),
        &ConfigHash::default(),
        &[
            "ConfigMap b: required, all keys",
            "ConfigMap z: required, all keys",
            "Secret a: required, all keys",
            "Secret b: required, all keys",
        ],
    );
}

#[test]
fn all_keys_of_extra_names_count_and_are_required() {
    let none = json!({"containers": []});
    for (case, annotations, expected) in [
        (
            "names, spaces and empty entries",
            json!({EXTRA_CONFIGMAPS: " b,a ,,b,", EXTRA_SECRETS: "a"}),
            &[
                "ConfigMap a: required, all keys",
                "ConfigMap b: required, all keys",
                "Secret a: required, all keys",
            ][..],
        ),
        (
            "an empty list",
            json!({EXTRA_CONFIGMAPS: "", EXTRA_SECRETS: " , "}),
            &[],
        ),
        ("not a string", json!({EXTRA_CONFIGMAPS: 1}), &[]),
        (
            "the root certificate",
            json!({EXTRA_CONFIGMAPS: "kube-root-ca.crt", EXTRA_SECRETS: "kube-root-ca.crt"}),
            &["Secret kube-root-ca.crt: required, all keys"],
        ),
    ] {
        assert_references(
            case,
            workload(annotations, none.clone()),
            &ConfigHash::default(),
            expected,
        );
    }
    assert_references(
        "joined with the use of one key",
        workload(
            json!({EXTRA_CONFIGMAPS: "app"}),
            json!({"containers": [{"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a", "optional": true}}}]}]}),
        ),
        &ConfigHash::default(),
        &[r#"ConfigMap app: required, all keys, keys {"a"}"#],
    );
}

#[test]
fn impossible_names_are_refused() {
    for (annotation, list, expected) in [
        (
            EXTRA_CONFIGMAPS,
            "a b",
            "annotation rollout-guard/extra-configmaps names \"a b\", but a name cannot contain ' '; separate names with commas",
        ),
        (
            EXTRA_CONFIGMAPS,
            "ok,App",
            "annotation rollout-guard/extra-configmaps names \"App\", but a name cannot contain 'A'; separate names with commas",
        ),
        (
            EXTRA_SECRETS,
            "shop/db",
            "annotation rollout-guard/extra-secrets names \"shop/db\", but a name cannot contain '/'; separate names with commas",
        ),
        (
            EXTRA_SECRETS,
            "db;cache",
            "annotation rollout-guard/extra-secrets names \"db;cache\", but a name cannot contain ';'; separate names with commas",
        ),
    ] {
        let workload = workload(json!({annotation: list}), json!({}));
        let error = references(&workload, &ConfigHash::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{list}");
    }
}

#[test]
fn a_wrong_shape_is_an_error_with_its_path() {
    let workload = workload(Value::Null, json!({"volumes": [{"secret": 1}]}));
    let error = references(&workload, &ConfigHash::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.template.spec.volumes[0].secret: expected an object, not a number"
    );
}

#[test]
fn ignored_names_do_not_count() {
    let sources = ["app", "app-cache", "cache", "kube-root-ca.crt"]
        .map(|name| json!({"configMapRef": {"name": name}, "secretRef": {"name": name}}));
    let workload = workload(
        json!({EXTRA_CONFIGMAPS: "cache-2"}),
        json!({"containers": [{"envFrom": sources}]}),
    );
    let of = |config_maps: &[&str], secrets: &[&str]| ConfigHash {
        ignore: Ignore {
            config_maps: config_maps.iter().map(|&glob| glob.to_owned()).collect(),
            secrets: secrets.iter().map(|&glob| glob.to_owned()).collect(),
        },
        ..ConfigHash::default()
    };
    for (case, ignore, config_maps, secrets) in [
        (
            "none",
            of(&[], &[]),
            &["app", "app-cache", "cache", "cache-2"][..],
            &["app", "app-cache", "cache", "kube-root-ca.crt"][..],
        ),
        (
            "whole names",
            of(&["cache"], &["kube-root-ca.crt", "other"]),
            &["app", "app-cache", "cache-2"],
            &["app", "app-cache", "cache"],
        ),
        (
            "globs",
            of(&["cache*"], &["*cache", "kube-*-ca.*"]),
            &["app", "app-cache"],
            &["app"],
        ),
        ("all", of(&["*"], &["*"]), &[], &[]),
    ] {
        let references = references(&workload, &ignore).unwrap();
        let names = |kind| {
            let of_kind = references.keys().filter(|id| id.kind == kind);
            of_kind.map(|id| id.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(
            (names(ConfigKind::ConfigMap), names(ConfigKind::Secret)),
            (config_maps.to_vec(), secrets.to_vec()),
            "{case}"
        );
    }
}

#[test]
fn pull_secrets_count_when_set_but_only_the_keys_that_the_kubelet_reads() {
    let set = ConfigHash {
        image_pull_secrets: true,
        ..ConfigHash::default()
    };
    let pull = json!([{"name": "hub"}, {"name": ""}]);
    let alone = workload(Value::Null, json!({"imagePullSecrets": pull}));
    assert_references("not set", alone.clone(), &ConfigHash::default(), &[]);
    assert_references(
        "set",
        alone,
        &set,
        &[r#"Secret hub: keys {".dockercfg", ".dockerconfigjson"}"#],
    );
    let shared = workload(
        Value::Null,
        json!({"imagePullSecrets": pull, "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "hub", "key": "user"}}}]}]}),
    );
    assert_references(
        "not set, but used as config too",
        shared.clone(),
        &ConfigHash::default(),
        &[r#"Secret hub: required, keys {"user"}, required {"user"}"#],
    );
    assert_references(
        "set, and used as config too",
        shared,
        &set,
        &[
            r#"Secret hub: required, keys {".dockercfg", ".dockerconfigjson", "user"}, required {"user"}"#,
        ],
    );
}

#[test]
fn objects_that_only_start_the_pod_are_not_config() {
    assert_references(
        "service account, claim, classes, credentials of a driver, an optional item that no container sees",
        workload(
            Value::Null,
            json!({
                "serviceAccountName": "web", "priorityClassName": "urgent", "runtimeClassName": "kata",
                "containers": [{"volumeMounts": [{"name": "v"}, {"name": "w", "subPath": "a"}, {"name": "x"}]}],
                "volumes": [
                    {"name": "v", "rbd": {"secretRef": {"name": "ceph"}}},
                    {"name": "w", "configMap": {"name": "app", "optional": true, "items": [{"key": "b", "path": "b"}]}},
                    {"persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "x", "csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "vault"}}},
                    {"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}},
                ],
            }),
        ),
        &ConfigHash::default(),
        &[],
    );
}

#[test]
fn a_workload_without_template_uses_nothing() {
    assert_references("no spec", json!({}), &ConfigHash::default(), &[]);
}
