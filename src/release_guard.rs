//! Will this Helm release keep what its pods need?
//!
//! ```text
//! record → target release  ┐
//! history → current release┴→ plan: Helm's own steps, in order → findings → verdict
//! ```
//!
//! In: CREATE of a pending release record; the second line, [`hook_requests`], takes what Helm does
//! afterwards. Out: a [`Verdict`]. Refuses: what the settings say about findings, and about records that
//! cannot be read.

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod builders;
pub mod declared;
pub mod findings;
pub mod history;
pub mod hook_requests;
pub mod manifest;
pub mod plan;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod properties;
pub mod record;
pub mod rendered;
pub mod users;
pub mod yaml;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use self::{
    findings::{Case, Finding, findings},
    history::History,
    manifest::ObjectId,
    plan::{Operation, Plan, Release},
};
use crate::{
    annotations::ALLOW_REVISION,
    cluster::{Cause, Cluster, LookupError, ObjectRef},
    request::{self, Request},
    settings::{Level, LookupFailure, ReleaseGuard, Settings},
    verdict::Verdict,
};

/// How many live objects are looked at, each within the two seconds that an evaluation has. Findings
/// beyond stay as they are.
const MAX_LIVE_LOOKUPS: usize = 32;
/// How many findings a message spells out.
const MAX_SHOWN: usize = 10;
/// The API server cuts a warning after 256 characters, of which the verdict's prefix takes some.
const MAX_WARNING: usize = 256 - "rollout-guard: ".len();

/// Whether the request creates a release record in a pending state: what Helm does before anything
/// else. Records in other states (a restored backup) change nothing.
pub fn concerns(request: &Request) -> bool {
    let is_record = match request.kind.kind.as_str() {
        "Secret" => request.object.get("type").and_then(Value::as_str) == Some(record::SECRET_TYPE),
        "ConfigMap" => label(&request.object, "owner") == Some("helm"),
        _ => false,
    };
    request.operation == request::Operation::Create
        && request.kind.group.is_empty()
        && is_record
        && label(&request.object, "status")
            .and_then(Operation::from_status)
            .is_some()
}

/// Judges a pending release.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let guard = &settings.release_guard;
    let allowed = guard.bypass && is_allowed(&request.object);
    match assess(request, guard, cluster) {
        Ok(assessment) => assessment.verdict(guard, allowed),
        Err(error) => {
            let text = format!(
                "release record {} {}/{} cannot be judged: {error}",
                request.kind.kind, request.namespace, request.name
            );
            if allowed || settings.lookup_failure == LookupFailure::Warn {
                return Verdict::accept()
                    .warn(&text)
                    .audit("release-not-judged", text);
            }
            let mut lines = vec![format!("{text}. Nothing was changed.")];
            if let (true, Some(pass)) = (guard.bypass, Pass::of_labels(request)) {
                lines.push(format!(
                    "To let revision {} pass without being judged: {pass}",
                    pass.revision
                ));
            }
            lines.push(
                "To let all such releases pass: `lookupFailure: warn` in the settings of the policy"
                    .to_owned(),
            );
            Verdict::undecided(lines.join("\n"))
        }
    }
}

/// A planned operation and what was found.
struct Assessment {
    operation: Operation,
    /// `Secret` or `ConfigMap`: how Helm stores this release.
    kind: String,
    /// The revision of before; `None` for an install.
    current: Option<u64>,
    /// What a rollback goes back to, where the record tells.
    goes_back_to: Option<u64>,
    target: Release,
    findings: Vec<Finding>,
}

fn assess(
    request: &Request,
    guard: &ReleaseGuard,
    cluster: &dyn Cluster,
) -> Result<Assessment, String> {
    let kind = request.kind.kind.as_str();
    let target = record::decode(&request.object, kind, guard.max_record_bytes)?;
    let operation = Operation::from_status(&target.info.status)
        .ok_or("its label says that it is pending, and its content does not")?;
    let history = History {
        cluster,
        kind,
        namespace: &request.namespace,
        max_record_bytes: guard.max_record_bytes,
    };
    let mut current = history
        .current(operation, &target)?
        .map(Release::parse)
        .transpose()?;
    let goes_back_to = target.info.goes_back_to();
    let target = Release::parse(target)?;
    let mut live = Live::default();
    let findings = loop {
        let plan = Plan::new(operation, current.as_ref(), &target, &live.kept);
        let findings = findings(Case {
            operation,
            current: current.as_ref(),
            target: &target,
            plan: &plan,
        })?;
        // What is learned may bring up the next one: behind a hook that fails nothing is planned.
        if !live.learn(&findings, cluster)? {
            break findings;
        }
        if let Some(current) = &mut current {
            current.gone.clone_from(&live.gone);
        }
    };
    Ok(Assessment {
        operation,
        kind: kind.to_owned(),
        current: current.map(|current| current.revision),
        goes_back_to,
        target,
        findings,
    })
}

