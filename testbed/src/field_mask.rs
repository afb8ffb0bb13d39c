//! Field masks: the fields of an object that a policy asks for.

use std::collections::BTreeSet;

use serde_json::Value;

/// Fields that masks never affect. policy-server keeps them apart from the other fields.
const ALWAYS_KEPT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes every field that is on no path. Without paths, it keeps everything.
///
/// Paths are split at each `.`, so a path cannot name a key that contains a dot. In an array, a path applies to every
/// item. If a path continues below a text or a number, the value stays. If one path ends at a field and another one
/// continues below it, the longer one counts, as in policy-server.
pub(crate) fn apply(object: &mut Value, paths: &BTreeSet<String>) {
    let Value::Object(fields) = object else {
        return;
    };
    if paths.is_empty() {
        return;
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    fields.retain(|name, value| ALWAYS_KEPT.contains(&name.as_str()) || keep(name, value, &paths));
}

/// Whether a path leads to the field. Prunes what is below the field.
fn keep(name: &str, value: &mut Value, paths: &[&str]) -> bool {
    let below: Vec<Option<&str>> = paths
        .iter()
        .filter_map(|path| match path.split_once('.') {
            Some((head, rest)) => (head == name).then_some(Some(rest)),
            None => (*path == name).then_some(None),
        })
        .collect();
    let longer: Vec<&str> = below.iter().copied().flatten().collect();
    if !longer.is_empty() {
        prune(value, &longer);
    }
    !below.is_empty()
}

fn prune(value: &mut Value, paths: &[&str]) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| keep(name, value, paths)),
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `left` are the fields that remain, without apiVersion, kind and metadata.
    #[track_caller]
    fn assert_left(paths: &[&str], left: Value) {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Thing", "metadata": {"name": "app", "labels": {"a": "b"}},
            "type": "Opaque",
            "data": {"a": "1", "b.properties": "2"},
            "spec": {"replicas": 2, "containers": [
                {"name": "web", "image": "nginx", "env": [{"name": "A", "value": "1"}]},
                {"name": "log"},
            ]},
        });
        let mut expected = json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "app", "labels": {"a": "b"}}});
        if let (Some(expected), Value::Object(left)) = (expected.as_object_mut(), left) {
            expected.extend(left);
        }
        apply(
            &mut object,
            &paths.iter().map(|&path| path.to_owned()).collect(),
        );
        assert_eq!(object, expected, "{paths:?}");
    }

    #[test]
    fn only_named_fields_are_left() {
        assert_left(&["type"], json!({"type": "Opaque"}));
        assert_left(
            &["data.a", "type"],
            json!({"type": "Opaque", "data": {"a": "1"}}),
        );
        assert_left(&["data"], json!({"data": {"a": "1", "b.properties": "2"}}));
        assert_left(&["spec.replicas"], json!({"spec": {"replicas": 2}}));
    }

    #[test]
    fn paths_apply_to_the_items_of_arrays() {
        assert_left(
            &["spec.containers.name", "spec.containers.env.value"],
            json!({"spec": {"containers": [{"name": "web", "env": [{"value": "1"}]}, {"name": "log"}]}}),
        );
        assert_left(
            &["spec.containers.image"],
            json!({"spec": {"containers": [{"image": "nginx"}, {}]}}),
        );
    }

    #[test]
    fn fields_that_do_not_exist_are_no_error() {
        assert_left(&["stringData"], json!({}));
        assert_left(&["spec.strategy.type"], json!({"spec": {}}));
    }

    #[test]
    fn a_key_with_a_dot_cannot_be_named() {
        assert_left(&["data.b.properties"], json!({"data": {}}));
    }

    #[test]
    fn metadata_is_never_pruned() {
        assert_left(&["metadata.name"], json!({}));
    }

    #[test]
    fn paths_below_other_paths_and_values() {
        assert_left(&["type.below"], json!({"type": "Opaque"}));
        assert_left(&["data", "data.a"], json!({"data": {"a": "1"}}));
    }

    #[test]
    fn no_paths_keep_everything() {
        let mut object = json!({"kind": "Thing", "spec": {"replicas": 2}});
        let whole = object.clone();
        apply(&mut object, &BTreeSet::new());
        assert_eq!(object, whole);
    }
}
