//! Runs a Kubewarden policy as policy-server does, on any machine. The tests and the demo of rollout-guard use it.
//! The cluster consists of JSON objects or, with the feature `serve`, is a live one. The [`Engine`] is [`wasmi`] or that of policy-server.
//!
//! ```text
//! policy.wasm ─> Policy ─ validate {request, settings} ─> a fresh instance of the guest
//!                  │                                           │ host calls
//!                  │                                           v
//!                  │                                         host ─ look-ups ─> Cluster = Objects
//!                  v                                           │  (masks)             or LiveCluster
//!              Evaluation {response, patch, host_calls, logs} <┘
//! ```
//!
//! With the feature `serve`, `serve::Server` runs the policy as a webhook of a live cluster.
//!
//! Everything that a policy can see is the same as in policy-server, according to its source
//! (kubewarden-controller, `crates/policy-evaluator`): the texts of failed look-ups ([`HostError`]), the fields that
//! a field mask keeps, the form of a list, and the result of an error in the guest ([`Policy::validate`]).
//!
//! # Not supported
//!
//! - There is no time limit unless [`Policy::with_time_limit`] sets one. policy-server interrupts a guest after two
//!   seconds.
//! - There is no cache for [`Objects`]. policy-server caches answers of `get_resource` for five seconds unless
//!   `disable_cache` is set. [`HostCall::request`] shows whether it was set.
//! - The only host capabilities are the three look-ups and logging: no `can_i`, `oci`, `net` or `crypto`.
//! - A guest can import only what a policy in Rust imports: waPC without its log, and a few functions of WASI.
//! - The guest receives the request unchanged. policy-server removes fields that are not part of an
//!   AdmissionRequest.

mod cluster;
mod field_mask;
mod host;
mod policy;
mod recording;
mod replay;
pub mod report;
#[cfg(feature = "serve")]
pub mod serve;

#[cfg(feature = "serve")]
pub use cluster::LiveCluster;
pub use cluster::{Cluster, HostError, Kind, Objects};
pub use host::{HostCall, answer};
pub use policy::{Evaluation, Policy};
pub use recording::{Recording, read_objects};
pub use replay::Replay;
pub use testbed_engine::{Engine, wasmi};
