use serde_json::json;

use super::*;

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

#[test]
fn values_of_another_type_are_refused_without_names_of_rust() {
    assert_refused(
        json!({"configHash": {"enabled": "yes"}}),
        "configHash.enabled must be true or false, not a string",
    );
    assert_refused(
        json!({"configHash": {"enabled": null}}),
        "configHash.enabled must be true or false, not null",
    );
    assert_refused(
        json!({"mode": true}),
        "mode must be `enforce` or `verify`, not true",
    );
    assert_refused(
        json!({"releaseGuard": {"findings": {"no-rollout": ["warn"]}}}),
        "releaseGuard.findings.no-rollout must be `reject`, `warn` or `ignore`, not a list",
    );
    for number in ["-1", "1.5", "1e+300"] {
        assert_refused(
            serde_json::from_str(&format!(
                r#"{{"releaseGuard": {{"maxRecordBytes": {number}}}}}"#
            ))
            .unwrap(),
            &format!("releaseGuard.maxRecordBytes must be a whole number, not {number}"),
        );
    }
    assert_refused(
        json!({"configHash": {"ignore": {"secrets": "db"}}}),
        "configHash.ignore.secrets must be a list, not a string",
    );
    assert_refused(
        json!({"configHash": {"ignore": {"secrets": ["db", {"name": "cache"}]}}}),
        "configHash.ignore.secrets[1] must be a string, not an object",
    );
    assert_refused(json!("verify"), "settings must be an object, not a string");
    assert_refused(json!([]), "settings must be an object, not a list");
    for setting in [
        "configHash.ignore",
        "configHash.key",
        "releaseGuard.findings",
    ] {
        let (group, field) = setting.split_once('.').unwrap();
        assert_refused(
            json!({group: {field: ["kubewarden", "hash-key", "key"]}}),
            &format!("{setting} must be an object, not a list"),
        );
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
        json!({"configHash": {"key": {"namespace": "kubewarden", "name": "key"}}}),
        "configHash.key: missing field `key`",
    );
    assert_refused(
        json!({"configHash": {"key": {"namespace": "kubewarden", "name": "", "key": "k"}}}),
        "configHash.key.name is empty",
    );
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
        json!({"configHash": {"strategy": {"version": null}}}),
        json!({"configHash": {"key": {"namespace": "kubewarden", "name": "hash-key", "key": "key"}}}),
        json!({"configHash": {"key": null, "ignore": {"secrets": ["db", "cache-*"]}}}),
        json!({"releaseGuard": {"hookRequests": true, "findings": {"hook-pruned": {"rescue": null}, "no-rollout": "warn"}}}),
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
