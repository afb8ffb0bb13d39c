//! The charts that a pull request changes.
//!
//! In: a commit of the git repository that the program is started in. Out: each chart as it was and as it is. Refuses: a git that fails.
//!
//! # Incomplete support
//!
//! A chart whose folder was moved counts as new. Submodules are not looked into.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, ensure};
use helm_plan::yaml;
use serde_json::Value;
use tempfile::TempDir;

use crate::{chart::Chart, helm, terminal};

/// The charts that differ, in the order of their paths.
pub(crate) struct Changed {
    pub(crate) charts: Vec<(Chart, Chart)>,
    /// Those that cannot be compared.
    pub(crate) failed: Vec<(PathBuf, anyhow::Error)>,
    /// Where the old ones are. They are removed with it.
    _base: TempDir,
    /// Where the new ones are, if they depend on others.
    _copy: Option<TempDir>,
}

/// The charts of the repository that differ from the last commit that this work tree has in common with `base`. A chart that is new there
/// loses nothing, and is left out.
pub(crate) fn charts(base: &str) -> Result<Changed> {
    let top = text(git(Path::new("."), &["rev-parse", "--show-toplevel"])?)?;
    let top = Path::new(top.trim_end_matches('\n'));
    let base = text(git(top, &["merge-base", "--", base, "HEAD"]).context(
        "there is no commit in common; a shallow clone has too few of them (fetch-depth: 0, GIT_DEPTH: 0)",
    )?)?;
    let base = base.trim();
    // A file that was moved has left its old place.
    let changed = [
        "diff",
        "--name-only",
        "--no-renames",
        "--no-ext-diff",
        "-z",
        base,
        "--",
    ];
    let new = ["ls-files", "--others", "--exclude-standard", "-z"];
    let files = text(git(top, &changed)?)? + &text(git(top, &new)?)?;
    let folders: BTreeSet<_> = files
        .split('\0')
        .filter_map(|file| chart_of(top, file))
        .collect();

    let tree = tempfile::tempdir()?;
    if !folders.is_empty() {
        check_out(top, base, tree.path())?;
    }
    let (mut charts, mut failed, mut copy) = (Vec::new(), Vec::new(), None);
    for folder in folders {
        let note = |why: &str| {
            let note = format!("Note: {} {why}", folder.display());
            eprintln!("{}", terminal::line(&note));
        };
        let old = tree.path().join(&folder);
        if !old.join("Chart.yaml").is_file() {
            note("is new, so there is nothing to lose.");
            continue;
        }
        let mut new = top.join(&folder);
        if about(&new).get("type") == Some(&Value::from("library")) {
            note(
                "is a library, which Helm does not install; the charts that use it are not known here.",
            );
            continue;
        }
        if let Err(error) = build_dependencies(&old) {
            failed.push((folder, error));
            continue;
        }
        let name = format!("{} of {}", folder.display(), base.get(..12).unwrap_or(base));
        if lacks_dependencies(&new) {
            let copy = match &copy {
                Some(copy) => copy,
                None => copy.insert(copy_files(top)?),
            };
            new = copy.path().join(&folder);
            if let Err(error) = build_dependencies(&new) {
                failed.push((folder, error));
                continue;
            }
        }
        let shown = folder.strip_prefix(".").unwrap_or(&folder);
        charts.push((Chart::temporary(old, name), Chart::local(&new, shown)));
    }
    Ok(Changed {
        charts,
        failed,
        _base: tree,
        _copy: copy,
    })
}

/// `Chart.yaml`. Of one that cannot be read, Helm tells why when it renders the chart.
fn about(chart: &Path) -> Value {
    let text = std::fs::read_to_string(chart.join("Chart.yaml")).unwrap_or_default();
    yaml::parse(&text).unwrap_or_default()
}

/// What a chart depends on is rarely in the repository.
fn lacks_dependencies(chart: &Path) -> bool {
    about(chart).get("dependencies").is_some() && !chart.join("charts").is_dir()
}

fn build_dependencies(chart: &Path) -> Result<()> {
    if lacks_dependencies(chart) {
        helm::run(&["dependency", "build", &chart.display().to_string()], &[])?;
    }
    Ok(())
}

/// A copy of the work tree, with what is not committed and without what git ignores: charts depend on others by paths, and nothing is
/// written into the work tree itself.
fn copy_files(top: &Path) -> Result<TempDir> {
    let all = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ];
    let copy = tempfile::tempdir()?;
    for file in text(git(top, &all)?)?.split_terminator('\0') {
        let (from, to) = (top.join(file), copy.path().join(file));
        // It may have been deleted, or be a submodule.
        if from.is_symlink() || from.is_file() {
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder)?;
            }
            copy_file(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(copy)
}

/// A link may be to a folder of templates.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if from.is_symlink() {
        return std::os::unix::fs::symlink(std::fs::read_link(from)?, to);
    }
    std::fs::copy(from, to).map(drop)
}

/// Writes the files of a commit into a folder. An index of its own: that of the user stays as it is, and no file is left out
/// (`git archive` leaves out what has the attribute export-ignore).
fn check_out(top: &Path, commit: &str, folder: &Path) -> Result<()> {
    let index = tempfile::tempdir()?;
    let index = index.path().join("index");
    let prefix = format!("--prefix={}/", folder.display());
    for arguments in [
        &["read-tree", commit][..],
        &["checkout-index", "--all", &prefix],
    ] {
        let mut command = command(top, arguments);
        command.env("GIT_INDEX_FILE", &index);
        output(command)?;
    }
    Ok(())
}

/// The chart that a file belongs to, as a path below the top of the repository. A chart within another one is a part of that.
fn chart_of(top: &Path, file: &str) -> Option<PathBuf> {
    let folders = Path::new(file).ancestors().skip(1);
    let charts = folders.filter(|folder| top.join(folder).join("Chart.yaml").is_file());
    let outermost = charts.last()?;
    // The repository may be the chart itself.
    Some(match outermost.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => outermost.to_owned(),
    })
}

fn text(output: Vec<u8>) -> Result<String> {
    String::from_utf8(output).context("a path in the repository is not UTF-8")
}

fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    output(command(folder, arguments))
}

fn command(folder: &Path, arguments: &[&str]) -> process::Command {
    let mut command = process::Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    command
}

fn output(mut command: process::Command) -> Result<Vec<u8>> {
    let output = command.output().context("cannot run git")?;
    let arguments: Vec<_> = command
        .get_args()
        .skip(2)
        .map(|argument| argument.to_string_lossy())
        .collect();
    ensure!(
        output.status.success(),
        "git {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
