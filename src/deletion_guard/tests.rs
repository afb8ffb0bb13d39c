//! Whole requests, with a cluster made of objects.

mod histories;

use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::fake::Objects,
    request,
    settings::{DeletionGuard, LookupFailure, Subjects},
    verdict::Outcome,
};

/// A workload of the namespace `shop` whose pods have this spec.
fn workload(kind: &str, name: &str, pods: Value, others: Value) -> Value {
    let (api_version, spec) = match kind {
        "CronJob" => (
            "batch/v1",
            json!({"jobTemplate": {"spec": {"template": {"spec": pods}}}}),
        ),
        "Job" => ("batch/v1", json!({"template": {"spec": pods}})),
        "Rollout" => ("example.com/v1", json!({"template": {"spec": pods}})),
        _ => ("apps/v1", json!({"template": {"spec": pods}})),
    };
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"namespace": "shop", "name": name, "uid": format!("{kind}-{name}")},
        "spec": spec,
    });
    if kind == "ReplicaSet" {
        object["status"] = json!({"replicas": 1});
    }
    merge(&mut object, others);
    object
}

/// Writes fields over those of an object.
fn merge(object: &mut Value, others: Value) {
    match (object, others) {
        (Value::Object(object), Value::Object(others)) => {
            for (field, other) in others {
                merge(object.entry(field).or_insert(Value::Null), other);
            }
        }
        (object, other) => *object = other,
    }
}

/// Pods that read the ConfigMap `app`.
fn pods() -> Value {
    json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "app"}}]}]})
}

fn owner(kind: &str, name: &str) -> Value {
    let api_version = match kind {
        "Deployment" | "ReplicaSet" => "apps/v1",
        "CronJob" => "batch/v1",
        _ => "example.com/v1",
    };
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true}
    ]}})
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
}

fn cluster(objects: impl IntoIterator<Item = Value>) -> Objects {
    Objects::new(objects.into_iter().chain([namespace()]))
}

/// The deletion of an object of the namespace `shop`.
fn deletion_of(kind: &str, name: &str) -> Request {
    Request {
        kind: request::Kind {
            group: String::new(),
            kind: kind.to_owned(),
        },
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        operation: request::Operation::Delete,
        old_object: json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"namespace": "shop", "name": name},
            "data": {"mode": "dark", "level": "9"},
        }),
        user_info: json!({"username": "ann", "groups": ["developers", "system:authenticated"]}),
        ..Request::default()
    }
}

fn deletion() -> Request {
    deletion_of("ConfigMap", "app")
}

/// An update of the ConfigMap `app` that leaves this data.
fn update(data: Value) -> Request {
    let mut request = deletion();
    request.operation = request::Operation::Update;
    request.object = request.old_object.clone();
    request.object["data"] = data;
    request
}

fn with(mut request: Request, change: impl FnOnce(&mut Request)) -> Request {
    change(&mut request);
    request
}

fn settings(level: DeletionLevel) -> Settings {
    Settings {
        deletion_guard: DeletionGuard {
            level,
            ..DeletionGuard::default()
        },
        ..Settings::default()
    }
}

fn rejecting() -> Settings {
    settings(DeletionLevel::Reject)
}

/// The same, with workloads of a kind that is not of Kubernetes itself.
fn with_rollouts() -> Settings {
    let mut settings = rejecting();
    let rollout = "example.com/v1/Rollout".to_owned();
    settings.deletion_guard.other_workloads = [rollout.try_into().unwrap()].into();
    settings
}

/// What the level `reject` does: `passes`, `rejects`, or the warnings.
#[track_caller]
fn assert_answer(case: &str, request: &Request, cluster: &Objects, expected: &str) {
    let verdict = crate::judge(request, &rejecting(), cluster);
    let answer = match verdict.outcome {
        Outcome::Reject { code: 403, .. } => "rejects".to_owned(),
        Outcome::Reject { code, message } => format!("{code}: {message}"),
        Outcome::Mutate(_) => "mutates".to_owned(),
        Outcome::Accept if verdict.warnings.is_empty() => "passes".to_owned(),
        Outcome::Accept => verdict.warnings.join("\n").replace("rollout-guard: ", ""),
    };
    assert_eq!(answer, expected, "{case}");
}

#[test]
fn a_rejection_says_who_needs_the_object_and_what_to_do() {
    let old = json!({"containers": [{"name": "c", "env": [
        {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "mode"}}}
    ]}]});
    let cluster = cluster([
        workload("CronJob", "nightly", pods(), json!({})),
        workload("Deployment", "web", json!({"containers": []}), json!({})),
        workload("ReplicaSet", "web-5d9", old, owner("Deployment", "web")),
    ]);
    let verdict = crate::judge(&deletion(), &rejecting(), &cluster);
    let Outcome::Reject { code: 403, message } = verdict.outcome else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        message,
        "rollout-guard: ConfigMap app in namespace shop was not deleted, because it is in use.
CronJob nightly requires it.
ReplicaSet web-5d9 requires it until the rollout of Deployment web is done.
Pods that start, or containers that restart, would fail.

Fix it in one of these ways:
- wait until the rollout is done, and try again; Flux and Argo CD (with retries) do so by themselves
- first delete these workloads, or change them so that they do without it, then try again

To do it anyway: kubectl annotate -n shop configmap app rollout-guard/allow-delete=true --overwrite, and try again

More about the deletion guard: https://github.com/rollout-guard/rollout-guard/blob/main/docs/deletion-guard.md"
    );
    let audit = [(
        "deletion-in-use",
        "ConfigMap app: CronJob nightly, ReplicaSet web-5d9".to_owned(),
    )];
    assert_eq!(verdict.audit, audit.into());
}

