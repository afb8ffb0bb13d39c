use proptest::prelude::*;
use serde_json::json;

// `Strategy` is also the name of a trait of proptest.
use super::{Ignore, KeyRef, Settings, Value};

#[test]
fn nothing_is_a_complete_configuration() {
    assert_eq!(Settings::parse(&json!({})).unwrap(), Settings::default());
    assert_eq!(Settings::parse(&Value::Null).unwrap(), Settings::default());
}

#[test]
fn every_default_can_be_written_out() {
    let written = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(Settings::parse(&written).unwrap(), Settings::default());
}

#[track_caller]
fn assert_refused(settings: Value, expected: &str) {
    let error = Settings::parse(&settings).unwrap_err().to_string();
    assert_eq!(error, expected, "{settings}");
}

#[test]
fn unknown_settings_are_refused_with_the_nearest_name() {
    assert_refused(
        json!({"mod": "verify"}),
        "unknown setting `mod`; did you mean `mode`?",
    );
    assert_refused(
        json!({"configHash": {"strategi": "hash"}}),
        "unknown setting `configHash.strategi`; did you mean `configHash.strategy`?",
    );
    assert_refused(
        json!({"releaseGuard": {"findings": {"hook-prund": "warn"}}}),
        "unknown setting `releaseGuard.findings.hook-prund`; did you mean `releaseGuard.findings.hook-pruned`?",
    );
    assert_refused(
        json!({"configHash": {"key": {"namespace": "a", "name": "b", "key": "c", "keys": "d"}}}),
        "unknown setting `configHash.key.keys`; did you mean `configHash.key.key`?",
    );
}

#[test]
fn unknown_values_are_refused_with_the_allowed_ones() {
    assert_refused(
        json!({"configHash": {"strategy": "hsh"}}),
        "configHash.strategy: unknown value `hsh`; use `hash` or `version`",
    );
    assert_refused(
        json!({"configHash": {"missing": ""}}),
        "configHash.missing: unknown value ``; use `ignore`, `warn` or `reject`",
    );
    assert_refused(
        json!({"releaseGuard": {"findings": {"hook-pruned": "deny"}}}),
        "releaseGuard.findings.hook-pruned: unknown value `deny`; use `reject`, `rescue`, `warn` or `ignore`",
    );
    assert_refused(
        json!({"releaseGuard": {"findings": {"no-rollout": "deny"}}}),
        "releaseGuard.findings.no-rollout: unknown value `deny`; use `reject`, `warn` or `ignore`",
    );
    assert_refused(
        json!({"releaseGuard": {"findings": {"no-rollout": "rescue"}}}),
        "releaseGuard.findings.no-rollout: only hook-pruned can have the level `rescue`; use `reject`, `warn` or `ignore`",
    );
}

/// Each setting with its type, in the words of an error; those of `releaseGuard.findings` are left out.
const TYPES: [(&str, &str); 33] = [
    ("mode", "`enforce` or `verify`"),
    ("lookupFailure", "`reject` or `warn`"),
    ("timeoutEvalSeconds", "a whole number"),
    ("configHash", "an object"),
    ("configHash.enabled", "true or false"),
    ("configHash.strategy", "`hash` or `version`"),
    ("configHash.workloads", "`all` or `annotated`"),
    ("configHash.missing", "`ignore`, `warn` or `reject`"),
    ("configHash.changeCause", "true or false"),
    ("configHash.imagePullSecrets", "true or false"),
    ("configHash.ignore", "an object"),
    ("configHash.ignore.configMaps", "a list"),
    ("configHash.ignore.secrets", "a list"),
    ("configHash.key", "an object"),
    ("configHash.key.namespace", "a string"),
    ("configHash.key.name", "a string"),
    ("configHash.key.key", "a string"),
    ("configHash.warnConsumers", "true or false"),
    ("releaseGuard", "an object"),
    ("releaseGuard.enabled", "true or false"),
    ("releaseGuard.hookRequests", "true or false"),
    ("releaseGuard.bypass", "true or false"),
    ("releaseGuard.maxRecordBytes", "a whole number"),
    ("releaseGuard.findings", "an object"),
    ("deletionGuard", "an object"),
    ("deletionGuard.level", "`ignore`, `warn` or `reject`"),
    ("deletionGuard.rejectFor", "an object"),
    ("deletionGuard.rejectFor.users", "a list"),
    ("deletionGuard.rejectFor.groups", "a list"),
    ("deletionGuard.allowFor", "an object"),
    ("deletionGuard.allowFor.users", "a list"),
    ("deletionGuard.allowFor.groups", "a list"),
    ("deletionGuard.otherWorkloads", "a list"),
];

