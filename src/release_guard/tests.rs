use std::time::Duration;

use serde_json::{Value, json};

use helm_plan::{
    lifecycle::{DeletePolicy, Event},
    testing::{
        Doc, Docs, NAMESPACE, Revision, account, config, deployment, doc, mounts, pods, revision,
        secret, volumes,
    },
};

use super::*;
use crate::{
    annotations::ALLOW_REVISION,
    cluster::{InTime, fake::Objects},
    verdict::Outcome,
};

const PRE: &str = "pre-install,pre-upgrade";

fn create(record: Value) -> Request {
    let text = |path| {
        record
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Request {
        kind: request::Kind {
            group: String::new(),
            kind: text("/kind"),
        },
        name: text("/metadata/name"),
        namespace: NAMESPACE.to_owned(),
        object: record,
        ..Request::default()
    }
}

fn settings(settings: Value) -> Settings {
    Settings::parse(&settings).unwrap()
}

/// The first line's answer to this pending record, with these objects in the cluster.
fn judged(record: Value, cluster: &Objects) -> Verdict {
    let request = create(record);
    assert!(concerns(&request));
    judge(&request, &Settings::default(), cluster)
}

/// Revision 1 of `web`, and the pending upgrade to revision 2.
fn upgrade(v1: Docs<'_>, v2: Docs<'_>) -> (Objects, Value) {
    let records = Objects::new([revision(1, v1).secret()]);
    (records, revision(2, v2).status("pending-upgrade").secret())
}

fn judged_upgrade(v1: Docs<'_>, v2: Docs<'_>) -> Verdict {
    let (cluster, record) = upgrade(v1, v2);
    judged(record, &cluster)
}

#[track_caller]
fn assert_rejected(verdict: &Verdict, expected_code: u16, expected: &str) {
    let Outcome::Reject { code, message } = &verdict.outcome else {
        panic!("{verdict:#?}")
    };
    assert_eq!(message, expected);
    assert_eq!(*code, expected_code);
}

#[track_caller]
fn assert_accepted(verdict: &Verdict, warnings: &[&str]) {
    assert_eq!(verdict.outcome, Outcome::Accept);
    assert_eq!(verdict.warnings, warnings);
    for warning in &verdict.warnings {
        assert!(
            warning.chars().count() <= 256,
            "{} {warning}",
            warning.len()
        );
    }
}

#[track_caller]
fn assert_audit(verdict: &Verdict, expected: &[(&str, &str)]) {
    let audit: Vec<_> = verdict
        .audit
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    assert_eq!(audit, expected);
}

/// The trap of seed 003.
fn trap() -> (Objects, Value) {
    upgrade(
        &[&config("app-config"), &mounts("web", "app-config")],
        &[
            &config("app-config").hook(PRE),
            &mounts("web", "app-config"),
        ],
    )
}

#[test]
fn only_new_pending_records_are_judged() {
    let pending = |object: Value| concerns(&create(object));
    let record = || revision(2, &[]);
    for status in ["pending-install", "pending-upgrade", "pending-rollback"] {
        assert!(pending(record().status(status).secret()), "{status}");
        assert!(pending(record().status(status).config_map()), "{status}");
    }
    for status in [
        "deployed",
        "failed",
        "superseded",
        "uninstalling",
        "uninstalled",
        "unknown",
    ] {
        assert!(!pending(record().status(status).secret()), "{status}");
    }
    let record = record().status("pending-upgrade");
    let with = |path: &str, value: Value| {
        let mut object = record.secret();
        *object.pointer_mut(path).unwrap() = value;
        object
    };
    assert!(
        !pending(with("/type", "Opaque".into())),
        "another type of Secret"
    );
    assert!(!pending(with("/metadata/labels", Value::Null)), "no labels");
    let mut foreign = record.config_map();
    foreign["metadata"]["labels"]["owner"] = "somebody".into();
    assert!(!pending(foreign), "a ConfigMap of somebody else");

    let mut update = create(record.secret());
    update.operation = request::Operation::Update;
    assert!(!concerns(&update), "an update");
    let mut grouped = create(record.secret());
    grouped.kind.group = "example.com".to_owned();
    assert!(!concerns(&grouped), "a Secret of another group");
    assert!(!concerns(&Request::default()), "nothing");
}

#[test]
fn a_release_that_loses_nothing_passes_with_one_look_up() {
    let docs: Docs<'_> = &[&config("a"), &mounts("web", "a"), &config("b").hook(PRE)];
    let (cluster, record) = upgrade(docs, docs);
    let verdict = judged(record, &cluster);
    assert_accepted(&verdict, &[]);
    assert_audit(&verdict, &[]);
    assert_eq!(
        *cluster.asked.borrow(),
        ["Secret shop/sh.helm.release.v1.web.v1 [metadata.labels, data]"]
    );
    let install = revision(1, docs).status("pending-install").secret();
    let nothing = Objects::default();
    assert_accepted(&judged(install, &nothing), &[]);
    assert_eq!(*nothing.asked.borrow(), [""; 0]);
}

#[test]
fn hook_pruned_is_rejected() {
    let (cluster, record) = trap();
    let verdict = judged(record, &cluster);
    assert_rejected(
        &verdict,
        403,
        "\
rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would lose what its pods need. Nothing was changed.

hook-pruned: ConfigMap app-config is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest.
Needed by: Deployment web.
Fix it in one of these ways:
- keep it a regular resource: remove the annotation helm.sh/hook
- make Helm keep it: add the annotation helm.sh/resource-policy: keep to the hook

To allow revision 2 anyway: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again

More about hook-pruned: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#hook-pruned",
    );
    assert_audit(
        &verdict,
        &[("release-findings", "hook-pruned: ConfigMap app-config")],
    );
    assert_eq!(verdict.warnings, [""; 0]);
    assert_eq!(
        cluster.asked.borrow().len(),
        1,
        "no look-up of an object that is recreated"
    );
}

#[test]
fn dangling_references_are_rejected() {
    let web = || deployment("web", &volumes(&["secret: {secretName: db}"]));
    let verdict = judged_upgrade(&[&secret("db"), &web()], &[&web()]);
    // The fake cluster has no Secret `db`: somebody has deleted it, and this release does not.
    assert_accepted(&verdict, &[]);

    let (mut cluster, record) = upgrade(&[&secret("db"), &web()], &[&web()]);
    cluster.objects.push(live("Secret", "db", None));
    let verdict = judged(record, &cluster);
    assert_rejected(
        &verdict,
        403,
        "\
rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would lose what its pods need. Nothing was changed.

dangling-reference: Secret db is in revision 1 but not in revision 2, so Helm deletes it; the pods that need it could not start.
Needed by: Deployment web.
Fix it in one of these ways:
- put it back into the chart, or remove the references to it
- keep the live object: kubectl annotate -n shop secret db helm.sh/resource-policy=keep

To allow revision 2 anyway: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again

More about dangling-reference: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#dangling-reference",
    );
    assert_audit(
        &verdict,
        &[("release-findings", "dangling-reference: Secret db")],
    );
}

#[test]
fn hooks_that_delete_themselves_are_rejected() {
    let hook = config("a").hook("pre-install").policy("hook-succeeded");
    let docs: Docs<'_> = &[&hook, &mounts("web", "a")];
    let install = revision(1, docs).status("pending-install").secret();
    assert_rejected(
        &judged(install, &Objects::default()),
        403,
        "\
rollout-guard: helm install of release web in namespace shop, as revision 1, would lose what its pods need. Nothing of its manifest was created.

hook-self-deleted: ConfigMap a is a pre-install hook with the delete policy hook-succeeded, so Helm deletes it before the pods that need it start.
Needed by: Deployment web.
Fix it in one of these ways:
- make it a regular resource: remove the annotation helm.sh/hook
- remove hook-succeeded from its helm.sh/hook-delete-policy

To allow revision 1 anyway: helm install --labels rollout-guard/allow-revision=1 …

More about hook-self-deleted: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#hook-self-deleted",
    );
}

#[test]
fn hook_helpers_are_a_warning() {
    let job = || pods("Job", "migrate", "serviceAccountName: migrations");
    assert_accepted(
        &judged_upgrade(
            &[&account("migrations"), &job()],
            &[&account("migrations").hook(PRE), &job().hook(PRE)],
        ),
        &[
            "rollout-guard: hook-helper-pruned: ServiceAccount migrations is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Needed by: Job migrate. How to fix it: keep it a regular resource: remove the annotation helm.sh/hook",
        ],
    );
}

#[test]
fn hooks_that_come_too_late_are_a_warning() {
    let hook = config("a").hook("post-install");
    let install = revision(1, &[&hook, &mounts("web", "a")])
        .status("pending-install")
        .secret();
    assert_accepted(
        &judged(install, &Objects::default()),
        &[
            "rollout-guard: hook-too-late: ConfigMap a is created only by a post-install hook, after the pods that need it; with --wait, Helm waits for those pods until it times out. Needed by: Deployment web",
        ],
    );
}

#[test]
fn hooks_that_fail_are_a_warning() {
    let hook = || config("a").hook(PRE).policy("hook-succeeded");
    let (mut cluster, record) = upgrade(&[&config("a")], &[&hook()]);
    cluster.objects.push(live("ConfigMap", "a", None));
    assert_accepted(
        &judged(record.clone(), &cluster),
        &[
            "rollout-guard: hook-conflict: ConfigMap a already exists, and its pre-upgrade hook lacks the delete policy before-hook-creation, so the upgrade fails when Helm creates it. How to fix it: add before-hook-creation to its helm.sh/hook-delete-policy",
        ],
    );
    assert_eq!(
        cluster.asked.borrow().last().map(String::as_str),
        Some(
            "ConfigMap shop/a [metadata.annotations, metadata.ownerReferences, metadata.managedFields]"
        )
    );
}

/// The first try fails, somebody deletes the object, and the second one falls into the trap.
#[test]
fn a_conflict_that_somebody_has_deleted_away_is_the_trap() {
    let hook = || config("a").hook(PRE).policy("hook-failed");
    let docs: Docs<'_> = &[&config("a"), &mounts("web", "a"), &config("b")];
    let (cluster, record) = upgrade(
        docs,
        &[
            &hook(),
            &mounts("web", "a"),
            &config("b").hook(PRE).policy("hook-failed"),
        ],
    );
    let verdict = judged(record, &cluster);
    assert_audit(
        &verdict,
        &[(
            "release-findings",
            "hook-pruned: ConfigMap a, hook-pruned: ConfigMap b",
        )],
    );
    assert_eq!(
        *cluster.asked.borrow(),
        [
            "Secret shop/sh.helm.release.v1.web.v1 [metadata.labels, data]",
            "ConfigMap shop/a [metadata.annotations, metadata.ownerReferences, metadata.managedFields]",
            "ConfigMap shop/b [metadata.annotations, metadata.ownerReferences, metadata.managedFields]",
        ]
    );
}

#[test]
fn claims_that_are_hooks_are_a_warning() {
    let claim = || doc("v1", "PersistentVolumeClaim", "data").hook(PRE);
    let db = || {
        pods(
            "StatefulSet",
            "db",
            &volumes(&["persistentVolumeClaim: {claimName: data}"]),
        )
    };
    assert_accepted(
        &judged_upgrade(&[&claim(), &db()], &[&claim(), &db()]),
        &[
            "rollout-guard: hook-recreates-storage: PersistentVolumeClaim data is a hook with the delete policy before-hook-creation, so each upgrade deletes it with its data and recreates it. Needed by: StatefulSet db",
        ],
    );
}

#[test]
fn config_that_is_not_rolled_out_is_a_warning() {
    let with = |value: &str| config("a").fields(&format!("data: {{key: {value}}}"));
    let (web, api) = (mounts("web", "a"), mounts("api", "a"));
    assert_accepted(
        &judged_upgrade(&[&with("old"), &web], &[&with("new"), &web]),
        &[
            "rollout-guard: no-rollout: ConfigMap a changes, but the workload that uses it does not, so Helm sends no request for the workload, and its pods keep the old config. Needed by: Deployment web",
        ],
    );
    assert_accepted(
        &judged_upgrade(&[&with("old"), &web, &api], &[&with("new"), &web, &api]),
        &[
            "rollout-guard: no-rollout: ConfigMap a changes, but the workloads that use it do not, so Helm sends no request for them, and their pods keep the old config. Needed by: Deployment web, Deployment api",
        ],
    );
}

#[test]
fn what_may_be_made_anew_is_a_warning() {
    let web = || deployment("web", &volumes(&["secret: {secretName: web-tls}"]));
    let certificate =
        doc("cert-manager.io/v1", "Certificate", "web").fields("spec: {secretName: web-tls}");
    let (mut cluster, record) = upgrade(&[&secret("web-tls"), &web()], &[&certificate, &web()]);
    cluster.objects.push(live("Secret", "web-tls", None));
    assert_accepted(
        &judged(record, &cluster),
        &[
            "rollout-guard: dangling-reference: Secret web-tls is in revision 1 but not in revision 2, so Helm deletes it; the pods that need it could not start, unless Certificate web restores it. Needed by: Deployment web",
        ],
    );
}

fn live(kind: &str, name: &str, policy: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"helm.sh/resource-policy": policy}},
    })
}

