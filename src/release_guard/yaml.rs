//! One YAML document as a JSON value, the way Helm reads it.
//!
//! In: the text of one document. Out: its value. Refuses: text that is not YAML, nesting deeper than
//! [`MAX_DEPTH`], aliases that unfold to more than [`MAX_ALIASED`] nodes.
//!
//! Of a CustomResourceDefinition, `spec` and what follows it are left out: they are the largest part of
//! many releases, no plan needs them, and the parser works through a text only as far as it is asked.
//!
//! The parser is `saphyr-parser`; here its events become a value, with the rules of Helm's parser
//! (sigs.k8s.io/yaml over go-yaml v2) where they differ from YAML 1.2: `yes`, `no`, `on` and `off` are
//! booleans, the last of two equal keys wins, `<<` merges. Numbers only ever pass through, so that
//! octal and other notations stay strings.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Real manifests stay below 60 levels; recursion over a value must fit the stack of a wasm module.
const MAX_DEPTH: usize = 200;
/// What aliases may unfold to in one document: an alias of an alias of an alias … grows without bound.
const MAX_ALIASED: usize = 100_000;

/// Parses the first document in the text; a text without one is `null`.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut composer = Composer::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        if event == Event::DocumentEnd {
            break;
        }
        composer.event(event).map_err(|error| {
            format!(
                "{error} at line {} column {}",
                span.start.line(),
                span.start.col() + 1
            )
        })?;
        if composer.is_at_schema() {
            return Ok(composer.cut());
        }
    }
    Ok(composer.root.unwrap_or_default())
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    /// By anchor, in the order in which the parser numbers them.
    anchors: Vec<(usize, Value)>,
    aliased: usize,
    root: Option<Value>,
}

/// A collection whose end has not been seen.
struct Open {
    anchor: usize,
    collection: Collection,
}

enum Collection {
    Sequence(Vec<Value>),
    Mapping {
        fields: Map<String, Value>,
        merged: Vec<Value>,
        key: Option<Key>,
    },
}

enum Key {
    Field(String),
    Merge,
}

