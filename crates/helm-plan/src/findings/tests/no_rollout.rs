use super::*;

#[test]
fn changed_config_of_an_unchanged_workload_is_not_rolled_out() {
    let with = |value: &str| config("a").fields(&format!("data: {{x: {value}, other: same}}"));
    let web = || mounts("web", "a");
    let item = |key: &str| {
        deployment(
            "web",
            &volumes(&[&format!(
                "configMap: {{name: a, items: [{{key: {key}, path: p}}]}}"
            )]),
        )
    };
    let silent = &["no-rollout ConfigMap a < Deployment web"][..];
    let sub_path = |source: &str, path: &str| {
        deployment("web", &mounted_at(&[(source, &format!("subPath: {path}"))]))
    };
    let all = "configMap: {name: a}";
    let items = "configMap: {name: a, items: [{key: x, path: p}, {key: other, path: q}]}";
    let login = |value: &str| secret("login").fields(&format!("data: {{x: {value}}}"));
    let driver = || deployment("web", &volumes(&["rbd: {secretRef: {name: login}}"]));
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 16] = [
        (
            "the key that a subPath shows",
            &[&with("old"), &sub_path(all, "x")],
            &[&with("new"), &sub_path(all, "x")],
            silent,
        ),
        (
            "Not: a subPath shows another key",
            &[&with("old"), &sub_path(all, "other")],
            &[&with("new"), &sub_path(all, "other")],
            &[],
        ),
        (
            "Not: an item that no container sees",
            &[&with("old"), &sub_path(items, "q")],
            &[&with("new"), &sub_path(items, "q")],
            &[],
        ),
        (
            "Not: credentials of a volume driver, which are no config",
            &[&login("b25l"), &driver()],
            &[&login("dHdv"), &driver()],
            &[],
        ),
        (
            "all keys",
            &[&with("old"), &web()],
            &[&with("new"), &web()],
            silent,
        ),
        (
            "the key",
            &[&with("old"), &item("x")],
            &[&with("new"), &item("x")],
            silent,
        ),
        (
            "a key more",
            &[&config("a"), &web()],
            &[&config("a").fields("data: {key: value, more: x}"), &web()],
            silent,
        ),
        (
            "binaryData",
            &[&with("x"), &web()],
            &[&with("x").fields("binaryData: {x: eA==}"), &web()],
            silent,
        ),
        (
            "several workloads",
            &[&with("old"), &web(), &mounts("api", "a")],
            &[&with("new"), &web(), &mounts("api", "a")],
            &["no-rollout ConfigMap a < Deployment web, Deployment api"],
        ),
        (
            "Not: unchanged",
            &[&with("x"), &web()],
            &[&with("x"), &web()],
            &[],
        ),
        (
            "Not: another key",
            &[&with("old"), &item("other")],
            &[&with("new"), &item("other")],
            &[],
        ),
        (
            "Not: the workload changes",
            &[&with("old"), &web()],
            &[&with("new"), &web().annotation("revision", "2")],
            &[],
        ),
        (
            "Not: a new workload",
            &[&with("old")],
            &[&with("new"), &web()],
            &[],
        ),
        ("Not: a new config", &[&web()], &[&with("new"), &web()], &[]),
        (
            "Not: Jobs run once",
            &[
                &with("old"),
                &pods("Job", "j", &volumes(&["configMap: {name: a}"])),
            ],
            &[
                &with("new"),
                &pods("Job", "j", &volumes(&["configMap: {name: a}"])),
            ],
            &[],
        ),
        (
            "Not: a hook that does not run",
            &[&with("old").hook("pre-install"), &web()],
            &[&with("new").hook("pre-install"), &web()],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
    let (v1, v2) = (
        revision(1, &[&with("old"), &web()]),
        revision(2, &[&with("new"), &web()]),
    );
    assert_found(
        "Not: server-side apply sends it",
        &read(Operation::Upgrade, Some(&v1), &v2.clone().server_side()),
        &[],
    );
    assert_found(
        "rollback",
        &read(Operation::Rollback, Some(&v1), &v2),
        silent,
    );
}

/// The rollback copied the hook into its record and did not run it, so the object has the content of a revision that is
/// not looked at.
#[test]
fn what_a_hook_left_behind_before_a_rollback_is_not_known() {
    let with = |value: &str, events: &str| {
        config("a")
            .hook(events)
            .fields(&format!("data: {{x: {value}}}"))
    };
    let web = || mounts("web", "a");
    let found = |events: &str, description: &str| {
        let v3 = revision(3, &[&with("old", events), &web()]).ran();
        let v3 = v3.with("/info/description", description);
        let v4 = revision(4, &[&with("new", events), &web()]);
        read(Operation::Upgrade, Some(&v3), &v4)
    };
    let silent = &["no-rollout ConfigMap a < Deployment web"][..];
    let every = "pre-install,pre-upgrade,pre-rollback";
    assert_found("an upgrade", &found(PRE, "Upgrade complete"), silent);
    assert_found("a rollback", &found(PRE, "Rollback to 1"), &[]);
    assert_found("it ran", &found(every, "Rollback to 1"), silent);
}
