use super::*;

#[test]
fn a_regular_resource_that_becomes_a_hook_is_pruned() {
    let a = || config("a");
    let pruned = &["hook-pruned ConfigMap a"][..];
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 19] = [
        ("pre-upgrade", &[&a()], &[&a().hook("pre-upgrade")], pruned),
        (
            "pre-install: never made again",
            &[&a()],
            &[&a().hook("pre-install")],
            pruned,
        ),
        (
            "post-install",
            &[&a()],
            &[&a().hook("post-install")],
            pruned,
        ),
        (
            "pre-rollback",
            &[&a()],
            &[&a().hook("pre-rollback")],
            pruned,
        ),
        (
            "with its users",
            &[&a(), &mounts("web", "a")],
            &[&a().hook(PRE), &mounts("web", "a"), &mounts("api", "a")],
            &["hook-pruned ConfigMap a < Deployment web, Deployment api"],
        ),
        (
            "users for which it is optional do not need it",
            &[&a()],
            &[
                &a().hook(PRE),
                &deployment("web", &volumes(&["configMap: {name: a, optional: true}"])),
            ],
            pruned,
        ),
        (
            "a Secret, an account and a claim",
            &[&secret("s"), &account("b"), &claim("d")],
            &[
                &secret("s").hook(PRE),
                &account("b").hook(PRE),
                &claim("d").hook(PRE),
            ],
            &[
                "hook-pruned ServiceAccount b",
                "hook-pruned Secret s",
                "hook-pruned PersistentVolumeClaim d",
            ],
        ),
        (
            "a custom resource",
            &[&doc("velero.io/v1", "BackupStorageLocation", "default")],
            &[&doc("velero.io/v1", "BackupStorageLocation", "default").hook("pre-install")],
            &["hook-pruned BackupStorageLocation default"],
        ),
        (
            "in a List before",
            &[&format!("{{apiVersion: v1, kind: List, items: [{}]}}", a())],
            &[&a().hook(PRE)],
            pruned,
        ),
        (
            "keep in a hook that does not run",
            &[&a()],
            &[&a().hook("pre-install").keep()],
            pruned,
        ),
        (
            "Not: a hook in both",
            &[&a().hook(PRE), &mounts("web", "a")],
            &[&a().hook(PRE), &mounts("web", "a")],
            &[],
        ),
        (
            "Not: a hook that was not there before",
            &[],
            &[&a().hook(PRE), &mounts("web", "a")],
            &[],
        ),
        (
            "Not: keep in the hook",
            &[&a()],
            &[&a().hook(PRE).keep()],
            &[],
        ),
        (
            "Not: keep on the object",
            &[&a().keep()],
            &[&a().hook("pre-install")],
            &[],
        ),
        (
            "Not: it stays a regular resource too",
            &[&a()],
            &[&a().hook(PRE), &a()],
            &[],
        ),
        (
            "Not: a post-hook makes it again",
            &[&a()],
            &[&a().hook("pre-upgrade,post-upgrade")],
            &[],
        ),
        (
            "Not: deleted on purpose",
            &[&a()],
            &[&a().hook(PRE).policy("before-hook-creation,hook-succeeded")],
            &[],
        ),
        ("Not: a test hook", &[&a()], &[&a().hook("test")], &[]),
        (
            "Not: a delete hook",
            &[&a()],
            &[&a().hook("pre-delete,post-delete")],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
}

#[test]
fn hooks_that_run_to_completion_are_done_when_they_are_pruned() {
    for (name, regular) in [
        ("Job", pods("Job", "a", "")),
        (
            "Pod",
            doc("v1", "Pod", "a").fields("spec: {containers: []}"),
        ),
    ] {
        assert_found(
            name,
            &upgrade(&[&regular], &[&regular.clone().hook(PRE)]),
            &[],
        );
        assert_found(
            name,
            &upgrade(&[&regular], &[&regular.clone().hook("pre-install")]),
            &[],
        );
    }
    let other = doc("example.com/v1", "Job", "a");
    assert_found(
        "a Job of another group",
        &upgrade(&[&other], &[&other.clone().hook(PRE)]),
        &["hook-pruned Job a"],
    );
}

/// What no hook creates before the prune cannot be rescued, and what may come back is never rejected.
#[test]
fn a_finding_that_is_not_rescued_keeps_its_doubt() {
    let rescue: Levels =
        serde_json::from_value(serde_json::json!({"hook-pruned": "rescue"})).unwrap();
    let web = |more: &str| {
        let template = "template: {spec: {containers: [{envFrom: [{configMapRef: {name: a}}]}]}}";
        doc("apps/v1", "Deployment", "web").fields(&format!("spec: {{{template}, {more}}}"))
    };
    for (case, events, web, expected) in [
        ("created first", PRE, web("replicas: 1"), Level::Rescue),
        (
            "not created",
            "pre-install",
            web("replicas: 1"),
            Level::Reject,
        ),
        (
            "not created, and nobody runs",
            "pre-install",
            web("replicas: 0"),
            Level::Warn,
        ),
    ] {
        let found = upgrade(&[&config("a"), &web], &[&config("a").hook(events), &web]);
        let levels: Vec<_> = found
            .iter()
            .map(|finding| rescue.of_finding(finding))
            .collect();
        assert_eq!(levels, [expected], "{case}");
    }
}
