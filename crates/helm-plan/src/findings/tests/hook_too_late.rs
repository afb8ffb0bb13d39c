use super::*;

#[test]
fn post_hooks_are_too_late_for_workloads() {
    let web = || mounts("web", "a");
    let late = &["hook-too-late ConfigMap a < Deployment web"][..];
    let hook = |events: &str| config("a").hook(events);
    assert_found("install", &install(&[&hook("post-install"), &web()]), late);
    assert_found(
        "new in this revision",
        &upgrade(&[], &[&hook("post-upgrade"), &web()]),
        late,
    );
    assert_found(
        "regular before: absent in between",
        &upgrade(&[&config("a"), &web()], &[&hook("post-upgrade"), &web()]),
        late,
    );
    assert_found(
        "made, pruned and made again",
        &upgrade(
            &[&config("a"), &web()],
            &[&hook("pre-upgrade,post-upgrade"), &web()],
        ),
        late,
    );
    assert_found(
        "Not: a hook of before has left it",
        &upgrade(
            &[&hook("post-install,post-upgrade")],
            &[&hook("post-install,post-upgrade"), &web()],
        ),
        &[],
    );
    assert_found(
        "Not: a pre-hook",
        &install(&[&hook("pre-install"), &web()]),
        &[],
    );
    assert_found(
        "Not: a pre-hook as well",
        &install(&[&hook("pre-install,post-install"), &web()]),
        &[],
    );
    assert_found(
        "Not: nobody needs it",
        &install(&[&hook("post-install")]),
        &[],
    );
    assert_found(
        "Not: only the hooks after it do",
        &install(&[
            &account("m").hook("post-install"),
            &migration("post-install", "m"),
        ]),
        &[],
    );
    assert_found(
        "Not: optional",
        &install(&[
            &hook("post-install"),
            &deployment("web", &volumes(&["configMap: {name: a, optional: true}"])),
        ]),
        &[],
    );
}
