//! The commands that a message prints are run as they stand there, and then the upgrade passes.

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Suite};
use serde_json::json;

use crate::app::{PRE_UPGRADE, deployment};
use crate::guard::Guard;
use crate::hook_trap::{assert_config, chart};
use crate::right_operations::{assert_rejected, upgrade};

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: way out, a label on the last record"),
            move |case| label(case, helm),
        );
        suite.case(
            format!("{helm}: way out, keep an object that Argo CD manages"),
            move |case| keep_for_argo_cd(case, helm),
        );
    }
}

/// Runs the kubectl command with this verb that a message prints, up to a comma or bracket behind it.
pub(crate) fn run_printed(case: &Case<'_>, message: &str, verb: &str) -> Result<()> {
    let begin = format!("kubectl {verb} ");
    let mut commands = message.lines().filter_map(|line| line.split_once(&begin));
    let (_, rest) = commands
        .next()
        .with_context(|| format!("no {begin:?} in {message}"))?;
    let arguments = rest.split([',', '(']).next().unwrap_or_default();
    let words = [verb].into_iter().chain(arguments.split_whitespace());
    case.cluster.kubectl(words)?.success()?;
    Ok(())
}

/// For Flux, which cannot pass labels: the next record has those of the last one.
fn label(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    upgrade(case, helm, "1.0.0", &chart("", "one"))?.success()?;
    let trap = || upgrade(case, helm, "2.0.0", &chart(PRE_UPGRADE, "two"));
    let rejected = trap()?.failure()?;

    run_printed(case, &rejected.stderr, "label")?;

    let upgraded = trap()?.success()?;
    let allowed = "allowed by label: hook-pruned: ConfigMap app-config";
    ensure!(upgraded.stderr.contains(allowed), "{upgraded}");
    let label = "rollout-guard/allow-revision=2,name=app,version=2";
    let inherited = case.kubectl(&["get", "secrets", "-l", label, "-o", "name"])?;
    let record = "secret/sh.helm.release.v1.app.v2\n";
    ensure!(inherited.stdout == record, "{inherited}");
    Ok(())
}

/// Its prune reads its own annotation alone.
fn keep_for_argo_cd(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    upgrade(case, helm, "1.0.0", &chart("", "one"))?.success()?;
    let tracked = format!(
        "argocd.argoproj.io/tracking-id=app:/ConfigMap:{}/app-config",
        case.namespace
    );
    case.kubectl(&["annotate", "configmap", "app-config", &tracked])?
        .success()?;
    let lost = || upgrade(case, helm, "2.0.0", &deployment("", "web"));
    let rejected = lost()?.failure()?;
    let way_out = format!(
        "- keep the live object: kubectl annotate -n {} configmap app-config helm.sh/resource-policy=keep \
         argocd.argoproj.io/sync-options=Prune=false (Argo CD reads only the second annotation)\n",
        case.namespace
    );
    assert_rejected(
        rejected.clone(),
        &["dangling-reference: ConfigMap app-config", &way_out],
    )?;

    run_printed(case, &rejected.stderr, "annotate")?;

    lost()?.success()?;
    assert_config(case, "one")?;
    let annotation = "jsonpath={.metadata.annotations.argocd\\.argoproj\\.io/sync-options}";
    let live = case.kubectl(&["get", "configmap", "app-config", "-o", annotation])?;
    ensure!(live.stdout == "Prune=false", "{live}");
    Ok(())
}
