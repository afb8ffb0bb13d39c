use std::fmt::Write;

use super::*;
use crate::testing::{
    Docs, NAMESPACE, Revision, account, claim, config, deployment, doc, live, mounts, pods,
    revision, role, secret,
};

/// How the target is applied.
#[derive(Clone, Copy)]
enum Apply {
    ClientSide,
    ServerSide,
}

use Apply::{ClientSide, ServerSide};

impl Apply {
    fn revision(self, number: u64, docs: Docs<'_>) -> Revision {
        match self {
            ClientSide => revision(number, docs),
            ServerSide => revision(number, docs).server_side(),
        }
    }
}

fn plan_with(
    operation: Operation,
    current: Option<&Release>,
    target: &Release,
    kept: &[&str],
) -> String {
    let live = kept.iter().map(|name| (id("ConfigMap", name), live(true)));
    let live = live.collect();
    show(&Plan::new(operation, current, target, &live))
}

fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        writeln!(text, "{step}").unwrap();
    }
    text
}

fn id(kind: &str, name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

fn upgrade(apply: Apply, v1: Docs<'_>, v2: Docs<'_>) -> Plan {
    let (v1, v2) = (
        apply.revision(1, v1).release(),
        apply.revision(2, v2).release(),
    );
    Plan::new(Operation::Upgrade, Some(&v1), &v2, &all_seen(&v1))
}

/// Every resource of a release was looked at, and is as its manifest says.
fn all_seen(release: &Release) -> LiveObjects {
    let objects = release.resources.iter();
    let seen = objects.map(|object| (object.id.clone(), live(object.is_kept())));
    seen.collect()
}

#[track_caller]
fn assert_steps(name: &str, plan: &Plan, expected: &[&str]) {
    let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, expected, "{name}");
}

