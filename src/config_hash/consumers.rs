//! Who uses a ConfigMap or Secret that changes, or goes?
//!
//! In: UPDATE and DELETE of a ConfigMap or Secret. Out: a warning for each workload of its namespace
//! that uses what changes, with the command that rolls it out. Refuses: nothing.
//!
//! Admission sees a workload only when it is written, and a config that is edited by hand writes none.

use std::collections::BTreeSet;

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{ConfigMap, Secret},
    },
};
use pod_references::Kind;
use serde_json::Value;

use super::{
    chosen,
    configs::bytes,
    references::{ConfigId, references},
};
use crate::{
    annotations::{self, FREEZE, IGNORE, OBJECT},
    cluster::{Cluster, LookupError},
    request::{Operation, Request},
    settings::ConfigHash,
};

/// Whether the request changes or deletes a ConfigMap or Secret.
pub fn concerns(request: &Request) -> bool {
    let changes = matches!(request.operation, Operation::Update | Operation::Delete);
    changes && request.sub_resource.is_empty() && config_id(request).is_some()
}

fn config_id(request: &Request) -> Option<ConfigId> {
    let kind = match (request.kind.group.as_str(), request.kind.kind.as_str()) {
        (ConfigMap::GROUP, ConfigMap::KIND) => Kind::ConfigMap,
        (Secret::GROUP, Secret::KIND) => Kind::Secret,
        _ => return None,
    };
    let name = request.name.clone();
    Some(ConfigId { kind, name })
}

/// What to tell whoever changes the config.
pub fn warnings(request: &Request, settings: &ConfigHash, cluster: &dyn Cluster) -> Vec<String> {
    let Some(config) = config_id(request) else {
        return Vec::new();
    };
    find(request, &config, settings, cluster)
        .unwrap_or_else(|error| vec![format!("who uses {config} is not known: {error}")])
}

fn find(
    request: &Request,
    config: &ConfigId,
    settings: &ConfigHash,
    cluster: &dyn Cluster,
) -> Result<Vec<String>, String> {
    let changed = changed_keys(request, config.kind)?;
    if annotations::get(&request.old_object, OBJECT, IGNORE) == Some("true")
        || changed.is_empty() && request.operation == Operation::Update
    {
        return Ok(Vec::new());
    }
    let mut warnings = Vec::new();
    for kind in [Deployment::KIND, StatefulSet::KIND, DaemonSet::KIND] {
        let workloads = list(kind, &request.namespace, cluster);
        for workload in workloads.map_err(|error| error.to_string())? {
            // What is wrong with it is told when it is written.
            let is_chosen = chosen(&workload, settings.workloads).unwrap_or_default();
            let references = references(&workload, settings).unwrap_or_default();
            let Some(used) = references.get(config).filter(|_| is_chosen) else {
                continue;
            };
            let deleted = request.operation == Operation::Delete;
            if !(used.whole || deleted || !used.keys.is_disjoint(&changed)) {
                continue;
            }
            let name = workload.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let follows = if deleted && used.required {
                "and its pods cannot start without it".to_owned()
            } else if annotations::get(&workload, OBJECT, FREEZE) == Some("true") {
                format!("and is frozen ({FREEZE})")
            } else {
                format!(
                    "and rolls out at its next update: kubectl patch -n {} {} {name} -p '{{}}'",
                    request.namespace,
                    kind.to_lowercase()
                )
            };
            warnings.push(format!("{kind} {name} uses {config}, {follows}"));
        }
    }
    Ok(warnings)
}

fn list(kind: &str, namespace: &str, cluster: &dyn Cluster) -> Result<Vec<Value>, LookupError> {
    let fields = [
        "metadata.name",
        "metadata.annotations",
        "metadata.ownerReferences",
        "spec.template",
    ];
    cluster.list(Deployment::API_VERSION, kind, namespace, "", &fields)
}

