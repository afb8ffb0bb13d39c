//! What people are told about a release: rejection, warnings, audit text.
//!
//! In: an [`Assessed`] release and the settings, or why it cannot be judged. Out: a [`Verdict`]. Refuses:
//! nothing. The phrases about a finding are its own ([`helm_plan::findings`]).

use helm_plan::{
    findings::{Finding, Level, Lint},
    lifecycle::Operation,
    manifest::ObjectId,
    record,
};

use super::{
    assess::{Assessed, Error},
    bypass::Bypass,
    is_rescuable, pending_operation,
};
use crate::{
    annotations::ALLOW_REVISION,
    request::Request,
    settings::ReleaseGuard,
    verdict::{Verdict, WARNING_CHARS, one_line},
};

/// How many findings a message spells out.
const MAX_SHOWN: usize = 10;

/// The answer to a pending record. `bypassed`: its label allows it, whatever is found.
pub(super) fn verdict(assessed: &Assessed<'_>, guard: &ReleaseGuard, bypassed: bool) -> Verdict {
    let rejected = of_level(Level::Reject, assessed, guard);
    let mut verdict = match (rejected.is_empty(), bypassed) {
        (true, _) => Verdict::accept(),
        (false, false) => Verdict::reject(rejection(
            &rejected,
            assessed,
            guard,
            so_far(assessed.assessment.operation),
        ))
        .audit("release-findings", summary(&rejected)),
        (false, true) => {
            let revision = assessed.assessment.target.revision;
            let label = format!("{ALLOW_REVISION}={revision}: {}", summary(&rejected));
            let accepted = Verdict::accept().audit("release-bypass", label);
            rejected.iter().fold(accepted, |verdict, finding| {
                verdict.warn(warning("allowed by label: ", finding))
            })
        }
    };
    if let Some(why) = &assessed.not_compared {
        verdict = verdict.warn(why).audit("release-not-compared", why);
    }
    if let more @ 1.. = assessed.assessment.not_looked_at {
        verdict = verdict.warn(format!(
            "{more} more live objects were not looked at, so their manifests decide"
        ));
    }
    for finding in of_level(Level::Rescue, assessed, guard) {
        verdict = verdict.warn(warning(
            "kept by this policy (not with --no-hooks): ",
            finding,
        ));
    }
    for finding in of_level(Level::Warn, assessed, guard) {
        verdict = verdict.warn(warning("", finding));
    }
    verdict
}

/// The answer to a record that cannot be judged.
pub(super) fn not_judged(
    request: &Request,
    error: &Error,
    accepts: bool,
    bypass: Option<Bypass<'_>>,
) -> Verdict {
    let text = format!(
        "release record {} {}/{} cannot be judged: {error}",
        request.kind.kind, request.namespace, request.name
    );
    if accepts {
        return Verdict::accept()
            .warn(&text)
            .audit("release-not-judged", text);
    }
    let operation = pending_operation(&request.object).unwrap_or(Operation::Upgrade);
    let mut lines = vec![format!("{}. {}", one_line(&text), so_far(operation))];
    lines.extend(bypass.map(|bypass| {
        format!(
            "To allow revision {} without checking it: {bypass}",
            bypass.revision
        )
    }));
    if let Error::Record(record::Error::TooLarge { .. }) = error {
        lines.push(
            "To read larger records: raise `releaseGuard.maxRecordBytes` in this policy's settings"
                .to_owned(),
        );
    }
    lines.push(
        "To allow all such releases: set `lookupFailure: warn` in this policy's settings"
            .to_owned(),
    );
    Verdict::undecided(lines.join("\n"))
}

/// What a rejected record has changed. Before it is written, an install has created `crds/` and, with
/// `--create-namespace`, the namespace.
fn so_far(operation: Operation) -> &'static str {
    match operation {
        Operation::Install => "Nothing of its manifest was created.",
        Operation::Upgrade | Operation::Rollback => "Nothing was changed.",
    }
}

/// What follows from a finding: what will not be annotated cannot be rescued, and is rejected.
fn level_of(finding: &Finding, guard: &ReleaseGuard) -> Level {
    match guard.findings.of_finding(finding) {
        Level::Rescue if !is_rescuable(&finding.object) || !guard.hook_requests => {
            finding.not_rescued()
        }
        level => level,
    }
}

/// The findings of a level, in order.
pub(super) fn of_level<'a>(
    level: Level,
    assessed: &'a Assessed<'_>,
    guard: &ReleaseGuard,
) -> Vec<&'a Finding> {
    let findings = assessed.assessment.findings.iter();
    findings
        .filter(|finding| level_of(finding, guard) == level)
        .collect()
}