#[test]
fn keys_that_are_in_use_are_named() {
    let reads = |keys: &[&str]| {
        let env: Vec<_> = keys
            .iter()
            .map(|key| json!({"name": "E", "valueFrom": {"configMapKeyRef": {"name": "app", "key": key}}}))
            .collect();
        json!({"containers": [{"name": "c", "env": env}]})
    };
    let cluster = cluster([
        workload("Deployment", "web", reads(&["mode", "level"]), json!({})),
        workload("DaemonSet", "log", reads(&["level"]), json!({})),
    ]);
    let verdict = crate::judge(&update(json!({"level": "8"})), &rejecting(), &cluster);
    let Outcome::Reject { code: 403, message } = verdict.outcome else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        message,
        "rollout-guard: ConfigMap app in namespace shop was not changed, because it would lose keys that are in use.
Deployment web requires its key mode.
Pods that start, or containers that restart, would fail.

Fix it in one of these ways:
- first delete these workloads, or change them so that they do without it, then try again

To do it anyway: kubectl annotate -n shop configmap app rollout-guard/allow-delete=true --overwrite, and try again

More about the deletion guard: https://github.com/rollout-guard/rollout-guard/blob/main/docs/deletion-guard.md"
    );
    let warned = crate::judge(&update(json!({})), &settings(DeletionLevel::Warn), &cluster);
    assert_eq!(
        warned.warnings,
        [
            "rollout-guard: ConfigMap app loses keys that are in use: Deployment web requires its keys level, mode",
            "rollout-guard: ConfigMap app loses keys that are in use: DaemonSet log requires its key level",
        ]
    );
    for (case, data) in [
        (
            "a key that nobody requires",
            json!({"mode": "", "level": ""}),
        ),
        (
            "a key that is new",
            json!({"mode": "", "level": "", "new": ""}),
        ),
    ] {
        assert_answer(case, &update(data), &cluster, "passes");
    }
    // As a whole, it is not required to have any key.
    let whole = self::cluster([workload("Deployment", "web", pods(), json!({}))]);
    assert_answer("envFrom", &update(json!({})), &whole, "passes");
}

#[test]
fn each_kind_of_object_can_be_required() {
    let volume = |volume: Value| {
        let mut volume = volume;
        volume["name"] = "v".into();
        let mounts = json!([{"name": "v", "mountPath": "/v"}]);
        json!({"volumes": [volume], "containers": [{"name": "c", "volumeMounts": mounts}]})
    };
    for (kind, pods) in [
        ("ConfigMap", volume(json!({"configMap": {"name": "app"}}))),
        ("Secret", volume(json!({"secret": {"secretName": "app"}}))),
        ("ServiceAccount", json!({"serviceAccountName": "app"})),
        (
            "PersistentVolumeClaim",
            volume(json!({"persistentVolumeClaim": {"claimName": "app"}})),
        ),
    ] {
        let cluster = cluster([workload("Deployment", "web", pods, json!({}))]);
        let request = deletion_of(kind, "app");
        assert_answer(kind, &request, &cluster, "rejects");
        assert_answer(kind, &deletion_of(kind, "other"), &cluster, "passes");
        let elsewhere = with(request.clone(), |request| {
            request.namespace = "bank".to_owned()
        });
        assert_answer("another namespace", &elsewhere, &cluster, "passes");
        // A review of a DELETECOLLECTION has no name.
        let one_of_many = with(request, |request| request.name = String::new());
        assert_answer(kind, &one_of_many, &cluster, "rejects");
    }
}

