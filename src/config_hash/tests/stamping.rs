//! When the template changes, and when it does not.

use super::*;
use crate::annotations::{EXTRA_SECRETS, IGNORE};

const CREATED: &[&str] = &[
    "mutated, template new",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark",
];
const SAME: &[&str] = &[
    "accepted, template the same",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark",
];
const RESTORED: &[&str] = &[
    "mutated, template the same",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark",
];
const ROLLED_OUT: &[&str] = &[
    "mutated, template changed",
    "stamp: ConfigMap/app mode=light",
    "configs: ConfigMap/app mode=light",
    "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
    "audit config-changed: ConfigMap app",
];

// Created.

#[test]
fn a_new_workload_is_stamped() {
    Shop::empty().create(web(), CREATED);
}

#[test]
fn forged_annotations_on_a_new_workload_are_replaced() {
    let mut object = web();
    forge(&mut object);
    Shop::empty().create(object, CREATED);
}

#[test]
fn a_new_workload_without_config_is_not_stamped() {
    let mut shop = Shop::empty();
    shop.create(web_with(json!({})), &["accepted, template new"]);
    let mut object = web_with(json!({}));
    forge(&mut object);
    shop.create(object.clone(), &["mutated, template new"]);
    assert_eq!(shop.stored, web_with(json!({})), "no trace of the forgery");
}

// Neither config nor template changed.

#[test]
fn nothing_changed() {
    Shop::new().touch(SAME);
}

#[test]
fn other_fields_of_the_workload_changed() {
    let mut shop = Shop::new();
    shop.update(|object| object["spec"]["replicas"] = json!(3), SAME);
    shop.update(annotate("team", "blue"), SAME);
    shop.update(
        |object| object["metadata"]["labels"] = json!({"x": "y"}),
        SAME,
    );
}

#[test]
fn a_put_without_our_annotations_keeps_them() {
    let mut shop = Shop::new();
    let before = shop.stored.clone();
    shop.update(replace_with(web()), RESTORED);
    assert_eq!(shop.stored, before);
}

#[test]
fn forged_annotations_are_restored() {
    let mut shop = Shop::new();
    let before = shop.stored.clone();
    shop.update(forge, RESTORED);
    assert_eq!(shop.stored, before);
}

#[test]
fn a_forged_record_does_not_hide_a_change() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    let mut current = Shop::empty();
    current.put("ConfigMap/app", "mode=light");
    current.add(web());
    let Value::Object(annotations) = current.stored["metadata"]["annotations"].take() else {
        panic!("stamped");
    };
    shop.update(
        |object| object["metadata"]["annotations"] = annotations.into(),
        ROLLED_OUT,
    );
}

#[test]
fn a_forged_record_does_not_cause_a_change() {
    let mut shop = Shop::new();
    shop.update(annotate(CONFIGS, r#"{"ConfigMap/app":"0000"}"#), RESTORED);
    shop.touch(SAME);
}

#[test]
fn keys_that_are_not_in_use_do_not_count() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    shop.put("ConfigMap/app", "mode=dark, other=2, more=3");
    shop.touch(SAME);
    shop.put("ConfigMap/app", "mode=light, other=2");
    shop.touch(ROLLED_OUT);
}

#[test]
fn labels_of_a_config_do_not_count() {
    let mut shop = Shop::new();
    shop.annotate_config("ConfigMap/app", "team", "blue");
    shop.touch(SAME);
}

/// The API server keeps `annotations: {}` and `null` in custom resources, such as an Argo Rollout.
#[test]
fn an_empty_map_of_annotations_counts_as_none() {
    for metadata in [
        json!({"labels": {"app": "web"}, "annotations": {}}),
        json!({"labels": {"app": "web"}, "annotations": null}),
    ] {
        let mut manifest = web();
        manifest["spec"]["template"]["metadata"] = metadata;
        let mut shop = Shop::new();
        let before = shop.stored.clone();
        shop.put("ConfigMap/app", "mode=light");
        shop.update(annotate(FREEZE, "true"), FROZEN);
        shop.update(replace_with(manifest.clone()), ROLLED_OUT);
        shop.put("ConfigMap/app", "mode=dark");
        shop.touch(&[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
            "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
            "audit config-changed: ConfigMap app",
        ]);
        shop.update(replace_with(manifest), RESTORED);
        assert_eq!(
            template_of(&shop.stored)["spec"],
            template_of(&before)["spec"]
        );
    }
    for metadata in [json!({}), Value::Null] {
        let mut bare = web();
        bare["spec"]["template"]["metadata"].take();
        let mut shop = Shop::empty();
        shop.add(bare.clone());
        bare["spec"]["template"]["metadata"] = metadata;
        shop.update(replace_with(bare), RESTORED);
    }
}

// Only config changed.

#[test]
fn a_changed_config_rolls_out() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=light",
        "configs: ConfigMap/app mode=light",
    ]);
}

