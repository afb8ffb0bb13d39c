//! `mode: verify`: compares and never mutates.

use super::*;

const STALE: &[&str] = &[
    "rejected 403: Deployment/web runs stale config: ConfigMap app changed since its pods were rolled out. \
     An update of the workload, even an empty patch, rolls it out.",
    "audit config-stale: ConfigMap app",
];

/// Judges the stored Deployment with `mode: verify`, as the audit scanner does.
#[track_caller]
fn verify(shop: &mut Shop, expected: &[&str]) {
    shop.settings.mode = Mode::Verify;
    for operation in [Operation::Create, Operation::Update] {
        let stored = shop.stored.clone();
        let answer = shop.answer(operation, stored.clone());
        assert_eq!(without_annotations(&answer), expected, "{operation:?}");
        assert_eq!(shop.stored, stored);
    }
    shop.settings.mode = Mode::Enforce;
}

/// Without the lines about the template and its annotations: they are always what was sent.
fn without_annotations(answer: &[String]) -> Vec<&str> {
    let told = |line: &&str| !line.starts_with("stamp: ") && !line.starts_with("configs: ");
    let first = |line: &str| line.split(", template").next().map(str::len);
    let mut lines: Vec<_> = answer.iter().map(String::as_str).filter(told).collect();
    if let (Some(line), true) = (lines.first_mut(), answer[0].contains(", template")) {
        *line = line.split_at(first(line).unwrap()).0;
    }
    lines
}

#[test]
fn a_fresh_workload_is_accepted() {
    verify(&mut Shop::new(), &["accepted"]);
}

#[test]
fn a_stale_workload_is_rejected() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    verify(&mut shop, STALE);
    shop.answer(Operation::Update, shop.stored.clone());
    verify(&mut shop, &["accepted"]);
}

#[test]
fn a_frozen_stale_workload_is_reported() {
    let mut shop = Shop::new();
    shop.answer(Operation::Update, {
        let mut object = shop.stored.clone();
        annotate(FREEZE, "true")(&mut object);
        object
    });
    verify(&mut shop, &["accepted"]);
    shop.put("ConfigMap/app", "mode=light");
    verify(
        &mut shop,
        &[
            "accepted",
            "warning: Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap app",
        ],
    );
}

#[test]
fn a_workload_never_seen_is_not_stale() {
    let mut shop = Shop::empty();
    shop.stored = web();
    verify(&mut shop, &["accepted"]);
}

/// As the audit scanner sends it.
#[track_caller]
fn scan(shop: &mut Shop, status: Value, expected: &[&str]) {
    shop.settings.mode = Mode::Verify;
    let stored = shop.stored.clone();
    let mut live = stored.clone();
    live["status"] = status;
    let answer = shop.answer(Operation::Create, live);
    assert_eq!(without_annotations(&answer), expected);
    shop.stored = stored;
    shop.settings.mode = Mode::Enforce;
}

#[test]
fn a_live_workload_that_nobody_compared_is_reported() {
    let mut shop = Shop::empty();
    shop.stored = web();
    let status = || json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});
    scan(
        &mut shop,
        status(),
        &[
            "rejected 403: Deployment/web was never compared with its config. An update of the workload, even an \
             empty patch, records what its pods run.",
        ],
    );
    shop.answer(Operation::Update, shop.stored.clone());
    scan(&mut shop, status(), &["accepted"]);
    shop.stored = web_with(json!({}));
    scan(&mut shop, status(), &["accepted"]);
}

/// The stamp has changed, and the pods have not: OnDelete, a partition, a pause, a rollout that is stuck.
#[test]
fn pods_that_are_left_behind_are_reported() {
    let mut shop = Shop::new();
    scan(
        &mut shop,
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}),
        &[
            "rejected 403: Deployment/web: 2 of its 3 pods still run an older pod template, and maybe older config.",
        ],
    );
    shop.stored = web_with(json!({}));
    scan(
        &mut shop,
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}),
        &["accepted"],
    );
}

