//! The report: for people, in color on a terminal, or for programs.
//!
//! In: a [`Check`]. Out: its text, or its JSON. Refuses: nothing. The phrases about steps and findings are
//! their own (`helm_plan`), the same as in the answers of the policy.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use helm_plan::{Action, Finding, Level, Lint, ObjectId, Stage, Step};
use serde_json::{Value, json};

use crate::{check::Check, terminal};

/// Where the report for people is written. Every line goes through [`Page::line`], which leaves nothing of
/// control characters in names: the only ones in the report are those of its styles.
pub(crate) struct Page<W>(pub(crate) W);

const PLAIN: Style = Style::new();

/// What a report says of a finding, whatever found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) rule: Rule,
    /// The object that it is about.
    pub(crate) object: ObjectId,
    /// `hook-pruned: ConfigMap web-config is …`
    pub(crate) sentence: String,
    /// `is …`
    pub(crate) reason: String,
    /// Who needs the object.
    pub(crate) consumers: Vec<ObjectId>,
    /// What to do about it, best first.
    pub(crate) ways_out: Vec<String>,
}

/// A kind of finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// In one line.
    pub(crate) summary: &'static str,
    /// The page that explains it.
    pub(crate) url: String,
}

impl From<&Lint> for Rule {
    fn from(lint: &Lint) -> Self {
        Self {
            name: lint.name,
            summary: lint.summary,
            url: lint.url(),
        }
    }
}

impl From<&Finding> for Entry {
    fn from(finding: &Finding) -> Self {
        Self {
            rule: finding.lint().into(),
            object: finding.object.clone(),
            sentence: finding.to_string(),
            reason: finding.fact.to_string(),
            consumers: finding.consumers.clone(),
            ways_out: finding.ways_out(),
        }
    }
}

impl<W: Write> Page<W> {
    pub(crate) fn line(&mut self, parts: &[(Style, &dyn Display)]) -> io::Result<()> {
        for (style, part) in parts {
            let part = terminal::line(&part.to_string());
            write!(self.0, "{style}{part}{style:#}")?;
        }
        writeln!(self.0)
    }

    pub(crate) fn plain(&mut self, text: impl Display) -> io::Result<()> {
        self.line(&[(PLAIN, &text)])
    }

    pub(crate) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.0)
    }
}

/// Writes the report for people.
pub(crate) fn text(check: &Check, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page(out);
    let (assessment, target) = (&check.assessment, &check.assessment.target);
    let revisions = match assessment.current {
        Some(current) => format!("from revision {current} to {}", target.revision),
        None => format!("as revision {}", target.revision),
    };
    let title = format!(
        "helm {} of release {} in namespace {}, {revisions}",
        assessment.operation.name(),
        target.name,
        target.namespace,
    );
    page.line(&[(Style::new().bold(), &title)])?;
    page.gap()?;
    steps(&assessment.plan.steps, &mut page)?;
    let (mut rejected, mut warnings) = (0, 0);
    for (level, finding) in check.findings() {
        entry(level, &finding.into(), &mut page, &|_| Ok(()))?;
        match level {
            Level::Reject => rejected += 1,
            Level::Rescue | Level::Warn => warnings += 1,
            Level::Ignore => {}
        }
    }
    match (rejected, warnings) {
        (0, 0) => page.plain("No findings: the release keeps what its pods need."),
        (_, 1) => page.plain(format!("{rejected} rejected, 1 warning.")),
        (_, _) => page.plain(format!("{rejected} rejected, {warnings} warnings.")),
    }
}

fn steps(steps: &[Step], page: &mut Page<impl Write>) -> io::Result<()> {
    if steps.is_empty() {
        page.plain("Helm would change nothing.")?;
        return page.gap();
    }
    page.plain("Helm would:")?;
    for step in steps {
        page.line(&[(PLAIN, &"  "), (style_of(step.action), step)])?;
    }
    page.gap()
}

/// A finding; `more` is written before its page.
pub(crate) fn entry<W: Write>(
    level: Level,
    entry: &Entry,
    page: &mut Page<W>,
    more: &dyn Fn(&mut Page<W>) -> io::Result<()>,
) -> io::Result<()> {
    let color = match level {
        Level::Reject => AnsiColor::Red,
        Level::Rescue | Level::Warn | Level::Ignore => AnsiColor::Yellow,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    page.line(&[(style, &level), (PLAIN, &format!(" {}.", entry.sentence))])?;
    if level == Level::Rescue {
        page.plain("  Kept by the policy (not with --no-hooks).")?;
    }
    if !entry.consumers.is_empty() {
        let names = names(&entry.consumers);
        page.plain(format!("  Needed by: {}.", names.join(", ")))?;
    }
    for way_out in &entry.ways_out {
        page.plain(format!("  - {way_out}"))?;
    }
    more(page)?;
    page.plain(format!("  More: {}", entry.rule.url))?;
    page.gap()
}

fn style_of(action: Action) -> Style {
    let color = match action {
        Action::DeleteBeforeHook(_)
        | Action::DeleteAfterHook(_)
        | Action::Prune
        | Action::Conflict(_) => AnsiColor::Red,
        Action::CreateHook(_) => AnsiColor::Green,
        Action::Apply | Action::PatchHook(_) | Action::Keep => return Style::new(),
    };
    Style::new().fg_color(Some(color.into()))
}

/// The report for programs.
pub(crate) fn json(check: &Check) -> Value {
    let (assessment, target) = (&check.assessment, &check.assessment.target);
    let steps = assessment.plan.steps.iter().map(|step| {
        let (action, stage) = action(step.action);
        json!({"action": action, "stage": stage.map(Stage::name), "object": object(&step.object)})
    });
    let findings = check.findings().map(|(level, finding)| {
        json!({
            "finding": finding.lint().name,
            "level": level.name(),
            "object": object(&finding.object),
            "reason": finding.fact.to_string(),
            "neededBy": names(&finding.consumers),
            "waysOut": finding.ways_out(),
            "url": finding.lint().url(),
        })
    });
    json!({
        "operation": assessment.operation.name(),
        "release": target.name,
        "namespace": target.namespace,
        "from": assessment.current,
        "to": target.revision,
        "rejected": check.is_rejected(),
        "plan": steps.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

pub(crate) fn object(id: &ObjectId) -> Value {
    json!({"group": id.group, "kind": id.kind, "namespace": id.namespace, "name": id.name})
}

/// The names in the JSON report.
fn action(action: Action) -> (&'static str, Option<Stage>) {
    match action {
        Action::DeleteBeforeHook(stage) => ("delete-before-hook", Some(stage)),
        Action::CreateHook(stage) => ("create-hook", Some(stage)),
        Action::PatchHook(stage) => ("patch-hook", Some(stage)),
        Action::Conflict(stage) => ("conflict", Some(stage)),
        Action::DeleteAfterHook(stage) => ("delete-after-hook", Some(stage)),
        Action::Apply => ("apply", None),
        Action::Prune => ("prune", None),
        Action::Keep => ("keep", None),
    }
}

pub(crate) fn names(objects: &[ObjectId]) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}
