//! The webhook and the live cluster, against a stub of an API server.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod api_server;
mod live_cluster;
mod program;
mod webhook;

use std::time::{Duration, Instant};

/// How long anything may take that happens in another thread.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is yes.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
