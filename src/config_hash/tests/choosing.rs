//! Which requests concern this half of the policy, and which workloads it stamps.

use super::*;

fn of_kind(group: &str, kind: &str, object: Value) -> Request {
    Request {
        kind: request::Kind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        },
        ..request(Operation::Create, object, Value::Null)
    }
}

#[test]
fn workloads_that_are_rolled_out_concern_us() {
    let without_containers = || json!({"spec": {"template": {"spec": {}}}});
    let sealed = || json!({"spec": {"template": {"metadata": {"name": "db"}, "type": "Opaque"}, "encryptedData": {}}});
    for (group, kind, object, expected) in [
        ("apps", "Deployment", web(), true),
        ("apps", "StatefulSet", web(), true),
        ("apps", "DaemonSet", web(), true),
        // Known kinds are judged whatever their shape.
        ("apps", "Deployment", without_containers(), true),
        ("apps", "Deployment", json!({}), true),
        ("argoproj.io", "Rollout", web(), true),
        ("apps.kruise.io", "CloneSet", web(), true),
        ("apps.kruise.io", "StatefulSet", web(), true),
        // A Rollout whose template is that of a Deployment.
        (
            "argoproj.io",
            "Rollout",
            json!({"spec": {"workloadRef": {"name": "web"}}}),
            false,
        ),
        ("argoproj.io", "Rollout", without_containers(), false),
        ("bitnami.com", "SealedSecret", sealed(), false),
        (
            "external-secrets.io",
            "ExternalSecret",
            json!({"spec": {"template": {}}}),
            false,
        ),
        ("batch", "Job", web(), false),
        ("apps", "ReplicaSet", web(), false),
        ("", "ReplicationController", web(), false),
        ("", "Pod", json!({"spec": {"containers": []}}), false),
        (
            "batch",
            "CronJob",
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}}),
            false,
        ),
        ("", "ConfigMap", json!({"data": {}}), false),
        // The groups count too.
        ("example.com", "Job", web(), true),
        ("example.com", "Deployment", without_containers(), false),
    ] {
        assert_eq!(
            concerns(&of_kind(group, kind, object.clone())),
            expected,
            "{group}/{kind} {object}"
        );
    }
}

#[test]
fn only_writes_of_the_object_itself_concern_us() {
    for (operation, sub_resource, expected) in [
        (Operation::Create, "", true),
        (Operation::Update, "", true),
        (Operation::Delete, "", false),
        (Operation::Connect, "", false),
        (Operation::Update, "status", false),
        (Operation::Update, "scale", false),
    ] {
        let request = Request {
            sub_resource: sub_resource.to_owned(),
            ..request(operation, web(), web())
        };
        assert_eq!(concerns(&request), expected, "{operation:?} {sub_resource}");
    }
}

/// Rejecting the update that removes the last finalizer would keep the workload, and its namespace, forever.
#[test]
fn a_workload_that_is_being_deleted_does_not_concern_us() {
    for (timestamp, expected) in [(json!("2026-01-01T00:00:00Z"), false), (Value::Null, true)] {
        let mut object = web();
        object["metadata"]["deletionTimestamp"] = timestamp;
        assert_eq!(
            concerns(&request(Operation::Update, object, web())),
            expected
        );
    }
}

#[test]
fn workloads_are_chosen_by_annotation_then_owner_then_settings() {
    let all = settings::Workloads::All;
    let annotated = settings::Workloads::Annotated;
    let nowhere: &[&str] = &[];
    // Annotations of the workload, then of its pod template, as `key=value`.
    for (case, on_workload, on_template, controlled, by_all, by_annotated) in [
        ("plain", nowhere, nowhere, false, true, false),
        (
            "enabled",
            &["rollout-guard/enabled=true"],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "disabled",
            &["rollout-guard/enabled=false"],
            nowhere,
            false,
            false,
            false,
        ),
        (
            "Reloader",
            &["reloader.stakater.com/auto=true"],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "Reloader on the template",
            nowhere,
            &["reloader.stakater.com/auto=true"],
            false,
            true,
            true,
        ),
        (
            "Reloader, off",
            &["reloader.stakater.com/auto=false"],
            nowhere,
            false,
            false,
            false,
        ),
        (
            "Reloader, off but for a list",
            &[
                "reloader.stakater.com/auto=false",
                "configmap.reloader.stakater.com/reload=flags",
            ],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "Reloader, one kind",
            &["secret.reloader.stakater.com/auto=T"],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "Reloader, one kind off",
            &["secret.reloader.stakater.com/auto=false"],
            nowhere,
            false,
            true,
            false,
        ),
        (
            "Reloader, a list on the template",
            nowhere,
            &["secret.reloader.stakater.com/reload=db"],
            false,
            true,
            true,
        ),
        (
            "Reloader, search",
            &["reloader.stakater.com/search=true"],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "only an exclusion",
            &["secrets.exclude.reloader.stakater.com/reload=db"],
            nowhere,
            false,
            true,
            false,
        ),
        (
            "Wave",
            &["wave.pusher.com/update-on-config-change=true"],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "Wave on the template",
            nowhere,
            &["wave.pusher.com/update-on-config-change=true"],
            false,
            true,
            true,
        ),
        (
            "Wave, off",
            &["wave.pusher.com/update-on-config-change=no"],
            nowhere,
            false,
            true,
            false,
        ),
        (
            "our annotation and Reloader's disagree",
            &[
                "rollout-guard/enabled=false",
                "reloader.stakater.com/auto=true",
            ],
            nowhere,
            false,
            false,
            false,
        ),
        (
            "our annotation and Reloader's disagree, the other way round",
            &[
                "rollout-guard/enabled=true",
                "reloader.stakater.com/auto=false",
            ],
            nowhere,
            false,
            true,
            true,
        ),
        (
            "only a list of Wave",
            &["wave.pusher.com/extra-secrets=db"],
            nowhere,
            false,
            true,
            false,
        ),
        (
            "our annotation on the template does not count",
            nowhere,
            &["rollout-guard/enabled=false"],
            false,
            true,
            false,
        ),
        ("controlled", nowhere, nowhere, true, false, false),
        (
            "controlled and enabled",
            &["rollout-guard/enabled=true"],
            nowhere,
            true,
            true,
            true,
        ),
        (
            "controlled and Reloader",
            &["reloader.stakater.com/auto=true"],
            nowhere,
            true,
            true,
            true,
        ),
        (
            "controlled and Reloader, off",
            &["reloader.stakater.com/auto=false"],
            nowhere,
            true,
            false,
            false,
        ),
    ] {
        let mut object = web();
        for (place, pairs) in [(OBJECT, on_workload), (TEMPLATE, on_template)] {
            for (key, value) in pairs.iter().filter_map(|pair| pair.split_once('=')) {
                annotations::set(&mut object, place, key, Some(value.to_owned())).unwrap();
            }
        }
        if controlled {
            object["metadata"]["ownerReferences"] =
                json!([{"name": "a"}, {"name": "b", "controller": true}]);
        }
        assert_eq!(is_chosen(&object, all), Ok(by_all), "{case}, all");
        assert_eq!(
            is_chosen(&object, annotated),
            Ok(by_annotated),
            "{case}, annotated"
        );
    }
}

