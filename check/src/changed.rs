//! The charts that a pull request changes.
//!
//! In: a commit of the git repository that the program is started in. Out: each chart as it was and as it is. Refuses: a git that fails.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, ensure};
use tar::Archive;

use crate::chart::Chart;

/// The charts that differ from the last commit that this work tree has in common with `base`, in the order of their paths. A chart that is
/// new there loses nothing, and is left out.
pub(crate) fn charts(base: &str) -> Result<Vec<(Chart, Chart)>> {
    let base = git(&["merge-base", "--", base, "HEAD"])?;
    let base = String::from_utf8(base)?;
    let base = base.trim();
    let files = git(&["diff", "--name-only", "--relative", "-z", base, "--", "."])?;
    let files = String::from_utf8(files).context("a file whose name is not UTF-8 has changed")?;
    let folders: BTreeSet<_> = files.split('\0').filter_map(chart_of).collect();
    let mut charts = Vec::new();
    for folder in folders {
        let path = folder.to_str().context("not UTF-8")?;
        let object = format!("{base}:./{path}/Chart.yaml");
        // git has no other way to ask quietly.
        if git(&["cat-file", "-e", &object]).is_err() {
            eprintln!("Note: {path} is new, so there is nothing to lose.");
            continue;
        }
        let unpacked = tempfile::tempdir()?;
        let archive = git(&["archive", "--format=tar", base, "--", path])?;
        // No file of the archive gets out of the folder: see `Archive::unpack`.
        Archive::new(archive.as_slice()).unpack(unpacked.path())?;
        let name = format!("{path} of {}", base.get(..12).unwrap_or(base));
        let old = Chart::unpacked(unpacked.path().join(&folder), unpacked).named(&name);
        charts.push((old, Chart::local(&folder)));
    }
    Ok(charts)
}

/// The chart that a file belongs to. A chart within another one is a part of that.
fn chart_of(file: &str) -> Option<PathBuf> {
    let folders = Path::new(file).ancestors().skip(1);
    let charts = folders.filter(|folder| folder.join("Chart.yaml").is_file());
    let outermost = charts.last()?;
    // In the folder that is the chart itself.
    Some(match outermost.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => outermost.to_owned(),
    })
}

fn git(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = process::Command::new("git").args(arguments).output();
    let output = output.context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
