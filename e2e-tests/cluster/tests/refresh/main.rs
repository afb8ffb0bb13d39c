//! rollout-guard-refresh with the policy on a real cluster: what changes rolls out once, whatever dies or is away meanwhile.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

use std::process::ExitCode;

use anyhow::Result;
use cluster_tests::{Suite, from_environment};

#[path = "../shared/app.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod app;
mod changes;
#[path = "../shared/example_policy.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod example_policy;
mod failures;
#[path = "../guarded/guard.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod guard;
mod kills;
mod load;
#[path = "../guarded/policy_server.rs"]
mod policy_server;
mod program;
mod relay;
#[path = "../guarded/rollouts.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod rollouts;
mod secrets;

fn main() -> ExitCode {
    match suite() {
        Ok(suite) => suite.run(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn suite() -> Result<Suite> {
    let kills = from_environment("KILLS", 4)?;
    let workloads = from_environment("WORKLOADS", 100)?;
    let seed = from_environment("SEED", 1)?;
    let mut suite = Suite::one_by_one();
    changes::add_to(&mut suite);
    failures::add_to(&mut suite);
    secrets::add_to(&mut suite);
    suite.case(
        format!("SEED={seed}: killed {kills} times, no change is lost"),
        move |case| kills::killed(case, kills, seed),
    );
    suite.case(
        format!("{workloads} workloads and twice as many configs"),
        move |case| load::many(case, workloads),
    );
    Ok(suite)
}
