//! Two revisions and the levels of findings: what the policy would do.

use std::convert::Infallible;

use anyhow::Result;
use helm_plan::{Assessment, Finding, Level, Levels, Live, Operation, Release, assess};

/// A planned upgrade or rollback, and what follows from each finding.
pub(crate) struct Check {
    pub(crate) assessment: Assessment,
    levels: Levels,
}

impl Check {
    pub(crate) fn new(
        operation: Operation,
        current: &Release,
        target: Release,
        levels: Levels,
    ) -> Result<Self> {
        let live = |_: &str, _: &_| Ok::<_, Infallible>(Live::Unknown);
        let assessment = assess(operation, Some(current), target, live)?;
        Ok(Self { assessment, levels })
    }

    /// Without those that are ignored.
    pub(crate) fn findings(&self) -> impl Iterator<Item = (Level, &Finding)> {
        let findings = self.assessment.findings.iter();
        findings
            .map(|finding| (self.levels.of_finding(finding), finding))
            .filter(|(level, _)| *level != Level::Ignore)
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.findings().any(|(level, _)| level == Level::Reject)
    }
}
