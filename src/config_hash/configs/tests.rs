//! Which objects are read from the cluster, and what is observed of them.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::cluster::fake::Objects;

fn id(kind: ConfigKind, name: &str) -> ConfigId {
    ConfigId {
        kind,
        name: name.to_owned(),
    }
}

fn app() -> ConfigId {
    id(ConfigKind::ConfigMap, "app")
}

fn whole() -> Use {
    Use {
        whole: true,
        required: true,
        ..Use::default()
    }
}

fn optional() -> Use {
    Use {
        required: false,
        ..whole()
    }
}

/// The keys are required.
fn only(keys: &[&str]) -> Use {
    let keys: BTreeSet<String> = keys.iter().map(|&key| key.to_owned()).collect();
    Use {
        required: true,
        keys: keys.clone(),
        required_keys: keys,
        ..Use::default()
    }
}

fn config_map(fields: Value) -> Value {
    object("ConfigMap", "app", fields)
}

fn object(kind: &str, name: &str, fields: Value) -> Value {
    let mut object =
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"namespace": "shop", "name": name}});
    for (field, value) in fields.as_object().unwrap() {
        match field.as_str() {
            "annotations" => object["metadata"]["annotations"] = value.clone(),
            field => object[field] = value.clone(),
        }
    }
    object
}

fn read(cluster: &Objects, used: &References, key: Option<&KeyRef>) -> Result<Observed, String> {
    let configs = Configs {
        cluster,
        namespace: "shop",
        key,
    };
    configs
        .read(used, &[], &Memory::of(None))
        .map_err(|error| error.to_string())
}

/// The digest of one config, or its gaps.
fn digest_of(object: Value, id: ConfigId, r#use: Use) -> Result<String, Vec<String>> {
    let used = References::from([(id.clone(), r#use)]);
    let observed = read(&Objects::new([object]), &used, None).unwrap();
    let gaps = observed.gaps.iter().map(ToString::to_string);
    match &observed.configs[&id].now {
        Now::Digest(digest) => Ok(digest.clone()),
        Now::NoObject | Now::NoKey => Err(gaps.collect()),
    }
}

fn digest(pairs: &[(&str, &[u8])]) -> String {
    Digester::default().digest(&pairs.iter().copied().collect())
}

/// A cluster in which the policy was granted nothing.
fn denied() -> Objects {
    Objects {
        denied: vec!["v1/ConfigMap".to_owned(), "v1/Secret".to_owned()],
        ..Objects::default()
    }
}

#[test]
fn each_object_is_read_once() {
    let cluster = Objects::default();
    let db = id(ConfigKind::Secret, "db");
    let used = References::from([(app(), whole()), (db.clone(), optional())]);
    let recorded = References::from([
        (app(), only(&["a"])),
        (id(ConfigKind::Secret, "old"), whole()),
    ]);
    let configs = Configs {
        cluster: &cluster,
        namespace: "shop",
        key: None,
    };
    configs
        .read(&used, &[recorded.clone(), recorded], &Memory::of(None))
        .unwrap();
    assert_eq!(
        *cluster.asked.borrow(),
        [
            "ConfigMap shop/app [data, binaryData, metadata.annotations]",
            "Secret shop/db [data, binaryData, metadata.annotations]",
        ]
    );
}

#[test]
fn equal_bytes_have_equal_digests_whatever_their_encoding() {
    let expected = Ok(digest(&[("a", b"1"), ("b", b"2")]));
    let secret = || id(ConfigKind::Secret, "app");
    for (case, object, id) in [
        (
            "data",
            config_map(json!({"data": {"a": "1", "b": "2"}})),
            app(),
        ),
        (
            "another order",
            config_map(json!({"data": {"b": "2", "a": "1"}})),
            app(),
        ),
        (
            "binaryData",
            config_map(json!({"binaryData": {"a": "MQ==", "b": "Mg=="}})),
            app(),
        ),
        (
            "both, and metadata",
            config_map(
                json!({"binaryData": {"b": "Mg=="}, "data": {"a": "1"}, "annotations": {"x": "y", IGNORE: "false"}, "immutable": true}),
            ),
            app(),
        ),
        (
            "Secret",
            object(
                "Secret",
                "app",
                json!({"data": {"a": "MQ==", "b": "Mg=="}, "type": "Opaque"}),
            ),
            secret(),
        ),
    ] {
        assert_eq!(digest_of(object, id, whole()), expected, "{case}");
    }
    let empty = Ok(config_digest::ABSENT.to_owned());
    for object in [
        json!({}),
        json!({"data": null, "binaryData": null}),
        json!({"data": {}}),
    ] {
        assert_eq!(
            digest_of(config_map(object.clone()), app(), whole()),
            empty,
            "{object}"
        );
    }
    let text = config_map(json!({"data": {"a": "MQ=="}}));
    assert_eq!(
        digest_of(text, app(), whole()),
        Ok(digest(&[("a", b"MQ==")])),
        "the text of a ConfigMap is not base64"
    );
}

#[test]
fn only_the_keys_in_use_count() {
    let object = || config_map(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "Mw=="}}));
    assert_eq!(
        digest_of(object(), app(), only(&["a", "c"])),
        Ok(config_digest::of_keys(
            &digest(&[("a", b"1"), ("c", b"3")]),
            &["a", "c"].map(str::to_owned).into()
        ))
    );
    let mut optional_key = only(&["a"]);
    optional_key.keys.insert("z".to_owned());
    assert_eq!(
        digest_of(object(), app(), optional_key),
        Ok(config_digest::of_keys(
            &digest(&[("a", b"1")]),
            &["a", "z"].map(str::to_owned).into()
        )),
        "an optional key that is missing"
    );
}

