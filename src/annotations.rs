//! The annotations and labels that this policy reads and writes, and how to do so in raw JSON.
//!
//! Objects under review are never parsed into typed structs and back: that drops the fields that the
//! pinned API types do not know.

/// On the workload: the digest of each config that the running template was stamped for, as JSON.
pub use config_digest::record::CONFIGS;
/// On the workload: `"true"` and `"false"` win over the settings.
pub use pod_references::chosen::ENABLED;
/// On the workload: the config that the program reads by API. The release guard reads them too.
pub use pod_references::extra::{CONFIG_MAPS as EXTRA_CONFIGMAPS, SECRETS as EXTRA_SECRETS};
use serde_json::{Map, Value, map::Entry};

/// On the pod template: a hash over all digests (strategy `hash`).
pub const CONFIG_HASH: &str = "rollout-guard/config-hash";
/// On the pod template: an integer that only grows (strategy `version`).
pub const CONFIG_VERSION: &str = "rollout-guard/config-version";
/// On the workload: `"true"` holds back rollouts for changed config.
pub const FREEZE: &str = "rollout-guard/freeze";
/// On a ConfigMap or Secret: `"true"` leaves it out.
pub const IGNORE: &str = "rollout-guard/ignore";
/// On a ConfigMap, Secret, ServiceAccount or claim: `"true"` lets it be deleted, whoever needs it.
pub const ALLOW_DELETE: &str = "rollout-guard/allow-delete";
/// A label of the release record: the revision that is admitted whatever is found.
pub const ALLOW_REVISION: &str = "rollout-guard/allow-revision";
/// Shown by `kubectl rollout history`.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Where the annotations of an object are.
pub const OBJECT: &[&str] = &["metadata"];
/// Where the annotations of its pod template are.
pub const TEMPLATE: &[&str] = &["spec", "template", "metadata"];

/// Why an annotation cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A flag that is neither `"true"` nor `"false"`.
    #[error("annotation {key} must be \"true\" or \"false\", not {value:?}")]
    NotAFlag { key: String, value: String },
    /// A field on the way to the annotation that is not an object; the path of the object itself is empty.
    #[error("{} is not an object", name_of(.path))]
    WrongShape { path: String },
}

fn name_of(path: &str) -> &str {
    match path {
        "" => "the resource",
        path => path,
    }
}

/// The annotation `key` below `metadata_path`, if it is there and a string.
pub fn get<'a>(object: &'a Value, metadata_path: &[&str], key: &str) -> Option<&'a str> {
    find(object, metadata_path, key)?.as_str()
}

fn find<'a>(object: &'a Value, metadata_path: &[&str], key: &str) -> Option<&'a Value> {
    let metadata = metadata_path
        .iter()
        .try_fold(object, |value, field| value.get(field))?;
    metadata.get("annotations")?.get(key)
}

/// Whether an annotation that the user sets is `"true"`. Any value except `"true"` and `"false"` is an
/// error: a typo must not count as a decision.
pub fn flag(object: &Value, key: &str) -> Result<Option<bool>, Error> {
    match get(object, OBJECT, key) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(Error::NotAFlag {
            key: key.to_owned(),
            value: other.to_owned(),
        }),
    }
}

/// Sets or removes an annotation below `metadata_path`, touching nothing else. An annotation map that
/// becomes empty is removed. Refuses a field on the way that is not an object.
pub fn set(
    object: &mut Value,
    metadata_path: &[&str],
    key: &str,
    value: Option<String>,
) -> Result<(), Error> {
    if value.is_none() && find(object, metadata_path, key).is_none() {
        return Ok(());
    }
    let mut path = String::new();
    let mut fields = fields_of(object, &path)?;
    for field in metadata_path {
        path = format!("{path}.{field}").trim_start_matches('.').to_owned();
        fields = fields_of(fields.entry(*field).or_insert(Value::Null), &path)?;
    }
    match (fields.entry("annotations"), value) {
        (entry, Some(value)) => {
            let annotations = entry.or_insert(Value::Null);
            fields_of(annotations, &format!("{path}.annotations"))?
                .insert(key.to_owned(), value.into());
        }
        (Entry::Occupied(mut annotations), None) => {
            let left = fields_of(annotations.get_mut(), &format!("{path}.annotations"))?;
            left.shift_remove(key);
            if left.is_empty() {
                annotations.shift_remove();
            }
        }
        (Entry::Vacant(_), None) => {}
    }
    Ok(())
}

/// The fields of an object; `null` becomes an empty one.
fn fields_of<'a>(value: &'a mut Value, path: &str) -> Result<&'a mut Map<String, Value>, Error> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or_else(|| Error::WrongShape {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set_a(mut object: Value, value: Option<&str>) -> Result<Value, Error> {
        set(&mut object, TEMPLATE, "a", value.map(str::to_owned)).map(|()| object)
    }

    #[track_caller]
    fn assert_refused(object: Value, expected: &str) {
        let error = set_a(object, Some("1")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn missing_fields_on_the_way_are_created() {
        let expected = json!({"spec": {"template": {"metadata": {"annotations": {"a": "1"}}}}});
        for object in [
            json!({}),
            json!({"spec": {"template": {"metadata": null}}}),
            json!({"spec": {"template": {"metadata": {"annotations": null}}}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"a": "0"}}}}}),
        ] {
            assert_eq!(
                set_a(object.clone(), Some("1")),
                Ok(expected.clone()),
                "{object}"
            );
        }
    }

    #[test]
    fn removing_an_annotation_changes_nothing_else() {
        let without = json!({"spec": {"template": {"metadata": {"labels": {}}}}, "z": 1, "y": 2});
        assert_eq!(set_a(without.clone(), None), Ok(without.clone()));
        let with = set_a(without.clone(), Some("1")).and_then(|with| set_a(with, None));
        assert_eq!(with.map(|value| value.to_string()), Ok(without.to_string()));
        // In custom resources, an annotation may be something other than a string.
        let odd = json!({"spec": {"template": {"metadata": {"annotations": {"a": 1, "b": 2}}}}});
        let left = json!({"spec": {"template": {"metadata": {"annotations": {"b": 2}}}}});
        assert_eq!(set_a(odd, None), Ok(left));
    }

    #[test]
    fn a_wrong_shape_is_an_error_with_its_path() {
        assert_refused(json!([]), "the resource is not an object");
        assert_refused(
            json!({"spec": {"template": {"metadata": 1}}}),
            "spec.template.metadata is not an object",
        );
        assert_refused(
            json!({"spec": {"template": {"metadata": {"annotations": []}}}}),
            "spec.template.metadata.annotations is not an object",
        );
    }

    #[test]
    fn flags_are_true_false_or_an_error() {
        let flagged = |value| {
            flag(
                &json!({"metadata": {"annotations": {ENABLED: value}}}),
                ENABLED,
            )
        };
        assert_eq!(flagged("true"), Ok(Some(true)));
        assert_eq!(flagged("false"), Ok(Some(false)));
        assert_eq!(
            flagged("yes").unwrap_err().to_string(),
            "annotation rollout-guard/enabled must be \"true\" or \"false\", not \"yes\""
        );
        assert_eq!(flag(&json!({}), ENABLED), Ok(None));
    }
}
