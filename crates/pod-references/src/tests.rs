//! Every place of a pod template that names an object.

mod kubelet;

use serde_json::json;

use super::*;

pub(crate) fn shown(need: &Need) -> String {
    let keys = match &need.keys {
        Keys::All => String::new(),
        Keys::Only(keys) => format!(" {keys:?}"),
    };
    let optional = if need.optional { " optional" } else { "" };
    let purpose = match need.purpose {
        Purpose::Config => "",
        Purpose::Start => " to start",
        Purpose::ImagePull => " to pull",
    };
    format!("{} {}{keys}{optional}{purpose}", need.kind, need.name)
}

#[track_caller]
fn assert_needs(case: &str, spec: Value, expected: &[&str]) {
    let needs = needs(&json!({"spec": spec}), "").unwrap();
    let shown: Vec<_> = needs.iter().map(shown).collect();
    assert_eq!(shown, expected, "{case}");
}

#[track_caller]
fn assert_refused(case: &str, template: Value, expected: &str) {
    let workload = json!({"spec": {"template": template}});
    let refused = needs(&workload, "spec.template").unwrap_err();
    assert_eq!(refused.to_string(), expected, "{case}");
}

/// A pod whose container mounts each of these volumes.
fn mounted(mut volumes: Value) -> Value {
    let mut mounts = Vec::new();
    for (number, volume) in volumes.as_array_mut().unwrap().iter_mut().enumerate() {
        let name = format!("v{number}");
        volume["name"] = json!(name);
        mounts.push(json!({"name": name, "mountPath": "/"}));
    }
    json!({"volumes": volumes, "containers": [{"volumeMounts": mounts}]})
}

#[test]
fn volumes() {
    let volume = |source: Value| mounted(json!([source]));
    let items = json!([{"key": "b", "path": "b"}, {"key": "a", "path": "x/a", "mode": 256}]);
    for (case, source, expected) in [
        (
            "configMap",
            json!({"configMap": {"name": "app", "defaultMode": 420}}),
            "ConfigMap app",
        ),
        (
            "configMap with items",
            json!({"configMap": {"name": "app", "items": items}}),
            r#"ConfigMap app {"a", "b"}"#,
        ),
        (
            "configMap with no items",
            json!({"configMap": {"name": "app", "items": []}}),
            "ConfigMap app",
        ),
        (
            "configMap with null items",
            json!({"configMap": {"name": "app", "items": null}}),
            "ConfigMap app",
        ),
        (
            "optional configMap",
            json!({"configMap": {"name": "app", "optional": true}}),
            "ConfigMap app optional",
        ),
        (
            "configMap that is not optional",
            json!({"configMap": {"name": "app", "optional": false}}),
            "ConfigMap app",
        ),
        (
            "configMap with optional null",
            json!({"configMap": {"name": "app", "optional": null}}),
            "ConfigMap app",
        ),
        (
            "secret",
            json!({"secret": {"secretName": "db"}}),
            "Secret db",
        ),
        (
            "optional secret with items",
            json!({"secret": {"secretName": "db", "items": items, "optional": true}}),
            r#"Secret db {"a", "b"} optional"#,
        ),
        (
            "projected configMap",
            json!({"projected": {"sources": [{"configMap": {"name": "app"}}]}}),
            "ConfigMap app",
        ),
        (
            "projected configMap with items",
            json!({"projected": {"sources": [{"configMap": {"name": "app", "items": items, "optional": true}}]}}),
            r#"ConfigMap app {"a", "b"} optional"#,
        ),
        (
            "projected secret, which is named otherwise than a secret volume",
            json!({"projected": {"sources": [{"secret": {"name": "db", "items": items}}]}}),
            r#"Secret db {"a", "b"}"#,
        ),
        (
            "claim",
            json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}}),
            "PersistentVolumeClaim data to start",
        ),
        (
            "claim of an ephemeral volume",
            json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}),
            "StorageClass fast to start",
        ),
        (
            "class of the Secrets Store",
            json!({"csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "vault"}}}),
            "SecretProviderClass vault to start",
        ),
        (
            "class of the Secrets Store on GKE",
            json!({"csi": {"driver": "secrets-store-gke.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "vault"}}}),
            "SecretProviderClass vault to start",
        ),
    ] {
        assert_needs(case, volume(source), &[expected]);
    }
    assert_needs(
        "sources in order, and those that name nothing of ours",
        volume(json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "b"}}, {"downwardAPI": {"items": []}},
            {"configMap": {"name": "c"}}, {"clusterTrustBundle": {"name": "x", "path": "y"}}, {"secret": {"name": "a"}},
        ]}})),
        &["Secret b", "ConfigMap c", "Secret a"],
    );
    assert_needs(
        "other volumes",
        mounted(json!([
            {"emptyDir": {}}, {"hostPath": {"path": "/x"}}, {},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"csi": {"driver": "d", "volumeAttributes": {"secretProviderClass": "another driver's"}}},
            {"csi": {"driver": "secrets-store.csi.k8s.io"}},
        ])),
        &[],
    );
}

