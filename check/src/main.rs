//! What a Helm upgrade or rollback would lose, before it begins.
//!
//! ```text
//! rendered charts ─► rendered ─┐
//! live release ────► helm ─────┴─► two revisions ─► check (plan, findings: the policy's own) ─► report
//! ```

mod check;
mod helm;
mod report;

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rollout_guard::{
    release_guard::{
        plan::{Operation, Release},
        record, rendered, yaml,
    },
    settings::Settings,
};
use serde_json::Value;

use crate::{check::Check, helm::Helm};

/// See what a Helm upgrade or rollback would lose, before it begins
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 nothing to reject, 1 something to reject, 2 not checked."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check an upgrade from one rendered chart to another (`helm template`)
    Charts {
        /// The chart of now, rendered; `-` for standard input
        before: PathBuf,
        /// The new chart, rendered
        after: PathBuf,
        /// The release, for messages
        #[arg(long, default_value = "release-name")]
        release: String,
        /// The namespace of the release
        #[arg(long, short, default_value = "default")]
        namespace: String,
        /// Who applies: the client (Helm 3, and releases that began with it) or the server (Helm 4)
        #[arg(long, value_enum, default_value_t)]
        apply: Apply,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check an upgrade of a live release: runs `helm upgrade --dry-run=server`
    Upgrade {
        release: String,
        chart: String,
        #[arg(long, short)]
        namespace: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
        /// Flags for helm upgrade, behind `--`
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Check a rollback of a live release
    Rollback {
        release: String,
        /// What to go back to
        revision: u64,
        #[arg(long, short)]
        namespace: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Who merges what is applied with what is there.
#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
enum Apply {
    #[default]
    Client,
    Server,
}

#[derive(Args)]
struct OutputArgs {
    /// A report for people, or one JSON object for programs
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// The settings of the policy, as YAML or JSON: the levels of findings are there
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::FAILURE,
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::from(2)
        }
    }
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
            let revision = |number, path: &PathBuf| {
                let text = read(path)?;
                let server_side = apply == Apply::Server;
                rendered::release(&text, &release, &namespace, number, server_side)
                    .map_err(|error| anyhow!(error))
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
            let helm = Helm::new(release, namespace);
            let target = helm.upgrade(&chart, &flags)?;
            (
                Operation::Upgrade,
                helm.current(Operation::Upgrade)?,
                target,
                output,
            )
        }
        Command::Rollback {
            release,
            revision,
            namespace,
            output,
        } => {
            let helm = Helm::new(release, namespace);
            let current = helm.current(Operation::Rollback)?;
            let target = helm.goes_back_to(revision, &current)?;
            (Operation::Rollback, current, target, output)
        }
    };
    let settings = settings(output.settings.as_ref())?;
    let check = Check::new(
        operation,
        parse(current)?,
        parse(target)?,
        &settings.release_guard,
    )?;
    let mut out = anstream::stdout().lock();
    match output.output {
        Output::Text => report::text(&check, &mut out)?,
        Output::Json => writeln!(out, "{:#}", report::json(&check))?,
    }
    Ok(check.is_rejected())
}

fn parse(record: record::Release) -> Result<Release> {
    Release::parse(record).map_err(|error| anyhow!(error))
}

fn settings(path: Option<&PathBuf>) -> Result<Settings> {
    let Some(path) = path else {
        return Ok(Settings::default());
    };
    let value: Value = yaml::parse(&read(path)?).map_err(|error| anyhow!(error))?;
    Settings::parse(&value)
        .map_err(|error| anyhow!(error))
        .with_context(|| path.display().to_string())
}

fn read(path: &PathBuf) -> Result<String> {
    let text = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => fs::read_to_string(path),
    };
    text.with_context(|| format!("cannot read {}", path.display()))
}
