//! Runs a Kubewarden policy the way policy-server does, on any machine: the test host and the demo
//! host of rollout-guard. The cluster is made of files or, with the feature `serve`, a live one.
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
//! With the feature `serve`, `serve::Server` is this as a webhook of a live cluster.
//!
//! Where policy-server has a choice of words or shapes that a policy can see, this crate follows
//! its source (kubewarden-controller, `crates/policy-evaluator`): the texts of failed look-ups
//! ([`HostError`]), what field masks leave, what a list looks like, what an error of the guest
//! turns into ([`Policy::validate`]).
//!
//! # What it leaves out
//!
//! - No time limit unless [`Policy::with_time_limit`] sets one: policy-server interrupts a guest
//!   after two seconds.
//! - No cache in front of [`Objects`]: policy-server answers `get_resource` from a cache of five
//!   seconds unless `disable_cache` is set. [`HostCall::request`] shows whether it was.
//! - No other host capability than the three look-ups and logging: no `can_i`, `oci`, `net` or
//!   `crypto`.
//! - The request reaches the guest as it was given, while policy-server drops the fields that an
//!   AdmissionRequest does not have.

mod clock;
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