#[test]
fn who_counts_as_in_use() {
    let optional = json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "app", "optional": true}}]}]});
    let extra =
        json!({"metadata": {"annotations": {"rollout-guard/extra-configmaps": "other, app"}}});
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-30T00:00:00Z"}});
    let done = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    let none = || json!({"containers": []});
    let volume = || {
        let mounts = json!([{"name": "conf", "mountPath": "/conf"}]);
        json!({"volumes": [{"name": "conf", "configMap": {"name": "app"}}], "containers": [{"volumeMounts": mounts}]})
    };
    let claim =
        |name: &str| json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": name}}]}});
    let one = |kind: &str, others: Value| vec![workload(kind, "web", pods(), others)];
    for (case, objects, expected) in [
        ("nobody", vec![], "passes"),
        ("a Deployment", one("Deployment", json!({})), "rejects"),
        ("a StatefulSet", one("StatefulSet", json!({})), "rejects"),
        (
            "a StatefulSet whose claim replaces the volume",
            vec![workload("StatefulSet", "web", volume(), claim("conf"))],
            "passes",
        ),
        (
            "a StatefulSet with another claim",
            vec![workload("StatefulSet", "web", volume(), claim("data"))],
            "rejects",
        ),
        ("a DaemonSet", one("DaemonSet", json!({})), "rejects"),
        ("a CronJob", one("CronJob", json!({})), "rejects"),
        ("a Job", one("Job", json!({})), "rejects"),
        (
            "a Job that failed a pod",
            one("Job", done("FailureTarget", "True")),
            "rejects",
        ),
        (
            "a Job that is done",
            one("Job", done("Complete", "True")),
            "passes",
        ),
        (
            "a Job that failed",
            one("Job", done("Failed", "True")),
            "passes",
        ),
        (
            "a Job that has not failed",
            one("Job", done("Failed", "False")),
            "rejects",
        ),
        (
            "a ReplicaSet, and no Deployment that is rolled out",
            one("ReplicaSet", json!({})),
            "passes",
        ),
        (
            "a ReplicaSet without pods",
            one("ReplicaSet", json!({"status": {"replicas": 0}})),
            "passes",
        ),
        ("a pod", one("Pod", json!({})), "passes"),
        (
            "one that is being deleted",
            one("Deployment", deleted.clone()),
            "passes",
        ),
        (
            "optional",
            vec![workload("Deployment", "web", optional, json!({}))],
            "passes",
        ),
        (
            "an annotation",
            vec![workload("Deployment", "web", none(), extra.clone())],
            "rejects",
        ),
        (
            "scaled to zero",
            one("Deployment", json!({"spec": {"replicas": 0}})),
            "ConfigMap app is in use: Deployment web requires it, but is scaled to 0",
        ),
        (
            "suspended",
            one("CronJob", json!({"spec": {"suspend": true}})),
            "ConfigMap app is in use: CronJob web requires it, but is suspended",
        ),
        (
            "an old ReplicaSet",
            vec![
                workload("Deployment", "web", none(), json!({})),
                workload("ReplicaSet", "web-1", pods(), owner("Deployment", "web")),
            ],
            "rejects",
        ),
        (
            "a ReplicaSet that is scaled down",
            vec![
                workload("Deployment", "web", none(), json!({})),
                workload("ReplicaSet", "web-1", pods(), {
                    let mut others = owner("Deployment", "web");
                    merge(&mut others, json!({"spec": {"replicas": 0}}));
                    others
                }),
            ],
            "ConfigMap app is in use: ReplicaSet web-1 requires it until the rollout of Deployment web is done, but is scaled to 0",
        ),
        (
            "a ReplicaSet whose Deployment is gone",
            vec![workload(
                "ReplicaSet",
                "web-1",
                pods(),
                owner("Deployment", "web"),
            )],
            "passes",
        ),
        (
            "a ReplicaSet whose Deployment was made again",
            vec![
                workload(
                    "Deployment",
                    "web",
                    none(),
                    json!({"metadata": {"uid": "2"}}),
                ),
                workload("ReplicaSet", "web-1", pods(), owner("Deployment", "web")),
            ],
            "passes",
        ),
        (
            "a ReplicaSet whose Deployment is being deleted",
            vec![
                workload("Deployment", "web", none(), deleted.clone()),
                workload("ReplicaSet", "web-1", pods(), owner("Deployment", "web")),
            ],
            "passes",
        ),
        (
            "a Job whose CronJob is gone",
            vec![workload("Job", "web-1", pods(), owner("CronJob", "web"))],
            "passes",
        ),
        (
            "a Job whose CronJob is there",
            vec![
                workload("CronJob", "web", none(), json!({})),
                workload("Job", "web-1", pods(), owner("CronJob", "web")),
            ],
            "rejects",
        ),
        (
            "a Deployment whose operator's object is gone",
            one("Deployment", owner("Shop", "web")),
            "passes",
        ),
        (
            "a ReplicaSet two levels below an object that is gone",
            vec![
                workload("Deployment", "web", none(), owner("Shop", "web")),
                workload("ReplicaSet", "web-1", pods(), owner("Deployment", "web")),
            ],
            "passes",
        ),
        (
            "an annotation that the Deployment has dropped, and its ReplicaSet keeps",
            vec![
                workload("Deployment", "web", none(), json!({})),
                workload("ReplicaSet", "web-1", none(), {
                    let mut others = owner("Deployment", "web");
                    merge(&mut others, extra.clone());
                    others
                }),
            ],
            "passes",
        ),
        (
            "a ReplicaSet whose Deployment leaves it as an orphan",
            vec![
                workload("Deployment", "web", none(), {
                    let mut others = deleted.clone();
                    merge(&mut others, json!({"metadata": {"finalizers": ["orphan"]}}));
                    others
                }),
                workload("ReplicaSet", "web-1", pods(), owner("Deployment", "web")),
            ],
            "rejects",
        ),
        (
            "a namespace that is terminating",
            {
                let mut terminating = namespace();
                merge(&mut terminating, deleted);
                [one("Deployment", json!({})), vec![terminating]].concat()
            },
            "passes",
        ),
    ] {
        // The later one of two objects counts.
        let cluster = Objects::new([vec![namespace()], objects].concat());
        assert_answer(case, &deletion(), &cluster, expected);
    }
}

#[test]
fn the_previous_template_of_a_stateful_set_counts_until_its_rollout_is_done() {
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"namespace": "shop", "name": "db-1"},
        "data": {"spec": {"template": {"spec": pods(), "$patch": "replace"}}},
    });
    let db = |current: &str, updated: u64| {
        let status = json!({"status": {
            "currentRevision": current, "updateRevision": "db-2", "replicas": 3, "updatedReplicas": updated,
        }});
        workload("StatefulSet", "db", json!({"containers": []}), status)
    };
    let rolling_out = cluster([db("db-1", 2), revision.clone()]);
    let rejection = crate::judge(&deletion(), &rejecting(), &rolling_out);
    let Outcome::Reject { message, .. } = rejection.outcome else {
        panic!("{rejection:?}");
    };
    let line = "\nStatefulSet db requires it until the rollout of StatefulSet db is done.\n";
    assert!(message.contains(line), "{message}");
    let mut in_volume = revision.clone();
    in_volume["data"]["spec"]["template"]["spec"] = json!({
        "volumes": [{"name": "conf", "configMap": {"name": "app"}}],
        "containers": [{"volumeMounts": [{"name": "conf", "mountPath": "/conf"}]}],
    });
    let mut with_claim = db("db-1", 2);
    with_claim["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "conf"}}]);
    for (case, objects) in [
        ("a claim replaces the volume", vec![with_claim, in_volume]),
        ("done", vec![db("db-2", 3), revision.clone()]),
        // With OnDelete, the current revision stays the first one.
        ("done by hand", vec![db("db-1", 3), revision]),
        ("no record of it", vec![db("db-1", 2)]),
    ] {
        assert_answer(case, &deletion(), &cluster(objects), "passes");
    }
}

