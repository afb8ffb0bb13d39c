//! Each finding on a real cluster: the damage without the policy, the message with the policy, and a chart that follows
//! the advice in the message.

use std::slice;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use cluster_tests::{
    Case, Cluster, HelmVersion, ObjectId, Output, Snapshot, Suite, Verb, wait_until,
};
use serde_json::{Value, json};

use crate::guard::Guard;

/// Two versions of a chart, and a third one that follows the advice in the message.
struct Scenario {
    finding: &'static str,
    /// Tells apart several scenarios of one finding.
    variant: &'static str,
    before: String,
    after: String,
    fixed: String,
    /// For every command.
    flags: &'static [&'static str],
    /// What happens between the first two versions.
    meanwhile: fn(&Case<'_>) -> Result<()>,
    damage: Damage,
    message: &'static [&'static str],
}

/// What the upgrade does without the policy.
enum Damage {
    /// Helm reports success, but the object does not exist.
    Gone(&'static str, &'static str),
    /// The same for an object that did not exist before either.
    Missing(&'static str, &'static str),
    /// `kubectl get` does not find the resource any more. In both texts, `NS` is the namespace of the case.
    GoesAway {
        namespace: &'static str,
        resource: &'static str,
    },
    /// What needs the object (of this resource) is applied before the object is created.
    CreatedAfter(&'static str, &'static str, &'static str),
    Fails(&'static str),
    /// The object is deleted and recreated.
    Recreated(&'static str, &'static str),
    /// The object changes, but the workload does not.
    NotRolledOut(&'static str),
    /// The workload `web` cannot create new pods. The text is from the reason.
    NoPods(&'static str),
}

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        for scenario in scenarios() {
            let finding = [scenario.finding, scenario.variant].concat();
            suite.case(
                format!("{helm}: {finding}, without the policy"),
                move |case| without(case, helm, &scenario),
            );
        }
        for scenario in scenarios() {
            let finding = [scenario.finding, scenario.variant].concat();
            suite.case(format!("{helm}: {finding}, with the policy"), move |case| {
                with(case, helm, &scenario)
            });
        }
    }
}

fn nothing(_: &Case<'_>) -> Result<()> {
    Ok(())
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    of_one_release()
        .into_iter()
        .chain(of_what_is_around())
        .chain(of_what_is_only_named())
}

/// Findings about classes, and about config that no pod template names.
fn of_what_is_only_named() -> Vec<Scenario> {
    let regular = config("", "one");
    let fast = workload_as("web", "priorityClassName: '{{ .Release.Namespace }}-fast'");
    let extra = |annotations: &str| {
        let annotations = format!("rollout-guard/extra-configmaps: app-config, {annotations}");
        let in_pods = ", envFrom: [{configMapRef: {name: app-config}}]";
        workload("web", &annotations).replace(in_pods, "")
    };
    vec![
        Scenario {
            finding: "dangling-reference",
            variant: " to a priority class",
            before: [PRIORITY_CLASS, &regular].concat() + &fast,
            after: regular.clone() + &fast,
            fixed: [PRIORITY_CLASS, &regular].concat() + &fast,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::NoPods("no PriorityClass with name"),
            message: &[
                "dangling-reference: PriorityClass case-",
                "Needed by: Deployment web",
                "let this policy read it (add scheduling.k8s.io/v1/PriorityClass to contextAwareResources",
            ],
        },
        Scenario {
            finding: "dangling-reference",
            variant: " to a storage class",
            before: [STORAGE_CLASS, &regular].concat(),
            after: [CLAIM, &regular].concat(),
            fixed: [STORAGE_CLASS, CLAIM, &regular].concat(),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::GoesAway {
                namespace: "NS",
                resource: "storageclass/NS-fast",
            },
            message: &[
                "dangling-reference: StorageClass case-",
                "Needed by: PersistentVolumeClaim data",
                "let this policy read it (add storage.k8s.io/v1/StorageClass to contextAwareResources",
            ],
        },
        Scenario {
            finding: "dangling-reference",
            variant: " to config that an annotation names",
            before: regular.clone() + &extra(""),
            after: extra(""),
            fixed: regular.clone() + &extra(""),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::GoesAway {
                namespace: "NS",
                resource: "configmap/app-config",
            },
            message: &[
                "dangling-reference: ConfigMap app-config",
                "Needed by: Deployment web",
                "- put it back into the chart, or remove the references to it",
            ],
        },
        Scenario {
            finding: "no-rollout",
            variant: " of config that an annotation names",
            before: regular + &extra(""),
            after: config("", "two") + &extra(""),
            fixed: config("", "two") + &extra("revision: '{{ .Release.Revision }}'"),
            flags: CLIENT_SIDE,
            meanwhile: nothing,
            damage: Damage::NotRolledOut("app-config"),
            message: &[
                "no-rollout: ConfigMap app-config",
                "Needed by: Deployment web",
            ],
        },
    ]
}

const PRIORITY_CLASS: &str = "---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: '{{ .Release.Namespace }}-fast'}
value: 1000
";

const STORAGE_CLASS: &str = "---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: '{{ .Release.Namespace }}-fast'}
provisioner: example.com/disks
";

const CLAIM: &str = "---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: '{{ .Release.Namespace }}-fast'
  resources: {requests: {storage: 1Gi}}
";

/// Client-side apply. Helm 3 has no other.
const CLIENT_SIDE: &[&str] = &["--server-side=false"];

/// Findings about cluster-wide objects, custom resources, other releases, and hooks that come at the wrong time.
fn of_what_is_around() -> Vec<Scenario> {
    let regular = config("", "one");
    let web = workload("web", "");
    let in_all = "'helm.sh/hook': 'pre-install,pre-upgrade'";
    let account = |annotations: &str| object("ServiceAccount", "migration", annotations, "");
    let needs_account = || workload_as("web", "serviceAccountName: migration") + &regular;
    let nothing_yet = object("ConfigMap", "other", "", "");
    let migration = |event: &str| {
        let job = job("migrate", &format!("helm.sh/hook: {event}"));
        job.replace(
            "serviceAccountName: migration",
            "serviceAccountName: default",
        )
        .replace(
            "image: job",
            "image: job, envFrom: [{configMapRef: {name: app-config}}]",
        )
    };
    vec![
        Scenario {
            finding: "namespace-deleted",
            variant: "",
            before: [TEAM, IN_TEAM].concat(),
            after: IN_TEAM.to_owned(),
            fixed: [TEAM, IN_TEAM].concat(),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::GoesAway {
                namespace: "NS-team",
                resource: "configmap/inside",
            },
            message: &[
                "namespace-deleted: Namespace",
                "everything in it is deleted too",
                "- put it back into the chart",
            ],
        },
        Scenario {
            finding: "crd-deleted",
            variant: "",
            before: DEFINITION.to_owned(),
            after: BACKUP.to_owned(),
            fixed: [DEFINITION, BACKUP].concat(),
            flags: &[],
            meanwhile: wait_for_definition,
            damage: Damage::GoesAway {
                namespace: "NS",
                resource: "customresourcedefinition/backups.NS.example.com",
            },
            message: &[
                "crd-deleted: CustomResourceDefinition backups.",
                "all objects of its kind are deleted too",
                "- put it back into the templates of the chart",
            ],
        },
        Scenario {
            finding: "maker-deleted",
            variant: "",
            before: [EXTERNAL_SECRET, NEEDS_SECRET].concat(),
            after: NEEDS_SECRET.to_owned(),
            fixed: [EXTERNAL_SECRET, NEEDS_SECRET].concat(),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::GoesAway {
                namespace: "NS",
                resource: "externalsecret/db",
            },
            message: &[
                "maker-deleted: ExternalSecret db",
                "Secret db, which it makes, is deleted with it",
                "Needed by: Deployment web",
                "- put it back into the chart, or put Secret db itself into the chart",
            ],
        },
        Scenario {
            finding: "other-release",
            variant: "",
            before: [&regular, &nothing_yet].map(String::as_str).concat(),
            after: nothing_yet.clone(),
            fixed: [&regular, &nothing_yet].map(String::as_str).concat(),
            // Without it, Helm 4 leaves the annotation to its new owner, and fails.
            flags: &["--force-conflicts"],
            meanwhile: |case| {
                let owner = "meta.helm.sh/release-name=other";
                case.kubectl(&["annotate", "--overwrite", "configmap", "app-config", owner])?
                    .success()?;
                Ok(())
            },
            damage: Damage::Gone("ConfigMap", "app-config"),
            message: &[
                "other-release: ConfigMap app-config",
                "belongs to the release other in the namespace",
                "helm.sh/resource-policy=keep",
            ],
        },
        Scenario {
            finding: "hook-not-run",
            variant: "",
            before: nothing_yet.clone(),
            after: config("helm.sh/hook: pre-install", "one") + &web,
            fixed: [&regular, &web].map(String::as_str).concat(),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Missing("ConfigMap", "app-config"),
            message: &[
                "hook-not-run: ConfigMap app-config",
                "nothing creates it",
                "Needed by: Deployment web",
                "- make it a regular resource: remove the annotation helm.sh/hook",
            ],
        },
        Scenario {
            finding: "hook-waits",
            variant: "",
            before: nothing_yet.clone(),
            after: migration("pre-upgrade") + &regular,
            fixed: migration("post-upgrade") + &regular,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::CreatedAfter("ConfigMap", "app-config", "jobs"),
            message: &[
                "hook-waits: ConfigMap app-config",
                "is created only after the pre-upgrade hooks",
                "- make the hook which needs it a post-upgrade hook",
            ],
        },
        Scenario {
            finding: "hook-recreates-object",
            variant: "",
            before: account(in_all) + &needs_account(),
            after: account(in_all) + &needs_account(),
            fixed: account("") + &needs_account(),
            // Without it, Helm rejects an object that a hook left behind.
            flags: &["--take-ownership"],
            meanwhile: nothing,
            damage: Damage::Recreated("ServiceAccount", "migration"),
            message: &[
                "hook-recreates-object: ServiceAccount migration",
                "refuses the tokens of running pods",
                "- make it a regular resource: remove the annotation helm.sh/hook",
            ],
        },
    ]
}

const TEAM: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: '{{ .Release.Namespace }}-team'}
";

const IN_TEAM: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: '{{ .Release.Namespace }}-team'}
";