#[test]
fn keep_on_the_live_object_is_seen() {
    let web = || mounts("web", "a");
    let (mut cluster, record) = upgrade(
        &[&config("a"), &web()],
        &[&config("a").hook("pre-install"), &web()],
    );
    cluster.objects.push(live("ConfigMap", "a", Some("keep")));
    assert_accepted(&judged(record.clone(), &cluster), &[]);
    assert_eq!(
        *cluster.asked.borrow(),
        [
            "Secret shop/sh.helm.release.v1.web.v1 [metadata.labels, data]",
            "ConfigMap shop/a [metadata.annotations, metadata.ownerReferences, metadata.managedFields]",
        ]
    );

    cluster.objects.pop();
    cluster.objects.push(live("ConfigMap", "a", Some("Keep")));
    assert!(matches!(
        judged(record.clone(), &cluster).outcome,
        Outcome::Reject { code: 403, .. }
    ));

    cluster.failing = vec!["ConfigMap shop/a".to_owned()];
    assert_rejected(
        &judged(record, &cluster),
        500,
        "\
rollout-guard: release record Secret shop/sh.helm.release.v1.web.v2 cannot be judged: ConfigMap shop/a cannot be read: the API server is away. Nothing was changed.
To allow revision 2 without checking it: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again
To allow all such releases: set `lookupFailure: warn` in this policy's settings",
    );
}

