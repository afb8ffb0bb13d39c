use super::*;
use crate::testing::live;

fn hook(policy: &str) -> Doc {
    config("a").hook("pre-upgrade").policy(policy)
}

/// What is found when the ConfigMap `a` was looked at.
fn with_a(v1: Docs<'_>, v2: Docs<'_>, a: Live) -> Vec<Finding> {
    let live = [(core("ConfigMap", "a"), a)];
    assessed(&revision(1, v1), &revision(2, v2), &live)
}

#[test]
fn hooks_that_collide_with_an_existing_object_fail() {
    let web = || mounts("web", "b");
    let v1: Docs<'_> = &[&config("a"), &config("b"), &web()];
    let conflict = &["hook-conflict ConfigMap a"][..];
    for policy in ["hook-failed", "hook-succeeded"] {
        let found = with_a(v1, &[&hook(policy), &config("b"), &web()], live(false));
        assert_found(policy, &found, conflict);
    }
    assert_found(
        "nothing is pruned then",
        &with_a(v1, &[&hook("hook-failed"), &web()], live(false)),
        conflict,
    );
    let kept = || hook("before-hook-creation,hook-failed").keep();
    assert_found(
        "Not: before-hook-creation",
        &with_a(v1, &[&kept(), &config("b"), &web()], live(false)),
        &[],
    );
    let v2 = revision(2, &[&hook("hook-failed").keep(), &config("b"), &web()]);
    assert_found(
        "Not: server-side apply",
        &read(
            Operation::Upgrade,
            Some(&revision(1, v1)),
            &v2.server_side(),
        ),
        &[],
    );
}

/// A Job that has expired, a kind that must not be read: the upgrade goes on, and into the trap.
#[test]
fn a_conflict_that_is_supposed_hides_nothing() {
    let job = || pods("Job", "migrate", "");
    let web = || mounts("web", "a");
    let v1: Docs<'_> = &[&job(), &config("a"), &web()];
    let v2: Docs<'_> = &[
        &job().hook("pre-upgrade").policy("hook-succeeded"),
        &config("a").hook("pre-upgrade"),
        &web(),
    ];
    let found = |live: Live| {
        let job = ObjectId {
            group: "batch".to_owned(),
            ..core("Job", "migrate")
        };
        assessed(&revision(1, v1), &revision(2, v2), &[(job, live)])
    };
    let trap = "hook-pruned ConfigMap a < Deployment web";
    let supposed = &[trap, "hook-conflict? Job migrate"][..];
    assert_found("nobody looks", &found(Live::Unknown), supposed);
    assert_found("denied", &found(Live::Denied(String::new())), supposed);
    assert_found("it has expired", &found(Live::Absent), &[trap]);
    assert_found(
        "it is there",
        &found(live(false)),
        &["hook-conflict Job migrate"],
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

/// Its delete policy did not run, since the client was killed.
#[test]
fn what_an_interrupted_operation_left_is_found_where_it_is_there() {
    let docs: Docs<'_> = &[&config("a").hook(PRE).policy("hook-succeeded")];
    for (case, a, expected) in [
        ("there", live(false), &["hook-conflict ConfigMap a"][..]),
        ("gone", Live::Absent, &[]),
        ("denied", Live::Denied(String::new()), &[]),
    ] {
        assert_found(case, &with_a(docs, docs, a), expected);
    }
}

/// The second hook fails for certain, since it runs twice; the first one is there, and fails before it.
#[test]
fn the_first_conflict_is_found_whatever_fails_behind_it() {
    let twice = config("z")
        .hook("pre-upgrade,pre-upgrade")
        .policy("hook-failed");
    let docs: Docs<'_> = &[&hook("hook-succeeded"), &twice];
    let found = with_a(docs, docs, live(false));
    assert_found("there", &found, &["hook-conflict ConfigMap a"]);
    let found = with_a(docs, docs, Live::Absent);
    assert_found("gone", &found, &["hook-conflict ConfigMap z"]);
}

/// Its second run would meet what the first one creates, after the prune. If it is there, the first one fails, and
/// nothing is pruned.
#[test]
fn a_hook_that_meets_itself_may_fail_earlier() {
    let twice = || {
        config("a")
            .hook("pre-upgrade,post-upgrade")
            .policy("hook-failed")
    };
    let v1 = revision(1, &[&config("b"), &mounts("web", "b")]);
    let v2 = revision(2, &[&twice(), &mounts("web", "b")]);
    let after_the_prune = &[
        "dangling-reference ConfigMap b < Deployment web",
        "hook-conflict ConfigMap a",
    ][..];
    for (case, live, expected) in [
        ("absent", Live::Absent, after_the_prune),
        ("present", live(false), &["hook-conflict ConfigMap a"]),
    ] {
        let found = assessed(&v1, &v2, &[(core("ConfigMap", "a"), live)]);
        assert_found(case, &found, expected);
    }
}