#[test]
fn a_changed_config_rolls_out_whatever_the_client_sends() {
    for edit in [forge, |object: &mut Value| *object = web()] {
        let mut shop = Shop::new();
        shop.put("ConfigMap/app", "mode=light");
        shop.update(edit, ROLLED_OUT);
    }
}

#[test]
fn a_config_that_is_changed_back_rolls_out_again() {
    let mut shop = Shop::new();
    let first = template_of(&shop.stored).clone();
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
    shop.put("ConfigMap/app", "mode=dark");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
        "audit config-changed: ConfigMap app",
    ]);
    assert_eq!(template_of(&shop.stored), &first);
}

#[test]
fn all_changed_configs_are_named_in_order() {
    let mut shop = Shop::empty();
    for id in ["Secret/app", "ConfigMap/zoo", "ConfigMap/bar"] {
        shop.put(id, "x=1");
    }
    shop.add(web_with(json!({"envFrom": [
        {"secretRef": {"name": "app"}}, {"configMapRef": {"name": "zoo"}},
        {"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "bar"}},
    ]})));
    for id in ["Secret/app", "ConfigMap/zoo", "ConfigMap/bar"] {
        shop.put(id, "x=2");
    }
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark, ConfigMap/bar x=2, ConfigMap/zoo x=2, Secret/app x=2",
        "configs: ConfigMap/app mode=dark, ConfigMap/bar x=2, ConfigMap/zoo x=2, Secret/app x=2",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap bar, ConfigMap zoo, Secret app",
        "audit config-changed: ConfigMap bar, ConfigMap zoo, Secret app",
    ]);
}

// The template changed anyway.

#[test]
fn a_changed_template_keeps_the_stamp_of_unchanged_config() {
    Shop::new().update(
        image("web:2"),
        &[
            "accepted, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
        ],
    );
}

#[test]
fn a_changed_template_is_stamped_for_the_current_config() {
    for edit in [forge, |_: &mut Value| ()] {
        let mut shop = Shop::new();
        shop.put("ConfigMap/app", "mode=light");
        shop.update(
            |object| {
                edit(object);
                image("web:2")(object);
            },
            &[
                "mutated, template changed",
                "stamp: ConfigMap/app mode=light",
                "configs: ConfigMap/app mode=light",
                "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
                "audit config-changed: ConfigMap app",
            ],
        );
    }
}

#[test]
fn a_changed_template_may_use_other_config() {
    let mut shop = Shop::new();
    shop.put("Secret/db", "user=root, password=x");
    let with_db = web_with(env("secretKeyRef", "db", "user"));
    shop.update(
        replace_with(with_db),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: Secret/db user=root",
        ],
    );
    shop.update(
        replace_with(web_with(json!({}))),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
        ],
    );
    shop.update(
        replace_with(web()),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
        ],
    );
}

/// A webhook behind this policy may put back what the client has removed.
#[test]
fn a_workload_that_stops_using_config_keeps_its_stamp() {
    let mut shop = Shop::new();
    shop.update(
        |object| {
            object["spec"]["template"]["spec"]["containers"][0]
                .as_object_mut()
                .unwrap()
                .remove("envFrom");
        },
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
        ],
    );
}

/// The webhook pins the image, as `clusterwide-verify-image-signatures` does; the client applies its manifest again.
#[test]
fn a_webhook_behind_that_edits_the_template_causes_no_rollout() {
    let mut shop = Shop::new();
    shop.update_unseen(image("web@sha256:1234"));
    shop.update(
        replace_with(web()),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
        ],
    );
}

#[test]
fn a_webhook_behind_does_not_break_the_freeze() {
    let mut shop = Shop::new();
    shop.update_unseen(image("web@sha256:1234"));
    shop.put("ConfigMap/app", "mode=light");
    shop.update(
        |object| {
            *object = web();
            annotate(FREEZE, "true")(object);
        },
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark or mode=light",
            "warning: Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap app",
            "audit config-frozen: ConfigMap app",
        ],
    );
}

// Seen for the first time.