/// A kind that the policy may not read counts as its manifest says.
#[test]
fn what_may_not_be_looked_at_is_judged_by_its_manifest() {
    let web = deployment("web", "serviceAccountName: a");
    let (mut cluster, record) = upgrade(&[&account("a"), &web], &[&web]);
    cluster.denied = vec!["v1/ServiceAccount".to_owned()];
    let verdict = judged(record, &cluster);
    assert_audit(
        &verdict,
        &[("release-findings", "dangling-reference: ServiceAccount a")],
    );
}

#[test]
fn look_ups_of_live_objects_are_bounded() {
    let names: Vec<_> = (0..40).map(|n| format!("c{n:02}")).collect();
    let configs: Vec<_> = names.iter().map(|name| config(name)).collect();
    let docs: Vec<&dyn std::fmt::Display> = configs.iter().map(|config| config as _).collect();
    let hooks: Vec<_> = names
        .iter()
        .map(|name| config(name).hook("pre-install"))
        .collect();
    let hooks: Vec<&dyn std::fmt::Display> = hooks.iter().map(|hook| hook as _).collect();
    let (mut cluster, record) = upgrade(&docs, &hooks);
    cluster.objects.extend(
        names
            .iter()
            .map(|name| live("ConfigMap", name, Some("keep"))),
    );
    let verdict = judged(record.clone(), &cluster);
    assert_eq!(cluster.asked.borrow().len(), 1 + 32);
    assert_eq!(
        verdict.warnings,
        ["rollout-guard: 8 more live objects were not looked at, so their manifests decide"]
    );
    let expected: Vec<_> = names[32..]
        .iter()
        .map(|name| format!("hook-pruned: ConfigMap {name}"))
        .collect();
    assert_audit(&verdict, &[("release-findings", &expected.join(", "))]);

    // The same with a slow API server: the record and nine live objects are read in time.
    let hurried = judge(
        &create(record),
        &Settings::default(),
        &with_time_for(10, cluster),
    );
    assert_eq!(
        hurried.warnings,
        ["rollout-guard: 31 more live objects were not looked at, so their manifests decide"]
    );
}

