//! Helm would not run the hook that creates, or brings back, what pods need.
//!
//! ## Why
//!
//! A hook runs only in the operations that its events name. There are two ways to get hurt:
//!
//! - A ConfigMap or Secret is a `pre-install,pre-upgrade` hook, as in many charts. A rollback does not run it. The pods of the old revision then run
//!   with the content of the new revision, or cannot start because a key that they need is not in it.
//! - An object is a hook that does not run in this operation, for example a `pre-install` hook in an upgrade. If the chart had no such object
//!   before, nothing creates it, and pods that need it cannot start.
//!
//! The release is rejected only if the live object lacks a key that pods need, or does not exist. Otherwise this is a warning.
//!
//! ## Example
//!
//! Before, the object is not in the chart:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: other
//! ```
//!
//! After:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: app-config
//!   annotations:
//!     helm.sh/hook: pre-install
//! data:
//!   setting: one
//! ---
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata:
//!   name: web
//! spec:
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec:
//!       containers:
//!         - name: web
//!           image: nginx
//!           envFrom: [{configMapRef: {name: app-config}}]
//! ```
//!
//! ## Ways out
//!
//! - Make the object a regular resource: remove the annotation `helm.sh/hook`.
//! - Add the missing event to `helm.sh/hook`: `pre-install,pre-upgrade,pre-rollback`.
//! - For a rollback, the target revision cannot be changed. Upgrade to a chart with the old content instead, or apply the old content with
//!   `kubectl apply` first.

use std::{collections::BTreeSet, fmt};

use super::{
    Doubt, Finding, Level, Lint, Linter, Revisions,
    config_data::{Data, data},
    linter::Fate,
};
use crate::{
    consumers::{Consumer, When},
    lifecycle::{Event, Operation, Stage},
    live::{self, Live},
    manifest::ObjectId,
};

/// The finding.
pub const LINT: Lint = Lint {
    name: "hook-not-run",
    summary: "Helm would not run the hook that creates, or brings back, what pods need",
    default_level: Level::Reject,
    is_loss: true,
    can_be_rescued: false,
};

/// A hook does not run in the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// From which revision to which.
    pub revisions: Revisions,
    /// What is done to the release.
    pub operation: Operation,
    /// The events of its hooks in the target, each once.
    pub events: Vec<Event>,
    /// What follows.
    pub effect: Effect,
}

/// What follows from a hook that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing creates the object.
    NotCreated {
        /// Whether it was seen that it does not exist.
        is_absent: bool,
    },
    /// It keeps the content of the current revision.
    OtherContent,
    /// It keeps that content, in which this key is missing.
    NoKey(String),
}

pub(super) fn check(linter: &Linter<'_>, id: &ObjectId, fate: Fate) -> Option<Finding> {
    let operation = linter.change.operation;
    let hooks = linter.lifecycle_hooks(id);
    let is_left_out = fate == Fate::Stays
        && !hooks.is_empty()
        && linter.target.resources(id).is_empty()
        && hooks.iter().all(|hook| !hook.runs_at(operation));
    if !is_left_out {
        return None;
    }
    match linter.current.all(id).next() {
        None => not_created(linter, id),
        Some(_) if linter.was_regular(id) => None,
        Some(_) if operation == Operation::Rollback => not_brought_back(linter, id),
        Some(_) => None,
    }
}

/// Nobody has created it before, as far as the records tell.
fn not_created(linter: &Linter<'_>, id: &ObjectId) -> Option<Finding> {
    let needs = |consumer: &Consumer<'_>| !consumer.optional && is_workload(consumer);
    let consumers = linter.consumers_of(id, needs);
    if consumers.is_empty() {
        return None;
    }
    let is_absent = match linter.live(id) {
        Some(Live::Present(_)) => return None,
        Some(Live::Absent) => true,
        Some(Live::Denied(_) | Live::Unknown) | None => false,
    };
    let not_seen = (!is_absent).then_some(Doubt::NotSeen);
    Some(Finding {
        consumers,
        doubt: linter.doubt(linter.maker(id), id, needs).or(not_seen),
        ..Finding::new(id, Fact::of(linter, id, Effect::NotCreated { is_absent }))
    })
}

