//! `make demo`: what policy.wasm answers to requests recorded from real Helm 3, Helm 4 and kubectl.
//!
//! Ends with an error when an answer is not the expected one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Evaluation, Policy, Recording, Replay};

/// One thing that somebody did, and the requests that count.
struct Scene {
    folder: &'static str,
    did: &'static str,
    steps: &'static [Step],
}

struct Step {
    /// How the file name ends.
    request: &'static str,
    /// Only with this Helm; empty for both.
    only: &'static str,
    expected: Expected,
    means: &'static str,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    Passes,
    Rejected,
    /// The first stamp of a workload.
    Stamped,
    /// A new stamp: its pods roll out.
    RollsOut,
    /// Nothing changes.
    LeftAlone,
}

const fn step(request: &'static str, expected: Expected, means: &'static str) -> Step {
    Step {
        request,
        only: "",
        expected,
        means,
    }
}

const DEPLOYMENT: &str = "deployment-yahoo-basic-app";

const STORY: [Scene; 6] = [
    Scene {
        folder: "1-install-v1",
        did: "helm install: a ConfigMap, and a Deployment that mounts it (seed 003, version 1)",
        steps: &[
            step(
                "release.v1.yahoo.v1",
                Expected::Passes,
                "the release record",
            ),
            step(
                DEPLOYMENT,
                Expected::Stamped,
                "the Deployment gets a hash of the config that it uses",
            ),
        ],
    },
    Scene {
        folder: "2-upgrade-to-hook",
        did: "helm upgrade to a chart that makes the ConfigMap a pre-upgrade hook: the trap of seed 003",
        steps: &[step(
            "create-secret-sh.helm.release.v1.yahoo.v2",
            Expected::Rejected,
            "the release record, before Helm touches anything",
        )],
    },
    Scene {
        folder: "4-rollback-to-v1",
        did: "helm rollback to version 1",
        steps: &[step(
            "release.v1.yahoo.v4",
            Expected::Passes,
            "the release record",
        )],
    },
    Scene {
        folder: "5-upgrade-config-only",
        did: "helm upgrade that changes the ConfigMap alone (seed 004)",
        steps: &[
            step(
                "release.v1.yahoo.v5",
                Expected::Passes,
                "the release record",
            ),
            Step {
                request: DEPLOYMENT,
                only: "helm4",
                expected: Expected::RollsOut,
                means: "Helm 4 applies the unchanged Deployment too: its config is not the one that it was stamped for",
            },
        ],
    },
    Scene {
        folder: "6-kubectl",
        did: "kubectl: a key that no pod uses is added to the ConfigMap; then an empty patch, and an annotation, on the Deployment",
        steps: &[
            Step {
                request: "02-update-deployment-yahoo-basic-app",
                only: "helm3",
                expected: Expected::RollsOut,
                means: "the empty patch: Helm 3 had sent no request for the Deployment, so this is the first one after the change",
            },
            Step {
                request: "02-update-deployment-yahoo-basic-app",
                only: "helm4",
                expected: Expected::LeftAlone,
                means: "the empty patch: the key that was added is not one that the pods use",
            },
            step(
                "03-update-deployment-yahoo-basic-app",
                Expected::LeftAlone,
                "the annotation: no config has changed",
            ),
        ],
    },
    Scene {
        folder: "8-configmap-driver",
        did: "the trap again, with the releases in ConfigMaps (HELM_DRIVER=configmap)",
        steps: &[step(
            "create-configmap-sh.helm.release.v1.cmrel.v2",
            Expected::Rejected,
            "the release record",
        )],
    },
];

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = Policy::load(&root.join("policy.wasm"))?;
    println!("Requests recorded from real Helm and kubectl, answered by policy.wasm.");
    for (helm, title) in [("helm3", "HELM 3"), ("helm4", "HELM 4")] {
        println!("\n{title}");
        let mut replay = Replay::new(policy.clone(), json!({}));
        let mut stamp = None;
        for scene in &STORY {
            println!("\n  {}", scene.did);
            play(
                scene,
                helm,
                &root.join("tests/recordings").join(helm),
                &mut replay,
                &mut stamp,
            )?;
        }
    }
    println!("\nAll answers are as expected.");
    Ok(())
}

fn play(
    scene: &Scene,
    helm: &str,
    recordings: &Path,
    replay: &mut Replay,
    stamp: &mut Option<String>,
) -> Result<()> {
    let mut steps = scene
        .steps
        .iter()
        .filter(|step| step.only.is_empty() || step.only == helm)
        .peekable();
    for file in files(&recordings.join(scene.folder))? {
        let recording = Recording::read(&file)?;
        let object = recording.request.get("object").cloned().unwrap_or_default();
        let evaluation = replay.play(recording)?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(step) = steps.next_if(|step| name.ends_with(step.request)) else {
            continue;
        };
        let change = match object.get("kind").and_then(Value::as_str) {
            Some("Deployment") => {
                let before = stamp.clone();
                *stamp = stamped(&evaluation).or(before.clone());
                (before, stamp.clone())
            }
            _ => (None, None),
        };
        println!("    {} - {}", subject(&object), step.means);
        let actual = explain(&evaluation, change);
        ensure!(
            actual == step.expected,
            "{}: expected {:?}, not {actual:?}",
            file.display(),
            step.expected
        );
    }
    ensure!(
        steps.next().is_none(),
        "{}: a request of the story is missing",
        scene.folder
    );
    Ok(())
}

/// Prints the answer; `change` is the stamp of the workload, before and after.
fn explain(evaluation: &Evaluation, change: (Option<String>, Option<String>)) -> Expected {
    let response = &evaluation.response;
    let outcome = match change {
        _ if !response.accepted => {
            println!("      REJECTED");
            Expected::Rejected
        }
        (None, Some(after)) => {
            println!(
                "      STAMPED   rollout-guard/config-hash: {}",
                short(&after)
            );
            Expected::Stamped
        }
        (Some(before), Some(after)) if before != after => {
            println!(
                "      ROLLS OUT rollout-guard/config-hash: {} -> {}",
                short(&before),
                short(&after)
            );
            Expected::RollsOut
        }
        (Some(_), _) => {
            println!("      left alone: the pod template stays as it is");
            Expected::LeftAlone
        }
        (None, None) => {
            println!("      passes");
            Expected::Passes
        }
    };
    for text in response
        .message
        .iter()
        .chain(response.warnings.iter().flatten())
    {
        println!("      | {}", text.replace('\n', "\n      | "));
    }
    outcome
}

fn short(stamp: &str) -> &str {
    stamp.get(..19).unwrap_or(stamp)
}

/// The stamp that the answer puts on the pod template.
fn stamped(evaluation: &Evaluation) -> Option<String> {
    let admitted = evaluation.response.mutated_object.as_ref()?;
    let stamp =
        admitted.pointer("/spec/template/metadata/annotations/rollout-guard~1config-hash")?;
    stamp.as_str().map(str::to_owned)
}

fn subject(object: &Value) -> String {
    let text = |path| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
