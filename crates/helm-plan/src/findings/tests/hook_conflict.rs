use super::*;

#[test]
fn hooks_that_collide_with_an_existing_object_fail() {
    let hook = |policy: &str| config("a").hook("pre-upgrade").policy(policy);
    let (v1, web): (Docs<'_>, _) = (
        &[&config("a"), &config("b"), &mounts("web", "b")],
        mounts("web", "b"),
    );
    let conflict = &["hook-conflict ConfigMap a"][..];
    assert_found(
        "hook-failed",
        &upgrade(v1, &[&hook("hook-failed"), &config("b"), &web]),
        conflict,
    );
    assert_found(
        "hook-succeeded",
        &upgrade(v1, &[&hook("hook-succeeded"), &config("b"), &web]),
        conflict,
    );
    assert_found(
        "nothing is pruned then",
        &upgrade(v1, &[&hook("hook-failed"), &web]),
        conflict,
    );
    assert_found(
        "Not: before-hook-creation",
        &upgrade(
            v1,
            &[
                &hook("before-hook-creation,hook-failed").keep(),
                &config("b"),
                &web,
            ],
        ),
        &[],
    );
    let (v1, v2) = (
        revision(1, v1),
        revision(2, &[&hook("hook-failed").keep(), &config("b"), &web]),
    );
    assert_found(
        "Not: server-side apply",
        &read(Operation::Upgrade, Some(&v1), &v2.server_side()),
        &[],
    );
}

#[test]
fn an_object_that_an_earlier_hook_left_may_still_exist() {
    let docs: Docs<'_> = &[&config("a").hook(PRE).policy("hook-failed")];
    let (v1, v2) = (revision(1, docs), revision(2, docs));
    let found = |v1: &Revision, v2: &Revision| read(Operation::Upgrade, Some(v1), v2);
    assert_found(
        "it ran",
        &found(&v1.clone().ran(), &v2),
        &["hook-conflict? ConfigMap a"],
    );
    assert_found("Not: it did not run", &found(&v1, &v2), &[]);
    assert_found(
        "Not: server-side",
        &found(&v1.clone().ran(), &v2.server_side()),
        &[],
    );
    let succeeded: Docs<'_> = &[&config("a").hook(PRE).policy("hook-succeeded")];
    let (v1, v2) = (revision(1, succeeded).ran(), revision(2, succeeded));
    assert_found("Not: it has deleted itself", &found(&v1, &v2), &[]);
}
