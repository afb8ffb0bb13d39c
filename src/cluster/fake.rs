//! A cluster made of objects, for tests.

use std::cell::RefCell;

use serde_json::Value;

use super::{Cause, Cluster, LookupError, ObjectRef};

/// Answers look-ups from a list of objects, and notes them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) objects: Vec<Value>,
    /// Look-ups of these, by `Kind namespace/name`, fail.
    pub(crate) failing: Vec<String>,
    /// What was looked up, in order: `Kind namespace/name [fields]`.
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Objects {
    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        Self {
            objects: objects.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Cluster for Objects {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        self.asked
            .borrow_mut()
            .push(format!("{object} [{}]", fields.join(", ")));
        if self.failing.contains(&object.to_string()) {
            let cause = Cause::Failed("the API server is away".to_owned());
            return Err(LookupError {
                object: object.to_string(),
                cause,
            });
        }
        let text = |value: &Value, path| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let is_it = |value: &&Value| {
            text(value, "/apiVersion").as_deref() == Some(object.api_version)
                && text(value, "/kind").as_deref() == Some(object.kind)
                && text(value, "/metadata/namespace").as_deref() == Some(object.namespace)
                && text(value, "/metadata/name").as_deref() == Some(object.name)
        };
        Ok(self.objects.iter().find(is_it).cloned())
    }

    fn list(
        &self,
        _: &str,
        kind: &str,
        namespace: &str,
        selector: &str,
        _: &[&str],
    ) -> Result<Vec<Value>, LookupError> {
        self.asked
            .borrow_mut()
            .push(format!("{kind} {namespace}/* [{selector}]"));
        let list = format!("{kind} {namespace}/*");
        if self.failing.contains(&list) {
            return Err(LookupError {
                object: list,
                cause: Cause::Failed("the API server is away".to_owned()),
            });
        }
        let of_kind = |value: &&Value| {
            value.pointer("/kind").and_then(Value::as_str) == Some(kind)
                && value.pointer("/metadata/namespace").and_then(Value::as_str) == Some(namespace)
        };
        Ok(self.objects.iter().filter(of_kind).cloned().collect())
    }
}