/// A cluster that answers so many look-ups in time.
fn with_time_for(look_ups: u64, cluster: Objects) -> impl Cluster {
    let asked = std::cell::Cell::new(0);
    let elapsed = move || Duration::from_secs(asked.replace(asked.get() + 1));
    InTime::new(cluster, Duration::from_secs(look_ups), elapsed)
}

#[test]
fn a_record_that_is_not_read_in_time_is_a_failed_look_up() {
    let (cluster, record) = trap();
    let cluster = with_time_for(0, cluster);
    let request = create(record);
    let slow = "release record Secret shop/sh.helm.release.v1.web.v2 cannot be judged: \
                Secret shop/sh.helm.release.v1.web.v1 cannot be read: the API server is slow, and the time for look-ups \
                is over; raise timeoutEvalSeconds of the policy, and in its settings";
    let verdict = judge(&request, &Settings::default(), &cluster);
    let Outcome::Reject { code: 500, message } = &verdict.outcome else {
        panic!("{verdict:#?}")
    };
    assert!(message.contains(slow), "{message}");
    let warn = settings(json!({"lookupFailure": "warn"}));
    let verdict = judge(&request, &warn, &cluster);
    assert_eq!(verdict.outcome, Outcome::Accept);
    assert_audit(&verdict, &[("release-not-judged", slow)]);
}

#[test]
fn several_findings_are_ordered_and_share_their_ways_out() {
    let web = || {
        let mounted = [
            "configMap: {name: b}",
            "secret: {secretName: s}",
            "configMap: {name: d}",
        ];
        deployment("web", &volumes(&mounted))
    };
    let (mut cluster, record) = upgrade(
        &[
            &config("b"),
            &config("a"),
            &secret("s"),
            &config("d"),
            &web(),
        ],
        &[
            &config("a").hook(PRE),
            &config("b").hook(PRE),
            &secret("s").hook(PRE),
            &web(),
            &config("z").hook("post-upgrade"),
            &mounts("api", "z"),
        ],
    );
    cluster.objects.push(live("ConfigMap", "d", None));
    let verdict = judged(record, &cluster);
    assert_rejected(
        &verdict,
        403,
        "\
rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would lose what its pods need. Nothing was changed.

hook-pruned: Secret s is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest.
Needed by: Deployment web.
hook-pruned: ConfigMap b is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest.
Needed by: Deployment web.
hook-pruned: ConfigMap a is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest.
Fix each in one of these ways:
- keep it a regular resource: remove the annotation helm.sh/hook
- make Helm keep it: add the annotation helm.sh/resource-policy: keep to the hook

dangling-reference: ConfigMap d is in revision 1 but not in revision 2, so Helm deletes it; the pods that need it could not start.
Needed by: Deployment web.
Fix it in one of these ways:
- put it back into the chart, or remove the references to it
- keep the live object: kubectl annotate -n shop configmap d helm.sh/resource-policy=keep

To allow revision 2 anyway: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again

More about hook-pruned: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#hook-pruned
More about dangling-reference: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#dangling-reference",
    );
    assert_audit(
        &verdict,
        &[(
            "release-findings",
            "hook-pruned: Secret s, hook-pruned: ConfigMap b, hook-pruned: ConfigMap a, dangling-reference: ConfigMap d",
        )],
    );
    assert_eq!(verdict.warnings.len(), 1, "{:?}", verdict.warnings);
}

#[test]
fn long_messages_are_shortened() {
    let names: Vec<_> = (0..13).map(|n| format!("c{n:02}")).collect();
    let configs: Vec<_> = names.iter().map(|name| config(name)).collect();
    let hooks: Vec<_> = names.iter().map(|name| config(name).hook(PRE)).collect();
    let users: Vec<_> = (0..7).map(|n| mounts(&format!("web-{n}"), "c00")).collect();
    let v1: Vec<&dyn std::fmt::Display> = configs.iter().map(|doc| doc as _).collect();
    let v2: Vec<&dyn std::fmt::Display> = hooks.iter().chain(&users).map(|doc| doc as _).collect();
    let verdict = judged_upgrade(&v1, &v2);
    let Outcome::Reject { message, .. } = &verdict.outcome else {
        panic!("{verdict:?}")
    };
    assert_eq!(message.matches("hook-pruned: ConfigMap").count(), 10);
    assert!(
        message.contains("\n\nAnd 3 more findings.\n\nTo allow revision 2 anyway"),
        "{message}"
    );
    assert!(
        message.contains("\nNeeded by: Deployment web-0, Deployment web-1, Deployment web-2, Deployment web-3, Deployment web-4 and 2 more.\n"),
        "{message}"
    );
    assert_eq!(
        verdict.audit["release-findings"]
            .matches("hook-pruned: ")
            .count(),
        13
    );

    let eleven = judged_upgrade(&v1[..11], &v2[..11]);
    let Outcome::Reject { message, .. } = &eleven.outcome else {
        panic!("{eleven:?}")
    };
    assert!(message.contains("\n\nAnd 1 more finding.\n\n"), "{message}");
}

