//! Generated files, written or compared.

use std::{fs, io, path::Path};

use anyhow::{Context, Result, bail};

/// A generated file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path in the repository.
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// Writes the files that differ.
pub(crate) fn write(root: &Path, generated: &[File]) -> Result<()> {
    for file in outdated(root, generated)? {
        fs::write(root.join(file.name), &file.text)
            .with_context(|| format!("cannot write {}", file.name))?;
        println!("wrote {}", file.name);
    }
    Ok(())
}

/// Fails if files differ.
pub(crate) fn check(root: &Path, generated: &[File]) -> Result<()> {
    let outdated = outdated(root, generated)?;
    if outdated.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = outdated.iter().map(|file| file.name).collect();
    bail!(
        "not as generated from the code: {}\nTo write them again, run: cargo xtask generate",
        names.join(", ")
    );
}

fn outdated<'a>(root: &Path, generated: &'a [File]) -> Result<Vec<&'a File>> {
    let mut outdated = Vec::new();
    for file in generated {
        match fs::read_to_string(root.join(file.name)) {
            Ok(text) if text == file.text => {}
            Ok(_) => outdated.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => outdated.push(file),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.name)),
        }
    }
    Ok(outdated)
}