#[test]
fn a_workload_never_seen_before_is_only_recorded() {
    let mut shop = Shop::empty();
    shop.stored = web();
    shop.touch(&[
        "mutated, template the same",
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.touch(&[
        "accepted, template the same",
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
}

#[test]
fn a_workload_never_seen_before_is_only_recorded_even_when_its_template_changes() {
    let mut shop = Shop::empty();
    shop.stored = web();
    shop.update(
        image("web:2"),
        &[
            "mutated, template changed",
            "configs: ConfigMap/app mode=dark",
        ],
    );
}

#[test]
fn a_record_that_cannot_be_read_counts_as_none() {
    for record in ["", "{", "[]", r#"{"ConfigMap/app":1}"#, "null"] {
        let mut shop = Shop::new();
        shop.update_unseen(annotate(CONFIGS, record));
        shop.put("ConfigMap/app", "mode=light");
        shop.touch(&[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=light",
        ]);
    }
}

#[test]
fn the_policy_was_off_for_a_while() {
    let mut shop = Shop::new();
    shop.put("ConfigMap/app", "mode=light");
    shop.update_unseen(image("web:2"));
    // The record is older than the pods: one rollout too many is better than stale pods.
    shop.touch(ROLLED_OUT);
    shop.put("ConfigMap/app", "mode=dark");
    shop.update_unseen(replace_with(web()));
    shop.touch(&[
        "mutated, template the same",
        "configs: ConfigMap/app mode=dark",
    ]);
}

// Rolled back.

#[test]
fn undo_of_a_change_that_was_only_a_stamp_changes_nothing() {
    let mut shop = Shop::new();
    let first = template_of(&shop.stored).clone();
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
    shop.update(
        |object| object["spec"]["template"] = first,
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
        ],
    );
}

#[test]
fn undo_of_another_change_is_stamped_for_the_current_config() {
    let mut shop = Shop::new();
    let first = template_of(&shop.stored).clone();
    shop.put("ConfigMap/app", "mode=light");
    shop.answer(Operation::Update, {
        let mut object = shop.stored.clone();
        image("web:2")(&mut object);
        object
    });
    shop.update(
        |object| object["spec"]["template"] = first,
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
        ],
    );
}

// Frozen.

const FROZEN: &[&str] = &[
    "mutated, template the same",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark or mode=light",
    "warning: Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap app",
    "audit config-frozen: ConfigMap app",
];
const STILL_FROZEN: &[&str] = &[
    "accepted, template the same",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark or mode=light",
    "warning: Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap app",
    "audit config-frozen: ConfigMap app",
];

#[test]
fn a_frozen_workload_rolls_out_when_it_is_unfrozen() {
    let mut shop = Shop::new();
    shop.update(annotate(FREEZE, "true"), SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(FROZEN);
    shop.touch(STILL_FROZEN);
    shop.update(annotate(FREEZE, "false"), ROLLED_OUT);
}

#[test]
fn a_frozen_workload_keeps_its_stamp_whatever_the_client_sends() {
    let mut shop = Shop::new();
    shop.update(annotate(FREEZE, "true"), SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.update(forge, FROZEN);
    let before = shop.stored.clone();
    shop.update(
        |object| {
            *object = web();
            annotate(FREEZE, "true")(object);
        },
        FROZEN,
    );
    assert_eq!(shop.stored, before);
    shop.update(remove_annotation(FREEZE), ROLLED_OUT);
}

#[test]
fn a_config_that_is_changed_back_during_the_freeze_is_not_stale() {
    let mut shop = Shop::new();
    shop.update(annotate(FREEZE, "true"), SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(FROZEN);
    shop.put("ConfigMap/app", "mode=dark");
    shop.touch(RESTORED);
    shop.update(annotate(FREEZE, "false"), SAME);
}

/// It restarts its pods, so there is nothing left to roll out when the freeze ends.
#[test]
fn a_template_that_changes_during_the_freeze_has_rolled_out() {
    let mut shop = Shop::new();
    shop.update(annotate(FREEZE, "true"), SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.update(
        image("web:2"),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark or mode=light",
            "warning: Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap app",
            "audit config-frozen: ConfigMap app",
        ],
    );
    shop.update(
        annotate(FREEZE, "false"),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=light",
        ],
    );
}

#[test]
fn freeze_is_true_or_false() {
    Shop::new().update(
        annotate(FREEZE, "yes"),
        &["rejected 400: Deployment/web: annotation rollout-guard/freeze must be \"true\" or \"false\", not \"yes\""],
    );
}

// Strategies.

fn version(word: &str, version: u64, mode: &str, more: &[&str]) -> Vec<String> {
    let mut answer = vec![
        word.to_owned(),
        format!("version: {version}"),
        format!("configs: ConfigMap/app mode={mode}"),
    ];
    answer.extend(more.iter().map(|&line| line.to_owned()));
    answer
}

#[track_caller]
fn assert_touched(shop: &mut Shop, edit: impl FnOnce(&mut Value), expected: &[String]) {
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    shop.update(edit, &expected);
}

const WARNING: &str = "warning: Deployment/web rolls out, since its config changed: ConfigMap app";
const AUDIT: &str = "audit config-changed: ConfigMap app";

#[test]
fn the_version_grows_by_one_at_each_change() {
    let mut shop = Shop::with(json!({"configHash": {"strategy": "version"}}));
    let same = |n, mode| version("accepted, template the same", n, mode, &[]);
    assert_touched(&mut shop, |_| (), &same(1, "dark"));
    shop.put("ConfigMap/app", "mode=light");
    let rolled_out = version("mutated, template changed", 2, "light", &[WARNING, AUDIT]);
    assert_touched(&mut shop, |_| (), &rolled_out);
    assert_touched(&mut shop, |_| (), &same(2, "light"));
    let changed = version("accepted, template changed", 2, "light", &[]);
    assert_touched(&mut shop, image("web:2"), &changed);
    shop.put("ConfigMap/app", "mode=dark");
    let both = version("mutated, template changed", 3, "dark", &[WARNING, AUDIT]);
    assert_touched(&mut shop, image("web:3"), &both);
    let restored = version("mutated, template the same", 3, "dark", &[]);
    assert_touched(&mut shop, forge, &restored);
    shop.put("ConfigMap/app", "mode=light");
    let again = version("mutated, template changed", 4, "light", &[WARNING, AUDIT]);
    assert_touched(&mut shop, forge, &again);
}

#[test]
fn a_version_that_is_not_a_number_restarts_at_one() {
    for odd in ["x", "", "-1", "99999999999999999999"] {
        let mut shop = Shop::with(json!({"configHash": {"strategy": "version"}}));
        shop.update_unseen(|object| {
            annotations::set(object, TEMPLATE, CONFIG_VERSION, Some(odd.to_owned())).unwrap();
        });
        shop.put("ConfigMap/app", "mode=light");
        let rolled_out = version("mutated, template changed", 1, "light", &[WARNING, AUDIT]);
        assert_touched(&mut shop, |_| (), &rolled_out);
    }
}

#[test]
fn the_largest_version_has_a_next_one() {
    let mut shop = Shop::with(json!({"configHash": {"strategy": "version"}}));
    shop.update_unseen(|object| {
        let largest = u64::MAX.to_string();
        annotations::set(object, TEMPLATE, CONFIG_VERSION, Some(largest)).unwrap();
    });
    shop.put("ConfigMap/app", "mode=light");
    let rolled_out = version("mutated, template changed", 1, "light", &[WARNING, AUDIT]);
    assert_touched(&mut shop, |_| (), &rolled_out);
}

#[test]
fn another_strategy_waits_for_the_next_change() {
    let mut shop = Shop::new();
    shop.set(json!({"configHash": {"strategy": "version"}}));
    shop.touch(SAME);
    shop.put("ConfigMap/app", "mode=light");
    let rolled_out = version("mutated, template changed", 1, "light", &[WARNING, AUDIT]);
    assert_touched(&mut shop, |_| (), &rolled_out);
    shop.set(json!({}));
    let same = version("accepted, template the same", 1, "light", &[]);
    assert_touched(&mut shop, |_| (), &same);
    shop.put("ConfigMap/app", "mode=dark");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
        WARNING,
        AUDIT,
    ]);
}

// The cause.

#[test]
fn the_cause_is_written_when_set() {
    let mut shop = Shop::with(json!({"configHash": {"changeCause": true}}));
    shop.touch(SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=light",
        "configs: ConfigMap/app mode=light",
        "cause: config changed: ConfigMap app",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
        "audit config-changed: ConfigMap app",
    ]);
    shop.update(
        |object| object["spec"]["replicas"] = json!(3),
        &[
            "accepted, template the same",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
            "cause: config changed: ConfigMap app",
        ],
    );
    // The next revision has another cause.
    shop.update(
        image("web:2"),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
        ],
    );
}

