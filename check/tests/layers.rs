//! What may depend on what. The libraries and the program are useful without Kubewarden and without the API
//! types of Kubernetes, and the references of a pod without Helm.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml does not reach the helpers of integration tests"
)]

use std::{collections::BTreeSet, env, fs, process::Command};

const SDK: [&str; 3] = ["kubewarden-policy-sdk", "wapc-guest", "k8s-openapi"];

/// The names of all packages that end up in a package or build it, itself among them. Those of its tests
/// do not count. As Cargo reads the lock file: nothing is downloaded.
fn packages(package: &str) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--package", package])
        .args(["--all-features", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[track_caller]
fn assert_without(package: &str, forbidden: &[&str]) {
    let packages = packages(package);
    assert!(packages.contains(package), "{packages:?}");
    for forbidden in SDK.iter().chain(forbidden) {
        assert!(
            !packages.contains(*forbidden),
            "{package} must not depend on {forbidden}: see cargo tree --package {package} --edges normal,build --invert {forbidden}"
        );
    }
}

#[test]
fn pod_references_knows_no_helm() {
    assert_without("pod-references", &["helm-plan", "rollout-guard"]);
}

#[test]
fn config_digest_knows_no_helm() {
    assert_without("config-digest", &["helm-plan", "rollout-guard"]);
}

#[test]
fn helm_plan_knows_no_policy() {
    assert_without("helm-plan", &["rollout-guard"]);
}

#[test]
fn the_checker_is_built_on_helm_plan_alone() {
    assert_without("rollout-guard-check", &["rollout-guard"]);
}

/// Were one of them renamed, the tests above would find nothing any more.
#[test]
fn the_policy_has_what_the_others_must_not_have() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    for name in SDK.into_iter().chain(["helm-plan", "rollout-guard"]) {
        assert!(lock.contains(&format!("\nname = \"{name}\"\n")), "{name}");
    }
}
