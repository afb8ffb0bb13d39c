//! What the annotations of a workload name.

use serde_json::json;

use super::*;
use crate::tests::shown;

#[test]
fn names_in_annotations() {
    let impossible = |character: char, annotation: &str, name: &str| {
        format!(
            "annotation {annotation} names {name:?}, but a name cannot contain {character:?}; separate names with commas"
        )
    };
    for (case, workload, expected) in [
        ("no metadata", json!({}), vec![]),
        ("not an object", json!("x"), vec![]),
        (
            "null annotations",
            json!({"metadata": {"annotations": null}}),
            vec![],
        ),
        (
            "both lists, each in its order",
            json!({"metadata": {"annotations": {SECRETS: "z", CONFIG_MAPS: "b,a"}}}),
            vec![
                "ConfigMap b".to_owned(),
                "ConfigMap a".to_owned(),
                "Secret z".to_owned(),
            ],
        ),
        (
            "spaces, empty entries, and a name twice",
            json!({"metadata": {"annotations": {CONFIG_MAPS: " b ,, b,", SECRETS: " , "}}}),
            vec!["ConfigMap b".to_owned(), "ConfigMap b".to_owned()],
        ),
        (
            "not a string",
            json!({"metadata": {"annotations": {CONFIG_MAPS: 1, SECRETS: ["a"]}}}),
            vec![],
        ),
        (
            "an impossible name beside possible ones",
            json!({"metadata": {"annotations": {CONFIG_MAPS: "a,b c,d.e-1", SECRETS: "Db"}}}),
            vec![
                "ConfigMap a".to_owned(),
                impossible(' ', CONFIG_MAPS, "b c"),
                "ConfigMap d.e-1".to_owned(),
                impossible('D', SECRETS, "Db"),
            ],
        ),
        (
            "annotations of the pods do not count",
            json!({"spec": {"template": {"metadata": {"annotations": {CONFIG_MAPS: "a"}}}}}),
            vec![],
        ),
    ] {
        let found: Vec<_> = needs(&workload)
            .map(|need| need.map_or_else(|error| error.to_string(), |need| shown(&need)))
            .collect();
        assert_eq!(found, expected, "{case}");
    }
}