/// The text of a rejection for these findings. `so_far` says what has happened to the cluster.
pub(super) fn rejection(
    rejected: &[&Finding],
    assessed: &Assessed<'_>,
    guard: &ReleaseGuard,
    so_far: &str,
) -> String {
    let assessment = &assessed.assessment;
    let (operation, target) = (assessment.operation.name(), &assessment.target);
    let (name, namespace, revision) = (&target.name, &target.namespace, target.revision);
    let name = &one_line(name);
    let step = match assessment.current {
        Some(current) => format!("from revision {current} to {revision}"),
        None if assessed.not_compared.is_some() => format!("to revision {revision}"),
        None => format!("as revision {revision}"),
    };
    let losses = || rejected.iter().filter(|finding| finding.lint().is_loss);
    let outcome = if losses().any(|finding| !finding.consumers.is_empty()) {
        "would lose what its pods need"
    } else if losses().next().is_some() {
        "would delete objects of the release"
    } else {
        "is rejected by this policy's settings"
    };
    let mut paragraphs = vec![format!(
        "helm {operation} of release {name} in namespace {}, {step}, {outcome}. {so_far}",
        one_line(namespace)
    )];
    let shown = rejected.get(..MAX_SHOWN).unwrap_or(rejected);
    paragraphs.extend(by_ways_out(shown).into_iter().map(paragraph));
    match rejected.len() - shown.len() {
        0 => {}
        1 => paragraphs.push("And 1 more finding.".to_owned()),
        more => paragraphs.push(format!("And {more} more findings.")),
    }
    if guard.bypass {
        let bypass = Bypass {
            operation: assessment.operation,
            driver: assessed.record.driver,
            namespace: assessed.record.namespace,
            release: name,
            revision,
            rollback_target: assessed.rollback_target,
        };
        paragraphs.push(format!("To allow revision {revision} anyway: {bypass}"));
    }
    paragraphs.push(links(shown));
    paragraphs.join("\n\n")
}

/// Findings that have the same ways out, together; in the order in which each first comes up.
fn by_ways_out<'a>(findings: &[&'a Finding]) -> Vec<(Vec<String>, Vec<&'a Finding>)> {
    let mut groups: Vec<(Vec<String>, Vec<&Finding>)> = Vec::new();
    for &finding in findings {
        let ways_out = finding.ways_out();
        match groups.iter_mut().find(|(others, _)| *others == ways_out) {
            Some((_, group)) => group.push(finding),
            None => groups.push((ways_out, vec![finding])),
        }
    }
    groups
}

fn paragraph((ways_out, alike): (Vec<String>, Vec<&Finding>)) -> String {
    let mut lines = Vec::new();
    for finding in &alike {
        lines.push(format!("{}.", one_line(&finding.to_string())));
        lines.extend(
            needed_by(&finding.consumers).map(|needed_by| format!("{}.", one_line(&needed_by))),
        );
    }
    lines.push(match (alike.len(), ways_out.len()) {
        (1, 1) => "How to fix it:".to_owned(),
        (1, _) => "Fix it in one of these ways:".to_owned(),
        (_, 1) => "How to fix each:".to_owned(),
        (_, _) => "Fix each in one of these ways:".to_owned(),
    });
    lines.extend(ways_out.iter().map(|way| format!("- {}", one_line(way))));
    lines.join("\n")
}

/// The pages that explain the findings, each once.
fn links(findings: &[&Finding]) -> String {
    let mut lints: Vec<&Lint> = Vec::new();
    for finding in findings {
        if !lints.contains(&finding.lint()) {
            lints.push(finding.lint());
        }
    }
    let links: Vec<_> = lints
        .iter()
        .map(|lint| format!("More about {lint}: {}", lint.url()))
        .collect();
    links.join("\n")
}

/// One line: the first sentence about the finding, and as much as fits of the rest, of who needs the object
/// and of what to do.
fn warning(prefix: &str, finding: &Finding) -> String {
    let text = finding.to_string();
    let (first, rest) = match text.split_once(". ") {
        Some((first, rest)) => (first, Some(rest.to_owned())),
        None => (text.as_str(), None),
    };
    let way_out = finding.ways_out().into_iter().next();
    let fix = way_out.map(|way| format!("How to fix it: {way}"));
    let mut warning = format!("{prefix}{first}");
    for more in [rest, needed_by(&finding.consumers), fix]
        .into_iter()
        .flatten()
    {
        if warning.chars().count() + 2 + more.chars().count() <= WARNING_CHARS {
            warning = format!("{warning}. {more}");
        }
    }
    warning
}

/// `Needed by: Deployment web, StatefulSet db and 3 more`
fn needed_by(consumers: &[ObjectId]) -> Option<String> {
    const SHOWN: usize = 5;
    let shown: Vec<_> = consumers
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let shown = shown.join(", ");
    match consumers.len().checked_sub(SHOWN) {
        Some(more @ 1..) => Some(format!("Needed by: {shown} and {more} more")),
        _ => (!consumers.is_empty()).then(|| format!("Needed by: {shown}")),
    }
}

/// `hook-pruned: ConfigMap a, dangling-reference: Secret b`
fn summary(findings: &[&Finding]) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.lint(), finding.object))
        .collect();
    findings.join(", ")
}
