//! What is printed: for people, in color on a terminal, or for programs.

use std::io::{Result, Write};

use anstyle::{AnsiColor, Style};
use rollout_guard::{
    release_guard::{findings::Finding, plan::Action},
    settings::Level,
};
use serde_json::{Value, json};

use crate::check::Check;

pub(crate) fn text(check: &Check, out: &mut impl Write) -> Result<()> {
    let target = &check.target;
    let bold = Style::new().bold();
    writeln!(
        out,
        "{bold}helm {} of release {} in namespace {}, from revision {} to {}{bold:#}\n\nHelm would:",
        check.operation.name(),
        target.name,
        target.namespace,
        check.current,
        target.revision,
    )?;
    for step in &check.plan.steps {
        let style = style_of(step.action);
        writeln!(out, "  {style}{step}{style:#}")?;
    }
    writeln!(out)?;
    if check.findings.is_empty() {
        return writeln!(
            out,
            "Nothing is found: the release keeps what its pods need."
        );
    }
    for (level, finding) in &check.findings {
        self::finding(*level, finding, out)?;
    }
    let count = |wanted| {
        check
            .findings
            .iter()
            .filter(|(level, _)| *level == wanted)
            .count()
    };
    writeln!(
        out,
        "{} to reject, {} to warn of.",
        count(Level::Reject),
        check.findings.len() - count(Level::Reject)
    )
}

fn finding(level: Level, finding: &Finding, out: &mut impl Write) -> Result<()> {
    let (name, color) = match level {
        Level::Reject => ("reject", AnsiColor::Red),
        _ => (name(level), AnsiColor::Yellow),
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    writeln!(out, "{style}{name}{style:#} {finding}.")?;
    if !finding.users.is_empty() {
        writeln!(out, "  Needed by: {}.", finding.users.join(", "))?;
    }
    for way_out in &finding.ways_out {
        writeln!(out, "  - {way_out}")?;
    }
    writeln!(out)
}

fn style_of(action: Action) -> Style {
    let color = match action {
        Action::DeleteBeforeHook(_) | Action::DeleteAfterHook(_) | Action::Prune => AnsiColor::Red,
        Action::Conflict(_) => AnsiColor::Red,
        Action::CreateHook(_) => AnsiColor::Green,
        Action::Apply | Action::PatchHook(_) | Action::Keep => return Style::new(),
    };
    Style::new().fg_color(Some(color.into()))
}

pub(crate) fn json(check: &Check) -> Value {
    let object = |id: &rollout_guard::release_guard::manifest::ObjectId| json!({"group": id.group, "kind": id.kind, "namespace": id.namespace, "name": id.name});
    let steps = check.plan.steps.iter().map(|step| {
        let (action, stage) = match step.action {
            Action::DeleteBeforeHook(stage) => ("delete-before-hook", Some(stage)),
            Action::CreateHook(stage) => ("create-hook", Some(stage)),
            Action::PatchHook(stage) => ("patch-hook", Some(stage)),
            Action::Conflict(stage) => ("conflict", Some(stage)),
            Action::DeleteAfterHook(stage) => ("delete-after-hook", Some(stage)),
            Action::Apply => ("apply", None),
            Action::Prune => ("prune", None),
            Action::Keep => ("keep", None),
        };
        let stage = stage.map(|stage| stage.name());
        json!({"action": action, "stage": stage, "object": object(&step.object)})
    });
    let findings = check.findings.iter().map(|(level, finding)| {
        json!({
            "finding": finding.lint.name(), "level": name(*level), "object": object(&finding.object),
            "reason": finding.reason, "neededBy": finding.users, "waysOut": finding.ways_out,
        })
    });
    json!({
        "operation": check.operation.name(),
        "release": check.target.name,
        "namespace": check.target.namespace,
        "from": check.current,
        "to": check.target.revision,
        "rejected": check.is_rejected(),
        "plan": steps.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Reject => "reject",
        Level::Rescue => "rescue",
        Level::Warn => "warn",
        Level::Ignore => "ignore",
    }
}
