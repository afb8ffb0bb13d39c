//! Whole requests through policy.wasm, and what is published beside it. All in one program: each takes seconds to link.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

mod digest;
mod documents;
#[path = "../e2e-tests/cluster/tests/shared/page_commands.rs"]
mod page_commands;
mod recordings;
mod requests;
mod secrets;
mod sessions;
mod support;
