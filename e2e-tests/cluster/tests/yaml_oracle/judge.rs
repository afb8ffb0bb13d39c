//! Whether policy and Go agree on a text, and the smallest text on which they do not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use cluster_tests::HelmVersion;
use rollout_guard::release_guard::yaml;
use serde_json::Value;

use crate::oracle::readings;

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    Equal,
    BothRefuse,
    Known(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disagreement {
    Values,
    OnlyGoAccepts,
    OnlyPolicyAccepts,
}

/// Compares the policy's reading of a text with Go's.
pub(crate) fn judge(text: &str, go: &Result<Value, String>) -> Result<Agreement, Disagreement> {
    let policy = yaml::parse(text);
    let disagreement = match (&policy, go) {
        (Err(_), Err(_)) => return Ok(Agreement::BothRefuse),
        (Ok(policy), Ok(go)) if is_same_document(policy, go) => return Ok(Agreement::Equal),
        (Ok(_), Ok(_)) => Disagreement::Values,
        (Err(_), Ok(_)) => Disagreement::OnlyGoAccepts,
        (Ok(_), Err(_)) => Disagreement::OnlyPolicyAccepts,
    };
    known(text, &policy, go)
        .map(Agreement::Known)
        .ok_or(disagreement)
}

/// `fromYaml` makes an empty mapping of nothing.
fn is_same_document(policy: &Value, go: &Value) -> bool {
    match policy {
        Value::Null => go.as_object().is_some_and(serde_json::Map::is_empty),
        _ => is_same(policy, go),
    }
}

fn is_same(policy: &Value, go: &Value) -> bool {
    match (policy, go) {
        (Value::Number(policy), Value::Number(go)) => match (policy.as_f64(), go.as_f64()) {
            // `fromYaml` makes all of them 64-bit floats; serde_json may read one unit beside those.
            (Some(policy), Some(go)) => (policy - go).abs() <= go.abs() * 2.0 * f64::EPSILON,
            _ => false,
        },
        (Value::Array(policy), Value::Array(go)) => {
            policy.len() == go.len() && policy.iter().zip(go).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(policy), Value::Object(go)) => {
            let same = |(key, value)| go.get(key).is_some_and(|go| is_same(value, go));
            policy.len() == go.len() && policy.iter().all(same)
        }
        (policy, go) => policy == go,
    }
}

/// The disagreements that are harmless or cannot be avoided. What Helm refuses never becomes part of a
/// release, so that it does not matter what the policy makes of it.
fn known(
    text: &str,
    policy: &Result<Value, String>,
    go: &Result<Value, String>,
) -> Option<&'static str> {
    match (policy, go) {
        // Helm takes nothing else as a manifest either, and what reads the value says so.
        (Ok(policy), Err(error)) if error.contains("json: cannot unmarshal") => {
            (!policy.is_object()).then_some("not a mapping")
        }
        // The parser stops there.
        (Ok(policy), _) if is_cut(policy) => Some("the schema of a CustomResourceDefinition"),
        // libyaml wants a blank behind a tag, and go-yaml does not. And the policy's parser would panic at
        // `[!a,b]`: it gets a blank before such a comma, also in texts that only look like that.
        _ if has_tight_tag(text) => Some("a tag with a bracket or comma behind it"),
        (Ok(_), Err(error)) => refused_by_helm(text, error),
        // No manifest has it.
        (Ok(_), Ok(_)) if text.contains("!!binary") => Some("binary is not decoded"),
        // A plain scalar may end with a colon there for go-yaml, and not for libyaml.
        (Err(error), Ok(_)) if error.starts_with("found unexpected ':'") => {
            Some("a colon at the end in a flow collection")
        }
        // The parser drops it wherever a token may begin, and go-yaml only at the start. Helm takes it
        // off the files of a chart.
        (_, Ok(_)) if text.contains('\u{feff}') => Some("a byte order mark in the text"),
        // Go reads the empty mapping as the document and nothing of what follows. Nobody writes that.
        (Err(_), Ok(Value::Object(fields))) if fields.is_empty() && has_empty_mapping(text) => {
            Some("something behind an empty mapping")
        }
        // Go looks at the keys once it has dropped what is given again. Better refused.
        (Err(error), Ok(_)) if error.starts_with("a key that is null") => {
            Some("a null as a key in a value that another replaces")
        }
        _ => None,
    }
}

