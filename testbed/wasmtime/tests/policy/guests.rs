//! Tiny guests in both engines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Evaluation, HostError, Objects, Policy, wasmi};
use testbed_wasmtime::wasmtime;

use crate::root;

/// The same guest in both engines.
fn load(guest: &str) -> [Policy; 2] {
    let code = wat::parse_file(root().join("testbed/tests").join(guest)).unwrap();
    [wasmi, wasmtime].map(|engine| Policy::of(&code, engine).unwrap())
}

/// What each engine answers.
fn evaluations(guest: &str, cluster: impl Fn() -> Objects) -> [Evaluation; 2] {
    load(guest).map(|policy| validate(&policy, cluster()))
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
    for evaluation in evaluations("guest.wat", || Objects::new([config_map()])) {
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
}

#[test]
fn every_evaluation_has_a_new_instance_on_any_thread() {
    for policy in load("guest.wat") {
        let threads = [policy.clone(), policy].map(|policy| {
            std::thread::spawn(move || validate(&policy, Objects::new([config_map()])))
        });
        for thread in threads {
            assert_eq!(thread.join().unwrap().host_calls.len(), 1);
        }
    }
}

#[track_caller]
fn assert_rejected(guest: &str, cluster: impl Fn() -> Objects, message: &str) {
    for evaluation in evaluations(guest, cluster) {
        let response = evaluation.response;
        assert!(!response.accepted);
        assert_eq!(response.code, Some(500));
        assert_eq!(response.message.as_deref(), Some(message));
        assert!(evaluation.patch.is_empty());
    }
}

#[test]
fn the_guest_sees_the_texts_of_policy_server() {
    assert_rejected(
        "guest.wat",
        Objects::default,
        "internal server error: Guest call failure: Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some(\"shop\")'",
    );
    assert_rejected(
        "guest.wat",
        || Objects::default().denied("v1", "ConfigMap"),
        "internal server error: Guest call failure: Policy has not been granted access to Kubernetes v1/ConfigMap resources. The violation has been reported.",
    );
    assert_rejected(
        "guest.wat",
        || Objects::default().failing("v1", "ConfigMap", "app", "timed out"),
        "internal server error: Guest call failure: Callback evaluation failure: timed out",
    );
}

#[test]
fn failed_look_ups_are_recorded() {
    for evaluation in evaluations("guest.wat", Objects::default) {
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
}

#[test]
fn a_trap_is_a_rejection() {
    for evaluation in evaluations("trap.wat", Objects::default) {
        let response = evaluation.response;
        assert!(!response.accepted);
        assert_eq!(response.code, Some(500));
        let message = response.message.unwrap();
        assert!(
            message.starts_with("internal server error: Guest call failure: "),
            "{message}"
        );
    }
}

/// An import that is called wrongly does not harm the host.
#[test]
fn an_address_outside_of_the_memory_is_a_trap() {
    for evaluation in evaluations("wild.wat", Objects::default) {
        let message = evaluation.response.message.unwrap();
        assert!(
            message.starts_with("internal server error: Guest call failure: "),
            "{message}"
        );
    }
}

#[test]
fn a_guest_that_takes_too_long_is_a_rejection() {
    for guest in ["endless.wat", "endless_start.wat"] {
        for policy in load(guest) {
            let policy = policy.with_time_limit(Duration::from_millis(1));
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
}

/// A policy that gives up in time would answer something else on a slow machine.
#[test]
fn time_goes_on_for_a_guest_that_has_a_limit() {
    let time = |policy: &Policy| {
        let bytes = policy.call("time", b"").unwrap();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    for policy in load("clock.wat") {
        assert_eq!(time(&policy), 0);
        let limited = policy.with_time_limit(Duration::from_secs(3600));
        assert!(time(&limited) < time(&limited));
    }
}

#[test]
fn a_guest_that_takes_too_much_memory_is_a_rejection() {
    const MIB: usize = 1 << 20;
    for policy in load("hungry.wat") {
        let accepts = |bytes| {
            let policy = policy.clone().with_memory_limit(bytes);
            validate(&policy, Objects::default()).response.accepted
        };
        assert!(!accepts(MIB));
        assert!(accepts(2 * MIB));
    }
}

#[test]
fn a_time_limit_applies_to_each_evaluation() {
    for policy in load("endless.wat") {
        let limited = policy.with_time_limit(Duration::from_millis(1));
        for _ in 0..3 {
            assert!(!validate(&limited, Objects::default()).response.accepted);
            let check = limited.validate_settings(&json!({})).unwrap();
            assert!(check.valid);
        }
    }
}

#[test]
fn the_guest_decides_whether_settings_are_valid() {
    for policy in load("guest.wat") {
        assert!(policy.validate_settings(&json!({})).unwrap().valid);
    }
    for policy in load("trap.wat") {
        let check = policy.validate_settings(&json!({})).unwrap();
        assert!(!check.valid);
        let message = check.message.unwrap();
        assert!(
            message.starts_with("Error invoking settings validation callback: GuestCallFailure("),
            "{message}"
        );
    }
}

#[test]
fn functions_are_called_by_name() {
    for policy in load("guest.wat") {
        let answer = policy.call("validate_settings", b"{}").unwrap();
        assert_eq!(answer, br#"{"valid":true}"#);
    }
    for policy in load("trap.wat") {
        let error = policy.call("protocol_version", b"").unwrap_err();
        assert!(
            error.to_string().starts_with("Guest call failure: "),
            "{error}"
        );
    }
}

#[test]
fn a_missing_file_is_named_in_the_error() {
    let error = Policy::load(Path::new("no-such-policy.wasm"), wasmi)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "cannot read the policy no-such-policy.wasm"
    );
}
