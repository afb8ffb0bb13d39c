use super::*;

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
