//! Rolls workloads out at once when their config changes: it sends an empty patch, and the policy decides.
//!
//! ```text
//! ConfigMaps, Secrets (metadata) ─┐
//! workloads, namespaces ──────────┼─ watch.rs ──► work.rs: index, queue ──► pace.rs: limits, windows ──► patch.rs
//! Lease: who patches ─────────────┘  lease.rs            ▲                                                  │
//!                                                        └──────────────── done, or again later ────────────┘
//! metrics.rs, serve.rs: what people see
//! ```
//!
//! It decides nothing and keeps nothing: which config the pods run is recorded on the workload by the policy. It never
//! reads the content of a ConfigMap or Secret.

mod args;
mod lease;
mod metrics;
mod object;
mod pace;
mod patch;
mod run;
mod serve;
mod watch;
mod work;

use std::{alloc::System, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

use crate::args::{Args, LogFormat};

/// The metadata of a Secret that was written by `kubectl apply` has its values in an annotation. It is dropped at once, and
/// memory that is dropped is overwritten.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = log(&args) {
        eprintln!("--log {:?}: {error}", args.log);
        return ExitCode::from(2);
    }
    match run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &Args) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: EnvFilter = args.log.parse()?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}
