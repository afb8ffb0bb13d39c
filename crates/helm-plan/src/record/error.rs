//! What can be wrong with a record.

use std::{fmt, io};

use base64::DecodeError;

/// Why a record cannot be read. Nothing of the record is quoted, because it holds the Secrets of the
/// release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no `data.release`, or it is not a string.
    #[error("data.release is missing or not a string")]
    Missing,
    /// One of the base64 layers is broken.
    #[error("data.release: {layer} base64 layer {}", base64_problem(source))]
    Base64 {
        /// Which one.
        layer: Layer,
        /// What is wrong with it. The wrong symbol itself is always given as 0.
        source: DecodeError,
    },
    /// The gzip layer is broken.
    #[error("data.release: gzip: {0}")]
    Gzip(#[source] io::Error),
    /// The decoded JSON is larger than the caller allows.
    #[error("data.release: the decoded record is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// The content is not JSON, or not that of a record.
    #[error(
        "data.release: JSON: {}{problem} at line {line} column {column}",
        at(path)
    )]
    Json {
        /// The path of the field, such as `hooks[0].weight`. Empty if it is the record as a whole, if the
        /// text is not JSON, or if the record is too large to look for the field.
        path: String,
        /// What is wrong: `expected a string`.
        problem: String,
        /// The line in the decoded text; the first one is 1.
        line: usize,
        /// The column in bytes; the first one is 1.
        column: usize,
    },
}

/// Who has encoded a base64 layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Kubernetes, as in the data of every Secret.
    Kubernetes,
    /// Helm.
    Helm,
}

/// As the owner of a thing: `Helm's`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "Kubernetes'",
            Self::Helm => "Helm's",
        })
    }
}

impl Error {
    pub(super) fn base64(layer: Layer, error: DecodeError) -> Self {
        let source = match error {
            // The text of the error would quote the symbol.
            DecodeError::InvalidByte(at, _) => DecodeError::InvalidByte(at, 0),
            DecodeError::InvalidLastSymbol(at, _) => DecodeError::InvalidLastSymbol(at, 0),
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => error,
        };
        Self::Base64 { layer, source }
    }
}

fn base64_problem(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => {
            format!("has an invalid character at byte {at}")
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => "is truncated".to_owned(),
    }
}

fn at(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("at {path}: "),
    }
}
