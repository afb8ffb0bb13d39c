//! The events of one document, made into a value by the rules of go-yaml's decoder.
//!
//! In: the events of the parser, and the literals that were taken out of the text. Out: a value. Refuses:
//! nesting, copies and nodes beyond the limits, aliases of nothing, keys that JSON does not have, and merges
//! of other values than mappings. The caller knows the place.

use std::collections::BTreeMap;

use libyaml_safer::{EventData, ScalarStyle};
use serde_json::{Map, Value};

use crate::yaml::{Budget, MAX_COPIED, MAX_DEPTH, Problem, literals, scalars};

/// Builds the value of one document from the events of the parser.
#[derive(Default)]
pub(super) struct Composer {
    open: Vec<Open>,
    /// Complete values by the name of their anchor. A name may be given again.
    anchors: BTreeMap<String, Value>,
    copied: usize,
    /// The block texts that were taken out of the document.
    literals: Vec<String>,
    root: Option<Value>,
}

/// A collection whose end has not been seen yet.
struct Open {
    anchor: Option<String>,
    collection: Collection,
}

enum Collection {
    Sequence(Vec<Value>),
    Mapping {
        fields: Map<String, Value>,
        key: Option<Key>,
    },
}

enum Key {
    Field(String),
    Merge,
}

impl Composer {
    pub(super) fn new(literals: Vec<String>) -> Self {
        Self {
            literals,
            ..Self::default()
        }
    }

    pub(super) fn event(&mut self, event: EventData, budget: &mut Budget) -> Result<(), Problem> {
        budget.spend_nodes(1)?;
        match event {
            EventData::Scalar {
                anchor,
                tag,
                value,
                style,
                ..
            } => {
                if let Some(literal) = self.literal(tag.as_deref(), &value) {
                    return self.value(Value::String(literal), anchor);
                }
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && value == "<<" && self.awaits_key() {
                    self.key(Key::Merge);
                    return Ok(());
                }
                let resolved = plain || tag.is_some_and(|tag| scalars::is_resolved(&tag));
                let value = if resolved {
                    scalars::resolve(value)
                } else {
                    Value::String(value)
                };
                self.value(value, anchor)
            }
            EventData::Alias { anchor } => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or(Problem::UnknownAlias)?;
                self.copying(&value)?;
                budget.spend_nodes(nodes(&value))?;
                self.value(value, None)
            }
            EventData::SequenceStart { anchor, .. } => {
                self.start(anchor, Collection::Sequence(Vec::new()))
            }
            EventData::MappingStart { anchor, .. } => self.start(
                anchor,
                Collection::Mapping {
                    fields: Map::new(),
                    key: None,
                },
            ),
            EventData::SequenceEnd | EventData::MappingEnd => self.end(),
            EventData::StreamStart { .. }
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => Ok(()),
        }
    }

    fn literal(&mut self, tag: Option<&str>, number: &str) -> Option<String> {
        let number: usize = (tag? == literals::TAG).then(|| number.parse().ok())??;
        self.literals.get_mut(number).map(std::mem::take)
    }

    fn start(&mut self, anchor: Option<String>, collection: Collection) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        // From here to its end the name has no value, not even an earlier one: go-yaml refuses an alias
        // inside of the value that it names.
        if let Some(anchor) = &anchor {
            self.anchors.remove(anchor);
        }
        self.open.push(Open { anchor, collection });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { anchor, collection }) = self.open.pop() else {
            return Ok(());
        };
        let value = match collection {
            Collection::Sequence(items) => Value::Array(items),
            Collection::Mapping { fields, .. } => Value::Object(fields),
        };
        // An anchor that began later has the name now.
        let anchor = anchor.filter(|anchor| !self.anchors.contains_key(anchor));
        self.value(value, anchor)
    }

    /// The value, when the document has ended; `null` for an empty document.
    pub(super) fn finish(self) -> Value {
        self.root.unwrap_or_default()
    }

    /// Whether the next value is the `spec` of a CustomResourceDefinition whose head is complete.
    pub(super) fn is_at_schema(&self) -> bool {
        let [
            Open {
                collection:
                    Collection::Mapping {
                        fields,
                        key: Some(Key::Field(key)),
                    },
                ..
            },
        ] = self.open.as_slice()
        else {
            return false;
        };
        key == "spec"
            && fields.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition")
            && fields.contains_key("apiVersion")
            && fields.contains_key("metadata")
    }

    /// Ends the outermost mapping here.
    pub(super) fn cut(mut self) -> Value {
        match self.open.pop().map(|open| open.collection) {
            Some(Collection::Mapping { fields, .. }) => Value::Object(fields),
            _ => Value::Null,
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                collection: Collection::Mapping { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, next: Key) {
        if let Some(Open {
            collection: Collection::Mapping { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(next);
        }
    }

    fn value(&mut self, value: Value, anchor: Option<String>) -> Result<(), Problem> {
        if let Some(anchor) = anchor {
            self.copying(&value)?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = Some(scalars::as_json(value)),
            Some(Collection::Sequence(items)) => items.push(scalars::as_json(value)),
            Some(Collection::Mapping { fields, key }) => match key.take() {
                None => *key = Some(Key::Field(scalars::key(value)?)),
                Some(Key::Merge) => merge(fields, value)?,
                Some(Key::Field(name)) => {
                    fields.insert(name, scalars::as_json(value));
                }
            },
        }
        Ok(())
    }

    fn copying(&mut self, value: &Value) -> Result<(), Problem> {
        self.copied += nodes(value);
        if self.copied > MAX_COPIED {
            return Err(Problem::CopiesTooMuch);
        }
        Ok(())
    }
}

/// go-yaml merges at the position of the `<<`: what is merged wins over the keys before it, and the keys
/// after it win. Among several mappings the first one wins.
fn merge(fields: &mut Map<String, Value>, merged: Value) -> Result<(), Problem> {
    match merged {
        Value::Object(merged) => fields.extend(merged),
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for item in items.into_iter().rev() {
                merge(fields, item)?;
            }
        }
        _ => return Err(Problem::BadMerge),
    }
    Ok(())
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}
