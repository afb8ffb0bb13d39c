//! A chart in a folder, whatever it was.
//!
//! In: a folder, an archive, or a reference that `helm pull` knows. Out: a [`Chart`]. Refuses: what is none of them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use tar::Archive;
use tempfile::TempDir;

use crate::helm;

/// More than any chart has, unpacked. Helm refuses archives of more than 100 MiB (`pkg/chart/loader/archive`, MaxDecompressedChartSize).
const MAX_BYTES: u64 = 100 * 1024 * 1024;

/// A chart.
pub(crate) struct Chart {
    /// For people.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// How people find the folder. `None`: it is removed with this.
    pub(super) shown: Option<PathBuf>,
    _unpacked: Option<TempDir>,
}

impl Chart {
    pub(crate) fn find(reference: &str, version: Option<&str>) -> Result<Self> {
        let path = Path::new(reference);
        let is_local = path.is_dir() || path.is_file();
        ensure!(
            !is_local || version.is_none(),
            "{reference} is a file or folder, which has one version only"
        );
        if path.is_dir() {
            return Ok(Self::local(path, path));
        }
        let unpacked = tempfile::tempdir()?;
        if path.is_file() {
            unpack(path, unpacked.path())
                .with_context(|| format!("{reference} is not the archive of a chart"))?;
        } else {
            let folder = format!("--untardir={}", unpacked.path().display());
            let version = version.map(|version| format!("--version={version}"));
            let mut pull = vec!["pull", reference, "--untar", &folder];
            pull.extend(version.as_deref());
            helm::run(&pull, &[])?;
        }
        let folder = chart_in(unpacked.path());
        let folder = folder.with_context(|| format!("there is no chart in {reference}"))?;
        Ok(Self {
            name: reference.to_owned(),
            folder,
            shown: None,
            _unpacked: Some(unpacked),
        })
    }

    /// In a folder of the user, who knows it by this path.
    pub(crate) fn local(folder: &Path, shown: &Path) -> Self {
        Self {
            name: shown.display().to_string(),
            folder: folder.to_owned(),
            shown: Some(shown.to_owned()),
            _unpacked: None,
        }
    }

    /// In a folder that somebody else removes.
    pub(crate) fn temporary(folder: PathBuf, name: String) -> Self {
        Self {
            name,
            folder,
            shown: None,
            _unpacked: None,
        }
    }
}

/// Unpacks the files of an archive, and nothing that is a link: Helm would follow it.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let mut archive = Archive::new(GzDecoder::new(File::open(archive)?));
    let mut bytes = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        bytes += entry.size();
        ensure!(bytes <= MAX_BYTES, "it has more than {MAX_BYTES} bytes");
        // Not outside of the folder: see `Entry::unpack_in`.
        entry.unpack_in(folder)?;
    }
    Ok(())
}

/// The one folder in an archive that has a `Chart.yaml`.
fn chart_in(folder: &Path) -> Result<PathBuf> {
    let mut found = None;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.join("Chart.yaml").is_file() && found.replace(path).is_some() {
            bail!("two folders in it have a Chart.yaml");
        }
    }
    found.context("no folder in it has a Chart.yaml")
}
