//! What Helm 3 and Helm 4 do on a real cluster, and what the helpers of the library see.

use std::process::ExitCode;

use cluster_tests::Suite;

mod hook_table;
mod library;
mod seed;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    library::add_to(&mut suite);
    seed::add_to(&mut suite);
    hook_table::add_to(&mut suite);
    suite.run()
}
