//! kapp, a program that somebody runs.

use std::process::Command;

use anyhow::{Result, ensure};
use cluster_tests::{Case, Output, Suite, User, gitops_program, wait_until};

use super::{LIMIT, application, write_files};
use crate::deletions::{exists, guard, make_ready, pods_of_first_rollout};

pub(super) fn add_to(suite: &mut Suite) {
    suite.case(
        "gitops, kapp, reject for all: a renamed config needs --exit-early-on-apply-error=false",
        |case| renamed_config(case, "reject"),
    );
    suite.case("gitops, kapp, warn: config goes at once", |case| {
        renamed_config(case, "warn")
    });
}

fn kapp(case: &Case<'_>, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(gitops_program("kapp")?);
    command
        .env("KUBECONFIG", case.cluster.kubeconfig_of(User::Admin))
        .args(arguments)
        .args(["--app=app", "--yes", "--namespace", &case.namespace]);
    case.cluster.run(&mut command)
}

fn deploy(case: &Case<'_>, files: &[(String, String)], flags: &[&str]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path(), files)?;
    let folder = folder.path().display().to_string();
    let namespace = format!("--into-ns={}", case.namespace);
    // There is no kubelet.
    let deploy = ["deploy", "--file", &folder, &namespace, "--wait=false"];
    kapp(case, &[&deploy, flags].concat())
}

fn reads(case: &Case<'_>) -> Result<String> {
    let config = "--output=jsonpath={.spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.name}";
    Ok(case.kubectl(&["get", "deployment", "web", config])?.stdout)
}

fn renamed_config(case: &Case<'_>, level: &str) -> Result<()> {
    deploy(case, &application("app-v1", "", &["extra"]), &[])?.success()?;
    pods_of_first_rollout(case)?;
    let _guard = guard(case, level)?;
    let v2 = application("app-v2", "", &[]);
    if level == "reject" {
        // It deletes and applies at the same time, and config before workloads. So the Deployment never comes to its turn.
        let early = deploy(case, &v2, &[])?.failure()?;
        ensure!(format!("{early}").contains("app-v1"), "{early}");
        ensure!(reads(case)? == "app-v1", "{early}");
        ensure!(exists(case, "configmap/app-v1")?);

        let flag = ["--exit-early-on-apply-error=false"];
        let late = deploy(case, &v2, &flag)?.failure()?;
        ensure!(reads(case)? == "app-v2", "{late}");
        ensure!(exists(case, "configmap/app-v1")?);
        ensure!(!exists(case, "configmap/extra")?);
        wait_until("the old config goes", LIMIT, || {
            make_ready(case)?;
            deploy(case, &v2, &flag)?;
            Ok((!exists(case, "configmap/app-v1")?).then_some(()))
        })?;
    } else {
        deploy(case, &v2, &[])?.success()?;
        ensure!(!exists(case, "configmap/app-v1")? && !exists(case, "configmap/extra")?);
        ensure!(reads(case)? == "app-v2");
    }
    // It deletes everything at once, and may need a second run.
    wait_until("the end of the application", LIMIT, || {
        let deleted = kapp(
            case,
            &[
                "delete",
                "--wait=false",
                "--exit-early-on-apply-error=false",
            ],
        )?;
        let is_gone = !exists(case, "deployment/web")? && !exists(case, "configmap/app-v2")?;
        Ok((deleted.status.success() && is_gone).then_some(()))
    })
}
