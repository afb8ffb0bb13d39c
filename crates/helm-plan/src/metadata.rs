//! The annotations that charts use to tell Helm what to do, and how to read them.
//!
//! In: an object as raw JSON. Out: its annotations and labels. Refuses: nothing; one that is not a string
//! counts as missing.

use serde_json::Value;

/// The events at which an object is a hook, separated by commas.
pub const HOOK: &str = "helm.sh/hook";
/// The weight of a hook; among the hooks of an event, lower weights run first.
pub const HOOK_WEIGHT: &str = "helm.sh/hook-weight";
/// When Helm deletes the object of a hook, separated by commas.
pub const HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
/// With the value `keep`, Helm does not delete the object when it leaves the release.
pub const RESOURCE_POLICY: &str = "helm.sh/resource-policy";
/// On regular resources: the name of the release that they belong to.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// On regular resources: the namespace of that release.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Annotations and labels with which a controller fills the ConfigMap or Secret that has them.
const FILLED_BY: [&str; 7] = [
    // OpenShift
    "config.openshift.io/inject-trusted-cabundle",
    "service.beta.openshift.io/inject-cabundle",
    // emberstack/kubernetes-reflector
    "reflector.v1.k8s.emberstack.com/reflects",
    // mittwald/kubernetes-replicator
    "replicator.v1.mittwald.de/replicate-from",
    // mittwald/kubernetes-secret-generator
    "secret-generator.v1.mittwald.de/autogenerate",
    "secret-generator.v1.mittwald.de/type",
    // kubernetes/kubernetes: the token of a ServiceAccount
    "kubernetes.io/service-account.name",
];

/// The annotation or label by which a controller fills an object with keys, if it has one.
pub fn filled_by(object: &Value) -> Option<&'static str> {
    let has = |key: &&&str| annotation(object, key).is_some() || label(object, key).is_some();
    FILLED_BY.iter().find(has).copied()
}

/// An annotation of an object, if it exists and is a string.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(key)?
        .as_str()
}

/// A label of an object, if it exists and is a string.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// Whether Helm keeps a live object that left the release (helm `pkg/kube/client.go`, update). Unlike for an
/// uninstall, the value has to be exactly `keep`.
pub fn is_kept(object: &Value) -> bool {
    annotation(object, RESOURCE_POLICY) == Some("keep")
}

/// The entries of an annotation that is a list, as Helm reads them: separated by commas, trimmed, in lower
/// case.
pub fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_ascii_lowercase())
}
