//! Each rule, with what it must not find.

use helm_plan::{
    manifest,
    testing::{Doc, NAMESPACE, account, claim, config, deployment, doc, mounts, pods, volumes},
};

use super::*;

const PRE: &str = "pre-install,pre-upgrade";
const POST: &str = "post-install,post-upgrade";
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";

fn objects(docs: &[&Doc]) -> Vec<Object> {
    let texts: Vec<_> = docs.iter().map(|doc| format!("---\n{doc}\n")).collect();
    manifest::parse(&texts.concat(), NAMESPACE).unwrap()
}

/// `reject argocd-pruned ConfigMap a < Deployment web`
fn found(old: &[&Doc], new: &[&Doc]) -> Vec<String> {
    let findings = findings(&objects(old), &objects(new)).unwrap();
    let describe = |finding: &Finding| {
        let consumers: Vec<_> = finding.consumers.iter().map(ToString::to_string).collect();
        let needed = if consumers.is_empty() { "" } else { " < " };
        format!(
            "{} {} {}{needed}{}",
            finding.level(),
            finding.lint().name(),
            finding.object,
            consumers.join(", ")
        )
    };
    findings.iter().map(describe).collect()
}

type Case<'a> = (&'a str, &'a [&'a Doc], &'a [&'a Doc], &'a [&'a str]);

