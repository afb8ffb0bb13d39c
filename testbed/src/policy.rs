//! Loads a policy and calls it, with a new instance for each call.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use json_patch::Patch;
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::{Value, json};
use testbed_engine::{Engine, Guests, Limits};
use wapc::WapcHost;

use crate::host::{Host, Record};
use crate::{Cluster, HostCall, Objects};

/// A loaded policy. Clones share the code, and threads may call it at the same time.
#[derive(Clone)]
pub struct Policy {
    guests: Guests,
    limits: Limits,
}

/// The result of a request.
#[derive(Debug)]
pub struct Evaluation {
    /// The answer of the policy. If the policy failed, the rejection that policy-server answers.
    pub response: ValidationResponse,
    /// From the object of the request to the mutated object. Empty if nothing changed.
    pub patch: Patch,
    /// In the order of the calls.
    pub host_calls: Vec<HostCall>,
    /// Events that the policy logged: `level`, `message` and fields of its own.
    pub logs: Vec<Value>,
}

impl Policy {
    /// Loads a policy from a file. With a compiler this is slow, so load it once and call it often.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not WebAssembly, or imports what the host does not have.
    pub fn load(path: &Path, engine: Engine) -> anyhow::Result<Self> {
        let code =
            fs::read(path).with_context(|| format!("cannot read the policy {}", path.display()))?;
        Self::of(&code, engine)
            .with_context(|| format!("{} is not a policy that can be run", path.display()))
    }

    /// Loads a policy from its code.
    ///
    /// # Errors
    ///
    /// When it is not WebAssembly, or imports what the host does not have.
    pub fn of(code: &[u8], engine: Engine) -> anyhow::Result<Self> {
        Ok(Self {
            guests: engine(code)?,
            limits: Limits::default(),
        })
    }

    /// Limits the linear memory of each instance, in bytes. An instance that needs more fails as if it had panicked.
    /// policy-server has no such limit. Other clones keep their limits; at first there is none.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Limits the time of each call, including host calls. policy-server allows two seconds by default. Other clones
    /// keep their limits; at first there is none, and time stands still for the policy.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.limits.time = Some(limit);
        self
    }

    /// Lets the policy judge an AdmissionRequest.
    ///
    /// As in policy-server, these are rejections, not errors:
    ///
    /// | what happened | code | message |
    /// | --- | --- | --- |
    /// | the policy returned an error, panicked or trapped | 500 | `internal server error: Guest call failure: …` |
    /// | it took longer than its [limit](Self::with_time_limit) | 500 | `Policy execution interrupted because it exceeded the allowed execution time` |
    /// | its answer is not a ValidationResponse | 500 | `internal server error: invalid response from policy: …` |
    /// | it mutates a request without an object (DELETE) | none | `Incoming object is null, …` |
    ///
    /// # Errors
    ///
    /// When the policy cannot be instantiated.
    pub fn validate(
        &self,
        request: &Value,
        settings: &Value,
        cluster: Arc<dyn Cluster>,
    ) -> anyhow::Result<Evaluation> {
        let payload = json!({"request": request, "settings": settings}).to_string();
        let host = Arc::new(Host::new(cluster));
        let reply = self.invoke("validate", payload.as_bytes(), &host)?;

        let (response, patch) = read_response(reply, request.get("object"));
        let Record { calls, logs } = host.take_record();
        Ok(Evaluation {
            response,
            patch,
            host_calls: calls,
            logs,
        })
    }

    /// Lets the policy check its settings. As in policy-server, they are invalid if the policy does not answer.
    ///
    /// # Errors
    ///
    /// When the policy cannot be instantiated.
    pub fn validate_settings(
        &self,
        settings: &Value,
    ) -> anyhow::Result<SettingsValidationResponse> {
        let host = Arc::new(Host::new(Arc::new(Objects::default())));
        let reply = self.invoke("validate_settings", settings.to_string().as_bytes(), &host)?;

        let answer = match reply {
            Ok(answer) => {
                serde_json::from_slice(&answer).map_err(|error| format!("error: {error:?}"))
            }
            Err(error) => Err(format!(
                "Error invoking settings validation callback: {error:?}"
            )),
        };
        Ok(answer.unwrap_or_else(|message| SettingsValidationResponse {
            valid: false,
            message: Some(message),
        }))
    }

    /// Calls a waPC function of the policy by its name, such as `protocol_version`. The cluster is empty.
    ///
    /// # Errors
    ///
    /// When the policy cannot be instantiated, or answers with an error.
    pub fn call(&self, function: &str, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let host = Arc::new(Host::new(Arc::new(Objects::default())));
        Ok(self.invoke(function, payload, &host)??)
    }

    /// The outer result is about the instance, the inner one about the call.
    fn invoke(
        &self,
        function: &str,
        payload: &[u8],
        host: &Arc<Host>,
    ) -> anyhow::Result<Result<Vec<u8>, wapc::errors::Error>> {
        let host = Arc::clone(host);
        let callback =
            move |_id: u64, binding: &str, namespace: &str, operation: &str, payload: &[u8]| {
                Ok(host.answer(binding, namespace, operation, payload)?)
            };
        let guest = match WapcHost::new(self.guests.guest(self.limits), Some(Box::new(callback))) {
            // The code of the guest took too long. This is an error of the guest, not of the host.
            Err(error) if is_interruption(&error.to_string()) => return Ok(Err(error)),
            guest => guest.context("the policy cannot be instantiated")?,
        };
        Ok(guest.call(function, payload))
    }
}

