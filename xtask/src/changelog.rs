//! The changes of a version in CHANGELOG.md, as Artifact Hub wants them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub(crate) const NAME: &str = "CHANGELOG.md";

/// The headings of Keep a Changelog. Artifact Hub has the same kinds of changes.
const KINDS: [&str; 6] = [
    "Added",
    "Changed",
    "Deprecated",
    "Removed",
    "Fixed",
    "Security",
];

/// The changes below `## version`. A change is an item of a list below `### Added`, or another kind.
pub(crate) fn changes(changelog: &str, version: &str) -> Result<Value> {
    let heading = format!("\n## {version}\n");
    let (_, section) = changelog
        .split_once(&heading)
        .with_context(|| format!("{NAME}: there is no heading `## {version}`"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut changes = Vec::new();
    for part in section.split("\n### ").skip(1) {
        let (kind, items) = part.split_once('\n').unwrap_or((part, ""));
        ensure!(
            KINDS.contains(&kind),
            "{NAME}: `### {kind}` is none of {}",
            KINDS.join(", ")
        );
        for item in items.split("\n- ").skip(1) {
            let words: Vec<_> = item.split_whitespace().collect();
            changes.push(json!({
                "kind": kind.to_lowercase(),
                // Artifact Hub shows plain text.
                "description": words.join(" ").replace('`', ""),
            }));
        }
    }
    ensure!(
        !changes.is_empty(),
        "{NAME}: version {version} has no changes"
    );
    Ok(Value::Array(changes))
}
