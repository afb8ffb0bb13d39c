use std::fmt;

use super::*;
use crate::testing::{Doc, Docs, claim, config, deployment, doc, pods, revision, volumes};

/// `Deployment web @Workload needs ConfigMap a` of each consumer, in order.
fn found(operation: Operation, docs: Docs<'_>) -> Vec<String> {
    changed(operation, &[], docs)
}

/// The same, after a revision with other documents.
fn changed(operation: Operation, before: Docs<'_>, after: Docs<'_>) -> Vec<String> {
    let current = revision(1, before).release();
    let target = revision(2, after).release();
    let consumers = consumers(&Declared::by(Some(&current)), &target, operation).unwrap();
    let show = |consumer: &Consumer<'_>| {
        let keys = consumer.keys.iter().flatten();
        let keys: String = keys.map(|key| format!(" {key}")).collect();
        let optional = if consumer.optional { "?" } else { "" };
        let kept = match consumer.kept_by_api_server {
            true => ", kept",
            false => "",
        };
        let idle = if consumer.is_idle { ", idle" } else { "" };
        format!(
            "{} @{:?} needs {}{optional}{keys}{kept}{idle}",
            consumer.object.id, consumer.when, consumer.needs
        )
    };
    consumers.iter().map(show).collect()
}

#[test]
fn the_users_of_a_release() {
    let mount = volumes(&[
        "configMap: {name: a, items: [{key: k, path: p}]}",
        "secret: {secretName: s, optional: true}",
        "persistentVolumeClaim: {claimName: c}",
    ]);
    let job =
        |events: &str| pods("Job", &events.replace(',', "-"), "serviceAccountName: m").hook(events);
    let docs: Docs<'_> = &[
        &deployment("web", &mount),
        &config("a"),
        &doc("v1", "Pod", "p").fields("spec: {containers: [], serviceAccountName: m}"),
        &job("pre-upgrade"),
        &job("post-upgrade"),
        &job("pre-upgrade,post-upgrade"),
        &job("pre-install"),
        &job("test"),
    ];
    assert_eq!(
        found(Operation::Upgrade, docs),
        [
            "Pod p @Workload needs ServiceAccount m",
            "Deployment web @Workload needs ConfigMap a k",
            "Deployment web @Workload needs Secret s?",
            "Deployment web @Workload needs PersistentVolumeClaim c",
            "Job pre-upgrade @Hook(Pre) needs ServiceAccount m",
            "Job pre-upgrade-post-upgrade @Hook(Pre) needs ServiceAccount m",
            "Job post-upgrade @Hook(Post) needs ServiceAccount m",
            "Job pre-upgrade-post-upgrade @Hook(Post) needs ServiceAccount m",
            "Job pre-install @Later needs ServiceAccount m",
        ]
    );
}

#[test]
fn pods_need_things_of_their_own_namespace() {
    let docs: Docs<'_> = &[&deployment("web", "serviceAccountName: m").namespace("other")];
    let target = revision(1, docs).release();
    let consumers = consumers(&Declared::default(), &target, Operation::Install).unwrap();
    assert_eq!(
        consumers
            .first()
            .map(|consumer| consumer.needs.namespace.as_str()),
        Some("other")
    );
}

#[test]
fn where_pod_templates_are() {
    let pod = "{spec: {containers: [], serviceAccountName: m}}";
    for (name, doc, expected) in [
        (
            "Pod",
            doc("v1", "Pod", "x").fields("spec: {containers: [], serviceAccountName: m}"),
            1,
        ),
        (
            "ReplicaSet",
            doc("apps/v1", "ReplicaSet", "x").fields(&format!("spec: {{template: {pod}}}")),
            1,
        ),
        (
            "DaemonSet",
            doc("apps/v1", "DaemonSet", "x").fields(&format!("spec: {{template: {pod}}}")),
            1,
        ),
        (
            "ReplicationController",
            doc("v1", "ReplicationController", "x").fields(&format!("spec: {{template: {pod}}}")),
            1,
        ),
        (
            "CronJob",
            doc("batch/v1", "CronJob", "x").fields(&format!(
                "spec: {{jobTemplate: {{spec: {{template: {pod}}}}}}}"
            )),
            1,
        ),
        (
            "a custom workload",
            doc("apps.kruise.io/v1alpha1", "CloneSet", "x")
                .fields(&format!("spec: {{template: {pod}}}")),
            1,
        ),
        (
            "a template of something else",
            doc("example.com/v1", "Thing", "x")
                .fields("spec: {template: {spec: {serviceAccountName: m}}}"),
            0,
        ),
        (
            "no template",
            doc("apps/v1", "Deployment", "x").fields("spec: {}"),
            0,
        ),
        (
            "a template with containers that cannot be read",
            doc("example.com/v1", "Thing", "x")
                .fields("spec: {template: {spec: {containers: all, serviceAccountName: m}}}"),
            0,
        ),
        ("a ConfigMap", config("x"), 0),
    ] {
        assert_eq!(found(Operation::Install, &[&doc]).len(), expected, "{name}");
    }
}

