//! One YAML document as a JSON value, the way Helm reads it.
//!
//! In: the text of one document. Out: its value. Refuses: text that is not YAML, nesting deeper than
//! [`MAX_DEPTH`], anchors and aliases that copy more than [`MAX_COPIED`] nodes.
//!
//! Helm reads with go-yaml v2 (sigs.k8s.io/yaml), which is a port of libyaml and takes much that YAML
//! 1.2 refuses: lines of a quoted text or of `{…}` that start further left than their key, tabs
//! between tokens. Charts make use of that. So the parser here is a port of libyaml too; its events
//! become a value by the rules of go-yaml's decoder: `yes`, `no`, `on` and `off` are booleans, `0644`
//! is a number, the last of two equal keys wins, `<<` merges.
//!
//! Of a CustomResourceDefinition, `spec` and what follows it are left out: they are the largest part of
//! many releases, no plan needs them, and the parser works through a text only as far as it is asked.

pub mod literals;

use std::{borrow::Cow, collections::BTreeMap, io::BufReader};

use libyaml_safer::{Event, EventData, Parser, STR_TAG, ScalarStyle};
use serde_json::{Map, Value};

use self::literals::{Lifted, lift};

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Real manifests stay below 60 levels; recursion over a value must fit the stack of a wasm module.
const MAX_DEPTH: usize = 200;
/// What anchors and aliases may copy in one document: an alias of an alias of an alias … grows without
/// bound.
const MAX_COPIED: usize = 100_000;

/// How much of a text the parser gets at once: it takes all that there is, four bytes for each character,
/// and of many documents only the head is needed.
const CHUNK: usize = 512;

/// What may still be read of the documents of one release, so that no release takes longer than
/// policy-server waits.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Scalars, mappings, sequences and what aliases copy.
    nodes: usize,
    /// Of text besides literals.
    bytes: usize,
}

impl Budget {
    /// Real charts have a node for each 50 to 70 bytes (kube-prometheus-stack and its CRDs), so that
    /// 3 MB of manifest, which is about what fits a Secret, have 60,000.
    pub const NODES: usize = 500_000;
    /// A record of this size fits a Secret only if it repeats itself more than text does.
    pub const BYTES: usize = 16 * 1024 * 1024;

    fn spend_bytes(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes =
            left.ok_or_else(|| format!("more than {} bytes of YAML in one release", Self::BYTES))?;
        Ok(())
    }

    fn spend_nodes(&mut self, nodes: usize) -> Result<(), String> {
        let left = self.nodes.checked_sub(nodes);
        self.nodes =
            left.ok_or_else(|| format!("more than {} YAML nodes in one release", Self::NODES))?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: Self::NODES,
            bytes: Self::BYTES,
        }
    }
}

/// Parses the first document in the text; a text without one is `null`.
pub fn parse(text: &str) -> Result<Value, Error> {
    parse_within(text, &mut Budget::default())
}

/// Parses one of the documents of a release.
pub fn parse_within(text: &str, budget: &mut Budget) -> Result<Value, Error> {
    let Lifted {
        text: rest,
        literals,
    } = lift(text);
    match literals.as_slice() {
        [] => Ok(compose(text, literals, budget)?),
        // An error has to have its place in the text as it was.
        _ => Ok(compose(&rest, literals, budget).or_else(|_| compose(text, Vec::new(), budget))?),
    }
}

/// The same of a text that some literals have been taken out of.
pub fn compose(text: &str, literals: Vec<String>, budget: &mut Budget) -> Result<Value, String> {
    let is_whole = literals.is_empty();
    match compose_as_it_is(text, literals, budget) {
        // The one escape of libyaml that its port lacks. Where it is none, the text changes as well:
        // alike in every revision.
        Err(error)
            if is_whole && error.starts_with("found unknown escape") && text.contains(r"\'") =>
        {
            compose_as_it_is(&text.replace(r"\'", r"\u0027"), Vec::new(), budget)
        }
        composed => composed,
    }
}

