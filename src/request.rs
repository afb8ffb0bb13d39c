//! The admission request, as far as the policy looks at it.
//!
//! In: the bytes that the host sends to `validate`. Out: [`Payload`]. Refuses: anything that is not
//! `{"request": AdmissionRequest, "settings": …}`.
//!
//! The SDK's own type is not used for two reasons: it refuses `null` where Kubernetes sends it
//! (`options`, `userInfo.groups`), and its parse error quotes the whole payload, which may be a
//! Secret.

use serde::Deserialize;
use serde_json::Value;

/// What the host passes to `validate`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub struct Payload {
    pub request: Request,
    #[serde(default)]
    pub settings: Value,
}

/// The fields of an `AdmissionRequest` that decisions depend on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an AdmissionRequest")]
pub struct Request {
    #[serde(default)]
    pub kind: Kind,
    /// `status`, `scale`, …; empty for the object itself.
    #[serde(default, alias = "sub_resource", deserialize_with = "null_is_empty")]
    pub sub_resource: String,
    /// Empty with `generateName`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub name: String,
    /// Empty for cluster-scoped objects.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub namespace: String,
    pub operation: Operation,
    #[serde(default)]
    pub object: Value,
    /// Present on UPDATE and DELETE.
    #[serde(default, alias = "old_object")]
    pub old_object: Value,
    /// Nothing will be stored.
    #[serde(default, alias = "dry_run", deserialize_with = "null_is_empty")]
    pub dry_run: bool,
    /// Who sends the request.
    #[serde(default, alias = "user_info")]
    pub user_info: Value,
}

/// What the client does to the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    #[default]
    Create,
    Update,
    Delete,
    Connect,
}

/// The type of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(expecting = "a kind")]
pub struct Kind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub kind: String,
}

impl Request {
    /// The name of the requesting user; empty if it is not given.
    pub fn user(&self) -> &str {
        let name = self.user_info.get("username").and_then(Value::as_str);
        name.unwrap_or_default()
    }

    /// The groups of the requesting user.
    pub fn groups(&self) -> Vec<&str> {
        let groups = self.user_info.get("groups").and_then(Value::as_array);
        groups
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// `Deployment/web`, for messages. An object that the API server will name is shown with the prefix
    /// of its name: `Deployment/web-*`.
    pub fn subject(&self) -> String {
        let metadata = self.object.get("metadata");
        let text = |field| metadata.and_then(|m| m.get(field)).and_then(Value::as_str);
        let name = match (self.name.as_str(), text("name"), text("generateName")) {
            ("", None | Some(""), Some(prefix)) => format!("{prefix}*"),
            ("", Some(name), _) => name.to_owned(),
            (name, ..) => name.to_owned(),
        };
        format!("{}/{name}", self.kind.kind)
    }
}

fn null_is_empty<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_that_kubernetes_sends_are_read() {
        let request: Request = serde_json::from_value(json!({
            "uid": "1", "operation": "DELETE", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "name": "web", "namespace": null, "subResource": null, "options": null, "dryRun": null, "userInfo": {"groups": null},
            "object": null, "oldObject": {"a": 1},
        }))
        .unwrap();
        assert_eq!(request.operation, Operation::Delete);
        assert_eq!(
            (request.namespace.as_str(), request.sub_resource.as_str()),
            ("", "")
        );
        assert_eq!(request.old_object, json!({"a": 1}));
    }

    #[test]
    fn the_user_is_read_where_it_is_given() {
        for (user_info, user, groups) in [
            (
                json!({"userInfo": {"username": "ann", "groups": ["a", "b"]}}),
                "ann",
                vec!["a", "b"],
            ),
            (json!({"user_info": {"username": "ann"}}), "ann", vec![]),
            (
                json!({"userInfo": {"username": null, "groups": null, "uid": null, "extra": null}}),
                "",
                vec![],
            ),
            (
                json!({"userInfo": {"groups": [null, "a", 1]}}),
                "",
                vec!["a"],
            ),
            (json!({"userInfo": null}), "", vec![]),
            (json!({}), "", vec![]),
        ] {
            let mut request = user_info.clone();
            request["operation"] = "CREATE".into();
            let request: Request = serde_json::from_value(request).unwrap();
            assert_eq!(request.user(), user, "{user_info}");
            assert_eq!(request.groups(), groups, "{user_info}");
        }
    }

    #[test]
    fn only_settings_are_optional_in_a_payload() {
        let payload = |payload: Value| {
            serde_json::from_value::<Payload>(payload)
                .map(|payload| payload.settings)
                .map_err(|error| error.to_string())
        };
        let request = json!({"operation": "CREATE"});
        for settings in [json!(null), json!({})] {
            let read = payload(json!({"request": request, "settings": settings}));
            assert_eq!(read, Ok(settings));
        }
        assert_eq!(payload(json!({"request": request})), Ok(Value::Null));
        for (odd, expected) in [
            (json!({}), "missing field `request`"),
            (json!({"request": {}}), "missing field `operation`"),
            (
                json!({"request": {"operation": "create"}}),
                "unknown variant `create`, expected one of `CREATE`, `UPDATE`, `DELETE`, `CONNECT`",
            ),
            (json!(1), "invalid type: integer `1`, expected an object"),
            (
                json!({"request": 1}),
                "invalid type: integer `1`, expected an AdmissionRequest",
            ),
            (
                json!({"request": {"operation": "CREATE", "kind": 1}}),
                "invalid type: integer `1`, expected a kind",
            ),
        ] {
            assert_eq!(payload(odd), Err(expected.to_owned()));
        }
    }

    #[test]
    fn subject_names_the_object() {
        let named = |request: Value| {
            serde_json::from_value::<Request>(request)
                .unwrap()
                .subject()
        };
        let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        assert_eq!(
            named(json!({"operation": "CREATE", "kind": kind, "name": "web"})),
            "Deployment/web"
        );
        assert_eq!(
            named(
                json!({"operation": "CREATE", "kind": kind, "object": {"metadata": {"name": "web"}}})
            ),
            "Deployment/web"
        );
        assert_eq!(
            named(
                json!({"operation": "CREATE", "kind": kind, "object": {"metadata": {"generateName": "web-"}}})
            ),
            "Deployment/web-*"
        );
    }
}
