//! What follows from each finding.
//!
//! In: a map of names of findings to levels. Out: the [`Level`] of a finding. Refuses: a name that no
//! finding has, a level that a finding cannot have.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, EnumAccess, MapAccess, VariantAccess},
    ser::SerializeMap,
};

use super::{Finding, LINTS, Lint, NAMES};

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
    /// The levels that users can choose for the finding, the strictest first.
    pub fn levels(&self) -> &'static [Level] {
        match self.can_be_rescued {
            true => &Level::ALL,
            false => &[Level::Reject, Level::Warn, Level::Ignore],
        }
    }

    fn level_names(&self) -> &'static [&'static str] {
        match self.can_be_rescued {
            true => &["reject", "rescue", "warn", "ignore"],
            false => &["reject", "warn", "ignore"],
        }
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
            Level::Rescue if !finding.rescuable => finding.not_rescued(),
            Level::Reject => finding.not_rescued(),
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
        deserializer.deserialize_map(LevelsVisitor)
    }
}

struct LevelsVisitor;

impl<'de> de::Visitor<'de> for LevelsVisitor {
    type Value = Levels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with levels of findings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Levels, A::Error> {
        let mut levels = Levels::default();
        while let Some(lint) = map.next_key_seed(LintSeed)? {
            let level = map.next_value_seed(LevelSeed(lint))?;
            // A level that is written out is no choice if it is the default anyway.
            match level == lint.default_level {
                true => levels.chosen.remove(lint.name),
                false => levels.chosen.insert(lint.name, level),
            };
        }
        Ok(levels)
    }
}

/// Reads the name of a finding.
struct LintSeed;

impl<'de> DeserializeSeed<'de> for LintSeed {
    type Value = &'static Lint;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl de::Visitor<'_> for LintSeed {
    type Value = &'static Lint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a finding")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static Lint, E> {
        let lint = LINTS.iter().find(|lint| lint.name == name);
        lint.copied().ok_or_else(|| E::unknown_field(name, NAMES))
    }
}

/// Reads the level of one finding, so that an error is at the place of this level and tells which levels
/// the finding can have.
struct LevelSeed(&'static Lint);

impl<'de> DeserializeSeed<'de> for LevelSeed {
    type Value = Level;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Level, D::Error> {
        deserializer.deserialize_enum("Level", self.0.level_names(), self)
    }
}

impl<'de> de::Visitor<'de> for LevelSeed {
    type Value = Level;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Level, A::Error> {
        let (name, rest) = data.variant::<String>()?;
        rest.unit_variant()?;
        let Self(lint) = self;
        match Level::ALL.into_iter().find(|level| level.name() == name) {
            Some(level) if lint.levels().contains(&level) => Ok(level),
            Some(level) => {
                let able = LINTS.iter().filter(|lint| lint.levels().contains(&level));
                let able: Vec<_> = able.map(|lint| lint.name).collect();
                Err(de::Error::custom(format_args!(
                    "only {} can have the level `{level}`; use `reject`, `warn` or `ignore`",
                    able.join(", ")
                )))
            }
            None => Err(de::Error::unknown_variant(&name, lint.level_names())),
        }
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
        for lint in LINTS {
            let names: Vec<_> = lint.levels().iter().map(|level| level.name()).collect();
            assert_eq!(names, lint.level_names(), "{lint}");
        }
        let written = serde_json::to_value(Levels::default()).unwrap();
        assert_eq!(read(written), Ok(Levels::default()));
    }

    fn quoted(names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }

    #[test]
    fn names_and_levels_are_checked() {
        for (levels, expected) in [
            (
                json!({"hook-prund": "warn"}),
                format!(
                    "unknown field `hook-prund`, expected one of {}",
                    quoted(NAMES)
                ),
            ),
            (
                json!({"no-rollout": "rescue"}),
                "only hook-pruned can have the level `rescue`; use `reject`, `warn` or `ignore`"
                    .to_owned(),
            ),
            (
                json!({"no-rollout": "deny"}),
                "unknown variant `deny`, expected one of `reject`, `warn`, `ignore`".to_owned(),
            ),
            (
                json!({"hook-pruned": "deny"}),
                "unknown variant `deny`, expected one of `reject`, `rescue`, `warn`, `ignore`"
                    .to_owned(),
            ),
        ] {
            assert_eq!(read(levels), Err(expected));
        }
    }
}
