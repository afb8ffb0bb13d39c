//! Runs a scenario with real Helm and without the policy, and records what happens in the cluster.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cluster_tests::kube::api::ApiResource;
use cluster_tests::{
    AuditEvent, AuditTrail, Case, Cluster, HelmVersion, ObjectState, Output, Snapshot, User, Verb,
    wait_until,
};
use helm_plan::manifest::ObjectId;
use helm_plan::record::Driver;
use serde_json::Value;

use crate::scenario::{Action, Command, Scenario};

/// The objects of a release at one moment, without its records.
pub(crate) type Objects = BTreeMap<ObjectId, ObjectState>;

/// One command of Helm, and what it did.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) command: Command,
    pub(crate) driver: Driver,
    pub(crate) namespace: String,
    pub(crate) before: Objects,
    pub(crate) after: Objects,
    /// The records when the new one was created, by name.
    pub(crate) records: BTreeMap<String, Value>,
    /// The new record as Helm first wrote it. `None`: Helm refused before it wrote one.
    pub(crate) pending: Option<Value>,
    /// The requests of Helm in order, without those for records.
    pub(crate) requests: Vec<Request>,
    /// The names of the records that Helm created or changed, in order.
    pub(crate) written_records: Vec<String>,
    pub(crate) output: Output,
}

/// A change that Helm asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) object: ObjectId,
    pub(crate) code: u16,
}

/// Runs all commands of a scenario.
pub(crate) fn run(case: &Case, scenario: &Scenario) -> Result<Vec<Recorded>> {
    serve_certificates(case.cluster)?;
    case.cluster.create_namespace(&other_namespace(case))?;
    let charts = scenario.charts.iter().enumerate().map(|(index, text)| {
        let version = format!("{}.0.0", index + 1);
        case.chart(&version, &[("objects.yaml", text)])
    });
    let charts = charts.collect::<Result<Vec<_>>>()?;
    let mut recorded = Vec::new();
    for command in &scenario.commands {
        match command {
            Command::Keep(object) => annotate(case, object, "helm.sh/resource-policy=keep")?,
            Command::Give(object) => annotate(case, object, "meta.helm.sh/release-name=other")?,
            Command::Interrupt => recorded
                .last()
                .map_or(Ok(()), |last| interrupt(case, last))?,
            Command::Helm { .. } => {
                recorded.push(watch(case, scenario.driver, command, &charts)?);
            }
        }
    }
    Ok(recorded)
}

/// Charts may place objects in this namespace too.
fn other_namespace(case: &Case) -> String {
    format!("{}-other", case.namespace)
}

const CERTIFICATES: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: certificates.cert-manager.io
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {kind: Certificate, plural: certificates}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

fn certificates() -> ApiResource {
    ApiResource {
        group: "cert-manager.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "cert-manager.io/v1".to_owned(),
        kind: "Certificate".to_owned(),
        plural: "certificates".to_owned(),
    }
}

/// Makes the cluster serve the custom kind before any Helm asks which kinds there are.
fn serve_certificates(cluster: &Cluster) -> Result<()> {
    static SERVED: OnceLock<Result<(), String>> = OnceLock::new();
    let define = || {
        cluster.apply("default", CERTIFICATES)?.success()?;
        let limit = Duration::from_secs(30);
        wait_until("Certificates are served", limit, || {
            let snapshot = cluster.snapshot_of("default", &[certificates()]);
            Ok(snapshot.is_ok().then_some(()))
        })
    };
    let served = SERVED.get_or_init(|| define().map_err(|error| format!("{error:#}")));
    served.clone().map_err(|error| anyhow!("{error}"))
}

/// Annotates the object, if it exists.
fn annotate(case: &Case, object: &str, annotation: &str) -> Result<()> {
    let object = object.replace("clusterrole/", &format!("clusterrole/{}.", case.namespace));
    let output = case.kubectl(&["annotate", "--overwrite", &object, annotation])?;
    if !output.status.success() && !output.stderr.contains("NotFound") {
        bail!("{output}");
    }
    Ok(())
}

/// Takes back what a command wrote last: how it ended, and which revision it replaced.
fn interrupt(case: &Case, command: &Recorded) -> Result<()> {
    let Some(pending) = &command.pending else {
        return Ok(());
    };
    let written = command.written_records.iter();
    let replaced = written.filter_map(|name| command.records.get(name));
    for record in replaced.chain([pending]) {
        let mut record = record.clone();
        // The items of a list do not have them.
        if let Some(fields) = record.as_object_mut() {
            fields.insert("apiVersion".to_owned(), "v1".into());
            fields.insert("kind".to_owned(), command.driver.kind().into());
        }
        let record = record.to_string();
        let output = case
            .cluster
            .kubectl_with(&case.namespace, &["replace"], &record)?;
        output.success()?;
    }
    Ok(())
}

fn watch(case: &Case, driver: Driver, command: &Command, charts: &[String]) -> Result<Recorded> {
    let (before, records) = snapshot(case)?;
    let mark = case.cluster.audit_mark()?;

    let output = helm(case, driver, command, charts)?;

    let trail = case.cluster.audit_since(mark)?.by_agent("Helm/");
    // Helm does not wait for what goes with a namespace.
    let limit = Duration::from_secs(60);
    let (after, _) = wait_until("deletions are done", limit, || {
        let (objects, records) = snapshot(case)?;
        let is_done = !objects.values().any(is_being_deleted);
        Ok(is_done.then_some((objects, records)))
    })?;
    let mut recorded = Recorded {
        command: command.clone(),
        driver,
        namespace: case.namespace.clone(),
        before,
        after,
        records,
        pending: None,
        requests: Vec::new(),
        written_records: Vec::new(),
        output,
    };
    recorded.sort_events(&trail)?;
    Ok(recorded)
}