/// Of a warning, what does not fit is left out whole.
#[test]
fn warnings_fit_for_ordinary_names() {
    let with = |name: &str, consumers: usize| {
        let claim = || doc("v1", "PersistentVolumeClaim", name).hook(PRE);
        let volume = volumes(&[&format!("persistentVolumeClaim: {{claimName: {name}}}")]);
        let workloads: Vec<_> = (0..consumers)
            .map(|n| deployment(&format!("my-release-postgresql-{n}"), &volume))
            .collect();
        let claim = claim();
        let mut docs: Vec<&dyn std::fmt::Display> = vec![&claim];
        docs.extend(workloads.iter().map(|doc| doc as &dyn std::fmt::Display));
        judged_upgrade(&docs, &docs).warnings.concat()
    };
    let reason = |name: &str| {
        format!(
            "rollout-guard: hook-recreates-storage: PersistentVolumeClaim {name} is a hook with the delete policy before-hook-creation, so each upgrade deletes it with its data and recreates it"
        )
    };
    let fix = ". How to fix it: make it a regular resource with helm.sh/resource-policy: keep";
    assert_eq!(with("a", 0), reason("a") + fix);
    let needed_by = ". Needed by: Deployment my-release-postgresql-0";
    assert_eq!(with("data", 1), reason("data") + needed_by);
    assert_eq!(with("data", 2), reason("data") + fix);
    assert_eq!(with(&"d".repeat(20), 2), reason(&"d".repeat(20)));
}

#[test]
fn levels_come_from_the_settings() {
    let level =
        |lint: &str, level: &str| settings(json!({"releaseGuard": {"findings": {lint: level}}}));
    let (cluster, record) = trap();
    let request = create(record);

    let verdict = judge(&request, &level("hook-pruned", "warn"), &cluster);
    assert_accepted(
        &verdict,
        &[
            "rollout-guard: hook-pruned: ConfigMap app-config is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest",
        ],
    );
    assert_audit(&verdict, &[]);
    assert_accepted(
        &judge(&request, &level("hook-pruned", "ignore"), &cluster),
        &[],
    );
    assert_accepted(
        &judge(&request, &rescue(), &cluster),
        &[
            "rollout-guard: kept by this policy (not with --no-hooks): hook-pruned: ConfigMap app-config is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Needed by: Deployment web",
        ],
    );
    assert!(matches!(
        judge(&request, &level("dangling-reference", "warn"), &cluster).outcome,
        Outcome::Reject { .. }
    ));

    let off = settings(json!({"releaseGuard": {"bypass": false}}));
    let Outcome::Reject { message, .. } = judge(&request, &off, &cluster).outcome else {
        panic!("rejected")
    };
    assert!(
        !message.contains("To allow"),
        "no bypass is offered: {message}"
    );
}

fn rescue() -> Settings {
    let guard = json!({"hookRequests": true, "findings": {"hook-pruned": "rescue"}});
    settings(json!({"releaseGuard": guard}))
}

/// What will not be annotated is rejected.
#[test]
fn only_some_kinds_are_rescued() {
    let gateway = || doc("example.com/v1", "Gateway", "a");
    let uses = |volume: &str| deployment("web", &volumes(&[volume]));
    let runs_as = deployment("web", "serviceAccountName: a");
    let api = || deployment("a", "");
    for (kind, v1, v2, user, expected) in [
        (
            "ConfigMap",
            config("a"),
            config("a"),
            uses("configMap: {name: a}"),
            true,
        ),
        (
            "Secret",
            secret("a"),
            secret("a"),
            uses("secret: {secretName: a}"),
            true,
        ),
        ("ServiceAccount", account("a"), account("a"), runs_as, true),
        (
            "PersistentVolumeClaim",
            doc("v1", "PersistentVolumeClaim", "a"),
            doc("v1", "PersistentVolumeClaim", "a"),
            uses("persistentVolumeClaim: {claimName: a}"),
            true,
        ),
        ("Deployment", api(), api(), config("b"), false),
        ("Gateway", gateway(), gateway(), config("b"), false),
    ] {
        let (cluster, record) = upgrade(&[&v1, &user], &[&v2.hook(PRE), &user]);
        let request = create(record);
        let verdict = judge(&request, &rescue(), &cluster);
        assert_eq!(!verdict.is_rejected(), expected, "{kind}: {verdict:?}");
        let kept = "rollout-guard: kept by this policy";
        let is_kept = verdict
            .warnings
            .iter()
            .any(|warning| warning.starts_with(kept));
        assert_eq!(is_kept, expected, "{kind}: {verdict:?}");

        // Settings that nobody has checked.
        let guard = json!({"findings": {"hook-pruned": "rescue"}});
        let unchecked = Settings::read(&json!({"releaseGuard": guard})).unwrap();
        assert!(
            judge(&request, &unchecked, &cluster).is_rejected(),
            "{kind}"
        );
    }
}

/// A hook that does not run cannot be rescued.
#[test]
fn what_cannot_be_rescued_is_rejected() {
    let rescue = rescue();
    let web = || mounts("web", "a");
    let (mut cluster, record) = upgrade(
        &[&config("a"), &web()],
        &[&config("a").hook("pre-install"), &web()],
    );
    cluster.objects.push(live("ConfigMap", "a", None));
    let verdict = judge(&create(record), &rescue, &cluster);
    assert_audit(
        &verdict,
        &[("release-findings", "hook-pruned: ConfigMap a")],
    );
}

#[test]
fn a_finding_without_loss_can_be_rejected_too() {
    let strict = settings(json!({"releaseGuard": {"findings": {"no-rollout": "reject"}}}));
    let with = |value: &str| config("a").fields(&format!("data: {{key: {value}}}"));
    let (cluster, record) = upgrade(
        &[&with("old"), &mounts("web", "a")],
        &[&with("new"), &mounts("web", "a")],
    );
    assert_rejected(
        &judge(&create(record), &strict, &cluster),
        403,
        "\
rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, is rejected by this policy's settings. Nothing was changed.

no-rollout: ConfigMap a changes, but the workload that uses it does not, so Helm sends no request for the workload, and its pods keep the old config.
Needed by: Deployment web.
How to fix it:
- add an annotation with {{ .Release.Revision }} to the metadata of the workload (not of its pod template)

To allow revision 2 anyway: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again

More about no-rollout: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#no-rollout",
    );
}

