//! The texts of a multi-document manifest.
//!
//! In: a manifest. Out: its documents, unparsed. Refuses: nothing.

use memchr::memmem;

/// The documents of a manifest: the texts between lines that start with `---`, without blank ones.
pub fn documents(manifest: &str) -> impl Iterator<Item = &str> {
    let line_break_and_separator = memmem::Finder::new("\n---");
    let mut rest = Some(manifest);
    std::iter::from_fn(move || {
        let text = rest?;
        let separator = match text.starts_with("---") {
            true => Some(0),
            false => line_break_and_separator
                .find(text.as_bytes())
                .map(|at| at + 1),
        };
        match separator.and_then(|at| text.split_at_checked(at)) {
            Some((document, more)) => {
                rest = Some(after_separator(more));
                Some(document)
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
    .filter(|text| !text.trim().is_empty())
}

/// The text after a separator, whose line may also have blanks and a comment (apimachinery `util/yaml`,
/// YAMLReader).
fn after_separator(text: &str) -> &str {
    let text = text.trim_start_matches('-');
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match line.trim_start().chars().next() {
        None | Some('#') => rest,
        _ => text,
    }
}

/// The file of the chart that Helm names in the first comment of each document.
pub(crate) fn source(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("# Source: "))
        .map(str::trim)
}
