//! Config that the pods require and that does not exist.

use super::*;

const NO_APP: &str = "it needs ConfigMap app, which does not exist in namespace shop";

fn shop(missing: &str) -> Shop {
    let mut shop = Shop::empty();
    shop.set(json!({"configHash": {"missing": missing}}));
    shop
}

#[test]
fn ignored() {
    let mut shop = shop("ignore");
    shop.remove("ConfigMap/app");
    shop.create(
        web(),
        &[
            "mutated, template new",
            "stamp: ConfigMap/app missing",
            "configs: ConfigMap/app missing",
        ],
    );
}

#[test]
fn admitted_with_a_warning() {
    let mut shop = shop("warn");
    shop.remove("ConfigMap/app");
    let warning = format!("warning: Deployment/web: {NO_APP}");
    shop.create(
        web(),
        &[
            "mutated, template new",
            "stamp: ConfigMap/app missing",
            "configs: ConfigMap/app missing",
            &warning,
        ],
    );
}

#[test]
fn rejected() {
    let mut shop = shop("reject");
    shop.remove("ConfigMap/app");
    shop.create(
        web(),
        &["rejected 403: Deployment/web cannot start: it needs ConfigMap app, which does not exist in namespace shop. \
           Create it first, or mark the reference optional."],
    );
}

#[test]
fn each_missing_object_is_named_once() {
    let object = || {
        web_with(json!({
            "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "gone"}}, {"secretRef": {"name": "gone"}}],
            "env": [{"valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}, {"valueFrom": {"secretKeyRef": {"name": "db", "key": "pin"}}}],
        }))
    };
    let mut rejecting = shop("reject");
    rejecting.put("Secret/db", "user=root");
    rejecting.create(
        object(),
        &["rejected 403: Deployment/web cannot start: it needs key \"password\" of Secret db, which has no such key; \
           it needs Secret gone, which does not exist in namespace shop. Create it first, or mark the reference optional."],
    );
    let mut warning = shop("warn");
    warning.put("Secret/db", "user=root");
    warning.create(
        object(),
        &[
            "mutated, template new",
            "stamp: ConfigMap/app mode=dark, Secret/gone missing",
            "configs: ConfigMap/app mode=dark, Secret/gone missing",
            "warning: Deployment/web: it needs key \"password\" of Secret db, which has no such key",
            "warning: Deployment/web: it needs Secret gone, which does not exist in namespace shop",
        ],
    );
}

#[test]
fn optional_and_ignored_configs_are_not_missing() {
    let optional =
        web_with(json!({"envFrom": [{"configMapRef": {"name": "flags", "optional": true}}]}));
    shop("reject").create(
        optional,
        &[
            "mutated, template new",
            "stamp: ConfigMap/flags absent",
            "configs: ConfigMap/flags absent",
        ],
    );
    let mut ignoring = shop("reject");
    ignoring.set(json!({"configHash": {"missing": "reject", "ignore": {"secrets": ["gone"]}}}));
    ignoring.create(
        web_with(json!({"envFrom": [{"secretRef": {"name": "gone"}}]})),
        &["accepted, template new"],
    );
}

#[test]
fn a_rollout_and_a_gap_are_reported_together() {
    let mut shop = shop("warn");
    shop.put("Secret/db", "user=root");
    shop.add(web_with(
        json!({"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}),
    ));
    shop.put("ConfigMap/app", "mode=light");
    shop.remove("Secret/db");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=light, Secret/db user=root or missing",
        "configs: ConfigMap/app mode=light, Secret/db user=root or missing",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
        "warning: Deployment/web: it needs Secret db, which does not exist in namespace shop",
        "audit config-changed: ConfigMap app",
    ]);
}

#[test]
fn an_update_is_rejected_too() {
    let mut shop = shop("reject");
    shop.add(web());
    shop.remove("ConfigMap/app");
    shop.touch(&[
        "rejected 403: Deployment/web cannot start: it needs ConfigMap app, which does not exist in namespace shop. \
         Create it first, or mark the reference optional.",
    ]);
}
