//! A finding of a report, and whether it came true.

use std::fmt;

use anyhow::Result;
use cluster_tests::Case;
use serde_json::Value;

use super::state::{Item, State};
use super::string;

/// What is said of an object, and its UID before.
pub(super) struct Claim {
    lint: String,
    level: String,
    reason: String,
    object: Value,
    uid: Option<String>,
}

impl Claim {
    /// To be called before that happens.
    pub(super) fn new(case: &Case<'_>, finding: &Value) -> Result<Claim> {
        let object = finding.get("object").cloned().unwrap_or_default();
        Ok(Claim {
            lint: string(finding, "/finding").to_owned(),
            level: string(finding, "/level").to_owned(),
            reason: string(finding, "/reason").to_owned(),
            uid: uid(case, &object)?,
            object,
        })
    }

    pub(super) fn is_rejected(&self) -> bool {
        self.level == "reject"
    }

    /// Whether it says that Helm fails, or may.
    pub(super) fn is_conflict(&self) -> bool {
        self.lint == "hook-conflict"
    }

    /// Whether this speaks of the loss of an object, or of a key of it.
    pub(super) fn is_about(&self, item: &Item) -> bool {
        string(&self.object, "/group").is_empty()
            && string(&self.object, "/kind") == item.kind
            && string(&self.object, "/name") == item.name
    }

    /// Of one that is rejected. `None`: the API server does not show it.
    pub(super) fn is_true(&self, case: &Case<'_>, after: &State) -> Result<Option<bool>> {
        let now = uid(case, &self.object)?;
        let is_gone = now.is_none();
        Ok(match self.lint.as_str() {
            "dangling-reference" | "hook-not-run" => {
                let is_lost = |key| !after.exists(&key);
                Some(is_gone || self.key().is_some_and(is_lost))
            }
            "hook-pruned" | "hook-self-deleted" | "maker-deleted" | "other-release" => {
                Some(is_gone)
            }
            // A hook may make it anew.
            "namespace-deleted" | "crd-deleted" => Some(is_gone || now != self.uid),
            _ => None,
        })
    }

    /// The key, if this is about one.
    fn key(&self) -> Option<Item> {
        let (_, rest) = self.reason.split_once("the key \"")?;
        let (key, _) = rest.split_once('"')?;
        Some(Item {
            kind: string(&self.object, "/kind").to_owned(),
            name: string(&self.object, "/name").to_owned(),
            key: Some(key.to_owned()),
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim {
            lint,
            level,
            reason,
            object,
            ..
        } = self;
        let [kind, name] = ["/kind", "/name"].map(|field| string(object, field));
        write!(f, "{level} {lint}: {kind} {name} {reason}")
    }
}

/// `None`: there is no such object, or no such kind.
fn uid(case: &Case<'_>, object: &Value) -> Result<Option<String>> {
    let [group, kind, namespace, name] =
        ["/group", "/kind", "/namespace", "/name"].map(|field| string(object, field));
    let kind = match group {
        "" => kind.to_ascii_lowercase(),
        _ => format!("{}.{group}", kind.to_ascii_lowercase()),
    };
    let in_namespace = format!("--namespace={namespace}");
    let mut arguments = vec!["get", &kind, name, "--output=jsonpath={.metadata.uid}"];
    if !namespace.is_empty() {
        arguments.push(&in_namespace);
    }
    let found = case.cluster.kubectl(&arguments)?;
    if found.status.success() {
        return Ok(Some(found.stdout));
    }
    let is_absent = ["NotFound", "have a resource type"];
    if is_absent.iter().any(|text| found.stderr.contains(text)) {
        return Ok(None);
    }
    Err(anyhow::anyhow!("{found}"))
}