#[test]
fn an_owner_that_is_not_the_controller_does_not_count() {
    for owners in [
        json!([{"name": "a"}, {"name": "b", "controller": false}]),
        json!([]),
        Value::Null,
        json!("odd"),
    ] {
        let mut object = web();
        object["metadata"]["ownerReferences"] = owners;
        assert_eq!(is_chosen(&object, settings::Workloads::All), Ok(true));
    }
}

#[test]
fn enabled_is_true_or_false() {
    let mut object = web();
    annotate(ENABLED, "True")(&mut object);
    Shop::empty().create(
        object,
        &["rejected 400: Deployment/web: annotation rollout-guard/enabled must be \"true\" or \"false\", not \"True\""],
    );
}

#[test]
fn a_workload_that_is_not_chosen_is_admitted_unchanged() {
    let mut shop = Shop::empty();
    shop.set(json!({"configHash": {"workloads": "annotated"}, "lookupFailure": "reject"}));
    shop.cluster.failing = vec!["ConfigMap shop/app".to_owned()];
    let mut object = web();
    annotate(FREEZE, "odd")(&mut object);
    shop.create(object.clone(), &["accepted, template new"]);
    assert_eq!(shop.stored, object);
    assert!(shop.cluster.asked.borrow().is_empty());
}

/// Disabling the policy for a workload keeps its annotations; enabling it again continues from them.
#[test]
fn a_workload_can_be_disabled_and_enabled_again() {
    let mut shop = Shop::new();
    let stamped = [
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
    ];
    let same = ["accepted, template the same", stamped[0], stamped[1]];
    shop.update(annotate(ENABLED, "false"), &same);
    shop.put("ConfigMap/app", "mode=light");
    shop.touch(&same);
    shop.update(
        remove_annotation(ENABLED),
        &[
            "mutated, template changed",
            "stamp: ConfigMap/app mode=light",
            "configs: ConfigMap/app mode=light",
            "warning: Deployment/web rolls out, since its config changed: ConfigMap app",
            "audit config-changed: ConfigMap app",
        ],
    );
}

/// Whoever sends the plain manifest would restart the pods if the stamp went with it.
#[test]
fn a_workload_that_opts_out_keeps_its_annotations() {
    let stamped = [
        "mutated, template the same",
        "stamp: ConfigMap/app mode=dark",
        "configs: ConfigMap/app mode=dark",
    ];
    let opted_out = || {
        let mut manifest = web();
        annotate(ENABLED, "false")(&mut manifest);
        manifest
    };
    for (case, settings, manifest) in [
        ("enabled: false", json!({}), opted_out()),
        (
            "workloads: annotated",
            json!({"configHash": {"workloads": "annotated"}}),
            web(),
        ),
        (
            "configHash.enabled: false",
            json!({"configHash": {"enabled": false}}),
            web(),
        ),
    ] {
        let mut shop = Shop::new();
        shop.set(settings);
        shop.put("ConfigMap/app", "mode=light");
        shop.cluster.asked.borrow_mut().clear();
        assert_eq!(
            shop.answer(Operation::Update, manifest.clone()),
            stamped,
            "{case}"
        );
        let mut forged = manifest;
        forge(&mut forged);
        assert_eq!(
            shop.answer(Operation::Update, forged),
            stamped,
            "{case}, forged"
        );
        assert!(shop.cluster.asked.borrow().is_empty(), "{case}");
    }
}

#[test]
fn a_workload_that_was_never_chosen_gets_no_annotations() {
    let mut shop = Shop::empty();
    shop.set(json!({"configHash": {"enabled": false}}));
    shop.create(web(), &["accepted, template new"]);
    shop.update(image("web:2"), &["accepted, template changed"]);
}