/// What live objects tell that no manifest does.
#[derive(Default)]
struct Live {
    /// Helm spares them when it prunes, for their annotation.
    kept: BTreeSet<ObjectId>,
    /// Somebody has deleted them.
    gone: BTreeSet<ObjectId>,
    asked: BTreeSet<ObjectId>,
}

impl Live {
    /// Looks at the objects that findings depend on; whether that can change a finding.
    fn learn(&mut self, findings: &[Finding], cluster: &dyn Cluster) -> Result<bool, String> {
        let mut learned = false;
        for finding in findings {
            let (id, Some(api_version)) = (&finding.object, &finding.depends_on_live) else {
                continue;
            };
            if self.asked.len() == MAX_LIVE_LOOKUPS || !self.asked.insert(id.clone()) {
                continue;
            }
            let object = ObjectRef {
                api_version,
                kind: &id.kind,
                namespace: &id.namespace,
                name: &id.name,
            };
            learned |= match cluster.get(object, &["metadata.annotations"]) {
                Ok(None) => self.gone.insert(id.clone()),
                Ok(Some(live)) => manifest::is_kept(&live) && self.kept.insert(id.clone()),
                // Without the right to look, the object counts as its manifest says.
                Err(LookupError {
                    cause: Cause::NotGranted { .. },
                    ..
                }) => false,
                Err(error) => return Err(error.to_string()),
            };
        }
        Ok(learned)
    }
}

impl Assessment {
    fn verdict(self, guard: &ReleaseGuard, allowed: bool) -> Verdict {
        let of_level = |wanted| {
            self.findings
                .iter()
                .filter(move |&finding| level(guard, finding) == wanted)
        };
        let rejected = self.rejected(guard);
        let verdict = match (rejected.is_empty(), allowed) {
            (true, _) => Verdict::accept(),
            (false, false) => {
                Verdict::reject(self.message(&rejected, guard, "Nothing was changed."))
                    .audit("release-findings", summary(&rejected))
            }
            (false, true) => rejected
                .iter()
                .fold(Verdict::accept(), |verdict, finding| {
                    verdict.warn(warning("allowed by label: ", finding))
                })
                .audit(
                    "release-bypass",
                    format!(
                        "{ALLOW_REVISION}={}: {}",
                        self.target.revision,
                        summary(&rejected)
                    ),
                ),
        };
        let verdict = of_level(Level::Rescue).fold(verdict, |verdict, finding| {
            verdict.warn(warning("rescued, unless --no-hooks: ", finding))
        });
        of_level(Level::Warn).fold(verdict, |verdict, finding| {
            verdict.warn(warning("", finding))
        })
    }

    fn rejected(&self, guard: &ReleaseGuard) -> Vec<&Finding> {
        let rejected = |finding: &&Finding| level(guard, finding) == Level::Reject;
        self.findings.iter().filter(rejected).collect()
    }

    fn message(&self, rejected: &[&Finding], guard: &ReleaseGuard, so_far: &str) -> String {
        let Self {
            operation,
            target:
                Release {
                    name,
                    namespace,
                    revision,
                    ..
                },
            ..
        } = self;
        let step = match self.current {
            Some(current) => format!("from revision {current} to {revision}"),
            None => format!("as revision {revision}"),
        };
        let outcome = match rejected.iter().any(|finding| finding.lint.is_loss()) {
            true => "would lose what its pods need",
            false => "is not let pass by the settings of this policy",
        };
        let mut paragraphs = vec![format!(
            "helm {} of release {name} in namespace {namespace}, {step}, {outcome}. {so_far}",
            operation.name()
        )];
        let shown = rejected.get(..MAX_SHOWN).unwrap_or(rejected);
        paragraphs.extend(by_ways_out(shown).into_iter().map(paragraph));
        let left_out = rejected.len() - shown.len();
        if left_out > 0 {
            paragraphs.push(format!(
                "And {left_out} more {}.",
                plural("finding", left_out)
            ));
        }
        if guard.bypass {
            paragraphs.push(format!(
                "To let revision {revision} pass all the same: {}",
                Pass {
                    operation: *operation,
                    kind: &self.kind,
                    namespace,
                    release: name,
                    revision: revision.to_string(),
                    goes_back_to: self.goes_back_to,
                }
            ));
        }
        paragraphs.join("\n\n")
    }
}

