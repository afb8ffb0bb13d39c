//! The settings of the policy: `{}` is a complete configuration.
//!
//! In: the JSON of the policy's `settings`. Out: [`Settings`]. Refuses: unknown fields (naming the
//! nearest valid one), values of another type, globs that can match no name, half a key reference. `null` for an object
//! or a list is the same as leaving it out.
//!
//! The documentation of each setting is here and nowhere else. `cargo xtask generate` writes docs/settings.md,
//! docs/settings.schema.json and questions-ui.yml from it; with the feature `schema`, `title` is the label of a
//! question, or the group of questions if it is that of an object.

mod error;
mod reading;

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use wildmatch::WildMatch;

use helm_plan::findings::{Level, Levels, hook_pruned};

pub use self::error::{Error, GlobError};

/// Settings of the policy rollout-guard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// What the policy does.
    #[cfg_attr(feature = "schema", schemars(title = "Mode"))]
    pub mode: Mode,

    /// What happens when a ConfigMap, Secret or release record cannot be read.
    #[cfg_attr(feature = "schema", schemars(title = "Failed look-ups"))]
    pub lookup_failure: LookupFailure,

    /// How long policy-server lets this policy judge a request, in seconds: the same number as `timeoutEvalSeconds` in
    /// the `spec` of the policy. policy-server counts whole seconds, so it may interrupt the policy a second earlier, and
    /// its answer then says nothing about the reason. That is why no look-up begins within the last 1.1 seconds. What
    /// could not be read by then counts as a look-up that failed: see `lookupFailure`. A live object of a release counts
    /// as its manifest says, with a warning.
    #[cfg_attr(
        feature = "schema",
        schemars(title = "Evaluation timeout", range(min = 2, max = 30))
    )]
    pub timeout_eval_seconds: u64,

    /// How workloads are stamped, so that they roll out when their ConfigMaps or Secrets change.
    #[cfg_attr(feature = "schema", schemars(title = "Config hash"))]
    pub config_hash: ConfigHash,

    /// How Helm releases are checked.
    #[cfg_attr(feature = "schema", schemars(title = "Release guard"))]
    pub release_guard: ReleaseGuard,

    /// What may be deleted while workloads need it.
    #[cfg_attr(feature = "schema", schemars(title = "Deletion guard"))]
    pub deletion_guard: DeletionGuard,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            lookup_failure: LookupFailure::default(),
            timeout_eval_seconds: 2,
            config_hash: ConfigHash::default(),
            release_guard: ReleaseGuard::default(),
            deletion_guard: DeletionGuard::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Stamps workloads and checks Helm releases.
    #[default]
    Enforce,
    /// Never changes anything, and rejects workloads whose config changed after their pods were rolled out, and live
    /// ones that were never recorded or have pods of an older template. Helm releases are checked and rejected as with
    /// `enforce`, unless `releaseGuard.enabled` is `false`. This mode is for a second policy that the audit scanner
    /// uses.
    Verify,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum LookupFailure {
    /// Rejects the request.
    #[default]
    Reject,
    /// Accepts the request with a warning. A workload keeps its current config hash, and a release is not checked.
    Warn,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConfigHash {
    /// Whether workloads are stamped, so that they roll out when their ConfigMaps or Secrets change.
    #[cfg_attr(feature = "schema", schemars(title = "Config hash"))]
    pub enabled: bool,

    /// What is written into the pod template.
    #[cfg_attr(feature = "schema", schemars(title = "Stamp"))]
    pub strategy: Strategy,

    /// Which workloads are stamped. The annotation `rollout-guard/enabled` on a workload takes precedence over this
    /// setting.
    #[cfg_attr(feature = "schema", schemars(title = "Workloads"))]
    pub workloads: Workloads,

    /// What happens when a workload needs a ConfigMap, Secret or key that does not exist.
    #[cfg_attr(feature = "schema", schemars(title = "Missing config"))]
    pub missing: Missing,

    /// Whether the policy also writes the annotation `kubernetes.io/change-cause` when config changes.
    /// `kubectl rollout history` shows it. A cause that the client gives in the same request is kept.
    #[cfg_attr(feature = "schema", schemars(title = "Change cause"))]
    pub change_cause: bool,

    /// Whether the Secrets in `imagePullSecrets` count as config.
    #[cfg_attr(feature = "schema", schemars(title = "Image pull secrets"))]
    pub image_pull_secrets: bool,

    /// Names that never count as config. `*` stands for any characters.
    pub ignore: Ignore,

    /// The Secret that holds a key for HMAC-SHA-256. Configs are then hashed with this key, so that nobody can find
    /// the value of a short Secret by testing guesses against its hash. Use 32 random bytes; fewer than 16 are refused.
    /// The key is bound to the namespace of the workload, so that a hash cannot be tested in another namespace. If the
    /// key changes, the recorded hashes are updated, and nothing rolls out. Without a key, configs are hashed by SHA-256.
    #[serde(deserialize_with = "key")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<KeyRef>"))]
    pub key: Option<KeyRef>,

    /// Whether a client that changes or deletes a ConfigMap or Secret gets a warning for each workload in the same
    /// namespace that uses it. This needs rules for UPDATE and DELETE of ConfigMaps and Secrets, and the permissions
    /// `list` and `watch` on workloads.
    #[cfg_attr(feature = "schema", schemars(title = "Warn consumers"))]
    pub warn_consumers: bool,
}

impl Default for ConfigHash {
    fn default() -> Self {
        Self {
            enabled: true,
            strategy: Strategy::default(),
            workloads: Workloads::default(),
            missing: Missing::default(),
            change_cause: false,
            image_pull_secrets: false,
            ignore: Ignore::default(),
            key: None,
            warn_consumers: false,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Writes a hash over all configs as `rollout-guard/config-hash`.
    #[default]
    Hash,
    /// Writes an integer that only grows as `rollout-guard/config-version`.
    Version,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Workloads {
    /// All workloads that no controller owns.
    #[default]
    All,
    /// Only workloads that opt in with `rollout-guard/enabled: "true"` or with annotations of Reloader or Wave.
    Annotated,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// Accepts the workload.
    Ignore,
    /// Accepts the workload with a warning.
    #[default]
    Warn,
    /// Rejects the workload.
    Reject,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Ignore {
    /// Names of ConfigMaps that never count as config. `*` stands for any characters. `kube-root-ca.crt` never counts,
    /// whether it is listed or not.
    #[cfg_attr(
        feature = "schema",
        schemars(title = "Ignored ConfigMaps", inner(regex(pattern = "^[a-z0-9.*-]+$")))
    )]
    pub config_maps: Vec<String>,

    /// Names of Secrets that never count as config. `*` stands for any characters.
    #[cfg_attr(
        feature = "schema",
        schemars(title = "Ignored Secrets", inner(regex(pattern = "^[a-z0-9.*-]+$")))
    )]
    pub secrets: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The namespace of the Secret with the HMAC key. Set all three fields of the key, or none of them.
    #[cfg_attr(feature = "schema", schemars(title = "Key namespace", length(min = 1)))]
    pub namespace: String,

    /// The name of the Secret with the HMAC key.
    #[cfg_attr(feature = "schema", schemars(title = "Key Secret", length(min = 1)))]
    pub name: String,

    /// The key within that Secret. Its bytes are used as they are, including a line break at the end.
    #[cfg_attr(feature = "schema", schemars(title = "Key", length(min = 1)))]
    pub key: String,
}

/// No key if all its fields are empty. Rancher's form sends `{}` or empty texts for fields that were filled in once and
/// then cleared.
fn key<'de, D: Deserializer<'de>>(key: D) -> Result<Option<KeyRef>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Fields {
        namespace: String,
        name: String,
        key: String,
    }
    let Fields {
        namespace,
        name,
        key,
    } = Option::deserialize(key)?.unwrap_or_default();
    let key = KeyRef {
        namespace,
        name,
        key,
    };
    Ok((key != KeyRef::default()).then_some(key))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReleaseGuard {
    /// Whether Helm releases are checked.
    #[cfg_attr(feature = "schema", schemars(title = "Release guard"))]
    pub enabled: bool,

    /// Whether the hooks that Helm creates, and the release objects that it deletes, are checked too while a release
    /// is pending. This catches releases that were pending before the policy was installed. It is meant for a policy of
    /// its own, examples/second-line-policy.yaml, which needs the permissions `list` and `watch` on Secrets of the
    /// whole cluster; without this setting, `get` is enough. The level `rescue` needs this setting in both policies.
    #[cfg_attr(feature = "schema", schemars(title = "Hook requests"))]
    pub hook_requests: bool,

    /// Whether the label `rollout-guard/allow-revision` on a release record allows that revision, whatever is found.
    #[cfg_attr(feature = "schema", schemars(title = "Bypass"))]
    pub bypass: bool,

    /// The size of the largest release record that is read, in bytes after decoding. A larger record counts as one
    /// that cannot be read: see `lookupFailure`. The default is 32 MiB.
    #[cfg_attr(feature = "schema", schemars(title = "Largest record", range(min = 1)))]
    pub max_record_bytes: u64,

    /// What happens for each finding. `reject` rejects the release. `warn` accepts it with a warning. `ignore`
    /// accepts it without a warning. `rescue`, which only `hook-pruned` can have, accepts the release and adds
    /// `helm.sh/resource-policy: keep` to the hook, so that Helm keeps the object. It needs `hookRequests`, and it
    /// cannot be used with `mode: verify`. Only ConfigMaps, Secrets, ServiceAccounts and PersistentVolumeClaims are
    /// rescued; other objects are rejected. A finding that is not certain is at most a warning: something else may recreate the object,
    /// or no record tells whether the object still exists.
    #[cfg_attr(
        feature = "schema",
        schemars(title = "Findings", schema_with = "schema_of_findings")
    )]
    pub findings: Levels,
}

