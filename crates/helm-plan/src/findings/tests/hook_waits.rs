use super::*;
use crate::testing::live;

fn job(events: &str, source: &str) -> Doc {
    pods("Job", "migrate", &volumes(&[source])).hook(events)
}

fn needs_a(events: &str) -> Doc {
    job(events, "configMap: {name: a}")
}

const WAITS: &[&str] = &["hook-waits? ConfigMap a < Job migrate"];

#[test]
fn pre_hooks_wait_for_what_comes_later() {
    let late = |weight: &str| config("a").hook(PRE).weight(weight);
    let claims = job(PRE, "persistentVolumeClaim: {claimName: a}");
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 18] = [
        (
            "a regular resource",
            &[],
            &[&config("a"), &needs_a(PRE)],
            WAITS,
        ),
        (
            "a Secret",
            &[],
            &[&secret("a"), &job(PRE, "secret: {secretName: a}")],
            &["hook-waits? Secret a < Job migrate"],
        ),
        (
            "an account",
            &[],
            &[&account("a"), &migration(PRE, "a")],
            &["hook-waits? ServiceAccount a < Job migrate"],
        ),
        (
            "a claim",
            &[],
            &[&claim("a"), &claims],
            &["hook-waits? PersistentVolumeClaim a < Job migrate"],
        ),
        (
            "a hook with a higher weight",
            &[],
            &[&late("1"), &needs_a(PRE)],
            WAITS,
        ),
        (
            "a hook with a later name",
            &[],
            &[&config("z").hook(PRE), &job(PRE, "configMap: {name: z}")],
            &["hook-waits? ConfigMap z < Job migrate"],
        ),
        (
            "a post-hook",
            &[],
            &[&config("a").hook("post-upgrade"), &needs_a(PRE)],
            WAITS,
        ),
        (
            "what deletes itself is gone",
            &[&late("1").policy("hook-succeeded")],
            &[
                &late("1").policy("hook-succeeded,before-hook-creation"),
                &needs_a(PRE),
            ],
            WAITS,
        ),
        (
            "Not: a hook with a lower weight",
            &[],
            &[&late("-1"), &needs_a(PRE)],
            &[],
        ),
        (
            "Not: a hook with an earlier name",
            &[],
            &[&config("a").hook(PRE), &needs_a(PRE)],
            &[],
        ),
        (
            "Not: a hook of the same name, which is of an earlier kind",
            &[],
            &[
                &config("migrate").hook(PRE),
                &job(PRE, "configMap: {name: migrate}"),
            ],
            &[],
        ),
        (
            "Not: it was there",
            &[&config("a")],
            &[&config("a"), &needs_a(PRE)],
            &[],
        ),
        (
            "Not: a hook has left it",
            &[&late("1")],
            &[&late("1"), &needs_a(PRE)],
            &[],
        ),
        (
            "Not: a post-hook needs it",
            &[],
            &[&config("a"), &needs_a("post-upgrade")],
            &[],
        ),
        (
            "Not: at another time",
            &[],
            &[&config("a"), &needs_a("pre-install")],
            &[],
        ),
        (
            "Not: optional",
            &[],
            &[
                &config("a"),
                &job(PRE, "configMap: {name: a, optional: true}"),
            ],
            &[],
        ),
        (
            "Not: Helm does not wait for a Deployment",
            &[],
            &[&config("a"), &mounts("web", "a").hook(PRE)],
            &[],
        ),
        (
            "Not: the account that is always there",
            &[],
            &[&account("default"), &migration(PRE, "default")],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        let mut found = upgrade(v1, v2);
        found.retain(|finding| finding.lint().name == "hook-waits");
        assert_found(name, &found, expected);
    }
    assert_found(
        "an install",
        &install(&[&config("a"), &needs_a(PRE)]),
        WAITS,
    );
}

#[test]
fn what_is_there_already_is_not_waited_for() {
    let (v1, v2) = (
        revision(1, &[]),
        revision(2, &[&config("a"), &needs_a(PRE)]),
    );
    for (name, seen, expected) in [
        ("there", live(false), &[][..]),
        (
            "gone",
            Live::Absent,
            &["hook-waits ConfigMap a < Job migrate"],
        ),
        ("denied", Live::Denied(String::new()), WAITS),
    ] {
        let seen = [(core("ConfigMap", "a"), seen)];
        assert_found(name, &assessed(&v1, &v2, &seen), expected);
    }
}

#[test]
fn the_words() {
    let later = "make the hook which needs it a post-upgrade hook";
    assert_reason(
        &upgrade(&[], &[&config("a"), &needs_a(PRE)]),
        "is created only after the pre-upgrade hooks, and one of them needs it; Helm waits for that hook until it times out",
        &[
            "make it a pre-upgrade hook with a lower helm.sh/hook-weight than that of the hook which needs it",
            later,
        ],
    );
    assert_reason(
        &upgrade(&[], &[&config("a").hook(PRE).weight("1"), &needs_a(PRE)]),
        "is created by a pre-upgrade hook that runs after the hook which needs it; Helm waits for that hook until it times out",
        &[
            "give it a lower helm.sh/hook-weight than that of the hook which needs it",
            later,
        ],
    );
}
