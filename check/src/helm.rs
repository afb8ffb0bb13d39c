//! A release in the cluster, as `helm` shows it.
//!
//! In: the name of the release, and the chart or the revision that comes next. Out: the current revision and
//! the next one. Refuses: a release that Helm could not upgrade, and a rollback of one that it does not know.

use std::{convert::Infallible, env, process};

use anyhow::{Context, Result, bail};
use helm_plan::{
    Operation, Record, Release, Status,
    history::{self, Current},
    record::Info,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::connection::Connection;

/// `helm` for one release.
pub(crate) struct Helm {
    release: String,
    /// The namespace, the cluster and the user, as flags.
    connection: Vec<String>,
}

/// A change of a release.
pub(crate) struct Change {
    pub(crate) operation: Operation,
    /// `None` for an install.
    pub(crate) current: Option<Release>,
    pub(crate) target: Release,
}

/// One line of `helm history`.
#[derive(Deserialize)]
struct Revision {
    revision: u64,
    status: Status,
}

/// A command of Helm that does not answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot run {program}")]
    NotStarted {
        program: String,
        source: std::io::Error,
    },
    #[error("helm {command} failed: {}", errors.trim())]
    Failed { command: String, errors: String },
    #[error("cannot read the output of helm {command}")]
    Unreadable {
        command: String,
        source: serde_json::Error,
    },
}

impl Error {
    /// Helm has one exit code for all errors, so only the text tells (helm `pkg/storage/driver`,
    /// ErrReleaseNotFound).
    fn is_release_not_found(&self) -> bool {
        matches!(self, Self::Failed { errors, .. } if errors.contains("release: not found"))
    }
}

impl Helm {
    pub(crate) fn new(release: String, namespace: Option<&str>, connection: &Connection) -> Self {
        let namespace = namespace.map(|namespace| format!("--namespace={namespace}"));
        Self {
            release,
            connection: namespace
                .into_iter()
                .chain(connection.helm_flags())
                .collect(),
        }
    }

    /// The current revision, and the one that an upgrade would make. Without a current revision,
    /// `helm upgrade --install` installs.
    pub(crate) fn upgrade(&self, chart: &str, flags: &[String]) -> Result<Change> {
        let history = match self.history() {
            Err(error) if error.is_release_not_found() => Vec::new(),
            history => history?,
        };
        // As Helm has it (helm `pkg/cmd/upgrade.go`): no revision, or the last one is uninstalled.
        let operation = match history.last() {
            None => Operation::Install,
            Some(last) if last.status == Status::Uninstalled => Operation::Install,
            Some(_) => Operation::Upgrade,
        };
        let mut upgrade = vec!["upgrade", &self.release, chart, "--dry-run=server"];
        if operation == Operation::Install {
            upgrade.push("--install");
        }
        let mut target: Record = self.json(&upgrade, flags)?;
        if let (Operation::Install, Some(last)) = (operation, history.last()) {
            // The dry run says 1, also where the install continues a history.
            target.version = last.revision.saturating_add(1);
        }
        let current = self.current(operation, target.version, &history)?;
        Ok(Change {
            operation,
            current: current.map(Release::parse).transpose()?,
            target: Release::parse(target)?,
        })
    }

    /// The current revision, and the one that a rollback would make.
    pub(crate) fn rollback(&self, revision: u64) -> Result<Change> {
        let history = self.history()?;
        let last = history.last().context("helm history is empty")?;
        let next = last.revision.saturating_add(1);
        let operation = Operation::Rollback;
        let current = self.current(operation, next, &history)?;
        let target = Record {
            version: next,
            info: Info::of(Status::PendingRollback),
            apply_method: current.as_ref().and_then(|current| current.apply_method),
            ..self.revision(revision)?
        };
        Ok(Change {
            operation,
            current: current.map(Release::parse).transpose()?,
            target: Release::parse(target)?,
        })
    }

    /// The revision that is current when an operation makes revision `next`.
    fn current(
        &self,
        operation: Operation,
        next: u64,
        history: &[Revision],
    ) -> Result<Option<Record>> {
        let status = |number| {
            let mut revisions = history.iter();
            let revision = revisions.find(|revision| revision.revision == number);
            Ok::<_, Infallible>(revision.map(|revision| revision.status))
        };
        let Ok(current) = history::current(operation, next, status);
        match current {
            Current::None => Ok(None),
            Current::Revision(revision) => Ok(Some(self.revision(revision)?)),
            Current::Unknown(reason) => bail!("release {}: {reason}", self.release),
        }
    }

    fn history(&self) -> Result<Vec<Revision>, Error> {
        self.json(&["history", &self.release], &[])
    }

    fn revision(&self, revision: u64) -> Result<Record, Error> {
        let revision = revision.to_string();
        self.json(&["status", &self.release, "--revision", &revision], &[])
    }

    /// `flags`: of the user, as for [`run`].
    fn json<T: DeserializeOwned>(&self, arguments: &[&str], flags: &[String]) -> Result<T, Error> {
        // The flags of an upgrade have some of them already; of two, the last one counts.
        let flags = flags.iter().map(String::as_str);
        let connection = self.connection.iter().map(String::as_str);
        let more: Vec<_> = flags
            .chain(["--output", "json"])
            .chain(connection)
            .collect();
        let output = output(arguments, &more)?;
        serde_json::from_slice(&output).map_err(|source| Error::Unreadable {
            command: arguments.join(" "),
            source,
        })
    }
}

/// What a command of Helm prints that needs no cluster. `flags` are in no error: `--set` may have a secret.
pub(crate) fn run(arguments: &[&str], flags: &[String]) -> Result<Vec<u8>> {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    Ok(output(arguments, &flags)?)
}

/// Helm tells a plugin its own path.
fn output(arguments: &[&str], more: &[&str]) -> Result<Vec<u8>, Error> {
    let program = env::var("HELM_BIN").unwrap_or_else(|_| "helm".to_owned());
    let mut command = process::Command::new(&program);
    command.args(arguments).args(more);
    let output = command.output();
    let output = output.map_err(|source| Error::NotStarted { program, source })?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = arguments.join(" ");
        return Err(Error::Failed { command, errors });
    }
    Ok(output.stdout)
}
