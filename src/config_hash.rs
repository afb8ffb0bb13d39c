//! Do the pods run the config that is in the cluster?
//!
//! ```text
//! workload → references → observed (each config read once, uncached; digest) → changed since oldObject
//!          → stamp → stamped object, warnings, audit annotations
//! ```
//!
//! In: CREATE and UPDATE of an object with a pod template at `spec.template`. Out: a [`Verdict`].
//! Refuses: what the settings say about missing config and failed look-ups; annotations and templates
//! of the wrong shape.

pub mod configs;
pub mod consumers;
pub mod digest;
pub mod references;
pub mod stamp;

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::ReplicationController,
    },
};
use serde_json::Value;

use self::{
    configs::{Configs, Gap, Observed},
    references::{References, references},
    stamp::Stamp,
};
use crate::{
    annotations::{self, ENABLED, FOREIGN_OPT_INS, FREEZE, OBJECT, TEMPLATE},
    cluster::Cluster,
    request::{Operation, Request},
    settings::{self, LookupFailure, Missing, Mode, Settings},
    verdict::{Outcome, Verdict},
};

/// Why a workload cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Annotation(#[from] annotations::Error),
    #[error(transparent)]
    References(#[from] references::Error),
    /// The only one that is not about the workload itself.
    #[error(transparent)]
    Configs(#[from] configs::Error),
}

/// Whether the request writes a workload whose pods are rolled out when its pod template changes.
pub fn concerns(request: &Request) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    // The updates that remove its finalizers must be admitted: its config may be deleted already.
    let is_deleted = request
        .object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|timestamp| !timestamp.is_null());
    let kind = (request.kind.group.as_str(), request.kind.kind.as_str());
    // Changes of their templates never roll out pods.
    let never_rolled_out = [
        (Job::GROUP, Job::KIND),
        (ReplicaSet::GROUP, ReplicaSet::KIND),
        (ReplicationController::GROUP, ReplicationController::KIND),
    ];
    // In other kinds, `spec.template` may be a template of something else (a SealedSecret's Secret).
    let known = [Deployment::KIND, StatefulSet::KIND, DaemonSet::KIND]
        .iter()
        .any(|&known| kind == (Deployment::GROUP, known));
    let has_pods = request
        .object
        .pointer("/spec/template/spec/containers")
        .is_some();
    writes
        && !is_deleted
        && request.sub_resource.is_empty()
        && !never_rolled_out.contains(&kind)
        && (known || has_pods)
}

/// Judges a workload.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let subject = request.subject();
    try_judge(request, settings, cluster).unwrap_or_else(|error| match error {
        Error::Annotation(_) | Error::References(_) => {
            Verdict::malformed(format!("{subject}: {error}"))
        }
        Error::Configs(_) => undecided(request, settings.mode, &error),
    })
}

fn undecided(request: &Request, mode: Mode, error: &Error) -> Verdict {
    let subject = request.subject();
    Verdict::undecided(match mode {
        Mode::Enforce => {
            let outcome = match old_object(request) {
                Some(_) => "with its current config hash",
                None => "without a config hash",
            };
            format!(
                "{subject}: its config cannot be hashed: {error}. Nothing was changed. \
                 `lookupFailure: warn` would admit it {outcome}."
            )
        }
        Mode::Verify => format!(
            "{subject}: its config cannot be compared with the cluster: {error}. Nothing was changed. \
             `lookupFailure: warn` would admit it with a warning."
        ),
    })
}

fn try_judge(
    request: &Request,
    settings: &Settings,
    cluster: &dyn Cluster,
) -> Result<Verdict, Error> {
    let object = &request.object;
    if !is_chosen(object, settings.config_hash.workloads)? {
        return Ok(Verdict::accept());
    }
    let frozen = annotations::flag(object, FREEZE)?.unwrap_or(false);
    let used = references(object, &settings.config_hash)?;
    // Verify compares the record on the workload itself.
    let recorded_for = match (settings.mode, old_object(request)) {
        (Mode::Enforce, Some(old)) => vec![old, object],
        (Mode::Enforce, None) => vec![],
        (Mode::Verify, _) => vec![object],
    };
    let uses_when_recorded: Vec<_> = recorded_for
        .into_iter()
        .flat_map(|workload| uses_when_recorded(workload, &settings.config_hash))
        .collect();

    let configs = Configs {
        cluster,
        namespace: &request.namespace,
        key: settings.config_hash.key.as_ref(),
    };
    let observed = match (
        configs.read(&used, &uses_when_recorded),
        settings.lookup_failure,
    ) {
        (Ok(observed), _) => observed,
        (Err(error), LookupFailure::Warn) => return keep_stamp(request, settings.mode, &error),
        (Err(error), LookupFailure::Reject) => return Err(error.into()),
    };
    let gaps = &observed.gaps;
    if settings.config_hash.missing == Missing::Reject && !gaps.is_empty() {
        return Ok(cannot_start(request, gaps));
    }
    let verdict = match settings.mode {
        Mode::Enforce => enforce(request, frozen, &observed, &settings.config_hash)?,
        Mode::Verify => verify(request, frozen, &observed),
    };
    Ok(match settings.config_hash.missing {
        Missing::Ignore => verdict,
        Missing::Warn | Missing::Reject => gaps.iter().fold(verdict, |verdict, gap| {
            verdict.warn(format!("{}: {gap}", request.subject()))
        }),
    })
}

