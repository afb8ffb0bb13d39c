//! Reads requests and clusters from JSON files.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

/// A request, and the objects in the cluster at that time.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// An AdmissionRequest.
    pub request: Value,
    pub cluster: Vec<Value>,
}

impl Recording {
    /// Reads a recording (`{"request": AdmissionRequest, "cluster": [objects]}`), an
    /// AdmissionReview or a bare AdmissionRequest. The last two have no cluster.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not JSON, or is none of the three.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use {} as a request", path.display());
        Self::from_json(read_json(path)?).with_context(context)
    }

    fn from_json(mut file: Value) -> anyhow::Result<Self> {
        let cluster = file.get_mut("cluster").map(Value::take);
        let request = match file.get_mut("request") {
            Some(request) => request.take(),
            None => file,
        };
        ensure!(
            request.get("operation").is_some() && request.get("kind").is_some(),
            "neither an AdmissionRequest, nor an AdmissionReview or a recording with one in its field `request`"
        );
        Ok(Self {
            request,
            cluster: cluster.map_or_else(|| Ok(Vec::new()), objects)?,
        })
    }
}

/// Reads the objects of a cluster: one object, an array of them, a `List` as kubectl prints it, or
/// the cluster of a recording.
///
/// # Errors
///
/// When the file cannot be read, is not JSON, or has something in it that is not a Kubernetes
/// object.
pub fn read_objects(path: &Path) -> anyhow::Result<Vec<Value>> {
    let context = || format!("cannot use {} as a cluster", path.display());
    objects(read_json(path)?).with_context(context)
}

fn objects(mut file: Value) -> anyhow::Result<Vec<Value>> {
    let is_list = file.get("kind").and_then(Value::as_str) == Some("List");
    let objects = match file.get_mut(if is_list { "items" } else { "cluster" }) {
        Some(objects) => objects.take(),
        None => file,
    };
    let objects = match objects {
        Value::Array(objects) => objects,
        object => vec![object],
    };
    for (position, object) in objects.iter().enumerate() {
        for field in ["/apiVersion", "/kind", "/metadata/name"] {
            ensure!(
                object.pointer(field).is_some_and(Value::is_string),
                "object {} of {} has no {}",
                position + 1,
                objects.len(),
                field.trim_start_matches('/').replace('/', ".")
            );
        }
    }
    Ok(objects)
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    }

    #[test]
    fn requests_come_in_three_shapes() {
        let request = json!({"uid": "1", "kind": {"kind": "Secret"}, "operation": "CREATE"});
        let read = |file: Value| Recording::from_json(file).unwrap();
        let alone = Recording {
            request: request.clone(),
            cluster: vec![],
        };

        assert_eq!(read(request.clone()), alone);
        assert_eq!(
            read(
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
            ),
            alone
        );
        assert_eq!(
            read(json!({"request": request, "cluster": [config_map("app")]})),
            Recording {
                request,
                cluster: vec![config_map("app")],
            }
        );
    }

    #[test]
    fn an_object_is_not_a_request() {
        let error = Recording::from_json(config_map("app")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "neither an AdmissionRequest, nor an AdmissionReview or a recording with one in its field `request`"
        );
    }

    #[test]
    fn clusters_have_four_forms() {
        let both = vec![config_map("app"), config_map("db")];

        assert_eq!(objects(config_map("app")).unwrap(), [config_map("app")]);
        assert_eq!(objects(json!(both)).unwrap(), both);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": both});
        assert_eq!(objects(list).unwrap(), both);
        assert_eq!(
            objects(json!({"request": {}, "cluster": both})).unwrap(),
            both
        );
    }

    #[test]
    fn objects_need_an_identity() {
        let error = objects(json!([config_map("app"), {"apiVersion": "v1", "kind": "Secret"}]));
        assert_eq!(
            error.unwrap_err().to_string(),
            "object 2 of 2 has no metadata.name"
        );
    }
}