/// The keys whose content is not the same before and after.
fn changed_keys(request: &Request, kind: Kind) -> Result<BTreeSet<String>, String> {
    let before = bytes(&request.old_object, kind)?;
    let after = bytes(&request.object, kind)?;
    let keys = before.keys().chain(after.keys());
    let changed = keys.filter(|key| before.get(*key) != after.get(*key));
    Ok(changed.cloned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cluster::double::Objects, request};

    fn workload(kind: &str, name: &str, annotations: Value, container: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"namespace": "shop", "name": name, "annotations": annotations},
            "spec": {"template": {"spec": {"containers": [container]}}},
        })
    }

    fn whole(config: &str) -> Value {
        json!({"name": "c", "envFrom": [{"configMapRef": {"name": config}}]})
    }

    fn key(config: &str, key: &str) -> Value {
        let reference = json!({"name": config, "key": key, "optional": true});
        json!({"name": "c", "env": [{"name": "E", "valueFrom": {"configMapKeyRef": reference}}]})
    }

    fn shop() -> Objects {
        Objects::new([
            workload("Deployment", "web", json!({}), whole("app")),
            workload("Deployment", "other", json!({}), whole("other")),
            workload(
                "Deployment",
                "off",
                json!({"rollout-guard/enabled": "false"}),
                whole("app"),
            ),
            workload(
                "Deployment",
                "ice",
                json!({"rollout-guard/freeze": "true"}),
                whole("app"),
            ),
            workload("StatefulSet", "db", json!({}), key("app", "mode")),
            workload("DaemonSet", "log", json!({}), key("app", "level")),
        ])
    }

    /// A change of the ConfigMap `app` from `before` to `after`, `null` for its deletion.
    fn change(before: Value, after: Value) -> Request {
        let config = |data: Value| {
            let metadata = json!({"namespace": "shop", "name": "app"});
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        };
        Request {
            kind: request::Kind {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
            },
            name: "app".to_owned(),
            namespace: "shop".to_owned(),
            operation: match after {
                Value::Null => Operation::Delete,
                _ => Operation::Update,
            },
            object: match after {
                Value::Null => Value::Null,
                data => config(data),
            },
            old_object: config(before),
            ..Request::default()
        }
    }

    #[test]
    fn those_who_use_what_changes_are_named_with_what_to_do() {
        let told = |request: &Request| warnings(request, &ConfigHash::default(), &shop());
        let web = "Deployment web uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop deployment web -p '{}'";
        let db = "StatefulSet db uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop statefulset db -p '{}'";
        let log = "DaemonSet log uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop daemonset log -p '{}'";
        let ice = "Deployment ice uses ConfigMap app, and is frozen (rollout-guard/freeze)";
        let data = json!({"mode": "dark", "level": "info"});
        assert_eq!(
            told(&change(
                data.clone(),
                json!({"mode": "light", "level": "info"})
            )),
            [web, ice, db]
        );
        assert_eq!(
            told(&change(
                data.clone(),
                json!({"mode": "dark", "level": "info", "new": "x"})
            )),
            [web, ice]
        );
        assert_eq!(told(&change(data.clone(), data.clone())), [""; 0]);
        assert_eq!(
            told(&change(data, Value::Null)),
            [
                "Deployment web uses ConfigMap app, and its pods cannot start without it",
                "Deployment ice uses ConfigMap app, and its pods cannot start without it",
                db,
                log
            ]
        );
    }

    #[test]
    fn nobody_is_asked_where_nothing_changes() {
        let data = json!({"mode": "dark"});
        let mut request = change(data.clone(), data.clone());
        request.object["metadata"]["labels"] = json!({"a": "b"});
        let mut ignored = change(data.clone(), json!({}));
        ignored.old_object["metadata"]["annotations"] = json!({IGNORE: "true"});
        for request in [request, ignored] {
            let cluster = shop();
            assert_eq!(
                warnings(&request, &ConfigHash::default(), &cluster),
                [""; 0]
            );
            assert!(cluster.asked.borrow().is_empty());
        }
    }

    #[test]
    fn what_cannot_be_listed_is_said() {
        let mut cluster = shop();
        cluster.failing = vec!["StatefulSet shop/*".to_owned()];
        let request = change(json!({"mode": "dark"}), json!({}));
        assert_eq!(
            warnings(&request, &ConfigHash::default(), &cluster),
            [
                "who uses ConfigMap app is not known: StatefulSet shop/* cannot be read: the API server is away"
            ]
        );
    }

    #[test]
    fn changes_of_configs_concern() {
        let with = |change: fn(&mut Request)| {
            let mut request = self::change(json!({}), json!({}));
            change(&mut request);
            concerns(&request)
        };
        assert!(with(|_| {}));
        assert!(with(|request| request.kind.kind = "Secret".to_owned()));
        assert!(!with(|request| request.operation = Operation::Create));
        assert!(!with(|request| request.kind.kind = "Pod".to_owned()));
        assert!(!with(|request| request.kind.group = "apps".to_owned()));
        assert!(!with(|request| request.sub_resource = "status".to_owned()));
    }
}