const DEFINITION: &str = "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: 'backups.{{ .Release.Namespace }}.example.com'}
spec:
  group: '{{ .Release.Namespace }}.example.com'
  scope: Namespaced
  names: {kind: Backup, plural: backups}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

const BACKUP: &str = "---
apiVersion: '{{ .Release.Namespace }}.example.com/v1'
kind: Backup
metadata: {name: nightly}
";

/// Helm looks up the kinds of a chart before it applies anything.
fn wait_for_definition(case: &Case<'_>) -> Result<()> {
    let resource = format!("backups.{}.example.com", case.namespace);
    wait_until("the kind is served", LIMIT, || {
        let found = case.kubectl(&["get", &resource])?;
        Ok(found.status.success().then_some(()))
    })
}

const LIMIT: Duration = Duration::from_secs(60);

const EXTERNAL_SECRET: &str = "---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: db}
spec: {target: {name: db}}
";

const NEEDS_SECRET: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web, envFrom: [{secretRef: {name: db}}]}]
";

/// Makes the cluster serve the custom kind. All cases share it.
fn serve_external_secrets(cluster: &Cluster) -> Result<()> {
    const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: externalsecrets.external-secrets.io}
spec:
  group: external-secrets.io
  scope: Namespaced
  names: {kind: ExternalSecret, plural: externalsecrets, singular: externalsecret}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";
    static SERVED: OnceLock<Result<(), String>> = OnceLock::new();
    let define = || {
        cluster.apply("default", DEFINITION)?.success()?;
        wait_until("ExternalSecrets are served", LIMIT, || {
            let found = cluster.kubectl(["get", "externalsecrets", "--namespace", "default"])?;
            Ok(found.status.success().then_some(()))
        })
    };
    let served = SERVED.get_or_init(|| define().map_err(|error| format!("{error:#}")));
    served.clone().map_err(|error| anyhow!("{error}"))
}

