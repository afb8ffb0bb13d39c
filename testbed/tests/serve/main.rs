//! The webhook and the live cluster, against a stub of an API server.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

mod api_server;
mod live_cluster;
mod program;
mod webhook;

use std::time::{Duration, Instant};

/// How long to wait for something that happens in another thread.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until the condition is true.
#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
