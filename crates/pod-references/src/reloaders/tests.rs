//! What the annotations of Reloader and Wave ask for.

mod patterns;

use serde_json::{Map, json};

use super::*;

/// Annotations of the object, and of the pod template after `template:`, as `annotation=value`.
fn workload(annotations: &[&str]) -> Value {
    let mut places = [Map::new(), Map::new()];
    for annotation in annotations {
        let (key, value) = annotation.split_once('=').unwrap();
        let (place, key) = match key.strip_prefix("template:") {
            Some(key) => (1, key),
            None => (0, key),
        };
        places[place].insert(key.to_owned(), value.into());
    }
    let [object, template] = places;
    json!({
        "kind": "Rollout",
        "metadata": {"namespace": "shop", "annotations": object},
        "spec": {"template": {"metadata": {"annotations": template}}},
    })
}

/// How ConfigMap and Secret `a`, which the pod template names, count; and what is listed.
fn shown(annotations: &[&str], unasked: Unasked) -> String {
    let watched = Watched::of(&workload(annotations));
    let [config_map, secret] =
        [Kind::ConfigMap, Kind::Secret].map(|kind| watched.counts(kind, "a", unasked));
    let listed: Vec<_> = watched
        .listed()
        .map(|(kind, name)| format!(", {kind} {name}"))
        .collect();
    let word = match (watched.is_opted_in(), watched.is_opted_out()) {
        (true, false) => "in",
        (false, true) => "out",
        (false, false) => "-",
        (true, true) => panic!("in and out"),
    };
    format!("{word}: {config_map:?} {secret:?}{}", listed.concat())
}

#[track_caller]
fn assert_asked(case: &str, annotations: &[&str], expected: &str) {
    assert_eq!(shown(annotations, Unasked::None), expected, "{case}");
}

#[test]
fn values_of_auto_are_read_as_go_reads_them() {
    for value in ["1", "t", "T", "true", "TRUE", "True"] {
        let auto = format!("reloader.stakater.com/auto={value}");
        assert_asked(value, &[&auto], "in: Used Used");
    }
    for value in ["0", "f", "F", "false", "FALSE", "False"] {
        let auto = format!("reloader.stakater.com/auto={value}");
        assert_asked(value, &[&auto], "out: No No");
        assert!(Watched::of(&workload(&[&auto])).warnings.is_empty());
    }
    assert_asked("empty", &["reloader.stakater.com/auto="], "-: No No");
    for value in ["yes", "on", "tRUE", " true", "2"] {
        let auto = format!("reloader.stakater.com/auto={value}");
        assert_asked(value, &[&auto], "out: No No");
        assert_eq!(
            told(&[&auto]),
            [format!(
                "annotation reloader.stakater.com/auto is {value:?}, which counts as \"false\", as in Reloader"
            )]
        );
    }
}

