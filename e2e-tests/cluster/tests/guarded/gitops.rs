//! The deletion guard and the programs of GitOps tools. Only `make gitops` runs them, for they take a quarter of an hour to build.
//!
//! | tool | program |
//! | --- | --- |
//! | Flux | kustomize-controller 1.9.6 (1.10 needs Go 1.27), with a source whose status names an archive on a server of the test |
//! | kapp | 0.64.0 |
//! | Argo Rollouts | its controller 1.10.1 (1.10.2 needs Go 1.26.10) |
//! | Argo CD | the agent of its gitops-engine, at the last commit of that repository; Argo CD 3 has it in its own since then |

mod argo_cd;
mod argo_rollouts;
mod flux;
mod kapp;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, Processes, Suite, User, gitops_program};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deletions::{config, pods, workload};
use crate::right_operations::define_kind;

/// A reconciliation comes each few seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn add_to(suite: &mut Suite) {
    if std::env::var_os("GITOPS").is_some() {
        flux::add_to(suite);
        argo_cd::add_to(suite);
        argo_rollouts::add_to(suite);
        kapp::add_to(suite);
    }
}

/// A kind of custom resources, with any content.
struct Kind {
    /// `GROUP/VERSION/KIND`
    name: &'static str,
    plural: &'static str,
    /// In YAML.
    subresources: &'static str,
}

const STATUS: &str = "status: {}";

const fn kind(name: &'static str, plural: &'static str, subresources: &'static str) -> Kind {
    Kind {
        name,
        plural,
        subresources,
    }
}

fn install_kinds(case: &Case<'_>, kinds: &[Kind]) -> Result<()> {
    for kind in kinds {
        define_kind(case, kind.name, kind.plural, kind.subresources)?;
    }
    Ok(())
}

/// A program that runs until this is dropped.
struct Program {
    // Dropped before the folder it writes to.
    _processes: Processes,
    folder: TempDir,
    name: &'static str,
}

impl Program {
    /// Starts it as this user, who may do everything. `variables`: `NAME=value`.
    fn start(
        case: &Case<'_>,
        name: &'static str,
        user: &str,
        variables: &[&str],
        arguments: &[&str],
    ) -> Result<Program> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = kubeconfig_as(case, user, folder.path())?;
        let program = gitops_program(name)?;
        let mut processes = Processes::new(folder.path())?;
        let environment = [
            format!("KUBECONFIG={}", kubeconfig.display()),
            format!("TMPDIR={}", folder.path().display()),
        ];
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let command = [
            environment.to_vec(),
            owned(variables),
            vec![program.display().to_string()],
            owned(arguments),
        ];
        processes.start(name, Path::new("env"), command.concat())?;
        Ok(Program {
            _processes: processes,
            folder,
            name,
        })
    }

    /// For errors.
    fn end_of_log(&self) -> String {
        let log = self.folder.path().join(format!("{}.log", self.name));
        let log = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(15)..);
        format!(
            "the log of {}:\n{}",
            self.name,
            end.unwrap_or_default().join("\n")
        )
    }
}

/// A kubeconfig of the administrator, who acts as another user.
fn kubeconfig_as(case: &Case<'_>, user: &str, folder: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(case.cluster.kubeconfig_of(User::Admin))?;
    let mut kubeconfig: Value = serde_json::from_str(&text)?;
    let admin = kubeconfig.pointer_mut("/users/0/user");
    let admin = admin.and_then(Value::as_object_mut).context("no user")?;
    admin.insert("as".to_owned(), user.into());
    admin.insert("as-groups".to_owned(), json!(["system:masters"]));
    let file = folder.join("kubeconfig");
    fs::write(&file, kubeconfig.to_string())?;
    Ok(file)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The files of an application whose Deployment reads this ConfigMap, and others that nobody reads.
fn application(name: &str, annotations: &str, unused: &[&str]) -> Vec<(String, String)> {
    let annotated = config(name).replace(
        "labels: {app: web}",
        &format!("annotations: {{{annotations}}}"),
    );
    let mut files = vec![
        (format!("{name}.yaml"), annotated),
        (
            "web.yaml".to_owned(),
            workload("Deployment", "web", &pods(name)),
        ),
    ];
    files.extend(
        unused
            .iter()
            .map(|unused| (format!("{unused}.yaml"), config(unused))),
    );
    files
}

/// Puts the files into a folder, in place of all others.
fn write_files(folder: &Path, files: &[(String, String)]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn run(command: &mut std::process::Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
