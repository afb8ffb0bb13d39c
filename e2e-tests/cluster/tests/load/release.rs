//! A release of real Helm, and the first records of its upgrades.

use std::io::Read as _;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster_tests::{CLOSED_PORT, Case, HelmVersion, Output, Webhook, creation_of};
use flate2::read::GzDecoder;
use helm_plan::testing::encode;
use serde_json::{Value, json};

use crate::app::{PRE_UPGRADE, REVISION, config, deployment};
use crate::review::{CONFIG_MAP, request};

/// Nearly fills a Secret when it is encoded.
const PADDING_BYTES: usize = 450_000;

/// Revision 1 is deployed. The cluster has no record of revision 2, so every upgrade creates it.
pub(crate) struct Release<'a> {
    case: Case<'a>,
    /// The Secret of an upgrade that changes the config.
    pub(crate) harmless: Value,
    /// The Secret of an upgrade that makes the ConfigMap a hook.
    pub(crate) trap: Value,
}

impl<'a> Release<'a> {
    pub(crate) fn install(case: Case<'a>, helm: HelmVersion) -> Result<Release<'a>> {
        upgrade(&case, helm, "", "one")?.success()?;
        let harmless = blocked_record(&case, helm, "")?;
        let trap = blocked_record(&case, helm, PRE_UPGRADE)?;
        Ok(Release {
            case,
            harmless,
            trap,
        })
    }

    /// Creates the record of the trap, as if no policy had judged it.
    pub(crate) fn begin_the_trap(&self) -> Result<()> {
        let Case {
            cluster, namespace, ..
        } = &self.case;
        let record = self.trap.to_string();
        cluster
            .kubectl_with(namespace, &["create"], &record)?
            .success()?;
        Ok(())
    }

    /// A request to delete the ConfigMap.
    pub(crate) fn deletion(&self) -> Result<Value> {
        let get = ["get", "configmap", "app-config", "--output", "json"];
        let live = self.case.kubectl(&get)?.success()?;
        let live = serde_json::from_str(&live.stdout)?;
        Ok(request("DELETE", CONFIG_MAP, (&Value::Null, &live)))
    }
}

/// Runs `helm upgrade --install` with these annotations and this content of the ConfigMap.
pub(crate) fn upgrade(
    case: &Case<'_>,
    helm: HelmVersion,
    annotations: &str,
    setting: &str,
) -> Result<Output> {
    let objects = format!(
        "{}---{}",
        config(annotations, setting),
        deployment(REVISION, "web")
    );
    let chart = case.chart("1.0.0", &[("all.yaml", &objects)])?;
    case.helm(helm, &["upgrade", "--install", "app", &chart])
}

/// The record that Helm sends first. A webhook without a server blocks it, so nothing changes, but the audit log contains
/// it.
fn blocked_record(case: &Case<'_>, helm: HelmVersion, annotations: &str) -> Result<Value> {
    let blocking = case.cluster.register_webhook(&Webhook {
        name: case.namespace.clone(),
        port: CLOSED_PORT,
        path: "/".to_owned(),
        ca_bundle: std::fs::read_to_string(case.cluster.ca_file())?,
        rules: vec![creation_of("secrets")],
        match_conditions: Vec::new(),
        namespaces: vec![case.namespace.clone()],
        namespace_expressions: Vec::new(),
    })?;
    let mark = case.cluster.audit_mark()?;
    upgrade(case, helm, annotations, "two")?.failure()?;
    let trail = case.cluster.audit_since(mark)?;
    blocking.remove()?;
    // Without the requests of controllers.
    let trail = trail.in_namespace(&case.namespace).by_agent("Helm/");
    let created = trail.events().iter().find(|event| event.verb == "create");
    let sent = created.and_then(|event| event.request_object.clone());
    let mut record = sent.context("the audit log has no record")?;
    let metadata = record.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.context("no metadata")?;
    metadata.insert("namespace".to_owned(), json!(case.namespace));
    Ok(record)
}

/// The record with a chart of the maximum size.
pub(crate) fn padded(record: &Value) -> Result<Value> {
    let mut padding = vec![0; PADDING_BYTES];
    getrandom::fill(&mut padding).context("no random bytes")?;
    let data = record.pointer("/data/release").and_then(Value::as_str);
    let helm = BASE64_STANDARD.decode(data.context("no data")?)?;
    let mut json = Vec::new();
    GzDecoder::new(BASE64_STANDARD.decode(helm)?.as_slice()).read_to_end(&mut json)?;
    let mut release: Value = serde_json::from_slice(&json)?;
    let Some(chart) = release.get_mut("chart") else {
        bail!("a record without a chart");
    };
    *chart = json!({"files": [{"name": "padding", "data": BASE64_STANDARD.encode(padding)}]});
    with_data(record, &BASE64_STANDARD.encode(encode(&release)))
}

/// The record with a different `data.release`.
pub(crate) fn with_data(record: &Value, data: &str) -> Result<Value> {
    let mut record = record.clone();
    let place = record.pointer_mut("/data/release").context("no data")?;
    *place = json!(data);
    Ok(record)
}
