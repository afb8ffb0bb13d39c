//! Will this Helm release keep what its pods need?
//!
//! ```text
//! record → target release  ┐
//! history → current release┴→ plan: Helm's own steps, in order → findings → verdict
//! ```
//!
//! In: CREATE of a pending release record; the second line, [`hook_requests`], takes what Helm does
//! afterwards. Out: a [`Verdict`]. Refuses: what the settings say about
//! findings, and about records that cannot be read.

#[cfg(test)]
#[allow(dead_code, clippy::indexing_slicing, clippy::unwrap_used)]
mod builders;
pub mod findings;
pub mod history;
pub mod hook_requests;
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

/// Each is a look-up within the two seconds that an evaluation has. Findings beyond stay as they are.
const MAX_KEPT_LOOKUPS: usize = 32;

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
    let read = |kept: &BTreeSet<ObjectId>| {
        let plan = Plan::new(operation, current.as_ref(), &target, kept);
        let case = Case {
            operation,
            current: current.as_ref(),
            target: &target,
            plan: &plan,
        };
        findings(case)
    };
    let mut findings = read(&BTreeSet::new())?;
    let kept = kept_live(&findings, cluster)?;
    if !kept.is_empty() {
        findings = read(&kept)?;
    }
    Ok(Assessment {
        operation,
        current: current.map(|current| current.revision),
        target,
        findings,
    })
}

/// The objects, among those that a prune would take as they are, that Helm spares: what counts is the
/// annotation on the live object, which no manifest tells.
fn kept_live(findings: &[Finding], cluster: &dyn Cluster) -> Result<BTreeSet<ObjectId>, String> {
    let mut kept = BTreeSet::new();
    let candidates = findings
        .iter()
        .filter_map(|finding| Some((&finding.object, finding.spared_by_annotation.as_ref()?)));
    for (id, api_version) in candidates.take(MAX_KEPT_LOOKUPS) {
        let object = ObjectRef {
            api_version,
            kind: &id.kind,
            namespace: &id.namespace,
            name: &id.name,
        };
        match cluster.get(object, &["metadata.annotations"]) {
            Ok(live) if live.as_ref().is_some_and(manifest::is_kept) => {
                kept.insert(id.clone());
            }
            // Without the right to look, the object counts as its manifest says.
            Ok(_)
            | Err(LookupError {
                cause: Cause::NotGranted { .. },
                ..
            }) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(kept)
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
        let verdict = of_level(Level::Rescue).fold(verdict, |verdict, finding| {
            verdict.warn(format!("rescued, its hook is kept: {finding}"))
        });
        of_level(Level::Warn).fold(verdict, |verdict, finding| {
            verdict.warn(finding.to_string())
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
        let mut lines = vec![format!(
            "helm {} of release {name} in namespace {namespace}, {step}, would lose what its pods need. {so_far}",
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

/// Objects that something else may make anew are never a reason to reject; those that no hook makes
/// before the prune cannot be rescued.
fn level(guard: &ReleaseGuard, finding: &Finding) -> Level {
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
