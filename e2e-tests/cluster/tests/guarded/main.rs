//! Real Helm and kubectl on a real cluster, with policy.wasm as a webhook.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

use std::process::ExitCode;

use cluster_tests::Suite;

#[path = "../shared/app.rs"]
mod app;
mod check;
mod config_change;
mod deletions;
#[path = "../shared/example_policy.rs"]
mod example_policy;
mod examples;
mod findings;
mod gitops;
mod guard;
mod histories;
mod hook_trap;
mod lifecycle;
mod match_conditions;
mod operations;
#[path = "../shared/page_commands.rs"]
mod page_commands;
mod policy_server;
mod readme;
mod real_charts;
mod right_operations;
mod rights;
mod rollouts;
mod ways_out;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    findings::add_to(&mut suite);
    hook_trap::add_to(&mut suite);
    lifecycle::add_to(&mut suite);
    check::add_to(&mut suite);
    config_change::add_to(&mut suite);
    deletions::add_to(&mut suite);
    examples::add_to(&mut suite);
    match_conditions::add_to(&mut suite);
    readme::add_to(&mut suite);
    histories::add_to(&mut suite);
    right_operations::add_to(&mut suite);
    rights::add_to(&mut suite);
    ways_out::add_to(&mut suite);
    gitops::add_to(&mut suite);
    operations::add_to(&mut suite);
    real_charts::add_to(&mut suite);
    suite.run()
}
