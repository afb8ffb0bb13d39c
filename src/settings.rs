//! The settings of the policy: `{}` is a complete configuration.
//!
//! In: the JSON of the policy's `settings`. Out: [`Settings`]. Refuses: unknown fields (naming the
//! nearest valid one), values of another type, globs that can match no name, half a key reference.

use kubewarden_policy_sdk::settings::Validatable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wildmatch::WildMatch;

use helm_plan::findings::{Level, Levels, hook_pruned};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    pub mode: Mode,
    pub lookup_failure: LookupFailure,
    pub config_hash: ConfigHash,
    pub release_guard: ReleaseGuard,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Stamp workloads and judge releases.
    #[default]
    Enforce,
    /// Never mutate; reject workloads whose recorded configs no longer match the cluster.
    Verify,
}

/// What follows from a look-up that failed or was denied, or a release record that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LookupFailure {
    #[default]
    Reject,
    /// Accept with a warning; a workload keeps its old stamp.
    Warn,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConfigHash {
    pub enabled: bool,
    pub strategy: Strategy,
    pub workloads: Workloads,
    pub missing: Missing,
    /// Also write `kubernetes.io/change-cause`.
    pub change_cause: bool,
    /// Count the Secrets in `imagePullSecrets` as config.
    pub image_pull_secrets: bool,
    pub ignore: Ignore,
    /// Hash with HMAC-SHA-256 and the key in this Secret.
    pub key: Option<KeyRef>,
    /// When a ConfigMap or Secret changes, name the workloads that use it. Lists them.
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
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// `rollout-guard/config-hash`: a hash over all configs.
    #[default]
    Hash,
    /// `rollout-guard/config-version`: an integer that only grows.
    Version,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workloads {
    #[default]
    All,
    /// Only those that opt in by annotation.
    Annotated,
}

/// What follows from a ConfigMap, Secret or key that a workload needs and that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    Ignore,
    #[default]
    Warn,
    Reject,
}

/// Names that never count as config; `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Ignore {
    pub config_maps: Vec<String>,
    pub secrets: Vec<String>,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReleaseGuard {
    pub enabled: bool,
    /// Also judge the CREATE of hooks and the DELETE of release objects.
    pub hook_requests: bool,
    /// Honour the label `rollout-guard/allow-revision`.
    pub bypass: bool,
    /// The largest release record that is read, decoded.
    pub max_record_bytes: u64,
    pub findings: Levels,
}

impl Default for ReleaseGuard {
    fn default() -> Self {
        Self {
            enabled: true,
            hook_requests: true,
            bypass: true,
            max_record_bytes: 64 * 1024 * 1024,
            findings: Levels::default(),
        }
    }
}

impl Settings {
    /// Reads and checks settings; the error says which field and what to write instead.
    pub fn parse(settings: &Value) -> Result<Self, String> {
        if settings.is_null() {
            return Ok(Self::default());
        }
        let known = serde_json::to_value(Self::default()).map_err(|error| error.to_string())?;
        refuse_unknown_fields(settings, &known, "")?;
        let parsed: Self =
            serde_path_to_error::deserialize(settings).map_err(|error| {
                match error.path().to_string().as_str() {
                    "." => error.inner().to_string(),
                    path => format!("{path}: {}", error.inner()),
                }
            })?;
        parsed.validate()?;
        Ok(parsed)
    }
}

impl Validatable for Settings {
    fn validate(&self) -> Result<(), String> {
        let ignore = &self.config_hash.ignore;
        for (field, globs) in [
            ("configMaps", &ignore.config_maps),
            ("secrets", &ignore.secrets),
        ] {
            for (index, glob) in globs.iter().enumerate() {
                check_glob(glob)
                    .map_err(|error| format!("configHash.ignore.{field}[{index}]: {error}"))?;
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
                    return Err(format!("configHash.key.{field} is empty"));
                }
            }
        }
        if self.mode == Mode::Verify
            && self.release_guard.findings.of(&hook_pruned::LINT) == Level::Rescue
        {
            return Err(
                "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which \
                        `mode: verify` never does; use `reject`, `warn` or `ignore`"
                    .to_owned(),
            );
        }
        if self.release_guard.max_record_bytes == 0 {
            return Err("releaseGuard.maxRecordBytes is 0: no release could be read".to_owned());
        }
        Ok(())
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

fn check_glob(glob: &str) -> Result<(), String> {
    let valid =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '*');
    match glob.chars().find(|&c| !valid(c)) {
        _ if glob.is_empty() => Err("an empty name matches nothing".to_owned()),
        Some(c) => Err(format!(
            "`{glob}` matches nothing: names have no `{c}` (lower case letters, digits, `-`, `.`, \
             and `*` for any of them)"
        )),
        None => Ok(()),
    }
}