/// An Argo Rollout, or another custom kind, with these fields in its spec besides a pod template.
fn rollout(name: &str, pod: &str, spec: &str) -> Doc {
    doc("argoproj.io/v1alpha1", "Rollout", name).fields(&format!(
        "spec: {{template: {{spec: {{containers: [], {pod}}}}}, {spec}}}"
    ))
}

#[test]
fn needs_have_the_group_and_scope_of_their_kind() {
    let pod = format!(
        "priorityClassName: p, runtimeClassName: r, {}",
        volumes(&[
            "csi: {driver: secrets-store.csi.k8s.io, volumeAttributes: {secretProviderClass: s}}",
            "ephemeral: {volumeClaimTemplate: {spec: {storageClassName: c}}}",
        ])
    );
    let docs: Docs<'_> = &[
        &deployment("web", &pod),
        &config("a"),
        &deployment("system", "priorityClassName: system-node-critical"),
    ];
    let target = revision(1, docs).release();
    let consumers = consumers(&Declared::default(), &target, Operation::Install).unwrap();
    let needs = consumers.into_iter().map(|consumer| {
        let ObjectId {
            group,
            kind,
            namespace,
            name,
        } = consumer.needs;
        [group, kind, namespace, name].join("/")
    });
    assert_eq!(
        needs.collect::<Vec<_>>(),
        [
            "secrets-store.csi.x-k8s.io/SecretProviderClass/shop/s",
            "storage.k8s.io/StorageClass//c",
            "scheduling.k8s.io/PriorityClass//p",
            "node.k8s.io/RuntimeClass//r",
        ]
    );
    // As the manifest of such an object has it.
    let docs: Docs<'_> = &[
        &doc("scheduling.k8s.io/v1", "PriorityClass", "p"),
        &doc("node.k8s.io/v1", "RuntimeClass", "r"),
        &doc("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass", "s"),
        &doc("storage.k8s.io/v1", "StorageClass", "c"),
    ];
    for object in revision(1, docs).release().resources {
        let is_needed = |consumer: &Consumer<'_>| consumer.needs == object.id;
        let consumers = super::consumers(&Declared::default(), &target, Operation::Install);
        assert!(consumers.unwrap().iter().any(is_needed), "{}", object.id);
    }
}

#[test]
fn claims_need_their_class() {
    let bare = claim("data");
    let claim = bare.clone().fields("spec: {storageClassName: fast}");
    let templates = "volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: fast}}]";
    let set = |replicas: &str| {
        doc("apps/v1", "StatefulSet", "db").fields(&format!(
            "spec: {{template: {{spec: {{containers: []}}}}, {replicas} {templates}}}"
        ))
    };
    for (case, before, after, expected) in [
        (
            "a new claim",
            None,
            claim.clone(),
            "PersistentVolumeClaim data @Workload needs StorageClass fast",
        ),
        (
            "a claim that is bound",
            Some(claim.clone()),
            claim.clone(),
            "PersistentVolumeClaim data @Workload needs StorageClass fast, idle",
        ),
        (
            "a hook, which may be created anew",
            Some(claim.clone().hook("pre-upgrade")),
            claim.clone().hook("pre-upgrade"),
            "PersistentVolumeClaim data @LastingHook(Pre) needs StorageClass fast",
        ),
        (
            "a hook of another operation",
            None,
            claim.clone().hook("pre-install"),
            "PersistentVolumeClaim data @Later needs StorageClass fast",
        ),
        ("the default class", None, bare, ""),
        (
            "a new StatefulSet",
            None,
            set(""),
            "StatefulSet db @Workload needs StorageClass fast",
        ),
        (
            "a StatefulSet that has its claims",
            Some(set("")),
            set(""),
            "StatefulSet db @Workload needs StorageClass fast, idle",
        ),
        (
            "a StatefulSet that grows",
            Some(set("")),
            set("replicas: 2,"),
            "StatefulSet db @Workload needs StorageClass fast",
        ),
        (
            "a StatefulSet that shrinks",
            Some(set("replicas: 3,")),
            set("replicas: 2,"),
            "StatefulSet db @Workload needs StorageClass fast, idle",
        ),
        (
            "a new StatefulSet without replicas",
            None,
            set("replicas: 0,"),
            "StatefulSet db @Workload needs StorageClass fast, idle",
        ),
        (
            "a custom kind",
            None,
            rollout("db", "", templates),
            "Rollout db @Workload needs StorageClass fast",
        ),
        (
            "a custom kind with something else there",
            None,
            rollout("db", "serviceAccountName: m", "volumeClaimTemplates: x"),
            "Rollout db @Workload needs ServiceAccount m",
        ),
        (
            "a custom kind without pods",
            None,
            doc("example.com/v1", "Thing", "x").fields(&format!("spec: {{{templates}}}")),
            "",
        ),
        (
            "a kind that has no such field",
            None,
            doc("apps/v1", "Deployment", "x").fields(&format!("spec: {{{templates}}}")),
            "",
        ),
    ] {
        let before: Vec<&dyn fmt::Display> = before.iter().map(|doc| doc as _).collect();
        let found = changed(Operation::Upgrade, &before, &[&after]);
        assert_eq!(found.join("; "), expected, "{case}");
    }
}