#[test]
fn gaps_are_reported() {
    let other = || object("ConfigMap", "other", json!({}));
    let of_app = |fields| config_map(fields);
    for (case, object, r#use, expected) in [
        (
            "object",
            other(),
            whole(),
            Err("it needs ConfigMap app, which does not exist in namespace shop"),
        ),
        (
            "object with required keys",
            other(),
            only(&["a"]),
            Err("it needs ConfigMap app, which does not exist in namespace shop"),
        ),
        (
            "optional object",
            other(),
            optional(),
            Ok(config_digest::ABSENT.to_owned()),
        ),
        (
            "key",
            of_app(json!({"data": {"a": "1"}})),
            only(&["a", "b"]),
            Err("it needs key \"b\" of ConfigMap app, which has no such key"),
        ),
        (
            "the first of the keys",
            of_app(json!({})),
            only(&["b", "a"]),
            Err("it needs key \"a\" of ConfigMap app, which has no such key"),
        ),
    ] {
        assert_eq!(
            digest_of(object, app(), r#use),
            expected.map_err(|missing| vec![missing.to_owned()]),
            "{case}"
        );
    }
}

#[test]
fn a_change_is_measured_by_the_keys_that_were_used_when_recorded() {
    let seen = |used: Use, recorded: &[Option<Use>]| {
        let cluster = Objects::new([config_map(json!({"data": {"a": "1", "b": "2"}}))]);
        let other_uses: Vec<_> = recorded
            .iter()
            .map(|used| used.clone().map(|used| (app(), used)).into_iter().collect())
            .collect();
        let configs = Configs {
            cluster: &cluster,
            namespace: "shop",
            key: None,
        };
        let used = [(app(), used)].into();
        let observed = configs.read(&used, &other_uses, &Memory::of(None)).unwrap();
        observed.configs[&app()].clone()
    };
    let all = digest(&[("a", b"1"), ("b", b"2")]);
    let a = config_digest::of_keys(&digest(&[("a", b"1")]), &["a".to_owned()].into());
    let of = |digest: &str, unchanged: &[&str]| Seen {
        now: Now::Digest(digest.to_owned()),
        unchanged_digests: unchanged.iter().map(|&digest| digest.to_owned()).collect(),
        rewritten: false,
    };
    assert_eq!(seen(whole(), &[]), of(&all, &[]), "no oldObject");
    assert_eq!(seen(whole(), &[Some(only(&["a"]))]), of(&all, &[&a]));
    assert_eq!(seen(only(&["a"]), &[Some(whole())]), of(&a, &[&all]));
    assert_eq!(
        seen(only(&["a"]), &[Some(only(&["a"])), Some(whole())]),
        of(&a, &[&all]),
        "the same use is not measured twice"
    );
    assert_eq!(
        seen(whole(), &[None]),
        of(&all, &[]),
        "oldObject does not use it"
    );
    assert_eq!(
        seen(whole(), &[Some(only(&["z"]))]),
        of(&all, &[]),
        "a key that oldObject requires is missing"
    );
    assert_eq!(
        seen(only(&["z"]), &[Some(whole())]),
        Seen {
            now: Now::NoKey,
            unchanged_digests: vec![all],
            rewritten: false,
        },
        "a key that the object in the request requires is missing"
    );
}

/// Only of a config that was missing, it is asked whether its content changed since it was created.
#[test]
fn a_config_that_came_late_may_be_rewritten() {
    let created = "2026-01-01T10:00:00Z";
    let manager =
        |time: &str, fields: Value| json!({"manager": "m", "time": time, "fieldsV1": fields});
    let data = || json!({"f:data": {"f:mode": {}}});
    let labels = || json!({"f:metadata": {"f:labels": {}}});
    for (case, creation, managed, expected) in [
        (
            "as created",
            Some(created),
            Some(vec![manager(created, data())]),
            false,
        ),
        (
            "data changed",
            Some(created),
            Some(vec![manager("2026-01-01T10:00:01Z", data())]),
            true,
        ),
        (
            "labels changed",
            Some(created),
            Some(vec![
                manager(created, data()),
                manager("2026-01-02T10:00:00Z", labels()),
            ]),
            false,
        ),
        (
            "another manager wrote data",
            Some(created),
            Some(vec![
                manager(created, data()),
                manager("2026-01-02T10:00:00Z", json!({"f:binaryData": {}})),
            ]),
            true,
        ),
        (
            "an entry without fields may own data",
            Some(created),
            Some(vec![
                manager(created, data()),
                json!({"time": "2026-01-02T10:00:00Z"}),
            ]),
            true,
        ),
        (
            "an entry without a time",
            Some(created),
            Some(vec![json!({"fieldsV1": data()})]),
            true,
        ),
        (
            "nobody owns the data",
            Some(created),
            Some(vec![manager(created, labels())]),
            true,
        ),
        ("no managers", Some(created), None, true),
        (
            "no time of creation",
            None,
            Some(vec![manager(created, data())]),
            true,
        ),
    ] {
        let mut object = config_map(json!({"data": {"mode": "dark"}}));
        object["metadata"]["creationTimestamp"] = json!(creation);
        object["metadata"]["managedFields"] = json!(managed);
        let cluster = Objects::new([object]);
        let configs = Configs {
            cluster: &cluster,
            namespace: "shop",
            key: None,
        };
        let used = [(app(), whole())].into();
        for (entry, expected) in [("missing", expected), ("absent", false)] {
            let record = json!({"ConfigMap/app": entry}).to_string();
            let stored = json!({"metadata": {"annotations": {"rollout-guard/configs": record}}});
            let memory = Memory::of(Some(&stored));
            let observed = configs.read(&used, &[], &memory).unwrap();
            assert_eq!(
                observed.configs[&app()].rewritten,
                expected,
                "{case}, {entry}"
            );
        }
        assert_eq!(
            *cluster.asked.borrow(),
            [
                "ConfigMap shop/app [data, binaryData, metadata.annotations, metadata.creationTimestamp, \
                 metadata.managedFields]",
                "ConfigMap shop/app [data, binaryData, metadata.annotations]",
            ]
        );
    }
}

#[test]
fn an_annotation_excludes_a_config() {
    let used = References::from([(app(), only(&["z"]))]);
    let ignored = config_map(json!({"annotations": {IGNORE: "true"}}));
    assert_eq!(
        read(&Objects::new([ignored]), &used, None),
        Ok(Observed::default()),
        "not even a missing key counts"
    );
    let odd = config_map(json!({"annotations": {IGNORE: "yes"}, "data": {"z": null}}));
    let observed = read(&Objects::new([odd]), &used, None).unwrap();
    assert_eq!(observed.configs.len(), 1, "a typo is no decision");
    assert_eq!(
        observed
            .oddities
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "ConfigMap shop/app: annotation rollout-guard/ignore must be \"true\" or \"false\", not \"yes\"; it counts like any other"
        ]
    );
}

