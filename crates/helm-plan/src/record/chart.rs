//! The chart in a record, skipped while the record is decompressed.
//!
//! In: the JSON of a release, as a stream. Out: the same JSON, in which the chart is `null`. Refuses:
//! what the stream refuses. It does not check whether the text is JSON.
//!
//! The chart is more than half of most records: all templates and files, in base64. Nothing of it is
//! used here, so it need not be in memory.

use std::io::{self, Read};

use memchr::{memchr2, memmem};

/// Only a key can look like this: within a string, the quotes would have a backslash. Go writes no
/// blanks.
const KEY: &[u8] = b"\"chart\":";

/// How much is decompressed at once. The chart begins in the first piece: before it, Helm writes only the
/// name, the status and the notes.
const PIECE: usize = 256 * 1024;
/// The least size of a piece, for a record that announces to be small.
const MIN_PIECE: usize = 4 * 1024;

/// Reads to the end. `size` is the length of the whole JSON as the stream announces it.
pub(super) fn read_without_chart(record: &mut dyn Read, size: usize) -> io::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(size);
    let mut buffer = vec![0; size.clamp(MIN_PIECE, PIECE)];
    let mut piece = read_piece(record, &mut buffer)?;
    if let Some((before, chart)) = split_after_key(piece) {
        json.extend_from_slice(before);
        json.extend_from_slice(b"null");
        piece = chart;
        let mut skipped = Skipped::default();
        loop {
            if let Some(after) = skipped.after(piece) {
                piece = after;
                break;
            }
            piece = read_piece(record, &mut buffer)?;
            if piece.is_empty() {
                break;
            }
        }
    }
    json.extend_from_slice(piece);
    record.read_to_end(&mut json)?;
    // Memory that was never written to has cost nothing. Give it back for the next allocation.
    json.shrink_to_fit();
    Ok(json)
}

fn read_piece<'a>(record: &mut dyn Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let size = record.read(buffer)?;
    Ok(buffer.get(..size).unwrap_or_default())
}

fn split_after_key(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let key = memmem::find(piece, KEY)?;
    piece.split_at_checked(key + KEY.len())
}

/// The state within a JSON value of which the first part has been skipped.
#[derive(Default)]
struct Skipped {
    /// The number of open objects and arrays.
    depth: usize,
    in_string: bool,
    after_backslash: bool,
}

impl Skipped {
    /// What follows the value in this piece of the JSON, beginning with a comma or a closing bracket.
    /// `None` if the value continues in the next piece.
    fn after<'a>(&mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if self.after_backslash {
                self.after_backslash = false;
            } else if self.in_string {
                at += memchr2(b'"', b'\\', piece.get(at..)?)?;
                self.after_backslash = piece.get(at) == Some(&b'\\');
                self.in_string = self.after_backslash;
            } else {
                match byte {
                    b',' | b'}' | b']' if self.depth == 0 => return piece.get(at..),
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth -= 1,
                    b'"' => self.in_string = true,
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Value, json};

    use super::*;

    fn without_chart(json: &str) -> String {
        let kept = read_without_chart(&mut json.as_bytes(), json.len()).unwrap();
        String::from_utf8(kept).unwrap()
    }

    #[test]
    fn the_chart_becomes_null_and_nothing_else_changes() {
        let long = "x".repeat(3 * PIECE);
        let many = format!("[{}]", vec!["\"\\\\\""; PIECE].join(","));
        let padding = "x".repeat(PIECE - r#"{"a":"","chart":"#.len());
        let key_ends_a_piece = format!(r#"{{"a":"{padding}","chart":"#);
        for (name, chart) in [
            ("an object", r#"{"a":[{}],"b":"c"}"#),
            ("null", "null"),
            ("a number", "1.5e3"),
            ("a text with brackets", r#"["]}",{"}":"[{"}]"#),
            ("a text with quotes", r#"{"a":"\"}","b":"\\"}"#),
            ("larger than a piece", &format!("{{\"a\":{long:?}}}")),
            ("backslashes at the end of a piece", &many),
        ] {
            for (before, after) in [
                (r#"{"name":"a","chart":"#, r#","manifest":"b: {}\n"}"#),
                (r#"{"name":"a","chart":"#, "}"),
                (
                    r#"{"info":{"notes":"\"chart\":1,"},"chart":"#,
                    r#","c":"d"}"#,
                ),
                (r#"{"chart":"#, ""),
                (&key_ends_a_piece, "}"),
            ] {
                assert_eq!(
                    without_chart(&format!("{before}{chart}{after}")),
                    format!("{before}null{after}"),
                    "{name}"
                );
            }
        }
        for (name, json) in [
            (
                "no chart",
                r#"{"name":"a","info":{"notes":"\"chart\":1,"}}"#,
            ),
            ("not JSON", "chart"),
            ("nothing", ""),
            (
                "later than Helm writes it",
                &format!(r#"{{"a":{long:?},"chart":{{}}}}"#),
            ),
        ] {
            assert_eq!(without_chart(json), json, "{name}");
        }
    }

    #[test]
    fn a_record_that_ends_within_the_chart_stays_truncated() {
        for json in [r#"{"chart":"#, r#"{"chart":{"a":[1"#, r#"{"chart":"\"#] {
            assert_eq!(without_chart(json), r#"{"chart":null"#);
        }
    }

    #[test]
    fn memory_holds_only_what_is_kept() {
        let manifest = "a".repeat(5 * PIECE);
        let record = json!({"chart": "b".repeat(9 * PIECE), "manifest": manifest}).to_string();
        let kept = read_without_chart(&mut record.as_bytes(), record.len() + 1).unwrap();
        assert!(kept.len() > 5 * PIECE);
        assert!(kept.capacity() < 7 * PIECE, "{}", kept.capacity());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            r#"[a"\\{}\[\],:\n]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec((r#"[a"\\{}]{0,3}"#, inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_end_is_found_in_any_pieces(value in any_json(), sizes in vec(1_usize..9, 1..20), end in "[,}\\]]") {
            let value = value.to_string();
            let text = format!("{value}{end}\"{{").into_bytes();
            let (mut skipped, mut at) = (Skipped::default(), 0);
            let mut sizes = sizes.iter().cycle();
            let found = loop {
                let piece = &text[at..text.len().min(at + sizes.next().unwrap())];
                at += piece.len();
                if let Some(after) = skipped.after(piece) {
                    break at - after.len();
                }
                prop_assert!(at < text.len());
            };
            prop_assert_eq!(found, value.len());
        }
    }
}
