use serde_json::{Value, json};

use super::*;
use crate::{findings::dangling_reference::LINT, testing::live};

/// Somebody needs what goes.
#[test]
fn what_pods_need_must_not_leave() {
    let web = || mounts("web", "a");
    let dangling = &["dangling-reference ConfigMap a < Deployment web"][..];
    let in_volumes = |source: &str| deployment("web", &volumes(&[source]));
    let not_mounted =
        |source: &str| deployment("web", &format!("volumes: [{{name: v, {source}}}]"));
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 24] = [
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
            "a claim that no container mounts, which the scheduler waits for",
            &[&claim("a")],
            &[&not_mounted("persistentVolumeClaim: {claimName: a}")],
            &["dangling-reference PersistentVolumeClaim a < Deployment web"],
        ),
        (
            "Not: in a volume that no container mounts",
            &[&config("a")],
            &[&not_mounted("configMap: {name: a}")],
            &[],
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
                "spec: {jobTemplate: {spec: {template: {spec: {containers: [{volumeMounts: [{name: v}]}], volumes: [{name: v, configMap: {name: a}}]}}}}}",
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
        (
            "Not: a claim of the StatefulSet replaces the volume",
            &[&config("a")],
            &[&doc("apps/v1", "StatefulSet", "db").fields(
                "spec: {volumeClaimTemplates: [{metadata: {name: v}}], template: {spec: {
                    volumes: [{name: v, configMap: {name: a}}], containers: [{name: c, volumeMounts: [{name: v}]}]}}}",
            )],
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
fn custom_resources_may_recreate_what_leaves() {
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
fn keys_that_pods_need_must_not_leave() {
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
    let sub_path = |source: &str, path: &str| {
        deployment("web", &mounted_at(&[(source, &format!("subPath: {path}"))]))
    };
    let all = "configMap: {name: a}";
    let items = "configMap: {name: a, items: [{key: one, path: '1'}, {key: two, path: '2'}]}";
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 15] = [
        (
            "a key that a subPath shows",
            &[&two()],
            &[&one(), &sub_path(all, "two")],
            dangling,
        ),
        (
            "an item that no container sees, and without which the volume is not set up",
            &[&two()],
            &[&one(), &sub_path(items, "'1'")],
            dangling,
        ),
        (
            "Not: a subPath shows another key",
            &[&two()],
            &[&one(), &sub_path(all, "one")],
            &[],
        ),
        (
            "Not: one of two sources, either of which may have the key",
            &[&two()],
            &[
                &one(),
                &sub_path(
                    "projected: {sources: [{configMap: {name: a}}, {secret: {name: s}}]}",
                    "two",
                ),
            ],
            &[],
        ),
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
                findings
                    .iter()
                    .all(|f| f.lint() == &crate::findings::no_rollout::LINT),
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

/// The Secret `a` leaves the chart, and a Deployment needs it.
fn lost(live: Live) -> Vec<Finding> {
    let web = || deployment("web", &volumes(&["secret: {secretName: a}"]));
    let (v1, v2) = (revision(1, &[&secret("a"), &web()]), revision(2, &[&web()]));
    assessed(&v1, &v2, &[(core("Secret", "a"), live)])
}

fn metadata(metadata: Value) -> Live {
    Live::Present(json!({"metadata": metadata}))
}

#[test]
fn a_controller_that_owns_the_live_object_makes_it_again() {
    let owned = |controller| {
        metadata(json!({"ownerReferences": [
            {"kind": "ExternalSecret", "name": "pipeline", "controller": controller},
        ]}))
    };
    let reject = "dangling-reference Secret a < Deployment web";
    let warn = "dangling-reference? Secret a < Deployment web";
    assert_found("owned", &lost(owned(true)), &[warn]);
    assert_found("an owner alone", &lost(owned(false)), &[reject]);
    assert_found("nobody owns it", &lost(live(false)), &[reject]);
    assert_found("kept", &lost(live(true)), &[]);
    assert_found("gone already", &lost(Live::Absent), &[]);
    let [finding] = &lost(owned(true))[..] else {
        panic!("one finding")
    };
    let text = finding.to_string();
    let end = "could not start, unless its owner ExternalSecret pipeline restores it";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn the_advice_is_one_that_helps() {
    let ways_out = |live| {
        let [finding] = &lost(live)[..] else {
            panic!("one finding")
        };
        finding.ways_out().remove(1)
    };
    let annotate = "kubectl annotate -n shop secret a helm.sh/resource-policy=keep";
    assert_eq!(
        ways_out(live(false)),
        format!("keep the live object: {annotate}")
    );
    assert_eq!(
        ways_out(Live::Unknown),
        format!("keep the live object: {annotate}")
    );
    assert_eq!(
        ways_out(Live::Denied("let this policy read Secrets".to_owned())),
        format!("keep the live object: let this policy read Secrets; then: {annotate}")
    );
    let tracked = json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:/Secret:shop/a"}});
    assert_eq!(
        ways_out(metadata(tracked)),
        format!(
            "keep the live object: {annotate} argocd.argoproj.io/sync-options=Prune=false (Argo CD reads only the second annotation)"
        )
    );
}

#[test]
fn a_key_that_somebody_else_fills_is_no_certain_loss() {
    let fields = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| format!("{key}: eA==")).collect();
        format!("data: {{{}}}", keys.join(", "))
    };
    let web = || {
        let env = "containers: [{env: [{valueFrom: {secretKeyRef: {name: a, key: password}}}]}]";
        doc("apps/v1", "Deployment", "web")
            .fields(&format!("spec: {{template: {{spec: {{{env}}}}}}}"))
    };
    let before = || secret("a").fields(&fields(&["user", "password"]));
    let after = || secret("a").fields(&fields(&["user"]));
    let found = |after: Doc, more: &dyn std::fmt::Display, live: Live| {
        let v1 = revision(1, &[&before(), &web()]);
        let v2 = revision(2, &[&after, &web(), more]);
        let mut found = assessed(&v1, &v2, &[(core("Secret", "a"), live)]);
        found.retain(|finding| *finding.lint() == LINT);
        found
    };
    let nothing = config("other");
    let merge = doc("external-secrets.io/v1", "ExternalSecret", "a")
        .fields("spec: {target: {creationPolicy: Merge}}");
    let written_by = |manager: &str| {
        metadata(json!({"managedFields": [
            {"manager": "helm", "fieldsV1": {"f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}}}},
            {"manager": manager, "fieldsV1": {"f:data": {"f:password": {}}}},
        ]}))
    };
    let reject = &["dangling-reference Secret a < Deployment web"][..];
    let warn = &["dangling-reference? Secret a < Deployment web"][..];
    assert_found("nobody", &found(after(), &nothing, live(false)), reject);
    assert_found(
        "Helm itself",
        &found(after(), &nothing, written_by("helm")),
        reject,
    );
    assert_found(
        "somebody at a terminal",
        &found(after(), &nothing, written_by("kubectl-edit")),
        reject,
    );
    assert_found(
        "an operator",
        &found(after(), &nothing, written_by("operator")),
        warn,
    );
    assert_found(
        "an ExternalSecret",
        &found(after(), &merge, live(false)),
        warn,
    );
    let generated = after().annotation("secret-generator.v1.mittwald.de/autogenerate", "password");
    assert_found(
        "its annotation",
        &found(generated, &nothing, live(false)),
        warn,
    );
}

#[test]
fn the_default_account_is_made_again() {
    let web = || deployment("web", "serviceAccountName: default");
    let (v1, v2) = (
        revision(1, &[&account("default"), &web()]),
        revision(2, &[&web()]),
    );
    assert_found(
        "default",
        &assessed(&v1, &v2, &[]),
        &["dangling-reference? ServiceAccount default < Deployment web"],
    );
}

#[test]
fn nobody_misses_it_while_no_pods_run() {
    let workload = |more: &str| {
        let template = "template: {spec: {containers: [{envFrom: [{configMapRef: {name: a}}]}]}}";
        doc("apps/v1", "Deployment", "web").fields(&format!("spec: {{{template}, {more}}}"))
    };
    let busy = mounts("api", "a");
    for (case, web, more, expected) in [
        (
            "it runs",
            workload("replicas: 1"),
            &config("b"),
            "dangling-reference ConfigMap a < Deployment web",
        ),
        (
            "no replicas",
            workload("replicas: 0"),
            &config("b"),
            "dangling-reference? ConfigMap a < Deployment web",
        ),
        (
            "another one runs",
            workload("replicas: 0"),
            &busy,
            "dangling-reference ConfigMap a < Deployment web, Deployment api",
        ),
    ] {
        let found = upgrade(&[&config("a"), &web, more], &[&web, more]);
        assert_found(case, &found, &[expected]);
    }
}

#[test]
fn classes_and_extra_configs_are_needed_too() {
    let class = |api: &str, kind: &str| doc(api, kind, "x");
    let csi = &volumes(&[
        "csi: {driver: secrets-store.csi.k8s.io, volumeAttributes: {secretProviderClass: x}}",
    ]);
    for (what, web) in [
        (
            class("scheduling.k8s.io/v1", "PriorityClass"),
            deployment("web", "priorityClassName: x"),
        ),
        (
            class("node.k8s.io/v1", "RuntimeClass"),
            deployment("web", "runtimeClassName: x"),
        ),
        (
            class("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"),
            deployment("web", csi),
        ),
        (
            config("x"),
            deployment("web", "").annotation("rollout-guard/extra-configmaps", "y, x"),
        ),
        (
            secret("x"),
            deployment("web", "").annotation("rollout-guard/extra-secrets", "x"),
        ),
    ] {
        let found = upgrade(&[&what, &web], &[&web]);
        let [finding] = &found[..] else {
            panic!("{what}: {found:?}")
        };
        assert_eq!(*finding.lint(), LINT, "{what}");
        assert!(!finding.is_uncertain(), "{what}");
    }
    // The claims that are there are bound.
    let claim = |name: &str| claim(name).fields("spec: {storageClassName: x}");
    let storage = class("storage.k8s.io/v1", "StorageClass");
    assert_found(
        "claims",
        &upgrade(&[&storage, &claim("old")], &[&claim("old")]),
        &["dangling-reference? StorageClass x < PersistentVolumeClaim old"],
    );
    assert_found(
        "a new claim",
        &upgrade(&[&storage, &claim("old")], &[&claim("old"), &claim("new")]),
        &[
            "dangling-reference StorageClass x < PersistentVolumeClaim old, PersistentVolumeClaim new",
        ],
    );
}