/// It keeps what the hook of the current revision has written.
fn not_brought_back(linter: &Linter<'_>, id: &ObjectId) -> Option<Finding> {
    let uses_it = linter
        .consumers(id)
        .any(|consumer| consumer.when != When::Later);
    if !id.is_config() || !uses_it || linter.maker(id).is_some() {
        return None;
    }
    let mut current = linter.current.hooks(id).iter();
    let now = current.rfind(|(hook, _)| hook.has_run)?.1;
    let now = data(&now.body);
    // Whichever operation of the target created it last wrote this.
    let before = linter.target.hooks(id).last()?.1;
    let before = data(&before.body);

    let lost_key = |consumer: &Consumer<'_>| {
        let is_lost = |key: &&String| {
            before.contains_key(key.as_str()) && !now.contains_key(key.as_str())
        };
        let keys = consumer.keys.iter().flatten();
        keys.into_iter().find(is_lost).cloned()
    };
    let misses_key = |consumer: &Consumer<'_>| {
        consumer.when != When::Later && !consumer.optional && lost_key(consumer).is_some()
    };
    let missing = linter
        .consumers(id)
        .filter(|consumer| misses_key(consumer))
        .find_map(lost_key);
    if let Some(key) = missing {
        if linter.filler(id, &key).is_some() {
            return None;
        }
        // The current revision may be a rollback, whose record has hooks that did not run in it either.
        let is_there = match linter.live(id) {
            Some(Live::Absent) => return None,
            Some(Live::Present(object)) => live::has_key(object, &key),
            Some(Live::Denied(_) | Live::Unknown) | None => None,
        };
        if is_there == Some(true) {
            return None;
        }
        let not_seen = is_there.is_none().then_some(Doubt::NotSeen);
        return Some(Finding {
            consumers: linter.consumers_of(id, misses_key),
            doubt: linter.doubt(None, id, misses_key).or(not_seen),
            ..Finding::new(id, Fact::of(linter, id, Effect::NoKey(key)))
        });
    }

    let changed = changed_keys(&before, &now);
    let sees_change = |consumer: &Consumer<'_>| {
        is_workload(consumer)
            && !consumer.is_unseen
            && match &consumer.keys {
                None => !changed.is_empty(),
                Some(keys) => keys.iter().any(|key| changed.contains(key.as_str())),
            }
    };
    let consumers = linter.consumers_of(id, sees_change);
    let is_filled = |key: &&str| linter.filler(id, key).is_some();
    if consumers.is_empty() || changed.first().is_some_and(is_filled) {
        return None;
    }
    Some(Finding {
        consumers,
        doubt: linter.doubt(None, id, sees_change).or(Some(Doubt::NotSeen)),
        ..Finding::new(id, Fact::of(linter, id, Effect::OtherContent))
    })
}

fn is_workload(consumer: &Consumer<'_>) -> bool {
    matches!(consumer.when, When::Workload | When::LastingHook(_))
}

/// The keys whose values differ.
fn changed_keys<'a>(before: &Data<'a>, now: &Data<'a>) -> BTreeSet<&'a str> {
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let changed = now
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, _)| key);
    gone.chain(changed).copied().collect()
}

impl Fact {
    fn of(linter: &Linter<'_>, id: &ObjectId, effect: Effect) -> Self {
        Self {
            revisions: linter.change.revisions(),
            operation: linter.change.operation,
            events: linter.lifecycle_events(id),
            effect,
        }
    }

    pub(super) fn ways_out(&self, _: &ObjectId) -> Vec<String> {
        let pre = self.operation.event(Stage::Pre);
        match (self.operation, &self.effect) {
            (Operation::Rollback, Effect::NotCreated { .. }) => vec![
                "upgrade to a chart that has it as a regular resource, instead of rolling back"
                    .to_owned(),
            ],
            (Operation::Rollback, Effect::OtherContent | Effect::NoKey(_)) => vec![
                "upgrade to a chart with the old content, instead of rolling back".to_owned(),
                "apply the old content with kubectl first".to_owned(),
            ],
            (Operation::Install | Operation::Upgrade, _) => vec![
                "make it a regular resource: remove the annotation helm.sh/hook".to_owned(),
                format!("add {pre} to its helm.sh/hook"),
            ],
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<_> = self.events.iter().map(|event| event.name()).collect();
        write!(
            f,
            "is a hook ({}) in {}, which does not run in this {}; ",
            events.join(", "),
            self.revisions.target(),
            self.operation.name()
        )?;
        let current = self.revisions.current();
        match &self.effect {
            Effect::NotCreated { is_absent: true } => f.write_str(
                "it does not exist, so nothing creates it, and the pods that need it could not start",
            ),
            Effect::NotCreated { is_absent: false } => f.write_str(
                "unless it exists already, nothing creates it, and the pods that need it could not start",
            ),
            Effect::OtherContent => write!(
                f,
                "it keeps the content of {current}, and pods of the old revision run with that"
            ),
            Effect::NoKey(key) => write!(
                f,
                "it keeps the content of {current}, which lacks the key {key:?}; the pods that need the key could not start"
            ),
        }
    }
}
