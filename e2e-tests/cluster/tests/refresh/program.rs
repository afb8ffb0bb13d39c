//! rollout-guard-refresh as a process, with the rights that its example gives.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use cluster_tests::{Case, Cluster, Processes, User, wait_until, workspace_program};
use serde_json::Value;
use tempfile::TempDir;

use crate::example_policy::example;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The namespace of the Leases.
pub(crate) const HOME: &str = "kubewarden";

const PROCESS: &str = "refresh";

/// A replica. It is killed when this is dropped.
pub(crate) struct Refresh {
    pub(crate) id: u32,
    address: SocketAddr,
    // Dropped before the folder it writes to.
    processes: Processes,
    folder: TempDir,
}

/// The flags of the replicas of one case. Their Lease is their own.
pub(crate) fn flags(case: &Case<'_>) -> Vec<String> {
    vec![
        // The policies of other cases are gone.
        format!("--namespace={}", case.namespace),
        format!("--lease={}", case.namespace),
        format!("--lease-namespace={HOME}"),
        "--lease-duration=2s".to_owned(),
    ]
}

impl Refresh {
    /// A replica that has listed what there is.
    pub(crate) fn start(case: &Case<'_>, flags: &[String]) -> Result<Refresh> {
        grant_rights(case)?;
        Refresh::start_with(&case.cluster.kubeconfig_of(User::Refresh), flags)
    }

    pub(crate) fn start_with(kubeconfig: &Path, flags: &[String]) -> Result<Refresh> {
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(folder.path())?;
        // `env` becomes the program, with the same id.
        let start = [
            format!("KUBECONFIG={}", kubeconfig.display()),
            "RUST_BACKTRACE=0".to_owned(),
            workspace_program("rollout-guard-refresh")?
                .display()
                .to_string(),
            "--listen=127.0.0.1:0".to_owned(),
            "--log=info,rollout_guard_refresh=debug".to_owned(),
        ];
        let arguments = start.into_iter().chain(flags.iter().cloned());
        let id = processes.start(PROCESS, Path::new("env"), arguments)?;
        let log = folder.path().join(format!("{PROCESS}.log"));
        let address = wait_until("refresh listens", LIMIT, || {
            processes.check()?;
            let log = read_log(&log)?;
            let mut addresses = log.iter().filter_map(|line| line.get("address")?.as_str());
            Ok(addresses.next().and_then(|address| address.parse().ok()))
        })?;
        let refresh = Refresh {
            id,
            address,
            processes,
            folder,
        };
        wait_until("refresh is ready", LIMIT, || {
            Ok(refresh.get("/readyz").is_ok().then_some(()))
        })?;
        Ok(refresh)
    }

    /// With SIGTERM, and waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.id.to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(status.success(), "kill -TERM {id}: {status}");
        wait_until("refresh ends", LIMIT, || {
            Ok(self.processes.check().err().map(|_| ()))
        })
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.path().join(format!("{PROCESS}.log"))
    }

    /// Its log, a JSON object for each message.
    pub(crate) fn log(&self) -> Result<Vec<Value>> {
        read_log(&self.log_file())
    }

    /// For errors.
    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines
            .get(lines.len().saturating_sub(20)..)
            .unwrap_or_default();
        format!("the log of {}:\n{}\n", self.id, end.join("\n"))
    }

    /// The body of the answer.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let mut connection = TcpStream::connect(self.address)?;
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        ensure!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
        Ok(body.to_owned())
    }

    /// A number of /metrics, by its name with labels and without the prefix.
    pub(crate) fn metric(&self, name: &str) -> Result<u64> {
        let metrics = self.get("/metrics")?;
        let name = format!("rollout_guard_refresh_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let value = value.with_context(|| format!("no {name}in {metrics}"))?;
        Ok(value.parse()?)
    }

    pub(crate) fn patches(&self, result: &str) -> Result<u64> {
        self.metric(&format!("patches_total{{result=\"{result}\"}}"))
    }

    pub(crate) fn leads(&self) -> Result<bool> {
        Ok(self.metric("leader")? == 1)
    }

    pub(crate) fn wait_until_it_leads(&self) -> Result<()> {
        wait_until("refresh leads", LIMIT, || Ok(self.leads()?.then_some(())))
    }

    /// Whether it has nothing to do: neither now nor later.
    pub(crate) fn is_idle(&self) -> Result<bool> {
        let lanes = ["changed", "gentle"];
        let waiting = lanes.map(|lane| self.metric(&format!("queue{{lane=\"{lane}\"}}")));
        Ok(waiting.into_iter().sum::<Result<u64>>()? == 0)
    }

    pub(crate) fn wait_until_idle(&self) -> Result<()> {
        wait_until("nothing is due", LIMIT, || {
            Ok(self.is_idle()?.then_some(()))
        })
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u64 = number.context("no VmRSS")?.parse()?;
        Ok(kibibytes * 1024)
    }
}

fn read_log(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Gives the user the rights that the example gives to the service account, and no others.
fn grant_rights(case: &Case<'_>) -> Result<()> {
    static GRANTED: OnceLock<Result<(), String>> = OnceLock::new();
    let cluster = case.cluster;
    let granted = GRANTED.get_or_init(|| grant(cluster).map_err(|error| format!("{error:#}")));
    granted.clone().map_err(|error| anyhow!("{error}"))
}

fn grant(cluster: &Cluster) -> Result<()> {
    cluster.create_namespace(HOME)?;
    let manifest = fs::read_to_string(example("refresh-deployment.yaml"))?;
    // The Leases of the cases have other names.
    let manifest = manifest.replace("    resourceNames: [rollout-guard-refresh]\n", "");
    cluster.apply(HOME, &manifest)?.success()?;
    let user = format!("--user={}", User::Refresh.name());
    let user = user.as_str();
    let role = "--clusterrole=rollout-guard-refresh";
    cluster
        .kubectl(["create", "clusterrolebinding", "refresh", role, user])?
        .success()?;
    let (role, home) = (
        "--role=rollout-guard-refresh",
        format!("--namespace={HOME}"),
    );
    cluster
        .kubectl([
            "create",
            "rolebinding",
            "refresh",
            role,
            user,
            home.as_str(),
        ])?
        .success()?;
    let may = [
        "auth",
        "can-i",
        "list",
        "secrets",
        "--all-namespaces",
        "--as",
        User::Refresh.name(),
    ];
    // The API server learns about the role from a watch.
    wait_until("the role takes effect", LIMIT, || {
        Ok(cluster.kubectl(may)?.status.success().then_some(()))
    })
}