#[test]
fn a_cause_that_the_client_gives_wins() {
    let mut shop = Shop::with(json!({"configHash": {"changeCause": true}}));
    let told = |mode: &'static str, cause: &'static str| {
        [
            "mutated, template changed".to_owned(),
            format!("stamp: ConfigMap/app mode={mode}"),
            format!("configs: ConfigMap/app mode={mode}"),
            format!("cause: {cause}"),
            WARNING.to_owned(),
            AUDIT.to_owned(),
        ]
    };
    shop.put("ConfigMap/app", "mode=light");
    assert_touched(
        &mut shop,
        annotate(CHANGE_CAUSE, "brighter"),
        &told("light", "brighter"),
    );
    // The client sends the stored cause again: it gives none for this change.
    shop.put("ConfigMap/app", "mode=dark");
    assert_touched(
        &mut shop,
        |_| (),
        &told("dark", "config changed: ConfigMap app"),
    );
}

#[test]
fn a_frozen_change_has_no_cause_yet() {
    let mut shop = Shop::with(json!({"configHash": {"changeCause": true}}));
    shop.update(annotate(FREEZE, "true"), SAME);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(FROZEN);
}

#[test]
fn a_change_of_template_and_config_has_a_cause() {
    let mut shop = Shop::with(json!({"configHash": {"changeCause": true}}));
    shop.put("ConfigMap/app", "mode=light");
    shop.update(
        image("web:2"),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
            "cause: config changed: ConfigMap app",
            "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
            "audit config-changed: ConfigMap app",
        ],
    );
}

