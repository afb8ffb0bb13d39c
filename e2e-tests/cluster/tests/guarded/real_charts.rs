//! Real charts in several versions: each claim of `rollout-guard-check` is checked by doing it. Only `make real-charts` runs this.
//!
//! ```text
//! <folder>/<chart>/<version>/Chart.yaml
//! <folder>/<chart>/values.yaml             for all its versions, if they need some
//! ```
//!
//! A chart is installed in its oldest version and upgraded to each of the others, then rolled back to each older revision and forth again
//! to the last one.
//!
//! | claim | what is compared, after each step |
//! | --- | --- |
//! | `cluster`: an object or a key is missing | what live workloads require, read by [`state`] |
//! | `cluster`: a workload runs an older config | the content of the config now and when the pod template changed last |
//! | `cluster`: what a rollback loses | the rollback |
//! | `chart OLD NEW`: what an upgrade loses, and the way back | the upgrade, and the first rollback |
//!
//! What is claimed and did not happen is a fault, and so is what happened and was not claimed. A step that Helm cannot do is only noted:
//! some charts need what this cluster does not have. A chart of which no rollback could be checked fails.

mod claim;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Output, Suite};
use serde_json::Value;

use self::claim::Claim;
use self::state::{Item, Started, State};
use crate::check::check;

pub(crate) fn add_to(suite: &mut Suite) {
    let Ok(folder) = std::env::var("CHARTS") else {
        return;
    };
    for chart in charts(&folder).expect("CHARTS names a folder of charts") {
        suite.case(format!("real charts: {}", chart.name), move |case| {
            let mut tally = Tally::default();
            for (number, helm) in HelmVersion::ALL.into_iter().enumerate() {
                let mut history = History::new(case.again(number)?, helm, &chart, &mut tally)?;
                if let Err(error) = history.run() {
                    history.fault("error", &format!("{error:#}"));
                }
                history.end()?;
            }
            // The next chart brings its own.
            let delete = ["delete", "crds", "--all", "--wait=false"];
            case.kubectl(&delete)?.success()?;
            tally.end(&chart.name)
        });
    }
}

struct Chart {
    /// Also the name of its release.
    name: String,
    /// Their folders, the oldest first.
    versions: Vec<String>,
    /// Flags for helm.
    values: Vec<String>,
}

fn charts(folder: &str) -> Result<Vec<Chart>> {
    let mut charts = Vec::new();
    for folder in entries(folder)? {
        let mut versions = entries(&folder)?;
        versions.retain(|version| Path::new(version).join("Chart.yaml").exists());
        versions.sort_by_key(|version| numbers(version));
        let mut values = vec![format!("{folder}/values.yaml")];
        values.retain(|file| Path::new(file).exists());
        charts.push(Chart {
            name: name(&folder).to_owned(),
            versions,
            values: values
                .iter()
                .map(|file| format!("--values={file}"))
                .collect(),
        });
    }
    charts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(charts)
}

fn entries(folder: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.to_owned())?;
    let path = |entry: DirEntry| format!("{folder}/{}", entry.file_name().display());
    entries.map(|entry| Ok(path(entry?))).collect()
}

/// The last part of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// 1.10.0 comes after 1.9.0.
fn numbers(version: &str) -> Vec<u64> {
    let parts = name(version).split('.');
    parts.map(|part| part.parse().unwrap_or_default()).collect()
}

/// What came of all this.
#[derive(Debug, Default)]
struct Tally {
    installed: usize,
    upgraded: usize,
    rolled_back: usize,
    /// States of which everything that is missing was compared, and how many objects and keys were.
    states: usize,
    missing: usize,
    /// Workloads that run an older config, and hints of that which were not so.
    outdated: usize,
    only_hints: usize,
    /// What was there before a step and is required after it.
    lost: usize,
    /// What was to be rejected and came true, and what the API server does not show.
    came_true: usize,
    not_seen: usize,
    /// What needs a look by people.
    notes: Vec<String>,
    faults: Vec<String>,
}