impl Composer {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && text == "<<" && self.awaits_key() {
                    return self.key(Key::Merge);
                }
                let value = if plain {
                    resolve(&text)
                } else {
                    Value::String(text.into_owned())
                };
                self.value(value, anchor)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                let value = known
                    .map(|(_, value)| value.clone())
                    .ok_or("an alias of a collection within itself")?;
                self.aliased += nodes(&value);
                if self.aliased > MAX_ALIASED {
                    return Err(format!("aliases unfold to more than {MAX_ALIASED} nodes"));
                }
                self.value(value, 0)
            }
            Event::SequenceStart(anchor, _) => self.start(anchor, Collection::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => self.start(
                anchor,
                Collection::Mapping {
                    fields: Map::new(),
                    merged: Vec::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, anchor: usize, collection: Collection) -> Result<(), String> {
        if self.open.len() == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { anchor, collection });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open { anchor, collection }) = self.open.pop() else {
            return Ok(());
        };
        let value = match collection {
            Collection::Sequence(items) => Value::Array(items),
            Collection::Mapping {
                mut fields, merged, ..
            } => {
                for (key, value) in merged.into_iter().flat_map(mappings) {
                    fields.entry(key).or_insert(value);
                }
                Value::Object(fields)
            }
        };
        self.value(value, anchor)
    }

    /// Whether the next value is the `spec` of a CustomResourceDefinition whose head is complete.
    fn is_at_schema(&self) -> bool {
        let [
            Open {
                collection:
                    Collection::Mapping {
                        fields,
                        key: Some(Key::Field(key)),
                        ..
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
    fn cut(mut self) -> Value {
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

    fn key(&mut self, next: Key) -> Result<(), String> {
        if let Some(Open {
            collection: Collection::Mapping { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(next);
        }
        Ok(())
    }

    fn value(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            self.anchors.push((anchor, value.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = Some(value),
            Some(Collection::Sequence(items)) => items.push(value),
            Some(Collection::Mapping {
                fields,
                merged,
                key,
            }) => match key.take() {
                None => *key = Some(Key::Field(field_name(value)?)),
                Some(Key::Merge) => merged.push(value),
                Some(Key::Field(name)) => {
                    fields.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

/// What `<<` merges: a mapping, or a sequence of them, the first of which wins.
fn mappings(merged: Value) -> Vec<(String, Value)> {
    match merged {
        Value::Object(fields) => fields.into_iter().collect(),
        Value::Array(items) => items.into_iter().flat_map(mappings).collect(),
        _ => Vec::new(),
    }
}

fn field_name(key: Value) -> Result<String, String> {
    match key {
        Value::String(name) => Ok(name),
        Value::Array(_) | Value::Object(_) => Err("a key that is a collection".to_owned()),
        scalar => Ok(scalar.to_string()),
    }
}

/// A plain scalar, by the table of go-yaml v2 (resolve.go).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            true.into()
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            false.into()
        }
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

fn number(text: &str) -> Option<Value> {
    // A JSON number is a YAML number too; whatever else YAML takes for one stays text.
    let looks_like_one = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    looks_like_one
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn assert_parsed(text: &str, expected: Value) {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }

    #[test]
    fn scalars_are_read_as_helm_reads_them() {
        assert_parsed(
            "a: yes\nb: 'yes'\nc: off\nd: ~\ne:\nf: 1\ng: -1.5\nh: 0644\ni: 1_000\nj: \"1\"",
            json!({"a": true, "b": "yes", "c": false, "d": null, "e": null, "f": 1, "g": -1.5, "h": "0644", "i": "1_000", "j": "1"}),
        );
        assert_parsed("a: !!str 1", json!({"a": "1"}));
        assert_parsed("1: a\non: b", json!({"1": "a", "true": "b"}));
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        assert_parsed("a: 1\nb: 2\na: 3", json!({"a": 3, "b": 2}));
    }

    #[test]
    fn merges_give_way_to_written_keys() {
        assert_parsed(
            "base: &b {p: 1, q: 2}\nmore: &m {q: 3, r: 4}\none:\n  <<: *b\n  q: 9\ntwo:\n  <<: [*m, *b]",
            json!({
                "base": {"p": 1, "q": 2}, "more": {"q": 3, "r": 4},
                "one": {"q": 9, "p": 1}, "two": {"q": 3, "r": 4, "p": 1},
            }),
        );
        assert_parsed("'<<': 1", json!({"<<": 1}));
    }

    #[test]
    fn the_schema_of_a_crd_is_not_read() {
        let kind = "kind: CustomResourceDefinition";
        let head = json!({"apiVersion": "v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}});
        assert_parsed(
            &format!("apiVersion: v1\n{kind}\nmetadata: {{name: a}}\nspec: [not, {{read"),
            head,
        );
        // Without its head, a document is read to the end.
        let late =
            json!({"apiVersion": "v1", "spec": {"a": 1}, "kind": "CustomResourceDefinition"});
        assert_parsed(&format!("apiVersion: v1\nspec: {{a: 1}}\n{kind}"), late);
    }

    #[test]
    fn documents_without_a_value_are_null() {
        assert_parsed("", Value::Null);
        assert_parsed("# only a comment\n", Value::Null);
        assert_parsed("a: 1\n---\nb: 2", json!({"a": 1}));
    }

    #[track_caller]
    fn assert_refused(text: &str, expected: &str) {
        let error = parse(text).err().unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bombs_are_refused() {
        assert_refused(
            &"[".repeat(220),
            "nested deeper than 200 levels at line 1 column 201",
        );
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let alias = format!("*a{}", n - 1);
            laughs += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "));
        }
        assert_refused(&laughs, "aliases unfold to more than 100000 nodes");
    }

    #[test]
    fn errors_have_a_place() {
        assert_refused("a: [1", "line");
        assert_refused("a: *b", "unknown anchor");
        assert_refused("? [a]\n: b", "a key that is a collection at line 1");
    }
}
