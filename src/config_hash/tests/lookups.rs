//! Look-ups that fail.

use super::*;
use crate::annotations::{EXTRA_SECRETS, IGNORE};

const AWAY: &str = "ConfigMap shop/app cannot be read: the API server is away";

/// The Deployment is stored; since then the ConfigMap has changed, and it cannot be read.
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
        format!("warning: Deployment/web keeps its current config hash: {AWAY}"),
        format!("audit config-not-read: {AWAY}"),
    ]
}

#[track_caller]
fn assert_kept(edit: impl FnOnce(&mut Value), word: &str, template: &str) {
    let mut shop = blind(json!({"lookupFailure": "warn"}));
    let expected = kept(word, template);
    shop.update(edit, &expected.each_ref().map(String::as_str));
    // When the look-up works again, the change is noticed.
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
    let message = "rejected 500: Deployment/web: its config cannot be hashed: ConfigMap shop/app cannot be read: \
                   the API server is away. Nothing was changed. \
                   `lookupFailure: warn` would admit it with its current config hash.";
    let mut shop = blind(json!({}));
    shop.touch(&[message]);
    shop.update(image("web:2"), &[message]);
    shop.create(
        web(),
        &[&message.replace("with its current config hash", "without a config hash")],
    );
}

#[test]
fn a_kind_that_was_not_granted_is_rejected() {
    let mut shop = Shop::new();
    shop.cluster.denied = vec!["v1/ConfigMap".to_owned()];
    shop.touch(&[
        "rejected 500: Deployment/web: its config cannot be hashed: ConfigMap shop/app cannot be read: \
         this policy has not been granted access to v1/ConfigMap; add it to contextAwareResources of the policy. \
         Nothing was changed. `lookupFailure: warn` would admit it with its current config hash.",
    ]);
}

/// Somebody else's typo does not stop all who use the config.
#[test]
fn an_odd_annotation_on_a_config_is_passed_over() {
    let mut shop = Shop::new();
    shop.annotate_config("ConfigMap/app", IGNORE, "True");
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        "warning: Deployment/web: ConfigMap shop/app: annotation rollout-guard/ignore must be \"true\" or \
         \"false\", not \"True\"; it counts like any other",
    ]);
}

#[test]
fn a_config_of_the_wrong_shape_is_a_failed_look_up() {
    let mut shop = Shop::new();
    shop.cluster.objects[0]["data"]["mode"] = json!(1);
    shop.touch(&[
        "rejected 500: Deployment/web: its config cannot be hashed: ConfigMap shop/app cannot be read: \
         data[\"mode\"] is not a string. \
         Nothing was changed. `lookupFailure: warn` would admit it with its current config hash.",
    ]);
}

#[test]
fn admitted_with_a_warning_and_the_current_stamp() {
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
fn a_kept_template_is_byte_identical_to_the_old_one() {
    let mut shop = Shop::empty();
    shop.stored = web();
    shop.stored["spec"]["template"]["metadata"]["annotations"] = json!({});
    let before = shop.stored.clone();
    shop.set(json!({"lookupFailure": "warn"}));
    shop.cluster.failing = vec!["ConfigMap shop/app".to_owned()];
    let warning = format!("warning: Deployment/web keeps its current config hash: {AWAY}");
    let audit = format!("audit config-not-read: {AWAY}");
    shop.update(forge, &["mutated, template the same", &warning, &audit]);
    assert_eq!(shop.stored["spec"], before["spec"]);
}

#[test]
fn a_new_workload_has_no_stamp_to_keep() {
    let warning = format!("warning: Deployment/web gets no config hash: {AWAY}");
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
    let error = "key \"key\" of Secret shop/hash-key cannot be used as the hash key: the Secret does not exist";
    shop.touch(&[&format!(
        "rejected 500: Deployment/web: its config cannot be hashed: {error}. Nothing was changed. \
         `lookupFailure: warn` would admit it with its current config hash."
    )]);
    shop.settings.lookup_failure = LookupFailure::Warn;
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        &format!("warning: Deployment/web keeps its current config hash: {error}"),
        &format!("audit config-not-read: {error}"),
    ]);
}

/// What was recorded of those that are not read is not lost.
#[test]
fn of_too_many_configs_the_first_are_read() {
    let names: Vec<_> = (0..255).map(|n| format!("c{n}")).collect();
    let mut shop = Shop::empty();
    shop.put("Secret/zoo", "x=1");
    shop.set(json!({"configHash": {"missing": "ignore"}}));
    let mut object = web();
    annotate(EXTRA_SECRETS, "zoo")(&mut object);
    shop.add(object);
    let mut object = shop.stored.clone();
    annotate(EXTRA_CONFIGMAPS, &names.join(","))(&mut object);
    let answer = shop.answer(Operation::Update, object);
    assert_eq!(
        answer.last().map(String::as_str),
        Some(
            "warning: Deployment/web: it uses 257 ConfigMaps and Secrets, but only the first 256 are read; \
             changes of the others do not roll it out"
        )
    );
    let recorded = Recorded::on(&shop.stored).unwrap().0;
    assert_eq!(recorded.len(), 257);
    assert_eq!(shop.content(&recorded["Secret/zoo"]), "x=1");
}

#[test]
fn in_verify_mode_a_failed_look_up_is_reported() {
    let mut shop = blind(json!({}));
    shop.set(json!({"mode": "verify"}));
    shop.touch(&[
        "rejected 500: Deployment/web: its config cannot be compared with the cluster: \
         ConfigMap shop/app cannot be read: the API server is away. Nothing was changed. \
         `lookupFailure: warn` would admit it with a warning.",
    ]);
    shop.set(json!({"mode": "verify", "lookupFailure": "warn"}));
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        &format!("warning: Deployment/web cannot be compared with the cluster: {AWAY}"),
        &format!("audit config-not-read: {AWAY}"),
    ]);
}

/// A workload is often applied milliseconds after its config: each request reads every config again, once.
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