#[test]
fn workloads_of_other_kinds_count_if_the_settings_name_them() {
    let rollout = |pods: Value, others: Value| workload("Rollout", "web", pods, others);
    let updated = |pods: u64| json!({"status": {"replicas": 3, "updatedReplicas": pods}});
    let observed = |generation: Value| {
        json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": generation, "replicas": 3, "updatedReplicas": 3},
        })
    };
    let replica_set = || workload("ReplicaSet", "web-1", pods(), owner("Rollout", "web"));
    let none = || json!({"containers": []});
    let in_volume = json!({
        "volumes": [{"name": "conf", "configMap": {"name": "app"}}],
        "containers": [{"volumeMounts": [{"name": "conf", "mountPath": "/conf"}]}],
    });
    let claim = json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "conf"}}]}});
    let requires_it = Some("\nRollout web requires it.\n");
    let old_pods =
        Some("\nReplicaSet web-1 requires it until the rollout of Rollout web is done.\n");
    let mut odd = workload("Rollout", "app", json!("app"), json!({}));
    odd["metadata"]["uid"] = json!("app");
    for (case, objects, expected) in [
        ("requires it", vec![rollout(pods(), json!({}))], requires_it),
        ("does not", vec![rollout(none(), json!({}))], None),
        (
            "a claim replaces the volume",
            vec![rollout(in_volume, claim)],
            None,
        ),
        (
            "is rolled out",
            vec![rollout(none(), updated(1)), replica_set()],
            old_pods,
        ),
        (
            "has been rolled out",
            vec![rollout(none(), updated(3)), replica_set()],
            None,
        ),
        (
            "its controller has not seen the new template",
            vec![rollout(none(), observed(json!(1))), replica_set()],
            old_pods,
        ),
        (
            "the same of Argo Rollouts",
            vec![rollout(none(), observed(json!("1"))), replica_set()],
            old_pods,
        ),
        (
            "it has",
            vec![rollout(none(), observed(json!("2"))), replica_set()],
            None,
        ),
        (
            "a hash, of Argo Rollouts before 1.0",
            vec![rollout(none(), observed(json!("5f8c"))), replica_set()],
            None,
        ),
        (
            "an odd one",
            vec![odd.clone()],
            Some(
                "Rollout app cannot be read: spec.template.spec: expected an object, not a string",
            ),
        ),
        (
            "another is odd",
            vec![odd, rollout(pods(), json!({}))],
            requires_it,
        ),
    ] {
        let verdict = crate::judge(&deletion(), &with_rollouts(), &cluster(objects));
        match (expected, &verdict.outcome) {
            (Some(line), Outcome::Reject { message, .. }) => {
                assert!(message.contains(line), "{case}: {message}");
            }
            (None, Outcome::Accept) => assert_eq!(verdict.warnings, [""; 0], "{case}"),
            _ => panic!("{case}: {verdict:?}"),
        }
    }
    let cluster = cluster([rollout(pods(), json!({}))]);
    assert_answer("not named", &deletion(), &cluster, "passes");
}

#[test]
fn a_list_that_lags_behind_rejects_nothing_that_nobody_needs() {
    let web = workload("Deployment", "web", pods(), json!({}));
    for (case, now, expected) in [
        ("deleted since", vec![], "passes"),
        (
            "changed since",
            vec![workload(
                "Deployment",
                "web",
                json!({"containers": []}),
                json!({}),
            )],
            "passes",
        ),
        ("as it was", vec![web.clone()], "rejects"),
    ] {
        let mut cluster = cluster(now);
        cluster.outdated = vec![web.clone()];
        assert_answer(case, &deletion(), &cluster, expected);
    }
}

#[test]
fn who_and_what_always_passes() {
    let cluster = cluster([
        workload("Deployment", "web", pods(), json!({})),
        workload(
            "Deployment",
            "claim",
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "app"}}]}),
            json!({}),
        ),
    ]);
    let user = |name: &str| {
        with(deletion(), |request| {
            request.user_info = json!({"username": name})
        })
    };
    let annotated = |key: &str, value: &str| {
        with(deletion(), |request| {
            request.old_object["metadata"]["annotations"] = json!({key: value});
        })
    };
    let owned = |kind: &str, api_version: &str, controller: bool| {
        with(deletion_of(kind, "app"), |request| {
            request.old_object["metadata"]["ownerReferences"] = json!([{"apiVersion": api_version, "kind": "Maker", "name": "a", "uid": "1", "controller": controller}]);
        })
    };
    let claim = "PersistentVolumeClaim";
    for (case, request, expected) in [
        ("a person", user("ann"), "rejects"),
        (
            "the garbage collector",
            user("system:serviceaccount:kube-system:generic-garbage-collector"),
            "passes",
        ),
        (
            "the namespace controller",
            user("system:serviceaccount:kube-system:namespace-controller"),
            "passes",
        ),
        (
            "all controllers at once",
            user("system:kube-controller-manager"),
            "passes",
        ),
        (
            "another controller",
            user("system:serviceaccount:kube-system:job-controller"),
            "rejects",
        ),
        (
            "allowed",
            annotated("rollout-guard/allow-delete", "true"),
            "passes",
        ),
        (
            "not allowed",
            annotated("rollout-guard/allow-delete", "false"),
            "rejects",
        ),
        (
            "a typo",
            annotated("rollout-guard/allow-delete", "yes"),
            "rejects",
        ),
        (
            "being deleted",
            with(deletion(), |request| {
                request.old_object["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z".into();
            }),
            "passes",
        ),
        (
            "filled, not made",
            annotated("service.beta.openshift.io/inject-cabundle", "true"),
            "rejects",
        ),
        (
            "made by a controller",
            owned("ConfigMap", "external-secrets.io/v1", true),
            "passes",
        ),
        (
            "owned, not made",
            owned("ConfigMap", "external-secrets.io/v1", false),
            "rejects",
        ),
        (
            "owned by a Deployment",
            owned("ConfigMap", "apps/v1", true),
            "rejects",
        ),
        ("owned by a pod", owned("ConfigMap", "v1", true), "rejects"),
        (
            "a claim of a StatefulSet",
            owned(claim, "apps/v1", true),
            "passes",
        ),
        (
            "a claim that a StatefulSet does not make",
            owned(claim, "apps/v1", false),
            "rejects",
        ),
    ] {
        let asked = cluster.asked.borrow().len();
        assert_answer(case, &request, &cluster, expected);
        // What passes costs nothing.
        let looked = cluster.asked.borrow().len() > asked;
        assert_eq!(looked, expected == "rejects", "{case}");
    }
    for name in ["kube-root-ca.crt", "openshift-service-ca.crt"] {
        assert_answer(name, &deletion_of("ConfigMap", name), &cluster, "passes");
    }
    let default = self::cluster([workload(
        "Deployment",
        "web",
        json!({"serviceAccountName": "default"}),
        json!({}),
    )]);
    assert_answer(
        "default",
        &deletion_of("ServiceAccount", "default"),
        &default,
        "passes",
    );
}