#[test]
fn only_volumes_that_a_container_mounts_are_set_up() {
    let volumes = json!([
        {"name": "a", "configMap": {"name": "app", "items": [{"key": "a", "path": "a"}]}},
        {"name": "b", "secret": {"secretName": "db"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "tls"}}, {"configMap": {"name": "ca"}}]}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}},
        {"name": "f", "csi": {"driver": "secrets-store.csi.k8s.io", "nodePublishSecretRef": {"name": "login"}, "volumeAttributes": {"secretProviderClass": "vault"}}},
        {"name": "g", "rbd": {"secretRef": {"name": "ceph"}}},
        {"name": "h", "azureFile": {"secretName": "share"}},
        {"configMap": {"name": "nameless"}},
        null,
    ]);
    let storage = [
        "PersistentVolumeClaim data to start",
        "StorageClass fast to start",
    ];
    for (case, containers) in [
        ("no containers", json!({})),
        (
            "containers without mounts",
            json!({"containers": [{}, null], "initContainers": [{"volumeMounts": []}]}),
        ),
        (
            "mounts of other volumes",
            json!({"containers": [{"volumeMounts": [{"name": "z"}, {"name": "aa"}, {"name": "A", "subPath": "a"}]}]}),
        ),
        (
            "a name that would be the path of a mount",
            json!({"containers": [{"volumeMounts": [{"name": "a/"}, {"name": "/a"}, {"name": "1/a/"}, {"name": "a/x"}]}]}),
        ),
        (
            "a block device",
            json!({"containers": [{"volumeDevices": [{"name": "d", "devicePath": "/dev/d"}]}]}),
        ),
        (
            "a container of a kind that templates do not have",
            json!({"ephemeralContainers": [{"volumeMounts": [{"name": "a"}]}]}),
        ),
    ] {
        let mut spec = containers;
        spec["volumes"] = volumes.clone();
        assert_needs(case, spec, &storage);
    }
    for containers in ["containers", "initContainers"] {
        let mounts = ["h", "f", "c", "a", "g", "b", "a"].map(|name| json!({"name": name}));
        let (some, more) = mounts.split_at(3);
        assert_needs(
            containers,
            json!({"volumes": volumes, containers: [{"volumeMounts": some}, {"volumeMounts": more}]}),
            &[
                r#"ConfigMap app {"a"}"#,
                "Secret db",
                "Secret tls",
                "ConfigMap ca",
                storage[0],
                storage[1],
                "SecretProviderClass vault to start",
                "Secret login to start",
                "Secret ceph to start",
                "Secret share to start",
            ],
        );
    }
}

/// A pod with one volume, which is mounted in these ways, each in a container of its own.
fn mounted_at(source: Value, mounts: Value) -> Value {
    let mut volume = source;
    volume["name"] = json!("v");
    let mounts = mounts.as_array().unwrap().iter().map(|mount| {
        let mut mount = mount.clone();
        mount["name"] = json!("v");
        json!({"volumeMounts": [mount]})
    });
    json!({"volumes": [volume], "containers": mounts.collect::<Vec<_>>()})
}

