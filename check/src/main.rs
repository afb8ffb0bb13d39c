//! Shows what a Helm upgrade or rollback would lose, before it runs.
//!
//! ```text
//! rendered charts ────────────┐
//! live release ────► helm ────┴─► two revisions ─► check ─► report
//! settings of the policy ─► settings ─► levels ─────┘
//! ```
//!
//! The plan and the findings are those of the policy (`helm-plan`). Live objects are not looked up: each
//! counts as its manifest says.

mod check;
mod cli;
mod helm;
mod report;
mod settings;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use helm_plan::{ApplyMethod, Levels, Operation, Release, rendered, yaml};

use crate::{
    check::Check,
    cli::{Apply, Cli, Command, Output, OutputArgs},
    helm::Helm,
};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::FAILURE,
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", with_causes(&error));
            ExitCode::from(2)
        }
    }
}

/// The error and its causes, each once: most errors of helm-plan have their causes in their own text.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.extend([": ", &cause]);
        }
    }
    text
}

/// Whether there is something to reject.
fn run(command: Command) -> Result<bool> {
    let (operation, current, target, output) = match command {
        Command::Charts {
            before,
            after,
            release,
            namespace,
            apply,
            output,
        } => {
            let revision = |number, path: &Path| {
                let text = read(path)?;
                rendered_chart(&text, &release, &namespace, number, apply)
                    .with_context(|| path.display().to_string())
            };
            let (before, after) = (revision(1, &before)?, revision(2, &after)?);
            (Operation::Upgrade, before, after, output)
        }
        Command::Upgrade {
            release,
            chart,
            namespace,
            output,
            flags,
        } => {
            let (current, target) = Helm::new(release, namespace).upgrade(&chart, &flags)?;
            (Operation::Upgrade, current, target, output)
        }
        Command::Rollback {
            release,
            revision,
            namespace,
            output,
        } => {
            let (current, target) = Helm::new(release, namespace).rollback(revision)?;
            (Operation::Rollback, current, target, output)
        }
    };
    report(operation, &current, target, &output)
}

fn rendered_chart(
    text: &str,
    release: &str,
    namespace: &str,
    revision: u64,
    apply: Apply,
) -> Result<Release> {
    let apply_method = match apply {
        Apply::Client => ApplyMethod::ClientSide,
        Apply::Server => ApplyMethod::ServerSide,
    };
    let record = rendered::release(text, release, namespace, revision, apply_method)?;
    Ok(Release::parse(record)?)
}

fn report(
    operation: Operation,
    current: &Release,
    target: Release,
    output: &OutputArgs,
) -> Result<bool> {
    let levels = output.settings.as_deref().map(levels).transpose()?;
    let check = Check::new(operation, current, target, levels.unwrap_or_default())?;
    let mut out = anstream::stdout().lock();
    match output.output {
        Output::Text => report::text(&check, &mut out)?,
        Output::Json => writeln!(out, "{:#}", report::json(&check))?,
    }
    Ok(check.is_rejected())
}

/// The levels in a file with settings of the policy.
fn levels(path: &Path) -> Result<Levels> {
    let file = || path.display().to_string();
    let settings = yaml::parse(&read(path)?).with_context(file)?;
    let levels = settings::levels(&settings).with_context(file)?;
    if levels.is_none() {
        eprintln!(
            "Note: {} has no `releaseGuard.findings`, so each finding has its default level.",
            path.display()
        );
    }
    Ok(levels.unwrap_or_default())
}

/// `-` is standard input.
fn read(path: &Path) -> Result<String> {
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => fs::read_to_string(path),
    };
    text.with_context(|| format!("cannot read {}", path.display()))
}
