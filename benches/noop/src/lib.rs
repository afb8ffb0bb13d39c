//! A policy to compare with in the benchmarks. It reads the request as the SDK does, and accepts it.

use kubewarden_policy_sdk::{accept_request, protocol_version_guest, request::ValidationRequest};
use serde_json::Value;
use wapc_guest::{CallResult, register_function};

#[unsafe(no_mangle)]
#[allow(unsafe_code)]
pub extern "C" fn wapc_init() {
    register_function("validate", validate);
    register_function("protocol_version", protocol_version_guest);
}

fn validate(payload: &[u8]) -> CallResult {
    ValidationRequest::<Value>::new(payload)?;
    accept_request()
}