#[test]
fn a_sub_path_shows_one_key() {
    let all = json!({"configMap": {"name": "app"}});
    for (case, mounts, expected) in [
        ("one", json!([{"subPath": "a"}]), r#"ConfigMap app {"a"}"#),
        (
            "two, one of them twice",
            json!([{"subPath": "b"}, {"subPath": "a"}, {"subPath": "b"}]),
            r#"ConfigMap app {"a", "b"}"#,
        ),
        (
            "and the volume elsewhere",
            json!([{"subPath": "a"}, {}, {"subPath": "b"}]),
            "ConfigMap app",
        ),
        ("empty", json!([{"subPath": ""}]), "ConfigMap app"),
        ("null", json!([{"subPath": null}]), "ConfigMap app"),
        (
            "the volume itself",
            json!([{"subPath": "./"}]),
            "ConfigMap app",
        ),
        (
            "written otherwise",
            json!([{"subPath": "./a"}, {"subPath": "b/"}, {"subPath": ".//c"}, {"subPath": "/d"}]),
            r#"ConfigMap app {"a", "b", "c", "d"}"#,
        ),
        (
            "below a key",
            json!([{"subPath": "a/b/c"}]),
            r#"ConfigMap app {"a"}"#,
        ),
        (
            "the names of others are their beginnings",
            json!([{"subPath": "a"}, {"subPath": "a-b"}, {"subPath": "a.b"}, {"subPath": "ab"}]),
            r#"ConfigMap app {"a", "a-b", "a.b", "ab"}"#,
        ),
        (
            "an expression",
            json!([{"subPathExpr": "$(POD)"}]),
            "ConfigMap app",
        ),
        (
            "an expression beside a path",
            json!([{"subPathExpr": "$(POD)", "subPath": "a"}]),
            "ConfigMap app",
        ),
        (
            "an empty expression",
            json!([{"subPathExpr": "", "subPath": "a"}]),
            r#"ConfigMap app {"a"}"#,
        ),
        (
            "a key that begins with a dot",
            json!([{"subPath": ".dockerconfigjson"}]),
            r#"ConfigMap app {".dockerconfigjson"}"#,
        ),
        (
            "the directory that the kubelet keeps the files in",
            json!([{"subPath": "..data/a"}]),
            "ConfigMap app",
        ),
        (
            "the same, written otherwise",
            json!([{"subPath": "./..data"}]),
            "ConfigMap app",
        ),
        (
            "what the API server refuses",
            json!([{"subPath": "../a"}]),
            "ConfigMap app",
        ),
    ] {
        assert_needs(case, mounted_at(all.clone(), mounts), &[expected]);
    }
    let a = json!([{"subPath": "a"}]);
    for (case, source, expected) in [
        (
            "a Secret",
            json!({"secret": {"secretName": "db"}}),
            r#"Secret db {"a"}"#,
        ),
        (
            "an optional Secret",
            json!({"secret": {"secretName": "db", "optional": true}}),
            r#"Secret db {"a"} optional"#,
        ),
        (
            "the only source of a projected volume",
            json!({"projected": {"sources": [{"secret": {"name": "db"}}]}}),
            r#"Secret db {"a"}"#,
        ),
        (
            "storage, which is there as a whole",
            json!({"persistentVolumeClaim": {"claimName": "data"}}),
            "PersistentVolumeClaim data to start",
        ),
        (
            "credentials, which no container sees",
            json!({"azureFile": {"secretName": "share"}}),
            "Secret share to start",
        ),
    ] {
        assert_needs(case, mounted_at(source, a.clone()), &[expected]);
    }
}

#[test]
fn a_sub_path_shows_the_items_below_it() {
    let items = json!([
        {"key": "a", "path": "dir/one"}, {"key": "b", "path": "dir/two"}, {"key": "c", "path": "dir-2"},
        {"key": "d", "path": "deep/dir/one"},
    ]);
    let required = json!({"configMap": {"name": "app", "items": items}});
    let optional = json!({"secret": {"secretName": "db", "optional": true, "items": items}});
    for (case, source, mounts, expected) in [
        (
            "all",
            &required,
            json!([{}, {"subPath": "dir"}]),
            &[r#"ConfigMap app {"a", "b", "c", "d"}"#][..],
        ),
        (
            "a directory",
            &required,
            json!([{"subPath": "dir"}]),
            &[
                r#"ConfigMap app {"a", "b"}"#,
                r#"ConfigMap app {"c", "d"} to start"#,
            ],
        ),
        (
            "a file in a directory",
            &required,
            json!([{"subPath": "./dir//two/"}]),
            &[
                r#"ConfigMap app {"b"}"#,
                r#"ConfigMap app {"a", "c", "d"} to start"#,
            ],
        ),
        (
            "a directory, a file in it, and the others",
            &required,
            json!([{"subPath": "dir"}, {"subPath": "dir/one"}, {"subPath": "deep"}, {"subPath": "dir-2"}]),
            &[r#"ConfigMap app {"a", "b", "c", "d"}"#],
        ),
        (
            "nothing: a key is not a path, nor is the beginning of one",
            &required,
            json!([{"subPath": "a"}, {"subPath": "di"}, {"subPath": "dir-2/below"}]),
            &[
                "ConfigMap app {}",
                r#"ConfigMap app {"a", "b", "c", "d"} to start"#,
            ],
        ),
        (
            "a file of an optional one, which needs no more",
            &optional,
            json!([{"subPath": "dir/one"}]),
            &[r#"Secret db {"a"} optional"#],
        ),
        (
            "nothing of an optional one, which nobody needs",
            &optional,
            json!([{"subPath": "nowhere"}]),
            &[],
        ),
    ] {
        assert_needs(case, mounted_at(source.clone(), mounts), expected);
    }
    let odd = json!([
        {"key": "a", "path": "./x//y/"}, {"key": "b"}, {"key": "c", "path": null}, {"key": "d", "path": "x/z"}, {"key": "d", "path": "x/y/d"},
    ]);
    assert_needs(
        "paths of items that are written otherwise, or missing; and a key with two paths",
        mounted_at(
            json!({"configMap": {"name": "app", "items": odd}}),
            json!([{"subPath": "x/y"}]),
        ),
        &[
            r#"ConfigMap app {"a", "d"}"#,
            r#"ConfigMap app {"b", "c", "d"} to start"#,
        ],
    );
}

#[test]
fn the_sources_of_a_projected_volume_share_its_paths() {
    let a = json!([{"subPath": "a"}]);
    for (case, sources, expected) in [
        (
            "each may have the key",
            json!([{"secret": {"name": "db"}}, {"configMap": {"name": "app"}}]),
            &[
                "Secret db {}",
                r#"Secret db {"a"} optional"#,
                "ConfigMap app {}",
                r#"ConfigMap app {"a"} optional"#,
            ][..],
        ),
        (
            "it is the path of an item, and may be a key",
            json!([{"secret": {"name": "db", "items": [{"key": "k", "path": "a"}]}}, {"configMap": {"name": "app", "optional": true}}]),
            &[r#"Secret db {"k"}"#, r#"ConfigMap app {"a"} optional"#],
        ),
        (
            "it may be a file of another kind",
            json!([{"secret": {"name": "db"}}, {"serviceAccountToken": {"path": "a"}}]),
            &["Secret db {}", r#"Secret db {"a"} optional"#],
        ),
        (
            "it is the path of one item",
            json!([
                {"secret": {"name": "db", "items": [{"key": "a", "path": "b"}]}},
                {"configMap": {"name": "app", "items": [{"key": "b", "path": "a"}]}},
            ]),
            &[
                "Secret db {}",
                r#"Secret db {"a"} to start"#,
                r#"ConfigMap app {"b"}"#,
            ],
        ),
    ] {
        let volume = json!({"projected": {"sources": sources}});
        assert_needs(case, mounted_at(volume, a.clone()), expected);
    }
}

/// Each of many sources may have each of many keys.
#[test]
fn keys_are_known_as_far_as_there_are_not_too_many() {
    let sources = |count: usize| json!({"projected": {"sources": vec![json!({"secret": {"name": "db", "optional": true}}); count]}});
    let mounts = (0..100).map(|number| json!({"subPath": number.to_string()}));
    let mounts = Value::from_iter(mounts);
    let known = |count| {
        let spec = mounted_at(sources(count), mounts.clone());
        let needs = needs(&json!({"spec": spec}), "").unwrap();
        let known = needs.iter().filter(|need| need.keys != Keys::All);
        (needs.len(), known.count())
    };
    let most = mounts::MAX_KEYS / 100;
    assert_eq!(known(most), (most, most));
    assert_eq!(known(most + 9), (most + 9, most));
}

#[test]
fn credentials_of_volume_drivers() {
    let reference = json!({"name": "login"});
    for (driver, source) in [
        (
            "azureFile",
            json!({"secretName": "login", "shareName": "s"}),
        ),
        ("cephfs", json!({"monitors": [], "secretRef": reference})),
        ("cinder", json!({"volumeID": "v", "secretRef": reference})),
        (
            "csi",
            json!({"driver": "d", "nodePublishSecretRef": reference}),
        ),
        ("flexVolume", json!({"driver": "d", "secretRef": reference})),
        ("iscsi", json!({"iqn": "i", "secretRef": reference})),
        ("rbd", json!({"image": "i", "secretRef": reference})),
        ("scaleIO", json!({"gateway": "g", "secretRef": reference})),
        (
            "storageos",
            json!({"volumeName": "v", "secretRef": reference}),
        ),
    ] {
        assert_needs(
            driver,
            mounted(json!([{driver: source}])),
            &["Secret login to start"],
        );
        assert_needs(driver, mounted(json!([{driver: {"secretRef": null}}])), &[]);
    }
}

#[test]
fn containers() {
    for field in ["containers", "initContainers"] {
        let container = |container: Value| json!({field: [container]});
        for (case, source, expected) in [
            (
                "key of a ConfigMap",
                json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}}]}),
                r#"ConfigMap app {"a"}"#,
            ),
            (
                "optional key of a ConfigMap",
                json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a", "optional": true}}}]}),
                r#"ConfigMap app {"a"} optional"#,
            ),
            (
                "key of a Secret",
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}}]}),
                r#"Secret db {"a"}"#,
            ),
            (
                "optional key of a Secret",
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a", "optional": true}}}]}),
                r#"Secret db {"a"} optional"#,
            ),
            (
                "all of a ConfigMap",
                json!({"envFrom": [{"prefix": "X_", "configMapRef": {"name": "app"}}]}),
                "ConfigMap app",
            ),
            (
                "optionally all of a ConfigMap",
                json!({"envFrom": [{"configMapRef": {"name": "app", "optional": true}}]}),
                "ConfigMap app optional",
            ),
            (
                "all of a Secret",
                json!({"envFrom": [{"secretRef": {"name": "db"}}]}),
                "Secret db",
            ),
            (
                "optionally all of a Secret",
                json!({"envFrom": [{"secretRef": {"name": "db", "optional": true}}]}),
                "Secret db optional",
            ),
        ] {
            assert_needs(case, container(source), &[expected]);
        }
        assert_needs(
            "environment that comes from elsewhere",
            container(json!({"env": [
                {"name": "A", "value": "x"}, {"name": "B"}, {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "E", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}},
            ]})),
            &[],
        );
    }
}

