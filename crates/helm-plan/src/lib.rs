//! What a Helm upgrade or rollback will do, step by step, and what that breaks.
//!
//! ```text
//! release record ──► Record ──┐
//! rendered chart ─────────────┴► Release ─► Plan: Helm's own steps, in order ─► Findings
//! ```

pub mod assess;
pub mod consumers;
pub mod declared;
pub mod findings;
pub mod history;
pub mod kinds;
pub mod lifecycle;
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

pub use assess::{Assessment, assess};