fn of_one_release() -> Vec<Scenario> {
    let regular = config("", "one");
    let pre_upgrade = "helm.sh/hook: pre-upgrade";
    let web = workload("web", "");
    let migration = job("migrate", pre_upgrade);
    let account = |annotations: &str| object("ServiceAccount", "migration", annotations, "");
    let claim = |annotations: &str| {
        let spec = "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
        object("PersistentVolumeClaim", "data", annotations, spec)
    };
    vec![
        Scenario {
            finding: "hook-pruned",
            variant: "",
            before: [&regular, &web].map(String::as_str).concat(),
            after: config(pre_upgrade, "two") + &web,
            fixed: config("", "two") + &web,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Gone("ConfigMap", "app-config"),
            message: &[
                "hook-pruned: ConfigMap app-config",
                "Needed by: Deployment web",
                "- keep it a regular resource: remove the annotation helm.sh/hook",
            ],
        },
        Scenario {
            finding: "hook-helper-pruned",
            variant: "",
            before: account("") + &regular + &web,
            after: account("helm.sh/hook: pre-upgrade, helm.sh/hook-weight: '-1'")
                + &migration
                + &regular
                + &web,
            fixed: account("") + &migration + &regular + &web,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Gone("ServiceAccount", "migration"),
            message: &[
                "hook-helper-pruned: ServiceAccount migration",
                "- keep it a regular resource: remove the annotation helm.sh/hook",
            ],
        },
        Scenario {
            finding: "dangling-reference",
            variant: "",
            before: regular.clone() + &web,
            after: web.clone(),
            fixed: regular.clone() + &web,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Gone("ConfigMap", "app-config"),
            message: &[
                "dangling-reference: ConfigMap app-config",
                "Needed by: Deployment web",
                "- put it back into the chart, or remove the references to it",
            ],
        },
        Scenario {
            finding: "dangling-reference",
            variant: " to a service account that is no longer named",
            before: account("") + &workload_as("web", "serviceAccountName: migration") + &regular,
            after: regular.clone() + &web,
            fixed: regular.clone() + &workload_as("web", "serviceAccountName: default"),
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Gone("ServiceAccount", "migration"),
            message: &[
                "dangling-reference: ServiceAccount migration",
                "keep it (kubernetes/kubernetes#72519)",
                "Needed by: Deployment web",
                "- name another one in the workload: serviceAccountName: default",
            ],
        },
        Scenario {
            finding: "hook-self-deleted",
            variant: "",
            before: regular.clone() + &web,
            after: config(
                "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'",
                "two",
            ) + &web,
            fixed: config("", "two") + &web,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::Gone("ConfigMap", "app-config"),
            message: &[
                "hook-self-deleted: ConfigMap app-config",
                "Needed by: Deployment web",
                "- make it a regular resource: remove the annotation helm.sh/hook",
            ],
        },
        Scenario {
            finding: "hook-too-late",
            variant: "",
            before: object("ConfigMap", "other", "", ""),
            after: config("helm.sh/hook: post-upgrade", "one") + &web,
            fixed: config("", "one") + &web,
            flags: &[],
            meanwhile: nothing,
            damage: Damage::CreatedAfter("ConfigMap", "app-config", "deployments"),
            message: &[
                "hook-too-late: ConfigMap app-config",
                "Needed by: Deployment web",
                "- make it a regular resource, or a pre-upgrade hook",
            ],
        },
        Scenario {
            finding: "hook-conflict",
            variant: "",
            before: regular.clone() + &web,
            after: config(
                "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-failed",
                "two",
            ) + &web,
            fixed: config(
                "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: before-hook-creation, helm.sh/resource-policy: keep",
                "two",
            ) + &web,
            flags: CLIENT_SIDE,
            meanwhile: nothing,
            damage: Damage::Fails("already exists"),
            message: &[
                "hook-conflict: ConfigMap app-config",
                "add before-hook-creation to its helm.sh/hook-delete-policy",
            ],
        },
        Scenario {
            finding: "hook-recreates-storage",
            variant: "",
            before: claim("'helm.sh/hook': 'pre-install,pre-upgrade'") + &regular + &web,
            after: claim("'helm.sh/hook': 'pre-install,pre-upgrade'") + &config("", "two") + &web,
            fixed: claim("helm.sh/resource-policy: keep") + &config("", "two") + &web,
            // Without it, Helm rejects an object that a hook left behind.
            flags: &["--take-ownership"],
            meanwhile: nothing,
            damage: Damage::Recreated("PersistentVolumeClaim", "data"),
            message: &[
                "hook-recreates-storage: PersistentVolumeClaim data",
                "make it a regular resource with helm.sh/resource-policy: keep",
            ],
        },
        Scenario {
            finding: "no-rollout",
            variant: "",
            before: regular.clone() + &web,
            after: config("", "two") + &web,
            fixed: config("", "two") + &workload("web", "revision: '{{ .Release.Revision }}'"),
            flags: CLIENT_SIDE,
            meanwhile: nothing,
            damage: Damage::NotRolledOut("app-config"),
            message: &[
                "no-rollout: ConfigMap app-config",
                "Needed by: Deployment web",
                "add an annotation with {{ .Release.Revision }} to the metadata of the workload",
            ],
        },
    ]
}

