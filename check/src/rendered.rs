//! A chart as `helm template` prints it, as the record that Helm would write for it.

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use rollout_guard::{
    annotations::{self, OBJECT},
    release_guard::{manifest, record, yaml},
};
use serde_json::{Value, json};

/// Who merges what is applied with what is there.
#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
pub(crate) enum Apply {
    #[default]
    Client,
    Server,
}

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
pub(crate) fn release(
    text: &str,
    name: &str,
    namespace: &str,
    revision: u64,
    apply: Apply,
) -> Result<record::Release> {
    let (mut resources, mut hooks) = (String::new(), Vec::new());
    for document in manifest::documents(text) {
        let object = yaml::parse(document).map_err(|error| anyhow!(error))?;
        match annotations::get(&object, OBJECT, "helm.sh/hook") {
            None => resources = format!("{resources}---\n{document}\n"),
            Some(events) => hooks.extend(hook(&object, events, document)),
        }
    }
    let (status, method) = match (revision, apply) {
        (1, Apply::Client) => ("deployed", "csa"),
        (1, Apply::Server) => ("deployed", "ssa"),
        (_, Apply::Client) => ("pending-upgrade", "csa"),
        (_, Apply::Server) => ("pending-upgrade", "ssa"),
    };
    let record = json!({
        "name": name, "namespace": namespace, "version": revision, "manifest": resources,
        "hooks": hooks, "info": {"status": status}, "apply_method": method,
    });
    serde_json::from_value(record).context("a record of the chart")
}

/// `None` for an event that Helm does not know: it then takes the document for neither a hook nor a
/// resource.
fn hook(object: &Value, events: &str, document: &str) -> Option<Value> {
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
    let policies = annotation("helm.sh/hook-delete-policy").unwrap_or_default();
    let known = ["hook-succeeded", "hook-failed", "before-hook-creation"];
    let policies: Vec<_> = words(policies)
        .filter(|policy| known.contains(&policy.as_str()))
        .collect();
    let weight = annotation("helm.sh/hook-weight").and_then(|weight| weight.parse::<i64>().ok());
    Some(json!({
        "name": object.pointer("/metadata/name"),
        "kind": object.get("kind"),
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
        let release = release(CHART, "app", "shop", 2, Apply::Server).unwrap();
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
        assert_eq!(hook.delete_policies, ["hook-succeeded"]);
    }

    #[test]
    fn what_is_no_yaml_is_an_error() {
        let error = release("kind: [", "app", "shop", 1, Apply::Client).unwrap_err();
        assert!(error.to_string().contains("line 2 column 1"), "{error}");
    }
}
