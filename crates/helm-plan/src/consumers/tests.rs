use super::*;
use crate::testing::{Docs, config, deployment, doc, pods, revision, volumes};

/// `Deployment web @Workload needs ConfigMap a` of each consumer, in order.
fn found(operation: Operation, docs: Docs<'_>) -> Vec<String> {
    let target = revision(1, docs).release();
    let consumers = consumers(&Declared::default(), &target, operation).unwrap();
    let show = |consumer: &Consumer<'_>| {
        let keys = consumer.keys.iter().flatten();
        let keys: String = keys.map(|key| format!(" {key}")).collect();
        let optional = if consumer.optional { "?" } else { "" };
        format!(
            "{} @{:?} needs {}{optional}{keys}",
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
        ("a ConfigMap", config("x"), 0),
    ] {
        assert_eq!(found(Operation::Install, &[&doc]).len(), expected, "{name}");
    }
}
