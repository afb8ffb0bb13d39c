//! What follows from each finding.
//!
//! In: a map of names of findings to levels. Out: the [`Level`] of a finding. Refuses: a name that no
//! finding has, a level that a finding cannot have.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{Finding, LINTS, Lint};

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The release is rejected.
    Reject,
    /// The release is accepted, and the object is kept.
    Rescue,
    /// The release is accepted with a warning.
    Warn,
    /// Nothing.
    Ignore,
}

impl Level {
    /// Every level, the strictest first.
    pub const ALL: [Self; 4] = [Self::Reject, Self::Rescue, Self::Warn, Self::Ignore];

    /// As in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Rescue => "rescue",
            Self::Warn => "warn",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Lint {
    /// Whether users may choose this level for the finding.
    pub fn allows(&self, level: Level) -> bool {
        level != Level::Rescue || self.can_be_rescued
    }
}

/// The level of each finding: its default, or what the user has chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    chosen: BTreeMap<&'static str, Level>,
}

impl Levels {
    /// The level of a kind of finding.
    pub fn of(&self, lint: &Lint) -> Level {
        let chosen = self.chosen.get(lint.name).copied();
        chosen.unwrap_or(lint.default_level)
    }

    /// The level of one finding. What something else may create again is never a reason to reject;
    /// what no hook creates before the prune cannot be rescued.
    pub fn of_finding(&self, finding: &Finding) -> Level {
        match self.of(finding.lint()) {
            Level::Reject if finding.uncertain => Level::Warn,
            Level::Rescue if !finding.rescuable => Level::Reject,
            level => level,
        }
    }
}

/// The level of every finding, chosen or not.
impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(LINTS.len()))?;
        for lint in LINTS {
            map.serialize_entry(lint.name, &self.of(lint))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut levels = Self::default();
        for (name, level) in BTreeMap::<String, Level>::deserialize(deserializer)? {
            let lint = LINTS.iter().find(|lint| lint.name == name);
            let lint = lint.ok_or_else(|| {
                de::Error::custom(format_args!("there is no finding named `{name}`"))
            })?;
            if !lint.allows(level) {
                return Err(de::Error::custom(format_args!(
                    "{lint} cannot have the level `{level}`; use `reject`, `warn` or `ignore`"
                )));
            }
            levels.chosen.insert(lint.name, level);
        }
        // A level that is written out is no choice when it is the default anyway.
        levels.chosen.retain(|name, level| {
            !LINTS
                .iter()
                .any(|l| l.name == *name && l.default_level == *level)
        });
        Ok(levels)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(levels: Value) -> Result<Levels, String> {
        serde_json::from_value(levels).map_err(|error| error.to_string())
    }

    #[test]
    fn each_finding_has_its_default_unless_chosen() {
        let levels = read(json!({"hook-pruned": "rescue", "no-rollout": "ignore"})).unwrap();
        for lint in LINTS {
            let expected = match lint.name {
                "hook-pruned" => Level::Rescue,
                "no-rollout" => Level::Ignore,
                _ => lint.default_level,
            };
            assert_eq!(levels.of(lint), expected, "{lint}");
        }
        let written = serde_json::to_value(Levels::default()).unwrap();
        assert_eq!(read(written), Ok(Levels::default()));
    }

    #[test]
    fn names_and_levels_are_checked() {
        for (levels, expected) in [
            (
                json!({"hook-prund": "warn"}),
                "there is no finding named `hook-prund`",
            ),
            (
                json!({"no-rollout": "rescue"}),
                "no-rollout cannot have the level `rescue`; use `reject`, `warn` or `ignore`",
            ),
            (
                json!({"no-rollout": "deny"}),
                "unknown variant `deny`, expected one of `reject`, `rescue`, `warn`, `ignore`",
            ),
        ] {
            assert_eq!(read(levels), Err(expected.to_owned()));
        }
    }
}
