//! What the policy concludes from the same records.
//!
//! In: one recorded command. Out: the plan that is compared with what Helm did, the findings, and the answer of
//! the policy.

use std::convert::Infallible;

use anyhow::{Context, Result, bail};
use helm_plan::findings::Finding;
use helm_plan::history;
use helm_plan::lifecycle::Operation;
use helm_plan::live::{Live, LiveObjects};
use helm_plan::manifest::ObjectId;
use helm_plan::plan::Plan;
use helm_plan::record::{self, record_name};
use helm_plan::release::Release;
use rollout_guard::cluster::{Cluster, List, LookupError, ObjectRef, Review};
use rollout_guard::release_guard::judge;
use rollout_guard::request::{self, Request};
use rollout_guard::settings::Settings;
use rollout_guard::verdict::Verdict;
use serde_json::Value;

use crate::run::Recorded;
use crate::scenario::Command;

const MAX_RECORD_BYTES: u64 = 32 * 1024 * 1024;

/// The plan of one command, and what was found.
pub(crate) struct Expectation {
    pub(crate) operation: Operation,
    pub(crate) current: Option<Release>,
    /// The record of the current revision is gone: `--history-max` deletes it before the new one is created.
    pub(crate) is_unknown: bool,
    pub(crate) target: Release,
    /// Every object in the cluster is known to it; an assessment looks up only what can change a finding.
    pub(crate) plan: Plan,
    /// Those of the assessment.
    pub(crate) findings: Vec<Finding>,
    /// The answer of the policy. `None` with `--no-hooks`, because the record does not show this flag.
    pub(crate) verdict: Option<Verdict>,
}

impl Expectation {
    /// `None` when Helm wrote no record: then the policy receives no request.
    pub(crate) fn of(recorded: &Recorded) -> Result<Option<Expectation>> {
        let Some(pending) = &recorded.pending else {
            return Ok(None);
        };
        Expectation::from_record(recorded, pending)
            .map(Some)
            .context("the record cannot be judged")
    }

    fn from_record(recorded: &Recorded, pending: &Value) -> Result<Expectation> {
        let target = record::decode(pending, recorded.driver, MAX_RECORD_BYTES)?;
        let operation =
            Operation::pending(target.info.status).context("the release is not pending")?;
        let current = history::current(operation, target.version, |revision| {
            let record = recorded.records.get(&record_name(&target.name, revision));
            record
                .map(|record| record::status(record, recorded.driver, MAX_RECORD_BYTES))
                .transpose()
        })?;
        let current = match current {
            history::Current::None | history::Current::Unknown(_) => None,
            history::Current::Revision(revision) => {
                let record = recorded.records.get(&record_name(&target.name, revision));
                record
                    .map(|record| {
                        let record = record::decode(record, recorded.driver, MAX_RECORD_BYTES)?;
                        anyhow::Ok(Release::parse(record)?)
                    })
                    .transpose()?
            }
        };
        let is_unknown = current.is_none() && operation != Operation::Install;
        let mut target = Release::parse(target)?;
        let Command::Helm { flags, .. } = &recorded.command else {
            bail!("{} wrote a record", recorded.command);
        };
        let no_hooks = flags.iter().any(|flag| flag == "--no-hooks");
        if no_hooks {
            target.hooks.clear();
        }
        let live = |_: &str, id: &ObjectId| Ok::<_, Infallible>(live_state(recorded, id));
        let assessment = helm_plan::assess(operation, current.as_ref(), target, live)?;
        let plan = Plan::new(
            operation,
            current.as_ref(),
            &assessment.target,
            &all_live(recorded, current.as_ref(), &assessment.target),
        );
        Ok(Expectation {
            operation,
            current,
            is_unknown,
            target: assessment.target,
            plan,
            findings: assessment.findings,
            verdict: (!no_hooks).then(|| verdict(recorded, pending)),
        })
    }
}

fn live_state(recorded: &Recorded, id: &ObjectId) -> Live {
    match recorded.before.get(id) {
        None => Live::Absent,
        Some(state) => Live::Present(state.content.clone()),
    }
}

/// Every object that one of the revisions declares.
fn all_live(recorded: &Recorded, current: Option<&Release>, target: &Release) -> LiveObjects {
    let releases = current.into_iter().chain([target]);
    let objects = releases.flat_map(|release| {
        let hooks = release.hooks.iter().flat_map(|hook| &hook.objects);
        release.resources.iter().chain(hooks)
    });
    let seen = objects.map(|object| (object.id.clone(), live_state(recorded, &object.id)));
    seen.collect()
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
    judge(&request, &Settings::default(), &RecordedCluster(recorded))
}

/// The cluster as it was when the record was created.
struct RecordedCluster<'a>(&'a Recorded);

impl Cluster for RecordedCluster<'_> {
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

    fn list(&self, _: &List<'_>) -> Result<Vec<Value>, LookupError> {
        Ok(Vec::new())
    }

    fn may_read(&self, _: &Review<'_>) -> Result<bool, LookupError> {
        Ok(true)
    }
}