/// The stored workload; `None` on CREATE.
fn old_object(request: &Request) -> Option<&Value> {
    (request.operation == Operation::Update).then_some(&request.old_object)
}

/// How a workload may have used its configs when their digests were recorded, because
/// `imagePullSecrets` may have been different. References that cannot be read count as none: the
/// workload is stored already.
fn uses_when_recorded(workload: &Value, settings: &settings::ConfigHash) -> [References; 2] {
    [false, true].map(|image_pull_secrets| {
        let settings = settings::ConfigHash {
            image_pull_secrets,
            ..settings.clone()
        };
        references(workload, &settings).unwrap_or_default()
    })
}

fn cannot_start(request: &Request, gaps: &[Gap]) -> Verdict {
    let gaps: Vec<_> = gaps.iter().map(ToString::to_string).collect();
    Verdict::reject(format!(
        "{} cannot start: {}. Create it first, or mark the reference optional.",
        request.subject(),
        gaps.join("; ")
    ))
}

fn enforce(
    request: &Request,
    frozen: bool,
    observed: &Observed,
    settings: &settings::ConfigHash,
) -> Result<Verdict, Error> {
    let old = old_object(request);
    let last_recorded = old.and_then(stamp::recorded_on);
    let changed = last_recorded
        .as_ref()
        .map(|recorded| stamp::changed(recorded, &observed.configs))
        .unwrap_or_default();
    let stamp = stamp::decide(&request.object, old, frozen, changed);
    let recorded = stamp::to_record(last_recorded.as_ref(), &observed.configs);

    let mut object = request.object.clone();
    stamp::apply(&mut object, old, &stamp, &recorded, settings.strategy)?;
    if let Stamp::Fresh { changed } | Stamp::RollOut { changed } = &stamp
        && settings.change_cause
        && !changed.is_empty()
    {
        stamp::explain(&mut object, old, changed)?;
    }
    let verdict = mutated_to(object, request);
    Ok(match &stamp {
        Stamp::RollOut { changed } => verdict
            .warn(format!(
                "{} rolls out, since its config changed: {}",
                request.subject(),
                stamp::list(changed)
            ))
            .audit("config-changed", stamp::list(changed)),
        Stamp::Fresh { changed } if !changed.is_empty() => {
            verdict.audit("config-changed", stamp::list(changed))
        }
        Stamp::Frozen { changed } => verdict
            .warn(frozen_and_stale(request, &stamp::list(changed)))
            .audit("config-frozen", stamp::list(changed)),
        Stamp::Fresh { .. } | Stamp::Keep => verdict,
    })
}

/// Compares the record on the workload itself, because the audit scanner sends live objects as CREATE.
fn verify(request: &Request, frozen: bool, observed: &Observed) -> Verdict {
    let recorded = stamp::recorded_on(&request.object).unwrap_or_default();
    let stale = stamp::changed(&recorded, &observed.configs);
    let stale_names = stamp::list(&stale);
    match (stale.is_empty(), frozen) {
        (true, _) => Verdict::accept(),
        (false, true) => Verdict::accept().warn(frozen_and_stale(request, &stale_names)),
        (false, false) => Verdict::reject(format!(
            "{} runs stale config: {stale_names} changed since its pods were rolled out. \
             An update of the workload, even an empty patch, rolls it out.",
            request.subject()
        ))
        .audit("config-stale", stale_names),
    }
}

fn frozen_and_stale(request: &Request, stale: &str) -> String {
    format!(
        "{} is frozen ({FREEZE}) and runs stale config: {stale}",
        request.subject()
    )
}

fn keep_stamp(request: &Request, mode: Mode, error: &configs::Error) -> Result<Verdict, Error> {
    let mut object = request.object.clone();
    let old = old_object(request);
    let outcome = match (mode, old) {
        (Mode::Enforce, Some(_)) => "keeps its current config hash",
        (Mode::Enforce, None) => "gets no config hash",
        (Mode::Verify, _) => "cannot be compared with the cluster",
    };
    if mode == Mode::Enforce {
        stamp::keep(&mut object, old)?;
    }
    Ok(mutated_to(object, request)
        .warn(format!("{} {outcome}: {error}", request.subject()))
        .audit("config-not-read", error.to_string()))
}

fn mutated_to(object: Value, request: &Request) -> Verdict {
    let outcome = if object == request.object {
        Outcome::Accept
    } else {
        Outcome::Mutate(object)
    };
    Verdict {
        outcome,
        ..Verdict::default()
    }
}

/// Whether this policy stamps the workload. Its own annotation decides first; then the opt-ins of other
/// tools; then its owner, which would overwrite the template; then the settings.
fn is_chosen(workload: &Value, workloads: settings::Workloads) -> Result<bool, annotations::Error> {
    if let Some(enabled) = annotations::flag(workload, ENABLED)? {
        return Ok(enabled);
    }
    let opted_in = [OBJECT, TEMPLATE].iter().any(|place| {
        FOREIGN_OPT_INS
            .iter()
            .any(|key| annotations::get(workload, place, key) == Some("true"))
    });
    let owners = workload
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let controlled = owners
        .into_iter()
        .flatten()
        .any(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    Ok(opted_in || (!controlled && workloads == settings::Workloads::All))
}

#[cfg(test)]
mod tests;
