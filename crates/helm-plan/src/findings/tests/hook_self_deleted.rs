use super::*;
use crate::testing::live;

#[test]
fn hooks_that_delete_themselves_are_gone_when_pods_start() {
    let hook = |events: &str| {
        config("a")
            .hook(events)
            .policy("before-hook-creation,hook-succeeded")
    };
    let web = || mounts("web", "a");
    let lost = &["hook-self-deleted ConfigMap a < Deployment web"][..];
    let cases: [(&str, Docs<'_>, &[&str]); 8] = [
        ("pre-upgrade", &[&hook(PRE), &web()], lost),
        ("post-upgrade", &[&hook("post-upgrade"), &web()], lost),
        (
            "a post-hook needs what a pre-hook has deleted",
            &[
                &account("m").hook(PRE).policy("hook-succeeded"),
                &migration("post-upgrade", "m"),
            ],
            &["hook-self-deleted ServiceAccount m < Job migrate"],
        ),
        (
            "Not: only a hook of the same time",
            &[
                &account("m").hook(PRE).policy("hook-succeeded"),
                &migration(PRE, "m"),
            ],
            &[],
        ),
        ("Not: nobody needs it", &[&hook(PRE)], &[]),
        (
            "Not: regular as well",
            &[&hook(PRE), &config("a"), &web()],
            &[],
        ),
        (
            "Not: at another time, so that nothing creates it",
            &[&hook("pre-rollback"), &web()],
            &["hook-not-run? ConfigMap a < Deployment web"],
        ),
        (
            "Not: only after a failure",
            &[
                &config("a")
                    .hook(PRE)
                    .policy("before-hook-creation,hook-failed"),
                &web(),
            ],
            &[],
        ),
    ];
    for (name, docs, expected) in cases {
        assert_found(name, &upgrade(&[], docs), expected);
    }
    assert_found("install", &install(&[&hook(PRE), &web()]), lost);
    assert_found(
        "regular before",
        &upgrade(&[&config("a"), &web()], &[&hook(PRE), &web()]),
        lost,
    );
}

/// A hook without before-hook-creation meets an object that Helm was told to keep, and fails before it is deleted.
#[test]
fn an_object_that_is_kept_by_hand_is_not_deleted() {
    let hook = config("a").hook("post-upgrade").policy("hook-succeeded");
    let web = mounts("web", "a");
    let found = |live: Live| {
        let v1 = revision(1, &[&config("a"), &web]);
        let v2 = revision(2, &[&hook, &web]);
        assessed(&v1, &v2, &[(core("ConfigMap", "a"), live)])
    };
    let lost = "hook-self-deleted ConfigMap a < Deployment web";
    assert_found("not kept", &found(live(false)), &[lost]);
    assert_found("kept", &found(live(true)), &["hook-conflict ConfigMap a"]);
}