#[test]
fn the_words_tell_whether_somebody_needs_what_is_lost() {
    let begins = |v2: Docs<'_>, expected: &str| {
        let Outcome::Reject { message, .. } = judged_upgrade(&[&config("a")], v2).outcome else {
            panic!("rejected")
        };
        let begin =
            "rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, ";
        let rest = message.strip_prefix(begin).unwrap();
        assert!(rest.starts_with(expected), "{message}");
    };
    begins(
        &[&config("a").hook(PRE)],
        "would delete objects of the release. Nothing was changed.",
    );
    begins(
        &[&config("a").hook(PRE), &mounts("web", "a")],
        "would lose what its pods need. Nothing was changed.",
    );
}

/// A name in YAML can have any character; the lines of a message are those of this policy.
#[test]
fn names_add_no_lines_to_a_message() {
    let name = r#""a\e[2J\nb""#;
    let verdict = judged_upgrade(
        &[&config(name), &mounts("web", name)],
        &[&config(name).hook(PRE), &mounts("web", name)],
    );
    let Outcome::Reject { message, .. } = &verdict.outcome else {
        panic!("{verdict:?}")
    };
    assert!(
        message.contains(r"hook-pruned: ConfigMap a\u{1b}[2J\nb is a regular resource"),
        "{message}"
    );
    assert!(!message.contains("a\u{1b}[2J\nb"), "{message}");
}

/// Flux can keep the records in the namespace of its HelmRelease.
#[test]
fn the_label_is_for_the_record_wherever_it_is() {
    let moved = |mut record: Value| {
        record["metadata"]["namespace"] = "flux".into();
        record
    };
    let (_, pending) = trap();
    let v1: Docs<'_> = &[&config("app-config"), &mounts("web", "app-config")];
    let cluster = Objects::new([moved(revision(1, v1).secret())]);
    let mut request = create(moved(pending));
    request.namespace = "flux".to_owned();
    let Outcome::Reject { message, .. } = judge(&request, &Settings::default(), &cluster).outcome
    else {
        panic!("rejected")
    };
    for expected in [
        "helm upgrade of release web in namespace shop, from revision 1 to 2, would lose",
        "(Flux): kubectl label -n flux secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again",
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

/// The answer does not tell somebody who may not read an object whether it exists.
#[test]
fn objects_of_other_namespaces_are_looked_up_for_those_who_may_read_them() {
    let lost = || config("a").namespace("bank");
    let web = || mounts("web", "a").namespace("bank");
    let exists = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "bank"},
    });
    let asked = "may jenkins of ci get configmaps bank?";
    for (name, object, forbidden, rejected, look_ups) in [
        ("may read, absent", None, false, false, 2),
        ("may read, present", Some(&exists), false, true, 2),
        ("may not, absent", None, true, true, 1),
        ("may not, present", Some(&exists), true, true, 1),
    ] {
        let (mut cluster, record) = upgrade(&[&lost(), &web()], &[&web()]);
        cluster.objects.extend(object.cloned());
        if forbidden {
            cluster.forbidden = vec!["configmaps bank".to_owned()];
        }
        let mut request = create(record);
        request.user_info = json!({"username": "jenkins", "groups": ["ci"]});
        let verdict = judge(&request, &Settings::default(), &cluster);
        assert_eq!(verdict.is_rejected(), rejected, "{name}: {verdict:?}");
        let (reviews, objects): (Vec<_>, Vec<_>) = cluster
            .asked
            .take()
            .into_iter()
            .partition(|asked| asked.starts_with("may "));
        assert_eq!(reviews, [asked], "{name}");
        assert_eq!(objects.len(), look_ups, "{name}: {objects:?}");
    }
}

#[test]
fn the_bypass_is_for_one_revision() {
    let labelled = |record: &Value, revision: &str| {
        let mut record = record.clone();
        record["metadata"]["labels"][ALLOW_REVISION] = revision.into();
        create(record)
    };
    let (cluster, record) = trap();
    let verdict = judge(&labelled(&record, "2"), &Settings::default(), &cluster);
    assert_accepted(
        &verdict,
        &[
            "rollout-guard: allowed by label: hook-pruned: ConfigMap app-config is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Needed by: Deployment web",
        ],
    );
    assert_audit(
        &verdict,
        &[(
            "release-bypass",
            "rollout-guard/allow-revision=2: hook-pruned: ConfigMap app-config",
        )],
    );
    let rejected = |request: &Request, settings: &Settings| {
        matches!(
            judge(request, settings, &cluster).outcome,
            Outcome::Reject { code: 403, .. }
        )
    };
    for other in ["1", "3", "02", "2 ", "true", ""] {
        assert!(
            rejected(&labelled(&record, other), &Settings::default()),
            "{other:?}"
        );
    }
    let off = settings(json!({"releaseGuard": {"bypass": false}}));
    assert!(rejected(&labelled(&record, "2"), &off));

    // A release that needs no bypass is not said to have had one.
    let (cluster, record) = upgrade(&[&config("a")], &[&config("a")]);
    let verdict = judge(&labelled(&record, "2"), &Settings::default(), &cluster);
    assert_accepted(&verdict, &[]);
    assert_audit(&verdict, &[]);
}