#[test]
fn a_claim_of_the_wrong_shape_is_refused_where_the_operation_makes_it() {
    let odd = claim("data").fields("spec: {storageClassName: 1}");
    for (case, doc, expected) in [
        (
            "a claim",
            odd.clone(),
            "PersistentVolumeClaim data: spec.storageClassName: expected a string, not a number",
        ),
        (
            "a template of one",
            doc("apps/v1", "StatefulSet", "db").fields("spec: {volumeClaimTemplates: [1]}"),
            "StatefulSet db: spec.volumeClaimTemplates[0]: expected an object, not a number",
        ),
        ("a hook of another operation", odd.hook("pre-install"), ""),
    ] {
        let target = revision(1, &[&doc]).release();
        let consumers = consumers(&Declared::default(), &target, Operation::Upgrade);
        let error = consumers.err().map(|error| error.to_string());
        assert_eq!(error.unwrap_or_default(), expected, "{case}");
    }
}

#[test]
fn config_that_annotations_name_is_needed_too() {
    let with_extra = |doc: Doc| {
        doc.annotation(extra::CONFIG_MAPS, "a, B c,b")
            .annotation(extra::SECRETS, "s")
    };
    let extra = "needs ConfigMap a; needs ConfigMap b; needs Secret s";
    for (case, doc, expected) in [
        ("a Deployment", deployment("x", ""), extra),
        (
            "a CronJob",
            doc("batch/v1", "CronJob", "x")
                .fields("spec: {jobTemplate: {spec: {template: {spec: {containers: []}}}}}"),
            extra,
        ),
        (
            "a Pod",
            doc("v1", "Pod", "x").fields("spec: {containers: []}"),
            extra,
        ),
        ("a custom kind", rollout("x", "", ""), extra),
        ("a kind without pods", config("x"), ""),
        (
            "a custom kind without pods",
            doc("example.com/v1", "Thing", "x"),
            "",
        ),
    ] {
        let found = found(Operation::Upgrade, &[&with_extra(doc)]);
        let needs = found
            .iter()
            .filter_map(|line| line.split(" @Workload ").last());
        assert_eq!(needs.collect::<Vec<_>>().join("; "), expected, "{case}");
    }
}