/// What becomes of the ConfigMap `a`, that is regular in version 1, as seen on real Helm.
#[test]
fn the_table_of_a_config_that_becomes_a_hook() {
    const DELETE: &str = "delete ConfigMap a before creating it as a pre-hook";
    const CREATE: &str = "create ConfigMap a as a pre-hook";
    const PRUNE: &str = "delete ConfigMap a, because it is no longer in the release";
    let a = || config("a");
    let hook = |events| a().hook(events);
    let list = format!("{{apiVersion: v1, kind: List, items: [{}]}}", a());

    let same: [(&str, Docs<'_>, &[&str], Presence); 10] = [
        (
            "pre-upgrade",
            &[&hook("pre-upgrade")],
            &[DELETE, CREATE, PRUNE],
            Presence::Absent,
        ),
        (
            "pre-upgrade, before-hook-creation and hook-succeeded",
            &[&hook("pre-upgrade").policy("before-hook-creation, hook-succeeded")],
            &[
                DELETE,
                CREATE,
                "delete ConfigMap a after the pre-hooks (delete policy hook-succeeded)",
            ],
            Presence::Absent,
        ),
        (
            "pre-upgrade with keep",
            &[&hook("pre-upgrade").keep()],
            &[
                DELETE,
                CREATE,
                "keep ConfigMap a, which is no longer in the release (helm.sh/resource-policy: keep)",
            ],
            Presence::Present,
        ),
        (
            "pre-upgrade and post-upgrade",
            &[&hook("pre-upgrade,post-upgrade")],
            &[
                DELETE,
                CREATE,
                PRUNE,
                "delete ConfigMap a before creating it as a post-hook",
                "create ConfigMap a as a post-hook",
            ],
            Presence::Present,
        ),
        (
            "post-upgrade",
            &[&hook("post-upgrade")],
            &[
                PRUNE,
                "delete ConfigMap a before creating it as a post-hook",
                "create ConfigMap a as a post-hook",
            ],
            Presence::Present,
        ),
        (
            "pre-install",
            &[&hook("pre-install")],
            &[PRUNE],
            Presence::Absent,
        ),
        (
            "pre-install with keep",
            &[&hook("pre-install").keep()],
            &[PRUNE],
            Presence::Absent,
        ),
        (
            "a hook and a regular resource at once",
            &[&hook("pre-upgrade"), &a()],
            &[DELETE, CREATE, "apply ConfigMap a"],
            Presence::Present,
        ),
        (
            "a misspelt event",
            &[&hook("pre-upgarde")],
            &[PRUNE],
            Presence::Absent,
        ),
        (
            "one misspelt event of two",
            &[&hook("pre-upgrade,pre-upgarde")],
            &[PRUNE],
            Presence::Absent,
        ),
    ];
    for apply in [ClientSide, ServerSide] {
        for (name, v2, expected, at_end) in same {
            let plan = upgrade(apply, &[&a()], v2);
            assert_steps(name, &plan, expected);
            assert_eq!(plan.at_end(&id("ConfigMap", "a")), at_end, "{name}");
        }
        let plan = upgrade(apply, &[&list], &[&hook("pre-upgrade")]);
        assert_steps("in a List before", &plan, &[DELETE, CREATE, PRUNE]);
    }

    let failed_only: Docs<'_> = &[&hook("pre-upgrade").policy("hook-failed")];
    let plan = upgrade(ClientSide, &[&a()], failed_only);
    assert_steps(
        "hook-failed, client-side",
        &plan,
        &["fail to create ConfigMap a, because it already exists"],
    );
    assert_eq!(plan.fails_at(), Some(Stage::Pre));
    assert_eq!(plan.at_end(&id("ConfigMap", "a")), Presence::Present);
    let plan = upgrade(ServerSide, &[&a()], failed_only);
    assert_steps(
        "hook-failed, server-side",
        &plan,
        &["patch ConfigMap a as a pre-hook", PRUNE],
    );
    assert!(!plan.fails());
}

/// An empty annotation is a policy, and none that Helm knows: no default takes its place.
#[test]
fn delete_policies() {
    let a = || config("a");
    for (name, policy, expected) in [
        (
            "empty",
            "",
            &["fail to create ConfigMap a, because it already exists"][..],
        ),
        (
            "unknown",
            "before-hook-creatoin",
            &["fail to create ConfigMap a, because it already exists"],
        ),
        (
            "hook-succeeded",
            "hook-succeeded",
            &["fail to create ConfigMap a, because it already exists"],
        ),
        (
            "in capitals, with blanks",
            " Before-Hook-Creation ,hook-failed",
            &[
                "delete ConfigMap a before creating it as a pre-hook",
                "create ConfigMap a as a pre-hook",
                "delete ConfigMap a, because it is no longer in the release",
            ],
        ),
    ] {
        let plan = upgrade(
            ClientSide,
            &[&a()],
            &[&a().hook("pre-upgrade").policy(policy)],
        );
        assert_steps(name, &plan, expected);
    }
}

#[test]
fn hooks_run_by_weight_then_name_then_kind() {
    let hook = |doc: crate::testing::Doc, weight: &str| {
        doc.hook("pre-upgrade").policy("hook-failed").weight(weight)
    };
    let docs: Docs<'_> = &[
        &hook(pods("Job", "b", ""), "0"),
        &hook(config("b"), "0"),
        &hook(secret("c"), "0"),
        &hook(config("z"), "-5"),
        &hook(account("a"), "10"),
        &hook(config("a"), "no number"),
        &hook(config("B"), "+0"),
    ];
    let plan = upgrade(ClientSide, &[], docs);
    assert_steps(
        "",
        &plan,
        &[
            "create ConfigMap z as a pre-hook",
            "create ConfigMap B as a pre-hook",
            "create ConfigMap a as a pre-hook",
            "create ConfigMap b as a pre-hook",
            "create Job b as a pre-hook",
            "create Secret c as a pre-hook",
            "create ServiceAccount a as a pre-hook",
        ],
    );
}

#[test]
fn hooks_that_succeeded_are_deleted_at_the_end_in_reverse() {
    let hook = |name, weight| {
        let hook = config(name)
            .hook("pre-upgrade,post-upgrade")
            .policy("hook-succeeded");
        hook.weight(weight)
    };
    let plan = upgrade(
        ClientSide,
        &[],
        &[&hook("a", "1"), &hook("b", "2"), &config("c")],
    );
    let stage = |stage: &str| {
        [
            format!("create ConfigMap a as a {stage}-hook"),
            format!("create ConfigMap b as a {stage}-hook"),
            format!("delete ConfigMap b after the {stage}-hooks (delete policy hook-succeeded)"),
            format!("delete ConfigMap a after the {stage}-hooks (delete policy hook-succeeded)"),
        ]
    };
    let expected = [
        &stage("pre")[..],
        &["apply ConfigMap c".to_owned()],
        &stage("post"),
    ]
    .concat();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_steps("", &plan, &expected);
}