#[test]
fn records_that_cannot_be_read_are_rejected() {
    let broken = || {
        let mut record = revision(2, &[]).status("pending-upgrade").secret();
        record["data"]["release"] = "*".into();
        record
    };
    let cluster = Objects::default();
    assert_rejected(
        &judged(broken(), &cluster),
        500,
        "\
rollout-guard: release record Secret shop/sh.helm.release.v1.web.v2 cannot be judged: data.release: Kubernetes' base64 layer has an invalid character at byte 0. Nothing was changed.
To allow revision 2 without checking it: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again
To allow all such releases: set `lookupFailure: warn` in this policy's settings",
    );
    let request = create(broken());
    let off = settings(json!({"releaseGuard": {"bypass": false}}));
    assert_rejected(
        &judge(&request, &off, &cluster),
        500,
        "\
rollout-guard: release record Secret shop/sh.helm.release.v1.web.v2 cannot be judged: data.release: Kubernetes' base64 layer has an invalid character at byte 0. Nothing was changed.
To allow all such releases: set `lookupFailure: warn` in this policy's settings",
    );

    let text = "release record Secret shop/sh.helm.release.v1.web.v2 cannot be judged: data.release: Kubernetes' base64 layer has an invalid character at byte 0";
    let lenient = settings(json!({"lookupFailure": "warn"}));
    let mut allowed = broken();
    allowed["metadata"]["labels"][ALLOW_REVISION] = "2".into();
    for verdict in [
        judge(&request, &lenient, &cluster),
        judged(allowed.clone(), &cluster),
    ] {
        assert_accepted(&verdict, &[&format!("rollout-guard: {text}")]);
        assert_audit(&verdict, &[("release-not-judged", text)]);
    }
    assert!(matches!(
        judge(&create(allowed), &off, &cluster).outcome,
        Outcome::Reject { code: 500, .. }
    ));

    let mut install = broken();
    install["metadata"]["labels"]["status"] = "pending-install".into();
    let Outcome::Reject { message, .. } = judged(install, &cluster).outcome else {
        panic!("rejected")
    };
    assert!(
        message.contains(" at byte 0. Nothing of its manifest was created.\nTo allow revision 2 without checking it: helm install --labels rollout-guard/allow-revision=2 …\nTo allow all"),
        "{message}"
    );

    let mut rollback = broken();
    rollback["metadata"]["labels"]["status"] = "pending-rollback".into();
    let Outcome::Reject { message, .. } = judged(rollback, &cluster).outcome else {
        panic!("rejected")
    };
    assert!(
        message.contains("\nTo allow revision 2 without checking it: kubectl label -n shop secret sh.helm.release.v1.web.vN rollout-guard/allow-revision=2 --overwrite (N is the revision to roll back to), and roll back again\n"),
        "{message}"
    );
}

#[test]
fn what_else_keeps_a_release_from_being_judged() {
    let judged_because = |record: Value, cluster: &Objects| {
        let Outcome::Reject { code: 500, message } = judged(record, cluster).outcome else {
            panic!("rejected")
        };
        let reason = message.split(" cannot be judged: ").nth(1).unwrap();
        reason
            .split(". Nothing was changed.")
            .next()
            .unwrap()
            .to_owned()
    };
    let (cluster, record) = trap();
    let mut mislabelled = revision(2, &[]).secret();
    mislabelled["metadata"]["labels"]["status"] = "pending-upgrade".into();
    let away = Objects {
        failing: vec!["Secret shop/sh.helm.release.v1.web.v1".to_owned()],
        ..Objects::default()
    };
    let pending = |docs| revision(2, docs).status("pending-upgrade").secret();
    for (name, record, cluster, expected) in [
        (
            "the content is not pending",
            mislabelled,
            &cluster,
            "the label says pending, but the status inside the record does not",
        ),
        (
            "a failed look-up",
            record,
            &away,
            "Secret shop/sh.helm.release.v1.web.v1 cannot be read: the API server is away",
        ),
        (
            "bad YAML",
            pending(&[&"a: @b"]),
            &cluster,
            "manifest of revision 2: document 1 (app/templates/all.yaml): found character that cannot start any token at line 2 column 4",
        ),
        (
            "a bad workload",
            pending(&[&deployment("web", "volumes: {}")]),
            &cluster,
            "Deployment web: spec.template.spec.volumes: expected a list, not an object",
        ),
    ] {
        assert_eq!(judged_because(record, cluster), expected, "{name}");
    }

    let tiny = settings(json!({"releaseGuard": {"maxRecordBytes": 10}}));
    let (cluster, record) = trap();
    let verdict = judge(&create(record), &tiny, &cluster);
    let Outcome::Reject { code: 500, message } = verdict.outcome else {
        panic!("rejected")
    };
    assert!(
        message.contains("data.release: the decoded record is larger than 10 bytes. Nothing was changed.\nTo allow revision 2 without checking it: helm upgrade --labels rollout-guard/allow-revision=2 …\nWhere no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again\nTo read larger records: raise `releaseGuard.maxRecordBytes` in this policy's settings\nTo allow all such releases: "),
        "{message}"
    );
}

/// `--history-max` has deleted the record of the revision that Helm began with.
#[test]
fn what_cannot_be_compared_passes_with_a_warning() {
    let hook = config("a")
        .hook("pre-install,pre-rollback")
        .policy("hook-succeeded");
    let lost: Docs<'_> = &[&hook, &mounts("web", "a")];
    let fine: Docs<'_> = &[&config("a"), &mounts("web", "a")];
    let cluster = Objects::new([revision(1, fine).secret()]);
    let rollback = |docs| {
        let record = revision(3, docs).status("pending-rollback");
        record.with("/info/description", "Rollback to 1").secret()
    };
    let because = "release record Secret shop/sh.helm.release.v1.web.v2 does not exist (--history-max deletes records), so what this rollback deletes was not checked";
    let warning = format!("rollout-guard: {because}");
    let verdict = judged(rollback(fine), &cluster);
    assert_accepted(&verdict, &[&warning]);
    assert_audit(&verdict, &[("release-not-compared", because)]);

    let verdict = judged(rollback(lost), &cluster);
    let Outcome::Reject { message, .. } = &verdict.outcome else {
        panic!("{verdict:?}")
    };
    assert!(
        message.starts_with("rollout-guard: helm rollback of release web in namespace shop, to revision 3, would lose"),
        "{message}"
    );
    assert_eq!(verdict.warnings, [warning]);
}

