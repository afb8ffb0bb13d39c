//! Texts from outside, made safe for a terminal.
//!
//! In: a text with names from a record, or what another program printed. Out: the same text with its control
//! characters spelled out (`\u{1b}`). Refuses: nothing.
//!
//! A release record can hold any name. In a terminal, an escape sequence in it could hide a finding, and a
//! character that turns the direction of text could make one name look like another.

/// On one line: line breaks are spelled out too, so that no name can look like a line of the report.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// With its line breaks and tabs.
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// What another program printed, with its line breaks. No line of it is a command to a workflow of GitHub, which reads those of
/// stderr too (`::error …::`).
pub(crate) fn foreign(text: &str) -> String {
    let lines = text
        .lines()
        .map(|text| match text.trim_start().starts_with("::") {
            true => format!("| {text}"),
            false => text.to_owned(),
        });
    self::lines(&lines.collect::<Vec<_>>().join("\n"))
}

/// JSON that has been written: what is left of control characters is inside strings.
pub(crate) fn json(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => printable.push(c),
            // All of them are below U+10000, so one escape is enough.
            _ if is_control(c) => printable.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => printable.push(c),
        }
    }
    printable
}

fn escaped(text: &str, is_kept: fn(char) -> bool) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match is_control(c) && !is_kept(c) {
            true => printable.extend(c.escape_default()),
            false => printable.push(c),
        }
    }
    printable
}

/// Control characters, and the marks that change the direction of text.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ODD: &str = "a\u{1b}[2Kb\u{9b}c\u{202e}d\u{7f}\re\u{2028}f";

    #[test]
    fn no_foreign_line_is_a_command_to_a_workflow() {
        let text = "failed:\n::error file=a::b\n  ::stop-commands::c\n\u{1b}";
        let expected = "failed:\n| ::error file=a::b\n|   ::stop-commands::c\n\\u{1b}";
        assert_eq!(foreign(text), expected);
    }

    #[test]
    fn control_characters_are_spelled_out() {
        let expected = "a\\u{1b}[2Kb\\u{9b}c\\u{202e}d\\u{7f}\\re\\u{2028}f";
        assert_eq!(line(ODD), expected);
        assert_eq!(lines(ODD), expected);
    }

    #[test]
    fn only_a_text_of_several_lines_keeps_line_breaks() {
        assert_eq!(line("a\n\tb"), "a\\n\\tb");
        assert_eq!(lines("a\n\tb"), "a\n\tb");
    }

    #[test]
    fn other_letters_stay() {
        let text = "größe 大小 \u{1f600} \\ \"";
        assert_eq!(line(text), text);
        assert_eq!(lines(text), text);
        assert_eq!(json(text), text);
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = json!({ODD: [ODD, 1]});
        let printed = json(&format!("{value:#}"));
        assert!(
            !printed.chars().any(|c| c != '\n' && is_control(c)),
            "{printed}"
        );
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
    }
}
