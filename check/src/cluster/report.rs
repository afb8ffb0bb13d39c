//! What was found in a cluster, for people and for programs.
//!
//! In: the results, one after the other. Out: their text at once, or their JSON at the end. Refuses: nothing.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use helm_plan::Level;
use serde_json::{Value, json};

use super::{Evidence, Missing, Outdated, Page, ReleaseReport, Removal};
use crate::{
    report::{self, names, object},
    terminal,
};

/// For people: a line for each release, and what is wrong below it.
pub(crate) struct Text<W> {
    page: report::Page<W>,
    pub(crate) summary: Summary,
}

/// For programs: one JSON object, a line for each release. It is written as it comes, for the findings of thousands of releases are
/// large.
pub(crate) struct Json<W> {
    out: W,
    missing: Vec<Value>,
    outdated: Vec<Value>,
    failed: Vec<String>,
    pub(crate) summary: Summary,
}

/// What decides about the exit code.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    releases: usize,
    rejected: usize,
    missing: usize,
    outdated: usize,
    failed: usize,
}

impl Summary {
    pub(crate) fn is_bad(self) -> bool {
        self.rejected + self.missing > 0
    }

    /// Whether something could not be read.
    pub(crate) fn is_incomplete(self) -> bool {
        self.failed > 0
    }

    fn add(&mut self, report: &ReleaseReport) {
        self.releases += 1;
        self.rejected += report
            .rollbacks
            .iter()
            .filter(|one| one.is_rejected())
            .count();
    }
}

const PLAIN: Style = Style::new();

fn color(color: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(color.into()))
}

impl<W: Write> Text<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            page: report::Page(out),
            summary: Summary::default(),
        }
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        let Summary {
            releases,
            rejected,
            missing,
            outdated,
            failed,
        } = self.summary;
        if releases + missing + failed == 0 {
            self.page.plain(
                "No releases. Those that Helm stores in SQL (HELM_DRIVER=sql) cannot be read.",
            )?;
            return Ok(());
        }
        self.page.gap()?;
        self.page.plain(format!(
            "Releases: {releases}. Rollbacks that would lose something: {rejected}. Missing now: {missing}. Not rolled out since a config changed: {outdated}."
        ))?;
        Ok(())
    }
}

impl<W: Write> Page for Text<W> {
    fn release(&mut self, report: &ReleaseReport) -> Result<()> {
        self.summary.add(report);
        let ReleaseReport {
            namespace,
            name,
            revision,
            status,
            ..
        } = report;
        let title = format!("{namespace}/{name}");
        self.page.line(&[
            (Style::new().bold(), &title),
            (PLAIN, &format!(" revision {revision}, {status}")),
        ])?;
        if let more @ 1.. = report.not_looked_at {
            self.page.plain(format!(
                "  {more} live objects were not looked at, so their manifests decide"
            ))?;
        }
        for rollback in &report.rollbacks {
            let to = rollback.to;
            if rollback.findings.is_empty() {
                self.page
                    .plain(format!("  rollback to {to}: loses nothing"))?;
            }
            for (level, finding) in &rollback.findings {
                let style = match level {
                    Level::Reject => color(AnsiColor::Red),
                    Level::Rescue | Level::Warn | Level::Ignore => color(AnsiColor::Yellow),
                };
                self.page.line(&[
                    (PLAIN, &format!("  rollback to {to}: ")),
                    (style, level),
                    (PLAIN, &format!(" {finding}.")),
                ])?;
                if !finding.consumers.is_empty() {
                    self.page.plain(format!(
                        "    Needed by: {}.",
                        names(&finding.consumers).join(", ")
                    ))?;
                }
            }
        }
        Ok(())
    }

    fn outdated(&mut self, outdated: &Outdated) -> Result<()> {
        self.summary.outdated += 1;
        let Outdated {
            namespace,
            workload,
            config,
            evidence,
        } = outdated;
        let (word, text) = match evidence {
            Evidence::Record => (
                "outdated",
                format!(
                    "{workload} in namespace {namespace} started with an older content of {config}, as the policy recorded it"
                ),
            ),
            Evidence::Times {
                written,
                rolled_out,
            } => (
                "outdated?",
                format!(
                    "{workload} in namespace {namespace} was rolled out at {rolled_out}, and {config} was written at {written}"
                ),
            ),
        };
        self.page.line(&[
            (color(AnsiColor::Yellow), &word),
            (PLAIN, &format!(" {text}")),
        ])?;
        Ok(())
    }

