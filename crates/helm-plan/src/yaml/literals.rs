//! Literal block scalars (`key: |`), taken out of a document before it is parsed.
//!
//! In: the text of one document. Out: [`Lifted`]: the same text with `!literal "0"` in the place of the
//! first literal, and the literals. Refuses: nothing. What is not certain stays in the text.
//!
//! Dashboards, scripts and config files are the largest part of many releases, and a YAML parser reads them
//! character by character. That is not necessary: a literal ends where its indentation ends. The value of a
//! document is the same with and without this module; only the places in errors differ.
//!
//! Literals are certain only at the top of a document, as long as each line is `key:`, `key: value` with a
//! complete value, a literal, a comment, `{}`, `[]` or blank. After the first other line nothing is taken
//! out: in a quoted text, a list or a flow collection, `key: |` may mean something else.

use std::{borrow::Cow, fmt::Write};

use memchr::{memchr, memchr_iter};

/// The tag of the scalar that replaces a literal. Its value is the number of the literal.
pub(super) const TAG: &str = "!literal";

/// A document, and the literals that were taken out of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lifted<'a> {
    /// The document as it was, if there are no literals.
    pub(super) text: Cow<'a, str>,
    /// The values, in the order of their numbers.
    pub(super) literals: Vec<String>,
}

/// Takes the literals that are certain out of a document.
pub(super) fn lift(text: &str) -> Lifted<'_> {
    let (mut lifted, mut literals) = (String::new(), Vec::new());
    // `rest` still has to be read, and `kept` still has to be copied. `kept` ends with `rest`.
    let (mut kept, mut rest) = (text, text);
    while let Some(line) = Line::read(rest) {
        if !line.opens_literal() {
            rest = line.after;
            continue;
        }
        let Some(literal) = Literal::read(&line) else {
            break;
        };
        let head = kept.len() - rest.len() + line.text.len() - line.value.len();
        lifted.push_str(kept.get(..head).unwrap_or_default());
        // Writing to a String cannot fail.
        _ = writeln!(lifted, "{TAG} \"{}\"", literals.len());
        literals.push(literal.value);
        (kept, rest) = (literal.after, literal.after);
    }
    if literals.is_empty() || kept.contains(TAG) {
        return Lifted {
            text: text.into(),
            literals: Vec::new(),
        };
    }
    lifted.push_str(kept);
    Lifted {
        text: lifted.into(),
        literals,
    }
}

/// A line that does not belong to anything that began before it, and does not continue in the next line.
struct Line<'a> {
    text: &'a str,
    /// The number of spaces at its start.
    indentation: usize,
    /// The text after `key: `; empty if there is none.
    value: &'a str,
    /// The document after this line.
    after: &'a str,
}

impl<'a> Line<'a> {
    /// Reads the first line, if it is such a line.
    fn read(text: &'a str) -> Option<Self> {
        let (line, after) = split_line(text)?;
        let text = line.strip_suffix('\n').unwrap_or(line);
        let content = text.trim_start_matches(' ');
        let value = match content.split_once(':') {
            // Charts write `annotations:` and `{}` in two lines.
            _ if matches!(content, "" | "{}" | "[]") => "",
            // A comment ends early if it contains a line break other than `\n`.
            _ if content.starts_with('#') && is_kept_as_it_is(content) => "",
            Some((key, "")) if is_key(key) => "",
            Some((key, value)) if is_key(key) => value.strip_prefix(' ')?,
            _ => return None,
        };
        let line = Self {
            text,
            indentation: text.len() - content.len(),
            value,
            after,
        };
        (value.is_empty() || line.opens_literal() || is_complete(value)).then_some(line)
    }

    fn opens_literal(&self) -> bool {
        matches!(self.value, "|" | "|-")
    }
}

struct Literal<'a> {
    value: String,
    /// The document after it.
    after: &'a str,
}

impl<'a> Literal<'a> {
    /// Reads the lines that are indented further than `opener`. `None` if it is empty, or if the parser may
    /// refuse it.
    fn read(opener: &Line<'a>) -> Option<Self> {
        let first = opener.after.lines().find(|line| !line.is_empty())?;
        let text = first.trim_start_matches(' ');
        let (margin, _) = first.split_at_checked(first.len() - text.len())?;
        if margin.len() <= opener.indentation || text.is_empty() || text.starts_with('\t') {
            return None;
        }
        let (mut value, mut start) = (String::new(), 0);
        let breaks = memchr_iter(b'\n', opener.after.as_bytes());
        for end in breaks.map(|at| at + 1).chain([opener.after.len()]) {
            let line = opener.after.get(start..end)?;
            if let Some(text) = line.strip_prefix(margin) {
                value.push_str(text);
            } else {
                match line.trim_start_matches(' ') {
                    // A blank line may be shorter.
                    "\n" => value.push('\n'),
                    "" => {}
                    text if line.len() - text.len() > opener.indentation => return None,
                    // It starts with a tab, or with a line break other than `\n`.
                    text if !text.starts_with(|c: char| c.is_ascii_graphic()) => return None,
                    _ => break,
                }
            }
            start = end;
        }
        if !is_kept_as_it_is(&value) {
            return None;
        }
        value.truncate(value.trim_end_matches('\n').len());
        if opener.value == "|" {
            value.push('\n');
        }
        let after = opener.after.get(start..)?;
        Some(Self { value, after })
    }
}

/// The first line with its line break, and the rest of the text. `None` if the text is empty.
fn split_line(text: &str) -> Option<(&str, &str)> {
    let end = memchr(b'\n', text.as_bytes()).map_or(text.len(), |at| at + 1);
    text.split_at_checked(end)
        .filter(|(line, _)| !line.is_empty())
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
}

/// Whether a value is a plain or quoted scalar, or an empty collection, that ends with its line. (A plain
/// scalar may continue in the next line, but not if that line has a key.)
fn is_complete(value: &str) -> bool {
    let quoted = |quote: char, special: &[char]| {
        let text = value.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(!text.contains(special))
    };
    // These would start a mapping or a comment.
    let special = [": ", " #"];
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/'))
        && value.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        && !special.iter().any(|special| value.contains(special))
        && !value.trim_end().ends_with(':');
    is_plain
        || matches!(value, "{}" | "[]")
        || quoted('"', &['"', '\\']) == Some(true)
        || quoted('\'', &['\'']) == Some(true)
}

/// Whether the parser keeps each character of a text: none is a line break other than `\n`, or a character
/// that it refuses (libyaml `reader.c`).
fn is_kept_as_it_is(text: &str) -> bool {
    let is_simple = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    // In chunks without an early exit, so that the compiler can use SIMD.
    let all_simple = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_simple(byte));
    text.as_bytes().chunks(256).all(all_simple)
        || text.chars().all(|c| match c {
            '\n' | '\t' => true,
            '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => false,
            c => !c.is_control(),
        })
}

#[cfg(test)]
mod tests;