fn object(kind: &str, name: &str, annotations: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n{rest}\n"
    )
}

fn config(annotations: &str, value: &str) -> String {
    let data = format!("data: {{setting: {value}}}");
    object("ConfigMap", "app-config", annotations, &data)
}

/// A workload with one more field in its pod spec.
fn workload_as(name: &str, field: &str) -> String {
    workload(name, "").replace(
        "      containers:",
        &format!("      {field}\n      containers:"),
    )
}

fn workload(name: &str, annotations: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: web, image: web, envFrom: [{{configMapRef: {{name: app-config}}}}]}}]
"
    )
}

fn job(name: &str, annotations: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  template:
    spec:
      restartPolicy: Never
      serviceAccountName: migration
      containers: [{{name: job, image: job}}]
"
    )
}

fn without(case: &Case<'_>, helm: HelmVersion, scenario: &Scenario) -> Result<()> {
    let release = Release {
        case,
        helm,
        flags: scenario.flags,
    };
    if scenario.finding == "maker-deleted" {
        serve_external_secrets(case.cluster)?;
    }
    release.upgrade("1.0.0", &scenario.before)?.success()?;
    (scenario.meanwhile)(case)?;
    let before = case.cluster.snapshot(&case.namespace)?;
    let mark = case.cluster.audit_mark()?;

    let upgrade = release.upgrade("2.0.0", &scenario.after)?;

    let after = case.cluster.snapshot(&case.namespace)?;
    match scenario.damage {
        Damage::Fails(message) => {
            let upgrade = upgrade.failure()?;
            ensure!(upgrade.stderr.contains(message), "{upgrade}");
            return Ok(());
        }
        Damage::Gone(kind, name) => {
            find(&before, kind, name)?;
            ensure!(find(&after, kind, name).is_err(), "{name} still exists");
            if scenario.finding == "dangling-reference" {
                let path = match kind {
                    "ServiceAccount" => "/spec/template/spec/serviceAccountName",
                    _ => "/spec/template/spec/containers/0/envFrom/0/configMapRef/name",
                };
                let named = field(&after, "Deployment", "web", path)?;
                ensure!(named == Some(name.into()), "web names {named:?}");
            }
        }
        Damage::Recreated(kind, name) => {
            let uid = |snapshot| Ok::<_, anyhow::Error>(find(snapshot, kind, name)?.uid.clone());
            ensure!(uid(&before)? != uid(&after)?, "{name} is the same object");
        }
        Damage::NotRolledOut(config) => {
            let data = |snapshot| field(snapshot, "ConfigMap", config, "/data");
            ensure!(
                data(&before)? != data(&after)?,
                "the data of {config} is the same"
            );
            let seen = |snapshot| field(snapshot, "Deployment", "web", "/metadata/generation");
            ensure!(seen(&before)? == seen(&after)?, "web was changed");
        }
        Damage::NoPods(reason) => {
            case.kubectl(&["rollout", "restart", "deployment/web"])?
                .success()?;
            let failure = "jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].message}";
            wait_until("no pods can be created", LIMIT, || {
                let found = case.kubectl(&["get", "deployment", "web", "-o", failure])?;
                Ok(found.success()?.stdout.contains(reason).then_some(()))
            })?;
        }
        Damage::Missing(kind, name) => {
            ensure!(find(&after, kind, name).is_err(), "{name} exists");
        }
        Damage::GoesAway {
            namespace,
            resource,
        } => {
            let [namespace, resource] =
                [namespace, resource].map(|text| text.replace("NS", &case.namespace));
            wait_until("the object goes away", LIMIT, || {
                let get = ["get", &resource, "--namespace", &namespace];
                let found = case.cluster.kubectl(get)?;
                Ok(found.stderr.contains("NotFound").then_some(()))
            })?;
        }
        Damage::CreatedAfter(kind, name, consumers) => {
            find(&after, kind, name)?;
            let trail = case.cluster.audit_since(mark)?;
            let steps = trail
                .in_namespace(&case.namespace)
                .by_agent("Helm/")
                .steps();
            let first = |resource: &str| {
                let mut steps = steps.iter();
                steps.position(|step| step.object.resource == resource && step.verb != Verb::Delete)
            };
            let (created, applied) = (first("configmaps"), first(consumers));
            ensure!(created > applied && applied.is_some(), "{steps:?}");
        }
    }
    upgrade.success()?;
    Ok(())
}

