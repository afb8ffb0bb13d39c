//! A test target: named cases that share one cluster.
//!
//! The usual test harness cannot own a cluster, because statics are never dropped. A target with `harness = false` that
//! runs a suite in its `main` takes the same arguments (a filter, `--list`, `--test-threads`) and stops the cluster after
//! the last case.

use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::command::{HelmVersion, Output};
use crate::hook_completer::HookCompleter;

/// Helm mostly waits for the API server, so one case per core would leave the cores idle.
const CASES_AT_ONCE: usize = 4;

/// Named cases that run in parallel on one cluster. The first case starts it.
pub struct Suite {
    cases_at_once: usize,
    trials: Vec<Trial>,
    shared: Arc<OnceLock<Result<Shared, String>>>,
}

struct Shared {
    // Dropped before the cluster it watches.
    _hook_completer: HookCompleter,
    cluster: Cluster,
}

/// The environment of a case.
pub struct Case<'a> {
    /// The cluster that all cases share. Hooks complete by themselves.
    pub cluster: &'a Cluster,
    /// A namespace only for this case.
    pub namespace: String,
    folder: TempDir,
}

impl Suite {
    /// A suite without cases.
    pub fn new() -> Suite {
        Suite::default()
    }

    /// A suite without cases that will run one after the other, so that they do not disturb measurements.
    pub fn one_by_one() -> Suite {
        Suite {
            cases_at_once: 1,
            ..Suite::default()
        }
    }

    /// Adds a case. It fails if it panics or returns an error.
    pub fn case(
        &mut self,
        name: impl Into<String>,
        run: impl FnOnce(&Case) -> Result<()> + Send + 'static,
    ) {
        let name = name.into();
        let namespace = namespace_for(&name, self.trials.len());
        let shared = Arc::clone(&self.shared);
        let trial = Trial::test(name, move || {
            let run = || run(&Case::new(&shared, namespace)?);
            run().map_err(|error| Failed::from(format!("{error:#}")))
        });
        self.trials.push(trial);
    }

    /// Runs the cases that the command line selects.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(self.cases_at_once);
        // The cases keep the cluster alive, and `run` drops them. This is the last reference.
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        drop(self.shared);
        conclusion.exit_code()
    }
}

impl Default for Suite {
    fn default() -> Suite {
        Suite {
            cases_at_once: CASES_AT_ONCE,
            trials: Vec::new(),
            shared: Arc::default(),
        }
    }
}

impl<'a> Case<'a> {
    fn new(shared: &'a OnceLock<Result<Shared, String>>, namespace: String) -> Result<Case<'a>> {
        let shared = shared.get_or_init(|| Shared::start().map_err(|error| format!("{error:#}")));
        let shared = shared.as_ref().map_err(|error| anyhow!("{error}"))?;
        shared.cluster.check()?;
        shared.cluster.create_namespace(&namespace)?;
        Ok(Case {
            cluster: &shared.cluster,
            namespace,
            folder: tempfile::tempdir()?,
        })
    }

    /// The same case with a new namespace and a new folder.
    ///
    /// # Errors
    /// The namespace already exists.
    pub fn again(&self, number: usize) -> Result<Case<'a>> {
        let namespace = format!("{}-{number}", self.namespace);
        self.cluster.create_namespace(&namespace)?;
        Ok(Case {
            cluster: self.cluster,
            namespace,
            folder: tempfile::tempdir()?,
        })
    }

    /// Runs Helm in the namespace of this case.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn helm(&self, version: HelmVersion, arguments: &[&str]) -> Result<Output> {
        let namespace = ["--namespace", self.namespace.as_str()];
        self.cluster
            .helm(version, arguments.iter().copied().chain(namespace))
    }

    /// Runs kubectl in the namespace of this case, as the administrator.
    ///
    /// # Errors
    /// It could not be started. A failure of the command itself is in the output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let namespace = ["--namespace", self.namespace.as_str()];
        self.cluster
            .kubectl(arguments.iter().copied().chain(namespace))
    }

    /// Writes a chart with templates of these names and contents, and returns its folder.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn chart(&self, version: &str, templates: &[(&str, &str)]) -> Result<String> {
        let chart = self.folder.path().join(version);
        let folder = chart.join("templates");
        fs::create_dir_all(&folder)?;
        let about = format!("apiVersion: v2\nname: app\nversion: {version}\n");
        fs::write(chart.join("Chart.yaml"), about)?;
        for (name, content) in templates {
            fs::write(folder.join(name), content)?;
        }
        let chart = chart.into_os_string().into_string();
        chart.ok().context("the temporary folder is not UTF-8")
    }
}

impl Shared {
    fn start() -> Result<Shared> {
        let cluster = Cluster::start()?;
        Ok(Shared {
            _hook_completer: cluster.complete_hooks(),
            cluster,
        })
    }
}

/// A valid namespace that shows which case it belongs to. The number makes shortened names unique.
fn namespace_for(case: &str, number: usize) -> String {
    let words: Vec<_> = case
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let name: String = words.join("-").to_lowercase().chars().take(40).collect();
    format!("case-{number}-{name}")
        .trim_end_matches('-')
        .to_owned()
}
