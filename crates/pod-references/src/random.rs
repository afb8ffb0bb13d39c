//! Random pod templates, for tests: few names and keys, so that places share them.

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use serde_json::{Map, Value, json};

/// The names that are drawn; the empty one is in no cluster.
pub const NAMES: [&str; 5] = ["app", "db", "flags", "kube-root-ca.crt", ""];
/// The keys that are drawn.
pub const KEYS: [&str; 3] = ["a", "b", ".dockerconfigjson"];
/// Where items are in a volume.
const PATHS: [&str; 5] = ["p", "a", "dir/p", "dir/a", "./dir//b"];
/// What is mounted of a volume: files and directories of items, files of keys, what is nowhere, and all.
const SUB_PATHS: [&str; 14] = [
    "", "p", "a", "b", "dir", "dir/p", "./a", "a/", "dir//a/.", "nowhere", "p/below", "a/below",
    "..data", ".",
];
/// How many volumes a pod has at most; one more is mounted.
const VOLUMES: usize = 4;

/// A pod template that the API server could send, or nearly.
pub fn pod_template() -> impl Strategy<Value = Value> {
    let labels = option::of(Just(json!({"labels": {"app": "web"}})));
    (labels, pod_spec())
        .prop_map(|(metadata, spec)| object([("metadata", metadata), ("spec", Some(spec))]))
}

fn pod_spec() -> impl Strategy<Value = Value> {
    let names = (
        option::of(name()),
        option::of(prop_oneof![4 => name(), 1 => Just(json!("system-node-critical"))]),
        option::of(name()),
    );
    (
        list(volume(), VOLUMES).prop_map(with_names),
        list(container(), 2),
        list(container(), 3),
        list(field("name", name()), 2),
        names,
    )
        .prop_map(|(volumes, init, containers, pull, names)| {
            let (account, priority, runtime) = names;
            object([
                ("volumes", volumes),
                ("initContainers", init),
                ("containers", containers.or(Some(json!([])))),
                ("imagePullSecrets", pull),
                ("serviceAccountName", account),
                ("priorityClassName", priority),
                ("runtimeClassName", runtime),
            ])
        })
}

/// The volumes `v0`, `v1`, …
fn with_names(volumes: Option<Value>) -> Option<Value> {
    let mut volumes = volumes?;
    for (number, volume) in volumes.as_array_mut().into_iter().flatten().enumerate() {
        volume["name"] = volume_name(number);
    }
    Some(volumes)
}

fn volume_name(number: usize) -> Value {
    format!("v{number}").into()
}

fn mount() -> impl Strategy<Value = Value> {
    let volume = (0..=VOLUMES).prop_map(volume_name);
    let sub_path = option::weighted(0.8, select(&SUB_PATHS[..]).prop_map(Value::from));
    let expression = prop_oneof![
        16 => Just(None),
        1 => Just(Some(json!(""))),
        1 => Just(Some(json!("$(POD)"))),
    ];
    (volume, sub_path, expression).prop_map(|(volume, sub_path, expression)| {
        object([
            ("name", Some(volume)),
            ("mountPath", Some(json!("/x"))),
            ("subPath", sub_path),
            ("subPathExpr", expression),
        ])
    })
}

fn volume() -> impl Strategy<Value = Value> {
    let credentials = |driver: &'static str, reference: &'static str| {
        field(driver, field(reference, field("name", name()))).boxed()
    };
    let drivers = [
        "cephfs",
        "cinder",
        "flexVolume",
        "iscsi",
        "rbd",
        "scaleIO",
        "storageos",
    ]
    .map(|driver| credentials(driver, "secretRef"));
    prop_oneof![
        4 => field("configMap", source("name")),
        4 => field("secret", source("secretName")),
        4 => field("projected", list(projection(), 3).prop_map(|sources| object([("sources", sources)]))),
        1 => field("persistentVolumeClaim", field("claimName", name())),
        1 => Union::new(drivers),
        1 => credentials("csi", "nodePublishSecretRef"),
        1 => field("azureFile", field("secretName", name())),
        1 => secrets_store(),
        1 => field("ephemeral", field("volumeClaimTemplate", claim())),
        1 => Just(json!({"emptyDir": {}})),
    ]
}

