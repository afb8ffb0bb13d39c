//! Will this Helm release keep what its pods need?
//!
//! ```text
//! record → target release  ┐
//! history → current release┴→ plan: Helm's own steps, in order → findings → verdict
//! ```
//!
//! In: CREATE of a pending release record. Out: a [`Verdict`]. Refuses: what the settings say about
//! findings, and about records that cannot be read.

pub mod findings;
pub mod history;
pub mod manifest;
pub mod plan;
pub mod record;
pub mod users;
pub mod yaml;

use std::collections::BTreeSet;

use serde_json::Value;

use self::{
    findings::{Case, Finding, findings},
    history::History,
    plan::{Operation, Plan, Release},
};
use crate::{
    annotations::ALLOW_REVISION,
    cluster::Cluster,
    request::{self, Request},
    settings::{Level, LookupFailure, ReleaseGuard, Settings},
    verdict::Verdict,
};

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
            Verdict::undecided(format!(
                "{text}. Nothing was changed. `lookupFailure: warn` would let such releases pass without being judged."
            ))
        }
    }
}

/// A planned operation and what was found.
struct Assessment {
    operation: Operation,
    /// The revision of before; `None` for an install.
    current: Option<u64>,
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
    let operation = Operation::from_status(&target.info.status).ok_or_else(|| {
        format!(
            "its label says that it is pending, and its content {:?}",
            target.info.status
        )
    })?;
    let history = History {
        cluster,
        kind,
        namespace: &request.namespace,
        max_record_bytes: guard.max_record_bytes,
    };
    let current = history
        .current(operation, &target)?
        .map(Release::parse)
        .transpose()?;
    let target = Release::parse(target)?;
    let plan = Plan::new(operation, current.as_ref(), &target, &BTreeSet::new());
    let findings = findings(Case {
        operation,
        current: current.as_ref(),
        target: &target,
        plan: &plan,
    })?;
    Ok(Assessment {
        operation,
        current: current.map(|current| current.revision),
        target,
        findings,
    })
}

impl Assessment {
    fn verdict(self, guard: &ReleaseGuard, allowed: bool) -> Verdict {
        let of_level = |wanted| {
            self.findings
                .iter()
                .filter(move |&finding| level(guard, finding) == wanted)
        };
        let rejected: Vec<_> = of_level(Level::Reject).collect();
        let verdict = match (rejected.is_empty(), allowed) {
            (true, _) => Verdict::accept(),
            (false, false) => Verdict::reject(self.message(&rejected, guard))
                .audit("release-findings", summary(&rejected)),
            (false, true) => rejected
                .iter()
                .fold(Verdict::accept(), |verdict, finding| {
                    verdict.warn(format!("allowed by label: {finding}"))
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
        of_level(Level::Warn).fold(verdict, |verdict, finding| {
            verdict.warn(finding.to_string())
        })
    }

    fn message(&self, rejected: &[&Finding], guard: &ReleaseGuard) -> String {
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
        let mut lines = vec![format!(
            "helm {} of release {name} in namespace {namespace}, {step}, would lose what its pods need. Nothing was changed.",
            operation.name()
        )];
        for finding in rejected {
            lines.push(format!("- {finding}."));
            if !finding.users.is_empty() {
                lines.push(format!("  Needed by: {}.", some_of(&finding.users)));
            }
            lines.push(format!("  What to do: {}.", finding.ways_out.join("; ")));
        }
        if guard.bypass {
            lines.push(format!(
                "To let revision {revision} pass all the same: {}",
                self.way_to_allow()
            ));
        }
        lines.join("\n")
    }

    /// `helm rollback` takes no labels; the new record inherits those of the record it goes back to.
    fn way_to_allow(&self) -> String {
        let Release {
            name,
            namespace,
            revision,
            ..
        } = &self.target;
        match self.operation {
            Operation::Rollback => format!(
                "kubectl label -n {namespace} the record of the revision that it goes back to \
                 (sh.helm.release.v1.{name}.v…) with {ALLOW_REVISION}={revision}"
            ),
            operation => format!(
                "helm {} --labels {ALLOW_REVISION}={revision} …",
                operation.name()
            ),
        }
    }
}

/// Objects that something else may make anew are never a reason to reject.
fn level(guard: &ReleaseGuard, finding: &Finding) -> Level {
    match guard.findings.of(finding.lint) {
        Level::Reject if finding.uncertain => Level::Warn,
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