#[test]
fn a_stamp_that_would_restart_nothing_is_reported_with_the_way_out() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    shop.settings.mode = Mode::Verify;
    let mut object = shop.stored.clone();
    object["spec"]["updateStrategy"] = json!({"type": "InPlaceOnly"});
    let mut request = request(Operation::Create, object, Value::Null);
    request.kind.group = "apps.kruise.io".to_owned();
    let Outcome::Reject { message, .. } = judge(&request, &shop.settings, &shop.cluster).outcome
    else {
        panic!("stale");
    };
    assert_eq!(
        message,
        "rollout-guard: Deployment/web runs stale config: ConfigMap app. With its in-place update strategy, \
         OpenKruise restarts nothing for another config hash: restart the pods, or set the type ReCreate"
    );
}

#[test]
fn a_workload_that_is_not_chosen_is_accepted() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    shop.update_unseen(annotate(ENABLED, "false"));
    verify(&mut shop, &["accepted"]);
}

#[test]
fn a_required_config_that_was_deleted_is_missing_and_not_stale() {
    let mut shop = Shop::new();
    shop.remove("ConfigMap/app");
    verify(
        &mut shop,
        &[
            "accepted",
            "warning: Deployment/web: it needs ConfigMap app, which does not exist in namespace shop",
        ],
    );
    shop.put("ConfigMap/app", "mode=light");
    verify(&mut shop, STALE);
}

#[test]
fn an_optional_config_that_appeared_is_stale() {
    let mut shop = Shop::empty();
    shop.add(web_with(
        json!({"envFrom": [{"configMapRef": {"name": "flags", "optional": true}}]}),
    ));
    verify(&mut shop, &["accepted"]);
    shop.put("ConfigMap/flags", "beta=1");
    verify(
        &mut shop,
        &[
            "rejected 403: Deployment/web runs stale config: ConfigMap flags changed since its pods were rolled out. \
             An update of the workload, even an empty patch, rolls it out.",
            "audit config-stale: ConfigMap flags",
        ],
    );
}

/// The second policy sees the object that the first has stamped: its record fits the keys that it uses.
#[test]
fn an_update_that_uses_other_keys_is_measured_by_these() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    let before = shop.stored.clone();
    shop.answer(
        Operation::Update,
        web_with(env("configMapKeyRef", "app", "other")),
    );
    let after = std::mem::replace(&mut shop.stored, before);
    shop.settings.mode = Mode::Verify;
    let answer = shop.answer(Operation::Update, after);
    assert_eq!(without_annotations(&answer), ["accepted"]);
}

#[test]
fn a_new_hash_key_or_setting_of_pull_secrets_makes_nothing_stale() {
    let mut shop = Shop::empty();
    shop.put("Secret/hub", "user=root, .dockerconfigjson=1");
    let mut object = web_with(env("secretKeyRef", "hub", "user"));
    object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "hub"}]);
    shop.add(object);
    shop.settings.config_hash.image_pull_secrets = true;
    verify(&mut shop, &["accepted"]);
    shop.rotate_key("first");
    verify(&mut shop, &["accepted"]);
}

#[test]
fn nothing_is_ever_mutated() {
    let mut shop = Shop::new();
    shop.settings.mode = Mode::Verify;
    shop.settings.config_hash.change_cause = true;
    shop.put("Secret/db", "user=root");
    let mut forged = web();
    forge(&mut forged);
    for object in [
        web(),
        web_with(env("secretKeyRef", "db", "user")),
        web_with(json!({})),
        forged,
    ] {
        for operation in [Operation::Create, Operation::Update] {
            let request = request(operation, object.clone(), shop.stored.clone());
            let Verdict { outcome, .. } = judge(&request, &shop.settings, &shop.cluster);
            assert!(!matches!(outcome, Outcome::Mutate(_)), "{object}");
        }
    }
}

#[test]
fn missing_config_is_rejected_when_set() {
    let mut shop = Shop::new();
    shop.set(json!({"configHash": {"missing": "reject"}}));
    shop.remove("ConfigMap/app");
    verify(
        &mut shop,
        &[
            "rejected 403: Deployment/web cannot start: it needs ConfigMap app, which does not exist in namespace shop. \
           Create it first, or mark the reference optional.",
        ],
    );
}
