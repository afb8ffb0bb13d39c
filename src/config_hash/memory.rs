//! What a workload remembers of its configs: the annotation `rollout-guard/configs`.
//!
//! In: the stored workload, and what is observed of each config now. Out: which configs have changed since the
//! pods started, and what to remember next. A record that cannot be read counts as none.
//!
//! ```text
//! {"ConfigMap/app": entry, …}
//! entry  = memory | memory "@" template "|" [memory]
//! memory = digest | "absent" ["/" keys] | "missing"
//! ```
//!
//! `missing` is a config that the pods require and still wait for. The second form of an entry is for what
//! cannot be told within one request: whether it changes the template, for webhooks behind this policy have
//! the last word. The pods of the stored `template` (a fingerprint) started with the first memory, and those of
//! any other with the second, or nothing is known of it. The next request sees which of them was stored.

use std::{cell::OnceCell, collections::BTreeMap};

use config_digest::{
    comparable,
    record::{self, CONFIGS, MISSING, fingerprint, split},
};
use serde_json::{Map, Value};

use super::{configs::Observed, references::ConfigId};
use crate::annotations::{self, OBJECT};

/// What was observed of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its digest, over the keys that the workload in the request uses.
    pub now: Now,
    /// The same content over the keys that other workloads use of it: that of `oldObject`, with
    /// `imagePullSecrets` and without.
    pub unchanged_digests: Vec<String>,
    /// Whether it may have another content than when it was created. Only asked of what was missing.
    pub rewritten: bool,
}

/// What pods that start now find of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// All that they require.
    Digest(String),
    /// They require it, and wait for it.
    NoObject,
    /// They wait for one of its keys.
    NoKey,
}

/// The entries of the annotation, by `Kind/name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded(pub BTreeMap<String, String>);

impl Recorded {
    /// The record on a workload. `None`: the policy never saw it.
    pub fn on(workload: &Value) -> Option<Self> {
        let recorded = annotations::get(workload, OBJECT, CONFIGS)?;
        serde_json::from_str(recorded).ok().map(Self)
    }

    /// For the annotation. `None`: there is nothing to remember.
    pub fn to_text(&self) -> Option<String> {
        let entries: Map<String, Value> = self
            .0
            .iter()
            .map(|(id, entry)| (id.clone(), entry.as_str().into()))
            .collect();
        (!entries.is_empty()).then(|| Value::Object(entries).to_string())
    }
}

/// What the pods of a stored workload started with.
#[derive(Debug)]
pub struct Memory<'a> {
    /// `None`: the policy never saw the workload.
    recorded: Option<Recorded>,
    template: Option<&'a Value>,
    fingerprint: OnceCell<String>,
}

impl<'a> Memory<'a> {
    /// Of a stored workload; of none, for a new one.
    pub fn of(stored: Option<&'a Value>) -> Self {
        Self {
            recorded: stored.and_then(Recorded::on),
            template: stored.and_then(|stored| stored.pointer("/spec/template")),
            fingerprint: OnceCell::new(),
        }
    }

    /// The fingerprint of the stored template. Few requests need it.
    fn template(&self) -> &str {
        self.fingerprint
            .get_or_init(|| self.template.map(fingerprint).unwrap_or_default())
    }

    /// Whether the policy saw the workload before.
    pub fn is_there(&self) -> bool {
        self.recorded.is_some()
    }

    /// Whether the pods waited for the config, and so started with what it was created with.
    pub fn waited_for(&self, id: &ConfigId) -> bool {
        self.get(id) == Some(MISSING)
    }

    fn entry(&self, id: &ConfigId) -> Option<&str> {
        let recorded = self.recorded.as_ref()?;
        recorded.0.get(&id.key()).map(String::as_str)
    }

    fn get(&self, id: &ConfigId) -> Option<&str> {
        record::memory(self.entry(id)?, || self.template())
    }

    /// The configs whose content is not what the pods started with.
    pub fn changed(&self, seen: &BTreeMap<ConfigId, Seen>) -> Vec<ConfigId> {
        seen.iter()
            .filter(|(id, seen)| self.has_changed(id, seen))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn has_changed(&self, id: &ConfigId, seen: &Seen) -> bool {
        match (self.get(id), &seen.now) {
            // The pods waited, and started with what the config was created with.
            (Some(MISSING), Now::Digest(_)) => seen.rewritten,
            (Some(remembered), Now::Digest(digest)) => {
                let mut unchanged = seen.unchanged_digests.iter().chain([digest]);
                unchanged.clone().all(|digest| digest != remembered)
                    && unchanged.any(|digest| comparable(remembered, digest))
            }
            // It is used for the first time; or it is missing, and a rollout would not help.
            (None, _) | (_, Now::NoObject | Now::NoKey) => false,
        }
    }

    /// What to remember when a request is admitted that changes the stamp, or does not. What was not read is
    /// remembered as before.
    pub fn next(&self, observed: &Observed, rolls_out: bool) -> Recorded {
        let mut recorded = Recorded::default();
        for (id, seen) in &observed.configs {
            if let Some(entry) = self.next_entry(id, seen, rolls_out) {
                recorded.0.insert(id.key(), entry);
            }
        }
        for id in &observed.not_read {
            if let Some(entry) = self.entry(id) {
                recorded.0.insert(id.key(), entry.to_owned());
            }
        }
        recorded
    }

    fn next_entry(&self, id: &ConfigId, seen: &Seen, rolls_out: bool) -> Option<String> {
        // The pods waited for it when they were last seen, so those of an older template may be still there.
        let older = match self.entry(id).and_then(split) {
            Some((running, template, MISSING | "")) => Some((running, template)),
            _ => None,
        };
        let is_settled = rolls_out || !self.has_changed(id, seen);
        let next = match &seen.now {
            Now::Digest(digest) => digest.as_str(),
            Now::NoObject => MISSING,
            Now::NoKey => "",
        };
        let waits = !matches!(seen.now, Now::Digest(_));
        match (older, self.get(id)) {
            (Some((running, template)), _) if waits => Some(format!("{running}@{template}|{next}")),
            (_, None | Some(MISSING)) if waits => {
                Some(next.to_owned()).filter(|next| !next.is_empty())
            }
            (_, Some(running)) if waits || !is_settled => {
                Some(format!("{running}@{}|{next}", self.template()))
            }
            _ => Some(next.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