/// Each setting with its type, and the level of each finding.
fn types() -> Vec<(String, String)> {
    let levels = helm_plan::findings::LINTS.iter().map(|lint| {
        let levels = match lint.name {
            "hook-pruned" => "`reject`, `rescue`, `warn` or `ignore`",
            _ => "`reject`, `warn` or `ignore`",
        };
        (format!("releaseGuard.findings.{lint}"), levels.to_owned())
    });
    let types = TYPES.map(|(setting, kind)| (setting.to_owned(), kind.to_owned()));
    types.into_iter().chain(levels).collect()
}

/// Settings with this value at this path.
fn at(setting: &str, value: Value) -> Value {
    let fields = setting.rsplit('.');
    fields.fold(value, |value, field| json!({field: value}))
}

#[test]
fn the_table_has_every_setting() {
    fn collect(prefix: &str, settings: &Value, found: &mut Vec<String>) {
        for (name, value) in settings.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            collect(&format!("{path}."), value, found);
            found.push(path);
        }
    }
    let mut written = serde_json::to_value(Settings::default()).unwrap();
    written["configHash"]["key"] = serde_json::to_value(KeyRef::default()).unwrap();
    let mut expected = Vec::new();
    collect("", &written, &mut expected);
    let mut found: Vec<_> = types().into_iter().map(|(setting, _)| setting).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn values_of_another_type_are_refused_in_plain_words() {
    let others = [
        (json!(null), "null"),
        (json!(true), "true"),
        (json!(7), "7"),
        (json!(-1.5), "-1.5"),
        (json!("text"), "a string"),
        (json!(["text"]), "a list"),
        // The long form of an enumeration in Rust, which nobody means.
        (json!({"verify": null}), "an object"),
        (json!({"reject": null}), "an object"),
    ];
    for (setting, expected) in types() {
        for (value, found) in &others {
            let fits = match expected.as_str() {
                "an object" => value.is_object() || value.is_null(),
                "a list" => value.is_array() || value.is_null(),
                "a string" => value.is_string(),
                "true or false" => value.is_boolean(),
                "a whole number" => value.is_u64(),
                // Another text is an unknown value.
                _ => value.is_string(),
            };
            if !fits {
                assert_refused(
                    at(&setting, value.clone()),
                    &format!("{setting} must be {expected}, not {found}"),
                );
            }
        }
    }
    for number in ["-1", "1.0", "1e+300", "18446744073709551616"] {
        let number: Value = serde_json::from_str(number).unwrap();
        assert_refused(
            at("releaseGuard.maxRecordBytes", number.clone()),
            &format!("releaseGuard.maxRecordBytes must be a whole number, not {number}"),
        );
    }
    assert_refused(
        json!({"configHash": {"ignore": {"secrets": ["db", {"name": "cache"}]}}}),
        "configHash.ignore.secrets[1] must be a string, not an object",
    );
    assert_refused(json!("verify"), "settings must be an object, not a string");
    assert_refused(json!([]), "settings must be an object, not a list");
    assert_refused(json!(1), "settings must be an object, not 1");
}

/// `configHash:` with nothing below it, and what Rancher's form sends.
#[test]
fn what_is_left_empty_has_its_default() {
    let empty_key = json!({"namespace": "", "name": "", "key": ""});
    for settings in [
        json!({"configHash": null, "releaseGuard": null}),
        json!({"configHash": {"ignore": null}, "releaseGuard": {"findings": null}}),
        json!({"configHash": {"ignore": {"configMaps": null, "secrets": null}}}),
        json!({"configHash": {"ignore": {}}, "releaseGuard": {"findings": {}}}),
        json!({"configHash": {"key": null}}),
        json!({"configHash": {"key": ""}}),
        json!({"configHash": {"key": {}}}),
        json!({"configHash": {"key": {"name": ""}}}),
        json!({"configHash": {"key": empty_key}}),
    ] {
        assert_eq!(
            Settings::parse(&settings).unwrap(),
            Settings::default(),
            "{settings}"
        );
        assert_eq!(
            Settings::read(&settings).unwrap(),
            Settings::default(),
            "{settings}"
        );
    }
}

fn any_settings() -> impl Strategy<Value = Value> {
    let names: Vec<_> = types()
        .iter()
        .filter_map(|(setting, _)| setting.split('.').next_back().map(str::to_owned))
        .chain(["verify", "reject", "warn", "hash", "nme", ""].map(str::to_owned))
        .collect();
    let name = proptest::sample::select(names);
    let single = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        name.clone().prop_map(Value::from),
    ];
    single.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_error_has_words_of_rust(value in any_settings(), setting in proptest::sample::select(types())) {
        for settings in [at(&setting.0, value.clone()), value] {
            let Err(error) = Settings::parse(&settings) else { continue };
            let error = error.to_string();
            for word in [
                "::", "struct", "enum", "variant", "tuple", "newtype", "unit", "map", "sequence", "expected", "invalid",
                "field", "integer", "floating", "boolean", "`String`", "`u64`", "`bool`", "`Option`", "`Vec`",
            ] {
                prop_assert!(!error.replace("configMaps", "").contains(word), "{settings}: {error}");
            }
        }
    }
}

