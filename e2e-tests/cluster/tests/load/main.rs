//! The webhook `testbed serve` as a separate process: under load, and killed while Helm works.
//!
//! ```text
//! load    32 clients ── AdmissionReviews ──► testbed serve ── look-ups ──► API server ◄── edits of configs
//! kill    Helm ──► API server ── failurePolicy Fail ──► testbed serve ◄── SIGKILL, start
//! ```
//!
//! `DURATION` is the time of the load in seconds. `KILLS` is how often the webhook is killed for each Helm.
//!
//! ```sh
//! DURATION=600 KILLS=100 cargo test -p cluster-tests --test load
//! ```

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use cluster_tests::{HelmVersion, Suite, from_environment};

#[path = "../shared/app.rs"]
mod app;
mod client;
#[path = "../shared/example_policy.rs"]
mod example_policy;
mod kill;
mod load;
mod program;
mod release;
mod review;

/// Short, because `make e2e-tests` runs it too. `make load` takes longer.
const DEFAULT_DURATION: u64 = 10;
const DEFAULT_KILLS: usize = 7;

fn main() -> Result<ExitCode> {
    let duration = Duration::from_secs(from_environment("DURATION", DEFAULT_DURATION)?);
    let kills = from_environment("KILLS", DEFAULT_KILLS)?;
    let mut suite = Suite::one_by_one();
    suite.case(
        "32 clients get no wrong answer, and no memory leaks",
        move |case| load::load(case, duration),
    );
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: the webhook is killed and restarted, and nothing is lost"),
            move |case| kill::killed(case, helm, kills),
        );
    }
    Ok(suite.run())
}