impl Default for ReleaseGuard {
    fn default() -> Self {
        Self {
            enabled: true,
            hook_requests: false,
            bypass: true,
            max_record_bytes: 32 * 1024 * 1024,
            findings: Levels::default(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeletionGuard {
    /// What happens when a request would delete a ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim that a live
    /// workload of its namespace requires, or would remove keys that one requires. It is meant for a policy of its own,
    /// examples/deletion-guard-policy.yaml, which needs the permissions `list` and `watch` on workloads. A workload that may not
    /// need the object, because it is scaled to 0 for instance, never causes more than a warning.
    #[cfg_attr(feature = "schema", schemars(title = "Deletion guard"))]
    pub level: DeletionLevel,

    /// Users and groups whose deletions are rejected, whatever `level` says: for example Flux's kustomize-controller, which tries again
    /// until the object is no longer in use. If they remove keys, they are warned and not rejected: tools apply ConfigMaps before workloads,
    /// and a tool that is stopped there would never update the workload. `level: reject` does not apply to Argo CD, unless it is named here:
    /// see docs/deletion-guard.md.
    #[cfg_attr(feature = "schema", schemars(title = "Reject for"))]
    pub reject_for: Subjects,

    /// Users and groups whose requests always pass, also if `rejectFor` names them.
    #[cfg_attr(feature = "schema", schemars(title = "Allow for"))]
    pub allow_for: Subjects,

    /// Kinds of custom resources that count as workloads, with their API version: `argoproj.io/v1alpha1/Rollout`. Their pod template is
    /// read at `spec.template`. Each must exist in the cluster, must be in `contextAwareResources`, and the PolicyServer needs `get`,
    /// `list` and `watch` on it.
    #[cfg_attr(
        feature = "schema",
        schemars(
            title = "Other workloads",
            with = "BTreeSet<String>",
            inner(regex(pattern = r"^[a-z0-9-]+(\.[a-z0-9-]+)+/v[a-z0-9]+/[A-Z][A-Za-z0-9]*$"))
        )
    )]
    pub other_workloads: BTreeSet<WorkloadKind>,
}

/// A kind of custom resources. Their groups have a dot, and those of the workloads of Kubernetes itself have none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadKind {
    /// `argoproj.io/v1alpha1`
    pub api_version: String,
    /// `Rollout`
    pub kind: String,
}

impl TryFrom<String> for WorkloadKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_word = |word: &str| {
            let is_part = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
            !word.is_empty() && word.chars().all(is_part)
        };
        let is_group = |group: &str| group.contains('.') && group.split('.').all(is_word);
        let is_version =
            |version: &str| version.starts_with('v') && version.len() > 1 && is_word(version);
        let is_kind = |kind: &str| {
            kind.starts_with(|c: char| c.is_ascii_uppercase())
                && kind.chars().all(|c| c.is_ascii_alphanumeric())
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [group, version, kind] if is_group(group) && is_version(version) && is_kind(kind) => {
                Ok(Self {
                    api_version: format!("{group}/{version}"),
                    kind: kind.to_owned(),
                })
            }
            _ => Err(format!(
                "`{text}` is no kind of custom resources; write it with its API version, like `argoproj.io/v1alpha1/Rollout`"
            )),
        }
    }
}

