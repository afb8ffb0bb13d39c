//! What a new stamp would do, by kind and fields.

use serde_json::json;

use super::*;

/// Of an update that leaves the spec as it is.
fn unchanged(group: &str, spec: &Value, frozen: bool) -> Rollout {
    let object = json!({"spec": spec});
    of(group, &object, Some(&object), frozen)
}

#[test]
fn what_becomes_of_the_pods() {
    let partition = |value: &str| Rollout::Partition(value.to_owned());
    let named = json!({"template": {"metadata": {"name": "web-1"}}});
    let in_place = |place: &str| match place {
        "type" => json!({"updateStrategy": {"type": "InPlaceIfPossible"}}),
        place => json!({"updateStrategy": {"rollingUpdate": {place: "InPlaceOnly"}}}),
    };
    for (case, group, spec, expected) in [
        ("nothing said", "apps", json!({}), Rollout::AtOnce),
        (
            "paused",
            "apps",
            json!({"paused": true}),
            Rollout::WhenResumed,
        ),
        (
            "not paused",
            "apps",
            json!({"paused": false}),
            Rollout::AtOnce,
        ),
        (
            "an odd value",
            "apps",
            json!({"paused": "yes", "updateStrategy": [1]}),
            Rollout::AtOnce,
        ),
        (
            "OnDelete",
            "apps",
            json!({"updateStrategy": {"type": "OnDelete"}}),
            Rollout::OnDelete,
        ),
        (
            "a partition",
            "apps",
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}),
            partition("2"),
        ),
        (
            "a partition of none",
            "apps",
            json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}}),
            Rollout::AtOnce,
        ),
        (
            "a share of a CloneSet",
            "apps.kruise.io",
            json!({"updateStrategy": {"partition": "80%"}}),
            partition("80%"),
        ),
        (
            "a share of none",
            "apps.kruise.io",
            json!({"updateStrategy": {"partition": "0%"}}),
            Rollout::AtOnce,
        ),
        (
            "a paused CloneSet",
            "apps.kruise.io",
            json!({"updateStrategy": {"paused": true}}),
            Rollout::WhenResumed,
        ),
        (
            "CloneSet in place",
            "apps.kruise.io",
            in_place("type"),
            Rollout::Never(Hold::InPlaceUpdate),
        ),
        (
            "StatefulSet in place",
            "apps.kruise.io",
            in_place("podUpdatePolicy"),
            Rollout::Never(Hold::InPlaceUpdate),
        ),
        (
            "DaemonSet in place",
            "apps.kruise.io",
            in_place("rollingUpdateType"),
            Rollout::Never(Hold::InPlaceUpdate),
        ),
        (
            "the same words in another group",
            "apps",
            in_place("type"),
            Rollout::AtOnce,
        ),
        (
            "a named revision",
            "serving.knative.dev",
            named.clone(),
            Rollout::Never(Hold::NamedRevision),
        ),
        ("a name in another group", "apps", named, Rollout::AtOnce),
    ] {
        assert_eq!(unchanged(group, &spec, false), expected, "{case}");
        assert_eq!(
            unchanged(group, &spec, true),
            Rollout::Never(Hold::Freeze),
            "{case}, frozen"
        );
    }
}

#[test]
fn a_revision_with_another_name_rolls_out() {
    let named = |name: Value| json!({"spec": {"template": {"metadata": {"name": name}}}});
    let (first, second, unnamed) = (
        named(json!("web-1")),
        named(json!("web-2")),
        named(Value::Null),
    );
    for (case, object, old, expected) in [
        (
            "the same name",
            &first,
            Some(&first),
            Rollout::Never(Hold::NamedRevision),
        ),
        ("another name", &second, Some(&first), Rollout::AtOnce),
        (
            "Knative makes up a name",
            &unnamed,
            Some(&first),
            Rollout::AtOnce,
        ),
        (
            "it did before too",
            &unnamed,
            Some(&unnamed),
            Rollout::AtOnce,
        ),
        ("live", &first, None, Rollout::Never(Hold::NamedRevision)),
    ] {
        assert_eq!(
            of("serving.knative.dev", object, old, false),
            expected,
            "{case}"
        );
    }
}

#[test]
fn it_is_said_what_will_happen() {
    for (rollout, expected) in [
        (
            Rollout::AtOnce,
            "Deployment/web rolls out, since its config changed: ConfigMap a",
        ),
        (
            Rollout::WhenResumed,
            "Deployment/web is paused and rolls out when it is resumed, since its config changed: ConfigMap a",
        ),
        (
            Rollout::OnDelete,
            "Deployment/web has another config hash now, since its config changed: ConfigMap a. Its update \
             strategy is OnDelete: each pod runs the old config until somebody deletes it",
        ),
        (
            Rollout::Partition("2".to_owned()),
            "Deployment/web rolls out, since its config changed: ConfigMap a. Its partition is 2: the pods that it \
             holds back run the old config until it is lowered",
        ),
    ] {
        assert_eq!(rollout.announced("Deployment/web", "ConfigMap a"), expected);
    }
    for (hold, expected) in [
        (
            Hold::Freeze,
            "Deployment/web is frozen (rollout-guard/freeze) and runs stale config: ConfigMap a",
        ),
        (
            Hold::NamedRevision,
            "Deployment/web runs stale config: ConfigMap a. It names its revision (spec.template.metadata.name), \
             and Knative takes no other template under the same name: change the name to roll it out",
        ),
        (
            Hold::InPlaceUpdate,
            "Deployment/web runs stale config: ConfigMap a. With its in-place update strategy, OpenKruise restarts \
             nothing for another config hash: restart the pods, or set the type ReCreate",
        ),
    ] {
        assert_eq!(hold.explained("Deployment/web", "ConfigMap a"), expected);
    }
}

#[test]
fn the_status_tells_which_pods_are_left_behind() {
    let pods = |all, old| Some(Pods { all, old });
    for (case, status, expected) in [
        ("not live", json!({}), None),
        ("no pods", json!({"observedGeneration": 1}), pods(0, 0)),
        (
            "all",
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3}),
            pods(3, 0),
        ),
        (
            "some",
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1}),
            pods(3, 2),
        ),
        (
            "none of them",
            json!({"observedGeneration": 1, "replicas": 3}),
            pods(3, 3),
        ),
        (
            "more than there are",
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 4}),
            pods(3, 0),
        ),
        (
            "a StatefulSet on its revision",
            json!({"observedGeneration": 1, "replicas": 3, "updateRevision": "a", "currentRevision": "a"}),
            pods(3, 0),
        ),
        (
            "a StatefulSet between two",
            json!({"observedGeneration": 1, "replicas": 3, "updateRevision": "b", "currentRevision": "a"}),
            pods(3, 3),
        ),
        (
            "a DaemonSet",
            json!({"observedGeneration": 1, "currentNumberScheduled": 5, "updatedNumberScheduled": 2}),
            pods(5, 3),
        ),
    ] {
        let mut request = Request {
            operation: Operation::Update,
            object: json!({"status": status}),
            ..Request::default()
        };
        assert_eq!(left_behind(&request), None, "{case}, in an update");
        request.operation = Operation::Create;
        assert_eq!(left_behind(&request), expected, "{case}");
    }
}