#[test]
fn an_event_listed_twice_runs_twice() {
    let twice = || config("a").hook("pre-upgrade, pre-upgrade");
    assert_steps(
        "by default",
        &upgrade(ClientSide, &[], &[&twice()]),
        &[
            "delete ConfigMap a before creating it as a pre-hook",
            "create ConfigMap a as a pre-hook",
            "delete ConfigMap a before creating it as a pre-hook",
            "create ConfigMap a as a pre-hook",
        ],
    );
    assert_steps(
        "client-side",
        &upgrade(ClientSide, &[], &[&twice().policy("hook-succeeded")]),
        &[
            "create ConfigMap a as a pre-hook",
            "fail to create ConfigMap a, because it already exists",
        ],
    );
    assert_steps(
        "server-side",
        &upgrade(ServerSide, &[], &[&twice().policy("hook-succeeded")]),
        &[
            "create ConfigMap a as a pre-hook",
            "patch ConfigMap a as a pre-hook",
            "delete ConfigMap a after the pre-hooks (delete policy hook-succeeded)",
            "delete ConfigMap a after the pre-hooks (delete policy hook-succeeded)",
        ],
    );
}

#[test]
fn only_the_hooks_of_the_operation_run() {
    let docs: Docs<'_> = &[
        &config("test").hook("test"),
        &config("delete").hook("pre-delete,post-delete"),
        &config("install").hook("pre-install"),
        &config("upgrade").hook("pre-upgrade"),
        &config("rollback").hook("post-rollback"),
        &config("regular"),
    ];
    let (v1, v2) = (revision(1, &[]).release(), revision(2, docs).release());
    for (operation, current, expected) in [
        (
            Operation::Install,
            None,
            "delete ConfigMap install before creating it as a pre-hook\ncreate ConfigMap install as a pre-hook\napply ConfigMap regular\n",
        ),
        (
            Operation::Upgrade,
            Some(&v1),
            "delete ConfigMap upgrade before creating it as a pre-hook\ncreate ConfigMap upgrade as a pre-hook\napply ConfigMap regular\n",
        ),
        (
            Operation::Rollback,
            Some(&v1),
            "apply ConfigMap regular\ndelete ConfigMap rollback before creating it as a post-hook\ncreate ConfigMap rollback as a post-hook\n",
        ),
    ] {
        assert_eq!(
            plan_with(operation, current, &v2, &[]),
            expected,
            "{operation:?}"
        );
    }
}

#[test]
fn keep_counts_on_the_live_object() {
    const KEEP: &str =
        "keep ConfigMap a, which is no longer in the release (helm.sh/resource-policy: keep)\n";
    const PRUNE: &str = "delete ConfigMap a, because it is no longer in the release\n";
    const PATCH: &str = "patch ConfigMap a as a pre-hook\n";
    const ANEW: &str =
        "delete ConfigMap a before creating it as a pre-hook\ncreate ConfigMap a as a pre-hook\n";
    let a = || config("a");
    let patched = || a().hook("pre-upgrade").policy("hook-failed");
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str], String); 9] = [
        (
            "in the manifest of before",
            &[&a().keep()],
            &[],
            &[],
            KEEP.to_owned(),
        ),
        ("in neither", &[&a()], &[], &[], PRUNE.to_owned()),
        ("on the live object", &[&a()], &[], &["a"], KEEP.to_owned()),
        (
            "on another live object",
            &[&a()],
            &[],
            &["b"],
            PRUNE.to_owned(),
        ),
        (
            "of before, and made anew without",
            &[&a().keep()],
            &[&a().hook("pre-upgrade")],
            &["a"],
            [ANEW, PRUNE].concat(),
        ),
        (
            "of before, which a patch removes",
            &[&a().keep()],
            &[&patched()],
            &[],
            [PATCH, PRUNE].concat(),
        ),
        (
            "on the live object, which a patch leaves",
            &[&a()],
            &[&patched()],
            &["a"],
            [PATCH, KEEP].concat(),
        ),
        (
            "patched on",
            &[&a()],
            &[&patched().keep()],
            &[],
            [PATCH, KEEP].concat(),
        ),
        (
            "in a hook that does not run",
            &[&a()],
            &[&a().hook("pre-install").keep()],
            &[],
            PRUNE.to_owned(),
        ),
    ];
    for (name, v1, v2, kept, expected) in cases {
        let v1 = revision(1, v1).release();
        let v2 = revision(2, v2).server_side().release();
        let steps = plan_with(Operation::Upgrade, Some(&v1), &v2, kept);
        assert_eq!(steps, expected, "{name}");
    }
}