#[test]
fn who_needs_nothing_now() {
    let account = "serviceAccountName: m";
    let spec = |api_version: &str, kind: &str, fields: &str| {
        doc(api_version, kind, "x").fields(&format!(
            "spec: {{template: {{spec: {{containers: [], {account}}}}}, {fields}}}"
        ))
    };
    let job = |fields: &str| spec("batch/v1", "Job", fields);
    let cron_job = |fields: &str| {
        doc("batch/v1", "CronJob", "x").fields(&format!(
            "spec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [], {account}}}}}}}}}, {fields}}}"
        ))
    };
    let pod = |fields: &str| {
        doc("v1", "Pod", "x").fields(&format!("spec: {{containers: [], {account}, {fields}}}"))
    };
    let none = "replicas: 0";
    let deployment = |fields: &str| spec("apps/v1", "Deployment", fields);
    for (case, before, after, expected) in [
        ("no replicas", None, deployment(none), true),
        ("one replica", None, deployment("replicas: 1"), false),
        ("the default number", None, deployment(""), false),
        (
            "a number that is a text",
            None,
            deployment("replicas: '0'"),
            false,
        ),
        ("paused", None, deployment("paused: true"), false),
        (
            "a Deployment that stays as it is",
            Some(deployment("")),
            deployment(""),
            false,
        ),
        (
            "a StatefulSet with no replicas",
            None,
            spec("apps/v1", "StatefulSet", none),
            true,
        ),
        (
            "a custom kind with no replicas",
            None,
            rollout("x", account, none),
            true,
        ),
        (
            "a DaemonSet has no number of replicas",
            None,
            spec("apps/v1", "DaemonSet", none),
            false,
        ),
        (
            "a hook with no replicas",
            None,
            deployment(none).hook("pre-upgrade"),
            true,
        ),
        ("a CronJob", Some(cron_job("")), cron_job(""), false),
        ("a suspended CronJob", None, cron_job("suspend: true"), true),
        (
            "a CronJob that is not suspended",
            None,
            cron_job("suspend: false"),
            false,
        ),
        ("a new Job", None, job(""), false),
        ("a suspended Job", None, job("suspend: true"), true),
        ("a Job that may have finished", Some(job("")), job(""), true),
        (
            "the same with another label",
            Some(job("").annotation("chart", "app-1")),
            job("").annotation("chart", "app-2"),
            true,
        ),
        (
            "a Job that goes on",
            Some(job("suspend: true")),
            job("suspend: false"),
            false,
        ),
        (
            "a Job that is a hook runs again",
            Some(job("").hook("pre-upgrade")),
            job("").hook("pre-upgrade"),
            false,
        ),
        (
            "a Job that was a hook",
            Some(job("").hook("pre-upgrade")),
            job(""),
            false,
        ),
        ("a Pod stays", Some(pod("")), pod(""), false),
        (
            "a Pod that may have finished",
            Some(pod("restartPolicy: Never")),
            pod("restartPolicy: Never"),
            true,
        ),
        ("a new Pod", None, pod("restartPolicy: OnFailure"), false),
    ] {
        let before: Vec<&dyn fmt::Display> = before.iter().map(|doc| doc as _).collect();
        let found = changed(Operation::Upgrade, &before, &[&after]);
        let is_idle = found
            .iter()
            .map(|line| line.ends_with(" needs ServiceAccount m, idle"));
        assert_eq!(is_idle.collect::<Vec<_>>(), [expected], "{case}");
    }
}

#[test]
fn a_service_account_that_is_no_longer_named() {
    let before = [
        deployment("web", "serviceAccountName: m"),
        rollout("web", "serviceAccountName: m", ""),
    ];
    let before: Vec<&dyn fmt::Display> = before.iter().map(|doc| doc as _).collect();
    let kept = "Deployment web @Workload needs ServiceAccount m, kept";
    let none = deployment("web", "");
    let other = deployment("web", "serviceAccountName: other");
    for (case, after, expected) in [
        (
            "kept by a Deployment",
            &[&none as &dyn fmt::Display][..],
            &[kept][..],
        ),
        (
            "kept, and idle",
            &[&doc("apps/v1", "Deployment", "web")
                .fields("spec: {replicas: 0, template: {spec: {containers: []}}}")],
            &["Deployment web @Workload needs ServiceAccount m, kept, idle"],
        ),
        (
            "another one",
            &[&other],
            &["Deployment web @Workload needs ServiceAccount other"],
        ),
        ("custom kinds keep nothing", &[&rollout("web", "", "")], &[]),
        (
            "once for an object that is repeated",
            &[&none, &none, &none],
            &[kept],
        ),
        (
            "repeated, and only then without",
            &[&other, &none],
            &["Deployment web @Workload needs ServiceAccount other", kept],
        ),
        ("a new workload", &[&deployment("api", "")], &[]),
    ] {
        assert_eq!(
            changed(Operation::Upgrade, &before, after),
            expected,
            "{case}"
        );
    }
}

#[test]
fn a_hook_that_lists_an_event_again_is_one_consumer() {
    let job = pods("Job", "x", "serviceAccountName: m");
    let often = vec!["pre-upgrade"; 400].join(",");
    assert_eq!(
        found(Operation::Upgrade, &[&job.clone().hook(&often)]),
        ["Job x @Hook(Pre) needs ServiceAccount m"],
        "a hook that lists its event again and again"
    );
}
