//! Which workloads need a patch, and from when on: the index, and the queue.
//!
//! In: what was seen in the cluster, and what came of patches; the time is always given. Out: the next workload to patch
//! ([`Work::next`]), and up to where all changes are dealt with ([`Work::handled`]). Refuses: nothing.
//!
//! ```text
//! config changed ──► users of it ──► due, after a short delay ──► patch ──► done
//! workload seen  ──► may a change have been missed? ──► due, gently   └──► failed: due again, later
//! ```
//!
//! All replicas do this, but only the leader patches. What the others see of its work on a workload takes that workload
//! from their queue: so whoever takes over neither misses a change nor repeats a patch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use backon::BackoffBuilder;
use tokio::time::Instant;

use crate::object::{ConfigId, ConfigKind, Version, Workload, WorkloadId};

/// How patches follow changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// From a change to the patch of a workload that uses several configs, so that changes of them lead to one.
    pub(crate) delay: Duration,
    /// The least time between two patches of one workload that changes of config lead to.
    pub(crate) interval: Duration,
    /// After a patch that failed, or that the policy did not see: the first pause, and the longest.
    pub(crate) retry: (Duration, Duration),
    /// After a patch of a workload that the policy has not recorded then.
    pub(crate) unrecorded: (Duration, Duration),
}

/// For the times after which a patch may still be on its way through a webhook (30 s), in which a record may be of an older
/// config than the one that changed meanwhile.
const IN_FLIGHT: Duration = Duration::from_secs(60);

/// How long after its effect on a workload the change of a config may be seen: they come by two watches.
const OUT_OF_ORDER: Duration = Duration::from_secs(5);

/// What is due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A config changed.
    Changed,
    /// A change may have been missed.
    Gentle,
}

/// Part of the cluster that one watch sees: configs of a kind, in all namespaces or in one.
pub(crate) type Source = (ConfigKind, Option<Arc<str>>);

/// For each source, the revision up to which all changes are dealt with.
pub(crate) type Handled = BTreeMap<Source, u64>;

/// What a patch is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) workload: WorkloadId,
    pub(crate) lane: Lane,
    /// What changed, or may have changed.
    pub(crate) configs: Vec<ConfigId>,
    /// When the first of them changed, or was found.
    pub(crate) since: Instant,
    /// The workload before the patch.
    pub(crate) before: Workload,
}

/// What came of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    /// The policy did not see it.
    Unseen,
    /// The policy has not recorded the workload: it is not there, or leaves it alone.
    Unrecorded,
}

#[derive(Debug)]
pub(crate) struct Work {
    timing: Timing,
    /// Whether watches are for one namespace each.
    by_namespace: bool,
    configs: BTreeMap<ConfigId, Config>,
    workloads: BTreeMap<WorkloadId, Known>,
    users: BTreeMap<ConfigId, BTreeSet<WorkloadId>>,
    opted_out: BTreeSet<Arc<str>>,
    due: BTreeMap<WorkloadId, Due>,
    queue: BTreeSet<(Lane, Instant, WorkloadId)>,
    in_flight: BTreeMap<WorkloadId, Due>,
    seen: Handled,
    is_complete: bool,
}

#[derive(Debug)]
struct Config {
    version: Option<Version>,
    /// The last change that was watched.
    changed: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    now: Workload,
    /// The record before the last patch of ours, and when its effect was seen.
    before: Option<(BTreeMap<ConfigId, String>, Instant)>,
    patched: Option<Instant>,
}

#[derive(Debug)]
struct Due {
    lane: Lane,
    since: Instant,
    at: Instant,
    causes: BTreeMap<ConfigId, Cause>,
    retries: Option<(Ending, backon::ExponentialBackoff)>,
}

/// How often a config has changed since it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    One,
    /// A list shows only the last one.
    OneOrMore,
}

/// When a workload was found that may have missed a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    AtStart,
    Later,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    /// Of the config, or 0 if only a patch of our own deals with it.
    revision: u64,
    /// The record of the config before it changed. If another one is seen, the change is dealt with. `None`: only a patch of
    /// our own tells.
    recorded: Option<String>,
}

impl Work {
    pub(crate) fn new(timing: Timing, by_namespace: bool) -> Self {
        Self {
            timing,
            by_namespace,
            configs: BTreeMap::new(),
            workloads: BTreeMap::new(),
            users: BTreeMap::new(),
            opted_out: BTreeSet::new(),
            due: BTreeMap::new(),
            queue: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            seen: Handled::new(),
            is_complete: false,
        }
    }