    fn failed(&mut self, text: &str) -> Result<()> {
        self.summary.failed += 1;
        let style = color(AnsiColor::Yellow);
        self.page
            .line(&[(style, &"not looked at"), (PLAIN, &format!(" {text}"))])?;
        Ok(())
    }

    fn missing(&mut self, missing: &Missing) -> Result<()> {
        self.summary.missing += 1;
        let Missing {
            namespace,
            required,
            workloads,
            removed_by,
        } = missing;
        let workloads: Vec<_> = workloads.iter().map(String::as_str).collect();
        let removed_by = match removed_by {
            Some(Removal {
                release,
                revision,
                is_complete,
            }) => match is_complete {
                true => format!(" Revision {revision} of release {release} removed it."),
                false => format!(
                    " Revision {revision} of release {release}, which did not complete, may have removed it."
                ),
            },
            None => String::new(),
        };
        self.page.line(&[
            (color(AnsiColor::Red), &"missing"),
            (
                PLAIN,
                &format!(
                    " {required} in namespace {namespace}, required by {}.{removed_by}",
                    workloads.join(", ")
                ),
            ),
        ])?;
        Ok(())
    }
}

impl<W: Write> Json<W> {
    pub(crate) fn new(mut out: W) -> Result<Self> {
        write!(out, "{{\"releases\": [")?;
        Ok(Self {
            out,
            missing: Vec::new(),
            outdated: Vec::new(),
            failed: Vec::new(),
            summary: Summary::default(),
        })
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        let [missing, outdated] = [&self.missing, &self.outdated].map(|list| json!(list));
        let failed = json!(self.failed);
        let rest = format!(
            "\n], \"missing\": {missing:#}, \"outdated\": {outdated:#}, \"notLookedAt\": {failed:#}}}"
        );
        writeln!(self.out, "{}", terminal::json(&rest))?;
        Ok(())
    }
}

impl<W: Write> Page for Json<W> {
    fn outdated(&mut self, outdated: &Outdated) -> Result<()> {
        self.summary.outdated += 1;
        let (evidence, written, rolled_out) = match &outdated.evidence {
            Evidence::Record => ("record", None, None),
            Evidence::Times {
                written,
                rolled_out,
            } => ("times", Some(written), Some(rolled_out)),
        };
        self.outdated.push(json!({
            "namespace": outdated.namespace,
            "workload": outdated.workload,
            "config": outdated.config.to_string(),
            "evidence": evidence,
            "written": written,
            "rolledOut": rolled_out,
        }));
        Ok(())
    }

    fn failed(&mut self, text: &str) -> Result<()> {
        self.summary.failed += 1;
        self.failed.push(text.to_owned());
        Ok(())
    }

    fn release(&mut self, report: &ReleaseReport) -> Result<()> {
        self.summary.add(report);
        let rollbacks = report.rollbacks.iter().map(|rollback| {
            let findings = rollback.findings.iter().map(|(level, finding)| {
                json!({
                    "finding": finding.lint().name,
                    "level": level.name(),
                    "object": object(&finding.object),
                    "reason": finding.fact.to_string(),
                    "neededBy": names(&finding.consumers),
                    "url": finding.lint().url(),
                })
            });
            json!({
                "to": rollback.to,
                "rejected": rollback.is_rejected(),
                "findings": findings.collect::<Vec<_>>(),
            })
        });
        let release = json!({
            "namespace": report.namespace,
            "release": report.name,
            "revision": report.revision,
            "status": report.status.to_string(),
            "liveObjectsNotLookedAt": report.not_looked_at,
            "rollbacks": rollbacks.collect::<Vec<_>>(),
        });
        let comma = if self.summary.releases > 1 { "," } else { "" };
        write!(
            self.out,
            "{comma}\n{}",
            terminal::json(&release.to_string())
        )?;
        Ok(())
    }

    fn missing(&mut self, missing: &Missing) -> Result<()> {
        self.summary.missing += 1;
        let removed_by = missing.removed_by.as_ref();
        self.missing.push(json!({
            "namespace": missing.namespace,
            "object": missing.required.object.to_string(),
            "key": missing.required.key,
            "requiredBy": missing.workloads,
            "removedBy": removed_by.map(|Removal { release, revision, is_complete }| {
                json!({"release": release, "revision": revision, "complete": is_complete})
            }),
        }));
        Ok(())
    }
}
