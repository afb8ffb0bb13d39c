//! One YAML document as a JSON value, the way Helm reads it.
//!
//! ```text
//! text ─► literals.rs ─► libyaml ─► events ─► compose.rs, scalars.rs ─► value
//!              └────────── block texts ───────────┘
//! ```
//!
//! In: the text of one document. Out: its value. Refuses: text that is not YAML, nesting deeper than 200
//! levels, anchors and aliases that copy more than 100,000 nodes, and in the documents of one release more
//! than 250,000 nodes or 16 MiB.
//!
//! Helm reads with go-yaml v2 (sigs.k8s.io/yaml), which is a port of libyaml and accepts much that YAML
//! 1.2 refuses: lines of a quoted text or of `{…}` that start further left than their key, tabs
//! between tokens. Charts make use of that. So the parser here is a port of libyaml too, and its events
//! become a value by the rules of go-yaml's decoder: `yes`, `no`, `on` and `off` are booleans, `0644`
//! is a number, the last of two equal keys wins, `<<` merges.
//!
//! The `spec` of a CustomResourceDefinition, and what follows it, is left out. It is the largest part of
//! many releases, no plan needs it, and the parser works through a text only as far as it is asked.

mod compose;
mod error;
mod literals;
mod scalars;

use std::{borrow::Cow, io::BufReader};

use libyaml_safer::{Event, EventData, Parser};
use serde_json::Value;

pub use self::error::{Error, Place, Problem};
use self::{
    compose::Composer,
    literals::{Lifted, lift},
};

/// Real manifests stay below 60 levels. Recursion over a value must fit the stack of a wasm module.
const MAX_DEPTH: usize = 200;
/// What anchors and aliases may copy in one document: an alias of an alias of an alias … grows without
/// bound.
const MAX_COPIED: usize = 100_000;

/// How much of a text the parser gets at once. It takes all that there is, four bytes for each character,
/// and of many documents only the head is needed.
const CHUNK: usize = 512;

/// How much more YAML is read of the documents of one release, so that no release takes longer than an
/// admission policy may.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Scalars, mappings, sequences and what aliases copy.
    nodes: usize,
    /// Text, without the literals that were taken out.
    bytes: usize,
}

impl Budget {
    /// Real charts have a node for each 50 to 70 bytes (kube-prometheus-stack and its CRDs), so that
    /// 3 MB of manifest, which is about what fits a Secret, have 60,000.
    const NODES: usize = 250_000;
    /// A record of this size fits a Secret only if it repeats itself more than text does.
    const BYTES: usize = 16 * 1024 * 1024;

    fn spend_bytes(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Problem::TooManyBytes)?;
        Ok(())
    }

    fn spend_nodes(&mut self, nodes: usize) -> Result<(), Problem> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(Problem::TooManyNodes)?;
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

/// Parses the first document in the text. A text without one is `null`.
///
/// Of a CustomResourceDefinition whose `apiVersion`, `kind` and `metadata` come first, as they do in
/// charts, `spec` and what follows it are missing from the value.
///
/// # Errors
/// The text is not YAML, is nested too deep, or is larger than all manifests of one release may be.
pub fn parse(text: &str) -> Result<Value, Error> {
    parse_within(text, &mut Budget::default())
}

/// Parses one of the documents of a release.
pub(crate) fn parse_within(text: &str, budget: &mut Budget) -> Result<Value, Error> {
    let Lifted {
        text: rest,
        literals,
    } = lift(text);
    if literals.is_empty() {
        return parse_whole_within(text, budget);
    }
    // An error has to have its place in the original text.
    compose(&rest, literals, budget).or_else(|_| parse_whole_within(text, budget))
}

/// The same as [`parse`] without taking literals out first: the slow way, which has to have the same
/// result. For tests and fuzzing.
///
/// # Errors
/// As [`parse`].
#[cfg(any(test, feature = "testing"))]
pub fn parse_whole(text: &str) -> Result<Value, Error> {
    parse_whole_within(text, &mut Budget::default())
}

fn parse_whole_within(text: &str, budget: &mut Budget) -> Result<Value, Error> {
    match compose(text, Vec::new(), budget) {
        // libyaml has the escape `\'`, its port does not. Outside of a double-quoted text it is none, and
        // is replaced as well: in the same way in every revision.
        Err(Error {
            problem: Problem::UnknownEscape,
            ..
        }) if text.contains(r"\'") => compose(&text.replace(r"\'", r"\u0027"), Vec::new(), budget),
        composed => composed,
    }
}

fn compose(text: &str, literals: Vec<String>, budget: &mut Budget) -> Result<Value, Error> {
    budget.spend_bytes(text.len())?;
    let text = for_parser(text);
    let mut parser = Parser::new();
    parser.set_input(BufReader::with_capacity(CHUNK, text.as_bytes()));
    let mut composer = Composer::new(literals);
    loop {
        let Event {
            data, start_mark, ..
        } = parser.parse()?;
        if matches!(data, EventData::DocumentEnd { .. } | EventData::StreamEnd) {
            return Ok(composer.finish());
        }
        composer
            .event(data, budget)
            .map_err(|problem| problem.at(start_mark))?;
        if composer.is_at_schema() {
            return Ok(composer.cut());
        }
    }
}

/// The text in a form that the parser can read. It panics at two things, so they never reach it:
/// - a block scalar that ends without a line break. Helm's reader also ends every line with one
///   (apimachinery `util/yaml`, LineReader).
/// - a comma directly after a tag (`[!a, b]`), which Helm refuses. A blank before the comma changes only
///   texts that look like that.
fn for_parser(text: &str) -> Cow<'_, str> {
    let mut safe = match text.contains('!') {
        false => Cow::Borrowed(text),
        true => with_blanks_after_tags(text).into(),
    };
    if !safe.ends_with('\n') {
        safe.to_mut().push('\n');
    }
    safe
}

fn with_blanks_after_tags(text: &str) -> String {
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

#[cfg(test)]
mod tests;