fn compose_as_it_is(
    text: &str,
    literals: Vec<String>,
    budget: &mut Budget,
) -> Result<Value, String> {
    budget.spend_bytes(text.len())?;
    let text = for_parser(text);
    let mut parser = Parser::new();
    parser.set_input(BufReader::with_capacity(CHUNK, text.as_bytes()));
    let mut composer = Composer {
        literals,
        ..Composer::default()
    };
    loop {
        // The problem is a fixed text: nothing of the document is quoted, which may be a Secret.
        let Event {
            data, start_mark, ..
        } = parser.parse().map_err(|error| match error.problem_mark() {
            Some(mark) => format!("{} at {mark}", error.problem()),
            None => error.problem().to_owned(),
        })?;
        if matches!(data, EventData::DocumentEnd { .. } | EventData::StreamEnd) {
            return Ok(composer.root.unwrap_or_default());
        }
        composer
            .event(data, budget)
            .map_err(|error| format!("{error} at {start_mark}"))?;
        if composer.is_at_schema() {
            return Ok(composer.cut());
        }
    }
}

/// The text as the parser can take it. It panics at two things, so they never reach it:
/// - a block scalar that ends without a line break; Helm's reader ends every line with one as well
///   (apimachinery `util/yaml`, LineReader),
/// - a comma right behind a tag (`[!a, b]`), which is no YAML to Helm. A blank before it changes
///   nothing but texts that look like that.
fn for_parser(text: &str) -> Cow<'_, str> {
    let mut safe = match text.contains('!') {
        false => Cow::Borrowed(text),
        true => with_blanks_behind_tags(text).into(),
    };
    if !safe.ends_with('\n') {
        safe.to_mut().push('\n');
    }
    safe
}

fn with_blanks_behind_tags(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    let (mut before, mut in_tag, mut in_brackets) = ('\n', false, false);
    for c in text.chars() {
        match c {
            // A tag is a word of its own; PromQL has `a!="b",`.
            '!' if !before.is_alphanumeric() => (in_tag, in_brackets) = (true, false),
            // `!<tag:yaml.org,2002:str>` has a comma of its own.
            '<' if in_tag && before == '!' => in_brackets = true,
            '>' => in_brackets = false,
            ',' if in_tag && !in_brackets => {
                in_tag = false;
                safe.push(' ');
            }
            c if c.is_whitespace() => (in_tag, in_brackets) = (false, false),
            _ => {}
        }
        safe.push(c);
        before = c;
    }
    safe
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    /// By name; a name may be given again.
    anchors: BTreeMap<String, Value>,
    copied: usize,
    /// What was taken out of the text.
    literals: Vec<String>,
    root: Option<Value>,
}

/// A collection whose end has not been seen.
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
    fn event(&mut self, event: EventData, budget: &mut Budget) -> Result<(), String> {
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
                    return self.key(Key::Merge);
                }
                let resolved = plain || tag.is_some_and(|tag| is_resolved(&tag));
                let value = if resolved {
                    resolve(value)
                } else {
                    Value::String(value)
                };
                self.value(value, anchor)
            }
            EventData::Alias { anchor } => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or("an alias of nothing that is complete")?;
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

    fn start(&mut self, anchor: Option<String>, collection: Collection) -> Result<(), String> {
        if self.open.len() == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        // Inside, its name means nothing that came before: go-yaml has no alias of what it is in.
        if let Some(anchor) = &anchor {
            self.anchors.remove(anchor);
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
            Collection::Mapping { fields, .. } => Value::Object(fields),
        };
        // One that began later has the name now.
        let anchor = anchor.filter(|anchor| !self.anchors.contains_key(anchor));
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

    fn value(&mut self, value: Value, anchor: Option<String>) -> Result<(), String> {
        if let Some(anchor) = anchor {
            self.copying(&value)?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = Some(as_json(value)),
            Some(Collection::Sequence(items)) => items.push(as_json(value)),
            Some(Collection::Mapping { fields, key }) => match key.take() {
                None => *key = Some(Key::Field(field_name(value)?)),
                Some(Key::Merge) => merge(fields, value)?,
                Some(Key::Field(name)) => {
                    fields.insert(name, as_json(value));
                }
            },
        }
        Ok(())
    }

    fn copying(&mut self, value: &Value) -> Result<(), String> {
        self.copied += nodes(value);
        if self.copied > MAX_COPIED {
            return Err(format!(
                "anchors and aliases copy more than {MAX_COPIED} nodes"
            ));
        }
        Ok(())
    }
}

