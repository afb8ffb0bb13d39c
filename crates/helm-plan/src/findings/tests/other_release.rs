use serde_json::json;

use super::*;

fn of(release: &str, namespace: &str) -> Live {
    Live::Present(json!({"metadata": {"annotations": {
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": namespace,
    }}}))
}

#[test]
fn what_another_release_has_taken_over_must_not_be_deleted() {
    let found = |object: &Doc, kind: &str, live: Live| {
        let (v1, v2) = (revision(1, &[object]), revision(2, &[]));
        assessed(&v1, &v2, &[(core(kind, "a"), live)])
    };
    for (object, kind) in [
        (config("a"), "ConfigMap"),
        (secret("a"), "Secret"),
        (account("a"), "ServiceAccount"),
        (claim("a"), "PersistentVolumeClaim"),
    ] {
        let lost = format!("other-release {kind} a");
        assert_found(kind, &found(&object, kind, of("api", "shop")), &[&lost]);
    }
    let lost = &["other-release ConfigMap a"][..];
    for (name, live, expected) in [
        ("the same name elsewhere", of("web", "other"), lost),
        ("Not: its own", of("web", "shop"), &[]),
        ("Not: nobody's", crate::testing::live(false), &[]),
        ("Not: gone", Live::Absent, &[]),
        ("Not: denied", Live::Denied(String::new()), &[]),
        ("Not: nobody looks", Live::Unknown, &[]),
    ] {
        assert_found(name, &found(&config("a"), "ConfigMap", live), expected);
    }
    let service = doc("v1", "Service", "a");
    assert_found(
        "Not: another kind",
        &found(&service, "Service", of("api", "shop")),
        &[],
    );
    let other = [(core("ConfigMap", "a"), of("api", "shop"))];
    let (v1, v2) = (revision(1, &[&config("a")]), revision(2, &[&config("a")]));
    assert_found("Not: it stays", &assessed(&v1, &v2, &other), &[]);
    let v2 = revision(2, &[&config("a").hook(PRE)]);
    let trap = &["hook-pruned ConfigMap a"];
    assert_found(
        "Not: a hook makes it anew",
        &assessed(&v1, &v2, &other),
        trap,
    );
}

#[test]
fn the_words() {
    let seen = [(core("ConfigMap", "a"), of("api", "other"))];
    let (v1, v2) = (revision(1, &[&config("a")]), revision(2, &[]));
    let reason = "belongs to the release api in the namespace other by now, and Helm deletes it because it is no longer in this one";
    assert_reason(
        &assessed(&v1, &v2, &seen),
        reason,
        &[
            "keep the live object: kubectl annotate -n shop configmap a helm.sh/resource-policy=keep",
        ],
    );
}
