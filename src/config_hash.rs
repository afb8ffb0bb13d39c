//! Do the pods run the config that is in the cluster?
//!
//! ```text
//! workload → references → seen (each config read once, uncached; digest) → changed since oldObject
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

use std::collections::BTreeMap;

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
    configs::Configs,
    references::{ConfigId, References, references},
    stamp::{Seen, Stamp},
};
use crate::{
    annotations::{self, ENABLED, FOREIGN_OPT_INS, FREEZE, OBJECT, TEMPLATE},
    cluster::Cluster,
    request::{Operation, Request},
    settings::{self, LookupFailure, Missing, Mode, Settings},
    verdict::{Outcome, Verdict},
};

/// Whether the request writes a workload whose pods are rolled out when its pod template changes.
pub fn concerns(request: &Request) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    // The updates that remove its finalizers must pass: its config may be gone already.
    let is_deleted = request
        .object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|timestamp| !timestamp.is_null());
    let kind = (request.kind.group.as_str(), request.kind.kind.as_str());
    // Their templates are never rolled out.
    let fixed = [
        (Job::GROUP, Job::KIND),
        (ReplicaSet::GROUP, ReplicaSet::KIND),
        (ReplicationController::GROUP, ReplicationController::KIND),
    ];
    // Of other kinds, `spec.template` may be a template of something else (a SealedSecret's Secret).
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
        && !fixed.contains(&kind)
        && (known || has_pods)
}

/// Judges a workload.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let subject = request.subject();
    stamped(request, settings, cluster).unwrap_or_else(|trouble| match trouble {
        Trouble::Malformed(error) => Verdict::malformed(format!("{subject}: {error}")),
        Trouble::Lookup(error) => Verdict::undecided(format!(
            "{subject}: its config cannot be hashed, since {error}. Nothing was changed. \
             `lookupFailure: warn` would let it pass with its old stamp."
        )),
    })
}

enum Trouble {
    Malformed(String),
    Lookup(String),
}

fn stamped(
    request: &Request,
    settings: &Settings,
    cluster: &dyn Cluster,
) -> Result<Verdict, Trouble> {
    let object = &request.object;
    let old = (request.operation == Operation::Update).then_some(&request.old_object);
    if !chosen(object, settings.config_hash.workloads).map_err(Trouble::Malformed)? {
        return Ok(Verdict::accept());
    }
    let frozen = annotations::flag(object, FREEZE)
        .map_err(Trouble::Malformed)?
        .unwrap_or(false);
    let used = references(object, &settings.config_hash).map_err(Trouble::Malformed)?;
    let measures = match settings.mode {
        Mode::Enforce => old.map(|old| vec![old, object]).unwrap_or_default(),
        // What the workload itself remembers is compared.
        Mode::Verify => vec![object],
    };
    let used_before: Vec<_> = measures
        .into_iter()
        .flat_map(|workload| used_before(workload, &settings.config_hash))
        .collect();

    let configs = Configs {
        cluster,
        namespace: &request.namespace,
        key: settings.config_hash.key.as_ref(),
    };
    let (seen, missing) = match configs.look_at(&used, &used_before) {
        Ok(seen) => seen,
        Err(error) if settings.lookup_failure == LookupFailure::Warn => {
            return keep_stamp(request, settings.mode, old, &error);
        }
        Err(error) => return Err(Trouble::Lookup(error)),
    };
    if settings.config_hash.missing == Missing::Reject && !missing.is_empty() {
        return Ok(Verdict::reject(format!(
            "{} cannot start: {}. Create it first, or mark the reference optional.",
            request.subject(),
            missing.join("; ")
        )));
    }
    let verdict = match settings.mode {
        Mode::Enforce => enforce(request, old, frozen, &seen, &settings.config_hash)?,
        Mode::Verify => verify(request, frozen, &seen),
    };
    Ok(match settings.config_hash.missing {
        Missing::Ignore => verdict,
        _ => missing.iter().fold(verdict, |verdict, missing| {
            verdict.warn(format!("{}: {missing}", request.subject()))
        }),
    })
}