#[test]
fn the_rest_of_the_pod() {
    assert_needs(
        "pull Secrets, without which a pod starts",
        json!({"imagePullSecrets": [{"name": "hub"}, {"name": "quay"}]}),
        &[
            "Secret hub optional to pull",
            "Secret quay optional to pull",
        ],
    );
    let account = "ServiceAccount web to start";
    assert_needs(
        "service account",
        json!({"serviceAccountName": "web"}),
        &[account],
    );
    assert_needs(
        "service account by its old name",
        json!({"serviceAccount": "web"}),
        &[account],
    );
    assert_needs(
        "service account by both names, as the API server writes it",
        json!({"serviceAccount": "web", "serviceAccountName": "web"}),
        &[account],
    );
    assert_needs(
        "an empty new name",
        json!({"serviceAccount": "web", "serviceAccountName": ""}),
        &[account],
    );
    assert_needs(
        "the new name wins",
        json!({"serviceAccount": "old", "serviceAccountName": "web"}),
        &[account],
    );
    assert_needs(
        "classes",
        json!({"runtimeClassName": "kata", "priorityClassName": "urgent"}),
        &[
            "PriorityClass urgent to start",
            "RuntimeClass kata to start",
        ],
    );
    for built_in in ["system-node-critical", "system-cluster-critical"] {
        assert_needs(built_in, json!({"priorityClassName": built_in}), &[]);
    }
}

