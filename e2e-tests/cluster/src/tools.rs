//! Finds programs: those of the cluster, which are built from `tools/` if necessary, and those of the workspace.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The folder for built programs. By default, it is `.cache` at the root of the repository.
const CACHE_VARIABLE: &str = "ROLLOUT_GUARD_CACHE";

/// The folder with the built programs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Builds programs that are missing or out of date. This takes a quarter of an hour the first time and a few
    /// milliseconds after that.
    pub(crate) fn build() -> Result<Tools> {
        Tools::build_target("all")
    }

    fn build_target(target: &str) -> Result<Tools> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = match env::var_os(CACHE_VARIABLE) {
            Some(cache) => std::path::absolute(cache)?,
            None => {
                let repository = package.ancestors().nth(2);
                repository.context("not in a repository")?.join(".cache")
            }
        };
        fs::create_dir_all(&cache)?;
        // Several clusters may start at the same time, and their builds would conflict. Dropping the file releases the
        // lock.
        let lock = File::create(cache.join("build.lock"))?;
        lock.lock()?;
        let status = Command::new("make")
            .arg("--directory")
            .arg(package.join("tools"))
            .args(["--silent", "--no-print-directory", target])
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

/// A program of a GitOps tool: `kustomize-controller`, `gitops-agent`, `kapp`, `argo-rollouts`. The first time, all are built, which takes a quarter of an hour.
///
/// # Errors
/// They cannot be built.
pub fn gitops_program(name: &str) -> Result<PathBuf> {
    Ok(Tools::build_target("gitops")?.path(name))
}

/// A program of the workspace, in the same target folder as this test. `make e2e-tests` and `make load` build it.
///
/// # Errors
/// It does not exist.
pub fn workspace_program(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let folder = test.ancestors().nth(2).context("no target folder")?;
    let program = folder.join(name);
    ensure!(
        program.exists(),
        "{} does not exist; `make test-programs` builds it",
        program.display()
    );
    Ok(program)
}
