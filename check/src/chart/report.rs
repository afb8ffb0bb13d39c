//! What was found between two versions of a chart: for people, for programs, and for a workflow of GitHub.
//!
//! In: a [`Report`]. Out: its text. Refuses: nothing.

use std::io::{self, Write};

use anstyle::Style;
use helm_plan::{Level, Operation};
use serde_json::{Value, json};

use super::{ChartFinding, Report};
use crate::{
    cli::Tool,
    report::{Page, entry, names, object},
    terminal,
};

/// For people.
pub(crate) fn text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page(out);
    let title = format!("chart {} → {}", report.old, report.new);
    page.line(&[(Style::new().bold(), &title)])?;
    if report.renderings.is_empty() {
        return page.plain("Not checked: nothing could be rendered.");
    }
    page.plain(format!("rendered with {}", report.renderings.join(", ")))?;
    page.gap()?;
    let (mut rejected, mut warnings) = (0, 0);
    for operation in [Operation::Upgrade, Operation::Rollback] {
        let mut found = report
            .findings
            .iter()
            .filter(|one| one.operation == operation)
            .peekable();
        if found.peek().is_some() {
            let way_back = way_back(report.tool);
            page.plain(match operation {
                Operation::Rollback => format!("The way back, with {way_back}:"),
                Operation::Install | Operation::Upgrade => "The upgrade:".to_owned(),
            })?;
            page.gap()?;
        }
        for one in found {
            self::one(one, report, &mut page)?;
            match one.level {
                Level::Reject => rejected += 1,
                Level::Rescue | Level::Warn => warnings += 1,
                Level::Ignore => {}
            }
        }
    }
    match (rejected, warnings) {
        (0, 0) if report.failed.is_empty() => page
            .plain("No findings: an upgrade keeps what its pods need, and so does the way back.")?,
        (0, 0) => page.plain("No findings in what was rendered.")?,
        (_, 1) => page.plain(format!("{rejected} rejected, 1 warning."))?,
        (_, _) => page.plain(format!("{rejected} rejected, {warnings} warnings."))?,
    }
    match report.failed.len() {
        0 => Ok(()),
        failed => page.plain(format!(
            "Renderings that failed and were not checked: {failed}."
        )),
    }
}

/// How one gets back to the old version.
fn way_back(tool: Tool) -> &'static str {
    match tool {
        Tool::Helm => "helm rollback",
        Tool::Argocd => "a sync to the old version",
    }
}

fn one(one: &ChartFinding, report: &Report, page: &mut Page<&mut impl Write>) -> io::Result<()> {
    entry(one.level, &one.entry, page, &|page| {
        if let Some(place) = &one.place {
            page.plain(format!("  In: {}:{}", place.file, place.line))?;
        }
        if one.renderings.len() < report.renderings.len() {
            page.plain(format!("  With: {}", one.renderings.join(", ")))?;
        }
        for caveat in &one.caveats {
            page.plain(format!("  Rendering cannot tell: {caveat}."))?;
        }
        Ok(())
    })
}

/// For programs.
pub(crate) fn json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|one| {
        let place = one.place.as_ref();
        json!({
            "operation": one.operation.name(),
            "finding": one.entry.rule.name,
            "level": one.level.name(),
            "object": object(&one.entry.object),
            "reason": one.entry.reason,
            "neededBy": names(&one.entry.consumers),
            "waysOut": one.entry.ways_out,
            "url": one.entry.rule.url,
            "file": place.map(|place| &place.file),
            "line": place.map(|place| place.line),
            "renderings": one.renderings,
            "caveats": one.caveats,
        })
    });
    json!({
        "tool": report.tool.name(),
        "old": report.old,
        "new": report.new,
        "renderings": report.renderings,
        "failed": report.failed,
        "rejected": report.is_rejected(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// Annotations: one workflow command for each finding
/// (docs.github.com, "Workflow commands for GitHub Actions", setting an error message).
pub(crate) fn github(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for failed in &report.failed {
        writeln!(out, "::error title=Not checked::{}", data(failed))?;
    }
    for one in &report.findings {
        let command = match one.level {
            Level::Reject => "error",
            Level::Rescue | Level::Warn => "warning",
            Level::Ignore => continue,
        };
        let mut properties = Vec::new();
        if let Some(place) = &one.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.push(format!("line={}", place.line));
        }
        properties.push(format!("title={}", property(one.entry.rule.name)));
        writeln!(
            out,
            "::{command} {}::{}",
            properties.join(","),
            data(&message(one, report.tool))
        )?;
    }
    Ok(())
}

/// In some sentences, for an annotation.
pub(super) fn message(one: &ChartFinding, tool: Tool) -> String {
    let entry = &one.entry;
    let way_back = match one.operation {
        Operation::Rollback => format!("On the way back, with {}: ", way_back(tool)),
        Operation::Install | Operation::Upgrade => String::new(),
    };
    let mut lines = vec![format!("{way_back}{}.", entry.sentence)];
    let consumers = names(&entry.consumers);
    if !consumers.is_empty() {
        lines.push(format!("Needed by: {}.", consumers.join(", ")));
    }
    lines.extend(entry.ways_out.iter().map(|way| format!("- {way}")));
    lines.push(format!("With {}.", one.renderings.join(", ")));
    lines.extend(
        one.caveats
            .iter()
            .map(|caveat| format!("Rendering cannot tell: {caveat}.")),
    );
    lines.push(format!("More: {}", entry.rule.url));
    terminal::lines(&lines.join("\n"))
}

/// The message of a workflow command (actions/toolkit, `command.ts`, escapeData).
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// One of its properties (escapeProperty).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