#[track_caller]
fn assert_found(cases: &[Case<'_>]) {
    for (case, old, new, expected) in cases {
        assert_eq!(found(old, new), *expected, "{case}");
    }
}

fn web() -> Doc {
    mounts("web", "a")
}

fn job(config: &str) -> Doc {
    pods(
        "Job",
        "migrate",
        &volumes(&[&format!("configMap: {{name: {config}}}")]),
    )
}

fn cron(config: &str) -> Doc {
    doc("batch/v1", "CronJob", "nightly").fields(&format!(
        "spec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{name: main, envFrom: [{{configMapRef: {{name: {config}}}}}]}}]}}}}}}}}}}"
    ))
}

fn scaled_to_zero() -> Doc {
    doc("apps/v1", "Deployment", "web").fields(
        "spec: {replicas: 0, template: {spec: {containers: [{name: main, envFrom: [{configMapRef: {name: a}}]}]}}}",
    )
}

#[test]
fn a_hook_that_leaves_with_each_sync() {
    let hook = || config("a").hook(PRE).policy("hook-succeeded");
    let both = config("a")
        .hook(PRE)
        .policy("before-hook-creation,hook-succeeded");
    let optional = deployment(
        "web",
        "volumes: [{name: a, configMap: {name: a, optional: true}}]",
    );
    let gone = &["reject argocd-hook-deleted ConfigMap a < Deployment web"][..];
    assert_found(&[
        (
            "in both versions",
            &[&hook(), &web()],
            &[&hook(), &web()],
            gone,
        ),
        (
            "a resource before",
            &[&config("a"), &web()],
            &[&hook(), &web()],
            gone,
        ),
        ("two policies", &[&both, &web()], &[&both, &web()], gone),
        (
            "a CronJob",
            &[],
            &[&hook(), &cron("a")],
            &["reject argocd-hook-deleted ConfigMap a < CronJob nightly"],
        ),
        (
            "no pods run now",
            &[],
            &[&hook(), &scaled_to_zero()],
            &["warn argocd-hook-deleted ConfigMap a < Deployment web"],
        ),
        (
            "Argo CD's own annotations",
            &[],
            &[
                &config("a")
                    .annotation("argocd.argoproj.io/hook", "PreSync")
                    .annotation("argocd.argoproj.io/hook-delete-policy", "HookSucceeded"),
                &web(),
            ],
            gone,
        ),
        (
            "Not: the policy in another case",
            &[],
            &[&config("a").hook(PRE).policy("Hook-Succeeded"), &web()],
            &[],
        ),
        (
            "Not: only if it fails",
            &[],
            &[&config("a").hook(PRE).policy("hook-failed"), &web()],
            &[],
        ),
        (
            "Not: for a hook Job alone",
            &[],
            &[&hook(), &job("a").hook(PRE).weight("1")],
            &[],
        ),
        (
            "Not: for a hook that leaves as well",
            &[],
            &[
                &hook(),
                &web().hook(PRE).policy("hook-succeeded").weight("1"),
            ],
            &[],
        ),
        ("Not: optional", &[], &[&hook(), &optional], &[]),
        (
            "Not: Argo CD is told that it is no hook",
            &[],
            // Skip: it is not applied at all.
            &[
                &hook().annotation("argocd.argoproj.io/hook", "Skip"),
                &mounts("web", "b"),
            ],
            &[],
        ),
        (
            "Not: declared again, as a resource; the last one counts",
            &[],
            &[&hook(), &config("a"), &web()],
            &[],
        ),
    ]);
}

fn crd() -> Doc {
    doc(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "shops.example.com",
    )
}

#[test]
fn storage_that_each_sync_recreates() {
    let namespace = doc("v1", "Namespace", "tenants").hook(PRE);
    let uses = || {
        deployment(
            "web",
            &volumes(&["persistentVolumeClaim: {claimName: data}"]),
        )
    };
    let data = || claim("data").hook(PRE);
    let of_job = pods(
        "Job",
        "backup",
        &volumes(&["persistentVolumeClaim: {claimName: data}"]),
    );
    assert_found(&[
        (
            "a CustomResourceDefinition",
            &[],
            &[&crd().hook(PRE)],
            &["reject argocd-hook-recreates-storage CustomResourceDefinition shops.example.com"],
        ),
        (
            "crd-install is not alone",
            &[],
            &[&crd().hook("crd-install,pre-upgrade")],
            &["reject argocd-hook-recreates-storage CustomResourceDefinition shops.example.com"],
        ),
        (
            "a CustomResourceDefinition that leaves",
            &[],
            &[&crd().hook(PRE).policy("hook-succeeded")],
            &["reject argocd-hook-recreates-storage CustomResourceDefinition shops.example.com"],
        ),
        (
            "a Namespace",
            &[],
            &[&namespace],
            &["reject argocd-hook-recreates-storage Namespace tenants"],
        ),
        (
            "a claim, which is also waited for",
            &[],
            &[&data(), &uses()],
            &[
                "reject argocd-hook-recreates-storage PersistentVolumeClaim data < Deployment web",
                "warn argocd-claim-waits PersistentVolumeClaim data < Deployment web",
            ],
        ),
        (
            "a claim that the chart does not use",
            &[],
            &[&data()],
            &["warn argocd-hook-recreates-storage PersistentVolumeClaim data"],
        ),
        (
            "Not: of a hook Job alone",
            &[],
            &[&data(), &of_job.hook(PRE)],
            &[],
        ),
        ("Not: crd-install", &[], &[&crd().hook("crd-install")], &[]),
        (
            "Not: only if it fails",
            &[],
            &[&crd().hook(PRE).policy("hook-failed")],
            &[],
        ),
        (
            "Not: a hook of Helm alone",
            &[],
            &[&crd().hook("pre-rollback")],
            &[],
        ),
    ]);
}

#[test]
fn objects_that_each_sync_recreates() {
    let runs_as = |more: &str| deployment("web", &format!("serviceAccountName: a{more}"));
    let job = pods("Job", "migrate", "serviceAccountName: a").hook(PRE);
    let no_token = "automountServiceAccountToken: false";
    let database = || doc("example.com/v1", "Database", "main").hook(PRE);
    let workflow = doc("argoproj.io/v1alpha1", "Workflow", "main").hook(PRE);
    let renewed = &["warn argocd-hook-recreates-object ServiceAccount a < Deployment web"][..];
    assert_found(&[
        (
            "a ServiceAccount",
            &[],
            &[&account("a").hook(PRE), &runs_as("")],
            renewed,
        ),
        (
            "a custom resource",
            &[],
            &[&database()],
            &["warn argocd-hook-recreates-object Database main"],
        ),
        (
            "Not: of a hook Job alone",
            &[],
            &[&account("a").hook(PRE), &job],
            &[],
        ),
        (
            "Not: without a token",
            &[],
            &[&account("a").hook(PRE), &runs_as(&format!(", {no_token}"))],
            &[],
        ),
        (
            "Not: without a token, by the account",
            &[],
            &[&account("a").hook(PRE).fields(no_token), &runs_as("")],
            &[],
        ),
        (
            "Not: a custom resource that runs once",
            &[],
            &[&workflow],
            &[],
        ),
        ("Not: a resource", &[], &[&account("a"), &runs_as("")], &[]),
    ]);
}

#[test]
fn hooks_for_installs_run_in_each_sync() {
    let seed = || job("a").hook("post-install");
    let secret = || config("a").hook("pre-install");
    assert_found(&[
        (
            "a Job",
            &[],
            &[&seed()],
            &["warn argocd-hook-every-sync Job migrate"],
        ),
        (
            "a Job that leaves and comes again",
            &[],
            &[&seed().policy("hook-succeeded")],
            &["warn argocd-hook-every-sync Job migrate"],
        ),
        (
            "a config",
            &[],
            &[&secret(), &web()],
            &["warn argocd-hook-every-sync ConfigMap a < Deployment web"],
        ),
        ("Not: for upgrades too", &[], &[&job("a").hook(POST)], &[]),
        (
            "Not: it stays, and is applied as it was",
            &[],
            &[&seed().policy("hook-failed")],
            &[],
        ),
        ("Not: what nobody uses", &[], &[&secret()], &[]),
        (
            "Not: a hook by Argo CD's annotation",
            &[],
            &[&seed().annotation("argocd.argoproj.io/hook", "PostSync")],
            &[],
        ),
    ]);
}

#[test]
fn hooks_that_argo_cd_does_not_know() {
    let test = || config("a").hook("test");
    let missing = &["reject argocd-not-applied ConfigMap a < Deployment web"][..];
    assert_found(&[
        ("of a test", &[], &[&test(), &web()], missing),
        (
            "of a rollback",
            &[],
            &[&config("a").hook("pre-rollback"), &web()],
            missing,
        ),
        (
            "in another case",
            &[],
            &[&config("a").hook("Pre-Install,Pre-Upgrade"), &web()],
            missing,
        ),
        (
            "of a deletion",
            &[],
            &[&config("a").hook("post-delete"), &web()],
            missing,
        ),
        (
            "skipped",
            &[],
            &[
                &config("a").annotation("argocd.argoproj.io/hook", "Skip"),
                &web(),
            ],
            missing,
        ),
        (
            "a workload needs it now",
            &[&test(), &mounts("web", "b")],
            &[&test(), &web()],
            missing,
        ),
        (
            "Not: the workload has it from elsewhere",
            &[&test(), &web()],
            &[&test(), &web()],
            &[],
        ),
        (
            "Not: a hook has left it",
            &[&config("a").hook(PRE)],
            &[&test(), &web()],
            &[],
        ),
        (
            "Not: for a test alone",
            &[],
            &[&test(), &job("a").hook("test")],
            &[],
        ),
    ]);
}

#[test]
fn what_leaves_the_resources_is_pruned() {
    let pruned = &["warn argocd-pruned ConfigMap a < Deployment web"][..];
    let class = doc("storage.k8s.io/v1", "StorageClass", "fast");
    let claims = claim("data").fields("spec: {storageClassName: fast}");
    let prune = |value: &str| config("a").annotation("argocd.argoproj.io/sync-options", value);
    assert_found(&[
        ("it has left", &[&config("a"), &web()], &[&web()], pruned),
        (
            "keep does not count",
            &[&config("a").keep(), &web()],
            &[&web()],
            pruned,
        ),
        (
            "Prune=confirm",
            &[&prune("Prune=confirm"), &web()],
            &[&web()],
            pruned,
        ),
        (
            "a hook that Argo CD does not know",
            &[&config("a"), &web()],
            &[&config("a").hook("test"), &web()],
            pruned,
        ),
        (
            "a hook after the workloads",
            &[&config("a"), &web()],
            &[&config("a").hook(POST), &web()],
            pruned,
        ),
        (
            "a CustomResourceDefinition",
            &[&crd()],
            &[],
            &["warn argocd-pruned CustomResourceDefinition shops.example.com"],
        ),
        (
            "a Namespace",
            &[&doc("v1", "Namespace", "tenants")],
            &[],
            &["warn argocd-pruned Namespace tenants"],
        ),
        ("Not: a claim that nobody uses", &[&claim("data")], &[], &[]),
        (
            "Not: a StorageClass, which a bound claim needs no more",
            &[&class, &claims],
            &[&claims],
            &[],
        ),
        (
            "Not: a CustomResourceDefinition that stays",
            &[&crd()],
            &[&crd()],
            &[],
        ),
        (
            "Not: a hook before them, which is a hook when Argo CD prunes",
            &[&config("a"), &web()],
            &[&config("a").hook(PRE), &web()],
            &[],
        ),
        (
            "Not: nor if a hook with a lower weight needs it",
            &[&config("a"), &web()],
            &[&config("a").hook(PRE).weight("5"), &web().hook(PRE)],
            &[],
        ),
        (
            "Not: skipped",
            &[&config("a"), &web()],
            &[
                &config("a").annotation("argocd.argoproj.io/hook", "Skip"),
                &web(),
            ],
            &[],
        ),
        (
            "Not: Prune=false",
            &[&prune("Replace=true, Prune=false"), &web()],
            &[&web()],
            &[],
        ),
        (
            "Not: hooks are never pruned",
            &[&config("a").hook(PRE), &web()],
            &[&web()],
            &[],
        ),
        (
            "Not: a hook that is a resource now",
            &[&config("a").hook(PRE), &web()],
            &[&config("a"), &web()],
            &[],
        ),
        (
            "Not: nobody needs it",
            &[&config("a"), &web()],
            &[&mounts("web", "b")],
            &[],
        ),
    ]);
}

#[test]
fn what_comes_after_the_pods_that_need_it() {
    let late = &["reject argocd-too-late ConfigMap a < Deployment web"][..];
    let post = || config("a").hook(POST);
    let on_delete = doc("apps/v1", "DaemonSet", "web").fields(
        "spec: {updateStrategy: {type: OnDelete}, template: {spec: {containers: [{name: main, envFrom: [{configMapRef: {name: a}}]}]}}}",
    );
    let paused = doc("apps/v1", "Deployment", "web").fields(
        "spec: {paused: true, template: {spec: {containers: [{name: main, envFrom: [{configMapRef: {name: a}}]}]}}}",
    );
    let migrate = || job("a").hook(PRE);
    assert_found(&[
        ("a PostSync hook", &[], &[&post(), &web()], late),
        (
            "the workload needs it now",
            &[&mounts("web", "b")],
            &[&post(), &web()],
            late,
        ),
        (
            "a later wave",
            &[],
            &[&config("a").annotation(SYNC_WAVE, "1"), &web()],
            late,
        ),
        (
            "Helm's weight is a wave",
            &[],
            &[&config("a").weight("1"), &web()],
            late,
        ),
        (
            "a hook that needs a resource",
            &[],
            &[&config("a"), &migrate()],
            &["reject argocd-too-late ConfigMap a < Job migrate"],
        ),
        (
            "a hook with a higher weight",
            &[],
            &[&config("a").hook(PRE).weight("5"), &migrate()],
            &["reject argocd-too-late ConfigMap a < Job migrate"],
        ),
        (
            "Not: a hook has left it",
            &[&post(), &mounts("web", "b")],
            &[&post(), &web()],
            &[],
        ),
        (
            "Not: a resource of the old version",
            &[&config("a")],
            &[&config("a"), &migrate()],
            &[],
        ),
        ("Not: the same wave", &[], &[&config("a"), &web()], &[]),
        (
            "Not: the workload had it from elsewhere",
            &[&web()],
            &[&post(), &web()],
            &[],
        ),
        (
            "Not: a CronJob is not waited for",
            &[],
            &[&post(), &cron("a")],
            &[],
        ),
        (
            "Not: nor is a DaemonSet that is not updated",
            &[],
            &[&post(), &on_delete],
            &[],
        ),
        (
            "Not: nor are the pods of a paused Deployment",
            &[],
            &[&post(), &paused],
            &[],
        ),
        (
            "Not: nor is one without pods",
            &[],
            &[&post(), &scaled_to_zero()],
            &[],
        ),
        (
            "Not: the hook has a lower weight",
            &[],
            &[&config("a").hook(PRE).weight("-5"), &migrate()],
            &[],
        ),
    ]);
}

#[test]
fn claims_are_waited_for() {
    let uses = || {
        deployment(
            "web",
            &volumes(&["persistentVolumeClaim: {claimName: data}"]),
        )
    };
    let early = || claim("data").annotation(SYNC_WAVE, "-1");
    assert_found(&[
        (
            "an earlier wave",
            &[],
            &[&early(), &uses()],
            &["warn argocd-claim-waits PersistentVolumeClaim data < Deployment web"],
        ),
        (
            "Not: it is bound already",
            &[&early(), &uses()],
            &[&early(), &uses()],
            &[],
        ),
        ("Not: the same wave", &[], &[&claim("data"), &uses()], &[]),
    ]);
}

/// What a PreSync hook makes of a resource, and what a resource makes of one.
#[test]
fn between_resources_and_hooks() {
    let hook = || config("a").hook(PRE);
    assert_found(&[
        (
            "to a hook and back",
            &[&hook(), &web()],
            &[&config("a"), &web()],
            &[],
        ),
        (
            "from a resource",
            &[&config("a"), &web()],
            &[&hook(), &web()],
            &[],
        ),
    ]);
}

/// The API server names them, so they are not one object.
#[test]
fn generated_names() {
    let generated = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: seed-, annotations: {helm.sh/hook: post-install}}\n";
    let twice = format!("{generated}---\n{generated}");
    let objects = manifest::parse(&twice, NAMESPACE).unwrap();
    let lints = |old: &[Object], new: &[Object]| {
        let findings = findings(old, new).unwrap();
        findings.iter().map(Finding::lint).collect::<Vec<_>>()
    };
    assert_eq!(lints(&[], &objects), [Lint::HookEverySync; 2]);
    assert!(lints(&objects, &[]).is_empty());

    let needs = "spec: {template: {spec: {containers: [{name: main, envFrom: [{configMapRef: {name: a}}]}]}}}\n";
    let late = format!(
        "{}{needs}---\n{}",
        generated.replace("post", "pre"),
        config("a")
    );
    let objects = manifest::parse(&late, NAMESPACE).unwrap();
    assert!(lints(&[], &objects).contains(&Lint::TooLate));
}