#[test]
fn what_counts_is_what_the_controllers_watch() {
    for (case, annotations, expected) in [
        ("nothing", &[][..], "-: No No"),
        ("of somebody else", &["example.com/auto=true"], "-: No No"),
        (
            "one kind",
            &["configmap.reloader.stakater.com/auto=true"],
            "in: Used No",
        ),
        (
            "the other kind",
            &["secret.reloader.stakater.com/auto=true"],
            "in: No Used",
        ),
        (
            "one kind opts out, and nothing opts in",
            &["configmap.reloader.stakater.com/auto=false"],
            "-: No No",
        ),
        (
            "one true is enough",
            &[
                "reloader.stakater.com/auto=true",
                "secret.reloader.stakater.com/auto=false",
            ],
            "in: Used Used",
        ),
        (
            "one true is enough, the other way round",
            &[
                "reloader.stakater.com/auto=false",
                "secret.reloader.stakater.com/auto=true",
            ],
            "in: No Used",
        ),
        (
            "a list",
            &["configmap.reloader.stakater.com/reload=a, b,,c.d "],
            "in: Whole No, ConfigMap a, ConfigMap b, ConfigMap c.d",
        ),
        (
            "a list of Secrets without the one that is named",
            &["secret.reloader.stakater.com/reload=b"],
            "in: No No, Secret b",
        ),
        (
            "an empty list",
            &["secret.reloader.stakater.com/reload= ,"],
            "-: No No",
        ),
        (
            "a list counts even when auto opts out",
            &[
                "reloader.stakater.com/auto=false",
                "configmap.reloader.stakater.com/reload=a",
            ],
            "in: Whole No, ConfigMap a",
        ),
        (
            "auto beside a list",
            &[
                "reloader.stakater.com/auto=true",
                "configmap.reloader.stakater.com/reload=b",
            ],
            "in: Used Used, ConfigMap b",
        ),
        (
            "search",
            &["reloader.stakater.com/search=true"],
            "in: IfMarked IfMarked",
        ),
        (
            "search and auto",
            &[
                "reloader.stakater.com/search=true",
                "configmap.reloader.stakater.com/auto=true",
            ],
            "in: Used IfMarked",
        ),
        (
            "search that is off",
            &["reloader.stakater.com/search=false"],
            "-: No No",
        ),
        (
            "an exclusion wins over auto",
            &[
                "reloader.stakater.com/auto=true",
                "configmaps.exclude.reloader.stakater.com/reload=x, a",
            ],
            "in: No Used",
        ),
        (
            "an exclusion wins over a list",
            &[
                "secret.reloader.stakater.com/reload=a,b",
                "secrets.exclude.reloader.stakater.com/reload=a,x",
            ],
            "in: No No, Secret b",
        ),
        (
            "an exclusion wins over search",
            &[
                "reloader.stakater.com/search=true",
                "secrets.exclude.reloader.stakater.com/reload=a",
            ],
            "in: IfMarked No",
        ),
        (
            "an exclusion is no opt-in",
            &["secrets.exclude.reloader.stakater.com/reload=b"],
            "-: No No",
        ),
        (
            "on the template",
            &["template:reloader.stakater.com/auto=true"],
            "in: Used Used",
        ),
        (
            "the object wins over the template",
            &[
                "reloader.stakater.com/auto=false",
                "template:reloader.stakater.com/auto=true",
            ],
            "out: No No",
        ),
        (
            "even with a value that says nothing",
            &[
                "reloader.stakater.com/search=false",
                "template:reloader.stakater.com/auto=true",
            ],
            "-: No No",
        ),
        (
            "but only for the kinds that it is about",
            &[
                "configmap.reloader.stakater.com/reload=b",
                "template:reloader.stakater.com/auto=true",
            ],
            "in: No Used, ConfigMap b",
        ),
        (
            "an exclusion on the object does not hide the template",
            &[
                "configmaps.exclude.reloader.stakater.com/reload=a",
                "template:reloader.stakater.com/auto=true",
            ],
            "in: No Used",
        ),
        (
            "an exclusion on the template",
            &[
                "reloader.stakater.com/auto=true",
                "template:secrets.exclude.reloader.stakater.com/reload=a",
            ],
            "in: Used No",
        ),
        (
            "Wave",
            &["wave.pusher.com/update-on-config-change=true"],
            "in: Used Used",
        ),
        (
            "Wave on the template",
            &["template:wave.pusher.com/update-on-config-change=true"],
            "in: Used Used",
        ),
        (
            "Wave, off",
            &["wave.pusher.com/update-on-config-change=false"],
            "-: No No",
        ),
        (
            "Wave beside Reloader, which is off",
            &[
                "wave.pusher.com/update-on-config-change=true",
                "reloader.stakater.com/auto=false",
            ],
            "in: Used Used",
        ),
        (
            "the lists of Wave, in the own namespace",
            &[
                "wave.pusher.com/update-on-config-change=true",
                "wave.pusher.com/extra-configmaps=shop/b, c",
                "wave.pusher.com/extra-secrets=a",
            ],
            "in: Used Whole, ConfigMap b, ConfigMap c, Secret a",
        ),
        (
            "the lists of Wave opt nothing in",
            &["wave.pusher.com/extra-secrets=b"],
            "-: No No, Secret b",
        ),
    ] {
        assert_asked(case, annotations, expected);
    }
}

/// With the setting `workloads: all`, or after `rollout-guard/enabled`.
#[test]
fn what_counts_without_being_asked_for() {
    for (case, annotations, unless_opted_out, all) in [
        ("nothing", &[][..], "-: Used Used", "-: Used Used"),
        (
            "auto is off",
            &["reloader.stakater.com/auto=false"],
            "out: No No",
            "out: Used Used",
        ),
        (
            "auto is off for one kind",
            &["configmap.reloader.stakater.com/auto=false"],
            "-: No Used",
            "-: Used Used",
        ),
        (
            "search does not narrow",
            &["reloader.stakater.com/search=true"],
            "in: Used Used",
            "in: Used Used",
        ),
        (
            "auto is off, search is on",
            &[
                "reloader.stakater.com/auto=false",
                "reloader.stakater.com/search=true",
            ],
            "in: IfMarked IfMarked",
            "in: Used Used",
        ),
        (
            "a list does not narrow",
            &["configmap.reloader.stakater.com/reload=b"],
            "in: Used Used, ConfigMap b",
            "in: Used Used, ConfigMap b",
        ),
        (
            "what is listed counts as a whole",
            &["configmap.reloader.stakater.com/reload=a"],
            "in: Whole Used, ConfigMap a",
            "in: Whole Used, ConfigMap a",
        ),
        (
            "an exclusion",
            &["configmaps.exclude.reloader.stakater.com/reload=a"],
            "-: No Used",
            "-: No Used",
        ),
    ] {
        assert_eq!(
            shown(annotations, Unasked::UnlessOptedOut),
            unless_opted_out,
            "{case}"
        );
        assert_eq!(shown(annotations, Unasked::All), all, "{case}, all");
    }
}

