//! Runs a policy on a recorded request and prints its answer as text or JSON, or runs it as the webhook of a live
//! cluster.

#[cfg(feature = "serve")]
mod serving;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;
use testbed::{Engine, Objects, Policy, Recording, read_objects, report, wasmi};

/// Run a Kubewarden policy as policy-server does.
#[derive(Parser)]
#[command(
    after_help = "Exit codes: 0 accepted, valid or stopped; 1 rejected or not valid; 2 the policy could not be run."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let the policy judge a request
    Run {
        #[command(flatten)]
        policy: PolicyArgs,
        /// An AdmissionRequest, an AdmissionReview, or a recording: {"request": …, "cluster": [objects]}
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// More objects: one object, an array, a List or a recording; can be repeated
        #[arg(long, value_name = "FILE")]
        cluster: Vec<PathBuf>,
        /// A report for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Let the policy check its settings
    Settings {
        #[command(flatten)]
        policy: PolicyArgs,
    },
    /// Let the policy judge the requests of a live cluster until SIGTERM or SIGINT
    #[cfg(feature = "serve")]
    Serve {
        #[command(flatten)]
        policy: PolicyArgs,
        #[command(flatten)]
        server: serving::ServerArgs,
    },
}

#[derive(Args)]
struct PolicyArgs {
    /// The policy, compiled to WebAssembly
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The settings of the policy: JSON, or @ and the name of a JSON file
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    settings: String,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the policy accepts the request, or its settings are valid.
fn run(command: Command) -> anyhow::Result<bool> {
    let (success, report) = match command {
        Command::Run {
            policy,
            request,
            cluster,
            output,
        } => {
            let (policy, settings) = policy.load(wasmi)?;
            let recording = Recording::read(&request)?;
            let mut objects = recording.cluster;
            for path in &cluster {
                objects.extend(read_objects(path)?);
            }

            // policy-server does not start with settings that the policy rejects.
            let check = policy.validate_settings(&settings)?;
            if !check.valid {
                bail!(report::settings(&check));
            }
            let cluster = Arc::new(Objects::new(objects));
            let evaluation = policy.validate(&recording.request, &settings, cluster)?;
            let report = match output {
                Output::Text => report::text(&evaluation),
                Output::Json => format!("{:#}", report::json(&evaluation)),
            };
            (evaluation.response.accepted, report)
        }
        Command::Settings { policy } => {
            let (policy, settings) = policy.load(wasmi)?;
            let check = policy.validate_settings(&settings)?;
            (check.valid, report::settings(&check))
        }
        #[cfg(feature = "serve")]
        Command::Serve { policy, server } => {
            let (policy, settings) = policy.load(testbed_wasmtime::wasmtime)?;
            server.serve(policy, settings)?;
            return Ok(true);
        }
    };
    writeln!(std::io::stdout(), "{}", report.trim_end())?;
    Ok(success)
}

impl PolicyArgs {
    fn load(&self, engine: Engine) -> anyhow::Result<(Policy, Value)> {
        let text = match self.settings.strip_prefix('@') {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read the settings {path}"))?,
            None => self.settings.clone(),
        };
        let settings = serde_json::from_str(&text)
            .with_context(|| format!("the settings are not JSON: {}", self.settings))?;
        Ok((Policy::load(&self.policy, engine)?, settings))
    }
}
