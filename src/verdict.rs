//! The answer of the policy: accepted, mutated or rejected, with the reasons for people to read.
//!
//! In: what a pipeline decided. Out: the SDK's `ValidationResponse`, within the limits that the API
//! server sets on warnings. Refuses: nothing. The words come from the pipelines.

use std::collections::{BTreeMap, HashMap};

use kubewarden_policy_sdk::response::ValidationResponse;
use serde_json::Value;

/// The API server cuts a warning after this many characters.
const MAX_WARNING: usize = 256;
/// Each warning and rejection starts with this.
const PREFIX: &str = "rollout-guard: ";
/// The room for the text of a warning, after its prefix.
pub const WARNING_CHARS: usize = MAX_WARNING - PREFIX.len();
/// The API server silently cuts the warnings of one answer after 4,096 characters in all.
const MAX_WARNINGS: usize = 15;

/// More than anybody reads, however long the names in it are: a finding takes about 500 characters.
const MAX_MESSAGE: usize = 16 * 1024;

/// One outcome with its reasons.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// For the client, in this order.
    pub warnings: Vec<String>,
    /// Written to the audit log; the API server prefixes each key with the name of the webhook.
    pub audit: BTreeMap<&'static str, String>,
}

/// What happens to the request.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Outcome {
    #[default]
    Accept,
    /// Accept this object instead of the one that was sent.
    Mutate(Value),
    Reject {
        code: u16,
        message: String,
    },
}

impl Verdict {
    pub fn accept() -> Self {
        Self::default()
    }

    /// Forbidden by a rule of this policy.
    pub fn reject(message: impl Into<String>) -> Self {
        Self::rejected(403, message)
    }

    /// The object cannot be judged because of its own content.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::rejected(400, message)
    }

    /// The object cannot be judged because something that it depends on could not be read.
    pub fn undecided(message: impl Into<String>) -> Self {
        Self::rejected(500, message)
    }

    pub fn is_rejected(&self) -> bool {
        matches!(self.outcome, Outcome::Reject { .. })
    }

    /// Both answers to one request. A rejection takes precedence over what is accepted, and a changed object over one that is
    /// accepted as it is.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.outcome = match (self.outcome, other.outcome) {
            (rejected @ Outcome::Reject { .. }, _) => rejected,
            (changed @ Outcome::Mutate(_), Outcome::Accept) => changed,
            (_, other) => other,
        };
        self.warnings.extend(other.warnings);
        for (key, value) in other.audit {
            self.audit.insert(key, value);
        }
        self
    }

    fn rejected(code: u16, message: impl Into<String>) -> Self {
        let message = format!("{PREFIX}{}", message.into());
        Self {
            outcome: Outcome::Reject { code, message },
            ..Self::default()
        }
    }

    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(format!("{PREFIX}{}", warning.into()));
        self
    }

    #[must_use]
    pub fn audit(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.audit.insert(key, value.into());
        self
    }
}

/// The text without control characters, which names in records can have: no answer moves the cursor of a terminal,
/// or adds a line to a log.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// The same, but the lines of a message stay.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(one_line).collect();
    lines.join("\n")
}

impl From<Verdict> for ValidationResponse {
    fn from(verdict: Verdict) -> Self {
        let (accepted, code, message, mutated_object) = match verdict.outcome {
            Outcome::Accept => (true, None, None, None),
            Outcome::Mutate(object) => (true, None, None, Some(object)),
            Outcome::Reject { code, message } => {
                let message = shorten(lines(&message), MAX_MESSAGE);
                (false, Some(code), Some(message), None)
            }
        };
        let audit: HashMap<_, _> = verdict
            .audit
            .into_iter()
            .map(|(key, value)| (key.to_owned(), shorten(one_line(&value), MAX_MESSAGE)))
            .collect();
        Self {
            accepted,
            message,
            code,
            mutated_object,
            audit_annotations: Some(audit).filter(|audit| !audit.is_empty()),
            warnings: Some(within_limits(verdict.warnings)).filter(|warnings| !warnings.is_empty()),
        }
    }
}

fn within_limits(mut warnings: Vec<String>) -> Vec<String> {
    if warnings.len() > MAX_WARNINGS {
        let left_out = warnings.len() - (MAX_WARNINGS - 1);
        warnings.truncate(MAX_WARNINGS - 1);
        warnings.push(format!("{PREFIX}and {left_out} more"));
    }
    warnings
        .into_iter()
        .map(|warning| shorten(one_line(&warning), MAX_WARNING))
        .collect()
}

