//! A chart in a folder, whatever it was.
//!
//! In: a folder, an archive, or a reference that `helm pull` knows. Out: a [`Chart`]. Refuses: what is none of them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use tar::Archive;
use tempfile::TempDir;

use crate::helm;

/// A chart.
pub(super) struct Chart {
    pub(super) folder: PathBuf,
    /// Whether the folder is the user's own, so that its files can be named.
    pub(super) is_local: bool,
    /// It is removed with this.
    _unpacked: Option<TempDir>,
}

impl Chart {
    pub(super) fn find(reference: &str, version: Option<&str>) -> Result<Self> {
        let path = Path::new(reference);
        if path.is_dir() {
            return Ok(Self {
                folder: path.to_owned(),
                is_local: true,
                _unpacked: None,
            });
        }
        let unpacked = tempfile::tempdir()?;
        if path.is_file() {
            let file = File::open(path).with_context(|| format!("cannot read {reference}"))?;
            // No file of the archive gets out of the folder: see `Archive::unpack`.
            Archive::new(GzDecoder::new(file))
                .unpack(unpacked.path())
                .with_context(|| format!("{reference} is not the archive of a chart"))?;
        } else {
            let folder = format!("--untardir={}", unpacked.path().display());
            let version = version.map(|version| format!("--version={version}"));
            let mut pull = vec!["pull", reference, "--untar", &folder];
            pull.extend(version.as_deref());
            helm::run(&pull)?;
        }
        Ok(Self {
            folder: chart_in(unpacked.path())
                .with_context(|| format!("there is no chart in {reference}"))?,
            is_local: false,
            _unpacked: Some(unpacked),
        })
    }
}

/// The one folder in an archive that has a `Chart.yaml`.
fn chart_in(folder: &Path) -> Result<PathBuf> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.join("Chart.yaml").is_file() {
            return Ok(path);
        }
    }
    bail!("no folder in it has a Chart.yaml")
}
