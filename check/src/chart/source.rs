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
pub(crate) struct Chart {
    /// For people.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Whether the folder is the user's own, so that its files can be named.
    pub(super) is_local: bool,
    /// It is removed with this.
    _unpacked: Option<TempDir>,
}

impl Chart {
    pub(crate) fn find(reference: &str, version: Option<&str>) -> Result<Self> {
        let path = Path::new(reference);
        if path.is_dir() {
            return Ok(Self::local(path));
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
        let folder = chart_in(unpacked.path());
        let folder = folder.with_context(|| format!("there is no chart in {reference}"))?;
        Ok(Self::unpacked(folder, unpacked))
    }

    /// In a folder of the user.
    pub(crate) fn local(folder: &Path) -> Self {
        Self {
            name: folder.display().to_string(),
            folder: folder.to_owned(),
            is_local: true,
            _unpacked: None,
        }
    }

    /// In a folder that is removed with it.
    pub(crate) fn unpacked(folder: PathBuf, unpacked: TempDir) -> Self {
        Self {
            name: folder.display().to_string(),
            folder,
            is_local: false,
            _unpacked: Some(unpacked),
        }
    }

    /// With a name that says more to people than its folder.
    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
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
