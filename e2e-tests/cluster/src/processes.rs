//! Child processes that end with their owner, whatever way it ends.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Reads process ids until its input closes, which it does however the test process ends; then
/// ends those processes and removes the folder.
const ORPHANAGE: &str = r#"
pids=
while read -r pid; do pids="$pids $pid"; done
kill -9 $pids
rm -rf "$1"
"#;

/// How much of a log an error message shows.
const LOG_TAIL_BYTES: usize = 4096;

/// The processes of one owner, a cluster for instance. Dropping it kills and reaps exactly these.
#[derive(Debug)]
pub struct Processes {
    folder: PathBuf,
    children: Vec<(String, Child)>,
    orphanage: Child,
}

impl Processes {
    /// `folder` is where the logs go; it is removed if this process dies without dropping.
    ///
    /// # Errors
    /// There is no shell.
    pub fn new(folder: &Path) -> Result<Processes> {
        let orphanage = Command::new("sh")
            .args(["-c", ORPHANAGE, "sh"])
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
            orphanage,
        })
    }

    /// Starts `program` with its output in the log `NAME.log`.
    ///
    /// Gives its id. It gets a process group of its own: an interrupt from the keyboard ends the test process
    /// first, and the rest follows.
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
        let stdin = self.orphanage.stdin.as_mut();
        writeln!(stdin.context("the orphanage has no input")?, "{id}")?;
        Ok(id)
    }

    /// Fails when one of the processes has ended, with the end of its log.
    ///
    /// # Errors
    /// That is the one.
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
        // First the orphanage, so that it never kills an id that somebody else has by now. Errors
        // mean that the process has ended already, which is what is wanted.
        let _ = self.orphanage.kill();
        let _ = self.orphanage.wait();
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

    /// What a killed test process leaves to the orphanage: its input closes, and nothing is
    /// dropped.
    #[test]
    fn children_end_with_a_killed_owner() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(folder.path())?;
        processes.start("child", Path::new("sleep"), ["1000".to_owned()])?;

        drop(processes.orphanage.stdin.take());

        for (_, child) in &mut processes.children {
            assert_eq!(child.wait()?.signal(), Some(9));
        }
        processes.orphanage.wait()?;
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
