//! The flags.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use clap::{Parser, ValueEnum};

use crate::pace::Window;

/// Rolls workloads out at once when their ConfigMaps and Secrets change.
///
/// It sends an empty patch to each workload that uses a changed config. The rollout-guard policy, which must be installed,
/// decides whether the workload rolls out. Without the policy, nothing happens.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Only this namespace; may be repeated. Needs no permissions in others
    #[arg(long = "namespace", value_name = "NAME")]
    pub(crate) namespaces: Vec<String>,
    /// Not this namespace; may be repeated
    #[arg(
        long = "exclude-namespace",
        value_name = "NAME",
        conflicts_with = "namespaces"
    )]
    pub(crate) excluded_namespaces: Vec<String>,
    /// Only workloads with these labels
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) workload_selector: Option<String>,
    /// Only changes of ConfigMaps and Secrets with these labels
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) config_selector: Option<String>,
    /// The same as the setting `configHash.workloads` of the policy
    #[arg(long, value_enum, default_value_t = Workloads::All)]
    pub(crate) workloads: Workloads,
    /// Image pull Secrets count, too: the same as `configHash.imagePullSecrets` of the policy
    #[arg(long)]
    pub(crate) image_pull_secrets: bool,
    /// A further kind with a pod template; may be repeated
    #[arg(long = "kind", value_name = "GROUP/VERSION/KIND")]
    pub(crate) kinds: Vec<String>,
    /// Sends patches only in this time (UTC); may be repeated: "0 22 * * 1-5 for 4h"
    #[arg(long = "window", value_name = "CRON for LENGTH")]
    pub(crate) windows: Vec<Window>,
    /// Says what would happen, and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Patches in a second
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) rate: NonZeroU32,
    /// Patches at once
    #[arg(long, value_name = "N", default_value = "50")]
    pub(crate) burst: NonZeroU32,
    /// Patches in a second in one namespace
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) namespace_rate: NonZeroU32,
    /// Patches at once in one namespace
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) namespace_burst: NonZeroU32,
    /// Patches in a second for changes that may have been missed
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) gentle_rate: NonZeroU32,
    /// From a change to the patch of a workload with several configs, so that changes of them lead to one
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = time)]
    pub(crate) delay: Duration,
    /// The least time between two patches of one workload
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) interval: Duration,
    /// The longest pause after a patch that failed or that the policy did not see, give or take a random part
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(crate) max_retry: Duration,
    /// The same for workloads that the policy has not recorded: it is not installed, or leaves them alone
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub(crate) max_unrecorded: Duration,

    /// The Lease that elects the replica that patches
    #[arg(long, value_name = "NAME", default_value = "rollout-guard-refresh")]
    pub(crate) lease: String,
    /// Its namespace; that of the pod by default
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
    /// The name of this replica in it
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// How long nothing is patched after the leader died; whole seconds, and 2 at least
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = lease_duration)]
    pub(crate) lease_duration: Duration,

    /// Where /healthz, /readyz and /metrics are
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// How messages are logged
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
    /// Which messages are logged: error, warn, info, debug, or a filter of tracing-subscriber
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    pub(crate) log: String,
}

/// Longer ones are mistakes.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time <= LONGEST {
        true => Ok(time),
        false => Err("expected a year at most".to_owned()),
    }
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = time(text)?;
    match duration.subsec_nanos() == 0 && duration.as_secs() >= 2 {
        true => Ok(duration),
        false => Err("expected whole seconds, and 2 at least".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workloads {
    /// All that use config
    All,
    /// Those with annotations that ask for it
    Annotated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Json,
    Text,
}
