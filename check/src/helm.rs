//! A release in the cluster, as `helm` shows it.
//!
//! In: the name of the release, and the chart or the revision that comes next. Out: the current revision and
//! the next one. Refuses: a release that Helm does not know, or that it could not upgrade.

use std::{convert::Infallible, env, process};

use anyhow::{Context, Result, bail, ensure};
use helm_plan::{
    Operation, Record, Release, Status,
    history::{self, Current},
    record::Info,
};
use serde::{Deserialize, de::DeserializeOwned};

/// `helm` for one release. Helm tells a plugin its own path.
pub(crate) struct Helm {
    program: String,
    release: String,
    namespace: Option<String>,
}

/// One line of `helm history`.
#[derive(Deserialize)]
struct Revision {
    revision: u64,
    status: Status,
}

impl Helm {
    pub(crate) fn new(release: String, namespace: Option<String>) -> Self {
        Self {
            program: env::var("HELM_BIN").unwrap_or_else(|_| "helm".to_owned()),
            release,
            namespace,
        }
    }

    /// The current revision, and the one that an upgrade would make.
    pub(crate) fn upgrade(&self, chart: &str, flags: &[String]) -> Result<(Release, Release)> {
        let upgrade = ["upgrade", &self.release, chart, "--dry-run=server"];
        let flags = flags.iter().map(String::as_str);
        let target: Record = self.json(&upgrade.into_iter().chain(flags).collect::<Vec<_>>())?;
        let current = self.current(Operation::Upgrade, target.version, &self.history()?)?;
        Ok((Release::parse(current)?, Release::parse(target)?))
    }

    /// The current revision, and the one that a rollback would make.
    pub(crate) fn rollback(&self, revision: u64) -> Result<(Release, Release)> {
        let history = self.history()?;
        let last = history.last().context("helm history is empty")?;
        let next = last.revision.saturating_add(1);
        let current = self.current(Operation::Rollback, next, &history)?;
        let target = Record {
            version: next,
            info: Info::of(Status::PendingRollback),
            apply_method: current.apply_method,
            ..self.revision(revision)?
        };
        Ok((Release::parse(current)?, Release::parse(target)?))
    }

    /// The revision that is current when an operation makes revision `next`.
    fn current(&self, operation: Operation, next: u64, history: &[Revision]) -> Result<Record> {
        let status = |number| {
            let mut revisions = history.iter();
            let revision = revisions.find(|revision| revision.revision == number);
            Ok::<_, Infallible>(revision.map(|revision| revision.status))
        };
        let Ok(current) = history::current(operation, next, status);
        match current {
            Current::Revision(revision) => self.revision(revision),
            Current::Unknown(reason) => bail!("release {}: {reason}", self.release),
            Current::None => bail!("an installation has no current revision"),
        }
    }

    fn history(&self) -> Result<Vec<Revision>> {
        self.json(&["history", &self.release])
    }

    fn revision(&self, revision: u64) -> Result<Record> {
        self.json(&["status", &self.release, "--revision", &revision.to_string()])
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = process::Command::new(&self.program);
        command.args(arguments).args(["--output", "json"]);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        let words = arguments.join(" ");
        let output = command
            .output()
            .with_context(|| format!("cannot run {}", self.program))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "helm {words} failed: {}",
            errors.trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cannot read the output of helm {words}"))
    }
}