// Deleted and created again.

const GONE: &[&str] = &[
    "mutated, template the same",
    "stamp: ConfigMap/app mode=dark",
    "configs: ConfigMap/app mode=dark or missing",
    "warning: Deployment/web: it needs ConfigMap app, which does not exist in namespace shop",
];

#[test]
fn a_required_config_that_was_deleted_changes_nothing() {
    let mut shop = Shop::new();
    shop.remove("ConfigMap/app");
    shop.touch(GONE);
    let mut still = GONE.to_vec();
    still[0] = "accepted, template the same";
    shop.touch(&still);
    shop.update(forge, GONE);
    shop.update(replace_with(web()), GONE);
    shop.put("ConfigMap/app", "mode=dark");
    shop.touch(RESTORED);
}

#[test]
fn a_required_config_that_is_recreated_with_other_content_rolls_out() {
    let mut shop = Shop::new();
    shop.remove("ConfigMap/app");
    shop.touch(GONE);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
}

#[test]
fn a_required_key_that_was_deleted_changes_nothing() {
    let mut shop = Shop::empty();
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    shop.put("ConfigMap/app", "other=1");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark or ?",
        "warning: Deployment/web: it needs key \"mode\" of ConfigMap app, which has no such key",
    ]);
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.touch(RESTORED);
    shop.put("ConfigMap/app", "other=1");
    shop.answer(Operation::Update, shop.stored.clone());
    shop.put("ConfigMap/app", "mode=light, other=1");
    shop.touch(ROLLED_OUT);
}

/// The pods wait for it, and start with what it was created with.
#[test]
fn a_required_config_that_came_late_is_recorded_as_it_was_created() {
    let mut shop = waiting();
    shop.put("ConfigMap/app", "mode=dark");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app missing",
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
}

#[test]
fn a_required_config_that_came_late_and_was_rewritten_since_rolls_out() {
    let mut shop = waiting();
    shop.put("ConfigMap/app", "mode=light");
    shop.rewrite("ConfigMap/app");
    shop.touch(ROLLED_OUT);
}

/// Whether the key was rewritten since it was added cannot be seen; most are not.
#[test]
fn a_required_key_that_came_late_is_recorded() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "other=1");
    shop.create(
        web_with(env("configMapKeyRef", "app", "mode")),
        &[
            "accepted, template new",
            "warning: Deployment/web: it needs key \"mode\" of ConfigMap app, which has no such key",
        ],
    );
    shop.put("ConfigMap/app", "mode=dark");
    shop.rewrite("ConfigMap/app");
    shop.touch(&[
        "mutated, template the same",
        "configs: ConfigMap/app mode=dark",
    ]);
}

/// A Deployment whose ConfigMap does not exist.
fn waiting() -> Shop {
    let mut shop = Shop::empty();
    shop.remove("ConfigMap/app");
    let lines = |first| {
        [
            first,
            "stamp: ConfigMap/app missing",
            "configs: ConfigMap/app missing",
            "warning: Deployment/web: it needs ConfigMap app, which does not exist in namespace shop",
        ]
    };
    shop.create(web(), &lines("mutated, template new"));
    shop.touch(&lines("accepted, template the same"));
    shop
}

/// The pods of the new template never ran with anything else.
#[test]
fn a_template_that_changes_while_config_is_deleted_starts_with_what_comes() {
    let mut shop = Shop::new();
    shop.remove("ConfigMap/app");
    shop.update(
        image("web:2"),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark or missing",
            "warning: Deployment/web: it needs ConfigMap app, which does not exist in namespace shop",
        ],
    );
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=light",
    ]);
}

/// The pods of the first template have been running all the time.
#[test]
fn a_template_that_is_put_back_while_config_is_deleted_remembers() {
    let mut shop = Shop::new();
    shop.remove("ConfigMap/app");
    for image_of_step in ["web:2", "web:3", "web:1"] {
        let mut object = shop.stored.clone();
        image(image_of_step)(&mut object);
        shop.answer(Operation::Update, object);
    }
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
}

#[test]
fn an_optional_config_that_becomes_required_starts_with_what_comes() {
    let mut shop = Shop::empty();
    shop.add(web_with_optional_flags());
    shop.update(
        replace_with(web_with(json!({"envFrom": [{"configMapRef": {"name": "flags"}}]}))),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/flags absent",
            "configs: ConfigMap/flags absent or missing",
            "warning: Deployment/web: it needs ConfigMap flags, which does not exist in namespace shop",
        ],
    );
    shop.put("ConfigMap/flags", "beta=1");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/flags absent",
        "configs: ConfigMap/flags beta=1",
    ]);
}