impl From<WorkloadKind> for String {
    fn from(WorkloadKind { api_version, kind }: WorkloadKind) -> Self {
        format!("{api_version}/{kind}")
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DeletionLevel {
    /// Accepts the request.
    #[default]
    Ignore,
    /// Accepts the request with a warning for each workload.
    Warn,
    /// Rejects the request.
    Reject,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Subjects {
    /// Names of users, as Kubernetes sees them: `system:serviceaccount:NAMESPACE:NAME` for a ServiceAccount. `*` stands
    /// for any characters.
    #[cfg_attr(feature = "schema", schemars(title = "Users", inner(length(min = 1))))]
    pub users: Vec<String>,

    /// Names of groups. `*` stands for any characters.
    #[cfg_attr(feature = "schema", schemars(title = "Groups", inner(length(min = 1))))]
    pub groups: Vec<String>,
}

/// The levels of findings: the registry knows their names, and which levels each can have.
#[cfg(feature = "schema")]
fn schema_of_findings(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let properties = helm_plan::findings::LINTS.iter().map(|lint| {
        let schema = serde_json::json!({
            "title": lint.name,
            "description": format!("{}.", lint.summary),
            "type": "string",
            "enum": lint.levels(),
            "default": lint.default_level,
        });
        (lint.name.to_owned(), schema)
    });
    schemars::json_schema!({
        "type": "object",
        "properties": Value::Object(properties.collect()),
        "additionalProperties": false,
    })
}

impl Settings {
    /// Reads and checks settings; the error says which field and what to write instead.
    pub fn parse(settings: &Value) -> Result<Self, Error> {
        let parsed = Self::read(settings)?;
        parsed.check()?;
        Ok(parsed)
    }

    /// Reads settings that the host has had checked before.
    pub fn read(settings: &Value) -> Result<Self, Error> {
        match settings {
            Value::Null => Ok(Self::default()),
            settings => reading::read(settings),
        }
    }

    /// The same, of the JSON text that the host sends.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        Self::parse(&serde_json::from_slice(text)?)
    }

    /// How long after the beginning of an evaluation a look-up may begin. policy-server counts its limit in ticks of a
    /// second, and the first may come at once (kubewarden-controller, `crates/policy-server/src/lib.rs`). A tenth of a
    /// second is for the last look-up and for the answer.
    pub fn time_for_look_ups(&self) -> Duration {
        const RESERVED: Duration = Duration::from_millis(1100);
        Duration::from_secs(self.timeout_eval_seconds).saturating_sub(RESERVED)
    }

    /// What the types of the fields cannot tell.
    fn check(&self) -> Result<(), Error> {
        if !(2..=30).contains(&self.timeout_eval_seconds) {
            return Err(Error::Timeout {
                seconds: self.timeout_eval_seconds,
            });
        }
        let ignore = &self.config_hash.ignore;
        for (field, globs) in [
            ("configMaps", &ignore.config_maps),
            ("secrets", &ignore.secrets),
        ] {
            for (index, glob) in globs.iter().enumerate() {
                check_glob(glob).map_err(|source| Error::Glob {
                    setting: format!("configHash.ignore.{field}[{index}]"),
                    source,
                })?;
            }
        }
        if let Some(KeyRef {
            namespace,
            name,
            key,
        }) = &self.config_hash.key
        {
            for (field, value) in [("namespace", namespace), ("name", name), ("key", key)] {
                if value.is_empty() {
                    return Err(Error::HalfAKey { field });
                }
            }
        }
        let guard = &self.deletion_guard;
        for (field, names) in [
            ("rejectFor.users", &guard.reject_for.users),
            ("rejectFor.groups", &guard.reject_for.groups),
            ("allowFor.users", &guard.allow_for.users),
            ("allowFor.groups", &guard.allow_for.groups),
        ] {
            if let Some(index) = names.iter().position(String::is_empty) {
                return Err(Error::Glob {
                    setting: format!("deletionGuard.{field}[{index}]"),
                    source: GlobError::Empty,
                });
            }
        }
        if self.release_guard.findings.of(&hook_pruned::LINT) == Level::Rescue {
            if self.mode == Mode::Verify {
                return Err(Error::RescueInVerify);
            }
            if !self.release_guard.hook_requests {
                return Err(Error::RescueWithoutHooks);
            }
        }
        if self.release_guard.max_record_bytes == 0 {
            return Err(Error::NoRecordFits);
        }
        Ok(())
    }
}

impl DeletionGuard {
    /// Whether any request is judged.
    pub fn is_enabled(&self) -> bool {
        self.level != DeletionLevel::Ignore || self.reject_for != Subjects::default()
    }

    /// What happens to the requests of a user.
    pub fn level_for(&self, user: &str, groups: &[&str], is_update: bool) -> DeletionLevel {
        if self.allow_for.include(user, groups) {
            DeletionLevel::Ignore
        } else if self.reject_for.include(user, groups) {
            // Flux applies nothing more after an update that was rejected.
            match is_update {
                true => DeletionLevel::Warn,
                false => DeletionLevel::Reject,
            }
        } else {
            self.level
        }
    }
}

impl Subjects {
    pub fn include(&self, user: &str, groups: &[&str]) -> bool {
        matches(&self.users, user) || groups.iter().any(|group| matches(&self.groups, group))
    }
}

impl Ignore {
    pub fn config_map(&self, name: &str) -> bool {
        matches(&self.config_maps, name)
    }

    pub fn secret(&self, name: &str) -> bool {
        matches(&self.secrets, name)
    }
}

fn matches(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| WildMatch::new(glob).matches(name))
}

fn check_glob(glob: &str) -> Result<(), GlobError> {
    let valid =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '*');
    match glob.chars().find(|&c| !valid(c)) {
        _ if glob.is_empty() => Err(GlobError::Empty),
        Some(invalid) => Err(GlobError::Character {
            glob: glob.to_owned(),
            invalid,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
