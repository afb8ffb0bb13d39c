//! rollout-guard: pods run the config that is in the cluster, and a Helm release never loses what its
//! pods need.
//!
//! ```text
//! AdmissionRequest, settings
//!        │ parse (request, settings)
//!        ▼
//!      route ── object with a pod template ─────────► config_hash ──────────┐
//!        │                                             │ ▲                  ▼
//!        │                                             ▼ │               Verdict ─► ValidationResponse
//!        │                                           cluster                ▲
//!        │                                             ▲ │                  │
//!        │                                             │ ▼                  │
//!        ├───── pending release record ─────────────► release_guard ────────┤
//!        ├───── hook, or deletion in a release ─────►   └ second_line ──────┤
//!        ├───── change of a ConfigMap or Secret ────► config_hash::consumers┤
//!        ├───── deletion of what pods name ─────────► deletion_guard ───────┤
//!        │                                                                  │
//!        └───── anything else ─────────────────────► accept ────────────────┘
//! ```
//!
//! Decisions are pure functions of values; [`cluster`] is the only module that makes host calls.

pub mod annotations;
pub mod cluster;
pub mod config_hash;
pub mod deletion_guard;
pub mod release_guard;
pub mod request;
pub mod settings;
pub mod verdict;

use kubewarden_policy_sdk::{
    protocol_version_guest, response::ValidationResponse, settings::SettingsValidationResponse,
};
use wapc_guest::{CallResult, register_function};

use crate::{
    cluster::{Cluster, Host, InTime},
    config_hash::consumers,
    release_guard::second_line,
    request::{Operation, Payload, Request},
    settings::Settings,
    verdict::Verdict,
};

/// Called by the host when it loads the policy.
#[unsafe(no_mangle)]
#[allow(unsafe_code)]
pub extern "C" fn wapc_init() {
    register_function("validate", validate);
    register_function("validate_settings", validate_settings);
    register_function("protocol_version", protocol_version_guest);
}

fn validate(payload: &[u8]) -> CallResult {
    let elapsed = cluster::stopwatch();
    let verdict = match serde_json::from_slice(payload) {
        Ok(Payload { request, settings }) => match Settings::read(&settings) {
            Ok(settings) => {
                let limit = settings.time_for_look_ups();
                let cluster = InTime::new(Host::policy_server(), limit, elapsed);
                judge(&request, &settings, &cluster)
            }
            Err(error) => Verdict::malformed(format!("the settings cannot be read: {error}")),
        },
        Err(error) => Verdict::malformed(format!("the request cannot be read: {error}")),
    };
    Ok(serde_json::to_vec(&ValidationResponse::from(verdict))?)
}

fn validate_settings(payload: &[u8]) -> CallResult {
    let refused = Settings::from_json(payload).err();
    let response = SettingsValidationResponse {
        valid: refused.is_none(),
        message: refused.map(|error| error.to_string()),
    };
    Ok(serde_json::to_vec(&response)?)
}

/// Answers one request.
pub fn judge(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let mut verdict = route(request, settings, cluster);
    // A deletion may be one in a Helm release too, which is judged by then.
    let mut is_told = false;
    if !verdict.is_rejected() && deletion_guard::concerns(request, settings) {
        let guarded = deletion_guard::judge(request, settings, cluster);
        is_told = request.operation == Operation::Delete && !guarded.warnings.is_empty();
        verdict = verdict.and(guarded);
    }
    let tells = settings.config_hash.warn_consumers && consumers::concerns(request);
    if !tells || is_told || verdict.is_rejected() {
        return verdict;
    }
    consumers::warnings(request, &settings.config_hash, cluster)
        .into_iter()
        .fold(verdict, Verdict::warn)
}

fn route(request: &Request, settings: &Settings, cluster: &dyn Cluster) -> Verdict {
    let guard = &settings.release_guard;
    if config_hash::concerns(request) {
        match settings.config_hash.enabled {
            true => config_hash::judge(request, settings, cluster),
            false => config_hash::leave_alone(request, settings.mode),
        }
    } else if guard.enabled && release_guard::concerns(request) {
        release_guard::judge(request, settings, cluster)
    } else if guard.enabled && guard.hook_requests && second_line::concerns(request) {
        second_line::judge(request, settings, cluster)
    } else {
        Verdict::accept()
    }
}