fn has_empty_mapping(text: &str) -> bool {
    let without_blanks: String = text.split_whitespace().collect();
    without_blanks.contains("{}")
}

fn has_tight_tag(text: &str) -> bool {
    let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
    let mut tags = text.split('!').skip(1);
    tags.any(|tag| tag.chars().find(ends).is_some_and(|c| !c.is_whitespace()))
}

fn is_cut(policy: &Value) -> bool {
    let kind = policy.get("kind").and_then(Value::as_str);
    kind == Some("CustomResourceDefinition") && policy.get("spec").is_none()
}

/// What the policy need not refuse, by what Go says.
fn refused_by_helm(text: &str, error: &str) -> Option<&'static str> {
    let why = [
        // JSON has no such numbers.
        ("", "json: unsupported value: ", "infinity or no number"),
        // Tags say nothing to the policy, but whether a scalar is a text.
        ("!!", "yaml: cannot decode !!", "a tag that does not fit"),
        ("!!", "contains invalid base64", "a tag that does not fit"),
        ("", "map key of type: uint64", "a key above 2^63"),
        // The policy sees the list, not that an alias stands for it.
        (
            "<<",
            "map merge requires map",
            "a merge of an alias of a list",
        ),
        // The parser knows one escape of YAML 1.2.
        ("\\/", "unknown escape character", "an escaped slash"),
        // It has no column for the parser, and one for go-yaml.
        ("\u{feff}", "", "a byte order mark in the text"),
    ];
    let known = |part: &str, problem: &str| text.contains(part) && error.contains(problem);
    let why = why
        .into_iter()
        .find(|(part, problem, _)| known(part, problem));
    match why {
        Some((_, _, why)) => Some(why),
        // A plain scalar ends there for go-yaml, and what follows may be anything.
        None if text.contains('?') && text.contains(['[', '{']) => {
            Some("a question mark in a flow collection")
        }
        None => None,
    }
}

/// The text without all that can be left out of it so that the same disagreement stays.
///
/// # Errors
/// Helm failed.
pub(crate) fn smallest(
    helm: HelmVersion,
    text: &str,
    disagreement: Disagreement,
) -> Result<String> {
    let mut smallest = text.to_owned();
    loop {
        let shorter = without_parts(&smallest);
        let go = readings(helm, &shorter)?;
        let fails = |(text, go): &(String, _)| judge(text, go) == Err(disagreement);
        let failing = shorter.into_iter().zip(go).filter(fails);
        match failing.map(|(text, _)| text).min_by_key(String::len) {
            Some(text) => smallest = text,
            None => return Ok(smallest),
        }
    }
}

/// The text without each of its parts of some lengths.
fn without_parts(text: &str) -> Vec<String> {
    let chars: Vec<_> = text.chars().collect();
    let mut shorter = Vec::new();
    for length in [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128] {
        for start in 0..(chars.len() + 1).saturating_sub(length) {
            let (before, after) = (chars.iter().take(start), chars.iter().skip(start + length));
            shorter.push(before.chain(after).collect());
        }
    }
    shorter
}

/// What each makes of a text.
///
/// # Errors
/// Helm failed.
pub(crate) fn report(helm: HelmVersion, text: &str) -> Result<String> {
    let go = readings(helm, &[text])?.pop().context("no answer")?;
    let show = |reading: Result<Value, String>| match reading {
        Ok(value) => format!("{value}"),
        Err(error) => format!("refused: {error}"),
    };
    let (policy, go) = (show(yaml::parse(text)), show(go));
    Ok(format!("{text:?}\n  policy: {policy}\n  {helm}:  {go}"))
}

/// How many texts became what.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<Agreement, usize>>);

impl Tally {
    pub(crate) fn add(&self, agreement: Agreement) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(agreement).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (agreement, count) in counts.iter() {
            match agreement {
                Agreement::Equal => writeln!(f, "{count:>7} equal")?,
                Agreement::BothRefuse => writeln!(f, "{count:>7} refused by both")?,
                Agreement::Known(why) => writeln!(f, "{count:>7} known: {why}")?,
            }
        }
        Ok(())
    }
}
