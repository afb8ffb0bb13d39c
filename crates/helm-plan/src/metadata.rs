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
