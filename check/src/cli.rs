//! The command line. The comments on the fields are the help text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing to reject
  1  the policy would reject the install, upgrade or rollback; for `cluster`, also if something is missing
  2  the check did not work: wrong arguments, an unreadable file, a failed helm command

The check changes nothing. Like the policy, `upgrade`, `rollback` and `cluster` look at live objects where these decide: has somebody deleted or \
annotated them? They run kubectl for this, or the program in KUBECTL, with the cluster and the user of helm. `charts`, `chart`, `changed` and `record` \
need no cluster.";

/// Show what a Helm upgrade or rollback would lose, before you run it
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check an upgrade from one rendered chart to another
    Charts {
        /// The current chart, as `helm template` prints it; `-` for standard input
        before: PathBuf,
        /// The new chart, as `helm template` prints it
        after: PathBuf,
        /// The name of the release, for the report
        #[arg(long, default_value = "release-name")]
        release: String,
        /// The namespace of the release. Helm gives a plugin its own as HELM_NAMESPACE
        #[arg(long, short, env = "HELM_NAMESPACE", default_value = "default")]
        namespace: String,
        /// How Helm applies the release: `client` for Helm 3 and for releases that it installed, `server` for releases that Helm 4 installed
        #[arg(long, value_enum, default_value_t)]
        apply: Apply,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check an upgrade from one version of a chart to another, and the way back, without a cluster. Both are rendered by `helm template`: with
    /// their default values, and with each `ci/*-values.yaml` of the new one
    Chart(ChartArgs),
    /// Check the charts that differ from another commit of a git repository, as a pull request changes them
    Changed {
        /// The branch or commit to compare with; what counts is the last commit that both have in common
        #[arg(long, value_name = "COMMIT")]
        base: String,
        #[command(flatten)]
        options: ChartOptions,
    },
    /// Check all releases of a cluster: what would a rollback to each stored revision lose, and what do workloads require that does not exist?
    Cluster {
        /// Only the releases that are stored in this namespace. As a Helm plugin, use --in: Helm takes --namespace away
        #[arg(long, short, visible_alias = "in")]
        namespace: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check release records that were saved: from a backup, from an audit log, or with `kubectl get secrets -l owner=helm -o json`. Each is
    /// compared with the revision that it started from
    Record {
        /// Files with Secrets or ConfigMaps, as JSON or YAML; `-` for standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check an upgrade of a release in the cluster, or its install if it does not exist yet, with `helm upgrade --dry-run=server`
    Upgrade {
        /// The name of the release
        release: String,
        /// The new chart, as for `helm upgrade`
        chart: String,
        /// The namespace of the release; the default is that of your kubeconfig
        #[arg(long, short)]
        namespace: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
        /// More flags for `helm upgrade`, after `--`
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Check a rollback of a release in the cluster
    Rollback {
        /// The name of the release
        release: String,
        /// The revision to roll back to
        revision: u64,
        /// The namespace of the release; the default is that of your kubeconfig
        #[arg(long, short)]
        namespace: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print what a shell needs to complete this command line
    Completion {
        /// The shell, or `helm` for the file completion.yaml of the Helm plugin
        #[arg(value_name = "SHELL")]
        reader: CompletionFor,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CompletionFor {
    Bash,
    Fish,
    Powershell,
    Zsh,
    Helm,
}

#[derive(Debug, Args)]
pub(crate) struct ChartArgs {
    /// The current version: a folder, an archive, or a reference as for `helm pull`
    pub(crate) old: String,
    /// The new version
    pub(crate) new: String,
    /// The version of OLD, if it is a reference
    #[arg(long, value_name = "VERSION")]
    pub(crate) old_version: Option<String>,
    /// The version of NEW, if it is a reference
    #[arg(long, value_name = "VERSION")]
    pub(crate) new_version: Option<String>,
    #[command(flatten)]
    pub(crate) options: ChartOptions,
}

/// How charts are rendered and reported.
#[derive(Debug, Args)]
pub(crate) struct ChartOptions {
    /// The name of the release to render
    #[arg(long, default_value = "release-name")]
    pub(crate) release: String,
    /// The namespace of the release. Helm gives a plugin its own as HELM_NAMESPACE
    #[arg(long, short, env = "HELM_NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// What installs the chart. `argocd` shows what a sync of Argo CD makes of it: of its hooks, and of what leaves the chart
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tool: Tool,
    /// How Helm applies the release: `client` for Helm 3 and for releases that it installed, `server` for releases that Helm 4 installed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) apply: Apply,
    /// A report for people, JSON for programs, annotations for a GitHub workflow, or SARIF for code scanning
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: ChartOutput,
    /// A file with the policy or with its settings, as YAML or JSON. Only the levels in `releaseGuard.findings` are used, and only for `--tool helm`
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// More flags for `helm template`, after `--`: `--set`, `--kube-version`, `--api-versions`
    #[arg(last = true)]
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ChartOutput {
    #[default]
    Text,
    Json,
    Github,
    Sarif,
}

/// What installs a chart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    #[default]
    Helm,
    Argocd,
}

impl Tool {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Argocd => "argocd",
        }
    }
}

/// Who merges the new manifest with the live object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Apply {
    #[default]
    Client,
    Server,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// A report for people, or one JSON object for programs
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// A file with the policy or with its settings, as YAML or JSON. Only the levels in `releaseGuard.findings` are used
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