#[test]
fn claims() {
    const OLD: &str = "volume.beta.kubernetes.io/storage-class";
    let fast = "StorageClass fast to start";
    for (case, claim, expected) in [
        (
            "by its field",
            json!({"spec": {"storageClassName": "fast"}}),
            &[fast][..],
        ),
        (
            "by its annotation",
            json!({"metadata": {"annotations": {OLD: "fast"}}, "spec": {}}),
            &[fast],
        ),
        (
            "the annotation wins",
            json!({"metadata": {"annotations": {OLD: "fast"}}, "spec": {"storageClassName": "slow"}}),
            &[fast],
        ),
        (
            "an empty annotation, which means no class, wins too",
            json!({"metadata": {"annotations": {OLD: ""}}, "spec": {"storageClassName": "slow"}}),
            &[],
        ),
        (
            "other annotations",
            json!({"metadata": {"annotations": {"a": 1}}, "spec": {"storageClassName": "fast"}}),
            &[fast],
        ),
        ("the default class", json!({"spec": {}}), &[]),
        ("no class", json!({"spec": {"storageClassName": ""}}), &[]),
        ("nothing", json!({"metadata": null, "spec": null}), &[]),
        ("null", Value::Null, &[]),
    ] {
        let of = |needs: Result<Vec<Need>, WrongShape>| {
            let needs = needs.unwrap();
            needs.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(of(claim_needs(&claim, "")), expected, "{case}");
        let twice = json!({"spec": {"volumeClaimTemplates": [claim, claim]}});
        let expected = [expected, expected].concat();
        assert_eq!(of(claim_template_needs(&twice)), expected, "{case}, twice");
    }
    for none in [
        json!({}),
        json!({"spec": {}}),
        json!({"spec": {"volumeClaimTemplates": null}}),
    ] {
        assert_eq!(claim_template_needs(&none), Ok(Vec::new()), "{none}");
    }
}

#[test]
fn a_claim_replaces_the_volume_of_its_name() {
    let pods = json!({"spec": {
        "volumes": [
            {"name": "data", "configMap": {"name": "old"}},
            {"name": "claimed", "persistentVolumeClaim": {"claimName": "old"}},
            {"name": "conf", "configMap": {"name": "app"}},
        ],
        "containers": [{"volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"}]}],
    }});
    let claim = |name: &str| json!({"metadata": {"name": name}});
    for (claims, expected) in [
        (
            json!([claim("data"), claim("claimed")]),
            &["ConfigMap app"] as &[_],
        ),
        (
            json!([claim("Data"), {}, 1]),
            &[
                "ConfigMap old",
                "PersistentVolumeClaim old to start",
                "ConfigMap app",
            ],
        ),
    ] {
        let workload = json!({"spec": {"template": pods, "volumeClaimTemplates": claims}});
        let needs = needs(&workload, "spec.template").unwrap();
        let shown: Vec<_> = needs.iter().map(shown).collect();
        assert_eq!(shown, expected, "{claims}");
    }
}

