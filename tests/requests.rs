//! Odd requests through policy.wasm: each gets a clear answer.

use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Objects, Recording};

use crate::support::{policy, root};

/// The answer to a request: `accepted`, or the code and the message.
fn answer(request: &Value, settings: &Value, cluster: Objects) -> String {
    let response = policy()
        .validate(request, settings, Arc::new(cluster))
        .unwrap()
        .response;
    match (response.accepted, response.warnings) {
        (true, None) => "accepted".to_owned(),
        (true, Some(warnings)) => format!("accepted, warning: {}", warnings.join(" | ")),
        (false, _) => format!(
            "{}: {}",
            response.code.unwrap_or_default(),
            response.message.unwrap_or_default()
        ),
    }
}

fn deployment(spec: Value) -> Value {
    json!({
        "uid": "1", "operation": "CREATE", "name": "web", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec},
    })
}

fn uses_config() -> Value {
    deployment(json!({"template": {"spec": {"containers": [
        {"name": "a", "envFrom": [{"configMapRef": {"name": "app"}}]},
    ]}}}))
}

/// The recorded trap, with the text of its record replaced.
fn trap(data: impl FnOnce(&str) -> Value) -> (Value, Vec<Value>) {
    let file = root().join("tests/recordings/helm3/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2.json");
    let Recording {
        mut request,
        cluster,
    } = Recording::read(&file).unwrap();
    let release = request.pointer_mut("/object/data/release").unwrap();
    *release = data(release.as_str().unwrap());
    (request, cluster)
}

#[track_caller]
fn assert_answer(request: &Value, settings: Value, cluster: Objects, expected: &str) {
    assert_eq!(answer(request, &settings, cluster), expected, "{request}");
}

#[test]
fn malformed_requests_are_rejected_with_the_place_of_the_error() {
    let nothing = || Objects::new([]);
    for (request, expected) in [
        (
            json!({}),
            "400: rollout-guard: the request cannot be read: missing field `operation` at line 1 column 13",
        ),
        (
            json!({"operation": "EAT"}),
            "400: rollout-guard: the request cannot be read: unknown variant `EAT`, expected one of `CREATE`, `UPDATE`, `DELETE`, `CONNECT` at line 1 column 29",
        ),
        (
            deployment(json!({"template": {"spec": {"containers": "none"}}})),
            "400: rollout-guard: Deployment/web: spec.template.spec.containers: expected a list, not a string",
        ),
        (
            deployment(
                json!({"template": {"spec": {"containers": [], "volumes": [{"name": "a", "configMap": {"name": 3}}]}}}),
            ),
            "400: rollout-guard: Deployment/web: spec.template.spec.volumes[0].configMap.name: expected a string, not a number",
        ),
    ] {
        assert_answer(&request, json!({}), nothing(), expected);
    }
}

#[test]
fn other_requests_are_accepted() {
    let other = |kind: Value, object: Value| json!({"uid": "1", "operation": "CREATE", "name": "x", "namespace": "shop", "kind": kind, "object": object});
    for request in [
        other(
            json!({"group": "", "version": "v1", "kind": "Service"}),
            json!({"spec": {"ports": []}}),
        ),
        other(
            json!({"group": "example.com", "version": "v1", "kind": "Thing"}),
            json!({"spec": "text"}),
        ),
        other(
            json!({"group": "bitnami.com", "version": "v1alpha1", "kind": "SealedSecret"}),
            json!({"spec": {"template": {"metadata": {}}}}),
        ),
        other(
            json!({"group": "", "version": "v1", "kind": "Secret"}),
            json!({"type": "Opaque", "data": {"release": "x"}}),
        ),
    ] {
        assert_answer(&request, json!({}), Objects::new([]), "accepted");
    }
}

