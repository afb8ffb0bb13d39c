//! The engine of Argo CD, as an agent that synchronises a local repository.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, Suite, wait_until};
use helm_plan::yaml;
use serde_json::json;
use tempfile::TempDir;

use super::{LIMIT, Program, application, free_port, run, write_files};
use crate::deletions::{ARGO_CD, exists, make_ready, pods_of_first_rollout, started};
use crate::example_policy::ExamplePolicy;

pub(super) fn add_to(suite: &mut Suite) {
    suite.case("gitops, Argo CD, reject for all: a prune before the apply holds up no sync, and no teardown", |case| {
        renamed_config(case, "reject", false)
    });
    suite.case("gitops, Argo CD, warn: a prune passes", |case| {
        renamed_config(case, "warn", false)
    });
    suite.case(
        "gitops, Argo CD, reject for all, with PruneLast: config goes when the rollout is done",
        |case| renamed_config(case, "reject", true),
    );
}

/// The repository that the agent reads.
struct Repository(TempDir);

impl Repository {
    fn new() -> Result<Repository> {
        let folder = tempfile::tempdir()?;
        run(Command::new("git")
            .args(["init", "--quiet"])
            .arg(folder.path()))?;
        Ok(Repository(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn commit(&self, files: &[(String, String)]) -> Result<()> {
        write_files(&self.path().join("app"), files)?;
        // git keeps no empty folder.
        std::fs::write(self.path().join("app/.keep"), "")?;
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
            run(Command::new("git")
                .arg("-C")
                .arg(self.path())
                .args(identity)
                .args(arguments))
        };
        git(&["add", "--all"])?;
        git(&["commit", "--quiet", "--allow-empty", "--message=change"])?;
        Ok(())
    }

    fn agent(&self, case: &Case<'_>) -> Result<Program> {
        let repository = self.path().display().to_string();
        let port = free_port()?.to_string();
        let namespace = case.namespace.as_str();
        let arguments = [
            &repository,
            "--path",
            "app",
            "--default-namespace",
            namespace,
            "--namespaced",
            "--namespace",
            namespace,
            "--port",
            &port,
            "--resync-seconds",
            "3",
        ];
        Program::start(case, "gitops-agent", ARGO_CD, &[], &arguments)
    }
}

/// The files with the namespace in them: in one namespace, the agent takes no others.
fn in_namespace(case: &Case<'_>, files: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let placed = files.into_iter().map(|(name, text)| {
        let mut object = yaml::parse(&text).with_context(|| name.clone())?;
        object["metadata"]["namespace"] = case.namespace.as_str().into();
        Ok((name, object.to_string()))
    });
    placed.collect()
}

fn renamed_config(case: &Case<'_>, level: &str, prunes_last: bool) -> Result<()> {
    let annotation = match prunes_last {
        true => "argocd.argoproj.io/sync-options: PruneLast=true",
        false => "",
    };
    let repository = Repository::new()?;
    let version =
        |name: &str, unused: &[&str]| in_namespace(case, application(name, annotation, unused));
    repository.commit(&version("app-v1", &["extra"])?)?;
    let mut agent = repository.agent(case)?;
    let waits = |agent: &Program, what: &str, is: &dyn Fn() -> Result<bool>| {
        wait_until(what, LIMIT, || Ok(is()?.then_some(())))
            .map_err(|error| error.context(agent.end_of_log()))
    };
    waits(&agent, "the first version", &|| {
        Ok(exists(case, "deployment/web")? && exists(case, "configmap/extra")?)
    })?;
    pods_of_first_rollout(case)?;
    let mut example = ExamplePolicy::read("deletion-guard-policy.yaml")?;
    example.settings["deletionGuard"] = json!({"level": level});
    let guard = started(case, &example)?;

    repository.commit(&version("app-v2", &[])?)?;
    waits(&agent, "the unused config is pruned", &|| {
        Ok(!exists(case, "configmap/extra")?)
    })?;
    waits(&agent, "the new config", &|| {
        exists(case, "configmap/app-v2")
    })?;
    if prunes_last {
        // Its rollout is not done.
        ensure!(exists(case, "configmap/app-v1")?);
        // The agent keeps one picture of the cluster for a whole sync, and waits for ever for what it created itself; Argo CD
        // looks again. A new agent goes on.
        wait_until("the config is pruned", LIMIT, || {
            make_ready(case)?;
            agent = repository.agent(case)?;
            let pruned = wait_until("a sync", std::time::Duration::from_secs(12), || {
                Ok((!exists(case, "configmap/app-v1")?).then_some(()))
            });
            Ok(pruned.ok())
        })?;
    } else {
        waits(&agent, "the config is pruned", &|| {
            Ok(!exists(case, "configmap/app-v1")?)
        })?;
    }
    let reads = "--output=jsonpath={.spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.name}";
    waits(&agent, "the new Deployment", &|| {
        Ok(case.kubectl(&["get", "deployment", "web", reads])?.stdout == "app-v2")
    })?;

    repository.commit(&[])?;
    waits(&agent, "the end of the application", &|| {
        Ok(!exists(case, "deployment/web")? && !exists(case, "configmap/app-v2")?)
    })?;
    drop(guard);
    Ok(())
}