fn shorten(text: String, max_chars: usize) -> String {
    if text.chars().nth(max_chars).is_none() {
        return text;
    }
    let mut short: String = text.chars().take(max_chars - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_stay_within_the_limits_of_the_api_server() {
        let verdict = (0..20).fold(Verdict::accept(), |verdict, n| {
            verdict.warn(format!("{n} {}", "ä".repeat(300)))
        });
        let warnings = ValidationResponse::from(verdict)
            .warnings
            .unwrap_or_default();
        assert_eq!(warnings.len(), 15);
        assert_eq!(
            warnings.last().map(String::as_str),
            Some("rollout-guard: and 6 more")
        );
        assert!(
            warnings
                .iter()
                .all(|warning| warning.chars().count() <= 256),
            "{warnings:?}"
        );
        assert!(
            warnings
                .first()
                .is_some_and(|warning| warning.ends_with("ä…")),
            "{warnings:?}"
        );
    }

    #[test]
    fn messages_and_audit_annotations_are_bounded() {
        let long = "ä".repeat(MAX_MESSAGE);
        let response = ValidationResponse::from(Verdict::reject(&long).audit("key", &long));
        let message = response.message.unwrap_or_default();
        assert_eq!(message.chars().count(), MAX_MESSAGE);
        assert!(message.ends_with("ä…"));
        let audit = response.audit_annotations.unwrap_or_default();
        assert_eq!(audit.get("key"), Some(&long));
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let text = "a\u{1b}[2J\tb\nc\r\u{7f}\u{9b}d";
        let response =
            ValidationResponse::from(Verdict::reject(text).warn(text).audit("key", text));
        let line = |newline| format!("a\\u{{1b}}[2J\\tb{newline}c\\r\\u{{7f}}\\u{{9b}}d");
        assert_eq!(
            response.message,
            Some(format!("rollout-guard: {}", line("\n")))
        );
        let shown = line("\\n");
        assert_eq!(
            response.warnings,
            Some(vec![format!("rollout-guard: {shown}")])
        );
        let audit = [("key".to_owned(), shown)].into();
        assert_eq!(response.audit_annotations, Some(audit));
    }

    #[test]
    fn each_outcome_has_its_answer() {
        let object = Value::from("object");
        let mutated = Verdict {
            outcome: Outcome::Mutate(object.clone()),
            ..Verdict::default()
        };
        let message = "rollout-guard: why";
        for (case, verdict, accepted, code, message, mutated_object) in [
            ("accepted", Verdict::accept(), true, None, None, None),
            ("mutated", mutated, true, None, None, Some(object)),
            (
                "rejected",
                Verdict::reject("why"),
                false,
                Some(403),
                Some(message),
                None,
            ),
            (
                "malformed",
                Verdict::malformed("why"),
                false,
                Some(400),
                Some(message),
                None,
            ),
            (
                "undecided",
                Verdict::undecided("why"),
                false,
                Some(500),
                Some(message),
                None,
            ),
        ] {
            let response = ValidationResponse::from(verdict.warn("w").audit("key", "value"));
            assert_eq!(response.accepted, accepted, "{case}");
            assert_eq!(response.code, code, "{case}");
            assert_eq!(response.message.as_deref(), message, "{case}");
            assert_eq!(response.mutated_object, mutated_object, "{case}");
            assert_eq!(response.warnings, Some(vec!["rollout-guard: w".to_owned()]));
            let audit = [("key".to_owned(), "value".to_owned())].into();
            assert_eq!(response.audit_annotations, Some(audit), "{case}");
        }
    }

    #[test]
    fn of_two_answers_the_stricter_one_counts() {
        let changed = Verdict {
            outcome: Outcome::Mutate(Value::from("object")),
            ..Verdict::default()
        };
        let (accepted, rejected) = (Verdict::accept(), Verdict::reject("why"));
        for (one, other, expected) in [
            (&accepted, &accepted, &accepted),
            (&accepted, &changed, &changed),
            (&changed, &accepted, &changed),
            (&changed, &rejected, &rejected),
            (&rejected, &changed, &rejected),
            (&rejected, &accepted, &rejected),
        ] {
            let (one, other) = (
                one.clone().warn("1").audit("a", "1"),
                other.clone().warn("2"),
            );
            let both = one.and(other.audit("b", "2"));
            assert_eq!(both.outcome, expected.outcome);
            assert_eq!(both.warnings, ["rollout-guard: 1", "rollout-guard: 2"]);
            let audit = [("a", "1".to_owned()), ("b", "2".to_owned())];
            assert_eq!(both.audit, audit.into());
        }
    }

    #[test]
    fn an_accepted_request_without_reasons_has_an_empty_answer() {
        let response = ValidationResponse::from(Verdict::accept());
        assert!(response.accepted);
        assert!(
            response.warnings.is_none()
                && response.audit_annotations.is_none()
                && response.mutated_object.is_none()
        );
    }
}