    /// All watches have listed what there is: from now on, changes are known, and what may have been missed is due.
    pub(crate) fn complete(&mut self, now: Instant) {
        self.is_complete = true;
        let all: Vec<_> = self.workloads.keys().cloned().collect();
        for id in all {
            self.check(&id, Found::AtStart, now);
        }
    }

    /// A config is there.
    pub(crate) fn config_seen(&mut self, id: ConfigId, version: Version, now: Instant) {
        if self.is_news(&id, version) {
            self.config_changed(id, Some(version), version.revision, Changes::One, now);
        }
    }

    fn is_news(&self, id: &ConfigId, version: Version) -> bool {
        let known = self.version(id);
        known.is_none_or(|known| known.revision != version.revision || version.revision == 0)
    }

    /// A config was deleted, at this revision.
    pub(crate) fn config_deleted(&mut self, id: ConfigId, revision: u64, now: Instant) {
        self.config_changed(id, None, revision, Changes::One, now);
    }

    /// A watch has begun again, and this is all that there is.
    pub(crate) fn configs_listed(
        &mut self,
        source: &Source,
        listed: BTreeMap<ConfigId, Version>,
        now: Instant,
    ) {
        let (kind, namespace) = source;
        let is_gone = |id: &&ConfigId| {
            id.kind == *kind
                && namespace.as_ref().is_none_or(|only| id.namespace == *only)
                && !listed.contains_key(*id)
        };
        let gone: Vec<_> = self.configs.keys().filter(is_gone).cloned().collect();
        for id in gone {
            if self.version(&id).is_some() {
                self.config_changed(id, None, 0, Changes::OneOrMore, now);
            }
        }
        for (id, version) in listed {
            if self.is_news(&id, version) {
                self.config_changed(id, Some(version), version.revision, Changes::OneOrMore, now);
            }
        }
    }

    fn config_changed(
        &mut self,
        id: ConfigId,
        version: Option<Version>,
        revision: u64,
        changes: Changes,
        now: Instant,
    ) {
        let is_listing = !self.is_complete;
        let before = self.configs.remove(&id).and_then(|config| config.changed);
        let users: Vec<_> = self.users.get(&id).into_iter().flatten().cloned().collect();
        if !users.is_empty() {
            let seen = self.seen.entry(self.source(&id)).or_default();
            *seen = revision.max(*seen);
        }
        // What nobody uses and what is not there any more takes no memory.
        if version.is_some() || !users.is_empty() {
            let changed = (!is_listing).then_some(now);
            self.configs.insert(id.clone(), Config { version, changed });
        }
        if is_listing {
            return;
        }
        // Two changes in a short time cannot be told apart in the record.
        let is_traceable =
            changes == Changes::One && before.is_none_or(|before| now - before > IN_FLIGHT);
        for user in users {
            let recorded = match is_traceable && !self.is_pending(&user, &id) {
                true => self.recorded_before(&user, &id, now),
                false => None,
            };
            if self.is_seen_already(&user, &id, recorded.as_ref(), now) {
                continue;
            }
            self.push(
                &user,
                Lane::Changed,
                Some((id.clone(), Cause { revision, recorded })),
                now,
            );
        }
    }

    /// What the policy had recorded of the config when it changed. Its answer may have been seen before the change.
    fn recorded_before(
        &self,
        user: &WorkloadId,
        config: &ConfigId,
        now: Instant,
    ) -> Option<String> {
        let known = self.workloads.get(user)?;
        // The effect of a patch of our own may be seen only now.
        if known
            .patched
            .is_some_and(|patched| now - patched <= IN_FLIGHT)
        {
            return None;
        }
        let before = match &known.before {
            Some((before, at)) if now - *at <= OUT_OF_ORDER => before.get(config),
            _ => None,
        };
        let current = || known.now.recorded.as_ref()?.get(config);
        before.or_else(current).cloned()
    }

    fn is_seen_already(
        &self,
        user: &WorkloadId,
        config: &ConfigId,
        recorded: Option<&String>,
        now: Instant,
    ) -> bool {
        let Some(known) = self.workloads.get(user) else {
            return false;
        };
        let is_recent = |(_, at): &(_, Instant)| now - *at <= OUT_OF_ORDER;
        let current = known
            .now
            .recorded
            .as_ref()
            .and_then(|record| record.get(config));
        known.before.as_ref().is_some_and(is_recent)
            && recorded.is_some()
            && current.is_some()
            && current != recorded
    }