#[test]
fn values_that_cannot_work_are_refused() {
    assert_refused(
        json!({"mode": "verify", "releaseGuard": {"findings": {"hook-pruned": "rescue"}}}),
        "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which `mode: verify` never does; use `reject`, `warn` or `ignore`",
    );
    for guard in [
        json!({"findings": {"hook-pruned": "rescue"}}),
        json!({"findings": {"hook-pruned": "rescue"}, "hookRequests": false}),
    ] {
        assert_refused(
            json!({"releaseGuard": guard}),
            "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which needs `releaseGuard.hookRequests: true` and rules that match hooks; set it, or use `reject`, `warn` or `ignore`",
        );
    }
    assert_refused(
        json!({"configHash": {"ignore": {"secrets": ["ok-*", "Db"]}}}),
        "configHash.ignore.secrets[1]: `Db` matches nothing: names have no `D` (lower case letters, digits, `-`, `.`, and `*` for any of them)",
    );
    assert_refused(
        json!({"configHash": {"ignore": {"configMaps": [""]}}}),
        "configHash.ignore.configMaps[0]: an empty name matches nothing",
    );
    assert_refused(
        json!({"deletionGuard": {"rejectFor": {"users": ["ann", ""]}}}),
        "deletionGuard.rejectFor.users[1]: an empty name matches nothing",
    );
    assert_refused(
        json!({"deletionGuard": {"allowFor": {"groups": [""]}}}),
        "deletionGuard.allowFor.groups[0]: an empty name matches nothing",
    );
    for text in [
        "",
        "Rollout",
        "/Rollout",
        "v1/",
        "argoproj.io/v1alpha1",
        "argoproj.io/v1alpha1/rollouts",
        "argoproj.io/Rollout",
        "/v1/Rollout",
        "a/b/v1/Rollout",
        "Argo/v1/Rollout",
        "argoproj.io/v1/Rollout ",
        "apps/v1/Deployment",
        "v1/ReplicationController",
        "core/v1/Shop",
        "a..b/v1/Shop",
    ] {
        assert_refused(
            json!({"deletionGuard": {"otherWorkloads": ["example.com/v1/Shop", text]}}),
            &format!(
                "deletionGuard.otherWorkloads[1]: `{text}` is no kind of custom resources; write it with its API version, like `argoproj.io/v1alpha1/Rollout`"
            ),
        );
    }
    for (key, empty) in [
        (json!({"namespace": "kubewarden", "name": "key"}), "key"),
        (
            json!({"namespace": "kubewarden", "name": "", "key": "k"}),
            "name",
        ),
        (json!({"namespace": "", "key": "k"}), "namespace"),
    ] {
        assert_refused(
            json!({"configHash": {"key": key}}),
            &format!(
                "configHash.key.{empty} is empty; set `namespace`, `name` and `key` of the key, or none of them"
            ),
        );
    }
    for seconds in [0, 1, 31] {
        assert_refused(
            json!({"timeoutEvalSeconds": seconds}),
            &format!(
                "timeoutEvalSeconds is {seconds}: policies of Kubewarden have from 2 to 30 seconds"
            ),
        );
    }
    assert_refused(
        json!({"releaseGuard": {"maxRecordBytes": 0}}),
        "releaseGuard.maxRecordBytes is 0: no release could be read",
    );
}

#[test]
fn the_host_is_told_of_text_that_is_not_json() {
    assert_eq!(Settings::from_json(b"{}").unwrap(), Settings::default());
    assert_eq!(
        Settings::from_json(b"{").unwrap_err().to_string(),
        "settings are not valid JSON: EOF while parsing an object at line 1 column 1"
    );
}

#[test]
fn the_reader_of_serde_json_accepts_the_same() {
    for settings in [
        json!({"configHash": {"strategy": "version"}}),
        json!({"configHash": {"key": {"namespace": "kubewarden", "name": "hash-key", "key": "key"}}}),
        json!({"configHash": {"key": null, "ignore": {"secrets": ["db", "cache-*"]}}}),
        json!({"releaseGuard": {"hookRequests": true, "findings": {"hook-pruned": "rescue", "no-rollout": "warn"}}}),
    ] {
        let expected: Settings = serde_json::from_value(settings.clone()).unwrap();
        assert_ne!(expected, Settings::default(), "{settings}");
        assert_eq!(Settings::parse(&settings).unwrap(), expected, "{settings}");
    }
}

#[test]
fn globs_match_whole_names() {
    let ignore = Ignore {
        config_maps: vec!["cache-*".into()],
        secrets: vec!["db".into()],
    };
    assert!(ignore.config_map("cache-a") && !ignore.config_map("my-cache-a"));
    assert!(ignore.secret("db") && !ignore.secret("db2") && !ignore.config_map("db"));
}
