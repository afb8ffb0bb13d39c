//! Scalars: which texts are numbers, booleans or null, and what they are called as keys.
//!
//! In: the text of a scalar, or the value of a key. Out: the value or the field name that Helm has for it.
//! Refuses: a key that is null or a collection. The table test in `tests.rs` has Go's own output.

use libyaml_safer::STR_TAG;
use serde_json::Value;

use crate::yaml::Problem;

/// Whether a scalar with this tag is read by the table, quoted or not. Tags that YAML itself does not
/// define, and `!!binary`, are ignored: no manifest has them.
pub(super) fn is_resolved(tag: &str) -> bool {
    let core = ["bool", "int", "float", "null"];
    tag != STR_TAG
        && tag
            .strip_prefix("tag:yaml.org,2002:")
            .is_some_and(|kind| core.contains(&kind))
}

/// The value of a scalar, by the table of go-yaml v2 (`resolve.go`).
pub(super) fn resolve(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            true.into()
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            false.into()
        }
        // Helm accepts them as keys only, because JSON has no such numbers.
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => ".inf".into(),
        "-.inf" | "-.Inf" | "-.INF" => "-.inf".into(),
        ".nan" | ".NaN" | ".NAN" => ".nan".into(),
        _ => number(&text).unwrap_or(Value::String(text)),
    }
}

fn number(text: &str) -> Option<Value> {
    if text.starts_with('.') {
        // Go's `strconv.ParseFloat` accepts underscores between digits only.
        let digit = |c: char| c.is_ascii_digit();
        let mut pairs = text.split('_').zip(text.split('_').skip(1));
        let separates =
            pairs.all(|(left, right)| left.ends_with(digit) && right.starts_with(digit));
        return separates.then(|| float(&text.replace('_', "")))?;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// As Go's `strconv.ParseInt` with base 0.
fn integer(text: &str) -> Option<Value> {
    // go-yaml reads binary numbers with code of its own, which accepts a sign after the prefix.
    if let Some(signed) = text
        .strip_prefix("0b")
        .filter(|text| text.starts_with(['+', '-']))
    {
        return i64::from_str_radix(signed, 2).ok().map(Value::from);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = match unsigned.get(..2) {
        Some("0x" | "0X") => (16, unsigned.get(2..)?),
        Some("0o" | "0O") => (8, unsigned.get(2..)?),
        Some("0b" | "0B") => (2, unsigned.get(2..)?),
        Some(two) if two.starts_with('0') => (8, unsigned),
        _ => (10, unsigned),
    };
    // Rust would accept a second sign here.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    if text.starts_with('-') {
        return i64::try_from(-number).ok().map(Value::from);
    }
    u64::try_from(number).ok().map(Value::from)
}

fn float(text: &str) -> Option<Value> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let number: f64 = text.chars().all(plain).then(|| text.parse().ok())??;
    serde_json::Number::from_f64(number).map(Value::Number)
}

/// A value as Helm has it after writing it as JSON: Go writes 1.0 as 1.
pub(super) fn as_json(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) if number.fract() == 0.0 && number.abs() < EXACT => (number as i64).into(),
        _ => value,
    }
}

/// The field name that sigs.k8s.io/yaml makes of a key.
pub(super) fn key(key: Value) -> Result<String, Problem> {
    match key {
        Value::String(name) => Ok(name),
        Value::Number(ref number) if number.is_f64() => {
            Ok(float_name(number.as_f64().unwrap_or_default()))
        }
        Value::Bool(_) | Value::Number(_) => Ok(key.to_string()),
        Value::Null => Err(Problem::NullKey),
        Value::Array(_) | Value::Object(_) => Err(Problem::CollectionKey),
    }
}

/// A float as a key: Go's `strconv.FormatFloat(number, 'g', -1, 32)`, by sigs.k8s.io/yaml.
fn float_name(number: f64) -> String {
    let number = number as f32;
    let text = format!("{number:e}");
    match text
        .split_once('e')
        .map(|(digits, e)| (digits, e.parse::<i32>()))
    {
        Some((digits, Ok(e))) if !(-4..6).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", e.abs())
        }
        Some(_) => number.to_string(),
        None if number > 0.0 => ".inf".to_owned(),
        None => "-.inf".to_owned(),
    }
}
