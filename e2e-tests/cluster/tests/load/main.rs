//! The webhook `testbed serve`, a process of its own, under load and under fire.
//!
//! ```text
//! load    32 clients ── AdmissionReviews ──► testbed serve ── look-ups ──► API server ◄── edits of configs
//! kill    Helm ──► API server ── failurePolicy Fail ──► testbed serve ◄── SIGKILL, start
//! ```
//!
//! `DURATION` is for how many seconds the clients ask, `KILLS` how often the webhook is killed while
//! each Helm works.
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

/// Short, since `make e2e-tests` has it in it; `make load` takes its time.
const DEFAULT_DURATION: u64 = 10;
const DEFAULT_KILLS: usize = 7;

fn main() -> Result<ExitCode> {
    let duration = Duration::from_secs(from_environment("DURATION", DEFAULT_DURATION)?);
    let kills = from_environment("KILLS", DEFAULT_KILLS)?;
    let mut suite = Suite::one_by_one();
    suite.case(
        "32 clients get no wrong answer, and no memory is lost",
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