/// To the pods, a config without the key is like none.
#[test]
fn an_optional_config_that_appears_without_the_key_changes_nothing() {
    let mut container = env("configMapKeyRef", "flags", "beta");
    container["env"][0]["valueFrom"]["configMapKeyRef"]["optional"] = json!(true);
    let mut shop = Shop::empty();
    let absent = [
        "accepted, template the same",
        "stamp: ConfigMap/flags absent",
        "configs: ConfigMap/flags absent",
    ];
    shop.add(web_with(container));
    shop.put("ConfigMap/flags", "other=1");
    shop.touch(&absent);
    shop.remove("ConfigMap/flags");
    shop.touch(&absent);
}

/// What was recorded tells nothing of the keys that are in use now.
#[test]
fn keys_in_use_that_changed_unseen_are_only_recorded() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    shop.update_unseen(|object| {
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["env"] = env("configMapKeyRef", "app", "other")["env"].take();
    });
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app other=1",
    ]);
}

fn web_with_optional_flags() -> Value {
    web_with(json!({"envFrom": [{"configMapRef": {"name": "flags", "optional": true}}]}))
}

#[test]
fn an_optional_config_rolls_out_when_it_is_created_and_when_it_is_deleted() {
    let mut shop = Shop::empty();
    shop.create(
        web_with_optional_flags(),
        &[
            "mutated, template new",
            "stamp: ConfigMap/flags absent",
            "configs: ConfigMap/flags absent",
        ],
    );
    shop.put("ConfigMap/flags", "beta=1");
    let appeared = &[
        "mutated, template changed",
        "stamp: ConfigMap/flags beta=1",
        "configs: ConfigMap/flags beta=1",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap flags",
        "audit config-changed: ConfigMap flags",
    ];
    shop.touch(appeared);
    shop.remove("ConfigMap/flags");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/flags absent",
        "configs: ConfigMap/flags absent",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap flags",
        "audit config-changed: ConfigMap flags",
    ]);
    shop.put("ConfigMap/flags", "beta=1");
    shop.touch(appeared);
}

#[test]
fn an_optional_key_rolls_out_when_it_is_added_and_when_it_is_removed() {
    let mut container = env("configMapKeyRef", "app", "beta");
    container["env"][0]["valueFrom"]["configMapKeyRef"]["optional"] = json!(true);
    let mut shop = Shop::empty();
    shop.create(
        web_with(container),
        &[
            "mutated, template new",
            "stamp: ConfigMap/app absent",
            "configs: ConfigMap/app absent",
        ],
    );
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app absent",
        "configs: ConfigMap/app absent",
    ]);
    for (content, used) in [("mode=light, beta=1", "beta=1"), ("mode=light", "absent")] {
        shop.put("ConfigMap/app", content);
        shop.touch(&[
            "mutated, template changed",
            &format!("stamp: ConfigMap/app {used}"),
            &format!("configs: ConfigMap/app {used}"),
            WARNING,
            AUDIT,
        ]);
    }
}

/// The extra annotation makes an optional config required, so its deletion is not a change.
#[test]
fn a_deleted_config_that_becomes_required_rolls_nothing_out() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/flags", "beta=1");
    shop.add(web_with_optional_flags());
    shop.remove("ConfigMap/flags");
    shop.update(
        annotate(EXTRA_CONFIGMAPS, "flags"),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/flags beta=1",
            "configs: ConfigMap/flags beta=1 or missing",
            "warning: Deployment/web: it needs ConfigMap flags, which does not exist in namespace shop",
        ],
    );
}

// Tracked and no longer tracked.

#[test]
fn a_newly_ignored_config_is_dropped_and_recorded_when_it_counts_again() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/flags", "beta=1");
    shop.add(web_with(json!({"envFrom": [{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "flags"}}]})));
    let both = "stamp: ConfigMap/app mode=dark, ConfigMap/flags beta=1";
    shop.set(json!({"configHash": {"ignore": {"configMaps": ["fl*"]}}}));
    shop.touch(&[
        "mutated, template the same",
        both,
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.put("ConfigMap/flags", "beta=2");
    shop.touch(&[
        "accepted, template the same",
        both,
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.set(json!({}));
    shop.touch(&[
        "mutated, template the same",
        both,
        "configs: ConfigMap/app mode=dark, ConfigMap/flags beta=2",
    ]);
    shop.put("ConfigMap/flags", "beta=3");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark, ConfigMap/flags beta=3",
        "configs: ConfigMap/app mode=dark, ConfigMap/flags beta=3",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap flags",
        "audit config-changed: ConfigMap flags",
    ]);
}

#[test]
fn an_annotation_on_a_config_excludes_it() {
    let mut shop = Shop::new();
    shop.annotate_config("ConfigMap/app", IGNORE, "true");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
    ]);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=light",
    ]);
}