impl Tally {
    /// Says everything now: other charts may take hours.
    fn end(mut self, chart: &str) -> Result<()> {
        let notes = std::mem::take(&mut self.notes);
        let faults = std::mem::take(&mut self.faults);
        eprintln!("\n{chart}: {self:?}");
        let notes = notes.iter().map(|note| format!("note: {note}"));
        let said = faults.iter().map(|fault| format!("fault: {fault}"));
        notes.chain(said).for_each(|line| eprintln!("  {line}"));
        ensure!(faults.is_empty(), "{} faults", faults.len());
        ensure!(self.rolled_back > 0, "no rollback could be checked");
        Ok(())
    }
}

/// A release of a chart, in a namespace of its own.
struct History<'a> {
    case: Case<'a>,
    helm: HelmVersion,
    chart: &'a Chart,
    tally: &'a mut Tally,
    /// After the last step.
    state: State,
    started: Started,
    /// What `cluster` says of it.
    report: Value,
}

impl<'a> History<'a> {
    fn new(
        case: Case<'a>,
        helm: HelmVersion,
        chart: &'a Chart,
        tally: &'a mut Tally,
    ) -> Result<History<'a>> {
        // A controller makes these in each namespace of a real cluster.
        let usual = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}\n---\n\
            apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-root-ca.crt}\ndata: {ca.crt: one}\n";
        case.cluster.apply(&case.namespace, usual)?.success()?;
        Ok(History {
            case,
            helm,
            chart,
            tally,
            state: State::default(),
            started: Started::default(),
            report: Value::Null,
        })
    }

    fn run(&mut self) -> Result<()> {
        let chart = self.chart;
        let (oldest, newer) = chart.versions.split_first().context("no versions")?;
        let step = format!("install {}", name(oldest));
        let install = ["install", &chart.name, oldest, "--take-ownership"];
        let installed = self.helm(&install, &chart.values)?;
        if !installed.status.success() {
            self.note(&step, &reason(&installed));
            return Ok(());
        }
        self.tally.installed += 1;
        self.look(&step)?;
        // What users, operators and the Jobs of charts make. No Jobs run here.
        let supplies = self.state.manifests_of_missing();
        if !supplies.is_empty() {
            let Case {
                cluster, namespace, ..
            } = &self.case;
            cluster.apply(namespace, &supplies)?.success()?;
            self.look("supplies")?;
        }
        let mut current = Some(oldest);
        let mut way_back = None;
        for version in newer {
            way_back = self.upgrade(current, version)?;
            // After a failed upgrade, the live objects are of more than one version.
            current = way_back.is_some().then_some(version);
        }
        let last = self.report.pointer("/releases/0/revision");
        let last = last.and_then(Value::as_u64).context("no revision")?;
        for to in (1..last).rev() {
            self.roll_back(to, way_back.take())?;
            if to > 1 {
                self.roll_back(last, None)?;
            }
        }
        Ok(())
    }

    /// Upgrades, and compares with what `chart` says. Returns the findings of the way back. `None`: it failed.
    fn upgrade(&mut self, old: Option<&String>, new: &str) -> Result<Option<Vec<Value>>> {
        let chart = self.chart;
        let (upgrade, way_back) = match old {
            Some(old) => self.chart_findings(old, new)?,
            None => Default::default(),
        };
        let claims = old.map(|_| self.claims(&upgrade)).transpose()?;
        // What was a hook becomes a regular resource in some charts.
        let upgrade = ["upgrade", &chart.name, new, "--take-ownership", NO_LIMIT];
        let done = self.helm(&upgrade, &chart.values)?;
        let step = format!("upgrade to {}", name(new));
        let is_done = self.compare(&step, claims.as_slice(), &done)?;
        self.tally.upgraded += usize::from(is_done);
        Ok(is_done.then_some(way_back))
    }

    /// Rolls back, and compares with what `cluster` says, and with what `chart` has said.
    fn roll_back(&mut self, to: u64, way_back: Option<Vec<Value>>) -> Result<()> {
        let rollbacks = array(&self.report, "/releases/0/rollbacks").iter();
        let mut rollbacks = rollbacks.filter(|one| one.get("to") == Some(&to.into()));
        let rollback = rollbacks.next().context("no such rollback")?;
        let of_cluster = array(rollback, "/findings").to_vec();
        let findings = [Some(of_cluster), way_back].into_iter().flatten();
        let claims = findings.map(|findings| self.claims(&findings));
        let claims = claims.collect::<Result<Vec<_>>>()?;
        let done = self.helm(
            &["rollback", &self.chart.name, &to.to_string(), NO_LIMIT],
            &[],
        )?;
        let is_done = self.compare(&format!("rollback to {to}"), &claims, &done)?;
        self.tally.rolled_back += usize::from(is_done);
        Ok(())
    }

    fn helm(&self, arguments: &[&str], values: &[String]) -> Result<Output> {
        // Hooks are ended at once, but this machine may be busy.
        let values = values.iter().map(String::as_str);
        let arguments = arguments.iter().copied().chain(values);
        let arguments: Vec<_> = arguments.chain(["--timeout=5m"]).collect();
        let output = self.case.helm(self.helm, &arguments)?;
        self.remove_unserved()?;
        Ok(output)
    }

    /// The webhooks and API services of the chart. Nobody serves them here, so they would block everything else in the cluster.
    fn remove_unserved(&self) -> Result<()> {
        const KINDS: &str = "validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicybindings,apiservices";
        let get = ["get", KINDS, "--output=json"];
        let list: Value = serde_json::from_str(&self.case.kubectl(&get)?.success()?.stdout)?;
        let namespace = "/metadata/annotations/meta.helm.sh~1release-namespace";
        let is_ours = |object: &&Value| string(object, namespace) == self.case.namespace;
        for object in array(&list, "/items").iter().filter(is_ours) {
            let kind = string(object, "/kind");
            let name = string(object, "/metadata/name");
            let delete = ["delete", "--ignore-not-found", kind, name];
            self.case.kubectl(&delete)?.success()?;
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let uninstall = ["uninstall", &self.chart.name, "--ignore-not-found"];
        self.helm(&uninstall, &[])?;
        // The next history has a namespace of its own.
        let delete = ["delete", "namespace", "--wait=false", &self.case.namespace];
        self.case.kubectl(&delete)?.success()?;
        Ok(())
    }

    /// What `chart` says: of the upgrade, and of the way back.
    fn chart_findings(&self, old: &str, new: &str) -> Result<(Vec<Value>, Vec<Value>)> {
        let apply = match self.helm {
            HelmVersion::V3 => "--apply=client",
            HelmVersion::V4 => "--apply=server",
        };
        let release = format!("--release={}", self.chart.name);
        let arguments = ["chart", old, new, &release, apply, "--output=json"];
        let version = self
            .case
            .kubectl(&["version", "--output=json"])?
            .success()?;
        let version: Value = serde_json::from_str(&version.stdout)?;
        let version = string(&version, "/serverVersion/gitVersion");
        let version = format!("--kube-version={version}");
        let values = self.chart.values.iter().map(String::as_str);
        let flags: Vec<_> = values.chain([version.as_str()]).collect();
        let output = check(&self.case, self.helm, &arguments, &flags)?;
        let report: Value =
            serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
        let renderings = array(&report, "/0/renderings");
        ensure!(!renderings.is_empty(), "{output}");
        let of = |operation: &str| {
            let findings = array(&report, "/0/findings").iter();
            // Not those of the values for tests that are in a chart.
            let findings = findings.filter(|finding| {
                let renderings = array(finding, "/renderings");
                string(finding, "/operation") == operation
                    && renderings.contains(&"the default values".into())
            });
            findings.cloned().collect()
        };
        Ok((of("upgrade"), of("rollback")))
    }

    fn claims(&self, findings: &[Value]) -> Result<Vec<Claim>> {
        let claims = findings.iter().map(|one| Claim::new(&self.case, one));
        claims.collect()
    }

    /// Looks at everything again, and compares what is missing with what `cluster` says. Returns the state before.
    fn look(&mut self, step: &str) -> Result<State> {
        let state = State::of(&self.case)?;
        let output = check(&self.case, self.helm, &["cluster", "--output=json"], &[])?;
        self.report = serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
        let not_looked_at = array(&self.report, "/notLookedAt");
        ensure!(not_looked_at.is_empty(), "{not_looked_at:?}");
        let said = array(&self.report, "/missing").iter().map(|missing| {
            let key = missing.get("key").and_then(Value::as_str);
            let item = Item::said(string(missing, "/object"), key);
            let by = array(missing, "/requiredBy").iter();
            let by = by.filter_map(|name| name.as_str().map(str::to_owned));
            (item, by.collect::<BTreeSet<_>>())
        });
        let said: BTreeMap<_, _> = said.collect();
        let seen = state.missing();
        let seen: BTreeMap<_, _> = seen.map(|(item, by)| (item.clone(), by.clone())).collect();
        self.tally.states += 1;
        self.tally.missing += seen.len();
        if said != seen {
            let fault = format!("missing is {seen:?}, and cluster says {said:?}");
            self.fault(step, &fault);
        }
        let said = array(&self.report, "/outdated").iter().map(|outdated| {
            let config = Item::said(string(outdated, "/config"), None);
            (string(outdated, "/workload").to_owned(), config)
        });
        let said: BTreeSet<_> = said.collect();
        let seen = self.started.outdated(&state);
        self.tally.outdated += seen.len();
        self.tally.only_hints += said.difference(&seen).count();
        for (workload, config) in seen.difference(&said) {
            let fault = format!(
                "{workload} runs an older content of {config}, and cluster does not say so"
            );
            self.fault(step, &fault);
        }
        Ok(std::mem::replace(&mut self.state, state))
    }

    /// Compares what was done with each list of what was claimed. Returns whether it was done.
    fn compare(&mut self, step: &str, claims: &[Vec<Claim>], done: &Output) -> Result<bool> {
        let before = self.look(step)?;
        if !done.status.success() {
            let is_conflict = done.stderr.contains("already exists");
            match claims.iter().flatten().any(Claim::is_conflict) {
                false if is_conflict => self.fault(step, &reason(done)),
                _ => self.note(step, &reason(done)),
            }
            return Ok(false);
        }
        let rejected = |claim: &&Claim| claim.is_rejected();
        for claim in claims.iter().flatten().filter(rejected) {
            match claim.is_true(&self.case, &self.state)? {
                Some(true) => self.tally.came_true += 1,
                Some(false) => self.fault(step, &format!("this is not true: {claim}")),
                None => {
                    self.tally.not_seen += 1;
                    self.note(step, &format!("this cannot be seen here: {claim}"));
                }
            }
        }
        for lost in self.state.lost_since(&before) {
            self.tally.lost += 1;
            let is_about = |claim: &&Claim| claim.is_about(&lost);
            let of_it = claims.iter().map(|list| list.iter().filter(is_about));
            let of_it: Vec<Vec<_>> = of_it.map(Iterator::collect).collect();
            if of_it.iter().any(Vec::is_empty) {
                self.fault(step, &format!("{lost} was lost, and nothing says so"));
            } else if !of_it.iter().flatten().any(|claim| claim.is_rejected()) {
                self.note(step, &format!("{lost} was lost after a warning only"));
            }
        }
        Ok(true)
    }

    fn note(&mut self, step: &str, text: &str) {
        self.tally
            .notes
            .push(format!("{}: {step}: {text}", self.helm));
    }

    fn fault(&mut self, step: &str, text: &str) {
        self.tally
            .faults
            .push(format!("{}: {step}: {text}", self.helm));
    }
}

/// Each step of a history counts.
const NO_LIMIT: &str = "--history-max=0";

/// Why Helm failed.
fn reason(output: &Output) -> String {
    let reason = output.stderr.split_once("Error: ");
    let reason = reason.map_or(output.stderr.as_str(), |(_, reason)| reason);
    reason.chars().take(400).collect()
}

fn array<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    let array = value.pointer(path).and_then(Value::as_array);
    array.map(Vec::as_slice).unwrap_or_default()
}

fn string<'v>(value: &'v Value, path: &str) -> &'v str {
    let text = value.pointer(path).and_then(Value::as_str);
    text.unwrap_or_default()
}
