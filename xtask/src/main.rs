//! `cargo xtask generate`: writes the files that repeat what the code says.
//!
//! ```text
//! settings of the policy (schemars) ──► Setting ──┬─► docs/settings.md
//!                               └─► JSON Schema    ├─► questions-ui.yml ──┐
//! registry of findings, their `//!` comments ──────┼─► docs/findings.md   ├─► artifacthub-pkg.yml
//! metadata.yml, CHANGELOG.md ──────────────────────┴──────────────────────┘
//! session with real Helm ─────────────────────────────► docs/trap-terminal.svg
//! ```

#![allow(
    clippy::indexing_slicing,
    reason = "developers run this; a missing field of a JSON value reads as null"
)]

mod artifacthub;
mod changelog;
mod files;
mod findings;
mod questions;
mod schema;
mod settings;
mod terminal;
mod yaml;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::files::File;

/// Tasks of the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write the files that are generated from the code
    Generate {
        /// Write nothing, and fail if a file is not as it would be written
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let Task::Generate { check } = Arguments::parse().task;
    let root = root()?;
    let generated = generate(root)?;
    match check {
        true => files::check(root, &generated),
        false => files::write(root, &generated),
    }
}

/// The root of the repository.
fn root() -> Result<&'static Path> {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.context("xtask is in no repository")
}

fn generate(root: &Path) -> Result<Vec<File>> {
    let schema = schema::of_settings();
    let questions = questions::file(&schema)?;
    let metadata = helm_plan::yaml::parse(&read(root, "metadata.yml")?).context("metadata.yml")?;
    let package = artifacthub::file(
        &read(root, artifacthub::NAME)?,
        &metadata,
        &questions.text,
        &read(root, changelog::NAME)?,
    )?;
    Ok(vec![
        findings::file(root)?,
        settings::file(&schema)?,
        schema::file(&schema)?,
        questions,
        package,
        terminal::file(&read(root, terminal::SESSION)?),
    ])
}

fn read(root: &Path, name: &str) -> Result<String> {
    fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))
}

/// A field that must be text.
fn text<'a>(object: &'a Value, field: &str) -> Result<&'a str> {
    let value = object.get(field).and_then(Value::as_str);
    value.with_context(|| format!("`{field}` is missing"))
}

#[cfg(test)]
mod tests;