/// The upgrade is rejected before anything changes. The chart that follows the advice is accepted.
fn with(case: &Case<'_>, helm: HelmVersion, scenario: &Scenario) -> Result<()> {
    let findings = json!({scenario.finding: "reject"});
    let _guard = Guard::new(case, json!({"releaseGuard": {"findings": findings}}))?;
    let release = Release {
        case,
        helm,
        flags: scenario.flags,
    };
    if scenario.finding == "maker-deleted" {
        serve_external_secrets(case.cluster)?;
    }
    release.upgrade("1.0.0", &scenario.before)?.success()?;
    (scenario.meanwhile)(case)?;
    let before = case.cluster.snapshot(&case.namespace)?;

    let upgrade = release.upgrade("2.0.0", &scenario.after)?.failure()?;

    for part in scenario
        .message
        .iter()
        .chain(slice::from_ref(&"Nothing was changed"))
    {
        ensure!(upgrade.stderr.contains(part), "no {part:?} in {upgrade}");
    }
    let changes = before.changes(&case.cluster.snapshot(&case.namespace)?);
    ensure!(changes.is_empty(), "{changes:?}");
    release.upgrade("3.0.0", &scenario.fixed)?.success()?;
    Ok(())
}

struct Release<'a> {
    case: &'a Case<'a>,
    helm: HelmVersion,
    flags: &'static [&'static str],
}

