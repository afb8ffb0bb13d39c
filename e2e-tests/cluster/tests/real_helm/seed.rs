//! Seed 003, the hook trap: a ConfigMap that becomes a hook does not exist after the upgrade.

use anyhow::{Result, ensure};
use cluster_tests::{Case, Change, HelmVersion, ObjectId, Suite};

const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/seed-003/v1");
const V2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/seed-003/v2");

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: seed 003, the config is gone"),
            move |case| the_config_is_gone(case, helm),
        );
        suite.case(
            format!("{helm}: seed 003, a second upgrade brings it back"),
            move |case| a_second_upgrade_brings_it_back(case, helm),
        );
    }
}

fn the_config_is_gone(case: &Case, helm: HelmVersion) -> Result<()> {
    case.helm(helm, &["install", "yahoo", V1])?.success()?;
    let before = case.cluster.snapshot(&case.namespace)?;
    let mark = case.cluster.audit_mark()?;

    let upgrade = case.helm(helm, &["upgrade", "yahoo", V2])?.success()?;

    ensure!(upgrade.stdout.contains("STATUS: deployed"), "{upgrade}");
    // A hook that does not exist yet is created by Helm 3 and applied by Helm 4.
    let create = match helm {
        HelmVersion::V3 => "create configmaps/basic-app-config",
        HelmVersion::V4 => "patch configmaps/basic-app-config 201",
    };
    let trail = case.cluster.audit_since(mark)?;
    let steps = trail
        .in_namespace(&case.namespace)
        .by_agent("Helm/")
        .steps();
    assert_eq!(
        steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "create secrets/sh.helm.release.v1.yahoo.v2",
            "delete configmaps/basic-app-config",
            "update secrets/sh.helm.release.v1.yahoo.v2",
            create,
            "patch deployments.apps/yahoo-basic-app",
            "delete configmaps/basic-app-config",
            "update secrets/sh.helm.release.v1.yahoo.v1",
            "update secrets/sh.helm.release.v1.yahoo.v2",
        ]
    );
    let after = case.cluster.snapshot(&case.namespace)?;
    let changes = before.changes(&after);
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "removed ConfigMap/basic-app-config",
            "changed Secret/sh.helm.release.v1.yahoo.v1",
            "added Secret/sh.helm.release.v1.yahoo.v2",
            "changed Deployment/yahoo-basic-app",
        ]
    );
    Ok(())
}

/// The advice in the seed: the second upgrade has no ConfigMap in the release to delete.
fn a_second_upgrade_brings_it_back(case: &Case, helm: HelmVersion) -> Result<()> {
    case.helm(helm, &["install", "yahoo", V1])?.success()?;
    case.helm(helm, &["upgrade", "yahoo", V2])?.success()?;
    let before = case.cluster.snapshot(&case.namespace)?;

    case.helm(helm, &["upgrade", "yahoo", V2])?.success()?;

    let after = case.cluster.snapshot(&case.namespace)?;
    let config = ObjectId {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: case.namespace.clone(),
        name: "basic-app-config".to_owned(),
    };
    ensure!(before.changes(&after).contains(&Change::Added(config)));
    Ok(())
}