#[test]
fn look_ups_that_fail_are_errors() {
    let used = References::from([(app(), optional())]);
    let away = Objects {
        failing: vec!["ConfigMap shop/app".to_owned()],
        ..Objects::default()
    };
    assert_eq!(
        read(&away, &used, None),
        Err("ConfigMap shop/app cannot be read: the API server is away".to_owned())
    );
    assert_eq!(
        read(&denied(), &used, None),
        Err(
            "ConfigMap shop/app cannot be read: this policy has not been granted access to v1/ConfigMap; \
             add it to contextAwareResources of the policy"
                .to_owned()
        )
    );
}

#[test]
fn objects_of_the_wrong_shape_are_errors_that_show_no_value() {
    for (object, expected) in [
        (
            config_map(json!({"data": "hidden"})),
            "ConfigMap shop/app cannot be read: data is not an object",
        ),
        (
            config_map(json!({"data": {"a": ["hidden"]}})),
            "ConfigMap shop/app cannot be read: data[\"a\"] is not a string",
        ),
        (
            config_map(json!({"binaryData": {"a": "hidden!"}})),
            "ConfigMap shop/app cannot be read: binaryData[\"a\"] is not base64",
        ),
    ] {
        let used = References::from([(app(), whole())]);
        assert_eq!(
            read(&Objects::new([object]), &used, None),
            Err(expected.to_owned())
        );
    }
    let used = References::from([(id(ConfigKind::Secret, "db"), whole())]);
    let secret = object("Secret", "db", json!({"data": {"password": "hidden!"}}));
    assert_eq!(
        read(&Objects::new([secret]), &used, None),
        Err("Secret shop/db cannot be read: data[\"password\"] is not base64".to_owned())
    );
}