#[test]
fn what_left_is_matched_by_group_kind_namespace_and_name() {
    let prune = |v1: Docs<'_>, v2: Docs<'_>| -> Vec<String> {
        let plan = upgrade(ClientSide, v1, v2);
        let pruned = plan
            .steps
            .iter()
            .filter(|step| step.action == Action::Prune);
        pruned
            .map(|step| format!("{} {}", step.object.namespace, step.object))
            .collect()
    };
    assert_eq!(prune(&[&config("a")], &[&config("a")]), [""; 0], "the same");
    assert_eq!(
        prune(&[&config("a")], &[&secret("a"), &account("a")]),
        ["shop ConfigMap a"],
        "another kind of the same name"
    );
    assert_eq!(
        prune(
            &[&doc("batch/v1beta1", "CronJob", "a")],
            &[&doc("batch/v1", "CronJob", "a")]
        ),
        [""; 0],
        "another version"
    );
    assert_eq!(
        prune(
            &[&doc("extensions/v1beta1", "Ingress", "a")],
            &[&doc("networking.k8s.io/v1", "Ingress", "a")]
        ),
        ["shop Ingress a"],
        "another group"
    );
    assert_eq!(
        prune(&[&config("a")], &[&config("a").namespace("other")]),
        ["shop ConfigMap a"],
        "another namespace"
    );
    assert_eq!(
        prune(&[&config("a").namespace("shop")], &[&config("a")]),
        [""; 0],
        "the namespace of the release, written out"
    );
    let cluster_role = || doc("rbac.authorization.k8s.io/v1", "ClusterRole", "a");
    for (v1, v2) in [
        (cluster_role(), cluster_role().namespace("stray")),
        (cluster_role().namespace("stray"), cluster_role()),
        (
            cluster_role().namespace("stray"),
            cluster_role().namespace("other"),
        ),
    ] {
        assert_eq!(
            prune(&[&v1], &[&v2]),
            [""; 0],
            "a stray namespace on a cluster-scoped kind"
        );
    }
}

#[test]
fn equal_names_of_other_kinds_are_other_objects() {
    let plan = upgrade(
        ClientSide,
        &[&config("a"), &secret("a")],
        &[&config("a").hook("pre-upgrade"), &secret("a")],
    );
    assert_steps(
        "",
        &plan,
        &[
            "delete ConfigMap a before creating it as a pre-hook",
            "create ConfigMap a as a pre-hook",
            "apply Secret a",
            "delete ConfigMap a, because it is no longer in the release",
        ],
    );
    assert_eq!(plan.at_end(&id("Secret", "a")), Presence::Present);
}

#[test]
fn things_are_pruned_in_the_order_of_the_manifest_and_once() {
    let (a, b) = (config("a"), mounts("b", "a"));
    let plan = upgrade(ClientSide, &[&b, &a, &a], &[]);
    assert_steps(
        "",
        &plan,
        &[
            "delete ConfigMap a, because it is no longer in the release",
            "delete Deployment b, because it is no longer in the release",
        ],
    );
}