#[test]
fn a_config_change_warns_about_its_consumers_if_enabled() {
    let config = |mode: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}, "data": {"mode": mode}});
    let request = json!({
        "uid": "1", "operation": "UPDATE", "name": "app", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "object": config("light"), "oldObject": config("dark"),
    });
    let web = || Objects::new([uses_config().pointer("/object").unwrap().clone()]);
    assert_answer(&request, json!({}), web(), "accepted");
    assert_answer(
        &request,
        json!({"configHash": {"warnConsumers": true}}),
        web(),
        "accepted, warning: rollout-guard: Deployment web uses ConfigMap app, but does not roll out: its next update only records the config, for the first time. To restart it: kubectl rollout restart -n shop deployment web",
    );
    let mut recorded = uses_config().pointer("/object").unwrap().clone();
    recorded["metadata"]["annotations"] =
        json!({"rollout-guard/configs": r#"{"ConfigMap/app":"00000000000000000000000000000000"}"#});
    assert_answer(
        &request,
        json!({"configHash": {"warnConsumers": true}}),
        Objects::new([recorded]),
        "accepted, warning: rollout-guard: Deployment web uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop deployment web -p '{}'",
    );
    assert_answer(
        &request,
        json!({"configHash": {"warnConsumers": true}}),
        web().denied("apps/v1", "Deployment"),
        "accepted, warning: rollout-guard: cannot tell which workloads use ConfigMap app: the list of Deployments in namespace shop cannot be read: this policy has not been granted access to apps/v1/Deployment; add it to contextAwareResources of the policy",
    );
}

#[test]
fn a_deletion_of_what_a_workload_requires_is_answered_by_level() {
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}, "data": {"mode": "dark"}});
    let request = json!({
        "uid": "1", "operation": "DELETE", "name": "app", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "oldObject": config,
        "userInfo": {"username": "system:serviceaccount:flux-system:kustomize-controller"},
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let cluster = || Objects::new([uses_config()["object"].clone(), namespace.clone()]);
    let guarding = |level: &str, user: &str| json!({"deletionGuard": {"level": level, "rejectFor": {"users": [user]}}});
    let warned =
        "accepted, warning: rollout-guard: ConfigMap app is in use: Deployment web requires it";
    assert_answer(&request, json!({}), cluster(), "accepted");
    assert_answer(&request, guarding("warn", "ann"), cluster(), warned);
    let rejected = answer(
        &request,
        &guarding("ignore", "system:serviceaccount:*:kustomize-controller"),
        cluster(),
    );
    let expected = "403: rollout-guard: ConfigMap app in namespace shop was not deleted, because it is in use.\nDeployment web requires it.\n";
    assert!(rejected.starts_with(expected), "{rejected}");
    assert_answer(
        &request,
        guarding("reject", "ann"),
        Objects::new([]),
        "accepted",
    );
    // A grant that is missing is no list that is empty.
    let denied = cluster().denied("apps/v1", "DaemonSet");
    assert_answer(
        &request,
        guarding("warn", "ann"),
        denied,
        &format!(
            "{warned} | rollout-guard: it is not known who else needs ConfigMap app: the list of DaemonSets cannot be read: \
             this policy has not been granted access to apps/v1/DaemonSet; add it to contextAwareResources of the policy"
        ),
    );
}

#[test]
fn a_failed_look_up_is_not_an_absent_object() {
    let request = uses_config();
    assert_answer(
        &request,
        json!({}),
        Objects::new([]),
        "accepted, warning: rollout-guard: Deployment/web: it needs ConfigMap app, which does not exist in namespace shop",
    );
    assert_answer(
        &request,
        json!({"configHash": {"missing": "ignore"}}),
        Objects::new([]),
        "accepted",
    );
    assert_answer(
        &request,
        json!({"configHash": {"missing": "reject"}}),
        Objects::new([]),
        "403: rollout-guard: Deployment/web cannot start: it needs ConfigMap app, which does not exist in namespace shop. Create it first, or mark the reference optional.",
    );
    assert_answer(
        &request,
        json!({}),
        Objects::new([]).denied("v1", "ConfigMap"),
        "500: rollout-guard: Deployment/web: its config cannot be hashed: ConfigMap shop/app cannot be read: this policy has not been granted access to v1/ConfigMap; add it to contextAwareResources of the policy. Nothing was changed. `lookupFailure: warn` would admit it without a config hash.",
    );
    assert_answer(
        &request,
        json!({"lookupFailure": "warn"}),
        Objects::new([]).failing("v1", "ConfigMap", "app", "ApiError: etcd is away"),
        "accepted, warning: rollout-guard: Deployment/web gets no config hash: ConfigMap shop/app cannot be read: ApiError: etcd is away",
    );
}

#[test]
fn errors_of_unreadable_records_name_the_broken_part() {
    let judged = |data: &dyn Fn(&str) -> Value, settings: Value| {
        let (request, cluster) = trap(data);
        let answer = answer(&request, &settings, Objects::new(cluster));
        answer
            .split(". Nothing was changed")
            .next()
            .unwrap()
            .to_owned()
    };
    let record = "500: rollout-guard: release record Secret rec-helm3/sh.helm.release.v1.yahoo.v2 cannot be judged: data.release";
    for (data, expected) in [
        (
            &(|_: &str| Value::Null) as &dyn Fn(&str) -> Value,
            " is missing or not a string",
        ),
        (
            &|_| json!("%"),
            ": Kubernetes' base64 layer has an invalid character at byte 0",
        ),
        (
            &|_| json!("JSUlJQ=="),
            ": Helm's base64 layer has an invalid character at byte 0",
        ),
        (&|text| json!(text.split_at(text.len() / 8 * 4).0), ": "),
    ] {
        let answer = judged(data, json!({}));
        assert!(
            answer.starts_with(&format!("{record}{expected}")),
            "{answer}"
        );
    }
    let answer = judged(
        &|text| json!(text),
        json!({"releaseGuard": {"maxRecordBytes": 100}}),
    );
    assert_eq!(
        answer,
        format!("{record}: the decoded record is larger than 100 bytes")
    );
}

#[test]
fn a_release_without_a_current_revision_passes_with_a_warning() {
    let (request, _) = trap(|text| json!(text));
    assert_answer(
        &request,
        json!({}),
        Objects::new([]),
        "accepted, warning: rollout-guard: release record Secret rec-helm3/sh.helm.release.v1.yahoo.v1 does not exist (--history-max deletes records), so what this upgrade deletes was not checked",
    );
}

#[test]
fn settings_are_checked_before_the_policy_is_loaded() {
    let check = |settings: Value| {
        let check = policy().validate_settings(&settings).unwrap();
        (check.valid, check.message)
    };
    assert_eq!(check(json!({})), (true, None));
    assert_eq!(
        check(json!({"releaseGard": {}})),
        (
            false,
            Some("unknown setting `releaseGard`; did you mean `releaseGuard`?".to_owned())
        )
    );
}