#[test]
fn a_claim_of_the_wrong_shape_is_an_error_with_its_path() {
    let refused = |needs: Result<Vec<Need>, WrongShape>| needs.unwrap_err().to_string();
    assert_eq!(
        refused(claim_needs(&json!({"spec": {"storageClassName": 1}}), "")),
        "spec.storageClassName: expected a string, not a number"
    );
    assert_eq!(
        refused(claim_template_needs(
            &json!({"spec": {"volumeClaimTemplates": [{}, {"spec": "fast"}]}})
        )),
        "spec.volumeClaimTemplates[1].spec: expected an object, not a string"
    );
    assert_eq!(
        refused(claim_template_needs(
            &json!({"spec": {"volumeClaimTemplates": {}}})
        )),
        "spec.volumeClaimTemplates: expected a list, not an object"
    );
}

#[test]
fn where_objects_of_a_kind_are() {
    for (kind, name, group, is_cluster_scoped) in [
        (Kind::ConfigMap, "ConfigMap", "", false),
        (Kind::Secret, "Secret", "", false),
        (Kind::ServiceAccount, "ServiceAccount", "", false),
        (
            Kind::PersistentVolumeClaim,
            "PersistentVolumeClaim",
            "",
            false,
        ),
        (
            Kind::PriorityClass,
            "PriorityClass",
            "scheduling.k8s.io",
            true,
        ),
        (Kind::RuntimeClass, "RuntimeClass", "node.k8s.io", true),
        (
            Kind::SecretProviderClass,
            "SecretProviderClass",
            "secrets-store.csi.x-k8s.io",
            false,
        ),
        (Kind::StorageClass, "StorageClass", "storage.k8s.io", true),
    ] {
        let found = (kind.name(), kind.group(), kind.is_cluster_scoped());
        assert_eq!(found, (name, group, is_cluster_scoped));
    }
}

