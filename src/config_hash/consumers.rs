//! Which workloads use a ConfigMap or Secret that is changed or deleted?
//!
//! In: UPDATE and DELETE of a ConfigMap or Secret. Out: a warning for each workload of its namespace
//! that uses what changes: whether it will roll out, and with which command. Refuses: nothing.
//!
//! Admission sees a workload only when it is written, and editing a config by hand writes no workload.

use std::collections::BTreeSet;

use config_digest::content;
use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{ConfigMap, Secret},
    },
};
use pod_references::reloaders;
use serde_json::Value;

use super::{
    choice::{self, is_chosen},
    configs::content,
    memory::Recorded,
    references::{ConfigId, ConfigKind, Use, references},
    rollout::{self, Rollout},
};
use crate::{
    annotations::{self, ENABLED, FREEZE, IGNORE, OBJECT},
    cluster::{Cluster, List, LookupError, Scope},
    request::{Operation, Request},
    settings::ConfigHash,
};

/// Why the consumers of a config are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Error {
    /// In the request itself.
    #[error("the old object cannot be read: {0}")]
    OldObject(#[source] content::Error),
    #[error("the new object cannot be read: {0}")]
    NewObject(#[source] content::Error),
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Whether the request changes or deletes a ConfigMap or Secret.
pub fn concerns(request: &Request) -> bool {
    let changes = matches!(request.operation, Operation::Update | Operation::Delete);
    changes && request.sub_resource.is_empty() && config_id(request).is_some()
}

fn config_id(request: &Request) -> Option<ConfigId> {
    let kind = match (request.kind.group.as_str(), request.kind.kind.as_str()) {
        (ConfigMap::GROUP, ConfigMap::KIND) => ConfigKind::ConfigMap,
        (Secret::GROUP, Secret::KIND) => ConfigKind::Secret,
        _ => return None,
    };
    let name = request.name.clone();
    Some(ConfigId { kind, name })
}

/// The warnings for whoever changes the config.
pub fn warnings(request: &Request, settings: &ConfigHash, cluster: &dyn Cluster) -> Vec<String> {
    let Some(config) = config_id(request) else {
        return Vec::new();
    };
    try_warnings(request, &config, settings, cluster)
        .unwrap_or_else(|error| vec![format!("cannot tell which workloads use {config}: {error}")])
}

fn try_warnings(
    request: &Request,
    config: &ConfigId,
    settings: &ConfigHash,
    cluster: &dyn Cluster,
) -> Result<Vec<String>, Error> {
    let changed = changed_keys(request, config.kind)?;
    let is_deleted = request.operation == Operation::Delete;
    if annotations::get(&request.old_object, OBJECT, IGNORE) == Some("true")
        || reloaders::is_ignored(&request.old_object)
        || changed.is_empty() && !is_deleted
    {
        return Ok(Vec::new());
    }
    // In the order of their kinds and names: the list of the host has none.
    let mut warnings = BTreeSet::new();
    for kind in [Deployment::KIND, StatefulSet::KIND, DaemonSet::KIND] {
        for workload in list(kind, &request.namespace, cluster)? {
            // The request that writes the workload reports its errors.
            let is_stamped = is_chosen(&workload, settings.workloads).unwrap_or_default();
            let references = references(&workload, settings).unwrap_or_default();
            let counts = |used: &&Use| !choice::leaves_out(&request.old_object, used);
            let Some(used) = references.get(config).filter(counts) else {
                continue;
            };
            let is_affected = used.whole || is_deleted || !used.keys.is_disjoint(&changed);
            if is_affected && (is_stamped || is_opted_out(&workload)) {
                let follows = consequence(request, config, kind, &workload, used);
                warnings.insert(format!(
                    "{kind} {} uses {config}, {follows}",
                    name(&workload)
                ));
            }
        }
    }
    Ok(warnings.into_iter().collect())
}

fn is_opted_out(workload: &Value) -> bool {
    annotations::get(workload, OBJECT, ENABLED) == Some("false")
}

/// What the change means for one workload that uses the config.
fn consequence(
    request: &Request,
    config: &ConfigId,
    kind: &str,
    workload: &Value,
    used: &Use,
) -> String {
    if request.operation == Operation::Delete && used.required {
        return "and its pods cannot start without it".to_owned();
    }
    if is_opted_out(workload) {
        return format!("but does not roll out: it is opted out ({ENABLED}: \"false\")");
    }
    let command = |verb, arguments| {
        let (namespace, kind) = (&request.namespace, kind.to_ascii_lowercase());
        format!(
            "kubectl {verb} -n {namespace} {kind} {}{arguments}",
            name(workload)
        )
    };
    let recorded = Recorded::on(workload).unwrap_or_default();
    if !recorded.0.contains_key(&config.key()) {
        return format!(
            "but does not roll out: its next update only records the config, for the first time. To restart it: {}",
            command("rollout restart", "")
        );
    }
    let frozen = annotations::get(workload, OBJECT, FREEZE) == Some("true");
    let patch = command("patch", " -p '{}'");
    match rollout::of(Deployment::GROUP, workload, None, frozen) {
        Rollout::AtOnce => format!("and rolls out at its next update: {patch}"),
        Rollout::Never(_) => format!("but is held back until {FREEZE} is removed"),
        Rollout::OnDelete => {
            "and its pod template changes at its next update, but its pods restart only when they are deleted \
             (updateStrategy OnDelete)"
                .to_owned()
        }
        Rollout::WhenResumed => {
            "and its pod template changes at its next update, but its pods restart only when it is resumed \
             (spec.paused)"
                .to_owned()
        }
        Rollout::Partition(partition) => format!(
            "and rolls out at its next update, but for the pods that its partition ({partition}) holds back: {patch}"
        ),
    }
}

fn name(workload: &Value) -> &str {
    let name = workload.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}

fn list(kind: &str, namespace: &str, cluster: &dyn Cluster) -> Result<Vec<Value>, LookupError> {
    let fields = [
        "metadata.name",
        "metadata.namespace",
        "metadata.annotations",
        "metadata.ownerReferences",
        "spec.paused",
        "spec.template",
        "spec.updateStrategy",
        "spec.volumeClaimTemplates.metadata.name",
    ];
    cluster.list(&List {
        fields: &fields,
        ..List::of(Deployment::API_VERSION, kind, Scope::Namespace(namespace))
    })
}

/// The keys whose content differs between the old and the new object.
fn changed_keys(request: &Request, kind: ConfigKind) -> Result<BTreeSet<String>, Error> {
    let old = content(&request.old_object, kind).map_err(Error::OldObject)?;
    let new = content(&request.object, kind).map_err(Error::NewObject)?;
    let keys = old.keys().chain(new.keys());
    let changed = keys.filter(|key| old.get(*key) != new.get(*key));
    Ok(changed.cloned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        annotations::CONFIGS,
        cluster::{Host, fake::Objects},
        request,
        settings::Workloads,
    };

    fn workload(kind: &str, name: &str, annotations: Value, container: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"namespace": "shop", "name": name, "annotations": annotations},
            "spec": {"template": {"spec": {"containers": [container]}}},
        })
    }

    /// The annotations of a workload for which this ConfigMap was recorded.
    fn recorded(config: &str) -> Value {
        json!({CONFIGS: json!({format!("ConfigMap/{config}"): "0".repeat(32)}).to_string()})
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
            workload("Deployment", "web", recorded("app"), whole("app")),
            workload("Deployment", "other", recorded("other"), whole("other")),
            workload("StatefulSet", "db", recorded("app"), key("app", "mode")),
            workload("DaemonSet", "log", recorded("app"), key("app", "level")),
        ])
    }

    /// A change of the data of ConfigMap `app`; `null` for its deletion.
    fn change(old: Value, new: Value) -> Request {
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
            operation: match new {
                Value::Null => Operation::Delete,
                _ => Operation::Update,
            },
            object: match new {
                Value::Null => Value::Null,
                data => config(data),
            },
            old_object: config(old),
            ..Request::default()
        }
    }

    #[test]
    fn consumers_are_named_with_what_to_do() {
        let warnings =
            |request: &Request| super::warnings(request, &ConfigHash::default(), &shop());
        let web = "Deployment web uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop deployment web -p '{}'";
        let db = "StatefulSet db uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop statefulset db -p '{}'";
        let log = "DaemonSet log uses ConfigMap app, and rolls out at its next update: kubectl patch -n shop daemonset log -p '{}'";
        let data = json!({"mode": "dark", "level": "info"});
        assert_eq!(
            warnings(&change(
                data.clone(),
                json!({"mode": "light", "level": "info"})
            )),
            [web, db]
        );
        assert_eq!(
            warnings(&change(
                data.clone(),
                json!({"mode": "dark", "level": "info", "new": "x"})
            )),
            [web]
        );
        assert_eq!(warnings(&change(data.clone(), data.clone())), [""; 0]);
        assert_eq!(
            warnings(&change(data, Value::Null)),
            [
                log,
                "Deployment web uses ConfigMap app, and its pods cannot start without it",
                db,
            ]
        );
    }

    #[test]
    fn a_claim_of_a_stateful_set_replaces_the_volume_of_its_name() {
        let mounts = json!({"name": "c", "volumeMounts": [{"name": "conf", "mountPath": "/conf"}]});
        let mut db = workload("StatefulSet", "db", recorded("app"), mounts);
        db["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "conf", "configMap": {"name": "app"}}]);
        let request = change(json!({"a": "1"}), json!({"a": "2"}));
        let warnings = |db: &Value| {
            let cluster = Objects::new([db.clone()]);
            super::warnings(&request, &ConfigHash::default(), &cluster).len()
        };
        assert_eq!(warnings(&db), 1);
        db["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "conf"}}]);
        assert_eq!(warnings(&db), 0);
    }

    /// Each warning says what the change leads to, for a workload with these annotations and this part of its `spec`.
    #[test]
    fn what_really_happens_is_said() {
        let with = |annotations: Value| {
            let mut all = recorded("app");
            let annotations = annotations.as_object().cloned().unwrap_or_default();
            all.as_object_mut().unwrap().extend(annotations);
            all
        };
        let never_recorded = "but does not roll out: its next update only records the config, for the first time. \
                              To restart it: kubectl rollout restart -n shop statefulset web";
        let frozen = "but is held back until rollout-guard/freeze is removed";
        let opted_out = "but does not roll out: it is opted out (rollout-guard/enabled: \"false\")";
        let on_delete = "and its pod template changes at its next update, \
                         but its pods restart only when they are deleted (updateStrategy OnDelete)";
        let paused = "and its pod template changes at its next update, \
                      but its pods restart only when it is resumed (spec.paused)";
        let rolls_out =
            "and rolls out at its next update: kubectl patch -n shop statefulset web -p '{}'";
        let cannot_start = "and its pods cannot start without it";
        let strategy = |strategy| json!({"updateStrategy": {"type": strategy}});
        let none = || json!({});
        for (annotations, spec, changed, deleted) in [
            (with(none()), none(), rolls_out, cannot_start),
            (
                with(none()),
                strategy("RollingUpdate"),
                rolls_out,
                cannot_start,
            ),
            (
                with(none()),
                json!({"paused": false}),
                rolls_out,
                cannot_start,
            ),
            (
                with(json!({FREEZE: "false"})),
                none(),
                rolls_out,
                cannot_start,
            ),
            (with(json!({FREEZE: "true"})), none(), frozen, cannot_start),
            (
                with(json!({ENABLED: "false"})),
                none(),
                opted_out,
                cannot_start,
            ),
            (with(none()), strategy("OnDelete"), on_delete, cannot_start),
            (with(none()), json!({"paused": true}), paused, cannot_start),
            (none(), none(), never_recorded, cannot_start),
            (recorded("other"), none(), never_recorded, cannot_start),
            (json!({CONFIGS: "{"}), none(), never_recorded, cannot_start),
            // Whatever holds it back: the next update only records.
            (
                json!({FREEZE: "true"}),
                none(),
                never_recorded,
                cannot_start,
            ),
            (none(), strategy("OnDelete"), never_recorded, cannot_start),
        ] {
            let mut web = workload("StatefulSet", "web", annotations, whole("app"));
            web["spec"]
                .as_object_mut()
                .unwrap()
                .extend(spec.as_object().cloned().unwrap_or_default());
            let cluster = Objects::new([web.clone()]);
            for (new, expected) in [(json!({"a": "2"}), changed), (Value::Null, deleted)] {
                assert_eq!(
                    warnings(
                        &change(json!({"a": "1"}), new),
                        &ConfigHash::default(),
                        &cluster
                    ),
                    [format!("StatefulSet web uses ConfigMap app, {expected}")],
                    "{web}"
                );
            }
        }
    }

    /// The host lists from a map that has no order.
    #[test]
    fn warnings_are_sorted_by_kind_and_name() {
        let items = ["b", "a-b", "c", "a"].map(|name| {
            let kind = "any";
            workload(kind, name, recorded("app"), whole("app"))
        });
        let list = json!({"items": items}).to_string().into_bytes();
        let host = Host::new(|_: &str, _: &[u8]| Ok(list.clone()));
        let request = change(json!({"a": "1"}), json!({"a": "2"}));
        let warned: Vec<_> = warnings(&request, &ConfigHash::default(), &host)
            .iter()
            .map(|warning| warning.split(" uses").next().unwrap().to_owned())
            .collect();
        let expected: Vec<_> = ["DaemonSet", "Deployment", "StatefulSet"]
            .iter()
            .flat_map(|kind| ["a", "a-b", "b", "c"].map(|name| format!("{kind} {name}")))
            .collect();
        assert_eq!(warned, expected);
    }

    #[test]
    fn workloads_that_are_not_stamped_are_left_out() {
        let owner = json!([{"controller": true, "kind": "Rollout", "name": "web"}]);
        let mut owned = workload("Deployment", "web", recorded("app"), whole("app"));
        owned["metadata"]["ownerReferences"] = owner;
        let cluster = Objects::new([owned]);
        let request = change(json!({"a": "1"}), json!({"a": "2"}));
        assert_eq!(
            warnings(&request, &ConfigHash::default(), &cluster),
            [""; 0]
        );
    }

    #[test]
    fn nothing_is_listed_when_nothing_changes() {
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
    fn annotations_of_reloader_decide_who_uses_it() {
        let cluster = Objects::new([
            workload(
                "Deployment",
                "search",
                json!({"reloader.stakater.com/search": "true"}),
                whole("app"),
            ),
            workload(
                "Deployment",
                "secrets",
                json!({"secret.reloader.stakater.com/auto": "true"}),
                whole("app"),
            ),
            workload(
                "DaemonSet",
                "listed",
                json!({"configmap.reloader.stakater.com/reload": "app"}),
                whole("other"),
            ),
        ]);
        let settings = ConfigHash {
            workloads: Workloads::Annotated,
            ..ConfigHash::default()
        };
        for (annotation, expected) in [
            ("example.com/nothing", &["DaemonSet listed"][..]),
            (reloaders::MATCH, &["DaemonSet listed", "Deployment search"]),
            (reloaders::IGNORE, &[]),
        ] {
            let mut request = change(json!({"mode": "dark"}), json!({}));
            request.old_object["metadata"]["annotations"] = json!({annotation: "true"});
            let warnings = warnings(&request, &settings, &cluster);
            let who: Vec<_> = warnings
                .iter()
                .filter_map(|warning| Some(warning.split_once(" uses ")?.0))
                .collect();
            assert_eq!(who, expected, "{annotation}");
        }
    }

    #[track_caller]
    fn assert_unknown(request: &Request, cluster: &Objects, expected: &str) {
        assert_eq!(
            warnings(request, &ConfigHash::default(), cluster),
            [expected]
        );
    }

    #[test]
    fn consumers_that_cannot_be_listed_are_reported_as_unknown() {
        let mut cluster = shop();
        let request = change(json!({"mode": "dark"}), json!({}));
        cluster.failing = vec!["StatefulSet shop/*".to_owned()];
        assert_unknown(
            &request,
            &cluster,
            "cannot tell which workloads use ConfigMap app: \
             the list of StatefulSets in namespace shop cannot be read: the API server is away",
        );
        cluster.denied = vec!["apps/v1/Deployment".to_owned()];
        assert_unknown(
            &request,
            &cluster,
            "cannot tell which workloads use ConfigMap app: \
             the list of Deployments in namespace shop cannot be read: \
             this policy has not been granted access to apps/v1/Deployment; \
             add it to contextAwareResources of the policy",
        );
    }

    #[test]
    fn configs_of_the_wrong_shape_are_reported_without_their_values() {
        for (old, new, expected) in [
            (
                json!("hidden"),
                json!({}),
                "the old object cannot be read: data is not an object",
            ),
            (
                json!({}),
                json!({"a": ["hidden"]}),
                "the new object cannot be read: data[\"a\"] is not a string",
            ),
        ] {
            assert_unknown(
                &change(old, new),
                &shop(),
                &format!("cannot tell which workloads use ConfigMap app: {expected}"),
            );
        }
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