fn is_being_deleted(state: &ObjectState) -> bool {
    let deletion = state.content.pointer("/metadata/deletionTimestamp");
    deletion.is_some_and(|deletion| !deletion.is_null())
}

fn snapshot(case: &Case) -> Result<(Objects, BTreeMap<String, Value>)> {
    let mut objects = Objects::new();
    let mut records = BTreeMap::new();
    let of_cluster = format!("case={}", case.namespace);
    let Snapshot { objects: wide } = case.cluster.snapshot_of_cluster(&of_cluster)?;
    objects.extend(wide.into_iter().map(|(id, state)| (plan_id(id), state)));
    let namespace = &case.namespace;
    for namespace in [
        namespace,
        &other_namespace(case),
        &format!("{namespace}-team"),
    ] {
        let custom = case.cluster.snapshot_of(namespace, &[certificates()])?;
        let regular = case.cluster.snapshot(namespace)?.objects;
        for (id, state) in regular.into_iter().chain(custom.objects) {
            if is_record(&id.name) {
                records.insert(id.name, state.content);
            } else {
                objects.insert(plan_id(id), state);
            }
        }
    }
    Ok((objects, records))
}

fn helm(case: &Case, driver: Driver, command: &Command, charts: &[String]) -> Result<Output> {
    let Command::Helm {
        version,
        action,
        flags,
    } = command
    else {
        bail!("{command} is not a Helm command");
    };
    let chart = |number: usize| {
        let chart = number.checked_sub(1).and_then(|index| charts.get(index));
        chart.with_context(|| format!("there is no v{number}"))
    };
    let mut helm = case.cluster.helm_command(*version, User::Admin);
    match action {
        Action::Install(number) => helm.args(["install", "app"]).arg(chart(*number)?),
        Action::Upgrade(number) => helm.args(["upgrade", "app"]).arg(chart(*number)?),
        Action::Rollback(revision) => helm.args(["rollback", "app"]).arg(revision.to_string()),
    };
    helm.args(flags)
        .args(["--namespace", &case.namespace, "--timeout=60s"])
        .env("HELM_DRIVER", driver.kind().to_lowercase());
    if *version == HelmVersion::V4 {
        // Colored output is hard to read in a report.
        helm.env("NO_COLOR", "1");
    }
    case.cluster.run(&mut helm)
}

impl Recorded {
    fn sort_events(&mut self, trail: &AuditTrail) -> Result<()> {
        for event in trail.events() {
            let Some(step) = event.step() else { continue };
            let mut object = step.object;
            if object.resource == "namespaces" {
                // The audit log shows a namespace as being in itself.
                object.namespace.clear();
            }
            if !self.is_mine(&object) {
                continue;
            }
            if is_record(&object.name) {
                self.note_record(event, step.verb, object.name);
                continue;
            }
            let id = ObjectId {
                kind: kind_of(&object.resource)
                    .with_context(|| format!("{object} has a kind that no chart here contains"))?
                    .to_owned(),
                group: object.group,
                namespace: object.namespace,
                name: object.name,
            };
            self.requests.push(Request {
                verb: step.verb,
                object: id,
                code: step.code,
            });
        }
        Ok(())
    }

    /// Cases run at the same time, and their cluster-wide objects have names of their own.
    fn is_mine(&self, object: &cluster_tests::ObjectRef) -> bool {
        let own = &self.namespace;
        let team = format!("{own}-team");
        if object.namespace.is_empty() {
            object.name == team
                || object.name.starts_with(&format!("{own}."))
                || object.name.ends_with(&format!(".{own}.example.com"))
        } else {
            [own, &format!("{own}-other"), &team].contains(&&object.namespace)
        }
    }

    fn note_record(&mut self, event: &AuditEvent, verb: Verb, name: String) {
        match verb {
            // Helm keeps to --history-max before it writes the new record.
            Verb::Delete if self.pending.is_none() => {
                self.records.remove(&name);
            }
            Verb::Delete | Verb::DeleteCollection => {}
            Verb::Create => {
                self.pending.clone_from(&event.request_object);
                self.written_records.push(name);
            }
            Verb::Update | Verb::Patch => self.written_records.push(name),
        }
    }
}

/// The identity of an object in the plan.
fn plan_id(id: cluster_tests::ObjectId) -> ObjectId {
    ObjectId {
        group: id.group,
        kind: id.kind,
        namespace: id.namespace,
        name: id.name,
    }
}

fn is_record(name: &str) -> bool {
    name.starts_with("sh.helm.release.v1.")
}

fn kind_of(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        "serviceaccounts" => "ServiceAccount",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        "roles" => "Role",
        "rolebindings" => "RoleBinding",
        "clusterroles" => "ClusterRole",
        "horizontalpodautoscalers" => "HorizontalPodAutoscaler",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        "daemonsets" => "DaemonSet",
        "cronjobs" => "CronJob",
        "jobs" => "Job",
        "certificates" => "Certificate",
        "namespaces" => "Namespace",
        "customresourcedefinitions" => "CustomResourceDefinition",
        _ => return None,
    })
}