#[test]
fn an_update_can_allow_itself_and_fillers_add_keys_again() {
    let reads = json!({"containers": [{"name": "c", "env": [
        {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "mode"}}}
    ]}]});
    let cluster = cluster([workload("Deployment", "web", reads, json!({}))]);
    let annotated = |on_new: bool, key: &str| {
        with(update(json!({})), |request| {
            let object = match on_new {
                true => &mut request.object,
                false => &mut request.old_object,
            };
            object["metadata"]["annotations"] = json!({key: "true"});
        })
    };
    for (case, request, expected) in [
        ("plain", update(json!({})), "rejects"),
        (
            "allowed in the same request",
            annotated(true, "rollout-guard/allow-delete"),
            "passes",
        ),
        (
            "allowed before",
            annotated(false, "rollout-guard/allow-delete"),
            "passes",
        ),
        (
            "filled",
            annotated(false, "config.openshift.io/inject-trusted-cabundle"),
            "ConfigMap app loses keys that are in use: Deployment web requires its key mode, \
             but the controller that reads config.openshift.io/inject-trusted-cabundle may create it again",
        ),
    ] {
        assert_answer(case, &request, &cluster, expected);
    }
}

#[test]
fn a_dry_run_passes_and_says_what_would_happen() {
    let cluster = cluster([workload("Deployment", "web", pods(), json!({}))]);
    let request = with(deletion(), |request| request.dry_run = true);
    let would = "ConfigMap app is in use; this request would be rejected if it were no dry run\n\
                 ConfigMap app is in use: Deployment web requires it";
    assert_answer("dry run", &request, &cluster, would);
}

#[test]
fn the_level_depends_on_who_asks() {
    let cluster = cluster([workload("Deployment", "web", pods(), json!({}))]);
    let of_key = json!({"containers": [{"name": "c", "env": [
        {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "mode"}}}
    ]}]});
    let reads = self::cluster([workload("Deployment", "web", of_key, json!({}))]);
    let subjects = |users: &[&str], groups: &[&str]| Subjects {
        users: users.iter().map(|&user| user.to_owned()).collect(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
    };
    let flux = "system:serviceaccount:*:kustomize-controller";
    for (case, level, reject_for, allow_for, user, expected) in [
        (
            "off",
            DeletionLevel::Ignore,
            subjects(&[], &[]),
            subjects(&[], &[]),
            "ann",
            "passes",
        ),
        (
            "warn",
            DeletionLevel::Warn,
            subjects(&[], &[]),
            subjects(&[], &[]),
            "ann",
            "warns",
        ),
        (
            "another user",
            DeletionLevel::Warn,
            subjects(&[flux], &[]),
            subjects(&[], &[]),
            "ann",
            "warns",
        ),
        (
            "off, another user",
            DeletionLevel::Ignore,
            subjects(&[flux], &[]),
            subjects(&[], &[]),
            "ann",
            "passes",
        ),
        (
            "rejected by name",
            DeletionLevel::Warn,
            subjects(&[flux], &[]),
            subjects(&[], &[]),
            "system:serviceaccount:flux-system:kustomize-controller",
            "rejects",
        ),
        (
            "rejected by group",
            DeletionLevel::Ignore,
            subjects(&[], &["developers"]),
            subjects(&[], &[]),
            "ann",
            "rejects",
        ),
        (
            "allowed by name",
            DeletionLevel::Reject,
            subjects(&[], &[]),
            subjects(&["ann"], &[]),
            "ann",
            "passes",
        ),
        (
            "allowed before rejected",
            DeletionLevel::Reject,
            subjects(&["ann"], &[]),
            subjects(&[], &["dev*"]),
            "ann",
            "passes",
        ),
    ] {
        let mut settings = settings(level);
        settings.deletion_guard.reject_for = reject_for;
        settings.deletion_guard.allow_for = allow_for;
        let request = with(deletion(), |request| {
            request.user_info["username"] = user.into();
        });
        let verdict = crate::judge(&request, &settings, &cluster);
        // An update that a tool sends comes before that of the workload.
        let by_update = with(update(json!({})), |update| {
            update.user_info = request.user_info.clone()
        });
        let by_update = crate::judge(&by_update, &settings, &reads);
        let expected_of_update = match (level, expected) {
            (DeletionLevel::Reject, expected) => expected,
            (_, "rejects") => "warns",
            (_, expected) => expected,
        };
        let answer_to_update = match (by_update.is_rejected(), by_update.warnings.len()) {
            (true, _) => "rejects",
            (false, 0) => "passes",
            (false, _) => "warns",
        };
        assert_eq!(answer_to_update, expected_of_update, "{case}");
        let answer = match (verdict.is_rejected(), verdict.warnings.len()) {
            (true, _) => "rejects",
            (false, 0) => "passes",
            (false, _) => "warns",
        };
        assert_eq!(answer, expected, "{case}");
    }
}

