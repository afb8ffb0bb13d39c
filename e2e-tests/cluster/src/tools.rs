//! Where programs are: those that the cluster is made of, built from `tools/` when they are not there
//! yet, and those of the workspace.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Names the folder for what is built, instead of `.cache` at the root of the repository.
const CACHE_VARIABLE: &str = "ROLLOUT_GUARD_CACHE";

/// The folder with the built programs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Builds what is missing or out of date, which takes a quarter of an hour the first time and
    /// a few milliseconds after that.
    pub(crate) fn build() -> Result<Tools> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = match env::var_os(CACHE_VARIABLE) {
            Some(cache) => std::path::absolute(cache)?,
            None => {
                let repository = package.ancestors().nth(2);
                repository.context("not in a repository")?.join(".cache")
            }
        };
        fs::create_dir_all(&cache)?;
        // Clusters may be started at the same time, and two builds would get in each other's way.
        // The lock is released when the file is dropped.
        let lock = File::create(cache.join("build.lock"))?;
        lock.lock()?;
        let status = Command::new("make")
            .arg("--directory")
            .arg(package.join("tools"))
            .args(["--silent", "--no-print-directory"])
            .env(CACHE_VARIABLE, &cache)
            .stdin(Stdio::null())
            .status()
            .context("cannot run make")?;
        ensure!(status.success(), "make in tools/: {status}");
        Ok(Tools {
            bin: cache.join("bin"),
        })
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }
}

/// A program of the workspace, beside this test. `make e2e-tests` and `make load` build it.
///
/// # Errors
/// It is not there.
pub fn workspace_program(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let folder = test.ancestors().nth(2).context("no target folder")?;
    let program = folder.join(name);
    ensure!(
        program.exists(),
        "{} is not there: `make test-programs` builds it",
        program.display()
    );
    Ok(program)
}
