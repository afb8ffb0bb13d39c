//! The judgement: the policy's own plan and findings.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use rollout_guard::{
    release_guard::{
        findings::{Case, Finding, findings},
        level,
        plan::{Operation, Plan, Release},
    },
    settings::{Level, ReleaseGuard},
};

pub(crate) struct Check {
    pub(crate) operation: Operation,
    pub(crate) current: u64,
    pub(crate) target: Release,
    pub(crate) plan: Plan,
    /// Without those that are ignored.
    pub(crate) findings: Vec<(Level, Finding)>,
}

impl Check {
    pub(crate) fn new(
        operation: Operation,
        current: Release,
        target: Release,
        guard: &ReleaseGuard,
    ) -> Result<Check> {
        // What is annotated on live objects alone is for the policy to see.
        let plan = Plan::new(operation, Some(&current), &target, &BTreeSet::new());
        let found = findings(Case {
            operation,
            current: Some(&current),
            target: &target,
            plan: &plan,
        });
        let found = found.map_err(|error| anyhow!(error))?.into_iter();
        let levels = found.map(|finding| (level(guard, &finding), finding));
        Ok(Check {
            operation,
            current: current.revision,
            findings: levels
                .filter(|(level, _)| *level != Level::Ignore)
                .collect(),
            target,
            plan,
        })
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.findings
            .iter()
            .any(|(level, _)| *level == Level::Reject)
    }
}