/// Revision 2 has the ConfigMap as a regular resource, revision 1 as a hook that a rollback does not run.
fn rollback(back_to: &Revision) -> (Objects, Value) {
    let v2: Docs<'_> = &[&config("app-config"), &mounts("web", "app-config")];
    let mut cluster = Objects::new([revision(2, v2).secret()]);
    cluster.objects.push(live("ConfigMap", "app-config", None));
    (cluster, back_to.clone().status("pending-rollback").secret())
}

fn back_to_hooks() -> Revision {
    revision(
        3,
        &[
            &config("app-config").hook(PRE),
            &mounts("web", "app-config"),
        ],
    )
}

#[test]
fn rollbacks_are_judged_against_the_last_revision() {
    let helm_3 = back_to_hooks().with("/info/description", "Rollback to 1");
    let (cluster, record) = rollback(&helm_3);
    let message = |bypass: &str| {
        format!(
            "\
rollout-guard: helm rollback of release web in namespace shop, from revision 2 to 3, would lose what its pods need. Nothing was changed.

hook-pruned: ConfigMap app-config is a regular resource in revision 2 and a hook (pre-install, pre-upgrade) in revision 3. Helm would delete it, because it is no longer in the release manifest, and no hook of this rollback creates it again.
Needed by: Deployment web.
Fix it in one of these ways:
- upgrade to a chart that has it as a regular resource, instead of rolling back
- keep the live object: kubectl annotate -n shop configmap app-config helm.sh/resource-policy=keep

To allow revision 3 anyway: kubectl label -n shop {bypass}, and roll back again

More about hook-pruned: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#hook-pruned"
        )
    };
    let known =
        message("secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=3 --overwrite");
    assert_rejected(&judged(record.clone(), &cluster), 403, &known);

    let mut helm_4 = back_to_hooks().with("/info/description", "back to what worked");
    helm_4.content["info"]["rollback_revision"] = 1.into();
    assert_rejected(&judged(rollback(&helm_4).1, &cluster), 403, &known);

    let unknown = back_to_hooks().with("/info/description", "back to what worked");
    assert_rejected(
        &judged(rollback(&unknown).1, &cluster),
        403,
        &message(
            "secret sh.helm.release.v1.web.vN rollout-guard/allow-revision=3 --overwrite (N is the revision to roll back to)",
        ),
    );

    // The label is inherited from the record that it goes back to.
    let mut allowed = record;
    allowed["metadata"]["labels"][ALLOW_REVISION] = "3".into();
    assert_eq!(judged(allowed, &cluster).outcome, Outcome::Accept);
}

#[test]
fn releases_in_configmaps_are_judged_too() {
    let v1: Docs<'_> = &[&config("a"), &mounts("web", "a")];
    let v2: Docs<'_> = &[&config("a").hook(PRE), &mounts("web", "a")];
    let cluster = Objects::new([revision(1, v1).config_map()]);
    let record = revision(2, v2).status("pending-upgrade").config_map();
    let verdict = judged(record, &cluster);
    assert_audit(
        &verdict,
        &[("release-findings", "hook-pruned: ConfigMap a")],
    );
    assert_eq!(
        *cluster.asked.borrow(),
        ["ConfigMap shop/sh.helm.release.v1.web.v1 [metadata.labels, data]"]
    );

    let back: Docs<'_> = &[&config("a").hook("pre-install"), &mounts("web", "a")];
    let back = revision(2, back)
        .status("pending-rollback")
        .with("/info/description", "Rollback to 1");
    let mut cluster = cluster;
    cluster.objects.push(live("ConfigMap", "a", None));
    let Outcome::Reject { message, .. } = judged(back.config_map(), &cluster).outcome else {
        panic!("rejected")
    };
    assert!(
        message.contains("kubectl label -n shop configmap sh.helm.release.v1.web.v1 "),
        "{message}"
    );
}

/// A failed upgrade in between repeats the trap: the current revision is the last deployed one.
#[test]
fn a_failed_upgrade_repeats_the_trap() {
    let regular: Docs<'_> = &[&config("a"), &mounts("web", "a")];
    let hooked: Docs<'_> = &[&config("a").hook(PRE), &mounts("web", "a")];
    let cluster = Objects::new([
        revision(1, regular).secret(),
        revision(2, hooked).status("failed").secret(),
    ]);
    let third = revision(3, hooked).status("pending-upgrade").secret();
    let Outcome::Reject { message, .. } = judged(third, &cluster).outcome else {
        panic!("rejected")
    };
    assert!(
        message.contains(", from revision 1 to 3, would lose"),
        "{message}"
    );
    // Deployed, the trap is behind.
    let cluster = Objects::new([revision(2, hooked).secret()]);
    let third = revision(3, hooked).status("pending-upgrade").secret();
    assert_accepted(&judged(third, &cluster), &[]);
}

#[test]
fn a_doc_is_valid_yaml() {
    let doc: Doc = config("a")
        .hook(PRE)
        .weight("5")
        .policy("hook-failed")
        .keep()
        .namespace("n");
    let target = revision(1, &[&doc]).release();
    let hook = target.hooks.first().unwrap();
    assert_eq!(hook.weight, 5);
    assert!(hook.has_policy(DeletePolicy::HookFailed));
    assert_eq!(hook.events, [Event::PreInstall, Event::PreUpgrade]);
}
