//! Turns evaluations into text for people and JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use json_patch::PatchOperation;
use json_patch::jsonptr::Pointer;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::{Value, json};

use crate::{Evaluation, HostCall, HostError};

/// The verdict, followed by a section for each part that is not empty.
pub fn text(evaluation: &Evaluation) -> String {
    let response = &evaluation.response;
    let mut text = match (response.accepted, response.code) {
        (true, _) if evaluation.patch.is_empty() => "accepted, without changes\n".to_owned(),
        (true, _) => "accepted, with changes\n".to_owned(),
        (false, Some(code)) => format!("rejected, code {code}\n"),
        (false, None) => "rejected\n".to_owned(),
    };

    let message = response.message.iter().cloned();
    section(&mut text, "message", message);
    let warnings = response.warnings.iter().flatten().cloned();
    section(&mut text, "warnings", warnings);
    let annotations = audit_annotations(evaluation);
    let annotations = annotations
        .iter()
        .map(|(key, value)| format!("{key}: {value}"));
    section(&mut text, "audit annotations", annotations);
    let changes = evaluation.patch.iter().map(change);
    section(&mut text, "changes to the object", changes);
    let calls = evaluation.host_calls.iter().map(call);
    section(&mut text, "look-ups in the cluster", calls);
    let logs = evaluation.logs.iter().map(Value::to_string);
    section(&mut text, "log", logs);
    text
}

/// ```json
/// {"accepted": false, "code": 400, "message": "…", "warnings": [], "auditAnnotations": {}, "patch": [],
///  "hostCalls": [{"operation": "get_resource", "request": {}, "answer": "found", "bytes": 12},
///                {"operation": "get_resource", "request": {}, "answer": "absent", "error": "…"}],
///  "logs": []}
/// ```
pub fn json(evaluation: &Evaluation) -> Value {
    let response = &evaluation.response;
    json!({
        "accepted": response.accepted,
        "code": response.code,
        "message": response.message,
        "warnings": response.warnings.as_deref().unwrap_or_default(),
        "auditAnnotations": audit_annotations(evaluation),
        "patch": evaluation.patch,
        "hostCalls": evaluation.host_calls,
        "logs": evaluation.logs,
    })
}

pub fn settings(check: &SettingsValidationResponse) -> String {
    match (check.valid, &check.message) {
        (true, _) => "the settings are valid".to_owned(),
        (false, Some(message)) => format!("the settings are not valid: {message}"),
        (false, None) => "the settings are not valid".to_owned(),
    }
}

fn section(text: &mut String, title: &str, entries: impl Iterator<Item = String>) {
    for (position, entry) in entries.enumerate() {
        if position == 0 {
            let _ = write!(text, "\n{title}:\n");
        }
        let _ = writeln!(text, "  {}", entry.trim_end().replace('\n', "\n  "));
    }
}

fn audit_annotations(evaluation: &Evaluation) -> BTreeMap<&str, &str> {
    let annotations = evaluation.response.audit_annotations.iter().flatten();
    annotations
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn change(operation: &PatchOperation) -> String {
    match operation {
        PatchOperation::Add(add) => format!("add {} = {}", field(&add.path), add.value),
        PatchOperation::Replace(replace) => {
            format!("replace {} = {}", field(&replace.path), replace.value)
        }
        PatchOperation::Remove(remove) => format!("remove {}", field(&remove.path)),
        // The difference between two objects has only the three operations above.
        PatchOperation::Move(_) | PatchOperation::Copy(_) | PatchOperation::Test(_) => {
            operation.to_string()
        }
    }
}

/// `metadata.annotations["a/b"]` for `/metadata/annotations/a~1b`.
fn field(path: &Pointer) -> String {
    let mut field = String::new();
    for token in path.tokens() {
        let name = token.decoded();
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
            let _ = write!(field, "[{name}]");
        } else if name.chars().all(|c| c.is_ascii_alphanumeric()) {
            let dot = if field.is_empty() { "" } else { "." };
            let _ = write!(field, "{dot}{name}");
        } else {
            let _ = write!(field, "[{name:?}]");
        }
    }
    field
}

