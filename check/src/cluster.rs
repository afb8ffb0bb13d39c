//! All releases of a cluster or namespace, from their records.
//!
//! ```text
//! table of records ─► for each namespace: workloads, names ─► what is missing now ────────┐
//!                     └─► for each release: its revisions ─► each rollback ─► findings ───┴─► report
//! ```
//!
//! In: a cluster, through kubectl. Out: a [`ReleaseReport`] for each release, a [`Missing`] for each object or key that workloads
//! require and that does not exist, and an [`Outdated`] for each config that a workload runs in an older version. Refuses: a cluster whose
//! releases cannot be listed. What else cannot be read is said, and the rest is looked at. Only one release, or the workloads of one
//! namespace, are in memory at a time.
//!
//! # Incomplete support
//!
//! Releases that are stored in SQL are not seen.

mod applied;
mod missing;
mod outdated;
pub(crate) mod report;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, IsTerminal, Write},
};

use anyhow::Result;
use config_digest::content::{self, Content};
use helm_plan::{
    Finding, Level, Levels, Live, ObjectId, Operation, Record, Release, Status, record::Info,
};
use pod_references::Kind;
use serde_json::Value;

use self::{
    missing::{missing, removed},
    outdated::outdated,
    workload::workloads,
};
use crate::{check::Check, kubectl::Kubectl, saved::Saved};

/// Where the records of releases are (helm `pkg/storage/driver`).
const DRIVERS: [&str; 2] = ["secrets", "configmaps"];
/// What is known of a release.
pub(crate) struct ReleaseReport {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) status: Status,
    /// To each stored revision, newest first.
    pub(crate) rollbacks: Vec<Rollback>,
    /// How many live objects were not looked at, so that their manifests decide.
    pub(crate) not_looked_at: usize,
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

/// Something that live workloads require, and that does not exist.
pub(crate) struct Missing {
    pub(crate) namespace: String,
    pub(crate) required: Required,
    /// `Deployment web`
    pub(crate) workloads: BTreeSet<String>,
    /// `None`: no release has it, or the newest revision still has.
    pub(crate) removed_by: Option<Removal>,
}

/// The revision of a release that removed something.
#[derive(Debug, Clone)]
pub(crate) struct Removal {
    pub(crate) release: String,
    pub(crate) revision: u64,
    /// It failed or was interrupted, and Helm prunes last. It may have removed nothing.
    pub(crate) is_complete: bool,
}

/// A workload that runs an older version of a config than the cluster has.
pub(crate) struct Outdated {
    pub(crate) namespace: String,
    /// `Deployment web`
    pub(crate) workload: String,
    pub(crate) config: Named,
    pub(crate) evidence: Evidence,
}

/// What tells that a workload runs an older config.
pub(crate) enum Evidence {
    /// The record that the policy keeps on it.
    Record,
    /// The content of the config may have changed after the workload was rolled out last.
    Times { written: String, rolled_out: String },
}

/// A time of Kubernetes: in UTC and of one length, so that its text can be compared.
type Time = String;

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

impl Named {
    /// An object of a release, if it is of one of these kinds.
    fn of(id: &ObjectId, kinds: &[Kind]) -> Option<Self> {
        let is_kind = |kind: &&Kind| id.group.is_empty() && kind.name() == id.kind;
        let kind = *kinds.iter().find(is_kind)?;
        let name = id.name.clone();
        Some(Self { kind, name })
    }

    /// What is in it, if this is a config.
    fn content(&self, object: &Value) -> Result<Content, content::Error> {
        match self.kind {
            Kind::Secret => content::of_secret(object),
            _ => content::of_config_map(object),
        }
    }

    /// For kubectl: `configmaps`.
    fn resource(&self) -> String {
        resource(self.kind)
    }
}

fn resource(kind: Kind) -> String {
    format!("{}s", kind.name().to_ascii_lowercase())
}

/// An object, or a key of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Required {
    object: Named,
    key: Option<String>,
}

/// `ConfigMap app`, `key mode of ConfigMap app`
impl fmt::Display for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "key {key} of ")?;
        }
        self.object.fmt(f)
    }
}

/// Who takes the results, one after the other.
pub(crate) trait Page {
    fn release(&mut self, report: &ReleaseReport) -> Result<()>;
    fn missing(&mut self, missing: &Missing) -> Result<()>;
    fn outdated(&mut self, outdated: &Outdated) -> Result<()>;
    /// What could not be read.
    fn failed(&mut self, text: &str) -> Result<()>;
}

/// A release in the table of records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    driver: &'static str,
    name: String,
}

/// Which revision of which release has removed something, by its namespace.
type Removed = BTreeMap<(String, Required), Removal>;

