//! What can be wrong with a manifest.

use crate::{manifest::source, yaml};

/// Why a manifest cannot be read. The document and its file are named, its content is not quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {document}{}: {cause}", in_file(file.as_deref()))]
pub struct Error {
    /// The number of the document in the manifest; the first one is 1, and blank ones do not count.
    pub document: usize,
    /// The file of the chart, from the comment that Helm writes above each document: `# Source: …`.
    pub file: Option<String>,
    /// What is wrong with the document.
    #[source]
    pub cause: Cause,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It cannot be read as YAML.
    #[error(transparent)]
    Yaml(yaml::Error),
    /// It is not an object, or it holds one that does not say what kind it is.
    #[error("an object without a kind")]
    NoKind,
    /// Its name, namespace, kind or group is longer than any that Kubernetes accepts (253 characters).
    #[error("a name of more than 253 characters")]
    NameTooLong,
}

impl Error {
    /// For the document with this index and text.
    pub(crate) fn new(index: usize, text: &str, cause: Cause) -> Self {
        Self {
            document: index + 1,
            file: source(text).map(str::to_owned),
            cause,
        }
    }
}

fn in_file(file: Option<&str>) -> String {
    file.map(|file| format!(" ({file})")).unwrap_or_default()
}
