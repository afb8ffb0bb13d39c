//! The engine of policy-server, with guests and with policy.wasm. Here are the tests that need its speed; others have the interpreter.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

mod answers;
mod guests;
mod hostile_input;
#[path = "../../../../tests/support/record.rs"]
mod record;

use std::path::Path;
use std::sync::LazyLock;

use testbed::Policy;
use testbed_wasmtime::wasmtime;

/// The policy that `make policy.wasm` builds, as policy-server runs it.
fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        Policy::load(&root().join("policy.wasm"), wasmtime)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
