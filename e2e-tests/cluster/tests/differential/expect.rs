//! What the policy makes of the same records.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use cluster_tests::ObjectState;
use rollout_guard::cluster::{Cluster, LookupError, ObjectRef};
use rollout_guard::release_guard::findings::{Case, Finding, findings};
use rollout_guard::release_guard::history::History;
use rollout_guard::release_guard::manifest::ObjectId;
use rollout_guard::release_guard::plan::{Operation, Plan, Release};
use rollout_guard::release_guard::{judge, record};
use rollout_guard::request::{self, Request};
use rollout_guard::settings::Settings;
use rollout_guard::verdict::Verdict;
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
    /// The answer of the policy, which looks up a part of what is known here. `None` with
    /// `--no-hooks`, of which it knows nothing.
    pub(crate) verdict: Option<Verdict>,
}

/// The cluster as the policy saw it when the record was created.
struct Before<'a>(&'a Recorded);

impl Cluster for Before<'_> {
    fn get(&self, object: ObjectRef<'_>, _: &[&str]) -> Result<Option<Value>, LookupError> {
        if let Some(record) = self.0.records.get(object.name) {
            return Ok(Some(record.clone()));
        }
        let group = object.api_version.split_once('/');
        let id = ObjectId {
            group: group.map_or_else(String::new, |(group, _)| group.to_owned()),
            kind: object.kind.to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.to_owned(),
        };
        let found = self.0.before.get(&id);
        Ok(found.map(|state| state.content.clone()))
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
            cluster: &Before(recorded),
            kind,
            namespace: &recorded.namespace,
            max_record_bytes: MAX_RECORD_BYTES,
        };
        let current = history.current(operation, &target)?;
        let mut current = current.map(Release::parse).transpose()?;
        if let Some(current) = &mut current {
            let ids = current.resources.iter().map(|object| object.id.clone());
            current.gone = ids.filter(|id| !recorded.before.contains_key(id)).collect();
        }
        let mut target = Release::parse(target)?;
        // Nothing in the record tells: the policy would have planned the hooks too.
        let Command::Helm { flags, .. } = &recorded.command else {
            return Err(format!("{} wrote a record", recorded.command));
        };
        let no_hooks = flags.iter().any(|flag| flag == "--no-hooks");
        if no_hooks {
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
            verdict: (!no_hooks).then(|| verdict(recorded, pending)),
        })
    }
}

fn verdict(recorded: &Recorded, pending: &Value) -> Verdict {
    let request = Request {
        kind: request::Kind {
            group: String::new(),
            kind: recorded.driver.kind().to_owned(),
        },
        namespace: recorded.namespace.clone(),
        object: pending.clone(),
        ..Request::default()
    };
    judge(&request, &Settings::default(), &Before(recorded))
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