/// The words of each fact.
#[test]
fn sentences() {
    let sentence = |old: &[&Doc], new: &[&Doc]| {
        let findings = findings(&objects(old), &objects(new)).unwrap();
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        let entry = Entry::from(finding);
        let mut lines = vec![entry.sentence];
        lines.extend(entry.ways_out.iter().map(|way_out| format!("- {way_out}")));
        lines.join("\n")
    };
    let resource = || config("a");
    let uses = deployment(
        "web",
        &volumes(&["persistentVolumeClaim: {claimName: data}"]),
    );
    let texts = [
        sentence(
            &[],
            &[&resource().hook(PRE).policy("hook-succeeded"), &web()],
        ),
        sentence(
            &[],
            &[
                &resource().hook(PRE).policy("hook-succeeded"),
                &scaled_to_zero(),
            ],
        ),
        sentence(&[], &[&claim("data").hook(PRE)]),
        sentence(&[], &[&crd().hook(PRE)]),
        sentence(&[], &[&crd().hook(PRE).policy("hook-succeeded")]),
        sentence(&[], &[&doc("v1", "Namespace", "tenants").hook(PRE)]),
        sentence(
            &[],
            &[
                &account("a").hook(PRE),
                &deployment("web", "serviceAccountName: a"),
            ],
        ),
        sentence(&[], &[&doc("example.com/v1", "Database", "main").hook(PRE)]),
        sentence(&[], &[&job("a").hook("post-install")]),
        sentence(&[], &[&resource().hook("pre-install"), &web()]),
        sentence(&[], &[&resource().hook("test"), &web()]),
        sentence(&[], &[&resource().hook("post-delete"), &web()]),
        sentence(
            &[],
            &[
                &resource().annotation("argocd.argoproj.io/hook", "Skip"),
                &web(),
            ],
        ),
        sentence(&[&resource(), &web()], &[&web()]),
        sentence(&[&resource().keep(), &web()], &[&web()]),
        sentence(&[&resource(), &web()], &[&resource().hook("test"), &web()]),
        sentence(&[&resource(), &web()], &[&resource().hook(POST), &web()]),
        sentence(&[&claim("data"), &uses], &[&uses]),
        sentence(&[&crd().keep()], &[]),
        sentence(&[&doc("v1", "Namespace", "tenants")], &[]),
        sentence(&[], &[&resource().hook(POST), &web()]),
        sentence(&[], &[&resource().annotation(SYNC_WAVE, "5"), &web()]),
        sentence(&[], &[&resource(), &job("a").hook(PRE)]),
        sentence(&[], &[&claim("data").annotation(SYNC_WAVE, "-1"), &uses]),
    ];
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.bind(|| insta::assert_snapshot!("argocd-sentences", texts.join("\n\n")));
}

/// The page lists them all.
#[test]
fn each_finding_is_documented() {
    let page = include_str!("../../../../docs/check.md");
    let (_, section) = page.split_once("\n## Argo CD\n").unwrap();
    for rule in Lint::rules() {
        assert!(
            section.contains(&format!("| `{}` |", rule.name)),
            "{}",
            rule.name
        );
    }
}