/// Serde's own error lists all fields; people want to know which one they meant.
fn refuse_unknown_fields(given: &Value, known: &Value, path: &str) -> Result<(), String> {
    // Serde reads a list as the fields of a struct in their order.
    if let (Value::Array(_), Value::Object(_) | Value::Null) = (given, known) {
        return Err(match path.trim_end_matches('.') {
            "" => "the settings are a list, not fields with values".to_owned(),
            path => format!("{path} is a list, not fields with values"),
        });
    }
    let (Value::Object(given), Value::Object(known)) = (given, known) else {
        return Ok(());
    };
    for (field, value) in given {
        match known.get(field) {
            Some(known) => refuse_unknown_fields(value, known, &format!("{path}{field}."))?,
            None => {
                let nearest = known
                    .keys()
                    .max_by(|a, b| {
                        strsim::jaro_winkler(field, a).total_cmp(&strsim::jaro_winkler(field, b))
                    })
                    .map(|nearest| format!("; did you mean `{path}{nearest}`?"))
                    .unwrap_or_default();
                return Err(format!("unknown setting `{path}{field}`{nearest}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_a_complete_configuration() {
        assert_eq!(Settings::parse(&json!({})), Ok(Settings::default()));
        assert_eq!(Settings::parse(&Value::Null), Ok(Settings::default()));
    }

    #[test]
    fn every_default_can_be_written_out() {
        let written = serde_json::to_value(Settings::default()).unwrap_or_default();
        assert_eq!(Settings::parse(&written), Ok(Settings::default()));
    }

    #[track_caller]
    fn assert_refused(settings: Value, expected: &str) {
        assert_eq!(
            Settings::parse(&settings),
            Err(expected.to_owned()),
            "{settings}"
        );
    }

    #[test]
    fn refused_settings_say_what_to_write() {
        assert_refused(
            json!({"mod": "verify"}),
            "unknown setting `mod`; did you mean `mode`?",
        );
        assert_refused(
            json!({"configHash": {"strategi": "hash"}}),
            "unknown setting `configHash.strategi`; did you mean `configHash.strategy`?",
        );
        assert_refused(
            json!({"releaseGuard": {"findings": {"hook-prund": "warn"}}}),
            "unknown setting `releaseGuard.findings.hook-prund`; did you mean `releaseGuard.findings.hook-pruned`?",
        );
        assert_refused(
            json!({"configHash": {"strategy": "hsh"}}),
            "configHash.strategy: unknown variant `hsh`, expected `hash` or `version`",
        );
        assert_refused(
            json!({"releaseGuard": {"findings": {"hook-pruned": "deny"}}}),
            "releaseGuard.findings.hook-pruned: unknown variant `deny`, expected one of `reject`, `rescue`, `warn`, `ignore`",
        );
        assert_refused(
            json!({"releaseGuard": {"findings": {"no-rollout": "rescue"}}}),
            "releaseGuard.findings.no-rollout: only hook-pruned can have the level `rescue`; use `reject`, `warn` or `ignore`",
        );
        assert_refused(
            json!({"mode": "verify", "releaseGuard": {"findings": {"hook-pruned": "rescue"}}}),
            "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which `mode: verify` never does; use `reject`, `warn` or `ignore`",
        );
        assert_refused(
            json!({"configHash": {"ignore": {"secrets": ["ok-*", "Db"]}}}),
            "configHash.ignore.secrets[1]: `Db` matches nothing: names have no `D` (lower case letters, digits, `-`, `.`, and `*` for any of them)",
        );
        assert_refused(
            json!({"configHash": {"ignore": {"configMaps": [""]}}}),
            "configHash.ignore.configMaps[0]: an empty name matches nothing",
        );
        assert_refused(
            json!({"configHash": {"key": {"namespace": "kubewarden", "name": "key"}}}),
            "configHash.key: missing field `key`",
        );
        assert_refused(
            json!({"configHash": {"key": {"namespace": "kubewarden", "name": "", "key": "k"}}}),
            "configHash.key.name is empty",
        );
        assert_refused(
            json!({"releaseGuard": {"maxRecordBytes": 0}}),
            "releaseGuard.maxRecordBytes is 0: no release could be read",
        );
        assert_refused(
            json!({"configHash": {"enabled": "yes"}}),
            "configHash.enabled: invalid type: string \"yes\", expected a boolean",
        );
        assert_refused(json!([]), "the settings are a list, not fields with values");
        assert_refused(
            json!({"configHash": {"ignore": [["db"]]}}),
            "configHash.ignore is a list, not fields with values",
        );
        assert_refused(
            json!({"configHash": {"key": ["kubewarden", "hash-key", "key"]}}),
            "configHash.key is a list, not fields with values",
        );
        assert_refused(
            json!({"configHash": {"key": {"namespace": "a", "name": "b", "key": "c", "keys": "d"}}}),
            "configHash.key.keys: unknown field `keys`, expected one of `namespace`, `name`, `key`",
        );
    }

    #[test]
    fn globs_match_whole_names() {
        let ignore = Ignore {
            config_maps: vec!["cache-*".into()],
            secrets: vec!["db".into()],
        };
        assert!(ignore.config_map("cache-a") && !ignore.config_map("my-cache-a"));
        assert!(ignore.secret("db") && !ignore.secret("db2") && !ignore.config_map("db"));
    }
}
