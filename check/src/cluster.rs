//! All releases of a cluster or namespace, from their records.
//!
//! ```text
//! table of records ─► for each namespace: workloads, names ─► what is missing now ────────┐
//!                     └─► for each release: its revisions ─► each rollback ─► findings ───┴─► report
//! ```
//!
//! In: a cluster, through kubectl. Out: a [`ReleaseReport`] for each release, and a [`Missing`] for each object that workloads
//! require and that does not exist. Refuses: a kubectl that fails. Only one release is in memory at a time.
//!
//! # Incomplete support
//!
//! Keys of configs are not looked at, nor releases that are stored in SQL.

pub(crate) mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, IsTerminal, Write},
};

use anyhow::{Context, Result};
use helm_plan::{
    Finding, Level, Levels, Live, ObjectId, Operation, Record, Release, Status, record::Info,
};
use pod_references::{Kind, needs};
use serde_json::Value;

use crate::{
    check::Check,
    kubectl::Kubectl,
    saved::{Revisions, Saved},
};

/// Where the records of releases are (helm `pkg/storage/driver`).
const DRIVERS: [&str; 2] = ["secrets", "configmaps"];
/// What pods can require by name, in the namespace of their own.
const NAMED: &str = "configmaps,secrets,serviceaccounts,persistentvolumeclaims";
const WORKLOADS: &str = "deployments.apps,statefulsets.apps,daemonsets.apps,cronjobs.batch";

/// What is known of a release.
pub(crate) struct ReleaseReport {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) status: Status,
    /// To each stored revision, newest first.
    pub(crate) rollbacks: Vec<Rollback>,
}

/// What a rollback to a stored revision would lose.
pub(crate) struct Rollback {
    pub(crate) to: u64,
    pub(crate) findings: Vec<(Level, Finding)>,
}

impl Rollback {
    pub(crate) fn is_rejected(&self) -> bool {
        self.findings
            .iter()
            .any(|(level, _)| *level == Level::Reject)
    }
}

/// An object that a live workload requires, and that does not exist.
pub(crate) struct Missing {
    pub(crate) namespace: String,
    /// `ConfigMap app`
    pub(crate) object: Named,
    /// `Deployment web`
    pub(crate) workloads: BTreeSet<String>,
    /// The release, and the revision of it that removed the object.
    pub(crate) taken_by: Option<(String, u64)>,
}

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    kind: Kind,
    name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Who takes the results, one after the other.
pub(crate) trait Page {
    fn release(&mut self, report: &ReleaseReport) -> Result<()>;
    fn missing(&mut self, missing: &Missing) -> Result<()>;
}

/// A release in the table of records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    driver: &'static str,
    name: String,
}

/// Looks at all releases. Returns how many there are.
pub(crate) fn check(
    namespace: Option<&str>,
    levels: &Levels,
    kubectl: &mut Kubectl,
    page: &mut dyn Page,
) -> Result<usize> {
    let releases = releases(namespace, kubectl)?;
    let total = releases.values().map(BTreeSet::len).sum();
    let mut done = 0;
    for (namespace, releases) in &releases {
        let mut missing = missing(namespace, kubectl)?;
        for release in releases {
            progress(done, total);
            done += 1;
            let selector = format!("--selector=owner=helm,name={}", release.name);
            let records = kubectl.run(&[
                "get",
                release.driver,
                "--namespace",
                namespace,
                &selector,
                "--output=json",
            ])?;
            let mut saved = Saved::default();
            saved
                .add(&String::from_utf8(records)?)
                .with_context(|| format!("release {} in namespace {namespace}", release.name))?;
            for revisions in saved.releases() {
                for object in &mut missing {
                    object.taken_by = object
                        .taken_by
                        .take()
                        .or_else(|| taken_by(revisions, object));
                }
                if let Some(report) = report(revisions, levels, kubectl)? {
                    page.release(&report)?;
                }
            }
        }
        for object in &missing {
            page.missing(object)?;
        }
    }
    progress(done, total);
    Ok(total)
}

/// On a terminal, one line that is written over.
fn progress(done: usize, total: usize) {
    if !io::stderr().is_terminal() {
        return;
    }
    let end = if done == total { "\r\x1b[2K" } else { "" };
    eprint!("\r{done} of {total} releases{end}");
    // It is only for people who wait.
    let _ = io::stderr().flush();
}

