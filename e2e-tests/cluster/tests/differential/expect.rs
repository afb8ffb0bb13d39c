//! What the policy makes of the same records.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use cluster_tests::ObjectState;
use rollout_guard::cluster::{Cluster, LookupError, ObjectRef};
use rollout_guard::release_guard::findings::{Case, Finding, findings};
use rollout_guard::release_guard::history::History;
use rollout_guard::release_guard::manifest::ObjectId;
use rollout_guard::release_guard::plan::{Operation, Plan, Release};
use rollout_guard::release_guard::record;
use serde_json::Value;

use crate::run::Recorded;
use crate::scenario::Command;

const MAX_RECORD_BYTES: u64 = 64 * 1024 * 1024;

/// The plan of one command, and what was found.
pub(crate) struct Expectation {
    pub(crate) operation: Operation,
    pub(crate) current: Option<Release>,
    pub(crate) target: Release,
    pub(crate) plan: Plan,
    pub(crate) findings: Vec<Finding>,
}

/// The records as the policy reads them, by name.
struct Records<'a>(&'a BTreeMap<String, Value>);

impl Cluster for Records<'_> {
    fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
        Ok(self.0.get(object.name).cloned())
    }

    fn list(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
        _: &[&str],
    ) -> Result<Vec<Value>, LookupError> {
        Ok(Vec::new())
    }
}

impl Expectation {
    /// `None` when Helm wrote no record: the policy hears of nothing then.
    pub(crate) fn of(recorded: &Recorded) -> Result<Option<Expectation>> {
        let Some(pending) = &recorded.pending else {
            return Ok(None);
        };
        Expectation::from_record(recorded, pending)
            .map(Some)
            .map_err(|error| anyhow!("the policy cannot judge: {error}"))
    }

    fn from_record(recorded: &Recorded, pending: &Value) -> Result<Expectation, String> {
        let kind = recorded.driver.kind();
        let target = record::decode(pending, kind, MAX_RECORD_BYTES)?;
        let operation = Operation::from_status(&target.info.status).ok_or("it is not pending")?;
        let history = History {
            cluster: &Records(&recorded.records),
            kind,
            namespace: &recorded.namespace,
            max_record_bytes: MAX_RECORD_BYTES,
        };
        let current = history.current(operation, &target)?;
        let current = current.map(Release::parse).transpose()?;
        let mut target = Release::parse(target)?;
        // Nothing in the record tells: the policy would have planned the hooks too.
        if let Command::Helm { flags, .. } = &recorded.command
            && flags.iter().any(|flag| flag == "--no-hooks")
        {
            target.hooks.clear();
        }
        let plan = Plan::new(operation, current.as_ref(), &target, &kept(recorded));
        let findings = findings(Case {
            operation,
            current: current.as_ref(),
            target: &target,
            plan: &plan,
        })?;
        Ok(Expectation {
            operation,
            current,
            target,
            plan,
            findings,
        })
    }
}

/// As the policy would learn it by looking the objects up.
fn kept(recorded: &Recorded) -> BTreeSet<ObjectId> {
    let objects = recorded.before.iter();
    let kept = objects.filter(|(_, state)| is_kept(state));
    kept.map(|(id, _)| id.clone()).collect()
}

fn is_kept(state: &ObjectState) -> bool {
    let annotations = state.content.pointer("/metadata/annotations");
    annotations.and_then(|annotations| annotations.get("helm.sh/resource-policy"))
        == Some(&Value::from("keep"))
}
