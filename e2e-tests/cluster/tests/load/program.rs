//! `testbed serve` with the policy, as a process that can be killed and restarted.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster_tests::{Cluster, Processes, User, wait_until, workspace_program};
use serde::Deserialize;
use tempfile::TempDir;

use crate::example_policy::{ExamplePolicy, grant_rights};

/// It compiles the policy, which takes a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Stops when it is dropped.
pub(crate) struct Program {
    pub(crate) port: u16,
    arguments: Vec<String>,
    // Dropped before the folder it writes to.
    running: Option<Running>,
    folder: TempDir,
}

struct Running {
    processes: Processes,
    id: u32,
}

/// Its output when it is ready.
#[derive(Deserialize)]
struct Ready {
    ca: PathBuf,
}

impl Program {
    /// Starts it with the rights and settings of an example.
    pub(crate) fn start(cluster: &Cluster, example: &ExamplePolicy) -> Result<Program> {
        grant_rights(cluster)?;
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy.wasm");
        let policy = policy
            .canonicalize()
            .context("policy.wasm: `make policy.wasm` builds it")?;
        let kubeconfig = cluster.kubeconfig_of(User::Restricted);
        let port = port_for_restarts()?;
        let mut arguments: Vec<_> = ALLOCATOR.map(str::to_owned).into();
        arguments.extend([
            workspace_program("testbed")?.display().to_string(),
            "serve".to_owned(),
            format!("--policy={}", policy.display()),
            format!("--settings={}", example.settings),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--listen=127.0.0.1:{port}"),
            "--cert-dir=certificates".to_owned(),
            format!("--log={DECISIONS}"),
        ]);
        let grants = example.grants();
        arguments.extend(grants.iter().map(|kind| format!("--grant={kind}")));
        let mut program = Program {
            port,
            arguments,
            running: None,
            folder: tempfile::tempdir()?,
        };
        program.restart()?;
        Ok(program)
    }

    /// Starts it again after [`Program::kill`], with the same port and certificate.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let mut processes = Processes::new(self.folder.path())?;
        // `env` becomes the program, with the same id.
        let id = processes.start(PROCESS, Path::new("env"), self.arguments.clone())?;
        let log = self.file(&format!("{PROCESS}.log"));
        let ready = wait_until("testbed serve answers", START_LIMIT, || {
            processes.check()?;
            Ok(fs::read_to_string(&log)?.ends_with('\n').then_some(()))
        });
        ready?;
        self.running = Some(Running { processes, id });
        Ok(())
    }

    /// Kills it with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Stops it until it is killed.
    pub(crate) fn freeze(&self) -> Result<()> {
        let id = self.id()?.to_string();
        let status = Command::new("kill").args(["-STOP", &id]).status()?;
        ensure!(status.success(), "kill -STOP {id}: {status}");
        Ok(())
    }

    /// Whether it has been sent data that it has not read.
    pub(crate) fn has_unread_data(&self) -> Result<bool> {
        let address = format!("0100007F:{:04X}", self.port);
        let connections = fs::read_to_string("/proc/net/tcp")?;
        Ok(connections.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next();
            let queues = fields.nth(2).and_then(|queues| queues.split_once(':'));
            let unread = queues.is_some_and(|(_, unread)| unread != "00000000");
            local == Some(&address) && unread
        }))
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        let running = self.running.as_mut().context("it was killed")?;
        running.processes.check()
    }

    /// The certificate that its clients must trust.
    pub(crate) fn ca_file(&self) -> Result<PathBuf> {
        let printed = fs::read_to_string(self.file(&format!("{PROCESS}.log")))?;
        let ready: Ready = serde_json::from_str(&printed).with_context(|| printed.clone())?;
        Ok(ready.ca)
    }

    /// How many requests it has judged since it was started.
    pub(crate) fn judged(&self) -> Result<usize> {
        let decisions = fs::read(self.file(DECISIONS))?;
        Ok(decisions.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let id = self.id()?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u64 = number.context("no VmRSS")?.parse()?;
        Ok(kibibytes * 1024)
    }

    fn id(&self) -> Result<u32> {
        let running = self.running.as_ref();
        Ok(running.context("it was killed")?.id)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Free memory is returned to the system, and threads share the rest. Otherwise glibc keeps up to tens of MiB for each
/// thread that once needed them, which would hide a leak.
const ALLOCATOR: [&str; 3] = [
    "MALLOC_ARENA_MAX=1",
    "MALLOC_MMAP_THRESHOLD_=131072",
    "MALLOC_TRIM_THRESHOLD_=131072",
];

const PROCESS: &str = "testbed";
const DECISIONS: &str = "decisions";

/// A free port that stays free while nobody listens on it. It is below the range that systems use for outgoing
/// connections, which could block the port before the restart.
fn port_for_restarts() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const NUMBER: u16 = 10_000;
    // Other runs of the tests start elsewhere.
    let begin = std::process::id() % u32::from(NUMBER);
    let begin = u16::try_from(begin)?;
    for _ in 0..NUMBER {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % NUMBER;
        let port = FIRST + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
