use serde_json::json;

use super::*;

const ALL: Choice = Choice {
    all: true,
    image_pull_secrets: false,
};

fn try_read(workload: &Value, choice: Choice) -> Result<Option<Workload>, WrongShape> {
    let metadata = serde_json::from_value(workload["metadata"].clone()).unwrap();
    Workload::read(workload, &metadata, &"shop".into(), choice)
}

fn read_as(workload: &Value, choice: Choice) -> Option<Workload> {
    try_read(workload, choice).unwrap()
}

fn names(workload: &Value, choice: Choice) -> Vec<String> {
    let workload = read_as(workload, choice);
    let uses = workload.map(|workload| workload.uses).unwrap_or_default();
    uses.iter().map(ToString::to_string).collect()
}

/// Uses ConfigMap `app` and the image pull Secret `pull`.
fn deployment(metadata: Value) -> Value {
    let spec = json!({
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"envFrom": [
            {"configMapRef": {"name": "app"}},
            {"configMapRef": {"name": "kube-root-ca.crt"}},
        ]}],
    });
    json!({"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": spec}}})
}

fn annotated(key: &str, value: &str) -> Value {
    deployment(json!({"namespace": "shop", "annotations": {key: value}}))
}

#[test]
fn the_configs_of_a_workload_are_those_of_the_policy() {
    let app = "ConfigMap app";
    let plain = deployment(json!({}));
    assert_eq!(names(&plain, ALL), [app]);
    let with_pull_secrets = Choice {
        image_pull_secrets: true,
        ..ALL
    };
    assert_eq!(names(&plain, with_pull_secrets), [app, "Secret pull"]);
    let extra = annotated("rollout-guard/extra-secrets", "token, other");
    assert_eq!(names(&extra, ALL), [app, "Secret other", "Secret token"]);
    let listed = annotated("secret.reloader.stakater.com/reload", "db");
    assert_eq!(names(&listed, ALL), [app, "Secret db"]);
    let wave = annotated("wave.pusher.com/extra-configmaps", "shop/more");
    assert_eq!(names(&wave, ALL), [app, "ConfigMap more"]);
    let excluded = annotated("configmaps.exclude.reloader.stakater.com/reload", "app");
    assert!(names(&excluded, ALL).is_empty());
}

#[test]
fn who_opts_out_is_left_alone() {
    for (key, value, counts) in [
        ("rollout-guard/refresh", "false", false),
        ("rollout-guard/refresh", "true", true),
        ("rollout-guard/enabled", "false", false),
        ("rollout-guard/enabled", "true", true),
        ("reloader.stakater.com/auto", "false", false),
    ] {
        assert_eq!(
            read_as(&annotated(key, value), ALL).is_some(),
            counts,
            "{key}={value}"
        );
    }
    let label = deployment(json!({"labels": {"rollout-guard/refresh": "false"}}));
    assert_eq!(read_as(&label, ALL), None);
    let deleted = deployment(json!({"deletionTimestamp": "2026-11-29T00:00:00Z"}));
    assert_eq!(read_as(&deleted, ALL), None);
    let owned = deployment(json!({"ownerReferences": [{"controller": true}]}));
    assert_eq!(read_as(&owned, ALL), None);
}

#[test]
fn with_annotated_only_those_count_that_ask_for_it() {
    let annotated_only = Choice { all: false, ..ALL };
    assert_eq!(read_as(&deployment(json!({})), annotated_only), None);
    for key in ["rollout-guard/enabled", "reloader.stakater.com/auto"] {
        assert!(
            read_as(&annotated(key, "true"), annotated_only).is_some(),
            "{key}"
        );
    }
}

#[test]
fn the_record_is_read_for_the_configs_in_use() {
    let record = json!({"ConfigMap/app": "sha256:1", "ConfigMap/old": "sha256:2"}).to_string();
    let recorded = read_as(&annotated(CONFIGS, &record), ALL).unwrap().recorded;
    let values: Vec<_> = recorded.unwrap().into_values().collect();
    assert_eq!(values, ["sha256:1"]);
    // The policy reads it as empty, too.
    let broken = read_as(&annotated(CONFIGS, "{"), ALL).unwrap().recorded;
    assert_eq!(broken, Some(BTreeMap::new()));
    assert_eq!(read_as(&deployment(json!({})), ALL).unwrap().recorded, None);
}

#[test]
fn the_last_write_is_that_of_the_object_and_not_of_its_status() {
    let entry = |manager: &str, time: &str, subresource: &str| json!({"manager": manager, "operation": "Update", "time": time, "subresource": subresource});
    let written = |entries: &[Value]| {
        let metadata = json!({"managedFields": entries, "generation": 7, "uid": "u"});
        let workload = read_as(&deployment(metadata), ALL).unwrap();
        (workload.written, workload.written_by_us)
    };
    let helm = entry("helm", "2026-11-29T10:00:00Z", "");
    let status = entry("kube-controller-manager", "2026-11-29T10:00:09Z", "status");
    let ours = entry(MANAGER, "2026-11-29T10:00:05Z", "");
    assert_eq!(written(&[]), (None, false));
    assert_eq!(
        written(&[helm.clone(), status.clone()]),
        (Some(1_795_946_400), false)
    );
    assert_eq!(written(&[helm, status, ours]), (Some(1_795_946_405), true));
}

#[test]
fn a_template_of_the_wrong_shape_is_an_error_with_its_path() {
    let mut workload = deployment(json!({}));
    workload["spec"]["template"]["spec"]["containers"] = json!("hidden");
    let error = try_read(&workload, ALL).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.template.spec.containers: expected a list, not a string"
    );
}

#[test]
fn versions_that_are_no_numbers_are_never_the_same() {
    let metadata = |version: &str| ObjectMeta {
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    };
    assert_eq!(revision(&metadata("123")), 123);
    assert_eq!(revision(&metadata("abc")), 0);
    assert_eq!(revision(&ObjectMeta::default()), 0);
}