/// Of a driver of the Secrets Store, or of another one with the same attribute.
fn secrets_store() -> impl Strategy<Value = Value> {
    let drivers = vec![
        "secrets-store.csi.k8s.io",
        "secrets-store-gke.csi.k8s.io",
        "csi.example.com",
    ];
    let attributes = option::of(field("secretProviderClass", name()));
    let login = option::of(field("name", name()));
    (select(drivers), attributes, login).prop_map(|(driver, attributes, login)| {
        json!({"csi": object([
            ("driver", Some(driver.into())),
            ("volumeAttributes", attributes),
            ("nodePublishSecretRef", login),
        ])})
    })
}

/// A claim, or a template of one: its StorageClass in the field, in the old annotation, in both or in none.
fn claim() -> impl Strategy<Value = Value> {
    let old = field("volume.beta.kubernetes.io/storage-class", name());
    let metadata = option::weighted(0.2, field("annotations", old));
    let spec = option::of(name()).prop_map(|class| object([("storageClassName", class)]));
    (metadata, spec)
        .prop_map(|(metadata, spec)| object([("metadata", metadata), ("spec", Some(spec))]))
}

fn projection() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => field("configMap", source("name")),
        3 => field("secret", source("name")),
        1 => Just(json!({"serviceAccountToken": {"path": "token"}})),
        1 => Just(json!({"configMap": null})),
    ]
}

fn source(name_field: &'static str) -> impl Strategy<Value = Value> {
    let item =
        (key(), select(&PATHS[..])).prop_map(|(key, path)| json!({"key": key, "path": path}));
    let items = list(item, 3);
    (name(), items, optional()).prop_map(move |(name, items, optional)| {
        object([
            (name_field, Some(name)),
            ("items", items),
            ("optional", optional),
        ])
    })
}

fn container() -> impl Strategy<Value = Value> {
    let whole = (name(), optional())
        .prop_map(|(name, optional)| object([("name", Some(name)), ("optional", optional)]));
    let env_from = (select(vec!["configMapRef", "secretRef"]), whole)
        .prop_map(|(kind, whole)| object([(kind, Some(whole))]));
    let one = (name(), key(), optional()).prop_map(|(name, key, optional)| {
        object([
            ("name", Some(name)),
            ("key", Some(key)),
            ("optional", optional),
        ])
    });
    let env = (
        select(vec!["configMapKeyRef", "secretKeyRef", "fieldRef"]),
        one,
    )
        .prop_map(|(kind, one)| match kind {
            "fieldRef" => json!({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}),
            kind => json!({"name": "X", "valueFrom": {kind: one}}),
        });
    (list(env, 3), list(env_from, 2), list(mount(), 3)).prop_map(|(env, env_from, mounts)| {
        object([
            ("name", Some(json!("web"))),
            ("env", env),
            ("envFrom", env_from),
            ("volumeMounts", mounts),
        ])
    })
}

fn name() -> impl Strategy<Value = Value> {
    // The empty one now and then.
    prop_oneof![20 => select(&NAMES[..3]), 1 => select(&NAMES[..])].prop_map(Value::from)
}

fn key() -> impl Strategy<Value = Value> {
    select(&KEYS[..]).prop_map(Value::from)
}

fn optional() -> impl Strategy<Value = Option<Value>> {
    let written = prop_oneof![Just(json!(true)), Just(json!(false)), Just(Value::Null)];
    option::of(written)
}

/// No list, `null`, or a short one.
fn list(
    entry: impl Strategy<Value = Value> + 'static,
    max: usize,
) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        6 => vec(entry, 0..=max).prop_map(|entries| Some(Value::from(entries))),
    ]
}

fn field(name: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    value.prop_map(move |value| object([(name, Some(value))]))
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Map<_, _>>()
        .into()
}
