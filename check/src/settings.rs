//! The levels of findings in the settings of the policy.
//!
//! In: the settings of the policy, or the policy that has them. Out: the [`Levels`] in `releaseGuard.findings`, if they are set; other
//! settings do not change a report. Refuses: what is not an object, and a level or a finding that does not
//! exist, with its path.

use helm_plan::Levels;
use serde_json::Value;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path} must be an object, not {found}")]
    NotAnObject {
        path: &'static str,
        found: &'static str,
    },
    #[error("{path}: {source}")]
    Levels {
        path: String,
        source: serde_json::Error,
    },
}

const FINDINGS: &str = "releaseGuard.findings";

/// `None`: they are not set. An empty file is valid settings, as for the policy.
pub(crate) fn levels(file: &Value) -> Result<Option<Levels>, Error> {
    let settings = match file.get("kind") {
        Some(_) => file.pointer("/spec/settings").unwrap_or(&Value::Null),
        None => file,
    };
    if settings.is_null() {
        return Ok(None);
    }
    let guard = field(settings, "settings", "releaseGuard")?;
    let Some(guard) = guard else {
        return Ok(None);
    };
    let Some(findings) = field(guard, "releaseGuard", "findings")? else {
        return Ok(None);
    };
    if !findings.is_object() {
        return Err(not_an_object(FINDINGS, findings));
    }
    let levels = serde_path_to_error::deserialize(findings).map_err(|error| {
        let path = match error.path().iter().next() {
            Some(_) => format!("{FINDINGS}.{}", error.path()),
            None => FINDINGS.to_owned(),
        };
        let source = error.into_inner();
        Error::Levels { path, source }
    })?;
    Ok(Some(levels))
}

fn field<'a>(
    object: &'a Value,
    path: &'static str,
    field: &str,
) -> Result<Option<&'a Value>, Error> {
    match object {
        Value::Object(fields) => Ok(fields.get(field)),
        _ => Err(not_an_object(path, object)),
    }
}

fn not_an_object(path: &'static str, value: &Value) -> Error {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::NotAnObject { path, found }
}

#[cfg(test)]
mod tests {
    use helm_plan::{
        Level,
        findings::{hook_pruned, no_rollout},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_those_of_the_policy() {
        let settings = json!({
            "mode": "verify",
            "releaseGuard": {"bypass": false, "findings": {"hook-pruned": "warn"}},
        });
        let levels = levels(&settings).unwrap().unwrap();
        assert_eq!(levels.of(&hook_pruned::LINT), Level::Warn);
        assert_eq!(levels.of(&no_rollout::LINT), Level::Warn);
    }

    #[test]
    fn a_policy_has_its_settings_in_its_spec() {
        let settings = json!({"releaseGuard": {"findings": {"hook-pruned": "warn"}}});
        let expected = levels(&settings).unwrap();
        assert!(expected.is_some());
        let policy = json!({"kind": "ClusterAdmissionPolicy", "spec": {"settings": settings}});
        assert_eq!(levels(&policy).unwrap(), expected);
        assert_eq!(
            levels(&json!({"kind": "ClusterAdmissionPolicy", "spec": {}})).unwrap(),
            None
        );
    }

    #[test]
    fn settings_without_levels_are_valid() {
        for settings in [
            json!(null),
            json!({}),
            json!({"mode": "verify"}),
            json!({"releaseGuard": {"bypass": false}}),
        ] {
            assert_eq!(levels(&settings).unwrap(), None, "{settings}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_its_path() {
        let findings = |findings: Value| json!({"releaseGuard": {"findings": findings}});
        for (settings, expected) in [
            (json!([]), "settings must be an object, not a list"),
            (
                json!({"releaseGuard": "on"}),
                "releaseGuard must be an object, not a string",
            ),
            (
                findings(json!(["hook-pruned"])),
                "releaseGuard.findings must be an object, not a list",
            ),
        ] {
            let error = levels(&settings).unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }

    /// What is wrong with them is for [`Levels`] to say.
    #[test]
    fn names_and_levels_are_checked() {
        for (findings, expected) in [
            (json!({"hook-prund": "warn"}), "`hook-prund`"),
            (json!({"hook-pruned": "deny"}), "`deny`"),
            (json!({"no-rollout": "rescue"}), "`rescue`"),
        ] {
            let settings = json!({"releaseGuard": {"findings": findings}});
            let error = levels(&settings).unwrap_err().to_string();
            assert!(error.starts_with("releaseGuard.findings"), "{error}");
            assert_eq!(error.matches(expected).count(), 1, "{error}");
        }
    }
}
