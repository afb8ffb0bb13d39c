//! Tiny guests in the real engine.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Evaluation, HostError, Objects, Policy};

fn load(guest: &str) -> Policy {
    // The engine also accepts WebAssembly as text.
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(guest);
    Policy::load(&path).unwrap()
}

fn validate(policy: &Policy, cluster: Objects) -> Evaluation {
    let request = json!({"operation": "UPDATE", "object": {"seen": false}});
    policy
        .validate(&request, &json!({}), Arc::new(cluster))
        .unwrap()
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "app"}})
}

#[test]
fn a_guest_looks_up_an_object_to_judge_a_request() {
    let evaluation = validate(&load("guest.wat"), Objects::new([config_map()]));

    assert!(evaluation.response.accepted);
    assert_eq!(
        json!(evaluation.patch),
        json!([{"op": "replace", "path": "/seen", "value": true}])
    );
    let [call] = evaluation.host_calls.as_slice() else {
        unreachable!("one host call: {:?}", evaluation.host_calls)
    };
    assert_eq!(call.operation, "get_resource");
    assert_eq!(call.request["name"], "app");
    assert_eq!(call.answer, Ok(config_map().to_string().len()));
}

#[test]
fn every_evaluation_has_a_new_instance_on_any_thread() {
    let policy = load("guest.wat");
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let policy = policy.clone();
            std::thread::spawn(move || validate(&policy, Objects::new([config_map()])))
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().host_calls.len(), 1);
    }
}

#[track_caller]
fn assert_rejected(cluster: Objects, message: &str) {
    let evaluation = validate(&load("guest.wat"), cluster);
    let response = evaluation.response;
    assert!(!response.accepted);
    assert_eq!(response.code, Some(500));
    assert_eq!(response.message.as_deref(), Some(message));
    assert!(evaluation.patch.is_empty());
}

#[test]
fn the_guest_sees_the_texts_of_policy_server() {
    assert_rejected(
        Objects::default(),
        "internal server error: Guest call failure: Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some(\"shop\")'",
    );
    assert_rejected(
        Objects::default().denied("v1", "ConfigMap"),
        "internal server error: Guest call failure: Policy has not been granted access to Kubernetes v1/ConfigMap resources. The violation has been reported.",
    );
    assert_rejected(
        Objects::default().failing("v1", "ConfigMap", "app", "timed out"),
        "internal server error: Guest call failure: Callback evaluation failure: timed out",
    );
}

#[test]
fn failed_look_ups_are_recorded() {
    let evaluation = validate(&load("guest.wat"), Objects::default());
    let answers: Vec<_> = evaluation
        .host_calls
        .iter()
        .map(|call| &call.answer)
        .collect();
    assert!(
        matches!(answers.as_slice(), [Err(HostError::Absent(_))]),
        "{answers:?}"
    );
}

#[test]
fn a_trap_is_a_rejection() {
    let response = validate(&load("trap.wat"), Objects::default()).response;
    assert!(!response.accepted);
    assert_eq!(response.code, Some(500));
    let message = response.message.unwrap();
    assert!(
        message.starts_with("internal server error: Guest call failure: "),
        "{message}"
    );
}

#[test]
fn a_guest_that_takes_too_long_is_a_rejection() {
    for guest in ["endless.wat", "endless_start.wat"] {
        let policy = load(guest).with_time_limit(Duration::from_millis(1));
        let response = validate(&policy, Objects::default()).response;
        assert!(!response.accepted);
        assert_eq!(response.code, Some(500));
        assert_eq!(
            response.message.as_deref(),
            Some("Policy execution interrupted because it exceeded the allowed execution time"),
            "{guest}"
        );
    }
}

#[test]
fn a_guest_that_takes_too_much_memory_is_a_rejection() {
    const MIB: usize = 1 << 20;
    let accepts = |bytes| {
        let policy = load("hungry.wat").with_memory_limit(bytes).unwrap();
        validate(&policy, Objects::default()).response.accepted
    };
    assert!(!accepts(MIB));
    assert!(accepts(2 * MIB));
}

#[test]
fn a_time_limit_applies_to_each_evaluation() {
    let limited = load("endless.wat").with_time_limit(Duration::from_millis(1));
    for _ in 0..3 {
        assert!(!validate(&limited, Objects::default()).response.accepted);
        let check = limited.validate_settings(&json!({})).unwrap();
        assert!(check.valid);
    }
}

#[test]
fn the_guest_decides_whether_settings_are_valid() {
    let check = load("guest.wat").validate_settings(&json!({})).unwrap();
    assert!(check.valid);

    let check = load("trap.wat").validate_settings(&json!({})).unwrap();
    assert!(!check.valid);
    let message = check.message.unwrap();
    assert!(
        message.starts_with("Error invoking settings validation callback: GuestCallFailure("),
        "{message}"
    );
}

#[test]
fn functions_are_called_by_name() {
    let answer = load("guest.wat").call("validate_settings", b"{}").unwrap();
    assert_eq!(answer, br#"{"valid":true}"#);

    let error = load("trap.wat").call("protocol_version", b"").unwrap_err();
    assert!(
        error.to_string().starts_with("Guest call failure: "),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named_in_the_error() {
    let error = Policy::load(Path::new("no-such-policy.wasm"))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "cannot read the policy no-such-policy.wasm"
    );
}
