//! An upgrade from one version of a chart to another, and the way back, before anything is installed.
//!
//! ```text
//! two versions ─► source ─► render, for each file of values ─┬─► two revisions ─► check ─┬─► findings, each once, with its place
//!                                                            └─► argocd ────────────────┘
//! ```
//!
//! In: two folders, archives or references. Out: a [`Report`]. Refuses: a chart that Helm does not render.

mod argocd;
mod place;
mod render;
pub(crate) mod report;
pub(crate) mod sarif;
mod source;

use anyhow::Result;
use helm_plan::{
    ApplyMethod, Level, Levels, Live, Operation, Record, Release, Status, manifest, record::Info,
    rendered,
};

pub(crate) use self::source::Chart;
use self::{
    place::{Named, Place, Templates},
    render::{Values, render},
};
use crate::{
    check::Check,
    cli::{Apply, ChartOptions, Tool},
    report::Entry,
    terminal,
};

/// What was found between two versions of a chart.
pub(crate) struct Report {
    /// What would install it.
    pub(crate) tool: Tool,
    /// As they were named.
    pub(crate) old: String,
    pub(crate) new: String,
    /// What they were rendered with: `the default values`, `ci/prod-values.yaml`.
    pub(crate) renderings: Vec<String>,
    pub(crate) findings: Vec<ChartFinding>,
    /// What Helm did not render.
    pub(crate) failed: Vec<String>,
}

/// A finding, however many files of values lead to it.
pub(crate) struct ChartFinding {
    /// An upgrade, or the rollback from the new version to the old one.
    pub(crate) operation: Operation,
    /// What the policy would do, or [`Level::Reject`] if it is certain with Argo CD. On the way back, a warning at most.
    pub(crate) level: Level,
    pub(crate) entry: Entry,
    /// What leads to it.
    pub(crate) renderings: Vec<String>,
    /// Where to mend it. `None` if the new version is in no folder.
    pub(crate) place: Option<Place>,
    /// What rendering cannot tell about it.
    pub(crate) caveats: Vec<&'static str>,
}

impl Report {
    pub(crate) fn is_rejected(&self) -> bool {
        self.findings.iter().any(|one| one.level == Level::Reject)
    }

    /// Of a chart that cannot even be rendered.
    pub(crate) fn not_checked(chart: &str, tool: Tool, error: &anyhow::Error) -> Self {
        Self {
            tool,
            old: chart.to_owned(),
            new: chart.to_owned(),
            renderings: Vec::new(),
            findings: Vec::new(),
            failed: vec![format!("{chart}: {error:#}")],
        }
    }

    fn add(&mut self, found: ChartFinding, rendering: &str) {
        let known = self
            .findings
            .iter_mut()
            .find(|known| known.operation == found.operation && known.entry == found.entry);
        match known {
            Some(known) => known.renderings.push(rendering.to_owned()),
            None => self.findings.push(found),
        }
    }
}

/// Renders and compares them.
pub(crate) fn check(
    old: &Chart,
    new: &Chart,
    options: &ChartOptions,
    levels: &Levels,
) -> Result<Report> {
    let mut report = Report {
        tool: options.tool,
        old: old.name.clone(),
        new: new.name.clone(),
        renderings: Vec::new(),
        findings: Vec::new(),
        failed: Vec::new(),
    };
    let all = Values::of(old, new)?;
    let has_files = all.len() > 1;
    let named = Named::below(&new.folder);
    let mut without_files = None;
    for values in all {
        match compare(old, new, &named, &values, options, levels) {
            Ok(found) => {
                for one in found {
                    report.add(one, &values.name);
                }
                report.renderings.push(values.name);
            }
            // A chart that requires values has them in its files.
            Err(error) if values.new.is_none() && has_files => without_files = Some(error),
            Err(error) => {
                let failed = format!("{} with {}: {error:#}", report.new, values.name);
                report.failed.push(failed);
            }
        }
    }
    if let Some(error) = without_files
        && !report.renderings.is_empty()
    {
        let note = format!(
            "Note: {} does not render with the default values, and is only checked with its ci/*-values.yaml: {error:#}",
            report.new
        );
        eprintln!("{}", terminal::foreign(&note));
    }
    Ok(report)
}

/// What is found with one file of values.
fn compare(
    old: &Chart,
    new: &Chart,
    named: &Named,
    values: &Values,
    options: &ChartOptions,
    levels: &Levels,
) -> Result<Vec<ChartFinding>> {
    let rendered = Rendered {
        old: render(old, values.old.as_deref(), false, options)?,
        new: render(new, values.new.as_deref(), true, options)?,
    };
    let templates = Templates::of(new, named, &rendered.old, &rendered.new, options)?;
    let mut all = Vec::new();
    for operation in [Operation::Upgrade, Operation::Rollback] {
        let found = match options.tool {
            Tool::Helm => rendered.with_helm(operation, options, levels)?,
            Tool::Argocd => rendered.with_argo_cd(operation, options)?,
        };
        for (level, entry) in found {
            let level = match (operation, level) {
                (Operation::Rollback, Level::Reject) => Level::Warn,
                (_, level) => level,
            };
            let (place, caveats) = templates.place(&entry);
            all.push(ChartFinding {
                operation,
                level,
                entry,
                renderings: vec![values.name.clone()],
                place,
                caveats,
            });
        }
    }
    Ok(all)
}

/// What `helm template` prints for both.
struct Rendered {
    old: String,
    new: String,
}

impl Rendered {
    fn with_helm(
        &self,
        operation: Operation,
        options: &ChartOptions,
        levels: &Levels,
    ) -> Result<Vec<(Level, Entry)>> {
        let revision = |text: &str, number, status| -> Result<Release> {
            let apply_method = match options.apply {
                Apply::Client => ApplyMethod::ClientSide,
                Apply::Server => ApplyMethod::ServerSide,
            };
            let (release, namespace) = (&options.release, &options.namespace);
            let record = rendered::release(text, release, namespace, number, apply_method)?;
            Ok(Release::parse(Record {
                info: Info::of(status),
                ..record
            })?)
        };
        let (current, target) = match operation {
            Operation::Rollback => (
                revision(&self.new, 2, Status::Deployed)?,
                revision(&self.old, 3, Status::PendingRollback)?,
            ),
            Operation::Install | Operation::Upgrade => (
                revision(&self.old, 1, Status::Deployed)?,
                revision(&self.new, 2, Status::PendingUpgrade)?,
            ),
        };
        let check = Check::new(operation, Some(&current), target, levels.clone(), |_, _| {
            Live::Unknown
        })?;
        let findings = check
            .findings()
            .map(|(level, finding)| (level, finding.into()));
        Ok(findings.collect())
    }

    fn with_argo_cd(
        &self,
        operation: Operation,
        options: &ChartOptions,
    ) -> Result<Vec<(Level, Entry)>> {
        let parse = |text| manifest::parse(text, &options.namespace);
        let (old, new) = (parse(&self.old)?, parse(&self.new)?);
        let findings = match operation {
            // What the old version does by itself, it does already.
            Operation::Rollback => {
                let mut findings = argocd::findings(&new, &old)?;
                findings.retain(argocd::Finding::is_of_change);
                findings
            }
            Operation::Install | Operation::Upgrade => argocd::findings(&old, &new)?,
        };
        let entries = findings
            .iter()
            .map(|finding| (finding.level(), finding.into()));
        Ok(entries.collect())
    }
}