    /// A workload is there. `None`: it uses no config, or is to be left alone.
    pub(crate) fn workload_seen(&mut self, id: &WorkloadId, seen: Option<Workload>, now: Instant) {
        let Some(seen) = seen else {
            return self.workload_deleted(id);
        };
        let Some(known) = self.workloads.get_mut(id) else {
            self.index(id, &seen.uses);
            let known = Known {
                now: seen,
                before: None,
                patched: None,
            };
            self.workloads.insert(id.clone(), known);
            if self.is_complete {
                self.check(id, Found::Later, now);
            }
            return;
        };
        let uses_before = std::mem::take(&mut known.now.uses);
        let recorded_before = known.now.recorded.take();
        let uid_before = std::mem::take(&mut known.now.uid);
        if uses_before != seen.uses {
            self.unindex(id, &uses_before);
            self.index(id, &seen.uses);
        }
        let is_recorded_anew = recorded_before != seen.recorded;
        // A request may have been on its way since before a config was deleted.
        let is_late =
            is_recorded_anew && seen.records_what_is_gone(|config| self.version(config).is_some());
        let may_have_missed = is_late
            || !seen.uses.is_subset(&uses_before)
            || seen.uid != uid_before
            || recorded_before.is_some() && seen.recorded.is_none();
        let before = (is_recorded_anew && seen.written_by_us).then(|| {
            // The effect of what is pending is no effect of a change that comes later.
            let mut before = recorded_before.unwrap_or_default();
            before.retain(|config, _| !self.is_pending(id, config));
            (before, now)
        });
        let Some(known) = self.workloads.get_mut(id) else {
            return;
        };
        known.before = before.or(known.before.take());
        known.now = seen;
        if may_have_missed && self.is_complete {
            self.check(id, Found::Later, now);
        }
        self.settle(id);
    }

    pub(crate) fn workload_deleted(&mut self, id: &WorkloadId) {
        if let Some(known) = self.workloads.remove(id) {
            self.unindex(id, &known.now.uses);
        }
        self.remove_due(id);
    }

    /// A watch has begun again, and this is all that there is of these kinds.
    pub(crate) fn workloads_listed(
        &mut self,
        is_of_watch: impl Fn(&WorkloadId) -> bool,
        listed: BTreeMap<WorkloadId, Option<Workload>>,
        now: Instant,
    ) {
        let known: Vec<_> = self.workloads.keys().cloned().collect();
        for id in known {
            if is_of_watch(&id) && !listed.contains_key(&id) {
                self.workload_deleted(&id);
            }
        }
        for (id, workload) in listed {
            self.workload_seen(&id, workload, now);
        }
    }

    /// Whether the workloads of a namespace are left alone.
    pub(crate) fn namespace_seen(&mut self, namespace: &Arc<str>, opts_out: bool, now: Instant) {
        if opts_out {
            self.opted_out.insert(Arc::clone(namespace));
            let due: Vec<_> = self.due.keys().cloned().collect();
            for id in due.iter().filter(|id| id.namespace == *namespace) {
                self.remove_due(id);
            }
        } else if self.opted_out.remove(namespace) && self.is_complete {
            let all: Vec<_> = self.workloads.keys().cloned().collect();
            for id in all.iter().filter(|id| id.namespace == *namespace) {
                self.check(id, Found::Later, now);
            }
        }
    }

    /// The leader has dealt with all changes up to these revisions.
    pub(crate) fn taken_over(&mut self, handled: &Handled) {
        let ids: Vec<_> = self.due.keys().cloned().collect();
        for id in ids {
            let by_namespace = self.by_namespace;
            let known = self.workloads.get(&id);
            // A leader with other flags may have left it alone.
            if known.is_none_or(|known| known.now.recorded.is_none()) {
                continue;
            }
            let Some(due) = self.due.get_mut(&id) else {
                continue;
            };
            due.causes.retain(|config, cause| {
                let done = handled.get(&source_of(config, by_namespace));
                cause.revision == 0 || done.is_none_or(|done| cause.revision > *done)
            });
            self.drop_if_done(&id);
        }
    }

    /// Up to where all changes are dealt with, as far as revisions tell.
    pub(crate) fn handled(&self) -> Handled {
        let mut handled = self.seen.clone();
        let due = self.due.values().chain(self.in_flight.values());
        // Whoever starts later finds by itself what was never recorded.
        let due = due.filter(|due| !matches!(due.retries, Some((Ending::Unrecorded, _))));
        let causes = due.flat_map(|due| &due.causes);
        for (config, cause) in causes.filter(|(_, cause)| cause.revision > 0) {
            if let Some(handled) = handled.get_mut(&self.source(config)) {
                *handled = cause.revision.saturating_sub(1).min(*handled);
            }
        }
        handled
    }