/// Looks at all releases. Returns how many there are.
pub(crate) fn check(
    namespace: Option<&str>,
    levels: &Levels,
    kubectl: &mut Kubectl,
    page: &mut dyn Page,
) -> Result<usize> {
    let releases = releases(namespace, kubectl)?;
    let total = releases.values().map(BTreeSet::len).sum();
    let (mut done, mut removed, mut applied) = (0, Removed::new(), applied::Configs::new());
    // A release need not be where its records are.
    let mut namespaces = BTreeSet::new();
    for (stored_in, releases) in &releases {
        for release in releases {
            done += 1;
            progress(Some((done, total)));
            let looked = look_at(stored_in, release, levels, kubectl);
            progress(None);
            match looked {
                Ok(seen) => {
                    for report in &seen.reports {
                        page.release(report)?;
                    }
                    removed.extend(seen.removed);
                    applied.extend(seen.applied);
                    namespaces.extend(seen.namespaces);
                }
                Err(error) => {
                    page.failed(&format!(
                        "release {} in namespace {stored_in}: {error:#}",
                        release.name
                    ))?;
                }
            }
        }
    }
    for namespace in &namespaces {
        progress(None);
        let mut failed = |text: String| page.failed(&text);
        let workloads = workloads(namespace, kubectl, &mut failed)?;
        match missing(namespace, &workloads, &removed, kubectl, &mut failed) {
            Ok(missing) => {
                for object in &missing {
                    page.missing(object)?;
                }
            }
            Err(error) => page.failed(&format!(
                "what is missing in namespace {namespace}: {error:#}"
            ))?,
        }
        match outdated(namespace, &workloads, &applied, kubectl) {
            Ok(outdated) => {
                for one in &outdated {
                    page.outdated(one)?;
                }
            }
            Err(error) => page.failed(&format!(
                "the age of configs in namespace {namespace}: {error:#}"
            ))?,
        }
    }
    Ok(total)
}

/// What is seen of one release. It may be gone by now.
#[derive(Default)]
struct Seen {
    reports: Vec<ReleaseReport>,
    removed: Removed,
    applied: applied::Configs,
    namespaces: BTreeSet<String>,
}

/// Whether Helm has done all of a revision. Of another, nobody knows what it did.
fn is_complete(record: &Record) -> bool {
    matches!(
        record.info.status,
        Status::Deployed | Status::Superseded | Status::Uninstalled
    )
}

fn look_at(
    stored_in: &str,
    release: &Listed,
    levels: &Levels,
    kubectl: &mut Kubectl,
) -> Result<Seen> {
    let selector = format!("--selector=owner=helm,name={}", release.name);
    let get = [
        "get",
        release.driver,
        "--namespace",
        stored_in,
        &selector,
        "--output=json",
    ];
    let records = String::from_utf8(kubectl.run(&get)?)?;
    let mut saved = Saved::default();
    saved.add(&records)?;
    let mut seen = Seen::default();
    for revisions in saved.releases() {
        let parsed = revisions
            .iter()
            .map(|(number, record)| Ok((*number, record, Release::parse(record.clone())?)))
            .collect::<Result<Vec<_>>>()?;
        seen.removed.extend(removed(&parsed));
        let created = |record: &Record| saved.created(record);
        seen.applied.extend(applied::applied(&parsed, created));
        let objects = parsed.iter().flat_map(|(_, _, release)| &release.resources);
        let workloads = objects.filter(|object| {
            let has = |path| object.body.pointer(path).is_some();
            has("/spec/template") || has("/spec/jobTemplate")
        });
        seen.namespaces
            .extend(workloads.map(|object| object.id.namespace.clone()));
        seen.reports.extend(report(&parsed, levels, kubectl)?);
    }
    Ok(seen)
}

/// On a terminal, one line that is written over. `None` clears it.
fn progress(of: Option<(usize, usize)>) {
    if !io::stderr().is_terminal() {
        return;
    }
    match of {
        Some((done, total)) => eprint!("\r\x1b[2K{done} of {total} releases"),
        None => eprint!("\r\x1b[2K"),
    }
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

/// What each rollback would lose. `None`: the release is uninstalled.
fn report(
    revisions: &[(u64, &Record, Release)],
    levels: &Levels,
    kubectl: &mut Kubectl,
) -> Result<Option<ReleaseReport>> {
    let Some(((last, newest, current), older)) = revisions
        .split_last()
        .map(|(last, older)| ((last.0, last.1, &last.2), older))
    else {
        return Ok(None);
    };
    if newest.info.status == Status::Uninstalled {
        return Ok(None);
    }
    // The same objects come up with each revision.
    let mut seen: BTreeMap<ObjectId, Live> = BTreeMap::new();
    let (mut rollbacks, mut not_looked_at) = (Vec::new(), 0);
    for (to, record, _) in older.iter().rev() {
        let target = Release::parse(Record {
            version: last.saturating_add(1),
            info: Info::of(Status::PendingRollback),
            apply_method: newest.apply_method,
            ..(*record).clone()
        })?;
        let live = |api_version: &str, id: &ObjectId| {
            let live = seen.entry(id.clone());
            live.or_insert_with(|| kubectl.look(api_version, id))
                .clone()
        };
        let check = Check::new(
            Operation::Rollback,
            Some(current),
            target,
            levels.clone(),
            live,
        )?;
        not_looked_at = not_looked_at.max(check.assessment.not_looked_at);
        let findings = check
            .findings()
            .map(|(level, finding)| (level, finding.clone()));
        rollbacks.push(Rollback {
            to: *to,
            findings: findings.collect(),
        });
    }
    Ok(Some(ReleaseReport {
        namespace: newest.namespace.clone(),
        name: newest.name.clone(),
        revision: last,
        status: newest.info.status,
        rollbacks,
        not_looked_at,
    }))
}
