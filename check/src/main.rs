//! Shows what a Helm upgrade or rollback would lose, before it runs.
//!
//! ```text
//! rendered charts ────────────┐
//! two versions of a chart ► chart (helm template, for each file of values) ─► findings, or those of Argo CD ─► report
//! live release ────► helm ────┴─► two revisions ─► check ─► report
//! live objects ────► kubectl ───────────────────────┤   all releases: cluster ─► report
//! saved records ──► saved ──────────────────────────┤
//! settings of the policy ─► settings ─► levels ─────┘
//! ```
//!
//! The plan and the findings are those of the policy (`helm-plan`), but those of Argo CD (`chart::argocd`).

mod changed;
mod chart;
mod check;
mod cli;
mod cluster;
mod completion;
mod connection;
mod helm;
mod kubectl;
mod report;
mod saved;
mod settings;
mod terminal;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use helm_plan::{ApplyMethod, Levels, Live, Operation, Release, rendered, yaml};
use serde_json::Value;

use crate::{
    chart::Chart,
    check::Check,
    cli::{Apply, ChartArgs, ChartOptions, ChartOutput, Cli, Command, Output, OutputArgs, Tool},
    cluster::Page,
    connection::Connection,
    helm::{Change, Helm},
    kubectl::Kubectl,
    saved::{Past, Saved},
};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::FAILURE,
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", terminal::foreign(&with_causes(&error)));
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
    let (change, kubectl, output) = match command {
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
                let revision = rendered_chart(&text, &release, &namespace, number, apply)
                    .with_context(|| path.display().to_string())?;
                // The file of a `helm template` that failed is empty.
                if revision.resources.is_empty() && revision.hooks.is_empty() {
                    eprintln!("Note: {} has no objects.", path.display());
                }
                anyhow::Ok(revision)
            };
            let change = Change {
                operation: Operation::Upgrade,
                current: Some(revision(1, &before)?),
                target: revision(2, &after)?,
            };
            (change, None, output)
        }
        Command::Chart(arguments) => {
            let ChartArgs { old, new, .. } = &arguments;
            let old = Chart::find(old, arguments.old_version.as_deref())?;
            let new = Chart::find(new, arguments.new_version.as_deref())?;
            return charts(&[(old, new)], &[], &arguments.options);
        }
        Command::Changed { base, options } => {
            let changed = changed::charts(&base)?;
            return charts(&changed.charts, &changed.failed, &options);
        }
        Command::Record { files, output } => return records(&files, &output),
        Command::Cluster { namespace, output } => return cluster(namespace.as_deref(), &output),
        Command::Completion { reader } => {
            io::stdout().write_all(&completion::text(reader))?;
            return Ok(false);
        }
        Command::Upgrade {
            release,
            chart,
            namespace,
            output,
            flags,
        } => {
            let connection = Connection::of(&flags);
            let helm = Helm::new(release, namespace.as_deref(), &connection);
            let change = helm.upgrade(&chart, &flags)?;
            (change, Some(Kubectl::new(&connection)), output)
        }
        Command::Rollback {
            release,
            revision,
            namespace,
            output,
        } => {
            let connection = Connection::of(&[]);
            let helm = Helm::new(release, namespace.as_deref(), &connection);
            let change = helm.rollback(revision)?;
            (change, Some(Kubectl::new(&connection)), output)
        }
    };
    report(change, kubectl, &output)
}

/// Whether something is missing, or a rollback would lose something.
fn cluster(namespace: Option<&str>, output: &OutputArgs) -> Result<bool> {
    let levels = output.settings.as_deref().map(levels).transpose()?;
    let levels = levels.unwrap_or_default();
    let mut kubectl = Kubectl::new(&Connection::of(&[]));
    let mut out = anstream::stdout().lock();
    let summary = match output.output {
        Output::Text => {
            let mut page = cluster::report::Text::new(&mut out);
            cluster::check(namespace, &levels, &mut kubectl, &mut page)?;
            page.end()?;
            page.summary
        }
        Output::Json => {
            let mut page = cluster::report::Json::new(&mut out)?;
            let checked = cluster::check(namespace, &levels, &mut kubectl, &mut page);
            if let Err(error) = &checked {
                page.failed(&format!("{error:#}"))?;
            }
            page.end()?;
            checked?;
            page.summary
        }
    };
    if let Some(note) = kubectl.note() {
        eprintln!("{}", terminal::lines(&note));
    }
    ensure!(
        !summary.is_incomplete(),
        "not everything could be looked at"
    );
    Ok(summary.is_bad())
}

