use serde_json::json;

use super::*;

fn live(metadata: Value) -> Value {
    json!({"metadata": metadata})
}

#[test]
fn the_controller_is_the_owner_that_says_so() {
    let owner = |controller: Value| json!({"kind": "ExternalSecret", "name": "db", "controller": controller});
    for (case, owners, expected) in [
        (
            "a controller",
            json!([owner(json!(true))]),
            Some("ExternalSecret db"),
        ),
        (
            "an owner for the garbage collector alone",
            json!([owner(json!(false)), {"kind": "Job", "name": "x"}]),
            None,
        ),
        (
            "the second one",
            json!([{"kind": "Job", "name": "x"}, owner(json!(true))]),
            Some("ExternalSecret db"),
        ),
        ("none", json!([]), None),
        ("of another shape", json!("x"), None),
    ] {
        let object = live(json!({"ownerReferences": owners}));
        assert_eq!(controller(&object).as_deref(), expected, "{case}");
    }
}

#[test]
fn other_writers_of_a_key_are_neither_helm_nor_people() {
    let helm = |manager: &str, data: Value| {
        json!({"manager": manager, "operation": "Update", "fieldsV1": {
            "f:data": data,
            "f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}},
        }})
    };
    let writer = |manager: &str, field: &str| json!({"manager": manager, "operation": "Apply", "fieldsV1": {field: {"f:key": {}}}});
    for (case, entries, expected) in [
        (
            "Helm alone",
            json!([helm("helm", json!({"f:key": {}}))]),
            None,
        ),
        (
            "a Helm with a name of its own",
            json!([helm("helm-controller", json!({"f:key": {}}))]),
            None,
        ),
        (
            "an operator has taken it over",
            json!([
                helm("helm", json!({})),
                writer("external-secrets", "f:data")
            ]),
            Some("external-secrets"),
        ),
        (
            "both write it",
            json!([
                helm("helm", json!({"f:key": {}})),
                writer("operator", "f:binaryData")
            ]),
            Some("operator"),
        ),
        (
            "somebody at a terminal",
            json!([helm("helm", json!({})), writer("kubectl-edit", "f:data")]),
            None,
        ),
        (
            "another key",
            json!([helm("helm", json!({})), {"manager": "x", "fieldsV1": {"f:data": {"f:other": {}}}}]),
            None,
        ),
        ("of another shape", json!({"f:data": 1}), None),
    ] {
        let object = live(json!({"managedFields": entries}));
        assert_eq!(other_writer(&object, "key"), expected, "{case}");
    }
}

#[test]
fn the_release_is_that_of_both_annotations() {
    let of = |annotations: Value| {
        let object = live(json!({"annotations": annotations}));
        release(&object).map(|(name, namespace)| format!("{namespace}/{name}"))
    };
    let (name, namespace) = (RELEASE_NAME, RELEASE_NAMESPACE);
    assert_eq!(
        of(json!({name: "web", namespace: "shop"})),
        Some("shop/web".to_owned())
    );
    assert_eq!(of(json!({name: "web"})), None);
}
