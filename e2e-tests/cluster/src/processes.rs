//! Child processes that end with their owner, even if the owner is killed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Reads process ids until its input closes, which happens at the end of the test process in any case. Then it kills these
/// processes and removes the folder.
const CLEANER: &str = r#"
pids=
while read -r pid; do pids="$pids $pid"; done
kill -9 $pids
rm -rf "$1"
"#;

/// How much of a log an error message shows.
const LOG_TAIL_BYTES: usize = 4096;

/// The processes of one owner, such as a cluster. Dropping it kills exactly these and waits for their end.
#[derive(Debug)]
pub struct Processes {
    folder: PathBuf,
    children: Vec<(String, Child)>,
    cleaner: Child,
}

impl Processes {
    /// `folder` is for the logs. It is removed if this process is killed.
    ///
    /// # Errors
    /// `sh` cannot be run.
    pub fn new(folder: &Path) -> Result<Processes> {
        let cleaner = Command::new("sh")
            .args(["-c", CLEANER, "sh"])
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run sh")?;
        Ok(Processes {
            folder: folder.to_owned(),
            children: Vec::new(),
            cleaner,
        })
    }

    /// Starts `program` with its output in the log `NAME.log`.
    ///
    /// Returns its id. It has its own process group, so that Ctrl-C ends the test process first and the others
    /// afterwards.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(
        &mut self,
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<u32> {
        let log = File::create(self.folder.join(log_name(name)))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let id = child.id();
        self.children.push((name.to_owned(), child));
        let stdin = self.cleaner.stdin.as_mut();
        writeln!(stdin.context("the cleaner has no input")?, "{id}")?;
        Ok(id)
    }

    /// Checks that all processes run.
    ///
    /// # Errors
    /// One of them has ended. The error shows the end of its log.
    pub fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let log = fs::read(self.folder.join(log_name(name)))?;
                let tail = log.split_at(log.len().saturating_sub(LOG_TAIL_BYTES)).1;
                bail!("{name} ended: {status}\n{}", String::from_utf8_lossy(tail));
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The cleaner first, so that it never kills a process that has reused an id. An error means that the process has
        // ended already.
        let _ = self.cleaner.kill();
        let _ = self.cleaner.wait();
        for (_, child) in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn log_name(name: &str) -> String {
    format!("{name}.log")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// As if the test process were killed: the input of the cleaner closes, and nothing is dropped.
    #[test]
    fn children_end_with_a_killed_owner() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(folder.path())?;
        processes.start("child", Path::new("sleep"), ["1000".to_owned()])?;

        drop(processes.cleaner.stdin.take());

        for (_, child) in &mut processes.children {
            assert_eq!(child.wait()?.signal(), Some(9));
        }
        processes.cleaner.wait()?;
        assert!(!folder.path().exists());
        Ok(())
    }

    #[test]
    fn an_early_end_shows_the_log() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(folder.path())?;
        let script = "echo no such flag; exit 3";
        let arguments = ["-c", script].map(str::to_owned);
        processes.start("child", Path::new("sh"), arguments)?;
        let limit = std::time::Duration::from_secs(10);

        let error = crate::wait_until("the child ends", limit, || Ok(processes.check().err()))?;

        assert_eq!(
            error.to_string(),
            "child ended: exit status: 3\nno such flag\n"
        );
        Ok(())
    }
}