#[test]
fn crds_are_never_deleted_by_hook_policies() {
    let crd = || doc("apiextensions.k8s.io/v1", "CustomResourceDefinition", "a");
    let hook = |policy: &str| crd().hook("pre-upgrade").policy(policy);
    for (name, v1, v2, expected) in [
        (
            "alone",
            &[][..],
            hook("before-hook-creation,hook-succeeded"),
            &["create CustomResourceDefinition a as a pre-hook"][..],
        ),
        (
            "regular before",
            &[&crd() as &dyn fmt::Display],
            hook("before-hook-creation"),
            &["fail to create CustomResourceDefinition a, because it already exists"],
        ),
    ] {
        assert_steps(name, &upgrade(ClientSide, v1, &[&v2]), expected);
    }
    // Helm asks for the kind of the hook, not of what is in it.
    let list = format!(
        "{{apiVersion: v1, kind: List, metadata: {{annotations: {{helm.sh/hook: pre-upgrade}}}}, items: [{}]}}",
        crd()
    );
    assert_steps(
        "in a list",
        &upgrade(ClientSide, &[], &[&list]),
        &[
            "delete CustomResourceDefinition a before creating it as a pre-hook",
            "create CustomResourceDefinition a as a pre-hook",
        ],
    );
}

#[test]
fn the_objects_of_a_hook_are_all_sent() {
    let list = format!(
        "{{apiVersion: v1, kind: List, metadata: {{annotations: {{helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-failed}}}}, items: [{}, {}]}}",
        config("a"),
        config("b")
    );
    let plan = upgrade(
        ClientSide,
        &[&config("a")],
        &[&list, &config("c").hook("pre-upgrade").weight("1")],
    );
    assert_steps(
        "",
        &plan,
        &[
            "fail to create ConfigMap a, because it already exists",
            "create ConfigMap b as a pre-hook",
        ],
    );
    assert_eq!(plan.fails_at(), Some(Stage::Pre));

    let two = format!("{}\n---\n{}", config("a"), config("b"));
    let mut v2 = revision(2, &[&config("a").hook("pre-upgrade")]);
    v2 = v2.with("/hooks/0/manifest", two);
    let plan = Plan::new(
        Operation::Upgrade,
        None,
        &v2.release(),
        &LiveObjects::default(),
    );
    assert_steps(
        "two documents in one hook",
        &plan,
        &[
            "delete ConfigMap a before creating it as a pre-hook",
            "delete ConfigMap b before creating it as a pre-hook",
            "create ConfigMap a as a pre-hook",
            "create ConfigMap b as a pre-hook",
        ],
    );
}

/// Each is another object, whatever its manifest says.
#[test]
fn generated_names_never_meet() {
    let generated = || "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-, annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-failed}}}";
    let plan = upgrade(ClientSide, &[], &[&generated(), &generated()]);
    assert_steps(
        "",
        &plan,
        &[
            "create ConfigMap (generated name) as a pre-hook",
            "create ConfigMap (generated name) as a pre-hook",
        ],
    );
    assert_eq!(plan.at_end(&id("ConfigMap", "")), Presence::Unknown);
    // Helm asks for the object by an empty name, and passes over the error.
    let regular = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}";
    assert_steps("regular", &upgrade(ClientSide, &[&regular], &[]), &[]);
}

/// The object may have been deleted: a failure that is only supposed must not hide the trap behind it.
#[test]
fn a_conflict_needs_an_object_that_was_seen() {
    let v1 = revision(1, &[&config("a"), &config("b")]).release();
    let hook = |name: &str| config(name).hook("pre-upgrade");
    let v2 = revision(2, &[&hook("a").policy("hook-succeeded"), &hook("b")]).release();
    let steps = |seen: LiveObjects| show(&Plan::new(Operation::Upgrade, Some(&v1), &v2, &seen));
    let goes_on = "create ConfigMap a as a pre-hook
delete ConfigMap b before creating it as a pre-hook
create ConfigMap b as a pre-hook
delete ConfigMap a after the pre-hooks (delete policy hook-succeeded)
delete ConfigMap b, because it is no longer in the release
";
    assert_eq!(steps(LiveObjects::default()), goes_on, "not looked at");
    for live in [
        Live::Unknown,
        Live::Denied("allow it".to_owned()),
        Live::Absent,
    ] {
        let seen = [(id("ConfigMap", "a"), live)].into_iter().collect();
        assert_eq!(steps(seen), goes_on);
    }
    let seen = [(id("ConfigMap", "a"), live(false))].into_iter().collect();
    assert_eq!(
        steps(seen),
        "fail to create ConfigMap a, because it already exists\n"
    );
}

