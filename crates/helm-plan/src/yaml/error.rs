//! What can be wrong with a document.

use std::fmt;

use libyaml_safer::Mark;

use crate::yaml::{Budget, MAX_COPIED, MAX_DEPTH};

/// Why a document cannot be read. Nothing of the document is quoted, which may be a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", place.map(|place| format!(" at {place}")).unwrap_or_default())]
pub struct Error {
    /// What is wrong.
    pub problem: Problem,
    /// Where it was seen. `None` if it is no single place: the text is too long, or has a character that
    /// YAML does not allow.
    pub place: Option<Place>,
}

/// A place in the text of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line; the first one is 1.
    pub line: u64,
    /// The column in characters; the first one is 1.
    pub column: u64,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not YAML, in the words of the parser, which are fixed texts.
    #[error("{0}")]
    Syntax(&'static str),
    /// An escape in a double-quoted text that YAML does not have.
    #[error("found unknown escape character")]
    UnknownEscape,
    /// More levels of mappings and lists than any manifest has.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Aliases of aliases grow without bound.
    #[error("anchors and aliases copy more than {MAX_COPIED} nodes")]
    CopiesTooMuch,
    /// The documents of the release have more scalars, mappings and lists than are read.
    #[error("more than {} YAML nodes in one release", Budget::NODES)]
    TooManyNodes,
    /// The documents of the release are longer than what is read.
    #[error("more than {} bytes of YAML in one release", Budget::BYTES)]
    TooManyBytes,
    /// An alias before the end of the value that it names, or of no value at all.
    #[error("an alias of an anchor that is undefined or still open")]
    UnknownAlias,
    /// A key of a mapping is `null`.
    #[error("a mapping key is null")]
    NullKey,
    /// A key of a mapping is a mapping or a list.
    #[error("a mapping key is a mapping or a list")]
    CollectionKey,
    /// `<<` with a value that has no fields to merge.
    #[error("the merge key `<<` needs a mapping or a list of mappings")]
    BadMerge,
}

impl Problem {
    pub(super) fn at(self, mark: Mark) -> Error {
        Error {
            problem: self,
            place: Some(mark.into()),
        }
    }
}

/// A problem of the document as a whole.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            place: None,
        }
    }
}

impl From<libyaml_safer::Error> for Error {
    fn from(error: libyaml_safer::Error) -> Self {
        let problem = match is_unknown_escape(&error) {
            true => Problem::UnknownEscape,
            false => Problem::Syntax(error.problem()),
        };
        Self {
            problem,
            place: error.problem_mark().map(Place::from),
        }
    }
}

/// The text is the only thing that tells this error of the parser from its others: all of its scanner are
/// of one kind. It is a constant of libyaml (`scanner.c`), and a test holds it.
fn is_unknown_escape(error: &libyaml_safer::Error) -> bool {
    error.problem() == "found unknown escape character"
}

/// The parser counts from 0.
impl From<Mark> for Place {
    fn from(mark: Mark) -> Self {
        Self {
            line: mark.line + 1,
            column: mark.column + 1,
        }
    }
}

/// `line 1 column 7`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}
