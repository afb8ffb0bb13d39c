//! Runs a Kubewarden policy the way policy-server does, on any machine and without a cluster: the
//! test host and the demo host of rollout-guard.
//!
//! ```text
//! policy.wasm ─> Policy ─ validate {request, settings} ─> a fresh instance of the guest
//!                  │                                           │ host calls
//!                  │                                           v
//!                  │                                         host ─ look-ups ─> Cluster = Objects
//!                  v                                           │  (masks, texts of refusals)
//!              Evaluation {response, patch, host_calls, logs} <┘
//! ```
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
//! - No cache: policy-server answers `get_resource` from a cache of five seconds unless
//!   `disable_cache` is set. [`HostCall::request`] shows whether it was.
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

pub use cluster::{Cluster, HostError, Objects};
pub use host::HostCall;
pub use policy::{Evaluation, Policy};
pub use recording::{Recording, read_objects};
pub use replay::Replay;