/// `get_resource v1/ConfigMap shop/app: found, 120 bytes`.
fn call(call: &HostCall) -> String {
    let field = |name: &str| call.request.get(name).and_then(Value::as_str);
    let mut line = call.operation.clone();
    if let (Some(api_version), Some(kind)) = (field("api_version"), field("kind")) {
        let _ = write!(line, " {api_version}/{kind}");
    }
    let _ = match (field("namespace"), field("name")) {
        (Some(namespace), Some(name)) => write!(line, " {namespace}/{name}"),
        (Some(namespace), None) => write!(line, " in {namespace}"),
        (None, Some(name)) => write!(line, " {name}"),
        (None, None) => Ok(()),
    };
    if let Some(selector) = field("label_selector") {
        let _ = write!(line, ", labels {selector}");
    }
    if let Some(selector) = field("field_selector") {
        let _ = write!(line, ", fields {selector}");
    }
    let _ = write!(line, ": {}", call.outcome());
    let _ = match &call.answer {
        Ok(bytes) => write!(line, ", {bytes} bytes"),
        Err(HostError::Absent(_) | HostError::Denied(_)) => Ok(()),
        Err(HostError::Failed(text)) => write!(line, ", {text}"),
    };
    line
}

#[cfg(test)]
mod tests {
    use kubewarden_policy_sdk::response::ValidationResponse;

    use super::*;

    fn evaluation(response: Value, host_calls: Vec<HostCall>) -> Evaluation {
        let response: ValidationResponse = serde_json::from_value(response).unwrap();
        let mutated = response.mutated_object.clone().unwrap_or(json!({}));
        Evaluation {
            response,
            patch: json_patch::diff(&json!({}), &mutated),
            host_calls,
            logs: vec![],
        }
    }

    fn get(name: &str, answer: Result<usize, HostError>) -> HostCall {
        HostCall {
            operation: "get_resource".to_owned(),
            request: json!({"api_version": "v1", "kind": "Secret", "namespace": "shop", "name": name}),
            answer,
        }
    }

    #[test]
    fn a_rejection_in_words() {
        let list = HostCall {
            operation: "list_resources_by_namespace".to_owned(),
            request: json!({"api_version": "v1", "kind": "Secret", "namespace": "shop",
                            "label_selector": "owner=helm", "field_selector": null}),
            answer: Err(HostError::failed("timed out")),
        };
        let calls = vec![
            get("a", Ok(120)),
            get("b", Err(HostError::Absent("…".to_owned()))),
            get("c", Err(HostError::denied("v1", "Secret"))),
            list,
        ];
        let rejection = evaluation(
            json!({"accepted": false, "code": 400, "message": "the first line\nthe second",
                   "warnings": ["one", "two"], "audit_annotations": {"b": "2", "a": "1"}}),
            calls,
        );

        assert_eq!(
            text(&rejection),
            "\
rejected, code 400

message:
  the first line
  the second

warnings:
  one
  two

audit annotations:
  a: 1
  b: 2

look-ups in the cluster:
  get_resource v1/Secret shop/a: found, 120 bytes
  get_resource v1/Secret shop/b: absent
  get_resource v1/Secret shop/c: denied
  list_resources_by_namespace v1/Secret in shop, labels owner=helm: failed, Callback evaluation failure: timed out
"
        );
    }

    #[test]
    fn changes_in_words() {
        let mutation = evaluation(
            json!({"accepted": true, "mutated_object": {"metadata": {"annotations": {"a/b": "c"}}}}),
            vec![],
        );
        assert_eq!(
            text(&mutation),
            "accepted, with changes\n\nchanges to the object:\n  add metadata = {\"annotations\":{\"a/b\":\"c\"}}\n"
        );

        let path = Pointer::from_static("/spec/containers/0/annotations/a~1b");
        assert_eq!(field(path), "spec.containers[0].annotations[\"a/b\"]");
    }

    #[test]
    fn an_answer_as_json() {
        let calls = vec![
            get("a", Ok(120)),
            get("b", Err(HostError::Absent("not there".to_owned()))),
        ];
        let report = json(&evaluation(json!({"accepted": true}), calls));

        assert_eq!(
            report,
            json!({
                "accepted": true,
                "code": null,
                "message": null,
                "warnings": [],
                "auditAnnotations": {},
                "patch": [],
                "hostCalls": [
                    {"operation": "get_resource", "answer": "found", "bytes": 120,
                     "request": {"api_version": "v1", "kind": "Secret", "namespace": "shop", "name": "a"}},
                    {"operation": "get_resource", "answer": "absent", "error": "not there",
                     "request": {"api_version": "v1", "kind": "Secret", "namespace": "shop", "name": "b"}},
                ],
                "logs": [],
            })
        );
    }
}
