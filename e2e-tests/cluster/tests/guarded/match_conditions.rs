//! Which requests reach the policies of `examples/`: their rules, `matchConditions` and `namespaceSelector`, on a real API server.
//!
//! The webhook of a policy has no server here, so each request that would reach the policy fails. All requests are dry runs.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster_tests::k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use cluster_tests::{CLOSED_PORT, Case, Suite, wait_until};

use crate::example_policy::ExamplePolicy;
use crate::right_operations::define_rollouts;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case(
        "examples/*-policy.yaml receive the requests that they are for, and no others",
        receive,
    );
    suite.case(
        "examples/*-policy.yaml leave kube-system alone",
        leave_kube_system_alone,
    );
}

/// A policy of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Main,
    Workloads,
    Releases,
    SecondLine,
    Verify,
    WarnConsumers,
    DeletionGuard,
}

use Policy::{DeletionGuard, Main, Releases, SecondLine, Verify, WarnConsumers, Workloads};

impl Policy {
    const ALL: [Policy; 7] = [
        Main,
        Workloads,
        Releases,
        SecondLine,
        Verify,
        WarnConsumers,
        DeletionGuard,
    ];

    fn read(self) -> Result<ExamplePolicy> {
        let mut policy = ExamplePolicy::read(match self {
            Main => "cluster-admission-policy.yaml",
            Workloads => "workloads-policy.yaml",
            Releases => "releases-policy.yaml",
            SecondLine => "second-line-policy.yaml",
            Verify => "verify-policy.yaml",
            WarnConsumers => "warn-consumers-policy.yaml",
            DeletionGuard => "deletion-guard-policy.yaml",
        })?;
        if self == Main {
            policy.rules.push(rule_of_rollouts());
        }
        Ok(policy)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Delete,
}

use Verb::{Create, Delete, Update};

impl Verb {
    fn command(self) -> &'static str {
        match self {
            Create => "create",
            Update => "replace",
            Delete => "delete",
        }
    }
}

