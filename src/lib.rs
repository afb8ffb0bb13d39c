//! rollout-guard