fn read_response(
    reply: Result<Vec<u8>, wapc::errors::Error>,
    object: Option<&Value>,
) -> (ValidationResponse, Patch) {
    let response = match reply {
        Ok(answer) => serde_json::from_slice(&answer).unwrap_or_else(|error| {
            let message = format!("internal server error: invalid response from policy: {error}");
            rejection(message, Some(500))
        }),
        Err(error) if is_interruption(&error.to_string()) => {
            let message =
                "Policy execution interrupted because it exceeded the allowed execution time";
            rejection(message.to_owned(), Some(500))
        }
        Err(error) => rejection(format!("internal server error: {error}"), Some(500)),
    };

    let object = object.filter(|object| !object.is_null());
    match (object, &response.mutated_object) {
        (_, None) => (response, Patch::default()),
        (Some(object), Some(mutated)) => {
            let patch = json_patch::diff(object, mutated);
            (response, patch)
        }
        (None, Some(_)) => {
            let message = "Incoming object is null, which happens only with DELETE operations, but the policy is attempting a mutation. This is not allowed";
            (rejection(message.to_owned(), None), Patch::default())
        }
    }
}

/// The engine has no type for this error, only this text. policy-server looks for it too.
fn is_interruption(error: &str) -> bool {
    error.contains("interrupted, execution deadline exceeded")
}

fn rejection(message: String, code: Option<u16>) -> ValidationResponse {
    ValidationResponse {
        accepted: false,
        message: Some(message),
        code,
        mutated_object: None,
        audit_annotations: None,
        warnings: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &Value, object: &Value) -> (ValidationResponse, Value) {
        let (response, patch) = read_response(Ok(answer.to_string().into_bytes()), Some(object));
        (response, json!(patch))
    }

    #[test]
    fn the_patch_is_the_difference_between_the_objects() {
        let object = json!({"metadata": {"name": "app"}, "spec": {"replicas": 1, "paused": true}});
        let mutated = json!({"metadata": {"name": "app", "annotations": {"a/b": "c"}}, "spec": {"replicas": 2}});

        let (response, patch) = read(
            &json!({"accepted": true, "mutated_object": mutated}),
            &object,
        );
        assert!(response.accepted);
        assert_eq!(
            patch,
            json!([
                {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "c"}},
                {"op": "replace", "path": "/spec/replicas", "value": 2},
                {"op": "remove", "path": "/spec/paused"},
            ])
        );
    }

    #[test]
    fn no_difference_is_an_empty_patch() {
        let object = json!({"spec": {"replicas": 1}});
        let same = json!({"accepted": true, "mutated_object": object});
        let none = json!({"accepted": true});

        assert_eq!(read(&same, &object).1, json!([]));
        assert_eq!(read(&none, &object).1, json!([]));
    }

    #[test]
    fn a_mutation_without_an_object_is_rejected() {
        let answer = json!({"accepted": true, "mutated_object": {"spec": {}}});

        let (response, patch) = read(&answer, &Value::Null);
        assert!(!response.accepted);
        assert_eq!(response.code, None);
        assert_eq!(
            response.message.as_deref(),
            Some(
                "Incoming object is null, which happens only with DELETE operations, but the policy is attempting a mutation. This is not allowed"
            )
        );
        assert_eq!(patch, json!([]));
    }

    #[test]
    fn an_answer_in_another_form_is_rejected() {
        let (response, _) = read(&json!({"verdict": "fine"}), &json!({}));

        assert!(!response.accepted);
        assert_eq!(response.code, Some(500));
        assert_eq!(
            response.message.as_deref(),
            Some(
                "internal server error: invalid response from policy: missing field `accepted` at line 1 column 18"
            )
        );
    }

    #[test]
    fn policies_are_shared_between_threads() {
        fn is_shared<T: Send + Sync + Clone>() {}
        is_shared::<Policy>();
    }
}