/// Findings that have the same ways out, together; in the order in which each first comes up.
fn by_ways_out<'a>(findings: &[&'a Finding]) -> Vec<Vec<&'a Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for &finding in findings {
        let is_alike = |group: &&mut Vec<&Finding>| {
            group.iter().any(|other| other.ways_out == finding.ways_out)
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

fn paragraph(alike: Vec<&Finding>) -> String {
    let mut lines = Vec::new();
    for finding in &alike {
        lines.push(format!("{finding}."));
        if !finding.users.is_empty() {
            lines.push(format!("Needed by: {}.", some_of(&finding.users)));
        }
    }
    let ways_out: &[_] = alike.first().map_or(&[], |finding| &finding.ways_out);
    lines.push(match (alike.len(), ways_out.len()) {
        (1, 1) => "What to do:".to_owned(),
        (1, _) => "What to do, one of:".to_owned(),
        (_, 1) => "What to do, for each:".to_owned(),
        (_, _) => "What to do, for each one of:".to_owned(),
    });
    lines.extend(ways_out.iter().map(|way| format!("- {way}")));
    lines.join("\n")
}

/// One line: the finding, and as much as fits of who needs the object and of what to do.
fn warning(prefix: &str, finding: &Finding) -> String {
    let mut warning = format!("{prefix}{finding}");
    let users =
        (!finding.users.is_empty()).then(|| format!("Needed by: {}", some_of(&finding.users)));
    let way_out = finding
        .ways_out
        .first()
        .map(|way| format!("What to do: {way}"));
    for more in [users, way_out].into_iter().flatten() {
        if warning.chars().count() + 2 + more.chars().count() <= MAX_WARNING {
            warning = format!("{warning}. {more}");
        }
    }
    warning
}

/// What lets one revision pass, whatever is found.
struct Pass<'a> {
    operation: Operation,
    kind: &'a str,
    /// The namespace of the record.
    namespace: &'a str,
    release: &'a str,
    revision: String,
    goes_back_to: Option<u64>,
}

impl<'a> Pass<'a> {
    /// For a record that cannot be read.
    fn of_labels(request: &'a Request) -> Option<Self> {
        let label = |key| label(&request.object, key);
        Some(Self {
            operation: Operation::from_status(label("status")?)?,
            kind: &request.kind.kind,
            namespace: &request.namespace,
            release: label("name")?,
            revision: label("version")?.to_owned(),
            goes_back_to: None,
        })
    }
}

/// `helm upgrade --labels rollout-guard/allow-revision=2 …`
impl fmt::Display for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            namespace,
            release,
            revision,
            ..
        } = self;
        if *operation != Operation::Rollback {
            let operation = operation.name();
            return write!(f, "helm {operation} --labels {ALLOW_REVISION}={revision} …");
        }
        // `helm rollback` takes no labels; the new record has those of the record that it goes back to.
        let kind = self.kind.to_lowercase();
        let (target, hint) = match self.goes_back_to {
            Some(target) => (target.to_string(), ""),
            None => ("N".to_owned(), " (N: the revision to go back to)"),
        };
        write!(
            f,
            "kubectl label -n {namespace} {kind} sh.helm.release.v1.{release}.v{target} \
             {ALLOW_REVISION}={revision} --overwrite{hint}, and roll back again"
        )
    }
}

/// Objects that something else may make anew are never a reason to reject; those that no hook makes
/// before the prune cannot be rescued.
pub fn level(guard: &ReleaseGuard, finding: &Finding) -> Level {
    match guard.findings.of(finding.lint) {
        Level::Reject if finding.uncertain => Level::Warn,
        Level::Rescue if !finding.rescuable => Level::Reject,
        level => level,
    }
}

/// The emergency label names the very revision that it lets pass, so that it expires by itself: later
/// revisions inherit it.
fn is_allowed(record: &Value) -> bool {
    let allowed = label(record, ALLOW_REVISION);
    allowed.is_some() && allowed == label(record, "version")
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// `hook-pruned: ConfigMap a, dangling-reference: Secret b`
fn summary(findings: &[&Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{}: {}", finding.lint, finding.object))
        .collect::<Vec<_>>()
        .join(", ")
}

fn plural(noun: &str, count: usize) -> String {
    match count {
        1 => noun.to_owned(),
        _ => format!("{noun}s"),
    }
}

fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
mod tests;
