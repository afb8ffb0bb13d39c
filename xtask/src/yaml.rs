//! Writes YAML for the shapes that are generated here: nested objects and lists, without line breaks in texts.

use serde_json::Value;

/// A value as a block, each line indented by `indent`.
pub(crate) fn block(value: &Value, indent: usize) -> String {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .map(|(name, value)| match is_block(value) {
                true => format!("{margin}{name}:\n{}", block(value, indent + 2)),
                false => format!("{margin}{name}: {}\n", inline(value)),
            })
            .collect(),
        Value::Array(items) if is_block(value) => items
            .iter()
            .map(|item| {
                let item = block(item, indent + 2);
                format!("{margin}- {}", item.trim_start())
            })
            .collect(),
        _ => format!("{margin}{}\n", inline(value)),
    }
}

/// Whether the value takes lines of its own: a list of plain values does not.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(is_block),
        _ => false,
    }
}

/// JSON is YAML, and a word needs no quotes.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        _ => value.to_string(),
    }
}

fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_plain)
        // What YAML 1.1 reads as true, false and null.
        && !["true", "false", "yes", "no", "on", "off", "y", "n", "null"]
            .contains(&text.to_ascii_lowercase().as_str())
}
