#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! The first three are enough for most programs:
//!
//! - [`record`]: decodes a release record, as Helm stores it in a Secret or ConfigMap.
//! - [`rendered`]: makes the same of a chart that `helm template` has rendered.
//! - [`mod@assess`]: plans an operation on two releases and reports what it breaks.
//!
//! Between them:
//!
//! - [`release`]: a release with its manifests parsed.
//! - [`history`]: which revision of a release is the current one, by Helm's own rule.
//! - [`plan`]: the steps that Helm takes, in order, and which objects exist after them.
//! - [`consumers`]: which pods need an object.
//! - [`live`]: what live objects tell.
//! - [`findings`]: what is wrong with a plan. Each finding has a module with its documentation.
//!
//! And below:
//!
//! - [`lifecycle`]: Helm's operations, hook events, delete policies and statuses.
//! - [`manifest`]: the objects in a manifest.
//! - [`yaml`]: one YAML document, read the way Helm reads it.
//! - [`metadata`]: Helm's annotations and labels.

#![warn(missing_docs)]

pub mod assess;
mod collect;
pub mod consumers;
mod declared;
pub mod findings;
pub mod history;
mod kinds;
pub mod lifecycle;
pub mod live;
mod makers;
pub mod manifest;
pub mod metadata;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod record;
pub mod release;
pub mod rendered;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod yaml;

pub use self::{
    assess::{Assessment, assess},
    findings::{Finding, Level, Levels, Lint},
    lifecycle::{ApplyMethod, Operation, Stage, Status},
    live::Live,
    manifest::{Object, ObjectId},
    plan::{Action, Plan, Step},
    record::{Driver, Record},
    release::Release,
};
