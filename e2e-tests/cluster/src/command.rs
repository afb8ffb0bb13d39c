//! Runs kubectl and Helm against the cluster, without the settings of the user who runs the tests.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::credentials::User;
use crate::tools::Tools;

/// The two versions of Helm, as pinned in `tools/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelmVersion {
    /// Helm 3, which applies on the client side.
    V3,
    /// Helm 4, which applies on the server side unless the release began under Helm 3.
    V4,
}

impl HelmVersion {
    /// Both, for tests with each version.
    pub const ALL: [HelmVersion; 2] = [HelmVersion::V3, HelmVersion::V4];

    fn program(self) -> &'static str {
        match self {
            HelmVersion::V3 => "helm3",
            HelmVersion::V4 => "helm4",
        }
    }
}

impl fmt::Display for HelmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

/// The output of a command, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command with its arguments, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// This output, if the command succeeded.
    ///
    /// # Errors
    /// The command failed. The error shows its output.
    pub fn success(self) -> Result<Output> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("{self}")
    }

    /// This output, if the command failed.
    ///
    /// # Errors
    /// The command succeeded.
    pub fn failure(self) -> Result<Output> {
        if !self.status.success() {
            return Ok(self);
        }
        bail!("expected a failure: {self}")
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n{}{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

impl Cluster {
    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn kubectl<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output> {
        run(self.kubectl_command(User::Admin).args(arguments), "")
    }

    /// `kubectl apply` of a manifest, as the administrator.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<Output> {
        self.kubectl_with(namespace, &["apply"], manifest)
    }

    /// kubectl with a manifest, as the administrator: `create`, `replace`, ...
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn kubectl_with(
        &self,
        namespace: &str,
        arguments: &[&str],
        manifest: &str,
    ) -> Result<Output> {
        let mut command = self.kubectl_command(User::Admin);
        command
            .args(arguments)
            .args(["--namespace", namespace, "--filename", "-"]);
        run(&mut command, manifest)
    }

    /// Runs Helm as the administrator, with releases in Secrets.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn helm<S: AsRef<OsStr>>(
        &self,
        version: HelmVersion,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output> {
        run(self.helm_command(version, User::Admin).args(arguments), "")
    }

    /// kubectl as any user. The caller adds arguments and passes it to [`Cluster::run`].
    pub fn kubectl_command(&self, user: User) -> Command {
        self.command("kubectl", user)
    }

    /// Helm as any user. The caller adds arguments, such as another `HELM_DRIVER`, and passes it to [`Cluster::run`].
    pub fn helm_command(&self, version: HelmVersion, user: User) -> Command {
        let mut command = self.command(version.program(), user);
        let home = self.folder().join("helm");
        command
            .env("HELM_DRIVER", "secret")
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"));
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn run(&self, command: &mut Command) -> Result<Output> {
        run(command, "")
    }

    fn command(&self, program: &str, user: User) -> Command {
        let mut command = Command::new(self.tool(program));
        // Without the environment of the caller, which may contain proxies, plugins or another cluster. Both programs
        // cache the discovery of the API in the home folder, which all commands share.
        command
            .env_clear()
            .env("HOME", self.folder())
            .env("KUBECONFIG", self.kubeconfig_of(user));
        command
    }
}

/// `helm template` of the chart in a folder, which needs no cluster.
///
/// # Errors
/// It could not be started. A failure of the command itself is in the output.
pub fn helm_template(version: HelmVersion, chart: &Path) -> Result<Output> {
    let mut command = Command::new(Tools::build()?.path(version.program()));
    // As with a cluster: without the environment of the caller.
    command.env_clear().env("HOME", chart);
    run(command.arg("template").arg(chart), "")
}

fn run(command: &mut Command, input: &str) -> Result<Output> {
    let program = Path::new(command.get_program()).file_name();
    let words: Vec<_> = program
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let text = words.join(" ");
    let context = || format!("cannot run {text}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(context)?;
    // Closed when it goes out of scope. Inputs are manifests, which fit into the buffer of a pipe.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(context)?;
    }
    let output = child.wait_with_output().with_context(context)?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: text,
    })
}
