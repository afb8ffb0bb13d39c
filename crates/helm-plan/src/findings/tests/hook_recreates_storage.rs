use super::*;

#[test]
fn claims_that_are_hooks_lose_their_data() {
    let hook = |policy: &str| claim("data").hook(PRE).policy(policy);
    let db = || {
        pods(
            "StatefulSet",
            "db",
            &volumes(&["persistentVolumeClaim: {claimName: data}"]),
        )
    };
    assert_found(
        "by default",
        &upgrade(
            &[&claim("data").hook(PRE), &db()],
            &[&claim("data").hook(PRE), &db()],
        ),
        &["hook-recreates-storage PersistentVolumeClaim data < StatefulSet db"],
    );
    assert_found(
        "also when nobody is known to use it",
        &upgrade(&[], &[&hook("before-hook-creation")]),
        &["hook-recreates-storage PersistentVolumeClaim data"],
    );
    assert_found(
        "Not: another policy",
        &upgrade(&[], &[&hook("hook-failed")]),
        &[],
    );
    assert_found(
        "Not: an install",
        &install(&[&hook("before-hook-creation")]),
        &[],
    );
    assert_found(
        "Not: at another time",
        &upgrade(&[], &[&claim("data").hook("pre-install")]),
        &[],
    );
    assert_found(
        "Not: another kind",
        &upgrade(&[], &[&config("data").hook(PRE)]),
        &[],
    );
    assert_found(
        "Not: a regular one",
        &upgrade(&[&claim("data"), &db()], &[&claim("data"), &db()]),
        &[],
    );
}