    /// Adds the workload if a change may have been missed.
    fn check(&mut self, id: &WorkloadId, found: Found, now: Instant) {
        let Some(known) = self.workloads.get(id) else {
            return;
        };
        if known.now.is_up_to_date(|config| self.version(config)) {
            return;
        }
        let causes: Vec<_> = known
            .now
            .uses
            .iter()
            .map(|config| {
                // Nobody can tell when a config that is not there any more was deleted. And of what is found later, the
                // leader may have published more than it knew.
                let revision = match found {
                    Found::AtStart => self.version(config).map_or(0, |version| version.revision),
                    Found::Later => 0,
                };
                let recorded = None;
                (config.clone(), Cause { revision, recorded })
            })
            .collect();
        for (config, cause) in &causes {
            let seen = self.seen.entry(self.source(config)).or_default();
            *seen = cause.revision.max(*seen);
        }
        self.push(id, Lane::Gentle, None, now);
        if let Some(due) = self.due.get_mut(id) {
            due.causes.extend(causes);
        }
    }

    fn push(
        &mut self,
        id: &WorkloadId,
        lane: Lane,
        cause: Option<(ConfigId, Cause)>,
        now: Instant,
    ) {
        if self.opted_out.contains(&id.namespace) {
            return;
        }
        let known = self.workloads.get(id);
        let patched = known.and_then(|known| known.patched);
        let earliest = patched.map_or(now, |patched| patched + self.timing.interval);
        let uses_one = known.is_some_and(|known| known.now.uses.len() == 1);
        let at = match lane {
            Lane::Changed if uses_one => earliest,
            Lane::Changed => (now + self.timing.delay).max(earliest),
            Lane::Gentle => now,
        };
        let mut due = self.remove_due(id).unwrap_or(Due {
            lane,
            since: now,
            at,
            causes: BTreeMap::new(),
            retries: None,
        });
        if lane == Lane::Changed {
            // What was in the way may have gone with the change.
            due.retries = None;
            if due.lane == Lane::Gentle {
                due.since = now;
            }
            // The first change decides, so that a config that never rests does not hold the others up.
            due.at = match due.lane {
                Lane::Changed if due.at <= at => due.at,
                _ => at,
            };
            due.lane = Lane::Changed;
        }
        due.causes.extend(cause);
        self.insert_due(id.clone(), due);
    }

    fn insert_due(&mut self, id: WorkloadId, due: Due) {
        self.queue.insert((due.lane, due.at, id.clone()));
        self.due.insert(id, due);
    }

    fn remove_due(&mut self, id: &WorkloadId) -> Option<Due> {
        let due = self.due.remove(id)?;
        self.queue.remove(&(due.lane, due.at, id.clone()));
        Some(due)
    }

    /// Drops the causes that the record shows to be dealt with.
    fn settle(&mut self, id: &WorkloadId) {
        let Some(Known { now, .. }) = self.workloads.get(id) else {
            return;
        };
        let Some(due) = self.due.get_mut(id) else {
            return;
        };
        let record = now.recorded.as_ref();
        due.causes.retain(|config, cause| {
            let entry = record.and_then(|record| record.get(config));
            match (&cause.recorded, entry) {
                (Some(before), Some(entry)) => before == entry,
                _ => true,
            }
        });
        self.drop_if_done(id);
    }

    fn drop_if_done(&mut self, id: &WorkloadId) {
        if self.due.get(id).is_some_and(|due| due.causes.is_empty()) {
            self.remove_due(id);
        }
    }

    /// The next workload that is due now, of those that may be patched now.
    pub(crate) fn next(
        &self,
        now: Instant,
        mut may: impl FnMut(Lane, &WorkloadId) -> bool,
    ) -> Option<WorkloadId> {
        let mut due = self
            .queue
            .iter()
            .filter(|(_, at, id)| *at <= now && !self.in_flight.contains_key(id));
        let found = due.find(|(lane, _, id)| may(*lane, id));
        found.map(|(_, _, id)| id.clone())
    }