/// How a workload may have used its configs when they were recorded: `imagePullSecrets` may have been
/// set otherwise then. What `oldObject` made of its annotations is past mending.
fn used_before(workload: &Value, settings: &settings::ConfigHash) -> [References; 2] {
    [false, true].map(|image_pull_secrets| {
        let settings = settings::ConfigHash {
            image_pull_secrets,
            ..settings.clone()
        };
        references(workload, &settings).unwrap_or_default()
    })
}

fn enforce(
    request: &Request,
    old: Option<&Value>,
    frozen: bool,
    seen: &BTreeMap<ConfigId, Seen>,
    settings: &settings::ConfigHash,
) -> Result<Verdict, Trouble> {
    let memory = stamp::remembered(old);
    let changed = memory
        .as_ref()
        .map(|memory| stamp::changed(memory, seen))
        .unwrap_or_default();
    let stamp = stamp::decide(&request.object, old, frozen, changed);
    let recorded = stamp::recorded(memory.as_ref(), seen);

    let mut object = request.object.clone();
    stamp::apply(&mut object, old, &stamp, &recorded, settings.strategy)
        .map_err(Trouble::Malformed)?;
    if let Stamp::Fresh { changed } | Stamp::RollOut { changed } = &stamp
        && settings.change_cause
        && !changed.is_empty()
    {
        stamp::explain(&mut object, old, changed).map_err(Trouble::Malformed)?;
    }
    let verdict = mutated_to(object, request);
    let subject = request.subject();
    Ok(match &stamp {
        Stamp::RollOut { changed } => verdict
            .warn(format!(
                "{subject} rolls out, since its config changed: {}",
                stamp::list(changed)
            ))
            .audit("config-changed", stamp::list(changed)),
        Stamp::Fresh { changed } if !changed.is_empty() => {
            verdict.audit("config-changed", stamp::list(changed))
        }
        Stamp::Frozen { changed } => verdict
            .warn(format!(
                "{subject} is frozen ({FREEZE}) and runs stale config: {}",
                stamp::list(changed)
            ))
            .audit("config-frozen", stamp::list(changed)),
        Stamp::Fresh { .. } | Stamp::Keep => verdict,
    })
}

/// Compares what the workload itself remembers, since the audit scanner sends live objects as CREATE.
fn verify(request: &Request, frozen: bool, seen: &BTreeMap<ConfigId, Seen>) -> Verdict {
    let memory = stamp::remembered(Some(&request.object)).unwrap_or_default();
    let stale = stamp::changed(&memory, seen);
    let subject = request.subject();
    match (stale.is_empty(), frozen) {
        (true, _) => Verdict::accept(),
        (false, true) => Verdict::accept().warn(format!(
            "{subject} is frozen ({FREEZE}) and runs stale config: {}",
            stamp::list(&stale)
        )),
        (false, false) => Verdict::reject(format!(
            "{subject} runs stale config: {} changed since its pods were rolled out. \
             An update of the workload, even an empty patch, rolls it out.",
            stamp::list(&stale)
        ))
        .audit("config-stale", stamp::list(&stale)),
    }
}

fn keep_stamp(
    request: &Request,
    mode: Mode,
    old: Option<&Value>,
    error: &str,
) -> Result<Verdict, Trouble> {
    let mut object = request.object.clone();
    let outcome = match mode {
        Mode::Enforce => {
            stamp::keep(&mut object, old).map_err(Trouble::Malformed)?;
            "keeps its old stamp"
        }
        Mode::Verify => "cannot be compared with the cluster",
    };
    Ok(mutated_to(object, request)
        .warn(format!("{} {outcome}: {error}", request.subject()))
        .audit("config-not-read", error))
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

/// Whether the workload is ours to stamp. Its own annotation wins; then the opt-ins of other tools;
/// then its owner, which would write the template back; then the settings.
fn chosen(workload: &Value, workloads: settings::Workloads) -> Result<bool, String> {
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