/// It would never apply what lets go of the object.
#[test]
fn argo_cd_is_held_up_only_where_it_prunes_last() {
    let controller = "system:serviceaccount:argocd:argocd-application-controller";
    let prune = |options: &str| {
        with(deletion(), |request| {
            request.user_info["username"] = controller.into();
            request.old_object["metadata"]["annotations"] =
                json!({"argocd.argoproj.io/sync-options": options});
        })
    };
    let cluster = cluster([workload("Deployment", "web", pods(), json!({}))]);
    let first = "ConfigMap app is in use: Deployment web requires it, but Argo CD prunes before it applies (set the sync option PruneLast=true)";
    let replaced = "ConfigMap app is in use: Deployment web requires it, but its tool may create it again (force)";
    for (options, expected) in [
        ("", first),
        ("Prune=false,Replace=true", first),
        ("Replace=true, PruneLast=true", "rejects"),
        ("Force=true,Replace=true,PruneLast=true", replaced),
    ] {
        assert_answer(options, &prune(options), &cluster, expected);
    }
    for (user, expected) in [
        (
            "system:serviceaccount:openshift-gitops:openshift-gitops-argocd-application-controller",
            first,
        ),
        ("system:serviceaccount:kube-system:argocd-manager", first),
        ("system:serviceaccount:argocd:argocd-server", "rejects"),
    ] {
        let request = with(prune(""), |request| {
            request.user_info["username"] = user.into()
        });
        assert_answer(user, &request, &cluster, expected);
    }
    let forced = with(deletion(), |request| {
        request.old_object["metadata"]["annotations"] =
            json!({"kustomize.toolkit.fluxcd.io/force": "Enabled"});
    });
    assert_answer("Flux", &forced, &cluster, replaced);
    let mut named = rejecting();
    named.deletion_guard.reject_for.users = vec![controller.to_owned()];
    assert!(crate::judge(&prune(""), &named, &cluster).is_rejected());
}

#[test]
fn what_cannot_be_looked_up_is_said() {
    let denied = |objects: Vec<Value>| {
        let mut cluster = cluster(objects);
        cluster.denied = vec!["batch/v1/CronJob".to_owned()];
        cluster
    };
    let missing = "the list of CronJobs cannot be read: \
                   this policy has not been granted access to batch/v1/CronJob; add it to contextAwareResources of the policy";
    assert_answer(
        "reject",
        &deletion(),
        &denied(vec![]),
        &format!(
            "500: rollout-guard: ConfigMap app in namespace shop was not deleted, because it is not known who needs it: {missing}.

To do it anyway: kubectl annotate -n shop configmap app rollout-guard/allow-delete=true --overwrite, and try again

To accept all such requests: set `lookupFailure: warn` in this policy's settings

More about the deletion guard: https://github.com/rollout-guard/rollout-guard/blob/main/docs/deletion-guard.md"
        ),
    );
    let dry_run = with(deletion(), |request| request.dry_run = true);
    for (level, lookup_failure, request) in [
        (DeletionLevel::Warn, LookupFailure::Reject, deletion()),
        (DeletionLevel::Reject, LookupFailure::Warn, deletion()),
        (DeletionLevel::Reject, LookupFailure::Reject, dry_run),
    ] {
        let settings = Settings {
            lookup_failure,
            ..settings(level)
        };
        let verdict = crate::judge(&request, &settings, &denied(vec![]));
        assert_eq!(verdict.outcome, Outcome::Accept);
        let why = format!("it is not known who needs ConfigMap app: {missing}");
        assert_eq!(verdict.warnings, [format!("rollout-guard: {why}")]);
        assert_eq!(verdict.audit, [("deletion-not-checked", why)].into());
    }
    // One that surely needs it is enough, whatever else could not be read.
    let web = workload("Deployment", "web", pods(), json!({}));
    for (lookup_failure, cluster) in [
        (LookupFailure::Reject, denied(vec![web.clone()])),
        (LookupFailure::Warn, denied(vec![web])),
    ] {
        let settings = Settings {
            lookup_failure,
            ..rejecting()
        };
        let verdict = crate::judge(&deletion(), &settings, &cluster);
        let Outcome::Reject { code: 403, message } = verdict.outcome else {
            panic!("{verdict:?}");
        };
        let lines = format!(
            "\nDeployment web requires it.\nAnd it is not known who else needs ConfigMap app: {missing}.\n"
        );
        assert!(message.contains(&lines), "{message}");
    }
}

#[test]
fn an_owner_that_may_not_be_read_is_a_doubt() {
    let owned = workload("Deployment", "web", pods(), owner("Shop", "web"));
    let mut cluster = cluster([owned]);
    cluster.denied = vec!["example.com/v1/Shop".to_owned()];
    assert_answer(
        "denied",
        &deletion(),
        &cluster,
        "ConfigMap app is in use: Deployment web requires it, but its owner may be gone: Shop shop/web cannot be read: \
         this policy has not been granted access to example.com/v1/Shop; add it to contextAwareResources of the policy",
    );
    cluster.denied.clear();
    cluster.failing = vec!["Shop shop/web".to_owned(), "Namespace shop".to_owned()];
    assert_answer(
        "failed",
        &deletion(),
        &cluster,
        "ConfigMap app is in use: Deployment web requires it, but its owner may be gone: Shop shop/web cannot be read: the API server is away",
    );
    let mut cluster = self::cluster([workload("Deployment", "web", pods(), json!({}))]);
    cluster.denied = vec!["v1/Namespace".to_owned()];
    assert_answer(
        "the namespace",
        &deletion(),
        &cluster,
        "ConfigMap app is in use: Deployment web requires it, but the namespace may be being deleted: Namespace shop cannot be read: \
         this policy has not been granted access to v1/Namespace; add it to contextAwareResources of the policy",
    );
}

