//! A chart as `helm template` prints it, as the record that Helm would write for it: for checks before
//! an upgrade, where there is no record yet.
//!
//! In: the multi-document YAML of a rendered chart. Out: a [`Record`]. Refuses: a document that is not
//! YAML.

use serde_json::Value;

use crate::{
    lifecycle::{DeletePolicy, Event, Status},
    manifest,
    metadata::{HOOK, HOOK_DELETE_POLICY, HOOK_WEIGHT, annotation, words},
    record::{HookRecord, Info, LastRun, Record},
    yaml::{self, Budget},
};

/// A revision of a release. The first is deployed, others are pending.
pub fn release(
    text: &str,
    name: &str,
    namespace: &str,
    revision: u64,
    server_side_apply: bool,
) -> Result<Record, yaml::Error> {
    let (mut resources, mut hooks) = (String::new(), Vec::new());
    let mut budget = Budget::default();
    for document in manifest::documents(text) {
        let object = yaml::parse_within(document, &mut budget)?;
        match annotation(&object, HOOK) {
            None => resources.extend(["---\n", document, "\n"]),
            Some(events) => hooks.extend(hook(&object, events, document)),
        }
    }
    let status = match revision {
        1 => Status::Deployed,
        _ => Status::PendingUpgrade,
    };
    let apply_method = if server_side_apply { "ssa" } else { "csa" };
    Ok(Record {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        version: revision,
        manifest: resources,
        hooks,
        info: Info::of(status),
        apply_method: Some(apply_method.to_owned()),
    })
}

/// A hook as it is in a record. `None` for an event that Helm does not know: it then takes the document
/// for neither a hook nor a resource (helm `pkg/release/v1/util/manifest_sorter.go`).
pub fn hook(object: &Value, events: &str, document: &str) -> Option<HookRecord> {
    let event = |name: String| match name.as_str() {
        // The old name of the event.
        "test-success" => Event::Test,
        name => Event::from_name(name),
    };
    let events: Vec<_> = words(events).map(event).collect();
    if events.contains(&Event::Unknown) {
        return None;
    }
    let text = |path| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    // Whatever they are: an unknown one is none, but takes the place of the default.
    let policies = annotation(object, HOOK_DELETE_POLICY).map(|policies| {
        let names = words(policies);
        names.map(|name| DeletePolicy::from_name(&name)).collect()
    });
    let weight = annotation(object, HOOK_WEIGHT).and_then(|weight| weight.parse().ok());
    Some(HookRecord {
        name: text("/metadata/name"),
        kind: text("/kind"),
        path: manifest::source(document).unwrap_or_default().to_owned(),
        manifest: document.to_owned(),
        events,
        weight: weight.unwrap_or_default(),
        delete_policies: policies.unwrap_or_default(),
        last_run: LastRun::default(),
    })
}

#[cfg(test)]
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
            (release.version, release.info.status),
            (2, Status::PendingUpgrade)
        );
        assert_eq!(release.apply_method.as_deref(), Some("ssa"));
        assert!(release.manifest.contains("name: a"));
        assert!(!release.manifest.contains("name: b") && !release.manifest.contains("name: c"));
        let [hook] = release.hooks.try_into().unwrap();
        assert_eq!((hook.name.as_str(), hook.weight), ("b", -5));
        assert_eq!(hook.path, "app/templates/b.yaml");
        assert_eq!(hook.events, [Event::PreUpgrade, Event::Test]);
        assert_eq!(
            hook.delete_policies,
            [DeletePolicy::HookSucceeded, DeletePolicy::Unknown]
        );
    }

    #[test]
    fn what_is_no_yaml_is_an_error() {
        let error = release("kind: [", "app", "shop", 1, false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2 column 1"), "{error}");
    }
}
