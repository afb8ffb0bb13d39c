//! What is read of the cluster, and what is made of it.

use serde_json::json;

use super::*;
use crate::cluster::{Cause, LookupError, double::Objects};

fn id(kind: Kind, name: &str) -> ConfigId {
    ConfigId {
        kind,
        name: name.to_owned(),
    }
}

fn app() -> ConfigId {
    id(Kind::ConfigMap, "app")
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
        whole: false,
        required: true,
        keys: keys.clone(),
        required_keys: keys,
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

fn look_at(cluster: &dyn Cluster, used: &References, key: Option<&KeyRef>) -> Result<View, String> {
    let configs = Configs {
        cluster,
        namespace: "shop",
        key,
    };
    configs.look_at(used, &[])
}

/// The digest of one config, or what is missing of it.
fn now(object: Value, id: ConfigId, r#use: Use) -> Result<String, Vec<String>> {
    let used = References::from([(id.clone(), r#use)]);
    let (seen, missing) = look_at(&Objects::new([object]), &used, None).unwrap();
    seen[&id].now.clone().ok_or(missing)
}

fn digest(pairs: &[(&str, &[u8])]) -> String {
    Digester::default().digest(&pairs.iter().copied().collect())
}

/// A cluster that this policy may not look into.
struct Forbidden;

impl Cluster for Forbidden {
    fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
        Err(LookupError {
            object: object.to_string(),
            cause: Cause::NotGranted {
                api_version: object.api_version.to_owned(),
                kind: object.kind.to_owned(),
            },
        })
    }

    fn list(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
        _: &[&str],
    ) -> Result<Vec<Value>, LookupError> {
        Ok(Vec::new())
    }
}

#[test]
fn each_object_is_read_once() {
    let cluster = Objects::default();
    let db = id(Kind::Secret, "db");
    let used = References::from([(app(), whole()), (db.clone(), optional())]);
    let before = References::from([(app(), only(&["a"])), (id(Kind::Secret, "old"), whole())]);
    let configs = Configs {
        cluster: &cluster,
        namespace: "shop",
        key: None,
    };
    configs.look_at(&used, &[before.clone(), before]).unwrap();
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
    let secret = || id(Kind::Secret, "app");
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
        assert_eq!(now(object, id, whole()), expected, "{case}");
    }
    let empty = Ok(digest(&[]));
    for object in [
        json!({}),
        json!({"data": null, "binaryData": null}),
        json!({"data": {}}),
    ] {
        assert_eq!(
            now(config_map(object.clone()), app(), whole()),
            empty,
            "{object}"
        );
    }
    let text = config_map(json!({"data": {"a": "MQ=="}}));
    assert_eq!(
        now(text, app(), whole()),
        Ok(digest(&[("a", b"MQ==")])),
        "text of a ConfigMap is no base64"
    );
}

#[test]
fn only_the_keys_in_use_count() {
    let object = || config_map(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "Mw=="}}));
    assert_eq!(
        now(object(), app(), only(&["a", "c"])),
        Ok(digest(&[("a", b"1"), ("c", b"3")]))
    );
    let mut optional_key = only(&["a"]);
    optional_key.keys.insert("z".to_owned());
    assert_eq!(
        now(object(), app(), optional_key),
        Ok(digest(&[("a", b"1")])),
        "an optional key that is missing"
    );
}

#[test]
fn what_is_missing_is_told() {
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
            "object of which keys are needed",
            other(),
            only(&["a"]),
            Err("it needs ConfigMap app, which does not exist in namespace shop"),
        ),
        (
            "optional object",
            other(),
            optional(),
            Ok(ABSENT.to_owned()),
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
            now(object, app(), r#use),
            expected.map_err(|missing| vec![missing.to_owned()]),
            "{case}"
        );
    }
}

#[test]
fn a_change_is_measured_by_the_use_of_before() {
    let seen = |used: Use, before: &[Option<Use>]| {
        let cluster = Objects::new([config_map(json!({"data": {"a": "1", "b": "2"}}))]);
        let before: Vec<_> = before
            .iter()
            .map(|before| {
                before
                    .clone()
                    .map(|before| (app(), before))
                    .into_iter()
                    .collect()
            })
            .collect();
        let configs = Configs {
            cluster: &cluster,
            namespace: "shop",
            key: None,
        };
        let (seen, _) = configs.look_at(&[(app(), used)].into(), &before).unwrap();
        seen[&app()].clone()
    };
    let (a, all) = (digest(&[("a", b"1")]), digest(&[("a", b"1"), ("b", b"2")]));
    let of = |now: &str, as_before: &[&str]| Seen {
        now: Some(now.to_owned()),
        as_before: as_before.iter().map(|&digest| digest.to_owned()).collect(),
    };
    assert_eq!(seen(whole(), &[]), of(&all, &[]), "no oldObject");
    assert_eq!(seen(whole(), &[Some(only(&["a"]))]), of(&all, &[&a]));
    assert_eq!(seen(only(&["a"]), &[Some(whole())]), of(&a, &[&all]));
    assert_eq!(
        seen(only(&["a"]), &[Some(only(&["a"])), Some(whole())]),
        of(&a, &[&a, &all]),
        "either use of before"
    );
    assert_eq!(seen(whole(), &[None]), of(&all, &[&all]), "not used before");
    assert_eq!(
        seen(whole(), &[Some(only(&["z"]))]),
        of(&all, &[]),
        "a key that was required then is missing now"
    );
    assert_eq!(
        seen(only(&["z"]), &[Some(whole())]),
        Seen {
            now: None,
            as_before: [all].into()
        },
        "a key that is required now is missing"
    );
}