#[test]
fn what_helm_deletes_is_left_to_the_release_guard() {
    let of_release = |name: &str| json!({"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "shop"});
    let release = |name: &str| json!({"metadata": {"annotations": of_release(name)}});
    let record = |namespace: &str, name: &str, version: u64, status: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "namespace": namespace, "name": format!("sh.helm.release.v1.{name}.v{version}"),
                "labels": {"owner": "helm", "name": name, "version": version.to_string(), "status": status},
            },
        })
    };
    let web = || workload("Deployment", "web", pods(), release("web"));
    let other = || workload("Deployment", "other", pods(), json!({}));
    let plain = || json!({});
    let hook = || json!({"helm.sh/hook": "pre-upgrade"});
    let is_hook = "ConfigMap app is in use: Deployment web requires it, but it is a hook, which its tool may create again";
    for (case, annotations, objects, expected) in [
        ("kubectl", of_release("web"), vec![web()], "rejects"),
        (
            "an upgrade",
            of_release("web"),
            vec![web(), record("shop", "web", 2, "pending-upgrade")],
            "passes",
        ),
        (
            "an uninstall",
            of_release("web"),
            vec![web(), record("shop", "web", 2, "uninstalling")],
            "passes",
        ),
        (
            "deployed",
            of_release("web"),
            vec![web(), record("shop", "web", 2, "deployed")],
            "rejects",
        ),
        (
            "stuck",
            of_release("web"),
            vec![
                web(),
                record("shop", "web", 2, "pending-upgrade"),
                record("shop", "web", 3, "deployed"),
            ],
            "rejects",
        ),
        (
            "another release",
            of_release("web"),
            vec![web(), record("shop", "api", 2, "pending-upgrade")],
            "rejects",
        ),
        (
            "needed by others too",
            of_release("web"),
            vec![web(), other(), record("shop", "web", 2, "pending-upgrade")],
            "rejects",
        ),
        (
            "not of the release",
            plain(),
            vec![web(), record("shop", "web", 2, "pending-upgrade")],
            "rejects",
        ),
        (
            "a release of the same name in another namespace",
            of_release("web"),
            vec![web(), record("dev", "web", 2, "pending-upgrade")],
            "rejects",
        ),
        (
            "failed",
            of_release("web"),
            vec![
                web(),
                record("shop", "web", 1, "failed"),
                record("shop", "web", 2, "failed"),
            ],
            "ConfigMap app is in use: Deployment web requires it, but its release has failed, and Helm may be cleaning up",
        ),
        (
            "failed before",
            of_release("web"),
            vec![
                web(),
                record("shop", "web", 2, "failed"),
                record("shop", "web", 3, "deployed"),
            ],
            "rejects",
        ),
        (
            "failed, and needed by others too",
            of_release("web"),
            vec![web(), other(), record("shop", "web", 2, "failed")],
            "rejects",
        ),
        (
            "the Job of a CronJob of the release",
            of_release("web"),
            vec![
                workload("CronJob", "web", json!({"containers": []}), release("web")),
                workload("Job", "web-1", pods(), owner("CronJob", "web")),
                record("shop", "web", 2, "pending-upgrade"),
            ],
            "passes",
        ),
        (
            "what an operator has made of a custom resource of the release",
            of_release("web"),
            vec![
                workload("StatefulSet", "db", pods(), owner("Shop", "web")),
                json!({
                    "apiVersion": "example.com/v1", "kind": "Shop",
                    "metadata": {"namespace": "shop", "name": "web", "uid": "Shop-web", "annotations": of_release("web")},
                }),
                record("shop", "web", 2, "uninstalling"),
            ],
            "passes",
        ),
        (
            "a hook that others need too",
            hook(),
            vec![web(), other(), record("shop", "any", 2, "pending-upgrade")],
            "ConfigMap app is in use: Deployment other requires it, but it is a hook, which its tool may create again",
        ),
        (
            "a hook",
            hook(),
            vec![web(), record("shop", "any", 2, "pending-upgrade")],
            "passes",
        ),
        (
            "a hook of an install",
            hook(),
            vec![web(), record("shop", "any", 1, "pending-install")],
            "passes",
        ),
        (
            "a hook, and nothing is pending",
            hook(),
            vec![web()],
            is_hook,
        ),
        (
            "a hook of Argo CD",
            json!({"argocd.argoproj.io/hook": "PreSync"}),
            vec![web()],
            is_hook,
        ),
    ] {
        let request = with(deletion(), |request| {
            request.old_object["metadata"]["annotations"] = annotations;
        });
        let cluster = cluster(objects);
        assert_answer(case, &request, &cluster, expected);
        // It is looked at only if somebody needs the object.
        let nobody = self::cluster([]);
        assert_answer(case, &request, &nobody, "passes");
        let asked = nobody.asked.borrow();
        assert!(
            !asked.iter().any(|look_up| look_up.starts_with("Secret")),
            "{asked:?}"
        );
    }
}

/// Flux can keep the records of a release in the namespace of its HelmRelease.
#[test]
fn a_release_of_flux_may_have_its_record_elsewhere() {
    let annotations =
        json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"});
    let release = json!({"metadata": {"annotations": annotations}});
    let record = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "namespace": "flux-system", "name": "sh.helm.release.v1.web.v2",
            "labels": {"owner": "helm", "name": "web", "version": "2", "status": "pending-upgrade"},
        },
    });
    let request = with(deletion(), |request| {
        request.old_object["metadata"]["annotations"] = annotations;
        request.old_object["metadata"]["labels"] =
            json!({"helm.toolkit.fluxcd.io/namespace": "flux-system"});
    });
    let web = workload("Deployment", "web", pods(), release);
    let may_be = "ConfigMap app is in use: Deployment web requires it, but Helm may be at work on its release";
    assert_answer(
        "pending",
        &request,
        &cluster([web.clone(), record.clone()]),
        may_be,
    );
    let other = workload("Deployment", "other", pods(), json!({}));
    assert_answer(
        "needed by others too",
        &request,
        &cluster([web, other, record]),
        "rejects",
    );
}

