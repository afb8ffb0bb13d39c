//! What was found between two versions of a chart, for code scanning.
//!
//! In: a [`Report`]. Out: a log in the Static Analysis Results Interchange Format 2.1.0. Refuses: nothing.

use helm_plan::{Level, findings::LINTS};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_sarif::sarif::{
    ArtifactLocation, Location, Message, MultiformatMessageString, PhysicalLocation, Region,
    ReportingDescriptor, Result, ResultLevel, Run, Sarif, Tool, ToolComponent,
};

use super::{ChartFinding, Report, place::Place, report};

/// The log of one run, with all charts.
pub(crate) fn log(reports: &[Report]) -> Sarif {
    let rules = LINTS.iter().map(|lint| {
        ReportingDescriptor::builder()
            .id(lint.name)
            .help_uri(lint.url())
            .short_description(
                MultiformatMessageString::builder()
                    .text(lint.summary)
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
    let findings = reports.iter().flat_map(|report| &report.findings);
    let results: Vec<_> = findings.filter_map(result).collect();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .build();
    Sarif::builder()
        .version(serde_json::json!("2.1.0"))
        .schema("https://json.schemastore.org/sarif-2.1.0.json")
        .runs(vec![run])
        .build()
}

fn result(one: &ChartFinding) -> Option<Result> {
    let level = match one.level {
        Level::Reject => ResultLevel::Error,
        Level::Rescue | Level::Warn => ResultLevel::Warning,
        Level::Ignore => return None,
    };
    let text = report::message(one);
    let locations: Vec<_> = one.place.iter().filter_map(location).collect();
    Some(
        Result::builder()
            .rule_id(one.finding.lint().name)
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
