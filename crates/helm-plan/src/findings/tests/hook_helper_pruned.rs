use super::*;

#[test]
fn what_only_hook_pods_use_is_a_helper() {
    let sa = || account("m");
    let regular: Docs<'_> = &[&sa(), &pods("Job", "migrate", "serviceAccountName: m")];
    let helper = &["hook-helper-pruned ServiceAccount m < Job migrate"][..];
    let cases: [(&str, Docs<'_>, &[&str]); 11] = [
        (
            "the account of a migration",
            &[&sa().hook(PRE), &migration(PRE, "m")],
            helper,
        ),
        (
            "a config of it",
            &[
                &config("m").hook(PRE),
                &pods("Job", "migrate", &volumes(&["configMap: {name: m}"])).hook(PRE),
            ],
            &["dangling"],
        ),
        (
            "both at an install only",
            &[&sa().hook("pre-install"), &migration("pre-install", "m")],
            helper,
        ),
        (
            "the account at more events",
            &[
                &sa().hook("pre-install,pre-upgrade,pre-rollback"),
                &migration(PRE, "m"),
            ],
            helper,
        ),
        (
            "Not: a workload uses it too",
            &[
                &sa().hook(PRE),
                &migration(PRE, "m"),
                &deployment("web", "serviceAccountName: m"),
            ],
            &["hook-pruned ServiceAccount m < Deployment web, Job migrate"],
        ),
        (
            "Not: a post-hook uses it when it is gone",
            &[&sa().hook(PRE), &migration("post-upgrade", "m")],
            &["hook-pruned ServiceAccount m < Job migrate"],
        ),
        (
            "Not: the next upgrade would miss it",
            &[&sa().hook("pre-install"), &migration(PRE, "m")],
            &["hook-pruned ServiceAccount m < Job migrate"],
        ),
        (
            "Not: an uninstall would miss it",
            &[&sa().hook(PRE), &migration("pre-delete", "m")],
            &["hook-pruned ServiceAccount m < Job migrate"],
        ),
        (
            "Not: nobody is known to use it",
            &[&sa().hook(PRE)],
            &["hook-pruned ServiceAccount m"],
        ),
        (
            "Not: tests do not count",
            &[&sa().hook(PRE), &migration("test", "m")],
            &["hook-pruned ServiceAccount m"],
        ),
        (
            "pods of another namespace use another account",
            &[&sa().hook(PRE), &migration(PRE, "m").namespace("other")],
            &["hook-pruned ServiceAccount m"],
        ),
    ];
    for (name, v2, expected) in cases {
        if expected == ["dangling"] {
            let v1: Docs<'_> = &[&config("m"), &pods("Job", "migrate", "")];
            assert_found(
                name,
                &upgrade(v1, v2),
                &["hook-helper-pruned ConfigMap m < Job migrate"],
            );
        } else {
            assert_found(name, &upgrade(regular, v2), expected);
        }
    }
}

#[test]
fn roles_of_helpers_are_helpers() {
    let rbac = |events: &str, accounts: &[&str]| {
        [
            role("r").hook(events),
            binding("b", "r", accounts).hook(events),
        ]
    };
    let before: Docs<'_> = &[&role("r"), &binding("b", "r", &["m"])];
    let [r, b] = rbac(PRE, &["m"]);
    assert_found(
        "all of it",
        &upgrade(
            &[&account("m"), &role("r"), &binding("b", "r", &["m"])],
            &[&account("m").hook(PRE), &r, &b, &migration(PRE, "m")],
        ),
        &[
            "hook-helper-pruned ServiceAccount m < Job migrate",
            "hook-helper-pruned Role r",
            "hook-helper-pruned RoleBinding b",
        ],
    );
    assert_found(
        "the account stays",
        &upgrade(
            &[&account("m"), &role("r"), &binding("b", "r", &["m"])],
            &[&r, &b, &account("m"), &migration(PRE, "m")],
        ),
        &[
            "hook-helper-pruned Role r",
            "hook-helper-pruned RoleBinding b",
        ],
    );
    assert_found(
        "Not: a workload has the account too",
        &upgrade(
            before,
            &[
                &r,
                &b,
                &migration(PRE, "m"),
                &deployment("web", "serviceAccountName: m"),
            ],
        ),
        &["hook-pruned Role r", "hook-pruned RoleBinding b"],
    );
    let [r, b] = rbac(PRE, &["m", "stranger"]);
    assert_found(
        "Not: an account of which nothing is known is bound too",
        &upgrade(before, &[&r, &b, &migration(PRE, "m")]),
        &["hook-pruned Role r", "hook-pruned RoleBinding b"],
    );
    let [r, b] = rbac("pre-install", &["m"]);
    assert_found(
        "Not: the next upgrade would miss them",
        &upgrade(before, &[&r, &b, &migration(PRE, "m")]),
        &["hook-pruned Role r", "hook-pruned RoleBinding b"],
    );
    assert_found(
        "Not: bound by nothing",
        &upgrade(&[&role("r")], &[&role("r").hook(PRE), &migration(PRE, "m")]),
        &["hook-pruned Role r"],
    );
    let group =
        |b: Doc| b.fields("roleRef: {kind: Role, name: r}, subjects: [{kind: Group, name: m}]");
    assert_found(
        "Not: bound to a group",
        &upgrade(
            before,
            &[
                &role("r").hook(PRE),
                &group(binding("b", "r", &[])).hook(PRE),
                &migration(PRE, "m"),
            ],
        ),
        &["hook-pruned Role r", "hook-pruned RoleBinding b"],
    );
}
