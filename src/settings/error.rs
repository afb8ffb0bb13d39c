//! What is wrong with settings, in words for whoever wrote them.

use std::fmt;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host sent something else.
    #[error("settings are not valid JSON: {0}")]
    NotJson(#[from] serde_json::Error),

    #[error("unknown setting `{setting}`{}", DidYouMean(nearest.as_deref()))]
    UnknownSetting {
        setting: String,
        /// The valid setting whose name is most like it.
        nearest: Option<String>,
    },

    #[error("{setting} must be {expected}, not {found}")]
    WrongType {
        setting: String,
        expected: Expected,
        found: Found,
    },

    #[error("{setting}: unknown value `{value}`; use {}", Choice(allowed))]
    UnknownValue {
        setting: String,
        value: String,
        allowed: &'static [&'static str],
    },

    /// The type of the setting refuses its value.
    #[error("{setting}: {reason}")]
    Invalid { setting: String, reason: String },

    #[error("timeoutEvalSeconds is {seconds}: policies of Kubewarden have from 2 to 30 seconds")]
    Timeout { seconds: u64 },

    #[error("{setting}: {source}")]
    Glob { setting: String, source: GlobError },

    #[error(
        "configHash.key.{field} is empty; set `namespace`, `name` and `key` of the key, or none of them"
    )]
    HalfAKey { field: &'static str },

    #[error(
        "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which `mode: verify` never does; \
         use `reject`, `warn` or `ignore`"
    )]
    RescueInVerify,

    #[error(
        "releaseGuard.findings.hook-pruned: `rescue` changes hooks, which needs `releaseGuard.hookRequests: true` \
         and rules that match hooks; set it, or use `reject`, `warn` or `ignore`"
    )]
    RescueWithoutHooks,

    #[error("releaseGuard.maxRecordBytes is 0: no release could be read")]
    NoRecordFits,
}

/// Why a name with `*` in it can match nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("an empty name matches nothing")]
    Empty,
    #[error(
        "`{glob}` matches nothing: names have no `{invalid}` (lower case letters, digits, `-`, `.`, \
         and `*` for any of them)"
    )]
    Character { glob: String, invalid: char },
}

/// The type of value that a setting has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Object,
    List,
    Text,
    Boolean,
    WholeNumber,
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object => f.write_str("an object"),
            Self::List => f.write_str("a list"),
            Self::Text => f.write_str("a string"),
            Self::Boolean => f.write_str("true or false"),
            Self::WholeNumber => f.write_str("a whole number"),
            Self::OneOf(allowed) => Choice(allowed).fmt(f),
        }
    }
}

/// The type of value that was given instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    Text,
    List,
    Object,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text => f.write_str("a string"),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

struct DidYouMean<'a>(Option<&'a str>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

/// `` `reject`, `warn` or `ignore` ``
struct Choice<'a>(&'a [&'a str]);

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            let before = match index {
                0 => "",
                _ if index + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}`{value}`")?;
        }
        Ok(())
    }
}