#[test]
fn what_somebody_has_deleted_is_not_there() {
    let gone = |v2: Docs<'_>| {
        let v1 = revision(1, &[&config("a")]).release();
        let v2 = revision(2, v2).release();
        let live = [(id("ConfigMap", "a"), Live::Absent)].into_iter().collect();
        show(&Plan::new(Operation::Upgrade, Some(&v1), &v2, &live))
    };
    assert_eq!(gone(&[]), "", "nothing to prune");
    assert_eq!(gone(&[&config("a")]), "apply ConfigMap a\n");
    // The trap, once more: what failed before goes through now.
    assert_eq!(
        gone(&[&config("a").hook("pre-upgrade").policy("hook-failed")]),
        "create ConfigMap a as a pre-hook\ndelete ConfigMap a, because it is no longer in the release\n"
    );
}

/// A patch of server-side apply takes away what server-side apply has set, and nothing else.
#[test]
fn a_keep_that_a_client_has_applied_stays_when_a_hook_is_patched_on() {
    let v1 = revision(1, &[&config("a").keep()]);
    let v2 = revision(2, &[&config("a").hook("pre-upgrade").policy("hook-failed")]).server_side();
    let steps = |v1: &Revision| {
        plan_with(
            Operation::Upgrade,
            Some(&v1.release()),
            &v2.release(),
            &["a"],
        )
    };
    let patch = "patch ConfigMap a as a pre-hook\n";
    assert_eq!(
        steps(&v1),
        format!(
            "{patch}keep ConfigMap a, which is no longer in the release (helm.sh/resource-policy: keep)\n"
        )
    );
    assert_eq!(
        steps(&v1.server_side()),
        format!("{patch}delete ConfigMap a, because it is no longer in the release\n")
    );
}

/// Live objects may be as no manifest says.
#[test]
fn little_is_certain_after_a_failed_operation() {
    let a = || config("a");
    let failed_hook = || a().hook("pre-upgrade").policy("hook-failed");
    let between = |current: &Revision, target: Docs<'_>, kept: &[&str]| {
        let target = revision(3, target);
        plan_with(
            Operation::Upgrade,
            Some(&current.release()),
            &target.release(),
            kept,
        )
    };
    for (name, current) in [
        ("a failed one came between", revision(1, &[&a().keep()])),
        (
            "it has failed itself",
            revision(2, &[&a().keep()]).status("failed"),
        ),
    ] {
        assert_eq!(
            between(&current, &[], &[]),
            "delete ConfigMap a, because it is no longer in the release\n",
            "{name}: keep in a manifest"
        );
        assert_eq!(
            between(&current, &[], &["a"]),
            "keep ConfigMap a, which is no longer in the release (helm.sh/resource-policy: keep)\n",
            "{name}: keep on the live object"
        );
        assert_eq!(
            between(&current, &[&failed_hook()], &[]),
            "create ConfigMap a as a pre-hook\ndelete ConfigMap a, because it is no longer in the release\n",
            "{name}: it may not be there"
        );
        let plan = Plan::new(
            Operation::Upgrade,
            Some(&current.release()),
            &revision(3, &[&config("b")]).release(),
            &[(id("ConfigMap", "a"), live(true))].into_iter().collect(),
        );
        assert_eq!(
            plan.at_end(&id("ConfigMap", "a")),
            Presence::Present,
            "{name}: it was seen"
        );
        assert_eq!(
            plan.at_end(&id("ConfigMap", "b")),
            Presence::Present,
            "{name}"
        );
    }
}

#[test]
fn what_hooks_of_before_left_behind_is_not_known() {
    let hook = || config("a").hook("pre-upgrade").policy("hook-failed");
    let (v1, v2) = (
        revision(1, &[&hook()]).ran().release(),
        revision(2, &[&hook()]).release(),
    );
    let plan = Plan::new(Operation::Upgrade, Some(&v1), &v2, &LiveObjects::default());
    assert_steps("", &plan, &["create ConfigMap a as a pre-hook"]);
}

