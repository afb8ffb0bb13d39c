use super::*;
use crate::{
    plan::LiveObjects,
    testing::{
        Doc, Docs, Revision, account, binding, claim, config, deployment, doc, mounts, pods,
        revision, role, secret, volumes,
    },
};

fn read(operation: Operation, current: Option<&Revision>, target: &Revision) -> Vec<Finding> {
    let (current, target) = (current.map(Revision::release), target.release());
    let plan = Plan::new(
        operation,
        current.as_ref(),
        &target,
        &LiveObjects::default(),
    );
    let change = Change {
        operation,
        current: current.as_ref(),
        target: &target,
        plan: &plan,
    };
    findings(change).unwrap()
}

fn upgrade(v1: Docs<'_>, v2: Docs<'_>) -> Vec<Finding> {
    let (v1, v2) = (revision(1, v1), revision(2, v2));
    read(Operation::Upgrade, Some(&v1), &v2)
}

fn install(docs: Docs<'_>) -> Vec<Finding> {
    read(Operation::Install, None, &revision(1, docs))
}

fn rollback(v2: Docs<'_>, v1: Docs<'_>) -> Vec<Finding> {
    let (v2, v1) = (revision(2, v2), revision(3, v1));
    read(Operation::Rollback, Some(&v2), &v1)
}

/// `dangling-reference ConfigMap a < Deployment web, Job x`, with `?` where something else may make it.
fn short(finding: &Finding) -> String {
    let uncertain = if finding.uncertain { "?" } else { "" };
    let consumers = match finding.consumers.is_empty() {
        true => String::new(),
        false => format!(" < {}", joined(&finding.consumers)),
    };
    format!(
        "{}{uncertain} {}{consumers}",
        finding.lint(),
        finding.object
    )
}

