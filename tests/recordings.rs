//! The recorded requests of real Helm 3, Helm 4 and kubectl, through policy.wasm.
//!
//! Each scenario has one golden file with all requests and answers, in the order in which the API server sent
//! them. The policy is in place from the first install on. `make golden` rewrites these files.

use std::{collections::BTreeMap, fmt::Write, path::Path, sync::Arc};

use serde_json::json;
use testbed::{Objects, Recording, Replay, report};

use crate::support::{policy, root, sorted};

/// Every answer of every scenario of one Helm, by scenario and file.
fn play(helm: &str) -> BTreeMap<String, Vec<(String, testbed::Evaluation)>> {
    // The second line too, as one policy; the examples have one for each.
    let mut replay = Replay::new(policy(), json!({"releaseGuard": {"hookRequests": true}}));
    let folder = root().join("tests/recordings").join(helm);
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut scenarios = BTreeMap::new();
    for scenario in sorted(&folder) {
        let answers = sorted(&scenario).into_iter().map(|file| {
            (
                name(&file),
                replay.play(Recording::read(&file).unwrap()).unwrap(),
            )
        });
        let answers = answers.collect();
        scenarios.insert(name(&scenario), answers);
    }
    scenarios
}

fn assert_golden(helm: &str) {
    for (scenario, answers) in play(helm) {
        let mut text = String::new();
        for (request, evaluation) in answers {
            writeln!(text, "## {request}\n{}", report::text(&evaluation)).unwrap();
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/golden").join(helm));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(scenario, text));
    }
}

#[test]
fn helm_3_recordings_have_golden_answers() {
    assert_golden("helm3");
}

#[test]
fn helm_4_recordings_have_golden_answers() {
    assert_golden("helm4");
}

/// Holds even if somebody accepts wrong golden files.
#[test]
fn only_the_trap_is_rejected_and_only_workloads_are_patched() {
    for helm in ["helm3", "helm4"] {
        for (scenario, answers) in play(helm) {
            for (request, evaluation) in answers {
                let place = format!("{helm}/{scenario}/{request}");
                let is_trap = matches!(
                    (scenario.as_str(), request.as_str()),
                    (
                        "2-upgrade-to-hook",
                        "01-create-secret-sh.helm.release.v1.yahoo.v2"
                    ) | (
                        "8-configmap-driver",
                        "05-create-configmap-sh.helm.release.v1.cmrel.v2"
                    )
                );
                // The recording continues after the trap. The second line stops these requests too.
                let message = evaluation.response.message.as_deref().unwrap_or_default();
                let second_line = scenario == "2-upgrade-to-hook"
                    && request.ends_with("-configmap-basic-app-config")
                    && message
                        .contains("The upgrade is already running; only this request was stopped.");
                assert_eq!(
                    evaluation.response.accepted,
                    !is_trap && !second_line,
                    "{place}"
                );
                if is_trap {
                    assert_eq!(
                        evaluation.host_calls.len(),
                        1,
                        "{place}: the current release is looked up once"
                    );
                }
                if !request.contains("-deployment-") {
                    assert!(evaluation.patch.is_empty(), "{place}: {}", evaluation.patch);
                }
            }
        }
    }
}

/// The hash of the pod template after each request for the Deployment.
fn hashes(helm: &str) -> Vec<(String, String)> {
    let of = |evaluation: &testbed::Evaluation| {
        let admitted = evaluation.response.mutated_object.as_ref()?;
        let hash =
            admitted.pointer("/spec/template/metadata/annotations/rollout-guard~1config-hash")?;
        Some(hash.as_str()?.to_owned())
    };
    let mut last = String::new();
    let mut hashes = Vec::new();
    for (scenario, answers) in play(helm) {
        for (request, evaluation) in answers {
            if request.ends_with("deployment-yahoo-basic-app") {
                // An answer without a patch leaves the hash unchanged.
                last = of(&evaluation).unwrap_or(last);
                hashes.push((format!("{scenario}/{request}"), last.clone()));
            }
        }
    }
    hashes
}

/// Seed 004: a changed config rolls out at the next request for the workload, an unchanged one never.
#[test]
fn a_changed_config_rolls_out_once() {
    for helm in ["helm3", "helm4"] {
        let hashes = hashes(helm);
        let rollouts: Vec<_> = hashes
            .windows(2)
            .filter_map(|pair| match pair {
                [(_, before), (request, after)] if before != after => Some(request.as_str()),
                _ => None,
            })
            .collect();
        let expected: &[&str] = match helm {
            // Helm 3 sends no request for the Deployment. The empty patch is the first one.
            "helm3" => &["6-kubectl/02-update-deployment-yahoo-basic-app"],
            // The recorded trap was not stopped, so the hook changes the config, and the rollback changes it back.
            _ => &[
                "2-upgrade-to-hook/05-update-deployment-yahoo-basic-app",
                "4-rollback-to-v1/03-update-deployment-yahoo-basic-app",
                "5-upgrade-config-only/03-update-deployment-yahoo-basic-app",
            ],
        };
        assert_eq!(rollouts, expected, "{helm}: {hashes:#?}");
    }
}

/// Installing the policy restarts nothing.
#[test]
fn a_workload_older_than_the_policy_is_only_recorded() {
    let file = root().join(
        "tests/recordings/helm4/5-upgrade-config-only/03-update-deployment-yahoo-basic-app.json",
    );
    let recording = Recording::read(&file).unwrap();
    let cluster = Arc::new(Objects::new(recording.cluster));
    let evaluation = policy()
        .validate(&recording.request, &json!({}), cluster)
        .unwrap();
    let changed: Vec<_> = evaluation
        .patch
        .iter()
        .map(|operation| operation.path().to_string())
        .collect();
    assert_eq!(changed, ["/metadata/annotations/rollout-guard~1configs"]);
}