#[test]
fn needs_are_in_the_order_of_the_template_each_place_once() {
    assert_needs(
        "all at once",
        json!({
            "runtimeClassName": "kata",
            "serviceAccountName": "web",
            "imagePullSecrets": [{"name": "hub"}],
            "containers": [
                {"envFrom": [{"secretRef": {"name": "e"}, "configMapRef": {"name": "d"}}],
                 "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "e", "key": "k"}}}]},
                {"envFrom": [{"configMapRef": {"name": "d"}}], "volumeMounts": [{"name": "w"}, {"name": "v"}]},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "b"}}, {"name": "w", "configMap": {"name": "a"}}],
        }),
        &[
            "Secret b",
            "ConfigMap a",
            "ConfigMap c",
            "ConfigMap d",
            "Secret e",
            r#"Secret e {"k"}"#,
            "ConfigMap d",
            "Secret hub optional to pull",
            "ServiceAccount web to start",
            "RuntimeClass kata to start",
        ],
    );
}

#[test]
fn what_is_not_there_is_not_needed() {
    for template in [
        Value::Null,
        json!({}),
        json!({"spec": null}),
        json!({"spec": {}}),
    ] {
        assert_eq!(needs(&template, ""), Ok(Vec::new()), "{template}");
        let workload = json!({"spec": {"template": template}});
        let needs = needs(&workload, "spec.template");
        assert_eq!(needs, Ok(Vec::new()), "{workload}");
    }
    let no_template = needs(&json!({"spec": {}}), "spec.template");
    assert_eq!(no_template, Ok(Vec::new()));
    for (case, spec) in [
        (
            "null fields",
            json!({"volumes": null, "containers": null, "initContainers": null, "imagePullSecrets": null, "serviceAccountName": null, "serviceAccount": null, "priorityClassName": null, "runtimeClassName": null}),
        ),
        (
            "null entries",
            json!({"volumes": [null], "containers": [null], "initContainers": [null], "imagePullSecrets": [null]}),
        ),
        (
            "null sources",
            json!({
                "volumes": [{"configMap": null, "secret": null, "projected": null, "persistentVolumeClaim": null, "csi": null, "ephemeral": null, "azureFile": null}, {"ephemeral": {"volumeClaimTemplate": null}}, {"csi": {"driver": null}}, {"projected": {"sources": null}}, {"projected": {"sources": [null, {"secret": null}]}}],
                "containers": [{"env": null, "envFrom": null, "volumeMounts": null}, {"volumeMounts": [null, {"name": null, "subPath": null, "subPathExpr": null}], "env": [null, {"valueFrom": null}, {"valueFrom": {"configMapKeyRef": null, "secretKeyRef": null}}], "envFrom": [null, {"configMapRef": null, "secretRef": null}]}],
            }),
        ),
        (
            "empty names, which the API server refuses or no object has",
            json!({
                "volumes": [{"configMap": {"name": ""}}, {"secret": {"secretName": ""}}, {"secret": {}}, {"persistentVolumeClaim": {"claimName": ""}}, {"projected": {"sources": [{"secret": {"name": null}}]}}],
                "containers": [{"volumeMounts": [{}], "envFrom": [{"configMapRef": {}}], "env": [{"valueFrom": {"secretKeyRef": {"name": "", "key": "k"}}}]}],
                "imagePullSecrets": [{}, {"name": ""}],
                "serviceAccountName": "", "priorityClassName": "", "runtimeClassName": "",
            }),
        ),
    ] {
        assert_needs(case, spec, &[]);
    }
}