#[test]
fn digests_with_a_key_cannot_be_guessed() {
    let key = KeyRef {
        namespace: "kubewarden".to_owned(),
        name: "hash-key".to_owned(),
        key: "key".to_owned(),
    };
    let hash_key = |fields: Value| {
        let mut object = object("Secret", "hash-key", fields);
        object["metadata"]["namespace"] = json!("kubewarden");
        object
    };
    let app_object = || config_map(json!({"data": {"mode": "dark"}}));
    let used = References::from([(app(), whole()), (id(ConfigKind::Secret, "db"), optional())]);

    let cluster = Objects::new([
        app_object(),
        hash_key(json!({"data": {"key": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}})),
    ]);
    let observed = read(&cluster, &used, Some(&key)).unwrap();
    // "one key, keyed" of docs/digest.md
    let expected = "6765e530:4e504b7b60cce90a0480da171dbaf400";
    assert_eq!(
        observed.configs[&app()].now,
        Now::Digest(expected.to_owned())
    );
    assert_eq!(
        *cluster.asked.borrow(),
        [
            "Secret kubewarden/hash-key [data]",
            "ConfigMap shop/app [data, binaryData, metadata.annotations]",
            "Secret shop/db [data, binaryData, metadata.annotations]",
        ]
    );

    let unused = Objects::default();
    assert_eq!(
        read(&unused, &References::new(), Some(&key)),
        Ok(Observed::default())
    );
    assert!(unused.asked.borrow().is_empty(), "no config, so no key");

    for (case, objects, expected) in [
        (
            "no Secret",
            vec![app_object()],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: the Secret does not exist",
        ),
        (
            "no key",
            vec![hash_key(json!({"data": {"kei": "eA=="}}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: the Secret has no such key",
        ),
        (
            "no data",
            vec![hash_key(json!({}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: the Secret has no such key",
        ),
        (
            "a short key",
            vec![hash_key(json!({"data": {"key": "a2tra2tra2tra2tra2tr"}}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: the key has 15 bytes, but needs at least 16",
        ),
        (
            "not base64",
            vec![hash_key(json!({"data": {"key": "hidden!"}}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: data[\"key\"] is not base64",
        ),
        (
            "not a string",
            vec![hash_key(json!({"data": {"key": ["hidden"]}}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: data[\"key\"] is not a string",
        ),
        (
            "data that is not an object",
            vec![hash_key(json!({"data": "hidden"}))],
            "key \"key\" of Secret kubewarden/hash-key cannot be used as the hash key: data is not an object",
        ),
    ] {
        assert_eq!(
            read(&Objects::new(objects), &used, Some(&key)),
            Err(expected.to_owned()),
            "{case}"
        );
    }
    assert_eq!(
        read(&denied(), &used, Some(&key)),
        Err(
            "Secret kubewarden/hash-key cannot be read: this policy has not been granted access to v1/Secret; \
             add it to contextAwareResources of the policy"
                .to_owned()
        )
    );
}

#[test]
fn the_number_of_look_ups_is_bounded() {
    let used = |count: usize| -> References {
        (0..count)
            .map(|n| (id(ConfigKind::ConfigMap, &format!("c{n}")), optional()))
            .collect()
    };
    let cluster = Objects::default();
    let observed = read(&cluster, &used(257), None).unwrap();
    assert_eq!(cluster.asked.borrow().len(), 256);
    assert_eq!(observed.configs.len(), 256);
    // By name, the last of all.
    assert_eq!(observed.not_read, [id(ConfigKind::ConfigMap, "c99")]);
    assert_eq!(
        observed
            .oddities
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "it uses 257 ConfigMaps and Secrets, but only the first 256 are read; changes of the others do not \
             roll it out"
        ]
    );
    let observed = read(&cluster, &used(256), None).unwrap();
    assert_eq!((observed.not_read.len(), observed.oddities.len()), (0, 0));
}