fn joined(ids: &[ObjectId]) -> String {
    let names: Vec<_> = ids.iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[track_caller]
fn assert_found(name: &str, findings: &[Finding], expected: &[&str]) {
    let found: Vec<_> = findings.iter().map(short).collect();
    assert_eq!(found, expected, "{name}");
}

#[track_caller]
fn assert_reason(findings: &[Finding], reason: &str, ways_out: &[&str]) {
    let [finding] = findings else {
        panic!("{findings:#?}")
    };
    assert_eq!(finding.fact.to_string(), reason);
    assert_eq!(finding.ways_out(), ways_out);
}

const PRE: &str = "pre-install,pre-upgrade";

/// A Job that is a hook and uses this service account.
fn migration(events: &str, account: &str) -> Doc {
    pods("Job", "migrate", &format!("serviceAccountName: {account}")).hook(events)
}

#[test]
fn a_regular_resource_that_becomes_a_hook_is_pruned() {
    let a = || config("a");
    let pruned = &["hook-pruned ConfigMap a"][..];
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 19] = [
        ("pre-upgrade", &[&a()], &[&a().hook("pre-upgrade")], pruned),
        (
            "pre-install: never made again",
            &[&a()],
            &[&a().hook("pre-install")],
            pruned,
        ),
        (
            "post-install",
            &[&a()],
            &[&a().hook("post-install")],
            pruned,
        ),
        (
            "pre-rollback",
            &[&a()],
            &[&a().hook("pre-rollback")],
            pruned,
        ),
        (
            "with its users",
            &[&a(), &mounts("web", "a")],
            &[&a().hook(PRE), &mounts("web", "a"), &mounts("api", "a")],
            &["hook-pruned ConfigMap a < Deployment web, Deployment api"],
        ),
        (
            "users for which it is optional do not need it",
            &[&a()],
            &[
                &a().hook(PRE),
                &deployment("web", &volumes(&["configMap: {name: a, optional: true}"])),
            ],
            pruned,
        ),
        (
            "a Secret, an account and a claim",
            &[&secret("s"), &account("b"), &claim("d")],
            &[
                &secret("s").hook(PRE),
                &account("b").hook(PRE),
                &claim("d").hook(PRE),
            ],
            &[
                "hook-pruned ServiceAccount b",
                "hook-pruned Secret s",
                "hook-pruned PersistentVolumeClaim d",
            ],
        ),
        (
            "a custom resource",
            &[&doc("velero.io/v1", "BackupStorageLocation", "default")],
            &[&doc("velero.io/v1", "BackupStorageLocation", "default").hook("pre-install")],
            &["hook-pruned BackupStorageLocation default"],
        ),
        (
            "in a List before",
            &[&format!("{{apiVersion: v1, kind: List, items: [{}]}}", a())],
            &[&a().hook(PRE)],
            pruned,
        ),
        (
            "keep in a hook that does not run",
            &[&a()],
            &[&a().hook("pre-install").keep()],
            pruned,
        ),
        (
            "Not: a hook in both",
            &[&a().hook(PRE), &mounts("web", "a")],
            &[&a().hook(PRE), &mounts("web", "a")],
            &[],
        ),
        (
            "Not: a hook that was not there before",
            &[],
            &[&a().hook(PRE), &mounts("web", "a")],
            &[],
        ),
        (
            "Not: keep in the hook",
            &[&a()],
            &[&a().hook(PRE).keep()],
            &[],
        ),
        (
            "Not: keep on the object",
            &[&a().keep()],
            &[&a().hook("pre-install")],
            &[],
        ),
        (
            "Not: it stays a regular resource too",
            &[&a()],
            &[&a().hook(PRE), &a()],
            &[],
        ),
        (
            "Not: a post-hook makes it again",
            &[&a()],
            &[&a().hook("pre-upgrade,post-upgrade")],
            &[],
        ),
        (
            "Not: deleted on purpose",
            &[&a()],
            &[&a().hook(PRE).policy("before-hook-creation,hook-succeeded")],
            &[],
        ),
        ("Not: a test hook", &[&a()], &[&a().hook("test")], &[]),
        (
            "Not: a delete hook",
            &[&a()],
            &[&a().hook("pre-delete,post-delete")],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
}

#[test]
fn hooks_that_run_to_completion_are_done_when_they_are_pruned() {
    for (name, regular) in [
        ("Job", pods("Job", "a", "")),
        (
            "Pod",
            doc("v1", "Pod", "a").fields("spec: {containers: []}"),
        ),
    ] {
        assert_found(
            name,
            &upgrade(&[&regular], &[&regular.clone().hook(PRE)]),
            &[],
        );
        assert_found(
            name,
            &upgrade(&[&regular], &[&regular.clone().hook("pre-install")]),
            &[],
        );
    }
    let other = doc("example.com/v1", "Job", "a");
    assert_found(
        "a Job of another group",
        &upgrade(&[&other], &[&other.clone().hook(PRE)]),
        &["hook-pruned Job a"],
    );
}

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
        &upgrade(before, &[&r, &b, &account("m"), &migration(PRE, "m")]),
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

/// Somebody needs what goes.
#[test]
fn what_pods_need_must_not_go() {
    let web = || mounts("web", "a");
    let dangling = &["dangling-reference ConfigMap a < Deployment web"][..];
    let in_volumes = |source: &str| deployment("web", &volumes(&[source]));
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 21] = [
        ("a config", &[&config("a"), &web()], &[&web()], dangling),
        ("a misspelt event", &[&config("a"), &web()], &[&config("a").hook("pre-upgarde"), &web()], dangling),
        (
            "a Secret",
            &[&secret("a")],
            &[&in_volumes("secret: {secretName: a}")],
            &["dangling-reference Secret a < Deployment web"],
        ),
        (
            "an account",
            &[&account("a")],
            &[&deployment("web", "serviceAccountName: a")],
            &["dangling-reference ServiceAccount a < Deployment web"],
        ),
        (
            "a claim",
            &[&claim("a")],
            &[&in_volumes("persistentVolumeClaim: {claimName: a}")],
            &["dangling-reference PersistentVolumeClaim a < Deployment web"],
        ),
        (
            "a post-hook needs it",
            &[&account("m")],
            &[&migration("post-upgrade", "m")],
            &["dangling-reference ServiceAccount m < Job migrate"],
        ),
        (
            "several need it",
            &[&config("a")],
            &[&web(), &pods("StatefulSet", "db", &volumes(&["configMap: {name: a}"])), &web()],
            &["dangling-reference ConfigMap a < Deployment web, StatefulSet db"],
        ),
        (
            "a CronJob needs it",
            &[&config("a")],
            &[&doc("batch/v1", "CronJob", "c").fields(
                "spec: {jobTemplate: {spec: {template: {spec: {containers: [], volumes: [{configMap: {name: a}}]}}}}}",
            )],
            &["dangling-reference ConfigMap a < CronJob c"],
        ),
        (
            "a Rollout needs it",
            &[&config("a")],
            &[&mounts("web", "a").to_string().replace("apps/v1, kind: Deployment", "argoproj.io/v1alpha1, kind: Rollout")],
            &["dangling-reference ConfigMap a < Rollout web"],
        ),
        (
            "a hook in the wrong namespace of the chart",
            &[&config("a").hook(PRE), &config("b")],
            &[&config("a").hook(PRE), &mounts("web", "b")],
            &["dangling-reference ConfigMap b < Deployment web"],
        ),
        (
            "a hook that deletes itself, at another time",
            &[&config("a"), &web()],
            &[&config("a").hook("pre-install").policy("hook-succeeded"), &web()],
            dangling,
        ),
        (
            "a test hook is no help",
            &[&config("a"), &web()],
            &[&config("a").hook("test"), &web()],
            dangling,
        ),
        ("Not: nobody needs it", &[&config("a"), &web()], &[&mounts("web", "b")], &[]),
        ("Not: its user goes too", &[&config("a"), &web()], &[], &[]),
        ("Not: it was not there before", &[&web()], &[&web()], &[]),
        ("Not: keep", &[&config("a").keep()], &[&web()], &[]),
        (
            "Not: optional",
            &[&config("a")],
            &[&in_volumes("configMap: {name: a, optional: true}")],
            &[],
        ),
        (
            "Not: pull Secrets",
            &[&secret("a")],
            &[&deployment("web", "imagePullSecrets: [{name: a}]")],
            &[],
        ),
        ("Not: a pre-hook, which runs before", &[&account("m")], &[&migration("pre-upgrade", "m")], &[]),
        ("Not: another namespace", &[&config("a").namespace("other")], &[&web()], &[]),
        ("Not: another kind", &[&secret("a")], &[&web()], &[]),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
}

/// The API server keeps the account of a pod template that names none.
#[test]
fn an_account_that_is_no_longer_named_is_still_needed() {
    let with_account = deployment("web", "serviceAccountName: a");
    let bare = deployment("web", "");
    let findings = upgrade(&[&account("a"), &with_account], &[&bare]);
    assert_found(
        "no longer named",
        &findings,
        &["dangling-reference ServiceAccount a < Deployment web"],
    );
    assert_reason(
        &findings,
        "is in revision 1 but not in revision 2, so Helm deletes it; workloads that no longer name one keep it (kubernetes/kubernetes#72519), and their pods could not start",
        &[
            "name another one in the workload: serviceAccountName: default",
            "keep the live object: kubectl annotate -n shop serviceaccount a helm.sh/resource-policy=keep",
        ],
    );
    let other = deployment("web", "serviceAccountName: default");
    let also_named = deployment("api", "serviceAccountName: a");
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 4] = [
        (
            "another names it",
            &[&account("a"), &with_account],
            &[&bare, &also_named],
            &["dangling-reference ServiceAccount a < Deployment web, Deployment api"],
        ),
        (
            "Not: another is named",
            &[&account("a"), &with_account],
            &[&other],
            &[],
        ),
        (
            "Not: the workload goes too",
            &[&account("a"), &with_account],
            &[],
            &[],
        ),
        (
            "Not: the account stays",
            &[&account("a"), &with_account],
            &[&account("a"), &bare],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
}

#[test]
fn rollbacks_can_leave_references_dangling_too() {
    let web = mounts("web", "a");
    assert_found(
        "the config came into the chart later",
        &rollback(&[&config("a"), &web], &[&web]),
        &["dangling-reference ConfigMap a < Deployment web"],
    );
    assert_found(
        "back to a hook that does not run",
        &rollback(&[&config("a"), &web], &[&config("a").hook(PRE), &web]),
        &["hook-pruned ConfigMap a < Deployment web"],
    );
    assert_found(
        "Not: back to a regular one",
        &rollback(&[&config("a").hook(PRE), &web], &[&config("a"), &web]),
        &[],
    );
}

#[test]
fn custom_resources_may_make_what_goes() {
    let uses = |name: &str| {
        deployment(
            "web",
            &volumes(&[&format!("secret: {{secretName: {name}}}")]),
        )
    };
    let custom =
        |api_version, kind, name, fields: &str| doc(api_version, kind, name).fields(fields);
    let certain = "dangling-reference Secret tls < Deployment web";
    let uncertain = "dangling-reference? Secret tls < Deployment web";
    for (name, maker, expected) in [
        (
            "Certificate",
            custom(
                "cert-manager.io/v1",
                "Certificate",
                "web",
                "spec: {secretName: tls}",
            ),
            uncertain,
        ),
        (
            "ExternalSecret",
            custom(
                "external-secrets.io/v1",
                "ExternalSecret",
                "web",
                "spec: {target: {name: tls}}",
            ),
            uncertain,
        ),
        (
            "SealedSecret, by its own name",
            custom("bitnami.com/v1alpha1", "SealedSecret", "tls", "spec: {}"),
            uncertain,
        ),
        (
            "in a list",
            custom("example.com/v1", "Many", "m", "spec: {names: [x, tls]}"),
            uncertain,
        ),
        (
            "Not: part of a name",
            custom("example.com/v1", "Thing", "m", "spec: {name: tls2}"),
            certain,
        ),
        (
            "Not: a key",
            custom("example.com/v1", "Thing", "m", "spec: {tls: x}"),
            certain,
        ),
        (
            "Not: a label",
            custom(
                "monitoring.coreos.com/v1",
                "ServiceMonitor",
                "m",
                "spec: {selector: {matchLabels: {app: tls}}}",
            ),
            certain,
        ),
        (
            "Not: an annotation",
            custom("example.com/v1", "Thing", "m", "").annotation("about", "tls"),
            certain,
        ),
        (
            "Not: in another namespace",
            custom(
                "cert-manager.io/v1",
                "Certificate",
                "web",
                "spec: {secretName: tls}",
            )
            .namespace("other"),
            certain,
        ),
        (
            "Not: a kind of Kubernetes itself",
            custom(
                "networking.k8s.io/v1",
                "Ingress",
                "web",
                "spec: {tls: [{secretName: tls}]}",
            ),
            certain,
        ),
    ] {
        assert_found(
            name,
            &upgrade(&[&secret("tls")], &[&maker, &uses("tls")]),
            &[expected],
        );
    }
}

#[test]
fn keys_that_pods_need_must_not_go() {
    let with = |fields: &str| config("a").fields(fields);
    let two = || with("data: {one: '1', two: '2'}");
    let one = || with("data: {one: '1'}");
    let item = |key: &str| {
        deployment(
            "web",
            &volumes(&[&format!(
                "configMap: {{name: a, items: [{{key: {key}, path: p}}]}}"
            )]),
        )
    };
    let env = |optional: &str| {
        doc("apps/v1", "Deployment", "web").fields(&format!(
            "spec: {{template: {{spec: {{containers: [{{env: [{{name: E, valueFrom: {{configMapKeyRef: {{name: a, key: two{optional}}}}}}}]}}]}}}}}}"
        ))
    };
    let dangling = &["dangling-reference ConfigMap a < Deployment web"][..];
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 11] = [
        (
            "a mounted key",
            &[&two(), &item("one")],
            &[&one(), &item("two")],
            dangling,
        ),
        (
            "an environment variable",
            &[&two(), &item("one")],
            &[&one(), &env("")],
            dangling,
        ),
        (
            "in a hook that makes it anew",
            &[&two().hook(PRE), &item("one")],
            &[&one().hook(PRE), &item("two")],
            &["never run"],
        ),
        (
            "Not: optional",
            &[&two()],
            &[&one(), &env(", optional: true")],
            &[],
        ),
        ("Not: another key", &[&two()], &[&one(), &item("one")], &[]),
        (
            "Not: all keys",
            &[&two()],
            &[&one(), &mounts("web", "a")],
            &["no rollout"],
        ),
        (
            "Not: it was never there",
            &[&one()],
            &[&one(), &item("two")],
            &[],
        ),
        (
            "Not: moved to binaryData",
            &[&two()],
            &[
                &with("data: {one: '1'}, binaryData: {two: Mg==}"),
                &item("two"),
            ],
            &[],
        ),
        (
            "Not: a hook that does not run",
            &[&two().hook("pre-install")],
            &[&one().hook("pre-install"), &item("two")],
            &[],
        ),
        (
            "Not: it stays in the Secret, where the API server has put it",
            &[&secret("a").fields("stringData: {one: '1', two: '2'}")],
            &[
                &secret("a").fields("stringData: {one: '1'}"),
                &deployment(
                    "web",
                    &volumes(&["secret: {secretName: a, items: [{key: two, path: p}]}"]),
                ),
            ],
            &[],
        ),
        (
            "Not: written otherwise",
            &[&secret("a").fields("data: {two: MQ==}")],
            &[
                &secret("a").fields("stringData: {two: '1'}"),
                &deployment(
                    "web",
                    &volumes(&["secret: {secretName: a, items: [{key: two, path: p}]}"]),
                ),
            ],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        let findings = upgrade(v1, v2);
        match expected {
            ["never run"] => {
                let (v1, v2) = (revision(1, v1).ran(), revision(2, v2));
                assert_found(name, &read(Operation::Upgrade, Some(&v1), &v2), dangling);
            }
            ["no rollout"] => assert!(
                findings.iter().all(|f| f.lint() == &no_rollout::LINT),
                "{name}"
            ),
            expected => assert_found(name, &findings, expected),
        }
    }
    assert_reason(
        &upgrade(&[&two()], &[&one(), &item("two")]),
        "has the key \"two\" in revision 1 but not in revision 2; the pods that need the key could not start",
        &["put the key back, or remove the references to it"],
    );
    let hook_before = revision(1, &[&two().hook(PRE), &item("two")]).ran();
    let after = || revision(2, &[&one(), &item("two")]);
    assert_found(
        "Not: merged by the client onto what a hook has made",
        &read(Operation::Upgrade, Some(&hook_before), &after()),
        &[],
    );
    assert_found(
        "merged by the API server, for the same manager",
        &read(
            Operation::Upgrade,
            Some(&hook_before),
            &after().server_side(),
        ),
        dangling,
    );
}

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
            "Not: at another time",
            &[&hook("pre-rollback"), &web()],
            &[],
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

#[test]
fn hooks_that_meet_an_object_fail() {
    let hook = |policy: &str| config("a").hook("pre-upgrade").policy(policy);
    let (v1, web): (Docs<'_>, _) = (
        &[&config("a"), &config("b"), &mounts("web", "b")],
        mounts("web", "b"),
    );
    let conflict = &["hook-conflict ConfigMap a"][..];
    assert_found(
        "hook-failed",
        &upgrade(v1, &[&hook("hook-failed"), &config("b"), &web]),
        conflict,
    );
    assert_found(
        "hook-succeeded",
        &upgrade(v1, &[&hook("hook-succeeded"), &config("b"), &web]),
        conflict,
    );
    assert_found(
        "nothing is pruned then",
        &upgrade(v1, &[&hook("hook-failed"), &web]),
        conflict,
    );
    assert_found(
        "Not: before-hook-creation",
        &upgrade(
            v1,
            &[
                &hook("before-hook-creation,hook-failed").keep(),
                &config("b"),
                &web,
            ],
        ),
        &[],
    );
    let (v1, v2) = (
        revision(1, v1),
        revision(2, &[&hook("hook-failed").keep(), &config("b"), &web]),
    );
    assert_found(
        "Not: server-side apply",
        &read(Operation::Upgrade, Some(&v1), &v2.server_side()),
        &[],
    );
}

#[test]
fn what_a_hook_of_before_left_may_be_met() {
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

#[test]
fn changed_config_of_an_unchanged_workload_is_not_rolled_out() {
    let with = |value: &str| config("a").fields(&format!("data: {{x: {value}, other: same}}"));
    let web = || mounts("web", "a");
    let item = |key: &str| {
        deployment(
            "web",
            &volumes(&[&format!(
                "configMap: {{name: a, items: [{{key: {key}, path: p}}]}}"
            )]),
        )
    };
    let silent = &["no-rollout ConfigMap a < Deployment web"][..];
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 12] = [
        (
            "all keys",
            &[&with("old"), &web()],
            &[&with("new"), &web()],
            silent,
        ),
        (
            "the key",
            &[&with("old"), &item("x")],
            &[&with("new"), &item("x")],
            silent,
        ),
        (
            "a key more",
            &[&config("a"), &web()],
            &[&config("a").fields("data: {key: value, more: x}"), &web()],
            silent,
        ),
        (
            "binaryData",
            &[&with("x"), &web()],
            &[&with("x").fields("binaryData: {x: eA==}"), &web()],
            silent,
        ),
        (
            "several workloads",
            &[&with("old"), &web(), &mounts("api", "a")],
            &[&with("new"), &web(), &mounts("api", "a")],
            &["no-rollout ConfigMap a < Deployment web, Deployment api"],
        ),
        (
            "Not: unchanged",
            &[&with("x"), &web()],
            &[&with("x"), &web()],
            &[],
        ),
        (
            "Not: another key",
            &[&with("old"), &item("other")],
            &[&with("new"), &item("other")],
            &[],
        ),
        (
            "Not: the workload changes",
            &[&with("old"), &web()],
            &[&with("new"), &web().annotation("revision", "2")],
            &[],
        ),
        (
            "Not: a new workload",
            &[&with("old")],
            &[&with("new"), &web()],
            &[],
        ),
        ("Not: a new config", &[&web()], &[&with("new"), &web()], &[]),
        (
            "Not: Jobs run once",
            &[
                &with("old"),
                &pods("Job", "j", &volumes(&["configMap: {name: a}"])),
            ],
            &[
                &with("new"),
                &pods("Job", "j", &volumes(&["configMap: {name: a}"])),
            ],
            &[],
        ),
        (
            "Not: a hook that does not run",
            &[&with("old").hook("pre-install"), &web()],
            &[&with("new").hook("pre-install"), &web()],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
    let (v1, v2) = (
        revision(1, &[&with("old"), &web()]),
        revision(2, &[&with("new"), &web()]),
    );
    assert_found(
        "Not: server-side apply sends it",
        &read(Operation::Upgrade, Some(&v1), &v2.clone().server_side()),
        &[],
    );
    assert_found(
        "rollback",
        &read(Operation::Rollback, Some(&v1), &v2),
        silent,
    );
}

#[test]
fn findings_come_in_the_order_of_the_manifest_and_once() {
    let v1: Docs<'_> = &[
        &config("b"),
        &config("a"),
        &secret("s"),
        &config("b"),
        &config("kept"),
    ];
    let v2: Docs<'_> = &[
        &config("a").hook(PRE),
        &config("b").hook(PRE),
        &config("b").hook("pre-rollback"),
        &deployment(
            "web",
            &volumes(&["secret: {secretName: s}", "configMap: {name: b}"]),
        ),
        &config("z").hook("post-upgrade"),
        &mounts("api", "z"),
        &config("kept"),
    ];
    assert_found(
        "",
        &upgrade(v1, v2),
        &[
            "dangling-reference Secret s < Deployment web",
            "hook-pruned ConfigMap b < Deployment web",
            "hook-pruned ConfigMap a",
            "hook-too-late ConfigMap z < Deployment api",
        ],
    );
}

#[test]
fn an_unchanged_release_has_no_findings() {
    let docs: Docs<'_> = &[
        &config("a"),
        &secret("b"),
        &account("c"),
        &mounts("web", "a"),
        &config("d").hook(PRE),
        &migration(PRE, "c"),
        &role("r"),
        &binding("r", "r", &["c"]),
    ];
    assert_found("upgrade", &upgrade(docs, docs), &[]);
    assert_found("rollback", &rollback(docs, docs), &[]);
    assert_found("install", &install(docs), &[]);
}

#[test]
fn a_workload_that_cannot_be_read_is_an_error() {
    let broken = |kind: &str| pods(kind, "web", "volumes: x");
    let found = |docs: Docs<'_>| {
        let target = revision(1, docs).release();
        let plan = Plan::new(Operation::Install, None, &target, &LiveObjects::default());
        let operation = Operation::Install;
        findings(Change {
            operation,
            current: None,
            target: &target,
            plan: &plan,
        })
        .map_err(|error| error.to_string())
    };
    let error = found(&[&broken("Deployment")]).unwrap_err();
    assert!(
        error.starts_with("Deployment web: spec.template.spec.volumes: "),
        "{error}"
    );
    let error = found(&[&broken("Job").hook("pre-install")]).unwrap_err();
    assert!(
        error.starts_with("Job web: spec.template.spec.volumes: "),
        "{error}"
    );
    // What does not run, and what only looks like a workload, may be anything.
    assert_eq!(found(&[&broken("Job").hook("pre-upgrade")]), Ok(Vec::new()));
    assert_eq!(
        found(&[&doc("example.com/v1", "Thing", "a")
            .fields("spec: {template: {spec: {containers: [], volumes: x}}}")]),
        Ok(Vec::new())
    );
    assert_eq!(
        found(&[&doc("example.com/v1", "Thing", "a").fields("spec: {template: text}")]),
        Ok(Vec::new())
    );
    assert_eq!(
        found(&[&doc("apps/v1", "Deployment", "a").fields("spec: {}")]),
        Ok(Vec::new())
    );
}

#[test]
fn live_objects_are_asked_for_where_that_can_change_a_finding() {
    let version = |findings: &[Finding]| -> Vec<Option<String>> {
        findings
            .iter()
            .map(|finding| finding.depends_on_live.clone())
            .collect()
    };
    let v1 = Some("v1".to_owned());
    let a = || config("a");
    let web = || mounts("web", "a");
    for (name, v1_docs, v2, expected) in [
        (
            "pruned as it is",
            [a(), web()],
            [a().hook("pre-install"), web()],
            v1.clone(),
        ),
        (
            "made anew first",
            [a(), web()],
            [a().hook(PRE), web()],
            None,
        ),
        (
            "fails",
            [a(), web()],
            [a().hook(PRE).policy("hook-failed"), web()],
            v1.clone(),
        ),
    ] {
        let [b, c] = &v1_docs;
        let [d, e] = &v2;
        assert_eq!(version(&upgrade(&[b, c], &[d, e])), [expected], "{name}");
    }
    assert_eq!(version(&upgrade(&[&a()], &[&web()])), [v1]);
    let v2 = revision(2, &[&a().hook(PRE).policy("hook-failed")]).server_side();
    let patched = read(Operation::Upgrade, Some(&revision(1, &[&a()])), &v2);
    assert_eq!(version(&patched), [Some("v1".to_owned())], "patched");
}

#[test]
fn ways_out_fit_the_operation() {
    let web = || mounts("web", "a");
    assert_reason(
        &upgrade(&[&config("a"), &web()], &[&config("a").hook(PRE), &web()]),
        "is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest",
        &[
            "keep it a regular resource: remove the annotation helm.sh/hook",
            "make Helm keep it: add the annotation helm.sh/resource-policy: keep to the hook",
        ],
    );
    assert_reason(
        &upgrade(
            &[&config("a")],
            &[
                &config("a").hook("pre-install"),
                &config("a").hook("pre-install,post-install"),
            ],
        ),
        "is a regular resource in revision 1 and a hook (pre-install, post-install) in revision 2. Helm would delete it, because it is no longer in the release manifest, and no hook of this upgrade creates it again",
        &[
            "keep it a regular resource: remove the annotation helm.sh/hook",
            "keep the live object: kubectl annotate -n shop configmap a helm.sh/resource-policy=keep",
        ],
    );
    assert_reason(
        &rollback(&[&config("a"), &web()], &[&config("a").hook(PRE), &web()]),
        "is a regular resource in revision 2 and a hook (pre-install, pre-upgrade) in revision 3. Helm would delete it, because it is no longer in the release manifest, and no hook of this rollback creates it again",
        &[
            "upgrade to a chart that has it as a regular resource, instead of rolling back",
            "keep the live object: kubectl annotate -n shop configmap a helm.sh/resource-policy=keep",
        ],
    );
    assert_reason(
        &rollback(&[&config("a")], &[&config("a").hook("pre-rollback")]),
        "is a regular resource in revision 2 and a hook (pre-rollback) in revision 3. Helm would create it as a pre-rollback hook and then delete it, because it is no longer in the release manifest",
        &["upgrade to a chart that has it as a regular resource, instead of rolling back"],
    );
    let location = || doc("velero.io/v1", "BackupStorageLocation", "default").namespace("velero");
    assert_reason(
        &upgrade(&[&location()], &[&location().hook("pre-install")]),
        "is a regular resource in revision 1 and a hook (pre-install) in revision 2. Helm would delete it, because it is no longer in the release manifest, and no hook of this upgrade creates it again",
        &[
            "keep it a regular resource: remove the annotation helm.sh/hook",
            "keep the live object: kubectl annotate -n velero backupstoragelocation.velero.io default helm.sh/resource-policy=keep",
        ],
    );
    let role = || doc("rbac.authorization.k8s.io/v1", "ClusterRole", "r");
    let findings = upgrade(&[&role()], &[&role().hook("pre-install")]);
    assert_eq!(
        findings
            .first()
            .and_then(|finding| finding.ways_out().into_iter().nth(1)),
        Some(
            "keep the live object: kubectl annotate clusterrole r helm.sh/resource-policy=keep"
                .to_owned()
        )
    );
}

#[test]
fn every_lint_has_a_name_of_its_own() {
    let names: BTreeSet<_> = LINTS.iter().map(|lint| lint.name).collect();
    assert_eq!(names.len(), LINTS.len());
}
