//! A release of real Helm, and the records that upgrades of it begin with.

use std::io::{Read as _, Write as _};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster_tests::{CLOSED_PORT, Case, HelmVersion, Output, Webhook, creation_of};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::app::{PRE_UPGRADE, REVISION, config, deployment};
use crate::review::{CONFIG_MAP, request};

/// Nearly what a Secret can hold, when it is encoded.
const PADDING_BYTES: usize = 450_000;

/// Revision 1 is deployed. No record of revision 2 is in the cluster, so that each upgrade is the next.
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
        let harmless = refused_record(&case, helm, "")?;
        let trap = refused_record(&case, helm, PRE_UPGRADE)?;
        Ok(Release {
            case,
            harmless,
            trap,
        })
    }

    /// The record is there, as if nobody had judged it.
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

/// `helm upgrade --install`, with annotations and content of the ConfigMap.
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

/// What Helm sends first. A webhook that nobody answers for refuses it, so that nothing changes; the
/// audit log has it all the same.
fn refused_record(case: &Case<'_>, helm: HelmVersion, annotations: &str) -> Result<Value> {
    let refusing = case.cluster.register_webhook(&Webhook {
        name: case.namespace.clone(),
        port: CLOSED_PORT,
        path: "/".to_owned(),
        ca_bundle: std::fs::read_to_string(case.cluster.ca_file())?,
        rules: vec![creation_of("secrets")],
        match_conditions: Vec::new(),
        namespaces: vec![case.namespace.clone()],
    })?;
    let mark = case.cluster.audit_mark()?;
    upgrade(case, helm, annotations, "two")?.failure()?;
    let trail = case.cluster.audit_since(mark)?;
    refusing.remove()?;
    // Not what the controllers make of the workload.
    let trail = trail.in_namespace(&case.namespace).by_agent("Helm/");
    let created = trail.events().iter().find(|event| event.verb == "create");
    let sent = created.and_then(|event| event.request_object.clone());
    let mut record = sent.context("the audit log has no record")?;
    let metadata = record.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.context("no metadata")?;
    metadata.insert("namespace".to_owned(), json!(case.namespace));
    Ok(record)
}

/// The record with a chart as large as charts get.
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
    let helm = BASE64_STANDARD.encode(gzip(release.to_string().as_bytes())?);
    with_data(record, &BASE64_STANDARD.encode(helm))
}

/// The record with another `data.release`.
pub(crate) fn with_data(record: &Value, data: &str) -> Result<Value> {
    let mut record = record.clone();
    let place = record.pointer_mut("/data/release").context("no data")?;
    *place = json!(data);
    Ok(record)
}

pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
