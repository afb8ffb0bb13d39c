//! Two revisions and the levels of findings: what the policy would do.

use std::convert::Infallible;

use anyhow::Result;
use helm_plan::{Assessment, Finding, Level, Levels, Live, ObjectId, Operation, Release, assess};

/// A planned install, upgrade or rollback, and what follows from each finding.
pub(crate) struct Check {
    pub(crate) assessment: Assessment,
    levels: Levels,
}

impl Check {
    /// `live` looks at an object of an API version.
    pub(crate) fn new(
        operation: Operation,
        current: Option<&Release>,
        target: Release,
        levels: Levels,
        mut live: impl FnMut(&str, &ObjectId) -> Live,
    ) -> Result<Self> {
        let live = |api_version: &str, id: &_| Ok::<_, Infallible>(live(api_version, id));
        let assessment = assess(operation, current, target, live)?;
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
