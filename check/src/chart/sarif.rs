//! What was found between two versions of a chart, for code scanning.
//!
//! In: a [`Report`]. Out: a log in the Static Analysis Results Interchange Format 2.1.0. Refuses: nothing.

use helm_plan::{Level, findings::LINTS};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_sarif::sarif::{
    ArtifactLocation, Invocation, Location, Message, MultiformatMessageString, Notification,
    PhysicalLocation, Region, ReportingDescriptor, Result, ResultLevel, Run, Sarif, Tool,
    ToolComponent,
};

use super::{ChartFinding, Report, argocd, place::Place, report};
use crate::{cli, report::Rule};

/// The log of one run, with all charts.
pub(crate) fn log(reports: &[Report]) -> Sarif {
    let of_helm = LINTS.iter().map(|lint| Rule::from(*lint));
    let rules = of_helm.chain(argocd::Lint::rules()).map(|rule| {
        ReportingDescriptor::builder()
            .id(rule.name)
            .help_uri(rule.url)
            .short_description(
                MultiformatMessageString::builder()
                    .text(rule.summary)
                    .build(),
            )
            .build()
    });
    let driver = ToolComponent::builder()
        .name("rollout-guard-check")
        .information_uri(env!("CARGO_PKG_REPOSITORY"))
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(rules.collect::<Vec<_>>())
        .build();
    let results: Vec<_> = reports
        .iter()
        .flat_map(|report| {
            let findings = report.findings.iter();
            findings.filter_map(|one| result(one, report.tool))
        })
        .collect();
    // Without them, what could not be rendered would look as if nothing was found.
    let failed = reports.iter().flat_map(|report| &report.failed);
    let failed: Vec<_> = failed
        .map(|text| {
            Notification::builder()
                .level(serde_json::json!("error"))
                .message(Message::builder().text(text.clone()).build())
                .build()
        })
        .collect();
    let invocation = Invocation::builder()
        .execution_successful(failed.is_empty())
        .tool_execution_notifications(failed)
        .build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .invocations(vec![invocation])
        .results(results)
        .build();
    Sarif::builder()
        .version(serde_json::json!("2.1.0"))
        .schema("https://json.schemastore.org/sarif-2.1.0.json")
        .runs(vec![run])
        .build()
}

fn result(one: &ChartFinding, tool: cli::Tool) -> Option<Result> {
    let level = match one.level {
        Level::Reject => ResultLevel::Error,
        Level::Rescue | Level::Warn => ResultLevel::Warning,
        Level::Ignore => return None,
    };
    let text = report::message(one, tool);
    let locations: Vec<_> = one.place.iter().filter_map(location).collect();
    Some(
        Result::builder()
            .rule_id(one.entry.rule.name)
            .level(level)
            .message(Message::builder().text(text).build())
            .locations(locations)
            .build(),
    )
}

/// What a path of a URI may have as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn location(place: &Place) -> Option<Location> {
    let path = utf8_percent_encode(place.file.trim_start_matches("./"), PATH);
    let artifact = ArtifactLocation::builder().uri(path.to_string()).build();
    let line = i64::try_from(place.line).ok()?;
    let region = Region::builder().start_line(line).build();
    let physical = PhysicalLocation::builder()
        .artifact_location(artifact)
        .region(region)
        .build();
    Some(Location::builder().physical_location(physical).build())
}
