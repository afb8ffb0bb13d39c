//! Whether the plan and Go agree on a text, and the smallest text on which they disagree.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use cluster_tests::HelmVersion;
use helm_plan::yaml::{self, Error, Problem};
use serde_json::Value;

use crate::oracle::readings;

/// How the two readings of a text agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    Equal,
    BothReject,
    Known(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disagreement {
    Values,
    OnlyGoAccepts,
    OnlyPlanAccepts,
}

/// Compares how the plan reads a text with how Go reads it.
pub(crate) fn judge(text: &str, go: &Result<Value, String>) -> Result<Agreement, Disagreement> {
    let plan = yaml::parse(text);
    let disagreement = match (&plan, go) {
        (Err(_), Err(_)) => return Ok(Agreement::BothReject),
        (Ok(plan), Ok(go)) if is_same_document(plan, go) => return Ok(Agreement::Equal),
        (Ok(_), Ok(_)) => Disagreement::Values,
        (Err(_), Ok(_)) => Disagreement::OnlyGoAccepts,
        (Ok(_), Err(_)) => Disagreement::OnlyPlanAccepts,
    };
    known(text, &plan, go)
        .map(Agreement::Known)
        .ok_or(disagreement)
}

/// `fromYaml` returns an empty mapping for an empty document.
fn is_same_document(plan: &Value, go: &Value) -> bool {
    match plan {
        Value::Null => go.as_object().is_some_and(serde_json::Map::is_empty),
        _ => is_same(plan, go),
    }
}

fn is_same(plan: &Value, go: &Value) -> bool {
    match (plan, go) {
        (Value::Number(plan), Value::Number(go)) => match (plan.as_f64(), go.as_f64()) {
            // `fromYaml` turns all numbers into 64-bit floats. serde_json may differ in the last bit.
            (Some(plan), Some(go)) => (plan - go).abs() <= go.abs() * 2.0 * f64::EPSILON,
            _ => false,
        },
        (Value::Array(plan), Value::Array(go)) => {
            plan.len() == go.len() && plan.iter().zip(go).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(plan), Value::Object(go)) => {
            let same = |(key, value)| go.get(key).is_some_and(|go| is_same(value, go));
            plan.len() == go.len() && plan.iter().all(same)
        }
        (plan, go) => plan == go,
    }
}

/// The known disagreements, which are harmless or cannot be avoided. A text that Helm rejects never becomes part
/// of a release, so it does not matter how the plan reads it.
fn known(
    text: &str,
    plan: &Result<Value, Error>,
    go: &Result<Value, String>,
) -> Option<&'static str> {
    match (plan, go) {
        // Helm accepts only mappings as manifests, and so does the code that reads the value.
        (Ok(plan), Err(error)) if error.contains("json: cannot unmarshal") => {
            (!plan.is_object()).then_some("not a mapping")
        }
        // The plan does not read the schema.
        (Ok(plan), _) if is_cut(plan) => Some("the schema of a CustomResourceDefinition"),
        // libyaml requires a blank after a tag, and go-yaml does not. And the parser of the plan would panic at
        // `[!a,b]`. So a blank is added before such a comma, also in texts that only look like that.
        _ if has_tight_tag(text) => Some("a tag followed by a bracket or comma"),
        (Ok(_), Err(error)) => rejected_by_helm(text, error),
        // No manifest contains binary data.
        (Ok(_), Ok(_)) if text.contains("!!binary") => Some("binary is not decoded"),
        // In a flow collection, a plain scalar may end with a colon for go-yaml, but not for libyaml.
        (Err(error), Ok(_)) if is_unexpected_colon(error) => {
            Some("a colon at the end in a flow collection")
        }
        // The parser drops it wherever a token may begin, and go-yaml only at the start. Helm removes it
        // from the files of a chart.
        (_, Ok(_)) if text.contains('\u{feff}') => Some("a byte order mark in the text"),
        // Go takes the empty mapping as the whole document and ignores what follows. Nobody writes that.
        (Err(_), Ok(Value::Object(fields))) if fields.is_empty() && has_empty_mapping(text) => {
            Some("text after an empty mapping")
        }
        // Go drops values that are given twice before it checks keys. Rejecting the text is safer.
        (Err(error), Ok(_)) if error.problem == Problem::NullKey => {
            Some("a null key in a value that another value replaces")
        }
        _ => None,
    }
}

fn is_unexpected_colon(error: &Error) -> bool {
    matches!(error.problem, Problem::Syntax(text) if text.starts_with("found unexpected ':'"))
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

fn is_cut(plan: &Value) -> bool {
    let kind = plan.get("kind").and_then(Value::as_str);
    kind == Some("CustomResourceDefinition") && plan.get("spec").is_none()
}

/// Why the plan need not reject a text, by the error of Go.
fn rejected_by_helm(text: &str, error: &str) -> Option<&'static str> {
    let why = [
        // JSON has no such numbers.
        ("", "json: unsupported value: ", "infinity or not a number"),
        // The plan uses tags only to decide whether a scalar is a text.
        ("!!", "yaml: cannot decode !!", "a tag that does not fit"),
        ("!!", "contains invalid base64", "a tag that does not fit"),
        ("", "map key of type: uint64", "a key above 2^63"),
        // The plan sees the list, but not that an alias stands for it.
        (
            "<<",
            "map merge requires map",
            "a merge of an alias of a list",
        ),
        // The parser knows one escape of YAML 1.2.
        ("\\/", "unknown escape character", "an escaped slash"),
        // It counts as a column for go-yaml, but not for the parser.
        ("\u{feff}", "", "a byte order mark in the text"),
    ];
    let known = |part: &str, problem: &str| text.contains(part) && error.contains(problem);
    let why = why
        .into_iter()
        .find(|(part, problem, _)| known(part, problem));
    match why {
        Some((_, _, why)) => Some(why),
        // For go-yaml, a plain scalar ends there, and anything may follow.
        None if text.contains('?') && text.contains(['[', '{']) => {
            Some("a question mark in a flow collection")
        }
        None => None,
    }
}

/// The shortest part of the text that still shows the same disagreement.
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

/// The texts that remain if one part of the text is left out, for several lengths of the part.
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

/// How each of the two reads a text.
///
/// # Errors
/// Helm failed.
pub(crate) fn report(helm: HelmVersion, text: &str) -> Result<String> {
    let go = readings(helm, &[text])?.pop().context("no answer")?;
    let plan = yaml::parse(text).map_err(|error| error.to_string());
    let [plan, go] = [plan, go].map(|reading| match reading {
        Ok(value) => value.to_string(),
        Err(error) => format!("rejected: {error}"),
    });
    Ok(format!("{text:?}\n  plan: {plan}\n  {helm}: {go}"))
}

/// How many texts agree in which way.
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
                Agreement::BothReject => writeln!(f, "{count:>7} rejected by both")?,
                Agreement::Known(why) => writeln!(f, "{count:>7} known: {why}")?,
            }
        }
        Ok(())
    }
}