/// Whether one of the records did, or is about to do, something to reject.
fn records(files: &[PathBuf], output: &OutputArgs) -> Result<bool> {
    let levels = output.settings.as_deref().map(levels).transpose()?;
    let levels = levels.unwrap_or_default();
    let mut saved = Saved::default();
    for path in files {
        let file = || path.display().to_string();
        let found = saved.add(&read(path)?).with_context(file)?;
        ensure!(found, "{}: there is no release record in it", file());
    }
    let mut out = anstream::stdout().lock();
    let (mut is_rejected, mut reports) = (false, Vec::new());
    for past in saved.changes() {
        let change = match past? {
            Past::Change(change) => change,
            Past::NotCompared {
                release,
                namespace,
                revision,
            } => {
                let note = format!(
                    "Note: revision {revision} of release {release} in namespace {namespace} was not compared: the revision before it was not saved."
                );
                eprintln!("{}", terminal::line(&note));
                continue;
            }
        };
        let check = Check::new(
            change.operation,
            change.current.as_ref(),
            change.target,
            levels.clone(),
            |_, _| Live::Unknown,
        )?;
        is_rejected |= check.is_rejected();
        match output.output {
            Output::Text => {
                report::text(&check, &mut out)?;
                writeln!(out)?;
            }
            Output::Json => reports.push(report::json(&check)),
        }
    }
    if let Output::Json = output.output {
        let json = format!("{:#}", Value::Array(reports));
        writeln!(out, "{}", terminal::json(&json))?;
    }
    Ok(is_rejected)
}

/// Old and new versions of charts, and those that cannot be compared. What is only lost on the way back is a warning.
fn charts(
    versions: &[(Chart, Chart)],
    not_compared: &[(PathBuf, anyhow::Error)],
    options: &ChartOptions,
) -> Result<bool> {
    let levels = options.settings.as_deref().map(levels).transpose()?;
    if options.tool == Tool::Argocd && levels.is_some() {
        eprintln!("Note: the levels in --settings are not for the findings of --tool argocd.");
    }
    let levels = levels.unwrap_or_default();
    let reports = versions
        .iter()
        .map(|(old, new)| chart::check(old, new, options, &levels));
    let not_compared = not_compared.iter().map(|(folder, error)| {
        let chart = folder.display().to_string();
        Ok(chart::Report::not_checked(&chart, options.tool, error))
    });
    let reports = reports.chain(not_compared).collect::<Result<Vec<_>>>()?;
    let mut out = anstream::stdout().lock();
    let json = match options.output {
        ChartOutput::Text if reports.is_empty() => {
            writeln!(out, "No chart that was there before has changed.")?;
            None
        }
        ChartOutput::Text => {
            for (index, report) in reports.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                chart::report::text(report, &mut out)?;
            }
            None
        }
        ChartOutput::Github => {
            for report in &reports {
                chart::report::github(report, &mut out)?;
            }
            None
        }
        ChartOutput::Json => Some(Value::Array(
            reports.iter().map(chart::report::json).collect(),
        )),
        ChartOutput::Sarif => Some(serde_json::to_value(chart::sarif::log(&reports))?),
    };
    if let Some(json) = json {
        writeln!(out, "{}", terminal::json(&format!("{json:#}")))?;
    }
    // What was found is printed all the same.
    let failed: Vec<_> = reports.iter().flat_map(|report| &report.failed).collect();
    match failed.as_slice() {
        [] => Ok(reports.iter().any(chart::Report::is_rejected)),
        [first, rest @ ..] => {
            for one in rest {
                eprintln!("Error: {}", terminal::foreign(one));
            }
            bail!("{first}")
        }
    }
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

/// `kubectl` shows the live objects, if there are any.
fn report(change: Change, mut kubectl: Option<Kubectl>, output: &OutputArgs) -> Result<bool> {
    let levels = output.settings.as_deref().map(levels).transpose()?;
    let live = |api_version: &str, id: &_| match &mut kubectl {
        Some(kubectl) => kubectl.look(api_version, id),
        None => Live::Unknown,
    };
    let check = Check::new(
        change.operation,
        change.current.as_ref(),
        change.target,
        levels.unwrap_or_default(),
        live,
    )?;
    if let Some(note) = kubectl.and_then(|kubectl| kubectl.note()) {
        eprintln!("{}", terminal::lines(&note));
    }
    match check.assessment.not_looked_at {
        0 => {}
        1 => eprintln!("Note: 1 more live object was not looked at, so its manifest decides."),
        more => {
            eprintln!(
                "Note: {more} more live objects were not looked at, so their manifests decide."
            );
        }
    }
    let mut out = anstream::stdout().lock();
    match output.output {
        Output::Text => report::text(&check, &mut out)?,
        Output::Json => {
            let json = format!("{:#}", report::json(&check));
            writeln!(out, "{}", terminal::json(&json))?;
        }
    }
    Ok(check.is_rejected())
}

/// The levels in a file with the policy, or with its settings.
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