fn told(annotations: &[&str]) -> Vec<String> {
    let watched = Watched::of(&workload(annotations));
    watched.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_does_not_count_is_told() {
    for (annotation, value, expected) in [
        (
            "reloader.stakater.com/search",
            "True",
            "is \"True\", which counts as \"false\", as in Reloader",
        ),
        (
            "wave.pusher.com/update-on-config-change",
            "yes",
            "is \"yes\", which counts as \"false\", as in Wave",
        ),
        (
            "secret.reloader.stakater.com/auto",
            "y",
            "is \"y\", which counts as \"false\", as in Reloader",
        ),
        (
            "configmap.reloader.stakater.com/reload",
            "b,a.*",
            ": \"a.*\" is a pattern, which only finds configs that the pod template names; list others by name",
        ),
        (
            "configmap.reloader.stakater.com/reload",
            "a{2},b",
            ": the pattern \"a{2}\" is not supported; list the names",
        ),
        (
            "secrets.exclude.reloader.stakater.com/reload",
            "a.*",
            "names \"a.*\", which cannot be the name of an object",
        ),
        (
            "wave.pusher.com/extra-secrets",
            "other/a",
            "names \"other/a\", but only configs in the namespace of the workload count",
        ),
        (
            "wave.pusher.com/extra-configmaps",
            "shop/a/b",
            "names \"shop/a/b\", which cannot be the name of an object",
        ),
        (
            "deployment.reloader.stakater.com/pause-period",
            "5m",
            "is not supported: hold rollouts back with rollout-guard/freeze",
        ),
        (
            "reloader.stakater.com/rollout-strategy",
            "restart",
            "is not supported: a changed config is rolled out in the steps of the Rollout",
        ),
        (
            "secretproviderclass.reloader.stakater.com/auto",
            "true",
            "is not supported: let the SecretProviderClass sync to a Secret, and list that",
        ),
        (
            "secretproviderclass.reloader.stakater.com/reload",
            "vault",
            "is not supported: let the SecretProviderClass sync to a Secret, and list that",
        ),
    ] {
        let space = if expected.starts_with(':') { "" } else { " " };
        let expected = format!("annotation {annotation}{space}{expected}");
        assert_eq!(told(&[&format!("{annotation}={value}")]), [expected]);
    }
    for fine in [
        "reloader.stakater.com/rollout-strategy=rollout",
        "reloader.stakater.com/search=false",
        "wave.pusher.com/update-on-config-change=",
        "deployment.reloader.stakater.com/paused-at=2026-01-01T00:00:00Z",
    ] {
        assert_eq!(told(&[fine]), [""; 0], "{fine}");
    }
}

#[test]
fn the_rest_of_a_list_counts() {
    assert_asked(
        "an expression that is none",
        &["configmap.reloader.stakater.com/reload=(,b,a{2}"],
        "in: No No, ConfigMap b",
    );
    assert_asked(
        "a pattern",
        &["secret.reloader.stakater.com/reload=b,[ab]"],
        "in: No Whole, Secret b",
    );
    assert_asked(
        "only an expression that is none",
        &["configmap.reloader.stakater.com/reload=("],
        "-: No No",
    );
    assert_asked(
        "other namespaces",
        &["wave.pusher.com/extra-configmaps=other/a,b"],
        "-: No No, ConfigMap b",
    );
}

#[test]
fn annotations_that_are_not_strings_count_as_missing() {
    for annotations in [
        json!(null),
        json!("x"),
        json!([]),
        json!({AUTO: true, SEARCH: 1, WAVE: null, CONFIG_MAPS.reload: ["a"]}),
    ] {
        let watched = Watched::of(&json!({"metadata": {"annotations": annotations}}));
        assert_eq!(watched, Watched::default());
    }
}

#[test]
fn long_lists_are_bounded() {
    let many = |entry: &dyn Fn(usize) -> String| -> String {
        let entries: Vec<_> = (0..1000).map(entry).collect();
        format!(
            "configmap.reloader.stakater.com/reload={}",
            entries.join(",")
        )
    };
    let names = Watched::of(&workload(&[&many(&|n| format!("n{n}"))]));
    assert_eq!((names.listed().count(), names.warnings.len()), (1000, 0));
    let patterns = Watched::of(&workload(&[&many(&|n| format!("n{n}.*"))]));
    assert_eq!(patterns.warnings.len(), MAX_WARNINGS);
    let length: usize = (0..patterns.config_maps.patterns.len())
        .map(|n| format!("n{n}.*").len())
        .sum();
    assert!((MAX_PATTERNS - 10..=MAX_PATTERNS).contains(&length));
}

#[test]
fn annotations_of_a_config() {
    let config = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    assert!(is_ignored(&config(IGNORE, "true")));
    assert!(!is_ignored(&config(IGNORE, "True")));
    assert!(!is_ignored(&config(MATCH, "true")));
    assert!(is_marked(&config(MATCH, "true")));
    assert!(!is_marked(&config(MATCH, "1")));
    assert!(!is_marked(&json!({})));
}
