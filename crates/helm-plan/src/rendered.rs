//! A rendered chart, turned into the record that Helm would write for it: for checks before an upgrade,
//! when there is no record yet.
//!
//! In: the multi-document YAML that `helm template` prints. Out: a [`Record`]. Refuses: a document that is
//! not YAML.

use serde_json::Value;

use crate::{
    lifecycle::{ApplyMethod, DeletePolicy, Event, Status},
    manifest::{self, Cause},
    metadata::{HOOK, HOOK_DELETE_POLICY, HOOK_WEIGHT, annotation, words},
    record::{HookRecord, Info, LastRun, Record},
    yaml::{self, Budget},
};

/// The record of a revision of a release. Revision 1 is deployed, all others are pending upgrades.
/// `apply_method` says how Helm applies it.
///
/// # Errors
/// A document is not YAML.
pub fn release(
    text: &str,
    name: &str,
    namespace: &str,
    revision: u64,
    apply_method: ApplyMethod,
) -> Result<Record, manifest::Error> {
    let (mut resources, mut hooks) = (String::new(), Vec::new());
    let mut budget = Budget::default();
    for (index, document) in manifest::documents(text).enumerate() {
        let object = yaml::parse_within(document, &mut budget)
            .map_err(|error| manifest::Error::new(index, document, Cause::Yaml(error)))?;
        match annotation(&object, HOOK) {
            None => resources.extend(["---\n", document, "\n"]),
            Some(events) => hooks.extend(hook(&object, events, document)),
        }
    }
    let status = match revision {
        1 => Status::Deployed,
        _ => Status::PendingUpgrade,
    };
    Ok(Record {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        version: revision,
        manifest: resources,
        hooks,
        info: Info::of(status),
        apply_method: Some(apply_method),
    })
}

/// The hook that a record has for a document. `None` if one of its events is unknown to Helm, which then
/// treats the document as neither a hook nor a resource (helm `pkg/release/v1/util/manifest_sorter.go`).
pub(crate) fn hook(object: &Value, events: &str, document: &str) -> Option<HookRecord> {
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
    // An unknown policy does nothing, but it replaces the default.
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
        let release = release(CHART, "app", "shop", 2, ApplyMethod::ServerSide).unwrap();
        assert_eq!(
            (release.version, release.info.status),
            (2, Status::PendingUpgrade)
        );
        assert_eq!(release.apply_method, Some(ApplyMethod::ServerSide));
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
    fn a_document_that_is_not_yaml_is_refused() {
        let text = "kind: A\n---\n# Source: app/templates/a.yaml\nkind: [";
        let error = release(text, "app", "shop", 1, ApplyMethod::ClientSide).unwrap_err();
        assert_eq!(
            error.to_string(),
            "document 2 (app/templates/a.yaml): did not find expected node content at line 3 column 1"
        );
    }
}