/// The old pods and the new ones run different config, so their templates must differ too.
#[test]
fn a_config_that_is_changed_back_to_the_running_stamp_rolls_out() {
    let back = |strategy: &str, expected: &[&str]| {
        let mut shop = Shop::with(json!({"configHash": {"strategy": strategy}}));
        shop.set(json!({"configHash": {"strategy": strategy, "ignore": {"configMaps": ["app"]}}}));
        shop.answer(Operation::Update, shop.stored.clone());
        shop.put("ConfigMap/app", "mode=light");
        shop.set(json!({"configHash": {"strategy": strategy}}));
        shop.answer(Operation::Update, shop.stored.clone());
        shop.put("ConfigMap/app", "mode=dark");
        shop.touch(expected);
        shop
    };
    let mut shop = back(
        "hash",
        &[
            "mutated, template changed",
            "stamp: again ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
            WARNING,
            AUDIT,
        ],
    );
    shop.touch(&[
        "accepted, template the same",
        "stamp: again ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
    ]);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(ROLLED_OUT);
    back(
        "version",
        &[
            "mutated, template changed",
            "version: 2",
            "configs: ConfigMap/app mode=dark",
            WARNING,
            AUDIT,
        ],
    );
}

#[test]
fn the_extra_annotation_widens_and_narrows_the_use_of_a_config() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    shop.update(
        annotate(EXTRA_CONFIGMAPS, "app"),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark+other=1",
        ],
    );
    shop.put("ConfigMap/app", "mode=dark, other=2");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark+other=2",
        "configs: ConfigMap/app mode=dark+other=2",
        WARNING,
        AUDIT,
    ]);
    shop.update(
        remove_annotation(EXTRA_CONFIGMAPS),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark+other=2",
            "configs: ConfigMap/app mode=dark",
        ],
    );
    shop.put("ConfigMap/app", "mode=dark, other=3");
    shop.touch(&[
        "accepted, template the same",
        "stamp: ConfigMap/app mode=dark+other=2",
        "configs: ConfigMap/app mode=dark",
    ]);
}

#[test]
fn the_extra_annotation_adds_and_drops_a_config() {
    let mut shop = Shop::new();
    shop.put("Secret/db", "user=root");
    shop.update(
        annotate(EXTRA_SECRETS, "db"),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark, Secret/db user=root",
        ],
    );
    shop.put("Secret/db", "user=admin");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app mode=dark, Secret/db user=admin",
        "configs: ConfigMap/app mode=dark, Secret/db user=admin",
        "warning: Deployment/web rolls out, since its config changed: Secret db",
        "audit config-changed: Secret db",
    ]);
    shop.put("Secret/db", "user=guest");
    shop.update(
        remove_annotation(EXTRA_SECRETS),
        &[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark, Secret/db user=admin",
            "configs: ConfigMap/app mode=dark",
        ],
    );
}

/// The pods have run with the other key for as long as the annotation was there.
#[test]
fn a_use_that_narrows_does_not_hide_a_change() {
    let mut shop = Shop::empty();
    let mut object = web_with(env("configMapKeyRef", "app", "mode"));
    annotate(EXTRA_CONFIGMAPS, "app")(&mut object);
    shop.add(object);
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.update(
        remove_annotation(EXTRA_CONFIGMAPS),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=dark",
            "configs: ConfigMap/app mode=dark",
            WARNING,
            AUDIT,
        ],
    );
}

/// The recorded digest of a deleted config was made over the keys that were used then.
#[test]
fn a_recreated_config_is_also_measured_by_the_keys_in_the_request() {
    let mut shop = Shop::empty();
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.add(web_with(env("configMapKeyRef", "app", "mode")));
    shop.remove("ConfigMap/app");
    shop.update(annotate(EXTRA_CONFIGMAPS, "app"), GONE);
    shop.put("ConfigMap/app", "mode=dark, other=1");
    shop.update(remove_annotation(EXTRA_CONFIGMAPS), RESTORED);
}

#[test]
fn another_hash_key_only_refreshes_the_record() {
    let mut shop = Shop::new();
    for key in ["first", "second"] {
        shop.rotate_key(key);
        shop.touch(&[
            "mutated, template the same",
            "stamp: ConfigMap/app mode=dark",
            &format!("configs: ConfigMap/app {key}: mode=dark"),
        ]);
    }
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/app second: mode=light",
        "configs: ConfigMap/app second: mode=light",
        WARNING,
        AUDIT,
    ]);
    shop.set(json!({}));
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app second: mode=light",
        "configs: ConfigMap/app mode=light",
    ]);
}