#[test]
fn an_install_prunes_nothing() {
    let docs: Docs<'_> = &[
        &config("a"),
        &deployment("web", ""),
        &config("b").hook("pre-install"),
        &pods("Job", "migrate", "").hook("post-install"),
    ];
    for apply in [ClientSide, ServerSide] {
        let target = apply.revision(1, docs).release();
        let plan = Plan::new(Operation::Install, None, &target, &LiveObjects::default());
        assert_steps(
            "",
            &plan,
            &[
                "delete ConfigMap b before creating it as a pre-hook",
                "create ConfigMap b as a pre-hook",
                "apply ConfigMap a",
                "apply Deployment web",
                "delete Job migrate before creating it as a post-hook",
                "create Job migrate as a post-hook",
            ],
        );
    }
    let both: Docs<'_> = &[&config("a").hook("pre-install"), &config("a"), &config("b")];
    let plan = Plan::new(
        Operation::Install,
        None,
        &revision(1, both).release(),
        &LiveObjects::default(),
    );
    assert_steps(
        "a hook and a regular resource at once",
        &plan,
        &[
            "delete ConfigMap a before creating it as a pre-hook",
            "create ConfigMap a as a pre-hook",
            "fail to create ConfigMap a, because it already exists",
            "apply ConfigMap b",
        ],
    );
}

/// The target has the manifest and the hooks of the revision that it goes back to; what is pruned is
/// told by the last one.
#[test]
fn a_rollback_runs_the_hooks_of_the_revision_it_goes_back_to() {
    let regular: Docs<'_> = &[&config("a"), &mounts("web", "a")];
    let hooked: Docs<'_> = &[
        &config("a").hook("pre-install,pre-upgrade,pre-rollback"),
        &config("b").hook("post-rollback"),
        &mounts("web", "a"),
    ];
    let plan = |current: Docs<'_>, target: Docs<'_>| {
        let (current, target) = (
            revision(2, current).release(),
            revision(3, target).release(),
        );
        plan_with(Operation::Rollback, Some(&current), &target, &[])
    };
    assert_eq!(
        plan(regular, hooked),
        "delete ConfigMap a before creating it as a pre-hook\n\
         create ConfigMap a as a pre-hook\n\
         apply Deployment web\n\
         delete ConfigMap a, because it is no longer in the release\n\
         delete ConfigMap b before creating it as a post-hook\n\
         create ConfigMap b as a post-hook\n"
    );
    assert_eq!(
        plan(hooked, regular),
        "apply ConfigMap a\napply Deployment web\n"
    );
}

#[test]
fn presence_before_and_after_the_post_hooks() {
    let plan = upgrade(
        ClientSide,
        &[&config("a"), &claim("data"), &role("r")],
        &[
            &config("a").hook("post-upgrade"),
            &config("b").hook("pre-upgrade").policy("hook-succeeded"),
            &role("r"),
        ],
    );
    let at = |kind, name| {
        (
            plan.after_prune(&id(kind, name)),
            plan.at_end(&id(kind, name)),
        )
    };
    assert_eq!(at("ConfigMap", "a"), (Presence::Absent, Presence::Present));
    assert_eq!(at("ConfigMap", "b"), (Presence::Absent, Presence::Absent));
    assert_eq!(
        at("PersistentVolumeClaim", "data"),
        (Presence::Absent, Presence::Absent)
    );
    assert_eq!(at("ConfigMap", "c"), (Presence::Unknown, Presence::Unknown));
}

#[test]
fn manifests_that_cannot_be_read_are_named() {
    let parse = |revision: Revision| {
        let record = serde_json::from_value(revision.content).unwrap();
        Release::parse(record).err().map(|error| error.to_string())
    };
    assert_eq!(
        parse(revision(7, &[&"kind: [a"])).as_deref(),
        Some(
            "manifest of revision 7: document 1 (app/templates/all.yaml): did not find expected ',' or ']' at line 3 column 1"
        )
    );
    let hook = revision(7, &[&config("a").hook("test")]).with("/hooks/0/manifest", "a: 1");
    assert_eq!(
        parse(hook).as_deref(),
        Some("hook app/templates/hooks.yaml of revision 7: document 1: an object without a kind")
    );
}