#[test]
fn a_wrong_shape_is_an_error_with_its_path() {
    for (case, template, expected) in [
        (
            "a template that is a text",
            json!("x"),
            "spec.template: expected an object, not a string",
        ),
        (
            "a spec that is a text",
            json!({"spec": "x"}),
            "spec.template.spec: expected an object, not a string",
        ),
        (
            "a container that is a text",
            json!({"spec": {"containers": [{}, "x"]}}),
            "spec.template.spec.containers[1]: expected an object, not a string",
        ),
        (
            "a name that is a number",
            json!({"spec": {"volumes": [{}, {"configMap": {"name": 1}}]}}),
            "spec.template.spec.volumes[1].configMap.name: expected a string, not a number",
        ),
        (
            "optional that is a text",
            json!({"spec": {"volumes": [{"projected": {"sources": [{"secret": {"name": "a", "optional": "yes"}}]}}]}}),
            "spec.template.spec.volumes[0].projected.sources[0].secret.optional: expected true or false, not a string",
        ),
        (
            "an item without key",
            json!({"spec": {"volumes": [{"secret": {"secretName": "a", "items": [{"path": "p"}]}}]}}),
            "spec.template.spec.volumes[0].secret.items[0]: missing field `key`",
        ),
        (
            "a reference without key",
            json!({"spec": {"initContainers": [{"env": [{}, {}, {"valueFrom": {"configMapKeyRef": {"name": "a"}}}]}]}}),
            "spec.template.spec.initContainers[0].env[2].valueFrom.configMapKeyRef: missing field `key`",
        ),
        (
            "a key that is null",
            json!({"spec": {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a", "key": null}}}]}]}}),
            "spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef: missing field `key`",
        ),
        (
            "a list that is an object",
            json!({"spec": {"containers": [{"envFrom": {}}]}}),
            "spec.template.spec.containers[0].envFrom: expected a list, not an object",
        ),
        (
            "pull Secrets as names",
            json!({"spec": {"imagePullSecrets": ["hub"]}}),
            "spec.template.spec.imagePullSecrets[0]: expected an object, not a string",
        ),
        (
            "a claim that is a text",
            json!({"spec": {"volumes": [{"persistentVolumeClaim": "data"}]}}),
            "spec.template.spec.volumes[0].persistentVolumeClaim: expected an object, not a string",
        ),
        (
            "a volume whose name is a number",
            json!({"spec": {"volumes": [{"name": 1, "emptyDir": {}}]}}),
            "spec.template.spec.volumes[0].name: expected a string, not a number",
        ),
        (
            "a path of an item that is a list",
            json!({"spec": {"volumes": [{"configMap": {"items": [{"key": "a", "path": []}]}}]}}),
            "spec.template.spec.volumes[0].configMap.items[0].path: expected a string, not a list",
        ),
        (
            "mounts as names",
            json!({"spec": {"containers": [{"volumeMounts": ["conf"]}]}}),
            "spec.template.spec.containers[0].volumeMounts[0]: expected an object, not a string",
        ),
        (
            "a mount whose name is a number",
            json!({"spec": {"containers": [{"volumeMounts": [{"name": 1}]}]}}),
            "spec.template.spec.containers[0].volumeMounts[0].name: expected a string, not a number",
        ),
        (
            "a subPath that is an object",
            json!({"spec": {"initContainers": [{"volumeMounts": [{}, {"subPath": {}}]}]}}),
            "spec.template.spec.initContainers[0].volumeMounts[1].subPath: expected a string, not an object",
        ),
        (
            "a subPathExpr that is true",
            json!({"spec": {"containers": [{"volumeMounts": [{"subPathExpr": true}]}]}}),
            "spec.template.spec.containers[0].volumeMounts[0].subPathExpr: expected a string, not true or false",
        ),
        (
            "a class that is a number",
            json!({"spec": {"priorityClassName": 1}}),
            "spec.template.spec.priorityClassName: expected a string, not a number",
        ),
        (
            "a class of an ephemeral claim that is a number",
            json!({"spec": {"volumes": [{"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": 1}}}}]}}),
            "spec.template.spec.volumes[0].ephemeral.volumeClaimTemplate.spec.storageClassName: expected a string, not a number",
        ),
        (
            "a class of the Secrets Store that is a number",
            json!({"spec": {"volumes": [{"csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": 1}}}]}}),
            "spec.template.spec.volumes[0].csi.volumeAttributes.secretProviderClass: expected a string, not a number",
        ),
    ] {
        assert_refused(case, template, expected);
    }
}

#[test]
fn what_is_not_looked_at_may_be_anything() {
    assert_needs(
        "odd fields elsewhere",
        json!({
            "containers": [{"image": 1, "ports": "none", "env": [{"name": 5, "value": {}}], "resources": []}],
            "volumes": [{"emptyDir": 1}],
            "tolerations": "all",
            "newInKubernetes2": {"a": [1]},
        }),
        &[],
    );
    let template = json!({"metadata": 1, "spec": {"serviceAccountName": "web"}});
    assert_eq!(needs(&template, "").map(|needs| needs.len()), Ok(1));
}