/// What is done to which object, and the policies that receive it.
type Row = (Verb, Object, &'static [Policy]);

/// A kind of object, and what its metadata says.
#[derive(Debug, Clone, Copy)]
enum Object {
    Deployment,
    /// A workload of a custom kind, which only the main policy has a rule for.
    Rollout,
    Core(&'static str, &'static str),
}

use Object::{Core, Deployment, Rollout};

const PLAIN: &str = "";
const WITH_METADATA: &str = ", labels: {app: web, owner: team}, annotations: {app: web}";
const RECORD: &str = ", labels: {owner: helm, status: pending-upgrade, name: web}";
const HOOK: &str = ", annotations: {helm.sh/hook: pre-upgrade}";
const OF_RELEASE: &str = ", annotations: {meta.helm.sh/release-name: web}";

const ROWS: &[Row] = &[
    (Create, Deployment, &[Main, Workloads, Verify]),
    (Update, Deployment, &[Main, Workloads, Verify]),
    (Delete, Deployment, &[]),
    (Create, Rollout, &[Main]),
    (Update, Rollout, &[Main]),
    (Create, Core("ConfigMap", PLAIN), &[]),
    (Update, Core("ConfigMap", PLAIN), &[WarnConsumers]),
    (
        Delete,
        Core("ConfigMap", PLAIN),
        &[WarnConsumers, DeletionGuard],
    ),
    (Create, Core("ConfigMap", WITH_METADATA), &[]),
    (Create, Core("Secret", PLAIN), &[]),
    (Create, Core("Secret", RECORD), &[Main, Releases]),
    (Update, Core("Secret", RECORD), &[]),
    (Delete, Core("Secret", RECORD), &[]),
    (Create, Core("ConfigMap", RECORD), &[Main, Releases]),
    (Update, Core("ConfigMap", RECORD), &[]),
    (Delete, Core("ConfigMap", RECORD), &[]),
    (Create, Core("ConfigMap", HOOK), &[SecondLine]),
    (Create, Core("Secret", HOOK), &[SecondLine]),
    (Create, Core("ServiceAccount", HOOK), &[SecondLine]),
    (Create, Core("PersistentVolumeClaim", HOOK), &[SecondLine]),
    (
        Update,
        Core("ConfigMap", HOOK),
        &[SecondLine, WarnConsumers],
    ),
    (
        Delete,
        Core("ConfigMap", HOOK),
        &[WarnConsumers, DeletionGuard],
    ),
    (Create, Core("ConfigMap", OF_RELEASE), &[]),
    (Update, Core("ConfigMap", OF_RELEASE), &[WarnConsumers]),
    (Update, Core("ServiceAccount", OF_RELEASE), &[]),
    (
        Delete,
        Core("ConfigMap", OF_RELEASE),
        &[SecondLine, WarnConsumers, DeletionGuard],
    ),
    (
        Delete,
        Core("Secret", OF_RELEASE),
        &[SecondLine, WarnConsumers, DeletionGuard],
    ),
    (
        Delete,
        Core("ServiceAccount", OF_RELEASE),
        &[SecondLine, DeletionGuard],
    ),
    (
        Delete,
        Core("PersistentVolumeClaim", OF_RELEASE),
        &[SecondLine, DeletionGuard],
    ),
    (Delete, Core("ServiceAccount", PLAIN), &[DeletionGuard]),
];

impl Object {
    fn manifest(self, name: &str) -> String {
        let workload = "spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, \
                        spec: {containers: [{name: a, image: a}]}}}";
        match self {
            Deployment => {
                format!(
                    "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, {workload}}}"
                )
            }
            Rollout => {
                format!(
                    "{{apiVersion: {GROUP}/v1, kind: Rollout, metadata: {{name: {name}}}, {workload}}}"
                )
            }
            Core(kind, metadata) => {
                let spec = match kind {
                    "PersistentVolumeClaim" => {
                        ", spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"
                    }
                    _ => "",
                };
                format!(
                    "{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}{metadata}}}{spec}}}"
                )
            }
        }
    }
}

const GROUP: &str = "examples.rollout-guard.test";

fn rule_of_rollouts() -> RuleWithOperations {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    RuleWithOperations {
        api_groups: words(&[GROUP]),
        api_versions: words(&["v1"]),
        resources: words(&["rollouts"]),
        operations: words(&["CREATE", "UPDATE"]),
        scope: None,
    }
}

fn receive(case: &Case<'_>) -> Result<()> {
    define_rollouts(case, GROUP)?;
    let manifests: Vec<_> = ROWS
        .iter()
        .enumerate()
        .map(|(index, (_, object, _))| object.manifest(&format!("object-{index}")))
        .collect();
    for ((verb, ..), manifest) in ROWS.iter().zip(&manifests) {
        if *verb == Create {
            continue;
        }
        // The custom kind is served a moment after it was created.
        wait_until("the object", Duration::from_secs(30), || {
            let applied = case.cluster.apply(&case.namespace, manifest)?;
            Ok(applied.status.success().then_some(()))
        })?;
    }
    let mut wrong = Vec::new();
    for policy in Policy::ALL {
        let ca_bundle = fs::read_to_string(case.cluster.ca_file())?;
        let webhook = policy
            .read()?
            .webhook(case, CLOSED_PORT, "/validate", &ca_bundle);
        let webhook = case.cluster.register_webhook(&webhook)?;
        for ((verb, object, expected), manifest) in ROWS.iter().zip(&manifests) {
            let received = is_received(case, &case.namespace, *verb, manifest)?;
            if received != expected.contains(&policy) {
                wrong.push(format!(
                    "{policy:?}, {verb:?} {object:?}: received is {received}"
                ));
            }
        }
        webhook.remove()?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A policy that is away must not keep anyone from repairing the cluster's DNS.
fn leave_kube_system_alone(case: &Case<'_>) -> Result<()> {
    let ca_bundle = fs::read_to_string(case.cluster.ca_file())?;
    for policy in Policy::ALL {
        let mut webhook = policy
            .read()?
            .webhook(case, CLOSED_PORT, "/validate", &ca_bundle);
        webhook.namespaces.push(KUBE_SYSTEM.to_owned());
        let row = ROWS
            .iter()
            .find(|(.., expected)| expected.contains(&policy));
        let (verb, object, _) = row.context("it receives nothing")?;
        let manifest = object.manifest(&case.namespace);
        for namespace in [KUBE_SYSTEM, &case.namespace] {
            if *verb != Create {
                case.cluster.apply(namespace, &manifest)?.success()?;
            }
        }
        let webhook = case.cluster.register_webhook(&webhook)?;
        let received = |namespace: &str| is_received(case, namespace, *verb, &manifest);
        ensure!(
            received(&case.namespace)?,
            "{policy:?}: {verb:?} {object:?}"
        );
        ensure!(
            !received(KUBE_SYSTEM)?,
            "{policy:?} receives requests of kube-system"
        );
        webhook.remove()?;
    }
    Ok(())
}

const KUBE_SYSTEM: &str = "kube-system";

fn is_received(case: &Case<'_>, namespace: &str, verb: Verb, manifest: &str) -> Result<bool> {
    let arguments = [verb.command(), "--dry-run=server"];
    let answer = case.cluster.kubectl_with(namespace, &arguments, manifest)?;
    match answer.status.success() {
        true => Ok(false),
        // Not a condition that cannot be evaluated.
        false if answer.stderr.contains("failed calling webhook") => Ok(true),
        false => bail!("{answer}"),
    }
}
