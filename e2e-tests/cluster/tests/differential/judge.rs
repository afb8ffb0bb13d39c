//! One scenario: run it, plan it, and compare the two.

use std::fmt::Write;

use anyhow::Result;
use cluster_tests::Case;
use helm_plan::findings::Lint;
use helm_plan::lifecycle::Operation;

use crate::compare::{Course, compare};
use crate::damage;
use crate::expect::Expectation;
use crate::run::{Recorded, run};
use crate::scenario::Scenario;

/// A command on which the plan and Helm agree.
#[derive(Debug)]
pub(crate) enum Agreed {
    /// Helm refused before it wrote a record.
    Refused,
    /// The record of the current revision is gone.
    NotCompared(Operation),
    Planned {
        operation: Operation,
        course: Course,
        findings: Vec<Found>,
    },
}

/// What is counted and checked of a finding.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) lint: &'static Lint,
    pub(crate) object: String,
    pub(crate) uncertain: bool,
}

/// A report of where the plan and Helm differ.
pub(crate) struct Disagreement(pub(crate) String);

/// Runs a scenario and compares each command with its plan.
///
/// # Errors
/// The scenario could not be run.
pub(crate) fn judge(case: &Case, scenario: &Scenario) -> Result<Result<Vec<Agreed>, Disagreement>> {
    let mut agreed = Vec::new();
    for recorded in run(case, scenario)? {
        let Some(expectation) = Expectation::of(&recorded)? else {
            agreed.push(Agreed::Refused);
            continue;
        };
        if expectation.is_unknown {
            match damage::check_alone(&recorded, &expectation) {
                Ok(()) => agreed.push(Agreed::NotCompared(expectation.operation)),
                Err(error) => {
                    let report = report(scenario, &recorded, &expectation, &error);
                    return Ok(Err(Disagreement(report)));
                }
            }
            continue;
        }
        let course = compare(&recorded, &expectation).and_then(|course| {
            same_current(&recorded, &expectation, course)?;
            damage::check(&recorded, &expectation, course)?;
            Ok(course)
        });
        match course {
            Ok(course) => agreed.push(Agreed::Planned {
                operation: expectation.operation,
                course,
                findings: expectation
                    .findings
                    .iter()
                    .map(|finding| Found {
                        lint: finding.lint(),
                        object: finding.object.to_string(),
                        uncertain: finding.is_uncertain(),
                    })
                    .collect(),
            }),
            Err(error) => {
                let report = report(scenario, &recorded, &expectation, &error);
                return Ok(Err(Disagreement(report)));
            }
        }
    }
    Ok(Ok(agreed))
}

/// Helm marks the revision that an upgrade replaced. It must be the one that the plan started from.
fn same_current(
    recorded: &Recorded,
    expectation: &Expectation,
    course: Course,
) -> Result<(), String> {
    if expectation.operation != Operation::Upgrade || course != Course::Completed {
        return Ok(());
    }
    let target = format!("v{}", expectation.target.revision);
    let marked = recorded
        .written_records
        .iter()
        .filter_map(|name| name.rsplit('.').next())
        .find(|revision| *revision != target);
    let current = expectation.current.as_ref();
    let current = current.map(|current| format!("v{}", current.revision));
    if current.as_deref() == marked {
        Ok(())
    } else {
        Err(format!(
            "the current revision is {current:?} in the plan and {marked:?} for Helm"
        ))
    }
}

fn report(
    scenario: &Scenario,
    recorded: &Recorded,
    expectation: &Expectation,
    error: &str,
) -> String {
    let mut text = format!("{error}\nin `{}`\n", recorded.command);
    let steps: Vec<_> = expectation
        .plan
        .steps
        .iter()
        .map(|step| format!("{step}{}", place(&step.object.namespace)))
        .collect();
    let requests: Vec<_> = recorded.requests.iter().map(ToString::to_string).collect();
    let width = steps
        .iter()
        .map(String::len)
        .max()
        .unwrap_or_default()
        .max(4);
    let _ = writeln!(text, "{:width$} | Helm", "plan");
    for index in 0..steps.len().max(requests.len()) {
        let cell = |cells: &[String]| cells.get(index).cloned().unwrap_or_default();
        let _ = writeln!(text, "{:width$} | {}", cell(&steps), cell(&requests));
    }
    for finding in &expectation.findings {
        let consumers: Vec<_> = finding.consumers.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "finding: {finding} (needed by: {})",
            consumers.join(", ")
        );
    }
    let _ = writeln!(text, "before: {}", names(&recorded.before));
    let _ = writeln!(text, "after: {}", names(&recorded.after));
    let _ = write!(text, "{}\n{scenario}", recorded.output);
    text
}

fn names(objects: &crate::run::Objects) -> String {
    let names: Vec<_> = objects.keys().map(crate::compare::show).collect();
    names.join(", ")
}

fn place(namespace: &str) -> &'static str {
    if namespace.ends_with("-other") {
        " (other namespace)"
    } else {
        ""
    }
}
