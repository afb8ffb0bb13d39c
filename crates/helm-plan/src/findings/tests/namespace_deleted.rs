use super::*;
use crate::testing::live;

fn namespace() -> Doc {
    doc("v1", "Namespace", "jobs")
}

fn in_it() -> Doc {
    config("a").namespace("jobs")
}

fn namespace_id() -> ObjectId {
    ObjectId {
        namespace: String::new(),
        ..core("Namespace", "jobs")
    }
}

const LOST: &[&str] = &["namespace-deleted Namespace jobs < ConfigMap a"];
const DOUBT: &[&str] = &["namespace-deleted? Namespace jobs"];

#[test]
fn a_namespace_that_leaves_takes_everything_with_it() {
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 7] = [
        (
            "an object in it",
            &[&namespace(), &in_it()],
            &[&in_it()],
            LOST,
        ),
        ("a new object in it", &[&namespace()], &[&in_it()], LOST),
        (
            "only others' objects",
            &[&namespace(), &in_it()],
            &[],
            DOUBT,
        ),
        (
            "only a Job that is a hook",
            &[&namespace()],
            &[&pods("Job", "j", "").namespace("jobs").hook("pre-upgrade")],
            DOUBT,
        ),
        (
            "Not: keep",
            &[&namespace().keep(), &in_it()],
            &[&in_it()],
            &[],
        ),
        (
            "Not: it stays",
            &[&namespace(), &in_it()],
            &[&namespace(), &in_it()],
            &[],
        ),
        (
            "a hook: the other finding tells",
            &[&namespace(), &in_it()],
            &[&namespace().hook("pre-install"), &in_it()],
            &["hook-pruned Namespace jobs"],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
    assert_found(
        "rollback",
        &rollback(&[&namespace(), &in_it()], &[&in_it()]),
        LOST,
    );
}

#[test]
fn a_namespace_that_is_a_hook_is_deleted_first() {
    let hook = || namespace().hook(PRE);
    let seen = |v1: Docs<'_>, v2: Docs<'_>, live: Live| {
        assessed(
            &revision(1, v1).ran(),
            &revision(2, v2),
            &[(namespace_id(), live)],
        )
    };
    let both: Docs<'_> = &[&hook(), &in_it()];
    let cases: [(&str, Docs<'_>, Docs<'_>, Live, &[&str]); 9] = [
        ("in both revisions", both, both, Live::Unknown, LOST),
        ("it was seen", both, both, live(true), LOST),
        ("Not: it has gone", both, both, Live::Absent, &[]),
        (
            "nothing in it",
            &[&hook()],
            &[&hook()],
            Live::Unknown,
            DOUBT,
        ),
        (
            "what is new is applied afterwards",
            &[&hook()],
            both,
            Live::Unknown,
            DOUBT,
        ),
        (
            "there before the release",
            &[&in_it()],
            both,
            live(false),
            LOST,
        ),
        (
            "Not: a new one, as far as is known",
            &[&in_it()],
            both,
            Live::Unknown,
            &[],
        ),
        (
            "Not: at the install only",
            &[&namespace().hook("pre-install"), &in_it()],
            &[&namespace().hook("pre-install"), &in_it()],
            live(false),
            &[],
        ),
        (
            "by a second hook, after all is applied",
            &[],
            &[&namespace().hook("pre-upgrade,post-upgrade"), &in_it()],
            Live::Absent,
            LOST,
        ),
    ];
    for (name, v1, v2, live, expected) in cases {
        assert_found(name, &seen(v1, v2, live), expected);
    }
}

#[test]
fn a_namespace_whose_hook_deletes_itself_takes_everything_with_it() {
    let hook = |events: &str| namespace().hook(events).policy("hook-succeeded");
    assert_found(
        "upgrade",
        &upgrade(&[&in_it()], &[&hook("post-upgrade"), &in_it()]),
        LOST,
    );
    assert_found(
        "install",
        &install(&[&hook("post-install"), &in_it()]),
        LOST,
    );
    assert_found(
        "Not: another event",
        &upgrade(&[&in_it()], &[&hook("post-install"), &in_it()]),
        &[],
    );
}

#[test]
fn the_words() {
    let keep = "keep the live object: kubectl annotate namespace jobs helm.sh/resource-policy=keep";
    assert_reason(
        &upgrade(&[&namespace()], &[&in_it()]),
        "is in revision 1 but not in revision 2, so Helm deletes it; everything in it is deleted too",
        &["put it back into the chart", keep],
    );
    assert_reason(
        &rollback(&[&namespace()], &[]),
        "is in revision 2 but not in revision 3, so Helm deletes it; everything in it is deleted too, and others may have objects in it",
        &[
            "upgrade to a chart that has it as a regular resource, instead of rolling back",
            keep,
        ],
    );
    let v1 = revision(1, &[&namespace().hook(PRE), &in_it()]).ran();
    let v2 = revision(2, &[&namespace().hook(PRE), &in_it()]);
    assert_reason(
        &read(Operation::Upgrade, Some(&v1), &v2),
        "is a pre-upgrade hook with the delete policy before-hook-creation, so Helm deletes it before it creates it again; everything in it is deleted too",
        &["make it a regular resource with helm.sh/resource-policy: keep"],
    );
    let hook = namespace().hook("post-upgrade").policy("hook-succeeded");
    assert_reason(
        &upgrade(&[&in_it()], &[&hook, &in_it()]),
        "is a post-upgrade hook with the delete policy hook-succeeded, so Helm deletes it; everything in it is deleted too",
        &["make it a regular resource with helm.sh/resource-policy: keep"],
    );
}
