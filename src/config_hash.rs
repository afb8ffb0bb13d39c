//! Do the pods run the config that is in the cluster?
//!
//! ```text
//! workload → references → observed (each config read once, uncached; digest) → changed since the pods started
//!          → stamp → stamped object, warnings, audit annotations
//! ```
//!
//! In: CREATE and UPDATE of an object with a pod template at `spec.template`. Out: a [`Verdict`].
//! Refuses: what the settings say about missing config and failed look-ups; annotations and templates
//! of the wrong shape.

pub mod choice;
pub mod configs;
pub mod consumers;
pub mod memory;
pub mod references;
pub mod rollout;
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
    choice::is_chosen,
    configs::{Configs, Gap, Observed},
    memory::{Memory, Now},
    references::{ConfigId, References, references},
    rollout::{Hold, Rollout},
    stamp::Stamp,
};
use crate::{
    annotations::{self, FREEZE},
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

/// Keeps the stamp of a workload that this policy has nothing more to do with: without it, its pods would be
/// restarted by a client that sends the plain manifest.
pub fn leave_alone(request: &Request, mode: Mode) -> Verdict {
    let mut object = request.object.clone();
    match (mode, old_object(request)) {
        (Mode::Enforce, Some(old)) => match stamp::keep(&mut object, Some(old)) {
            Ok(()) => mutated_to(object, request),
            Err(error) => Verdict::malformed(format!("{}: {error}", request.subject())),
        },
        (Mode::Enforce, None) | (Mode::Verify, _) => Verdict::accept(),
    }
}

/// Judges a workload.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let subject = request.subject();
    let verdict = try_judge(request, settings, cluster).unwrap_or_else(|error| match error {
        Error::Annotation(_) | Error::References(_) => {
            Verdict::malformed(format!("{subject}: {error}"))
        }
        Error::Configs(_) => undecided(request, settings.mode, &error),
    });
    choice::warnings(&request.object, settings.config_hash.workloads)
        .into_iter()
        .fold(verdict, |verdict, warning| {
            verdict.warn(format!("{subject}: {warning}"))
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
        return Ok(leave_alone(request, settings.mode));
    }
    let frozen = annotations::flag(object, FREEZE)?.unwrap_or(false);
    let used = references(object, &settings.config_hash)?;
    let old = old_object(request);
    // Verify compares the record on the workload itself: the audit scanner sends live objects as CREATE.
    let (memory, recorded_for) = match (settings.mode, old) {
        (Mode::Enforce, Some(old)) => (Memory::of(Some(old)), vec![old, object]),
        (Mode::Enforce, None) => (Memory::of(None), vec![]),
        (Mode::Verify, _) => (Memory::of(Some(object)), vec![object]),
    };
    let other_uses: Vec<_> = recorded_for
        .into_iter()
        .flat_map(|workload| uses_when_recorded(workload, &settings.config_hash))
        .collect();
    let configs = Configs {
        cluster,
        namespace: &request.namespace,
        key: settings.config_hash.key.as_ref(),
    };
    let observed = match (
        configs.read(&used, &other_uses, &memory),
        settings.lookup_failure,
    ) {
        (Ok(observed), _) => observed,
        (Err(error), LookupFailure::Warn) => return keep_stamp(request, settings.mode, &error),
        (Err(error), LookupFailure::Reject) => return Err(error.into()),
    };
    if settings.config_hash.missing == Missing::Reject && !observed.gaps.is_empty() {
        return Ok(cannot_start(request, &observed.gaps));
    }
    let rollout = rollout::of(&request.kind.group, object, old, frozen);
    let verdict = match settings.mode {
        Mode::Enforce => enforce(request, &rollout, &memory, &observed, &settings.config_hash)?,
        Mode::Verify => verify(request, &rollout, &memory, &observed),
    };
    Ok(with_warnings(
        verdict,
        request,
        &observed,
        settings.config_hash.missing,
    ))
}

fn with_warnings(
    verdict: Verdict,
    request: &Request,
    observed: &Observed,
    missing: Missing,
) -> Verdict {
    let gaps = observed.gaps.iter().map(ToString::to_string);
    observed
        .oddities
        .iter()
        .map(ToString::to_string)
        .chain(gaps.filter(|_| missing != Missing::Ignore))
        .fold(verdict, |verdict, text| {
            verdict.warn(format!("{}: {text}", request.subject()))
        })
}

/// The stored workload; `None` on CREATE.
fn old_object(request: &Request) -> Option<&Value> {
    (request.operation == Operation::Update).then_some(&request.old_object)
}

/// How a workload may have used its configs when their digests were recorded: `imagePullSecrets` may have been
/// different. References that cannot be read count as none: the workload is stored already.
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
    rollout: &Rollout,
    memory: &Memory<'_>,
    observed: &Observed,
    settings: &settings::ConfigHash,
) -> Result<Verdict, Error> {
    let old = old_object(request);
    let changed = memory.changed(&observed.configs);
    let stamp = stamp::decide(old.is_none(), !changed.is_empty(), rollout.hold());
    let recorded = memory.next(observed, matches!(stamp, Stamp::New | Stamp::RollOut));

    let mut object = request.object.clone();
    stamp::apply(&mut object, old, stamp, &recorded, settings.strategy)?;
    match (stamp, old) {
        (Stamp::RollOut, _) if settings.change_cause => {
            stamp::explain(&mut object, old, &changed)?;
        }
        (Stamp::Keep | Stamp::Held(_), Some(old)) => stamp::forget_cause(&mut object, old)?,
        (Stamp::New | Stamp::RollOut | Stamp::Keep | Stamp::Held(_), _) => {}
    }

    let verdict = mutated_to(object, request);
    let changed = list(&changed);
    let subject = request.subject();
    Ok(match stamp {
        Stamp::RollOut => verdict
            .warn(rollout.announced(&subject, &changed))
            .audit("config-changed", changed),
        Stamp::Held(hold) => verdict
            .warn(hold.explained(&subject, &changed))
            .audit(hold.audit_key(), changed),
        Stamp::New | Stamp::Keep => verdict,
    })
}

/// Compares the record on the workload itself.
fn verify(
    request: &Request,
    rollout: &Rollout,
    memory: &Memory<'_>,
    observed: &Observed,
) -> Verdict {
    let stale = memory.changed(&observed.configs);
    let subject = request.subject();
    if !stale.is_empty() {
        let stale = list(&stale);
        return match rollout.hold() {
            Some(Hold::Freeze) => Verdict::accept().warn(Hold::Freeze.explained(&subject, &stale)),
            Some(hold) => {
                Verdict::reject(hold.explained(&subject, &stale)).audit("config-stale", stale)
            }
            None => Verdict::reject(format!(
                "{subject} runs stale config: {stale} changed since its pods were rolled out. \
                 An update of the workload, even an empty patch, rolls it out."
            ))
            .audit("config-stale", stale),
        };
    }
    let reads_config = observed
        .configs
        .values()
        .any(|seen| matches!(seen.now, Now::Digest(_)));
    match rollout::left_behind(request) {
        Some(_) if reads_config && !memory.is_there() => Verdict::reject(format!(
            "{subject} was never compared with its config. An update of the workload, even an empty patch, \
             records what its pods run."
        )),
        Some(pods) if reads_config && pods.old > 0 => Verdict::reject(format!(
            "{subject}: {} of its {} pods still run an older pod template, and maybe older config.",
            pods.old, pods.all
        )),
        Some(_) | None => Verdict::accept(),
    }
}

/// `ConfigMap a, Secret b`
fn list(configs: &[ConfigId]) -> String {
    configs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
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

#[cfg(test)]
mod tests;
