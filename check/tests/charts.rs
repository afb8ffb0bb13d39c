//! The program on the rendered charts of seed 003: what it prints, and how it exits.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::process::{Command, Output};

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollout-guard-check"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .unwrap()
}

const TRAP: [&str; 7] = [
    "charts",
    "tests/charts/before.yaml",
    "tests/charts/after.yaml",
    "--release",
    "yahoo",
    "--namespace",
    "shop",
];

#[track_caller]
fn assert_prints(arguments: &[&str], code: i32, expected: &str) {
    let output = check(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        expected,
        "{errors}"
    );
    assert_eq!(output.status.code(), Some(code), "{errors}");
}

#[test]
fn the_trap_is_told_with_its_plan() {
    assert_prints(
        &TRAP,
        1,
        "helm upgrade of release yahoo in namespace shop, from revision 1 to 2

Helm would:
  delete ConfigMap basic-app-config before its pre-hook
  create ConfigMap basic-app-config as pre-hook
  apply Deployment yahoo-basic-app
  delete ConfigMap basic-app-config, which left the release

reject hook-pruned: ConfigMap basic-app-config: regular in revision 1, a hook (pre-install, pre-upgrade) in revision 2: Helm makes it in the pre-upgrade hooks, then deletes it as no longer in the manifest.
  Needed by: Deployment yahoo-basic-app.
  - keep it a regular resource: remove the annotation helm.sh/hook
  - let Helm pass over it: add the annotation helm.sh/resource-policy: keep to the hook

1 to reject, 0 to warn of.
",
    );
}

#[test]
fn the_same_chart_again_is_fine() {
    let chart = "tests/charts/after.yaml";
    assert_prints(
        &["charts", chart, chart],
        0,
        "helm upgrade of release release-name in namespace default, from revision 1 to 2

Helm would:
  delete ConfigMap basic-app-config before its pre-hook
  create ConfigMap basic-app-config as pre-hook
  apply Deployment yahoo-basic-app

Nothing is found: the release keeps what its pods need.
",
    );
}

#[test]
fn programs_get_json() {
    let output = check(&[&TRAP, ["--output", "json"].as_slice()].concat());
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(read["rejected"], true);
    assert_eq!(read["plan"][3]["action"], "prune");
    assert_eq!(read["plan"][0]["stage"], "pre");
    assert_eq!(read["findings"][0]["finding"], "hook-pruned");
    assert_eq!(
        read["findings"][0]["neededBy"][0],
        "Deployment yahoo-basic-app"
    );
}

#[test]
fn what_cannot_be_checked_is_another_exit_code() {
    for arguments in [
        [
            "charts",
            "tests/charts/none.yaml",
            "tests/charts/after.yaml",
        ],
        ["charts", "Cargo.toml", "tests/charts/after.yaml"],
    ] {
        let output = check(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with("Error: "), "{errors}");
    }
}
