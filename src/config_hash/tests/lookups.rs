//! Look-ups that say nothing about the cluster.

use super::*;

const AWAY: &str = "ConfigMap shop/app cannot be read: the API server is away";

/// The Deployment is stored, the ConfigMap has changed since and cannot be read.
fn blind(settings: Value) -> Shop {
    let mut shop = Shop::with(settings);
    shop.put("ConfigMap/app", "mode=light");
    shop.cluster.failing = vec!["ConfigMap shop/app".to_owned()];
    shop
}

fn kept(word: &str, template: &str) -> [String; 5] {
    [
        format!("{word}, template {template}"),
        "stamp: ConfigMap/app mode=dark".to_owned(),
        "configs: ConfigMap/app mode=dark".to_owned(),
        format!("warning: Deployment/web keeps its old stamp: {AWAY}"),
        format!("audit config-not-read: {AWAY}"),
    ]
}

#[track_caller]
fn assert_kept(edit: impl FnOnce(&mut Value), word: &str, template: &str) {
    let mut shop = blind(json!({"lookupFailure": "warn"}));
    let expected = kept(word, template);
    shop.update(edit, &expected.each_ref().map(String::as_str));
    // With sight again, the change is not lost.
    shop.cluster.failing.clear();
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=light",
        "configs: ConfigMap/app mode=light",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
        "audit config-changed: ConfigMap app",
    ]);
}

#[test]
fn rejected() {
    let message = "rejected 500: Deployment/web: its config cannot be hashed, since ConfigMap shop/app cannot be read: \
                   the API server is away. Nothing was changed. `lookupFailure: warn` would let it pass with its old stamp.";
    let mut shop = blind(json!({}));
    shop.touch(&[message]);
    shop.update(image("web:2"), &[message]);
    shop.create(web(), &[message]);
}

#[test]
fn warned_about_and_the_stamp_kept() {
    assert_kept(|_| (), "accepted", "the same");
    assert_kept(image("web:2"), "accepted", "changed");
    assert_kept(forge, "mutated", "the same");
    assert_kept(replace_with(web()), "mutated", "the same");
    assert_kept(
        |object| {
            forge(object);
            image("web:2")(object);
        },
        "mutated",
        "changed",
    );
}

#[test]
fn a_kept_template_is_the_old_one_in_all_that_it_says() {
    let mut shop = Shop::empty();
    shop.stored = web();
    shop.stored["spec"]["template"]["metadata"]["annotations"] = json!({});
    let before = shop.stored.clone();
    shop.set(json!({"lookupFailure": "warn"}));
    shop.cluster.failing = vec!["ConfigMap shop/app".to_owned()];
    let warning = format!("warning: Deployment/web keeps its old stamp: {AWAY}");
    let audit = format!("audit config-not-read: {AWAY}");
    shop.update(forge, &["mutated, template the same", &warning, &audit]);
    assert_eq!(shop.stored["spec"], before["spec"]);
}

#[test]
fn a_new_workload_has_no_stamp_to_keep() {
    let warning = format!("warning: Deployment/web keeps its old stamp: {AWAY}");
    let audit = format!("audit config-not-read: {AWAY}");
    let mut shop = blind(json!({"lookupFailure": "warn"}));
    shop.create(web(), &["accepted, template new", &warning, &audit]);
    let mut forged = web();
    forge(&mut forged);
    shop.create(forged, &["mutated, template new", &warning, &audit]);
    assert_eq!(shop.stored, web());
}

#[test]
fn a_key_that_cannot_be_used_is_a_failed_look_up() {
    let mut shop = Shop::new();
    shop.rotate_key("first");
    shop.remove("Secret/hash-key");
    let error = "the hash key in key \"key\" of Secret shop/hash-key cannot be used: there is no such Secret";
    shop.touch(&[&format!(
        "rejected 500: Deployment/web: its config cannot be hashed, since {error}. Nothing was changed. \
         `lookupFailure: warn` would let it pass with its old stamp."
    )]);
    shop.settings.lookup_failure = LookupFailure::Warn;
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        &format!("warning: Deployment/web keeps its old stamp: {error}"),
        &format!("audit config-not-read: {error}"),
    ]);
}

#[test]
fn a_workload_that_uses_too_much_is_a_failed_look_up() {
    let names: Vec<_> = (0..256).map(|n| format!("c{n}")).collect();
    let mut object = web();
    annotate(EXTRA_CONFIGMAPS, &names.join(","))(&mut object);
    Shop::empty().create(
        object,
        &["rejected 500: Deployment/web: its config cannot be hashed, since it uses 257 ConfigMaps and Secrets, \
           and at most 256 are read. Nothing was changed. `lookupFailure: warn` would let it pass with its old stamp."],
    );
}

#[test]
fn in_verify_mode_a_look_up_that_fails_is_told() {
    let mut shop = blind(json!({}));
    shop.set(json!({"mode": "verify", "lookupFailure": "warn"}));
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        &format!("warning: Deployment/web cannot be compared with the cluster: {AWAY}"),
        &format!("audit config-not-read: {AWAY}"),
    ]);
}

/// Between a workload and its config lie milliseconds: each look-up happens once, and anew.
#[test]
fn each_config_is_read_once_per_request() {
    let mut shop = Shop::empty();
    let mut object = web_with(json!({
        "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db", "optional": true}}],
        "env": [{"valueFrom": {"configMapKeyRef": {"name": "app", "key": "mode"}}}],
    }));
    annotate(EXTRA_CONFIGMAPS, "app")(&mut object);
    shop.add(object);
    shop.answer(Operation::Update, shop.stored.clone());
    let each = [
        "ConfigMap shop/app [data, binaryData, metadata.annotations]",
        "Secret shop/db [data, binaryData, metadata.annotations]",
    ];
    assert_eq!(*shop.cluster.asked.borrow(), [each, each].concat());
}