/// The releases by the namespace of their records. The table has no content of records, so it is small.
fn releases(
    namespace: Option<&str>,
    kubectl: &Kubectl,
) -> Result<BTreeMap<String, BTreeSet<Listed>>> {
    let scope = match namespace {
        Some(namespace) => format!("--namespace={namespace}"),
        None => "--all-namespaces".to_owned(),
    };
    let mut releases: BTreeMap<String, BTreeSet<Listed>> = BTreeMap::new();
    for driver in DRIVERS {
        let selector = "--selector=owner=helm,name,version";
        let table = [
            "get",
            driver,
            &scope,
            selector,
            "--label-columns=name",
            "--no-headers",
        ];
        let table = String::from_utf8(kubectl.run(&table)?)?;
        for line in table.lines() {
            let mut columns = line.split_whitespace();
            let place = match namespace {
                Some(namespace) => Some(namespace),
                None => columns.next(),
            };
            let (Some(place), Some(name)) = (place, columns.next_back()) else {
                continue;
            };
            let name = name.to_owned();
            releases
                .entry(place.to_owned())
                .or_default()
                .insert(Listed { driver, name });
        }
    }
    Ok(releases)
}

/// What the workloads of a namespace require, and does not exist.
fn missing(namespace: &str, kubectl: &Kubectl) -> Result<Vec<Missing>> {
    let in_namespace = format!("--namespace={namespace}");
    let table = kubectl.run(&[
        "get",
        NAMED,
        &in_namespace,
        "--no-headers",
        "--ignore-not-found",
    ])?;
    let table = String::from_utf8(table)?;
    let existing: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let workloads = kubectl.run(&[
        "get",
        WORKLOADS,
        &in_namespace,
        "--output=json",
        "--ignore-not-found",
    ])?;
    let workloads: Value = match workloads.trim_ascii() {
        [] => Value::Null,
        json => serde_json::from_slice(json).context("cannot read the workloads")?,
    };
    let mut missing: BTreeMap<Named, BTreeSet<String>> = BTreeMap::new();
    for workload in workloads
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |path| {
            workload
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let id = format!("{} {}", text("/kind"), text("/metadata/name"));
        let template = match text("/kind") {
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => "/spec/template",
        };
        let template = workload.pointer(template).unwrap_or(&Value::Null);
        for need in needs(template, "spec.template").with_context(|| id.clone())? {
            let name = format!("{}/{}", need.kind.name().to_ascii_lowercase(), need.name);
            if !need.optional && is_listed(need.kind) && !existing.contains(name.as_str()) {
                let object = Named {
                    kind: need.kind,
                    name: need.name,
                };
                missing.entry(object).or_default().insert(id.clone());
            }
        }
    }
    let missing = missing.into_iter().map(|(object, workloads)| Missing {
        namespace: namespace.to_owned(),
        object,
        workloads,
        taken_by: None,
    });
    Ok(missing.collect())
}

/// Whether objects of this kind are in [`NAMED`].
fn is_listed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ConfigMap | Kind::Secret | Kind::ServiceAccount | Kind::PersistentVolumeClaim
    )
}

/// The newest revision that has the object no more as a regular resource, while the one before it had.
fn taken_by(revisions: &Revisions, missing: &Missing) -> Option<(String, u64)> {
    let has = |record: &Record| {
        let release = Release::parse(record.clone()).ok()?;
        let is_it = |id: &ObjectId| {
            id.kind == missing.object.kind.name()
                && id.name == missing.object.name
                && id.namespace == missing.namespace
        };
        Some(release.resources.iter().any(|object| is_it(&object.id)))
    };
    let pairs = revisions.iter().zip(revisions.iter().skip(1));
    let mut taken = pairs
        .filter(|((_, before), (_, after))| has(before) == Some(true) && has(after) == Some(false));
    let (_, (number, record)) = taken.next_back()?;
    Some((record.name.clone(), *number))
}

/// What each rollback would lose. `None`: the release is uninstalled.
fn report(
    revisions: &Revisions,
    levels: &Levels,
    kubectl: &mut Kubectl,
) -> Result<Option<ReleaseReport>> {
    let Some((&last, newest)) = revisions.last_key_value() else {
        return Ok(None);
    };
    if newest.info.status == Status::Uninstalled {
        return Ok(None);
    }
    let current = Release::parse(newest.clone())?;
    // The same objects come up with each revision.
    let mut seen: BTreeMap<ObjectId, Live> = BTreeMap::new();
    let mut rollbacks = Vec::new();
    for (&to, record) in revisions.range(..last).rev() {
        let target = Release::parse(Record {
            version: last + 1,
            info: Info::of(Status::PendingRollback),
            apply_method: newest.apply_method,
            ..record.clone()
        })?;
        let live = |api_version: &str, id: &ObjectId| {
            let live = seen.entry(id.clone());
            live.or_insert_with(|| kubectl.look(api_version, id))
                .clone()
        };
        let check = Check::new(
            Operation::Rollback,
            Some(&current),
            target,
            levels.clone(),
            live,
        )?;
        let findings = check
            .findings()
            .map(|(level, finding)| (level, finding.clone()));
        rollbacks.push(Rollback {
            to,
            findings: findings.collect(),
        });
    }
    Ok(Some(ReleaseReport {
        namespace: newest.namespace.clone(),
        name: newest.name.clone(),
        revision: last,
        status: newest.info.status,
        rollbacks,
    }))
}
