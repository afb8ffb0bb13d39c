//! Each finding on a real cluster: the damage without the policy, the message with the policy, and a chart that follows
//! the advice in the message.

use std::slice;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, ObjectId, Output, Snapshot, Suite, Verb};
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
    damage: Damage,
    message: &'static [&'static str],
}

/// What the upgrade does without the policy.
enum Damage {
    /// Helm reports success, but the object does not exist.
    Gone(&'static str, &'static str),
    /// The workload is applied before the object is created.
    CreatedAfter(&'static str, &'static str),
    Fails(&'static str),
    /// The object is deleted and recreated.
    Recreated(&'static str, &'static str),
    /// The object changes, but the workload does not.
    NotRolledOut(&'static str),
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

fn scenarios() -> [Scenario; 9] {
    let regular = config("", "one");
    let pre_upgrade = "helm.sh/hook: pre-upgrade";
    let web = workload("web", "");
    let migration = job("migrate", pre_upgrade);
    let account = |annotations: &str| object("ServiceAccount", "migration", annotations, "");
    let claim = |annotations: &str| {
        let spec = "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
        object("PersistentVolumeClaim", "data", annotations, spec)
    };
    // Client-side apply. Helm 3 has no other.
    let client_side = &["--server-side=false"];
    [
        Scenario {
            finding: "hook-pruned",
            variant: "",
            before: [&regular, &web].map(String::as_str).concat(),
            after: config(pre_upgrade, "two") + &web,
            fixed: config("", "two") + &web,
            flags: &[],
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
            damage: Damage::CreatedAfter("ConfigMap", "app-config"),
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
            flags: client_side,
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
            flags: client_side,
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
    release.upgrade("1.0.0", &scenario.before)?.success()?;
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
        Damage::CreatedAfter(kind, name) => {
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
            let (created, applied) = (first("configmaps"), first("deployments"));
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
    release.upgrade("1.0.0", &scenario.before)?.success()?;
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
        // Helm 3 always uses client-side apply and has no such flag.
        let known =
            |flag: &&&str| self.helm == HelmVersion::V4 || !flag.starts_with("--server-side");
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