    /// When something will be due next.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let waiting = self
            .queue
            .iter()
            .filter(|(_, _, id)| !self.in_flight.contains_key(id));
        waiting.map(|(_, at, _)| *at).min()
    }

    /// Whether a patch is on the way or due.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        !self.in_flight.is_empty() || self.next_at().is_some_and(|at| at <= now)
    }

    /// Takes the workload from the queue: its patch is on the way.
    pub(crate) fn begin(&mut self, id: &WorkloadId, now: Instant) -> Option<Task> {
        let due = self.remove_due(id)?;
        let known = self.workloads.get_mut(id)?;
        known.patched = Some(now);
        let task = Task {
            workload: id.clone(),
            lane: due.lane,
            configs: due.causes.keys().cloned().collect(),
            since: due.since,
            before: known.now.clone(),
        };
        self.in_flight.insert(id.clone(), due);
        Some(task)
    }

    /// A patch has ended.
    pub(crate) fn end(&mut self, id: &WorkloadId, ending: Ending, now: Instant) {
        let Some(mut tried) = self.in_flight.remove(id) else {
            return;
        };
        let limits = match ending {
            Ending::Done => return,
            Ending::Failed | Ending::Unseen => self.timing.retry,
            Ending::Unrecorded => self.timing.unrecorded,
        };
        if !self.workloads.contains_key(id) || self.opted_out.contains(&id.namespace) {
            return;
        }
        let retries = match tried.retries.take() {
            Some((before, retries)) if before == ending => retries,
            _ => backoff(limits),
        };
        let (_, retries) = tried.retries.insert((ending, retries));
        tried.at = now + retries.next().unwrap_or(limits.1);
        // A change meanwhile is tried soon.
        match self.remove_due(id) {
            Some(mut newer) => {
                for (config, cause) in tried.causes {
                    newer.causes.entry(config).or_insert(cause);
                }
                newer.since = tried.since.min(newer.since);
                newer.lane = tried.lane.min(newer.lane);
                self.insert_due(id.clone(), newer);
            }
            None => self.insert_due(id.clone(), tried),
        }
    }

    /// How many patches of workloads in the namespace are on the way.
    pub(crate) fn on_the_way(&self, namespace: &Arc<str>) -> usize {
        let ids = self.in_flight.keys();
        ids.filter(|id| id.namespace == *namespace).count()
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let in_lane = |lane| self.due.values().filter(|due| due.lane == lane).count();
        let after = |ending| {
            let retried = |due: &&Due| {
                due.retries
                    .as_ref()
                    .is_some_and(|(before, _)| *before == ending)
            };
            self.due.values().filter(retried).count()
        };
        Sizes {
            workloads: self.workloads.len(),
            configs: self.configs.len(),
            changed: in_lane(Lane::Changed),
            gentle: in_lane(Lane::Gentle),
            failed: after(Ending::Failed),
            unseen: after(Ending::Unseen),
            unrecorded: after(Ending::Unrecorded),
        }
    }

    fn index(&mut self, id: &WorkloadId, uses: &BTreeSet<ConfigId>) {
        for config in uses {
            let users = self.users.entry(config.clone()).or_default();
            users.insert(id.clone());
        }
    }

    fn unindex(&mut self, id: &WorkloadId, uses: &BTreeSet<ConfigId>) {
        for config in uses {
            if let Some(users) = self.users.get_mut(config) {
                users.remove(id);
                if users.is_empty() {
                    self.users.remove(config);
                    let is_gone = |config: &Config| config.version.is_none();
                    if self.configs.get(config).is_some_and(is_gone) {
                        self.configs.remove(config);
                    }
                }
            }
        }
    }

    /// `None`: it is not there.
    fn version(&self, config: &ConfigId) -> Option<Version> {
        self.configs.get(config)?.version
    }

    /// Whether a change of the config waits for a patch of the workload, or for its answer.
    fn is_pending(&self, workload: &WorkloadId, config: &ConfigId) -> bool {
        let due = [&self.due, &self.in_flight].map(|due| due.get(workload));
        let mut due = due.into_iter().flatten();
        due.any(|due| due.causes.contains_key(config))
    }

    fn source(&self, config: &ConfigId) -> Source {
        source_of(config, self.by_namespace)
    }
}

/// For the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) workloads: usize,
    pub(crate) configs: usize,
    pub(crate) changed: usize,
    pub(crate) gentle: usize,
    /// Those of them whose last patch failed.
    pub(crate) failed: usize,
    /// Those of them whose last patch the policy did not see.
    pub(crate) unseen: usize,
    /// Those of them that the policy has not recorded.
    pub(crate) unrecorded: usize,
}

fn source_of(config: &ConfigId, by_namespace: bool) -> Source {
    let namespace = by_namespace.then(|| Arc::clone(&config.namespace));
    (config.kind, namespace)
}

fn backoff((first, longest): (Duration, Duration)) -> backon::ExponentialBackoff {
    backon::ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests;