impl Release<'_> {
    fn upgrade(&self, version: &str, templates: &str) -> Result<Output> {
        let chart = self.case.chart(version, &[("all.yaml", templates)])?;
        // Helm 3 always uses client-side apply and has no such flags.
        let of_helm4 =
            |flag: &str| flag.starts_with("--server-side") || flag == "--force-conflicts";
        let known = |flag: &&&str| self.helm == HelmVersion::V4 || !of_helm4(flag);
        let flags: Vec<_> = self.flags.iter().filter(known).copied().collect();
        let arguments = ["upgrade", "--install", "app", chart.as_str()];
        self.case
            .helm(self.helm, &[&arguments, flags.as_slice()].concat())
    }
}

fn find<'a>(
    snapshot: &'a Snapshot,
    kind: &str,
    name: &str,
) -> Result<&'a cluster_tests::ObjectState> {
    let is_it = |id: &ObjectId| id.kind == kind && id.name == name;
    let mut objects = snapshot.objects.iter();
    let found = objects.find(|(id, _)| is_it(id));
    let (_, state) = found.with_context(|| format!("there is no {kind} {name}"))?;
    Ok(state)
}

fn field(snapshot: &Snapshot, kind: &str, name: &str, path: &str) -> Result<Option<Value>> {
    Ok(find(snapshot, kind, name)?.content.pointer(path).cloned())
}
