//! A chart as `helm template` prints it, as the record that Helm would write for it: for checks before
//! an upgrade, where there is no record yet.
//!
//! In: the multi-document YAML of a rendered chart. Out: a record. Refuses: a document that is not YAML.

use serde_json::{Value, json};

use super::{
    manifest, record,
    yaml::{self, Budget},
};
use crate::annotations::{self, OBJECT};

/// Helm `pkg/release/v1/util/manifest_sorter.go`.
const EVENTS: [&str; 10] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
    "test-success",
];

/// A revision of a release. The first is deployed, others are pending.
pub fn release(
    text: &str,
    name: &str,
    namespace: &str,
    revision: u64,
    server_side_apply: bool,
) -> Result<record::Release, String> {
    let (mut resources, mut hooks) = (String::new(), Vec::new());
    let mut budget = Budget::default();
    for document in manifest::documents(text) {
        let object = yaml::parse_within(document, &mut budget)?;
        match annotations::get(&object, OBJECT, "helm.sh/hook") {
            None => resources.extend(["---\n", document, "\n"]),
            Some(events) => hooks.extend(hook(&object, events, document)),
        }
    }
    let status = match revision {
        1 => "deployed",
        _ => "pending-upgrade",
    };
    let method = if server_side_apply { "ssa" } else { "csa" };
    let record = json!({
        "name": name, "namespace": namespace, "version": revision, "manifest": resources,
        "hooks": hooks, "info": {"status": status}, "apply_method": method,
    });
    serde_json::from_value(record).map_err(|error| error.to_string())
}

/// A hook as it is in a record. `None` for an event that Helm does not know: it then takes the document
/// for neither a hook nor a resource.
pub fn hook(object: &Value, events: &str, document: &str) -> Option<Value> {
    let events: Vec<_> = words(events).collect();
    if !events.iter().all(|event| EVENTS.contains(&event.as_str())) {
        return None;
    }
    // The old name of the event.
    let events = events.iter().map(|event| match event.as_str() {
        "test-success" => "test",
        event => event,
    });
    let annotation = |key| annotations::get(object, OBJECT, key);
    let text = |path| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    // Whatever they are: an unknown one is none, but takes the place of the default.
    let policies =
        annotation("helm.sh/hook-delete-policy").map(|policies| words(policies).collect());
    let policies: Vec<_> = policies.unwrap_or_default();
    let weight = annotation("helm.sh/hook-weight").and_then(|weight| weight.parse::<i64>().ok());
    Some(json!({
        "name": text("/metadata/name"),
        "kind": text("/kind"),
        "path": manifest::source(document).unwrap_or_default(),
        "manifest": document,
        "events": events.collect::<Vec<_>>(),
        "weight": weight.unwrap_or_default(),
        "delete_policies": policies,
    }))
}

fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_lowercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHART: &str = "---
# Source: app/templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
# Source: app/templates/b.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: b
  annotations:
    helm.sh/hook: ' Pre-Upgrade,test-success'
    helm.sh/hook-weight: '-5'
    helm.sh/hook-delete-policy: Hook-Succeeded, sometimes
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, annotations: {helm.sh/hook: pre-upgarde}}
";

    #[test]
    fn hooks_are_told_from_resources_as_helm_does() {
        let release = release(CHART, "app", "shop", 2, true).unwrap();
        assert_eq!(
            (release.version, release.info.status.as_str()),
            (2, "pending-upgrade")
        );
        assert_eq!(release.apply_method.as_deref(), Some("ssa"));
        assert!(release.manifest.contains("name: a"));
        assert!(!release.manifest.contains("name: b") && !release.manifest.contains("name: c"));
        let [hook] = release.hooks.try_into().unwrap();
        assert_eq!((hook.name.as_str(), hook.weight), ("b", -5));
        assert_eq!(hook.path, "app/templates/b.yaml");
        assert_eq!(hook.events, ["pre-upgrade", "test"]);
        assert_eq!(hook.delete_policies, ["hook-succeeded", "sometimes"]);
    }

    #[test]
    fn what_is_no_yaml_is_an_error() {
        let error = release("kind: [", "app", "shop", 1, false).unwrap_err();
        assert!(error.contains("line 2 column 1"), "{error}");
    }
}
