//! A live release, as Helm tells of it.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};
use rollout_guard::release_guard::{plan::Operation, record};
use serde::{Deserialize, de::DeserializeOwned};

/// `helm` for one release. A plugin is told which Helm runs it.
pub(crate) struct Helm {
    program: String,
    release: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Revision {
    revision: u64,
    status: String,
}

impl Helm {
    pub(crate) fn new(release: String, namespace: Option<String>) -> Helm {
        Helm {
            program: env::var("HELM_BIN").unwrap_or_else(|_| "helm".to_owned()),
            release,
            namespace,
        }
    }

    /// The revision that the next operation begins with (Helm `pkg/action/upgrade.go`, prepareUpgrade;
    /// `rollback.go`, prepareRollback).
    pub(crate) fn current(&self, operation: Operation) -> Result<record::Release> {
        let history: Vec<Revision> = self.json(&["history", &self.release])?;
        let last = history.last().context("the release has no history")?;
        let deployed = history.iter().rev().find(|r| r.status == "deployed");
        let current = match (operation, deployed) {
            (Operation::Upgrade, Some(deployed)) => deployed,
            _ => last,
        };
        self.revision(current.revision)
    }

    /// The revision that an upgrade would make.
    pub(crate) fn upgrade(&self, chart: &str, flags: &[String]) -> Result<record::Release> {
        let upgrade = ["upgrade", &self.release, chart, "--dry-run=server"];
        let flags = flags.iter().map(String::as_str);
        self.json(&upgrade.into_iter().chain(flags).collect::<Vec<_>>())
    }

    /// The revision that a rollback would make.
    pub(crate) fn goes_back_to(
        &self,
        revision: u64,
        current: &record::Release,
    ) -> Result<record::Release> {
        let target = self.revision(revision)?;
        Ok(record::Release {
            version: current.version.saturating_add(1),
            apply_method: current.apply_method.clone(),
            ..target
        })
    }

    fn revision(&self, revision: u64) -> Result<record::Release> {
        self.json(&["status", &self.release, "--revision", &revision.to_string()])
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--output", "json"]);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        let words = arguments.join(" ");
        let output = command
            .output()
            .with_context(|| format!("cannot run {}", self.program))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {words}: {}", said.trim());
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the answer of helm {words}"))
    }
}
