//! A ConfigMap that is a regular resource in version 1 of a chart and something else in version 2, and what the upgrade
//! does to it.

use anyhow::Result;
use cluster_tests::{Case, HelmVersion, Suite};

/// The ConfigMap in both versions, and the outcome.
struct Row {
    name: &'static str,
    v1: &'static str,
    v2: String,
    helm3: Outcome,
    helm4: Outcome,
}

/// The requests for the ConfigMap in order, and whether it exists at the end.
#[derive(Debug, PartialEq)]
struct Outcome {
    upgrade: Upgrade,
    requests: String,
    config: Config,
}

#[derive(Debug, PartialEq)]
enum Upgrade {
    Succeeds,
    Fails,
}

#[derive(Debug, PartialEq)]
enum Config {
    Gone,
    Exists,
}

fn gone(requests: &str) -> Outcome {
    Outcome {
        upgrade: Upgrade::Succeeds,
        requests: requests.to_owned(),
        config: Config::Gone,
    }
}

fn exists(requests: &str) -> Outcome {
    Outcome {
        config: Config::Exists,
        ..gone(requests)
    }
}

fn fails(requests: &str) -> Outcome {
    Outcome {
        upgrade: Upgrade::Fails,
        ..exists(requests)
    }
}

/// Where Helm 3 creates a hook, Helm 4 applies it: `patch 201` is a new object.
fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "pre-upgrade",
            hook("pre-upgrade", ""),
            gone("delete, create, delete"),
            gone("delete, patch 201, delete"),
        ),
        // Nothing deletes the existing object. Helm 3 collides with it, and Helm 4 patches it.
        Row::new(
            "pre-upgrade that is deleted only after a failure",
            hook("pre-upgrade", "helm.sh/hook-delete-policy: hook-failed"),
            fails("create 409"),
            gone("patch, delete"),
        ),
        // The last delete is from the hook's delete policy. Helm then finds nothing to prune.
        Row::new(
            "pre-upgrade that is deleted after success",
            hook(
                "pre-upgrade",
                "helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'",
            ),
            gone("delete, create, delete"),
            gone("delete, patch 201, delete"),
        ),
        Row::new(
            "pre-upgrade with keep",
            hook("pre-upgrade", "helm.sh/resource-policy: keep"),
            exists("delete, create"),
            exists("delete, patch 201"),
        ),
        // It exists at the end, but not after the prune, when `--wait` waits for pods.
        Row::new(
            "pre-upgrade and post-upgrade",
            hook("pre-upgrade,post-upgrade", ""),
            exists("delete, create, delete, delete 404, create"),
            exists("delete, patch 201, delete, delete 404, patch 201"),
        ),
        Row::new(
            "post-upgrade",
            hook("post-upgrade", ""),
            exists("delete, delete 404, create"),
            exists("delete, delete 404, patch 201"),
        ),
        Row::new(
            "pre-install",
            hook("pre-install", ""),
            gone("delete"),
            gone("delete"),
        ),
        // Its `keep` never reaches the live object, and only the live object counts.
        Row::new(
            "pre-install with keep",
            hook("pre-install", "helm.sh/resource-policy: keep"),
            gone("delete"),
            gone("delete"),
        ),
        Row::new(
            "a hook and a regular resource at once",
            format!("{REGULAR}---\n{}", hook("pre-upgrade", "")),
            exists("delete, create, patch"),
            exists("delete, patch 201, patch"),
        ),
        // For Helm, it is neither a hook nor a resource.
        Row::new(
            "a misspelt event",
            hook("pre-upgarde", ""),
            gone("delete"),
            gone("delete"),
        ),
        Row {
            v1: REGULAR_IN_A_LIST,
            ..Row::new(
                "in a List before, then pre-upgrade",
                hook("pre-upgrade", ""),
                gone("delete, create, delete"),
                gone("delete, patch 201, delete"),
            )
        },
    ]
}

const REGULAR: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
data:
  version: '1'
";

const REGULAR_IN_A_LIST: &str = "\
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata:
      name: config
    data:
      version: '1'
";

fn hook(events: &str, annotation: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  annotations:
    helm.sh/hook: {events}
    {annotation}
data:
  version: '2'
"
    )
}

pub(crate) fn add_to(suite: &mut Suite) {
    for row in rows() {
        let Row { name, v1, v2, .. } = row;
        for (helm, expected) in [(HelmVersion::V3, row.helm3), (HelmVersion::V4, row.helm4)] {
            let v2 = v2.clone();
            suite.case(format!("{helm}: {name}"), move |case| {
                assert_eq!(upgrade(case, helm, v1, &v2)?, expected);
                Ok(())
            });
        }
    }
}

fn upgrade(case: &Case, helm: HelmVersion, v1: &str, v2: &str) -> Result<Outcome> {
    let v1 = case.chart("1.0.0", &[("config.yaml", v1)])?;
    let v2 = case.chart("2.0.0", &[("config.yaml", v2)])?;
    case.helm(helm, &["install", "app", &v1])?.success()?;
    let mark = case.cluster.audit_mark()?;

    let upgrade = case.helm(helm, &["upgrade", "app", &v2])?;

    let trail = case.cluster.audit_since(mark)?;
    let trail = trail.in_namespace(&case.namespace).by_agent("Helm/");
    let requests: Vec<_> = trail
        .steps()
        .iter()
        .map(ToString::to_string)
        .filter(|step| step.contains(" configmaps/config"))
        .map(|step| step.replace(" configmaps/config", ""))
        .collect();
    let objects = case.cluster.snapshot(&case.namespace)?.objects;
    let exists = objects
        .keys()
        .any(|id| id.kind == "ConfigMap" && id.name == "config");
    Ok(Outcome {
        upgrade: if upgrade.status.success() {
            Upgrade::Succeeds
        } else {
            Upgrade::Fails
        },
        requests: requests.join(", "),
        config: if exists { Config::Exists } else { Config::Gone },
    })
}

impl Row {
    fn new(name: &'static str, v2: String, helm3: Outcome, helm4: Outcome) -> Row {
        Row {
            name,
            v1: REGULAR,
            v2,
            helm3,
            helm4,
        }
    }
}