/// What may not be read is not listed: policy-server would wait for it.
#[test]
fn without_access_to_records_objects_of_helm_are_warned_of() {
    let annotations =
        json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"});
    let release = json!({"metadata": {"annotations": annotations}});
    let mut cluster = cluster([workload("Deployment", "web", pods(), release)]);
    cluster.denied = vec!["v1/Secret".to_owned()];
    let request = with(deletion(), |request| {
        request.old_object["metadata"]["annotations"] = annotations;
    });
    assert_answer(
        "denied",
        &request,
        &cluster,
        "ConfigMap app is in use: Deployment web requires it, but Helm may be at work: the list of Secrets cannot be read: \
         this policy has not been granted access to v1/Secret; add it to contextAwareResources of the policy",
    );
}

#[test]
fn ten_consumers_are_enough() {
    let many = |count: usize, others: Value| {
        cluster((0..count).flat_map(|n| {
            let name = format!("web-{n:02}");
            let set = workload(
                "ReplicaSet",
                &format!("{name}-1"),
                pods(),
                owner("Deployment", &name),
            );
            [workload("Deployment", &name, pods(), others.clone()), set]
        }))
    };
    let rejection = |count| {
        let verdict = crate::judge(&deletion(), &rejecting(), &many(count, json!({})));
        match verdict.outcome {
            Outcome::Reject { message, .. } => message,
            _ => panic!("{verdict:?}"),
        }
    };
    // Their ReplicaSets are no others.
    let message = rejection(9);
    let end = "\nDeployment web-08 requires it.\nPods that start";
    assert!(message.contains(end), "{message}");
    let message = rejection(30);
    let end = "\nDeployment web-09 requires it.\nOthers may require it too.\nPods that start";
    assert!(message.contains(end), "{message}");
    // None of those that are read surely needs it.
    let idle = many(70, json!({"spec": {"replicas": 0}}));
    let verdict = crate::judge(&deletion(), &rejecting(), &idle);
    assert_eq!(verdict.outcome, Outcome::Accept);
    let last = verdict.warnings.last().map(String::as_str);
    assert_eq!(
        last,
        Some("rollout-guard: ConfigMap app may be in use by others too")
    );
}

/// And nothing else, for an object that nobody needs. ReplicaSets only while there is a rollout: most of them are history.
#[test]
fn an_object_that_nobody_needs_costs_a_list_of_each_kind() {
    let web = |generation: u64, status: Value| {
        let others = json!({"metadata": {"generation": generation}, "status": status});
        workload("Deployment", "web", json!({"containers": []}), others)
    };
    let done = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2});
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"];
    let lists = kinds.map(|kind| format!("{kind} */* []"));
    let with_sets = [&lists[..], &["ReplicaSet */* []".to_owned()]].concat();
    for (case, deployment, expected) in [
        ("rolled out", web(3, done.clone()), &lists[..]),
        ("not seen by its controller", web(4, done), &with_sets),
        (
            "being rolled out",
            web(
                3,
                json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1}),
            ),
            &with_sets,
        ),
        ("not rolled out yet", web(1, json!({})), &with_sets),
    ] {
        let cluster = cluster([deployment]);
        assert_answer(case, &deletion(), &cluster, "passes");
        assert_eq!(*cluster.asked.borrow(), expected, "{case}");
    }
}

#[test]
fn other_requests_do_not_concern() {
    let concerns = |request: &Request| super::concerns(request, &rejecting());
    assert!(concerns(&deletion()));
    assert!(concerns(&update(json!({}))));
    for (case, request) in [
        (
            "nothing is removed",
            update(json!({"mode": "", "level": ""})),
        ),
        (
            "a create",
            with(deletion(), |request| {
                request.operation = request::Operation::Create
            }),
        ),
        (
            "a status",
            with(update(json!({})), |request| {
                request.sub_resource = "status".to_owned()
            }),
        ),
        ("a Pod", deletion_of("Pod", "app")),
        (
            "another group",
            with(deletion(), |request| {
                request.kind.group = "example.com".to_owned()
            }),
        ),
        (
            "no name at all",
            with(deletion(), |request| {
                request.name = String::new();
                request.old_object = Value::Null;
            }),
        ),
    ] {
        assert!(!concerns(&request), "{case}");
    }
    assert!(!super::concerns(&deletion(), &Settings::default()));
}

/// In one policy with the second line and with warnings for whoever edits a config, each says what it has to say, and nobody says it twice.
#[test]
fn it_works_beside_the_others() {
    let mut settings = settings(DeletionLevel::Warn);
    settings.release_guard.hook_requests = true;
    settings.config_hash.warn_consumers = true;
    let cluster = cluster([workload("Deployment", "web", pods(), json!({}))]);
    let in_use = "rollout-guard: ConfigMap app is in use: Deployment web requires it";
    let verdict = crate::judge(&deletion(), &settings, &cluster);
    assert_eq!(verdict.warnings, [in_use]);
    let of_release = with(deletion(), |request| {
        request.old_object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "web"});
    });
    let verdict = crate::judge(&of_release, &settings, &cluster);
    assert_eq!(verdict.warnings, [in_use]);
    for data in [
        json!({"mode": "light", "level": "9"}),
        json!({"mode": "light"}),
    ] {
        let verdict = crate::judge(&update(data), &settings, &cluster);
        let warning = verdict.warnings.first().map(String::as_str);
        let warning = warning.unwrap_or_default();
        assert!(
            warning.contains("Deployment web uses ConfigMap app"),
            "{verdict:?}"
        );
    }

    // Whoever is not told by one is told by the other.
    settings.deletion_guard = DeletionGuard {
        reject_for: Subjects {
            users: vec!["flux".to_owned()],
            ..Subjects::default()
        },
        ..DeletionGuard::default()
    };
    let verdict = crate::judge(&deletion(), &settings, &cluster);
    let warning = verdict.warnings.first().map(String::as_str);
    assert_eq!(
        warning,
        Some(
            "rollout-guard: Deployment web uses ConfigMap app, and its pods cannot start without it"
        )
    );
}