/// Digests with different keys cannot be compared: a known limit.
#[test]
fn a_change_together_with_another_hash_key_is_not_noticed() {
    let mut shop = Shop::new();
    shop.rotate_key("first");
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&[
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app first: mode=light",
    ]);
}

#[test]
fn an_optional_config_that_appears_together_with_another_hash_key_is_noticed() {
    let mut shop = Shop::empty();
    shop.add(web_with_optional_flags());
    shop.rotate_key("first");
    shop.put("ConfigMap/flags", "beta=1");
    shop.touch(&[
        "mutated, template changed",
        "stamp: ConfigMap/flags first: beta=1",
        "configs: ConfigMap/flags first: beta=1",
        "warning: Deployment/web rolls out, since its config changed: ConfigMap flags",
        "audit config-changed: ConfigMap flags",
    ]);
}

fn pulling(container: Value) -> Value {
    let mut object = web_with(container);
    object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "hub"}]);
    object
}

#[test]
fn pull_secrets_are_tracked_when_set() {
    let mut shop = Shop::empty();
    shop.put("Secret/hub", ".dockerconfigjson=1");
    shop.create(pulling(json!({})), &["accepted, template new"]);
    shop.set(json!({"configHash": {"imagePullSecrets": true}}));
    shop.touch(&[
        "mutated, template the same",
        "configs: Secret/hub .dockerconfigjson=1",
    ]);
    shop.put("Secret/hub", ".dockerconfigjson=2");
    shop.touch(&[
        "mutated, template changed",
        "stamp: Secret/hub .dockerconfigjson=2",
        "configs: Secret/hub .dockerconfigjson=2",
        "warning: Deployment/web rolls out, since its config changed: Secret hub",
        "audit config-changed: Secret hub",
    ]);
    // The pods start without it.
    shop.remove("Secret/hub");
    shop.touch(&[
        "mutated, template changed",
        "stamp: Secret/hub absent",
        "configs: Secret/hub absent",
        "warning: Deployment/web rolls out, since its config changed: Secret hub",
        "audit config-changed: Secret hub",
    ]);
    shop.set(json!({}));
    shop.touch(&["mutated, template the same", "stamp: Secret/hub absent"]);
}

#[test]
fn a_pull_secret_that_is_also_config_is_tracked_by_its_keys() {
    let mut shop = Shop::empty();
    shop.put("Secret/hub", "user=root, .dockerconfigjson=1");
    shop.add(pulling(env("secretKeyRef", "hub", "user")));
    shop.set(json!({"configHash": {"imagePullSecrets": true}}));
    let both = "configs: Secret/hub user=root+.dockerconfigjson=1";
    shop.touch(&[
        "mutated, template the same",
        "stamp: Secret/hub user=root",
        both,
    ]);
    shop.touch(&[
        "accepted, template the same",
        "stamp: Secret/hub user=root",
        both,
    ]);
    shop.set(json!({}));
    shop.touch(&[
        "mutated, template the same",
        "stamp: Secret/hub user=root",
        "configs: Secret/hub user=root",
    ]);
    shop.set(json!({"configHash": {"imagePullSecrets": true}}));
    shop.put("Secret/hub", "user=admin, .dockerconfigjson=1");
    shop.touch(&[
        "mutated, template changed",
        "stamp: Secret/hub user=admin+.dockerconfigjson=1",
        "configs: Secret/hub user=admin+.dockerconfigjson=1",
        "warning: Deployment/web rolls out, since its config changed: Secret hub",
        "audit config-changed: Secret hub",
    ]);
}

// Wrong shapes.

#[test]
fn objects_of_the_wrong_shape_are_refused() {
    let mut shop = Shop::new();
    shop.update(
        |object| object["metadata"]["annotations"] = json!([]),
        &["rejected 400: Deployment/web: metadata.annotations is not an object"],
    );
    shop.update(
        |object| object["spec"]["template"]["metadata"] = json!("x"),
        &["rejected 400: Deployment/web: spec.template.metadata is not an object"],
    );
    shop.update(
        |object| object["spec"]["template"]["spec"]["volumes"] = json!({}),
        &["rejected 400: Deployment/web: spec.template.spec.volumes: expected a list, not an object"],
    );
    shop.update(
        annotate(EXTRA_CONFIGMAPS, "a b"),
        &["rejected 400: Deployment/web: annotation rollout-guard/extra-configmaps names \"a b\", but a name cannot contain ' '; separate names with commas"],
    );
}

#[test]
fn references_of_a_stored_object_that_cannot_be_read_count_as_none() {
    let mut shop = Shop::new();
    let manifest = shop.stored.clone();
    shop.update_unseen(annotate(EXTRA_CONFIGMAPS, "a b"));
    shop.put("ConfigMap/app", "mode=light");
    shop.update(replace_with(manifest), ROLLED_OUT);
}
