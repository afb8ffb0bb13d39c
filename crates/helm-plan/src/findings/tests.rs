mod crd_deleted;
mod dangling_reference;
mod hook_conflict;
mod hook_helper_pruned;
mod hook_not_run;
mod hook_pruned;
mod hook_recreates_object;
mod hook_recreates_storage;
mod hook_self_deleted;
mod hook_too_late;
mod hook_waits;
mod maker_deleted;
mod namespace_deleted;
mod no_rollout;
mod other_release;

use super::*;
use crate::{
    live::{Live, LiveObjects},
    testing::{
        Doc, Docs, Revision, account, binding, claim, config, deployment, doc, mounted_at, mounts,
        pods, revision, role, secret, volumes,
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
        live: &LiveObjects::default(),
    };
    report(change).unwrap().findings
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
    let uncertain = if finding.is_uncertain() { "?" } else { "" };
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
    assert_found(
        "install: the account comes after the hook",
        &install(docs),
        &["hook-waits? ServiceAccount c < Job migrate"],
    );
}

#[test]
fn a_workload_that_cannot_be_read_is_an_error() {
    let broken = |kind: &str| pods(kind, "web", "volumes: x");
    let found = |docs: Docs<'_>| {
        let target = revision(1, docs).release();
        let plan = Plan::new(Operation::Install, None, &target, &LiveObjects::default());
        let operation = Operation::Install;
        report(Change {
            operation,
            current: None,
            target: &target,
            plan: &plan,
            live: &LiveObjects::default(),
        })
        .map(|report| report.findings)
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
    let asked = |v1: Docs<'_>, v2: &Revision| -> Vec<String> {
        let (current, target) = (revision(1, v1).release(), v2.release());
        let live = LiveObjects::default();
        let plan = Plan::new(Operation::Upgrade, Some(&current), &target, &live);
        let report = report(Change {
            operation: Operation::Upgrade,
            current: Some(&current),
            target: &target,
            plan: &plan,
            live: &live,
        });
        let questions = report.unwrap().questions.into_iter();
        questions
            .map(|question| format!("{} {}", question.api_version, question.id))
            .collect()
    };
    let a = || config("a");
    let web = || mounts("web", "a");
    let trap =
        |events: &str, policy: &str| revision(2, &[&a().hook(events).policy(policy), &web()]);
    for (name, target, expected) in [
        (
            "pruned as it is",
            trap("pre-install", ""),
            &["v1 ConfigMap a"][..],
        ),
        ("made anew first", trap(PRE, "before-hook-creation"), &[]),
        ("may fail", trap(PRE, "hook-failed"), &["v1 ConfigMap a"]),
        (
            "patched",
            trap(PRE, "hook-failed").server_side(),
            &["v1 ConfigMap a"],
        ),
        ("gone", revision(2, &[&web()]), &["v1 ConfigMap a"]),
        (
            "pruned, then created and deleted by a hook",
            trap("post-upgrade", "hook-succeeded"),
            &["v1 ConfigMap a"],
        ),
        (
            "pruned, then created by a hook",
            trap("post-upgrade", "hook-failed"),
            &["v1 ConfigMap a"],
        ),
        // It may be another release's.
        (
            "gone, and needed by nobody",
            revision(2, &[]),
            &["v1 ConfigMap a"],
        ),
        ("unchanged", revision(2, &[&a(), &web()]), &[]),
    ] {
        assert_eq!(asked(&[&a(), &web()], &target), expected, "{name}");
    }
}

/// What is found once live objects were looked at. Those that are not given must not be read.
fn assessed(current: &Revision, target: &Revision, live: &[(ObjectId, Live)]) -> Vec<Finding> {
    let look = |_: &str, id: &ObjectId| {
        let mut seen = live.iter();
        let seen = seen.find(|(seen, _)| seen == id);
        Ok::<_, std::convert::Infallible>(seen.map_or(Live::Unknown, |(_, live)| live.clone()))
    };
    let (current, target) = (current.release(), target.release());
    let assessed = crate::assess(Operation::Upgrade, Some(&current), target, look);
    assessed.unwrap().findings
}

/// An object of the core group.
fn core(kind: &str, name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: crate::testing::NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
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