#[test]
fn an_object_can_leave_itself_out() {
    let used = References::from([(app(), only(&["z"]))]);
    let ignored = config_map(json!({"annotations": {IGNORE: "true"}}));
    assert_eq!(
        look_at(&Objects::new([ignored]), &used, None),
        Ok(View::default()),
        "not even a missing key counts"
    );
    let odd = config_map(json!({"annotations": {IGNORE: "yes"}}));
    assert_eq!(
        look_at(&Objects::new([odd]), &used, None),
        Err("ConfigMap shop/app: annotation rollout-guard/ignore must be \"true\" or \"false\", not \"yes\"".to_owned())
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
        look_at(&away, &used, None),
        Err("ConfigMap shop/app cannot be read: the API server is away".to_owned())
    );
    assert_eq!(
        look_at(&Forbidden, &used, None),
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
            look_at(&Objects::new([object]), &used, None),
            Err(expected.to_owned())
        );
    }
    let used = References::from([(id(Kind::Secret, "db"), whole())]);
    let secret = object("Secret", "db", json!({"data": {"password": "hidden!"}}));
    assert_eq!(
        look_at(&Objects::new([secret]), &used, None),
        Err("Secret shop/db cannot be read: data[\"password\"] is not base64".to_owned())
    );
}

#[test]
fn a_key_makes_digests_that_cannot_be_guessed() {
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
    let used = References::from([(app(), whole()), (id(Kind::Secret, "db"), optional())]);

    let cluster = Objects::new([
        app_object(),
        hash_key(json!({"data": {"key": "Y29ycmVjdCBob3JzZQ=="}})),
    ]);
    let (seen, _) = look_at(&cluster, &used, Some(&key)).unwrap();
    // "one key, keyed" of docs/digest.md
    let expected = "f3cbd14f:fbfa2b2a603626596f2afa8d3d204cc8";
    assert_eq!(seen[&app()].now.as_deref(), Some(expected));
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
        look_at(&unused, &References::new(), Some(&key)),
        Ok(View::default())
    );
    assert!(unused.asked.borrow().is_empty(), "no config, so no key");

    for (case, objects, expected) in [
        (
            "no Secret",
            vec![app_object()],
            "the hash key in key \"key\" of Secret kubewarden/hash-key cannot be used: there is no such Secret",
        ),
        (
            "no key",
            vec![hash_key(json!({"data": {"kei": "eA=="}}))],
            "the hash key in key \"key\" of Secret kubewarden/hash-key cannot be used: the Secret has no such key",
        ),
        (
            "no data",
            vec![hash_key(json!({}))],
            "the hash key in key \"key\" of Secret kubewarden/hash-key cannot be used: the Secret has no such key",
        ),
        (
            "an empty key",
            vec![hash_key(json!({"data": {"key": ""}}))],
            "the hash key in key \"key\" of Secret kubewarden/hash-key cannot be used: the key is empty",
        ),
        (
            "no base64",
            vec![hash_key(json!({"data": {"key": "hidden!"}}))],
            "the hash key in key \"key\" of Secret kubewarden/hash-key cannot be used: data[\"key\"] is not base64",
        ),
    ] {
        assert_eq!(
            look_at(&Objects::new(objects), &used, Some(&key)),
            Err(expected.to_owned()),
            "{case}"
        );
    }
    assert_eq!(
        look_at(&Forbidden, &used, Some(&key)),
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
            .map(|n| (id(Kind::ConfigMap, &format!("c{n}")), optional()))
            .collect()
    };
    let cluster = Objects::default();
    assert_eq!(
        look_at(&cluster, &used(257), None),
        Err("it uses 257 ConfigMaps and Secrets, and at most 256 are read".to_owned())
    );
    assert!(cluster.asked.borrow().is_empty());
    let (seen, _) = look_at(&cluster, &used(256), None).unwrap();
    assert_eq!(seen.len(), 256);
}
