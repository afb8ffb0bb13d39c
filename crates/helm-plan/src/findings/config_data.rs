//! What is in a ConfigMap or Secret before and after an operation.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::Linter;
use crate::{
    collect,
    lifecycle::{Operation, Stage},
    manifest::ObjectId,
    plan::Action,
    release::Hook,
};

/// The values of a ConfigMap or Secret, by key.
pub(super) type Data<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// The data of one object on both sides of an operation.
pub(super) struct DataChange<'a> {
    pub(super) before: Data<'a>,
    pub(super) after: Data<'a>,
}

impl<'a> DataChange<'a> {
    /// Of a ConfigMap or Secret that something uses.
    pub(super) fn of(linter: &Linter<'a>, id: &ObjectId) -> Option<Self> {
        if !id.is_config() || linter.consumers(id).next().is_none() {
            return None;
        }
        let body = content_before(linter, id)?;
        let (before, mut after) = (data(body), data(content_after(linter, id)?));
        let plan = linter.change.plan;
        // The merge takes away what the current manifest has, and a hook is in none.
        let merged_onto_hook = !linter.change.target.server_side_apply && !linter.was_regular(id);
        if merged_onto_hook && plan.actions(id).last() == Some(Action::Apply) {
            for (key, value) in &before {
                after.entry(key).or_insert_with(|| value.clone());
            }
        }
        let mut actions = plan.actions(id);
        if !actions.any(|action| matches!(action, Action::CreateHook(_))) {
            // The API server adds what is in stringData to data, and takes nothing away.
            for key in strings(body).into_iter().flat_map(Map::keys) {
                let value = before.get(key.as_str()).cloned().unwrap_or_default();
                after.entry(key).or_insert(value);
            }
        }
        Some(Self { before, after })
    }
}

/// The object as the current revision has written it.
fn content_before<'a>(linter: &Linter<'a>, id: &ObjectId) -> Option<&'a Value> {
    let rolled_back = linter
        .change
        .current
        .is_some_and(|current| current.rolled_back);
    let has_run = |hook: &Hook| {
        // A hook that does not run in a rollback leaves what an earlier revision has written.
        hook.has_run && (!rolled_back || hook.runs_at(Operation::Rollback))
    };
    let mut hooks = linter.current.hooks(id).iter();
    let hook = hooks.find(|(hook, _)| has_run(hook));
    // Of two documents for one object the last counts.
    let object = linter.current.resources(id).last();
    let object = object.or(hook.map(|(_, object)| object));
    object.map(|object| &object.body)
}

/// The same as this operation writes it last. A hook that does not run writes nothing.
fn content_after<'a>(linter: &Linter<'a>, id: &ObjectId) -> Option<&'a Value> {
    let hook_at = |stage: Stage| {
        let hooks = linter.target.hooks(id).iter();
        let run = hooks.filter(|(hook, _)| hook.runs_in(linter.change.operation, stage));
        run.max_by_key(|(hook, _)| hook.order())
    };
    let object = match linter.change.plan.actions(id).last()? {
        Action::Apply => *linter.target.resources(id).last()?,
        Action::CreateHook(stage) | Action::PatchHook(stage) => hook_at(stage)?.1,
        Action::DeleteBeforeHook(_)
        | Action::Conflict(_)
        | Action::DeleteAfterHook(_)
        | Action::Prune
        | Action::Keep => return None,
    };
    Some(&object.body)
}

/// What is in a ConfigMap or Secret by its manifest.
pub(super) fn data(config: &Value) -> Data<'_> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let fields = ["data", "binaryData"].into_iter();
    let data = fields
        .filter_map(|field| config.get(field)?.as_object())
        .flatten()
        .map(|(key, value)| (key.as_str(), text(value).into()));
    let strings = strings(config)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), BASE64_STANDARD.encode(text(value)).into()));
    collect::map(data.chain(strings))
}

fn strings(config: &Value) -> Option<&Map<String, Value>> {
    config.get("stringData")?.as_object()
}