/// go-yaml merges where the `<<` stands: over the keys before it, and under those that follow. Of
/// several mappings the first one wins.
fn merge(fields: &mut Map<String, Value>, merged: Value) -> Result<(), String> {
    match merged {
        Value::Object(merged) => fields.extend(merged),
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for item in items.into_iter().rev() {
                merge(fields, item)?;
            }
        }
        _ => return Err("a merge of something else than mappings".to_owned()),
    }
    Ok(())
}

fn field_name(key: Value) -> Result<String, String> {
    match key {
        Value::String(name) => Ok(name),
        Value::Number(ref number) if number.is_f64() => {
            Ok(float_name(number.as_f64().unwrap_or_default()))
        }
        Value::Bool(_) | Value::Number(_) => Ok(key.to_string()),
        Value::Null => Err("a key that is null".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a key that is a collection".to_owned()),
    }
}

/// Whether a scalar of this tag is read by the table, quoted or not. Tags that are not YAML's own, and
/// `!!binary`, say nothing: no manifest has them.
fn is_resolved(tag: &str) -> bool {
    let core = ["bool", "int", "float", "null"];
    tag != STR_TAG
        && tag
            .strip_prefix("tag:yaml.org,2002:")
            .is_some_and(|kind| core.contains(&kind))
}

/// A scalar by the table of go-yaml v2 (resolve.go).
fn resolve(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            true.into()
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            false.into()
        }
        // As keys; Helm refuses them as values, for JSON has no such numbers.
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => ".inf".into(),
        "-.inf" | "-.Inf" | "-.INF" => "-.inf".into(),
        ".nan" | ".NaN" | ".NAN" => ".nan".into(),
        _ => number(&text).unwrap_or(Value::String(text)),
    }
}

fn number(text: &str) -> Option<Value> {
    if text.starts_with('.') {
        // Go's `strconv.ParseFloat` takes underscores between digits only.
        let digit = |c: char| c.is_ascii_digit();
        let mut pairs = text.split('_').zip(text.split('_').skip(1));
        let separates =
            pairs.all(|(left, right)| left.ends_with(digit) && right.starts_with(digit));
        return separates.then(|| float(&text.replace('_', "")))?;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// As Go's `strconv.ParseInt` with base 0.
fn integer(text: &str) -> Option<Value> {
    // go-yaml's own way with binary numbers takes a sign behind the prefix.
    if let Some(signed) = text
        .strip_prefix("0b")
        .filter(|text| text.starts_with(['+', '-']))
    {
        return i64::from_str_radix(signed, 2).ok().map(Value::from);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = match unsigned.get(..2) {
        Some("0x" | "0X") => (16, unsigned.get(2..)?),
        Some("0o" | "0O") => (8, unsigned.get(2..)?),
        Some("0b" | "0B") => (2, unsigned.get(2..)?),
        Some(two) if two.starts_with('0') => (8, unsigned),
        _ => (10, unsigned),
    };
    // Rust takes one more sign here.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    if text.starts_with('-') {
        return i64::try_from(-number).ok().map(Value::from);
    }
    u64::try_from(number).ok().map(Value::from)
}

fn float(text: &str) -> Option<Value> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let number: f64 = text.chars().all(plain).then(|| text.parse().ok())??;
    serde_json::Number::from_f64(number).map(Value::Number)
}

/// Helm's way leads through Go's JSON, which writes 1.0 as 1.
fn as_json(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) if number.fract() == 0.0 && number.abs() < EXACT => (number as i64).into(),
        _ => value,
    }
}

/// A float as a key: Go's `strconv.FormatFloat(number, 'g', -1, 32)`, by sigs.k8s.io/yaml.
fn float_name(number: f64) -> String {
    let number = number as f32;
    let text = format!("{number:e}");
    match text
        .split_once('e')
        .map(|(digits, e)| (digits, e.parse::<i32>()))
    {
        Some((digits, Ok(e))) if !(-4..6).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", e.abs())
        }
        Some(_) => number.to_string(),
        None if number > 0.0 => ".inf".to_owned(),
        None => "-.inf".to_owned(),
    }
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
