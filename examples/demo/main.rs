//! `make demo`: shows how policy.wasm answers requests that were recorded from real Helm 3, Helm 4 and kubectl.
//!
//! It fails if an answer is not as expected.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Evaluation, Policy, Recording, Replay, wasmi};

/// Something that a user did, and the requests that matter.
struct Scene {
    folder: &'static str,
    command: &'static str,
    steps: &'static [Step],
}

struct Step {
    /// How the file name ends.
    request: &'static str,
    /// Only for this version of Helm. Empty for both.
    only: &'static str,
    expected: Expected,
    comment: &'static str,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    Accepted,
    Rejected,
    /// A workload gets its first config hash.
    Stamped,
    /// The config hash changes, so the pods roll out.
    RollsOut,
    /// The pod template stays the same.
    Unchanged,
}

const fn step(request: &'static str, expected: Expected, comment: &'static str) -> Step {
    Step {
        request,
        only: "",
        expected,
        comment,
    }
}

const DEPLOYMENT: &str = "deployment-yahoo-basic-app";

const STORY: [Scene; 6] = [
    Scene {
        folder: "1-install-v1",
        command: "helm install: a ConfigMap, and a Deployment that mounts it",
        steps: &[
            step(
                "release.v1.yahoo.v1",
                Expected::Accepted,
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
        command: "helm upgrade to a chart that turns the ConfigMap into a pre-upgrade hook: the hook trap",
        steps: &[step(
            "create-secret-sh.helm.release.v1.yahoo.v2",
            Expected::Rejected,
            "the release record, which Helm writes before it changes anything else",
        )],
    },
    Scene {
        folder: "4-rollback-to-v1",
        command: "helm rollback to version 1",
        steps: &[step(
            "release.v1.yahoo.v4",
            Expected::Accepted,
            "the release record",
        )],
    },
    Scene {
        folder: "5-upgrade-config-only",
        command: "helm upgrade that changes only the ConfigMap",
        steps: &[
            step(
                "release.v1.yahoo.v5",
                Expected::Accepted,
                "the release record",
            ),
            Step {
                request: DEPLOYMENT,
                only: "helm4",
                expected: Expected::RollsOut,
                comment: "Helm 4 also applies the unchanged Deployment, and the config has changed since its last hash",
            },
        ],
    },
    Scene {
        folder: "6-kubectl",
        command: "kubectl: add a key that no pod uses to the ConfigMap, then send an empty patch and an annotation for the Deployment",
        steps: &[
            Step {
                request: "02-update-deployment-yahoo-basic-app",
                only: "helm3",
                expected: Expected::RollsOut,
                comment: "the empty patch: Helm 3 sent no request for the Deployment, so this is the first one after the config change",
            },
            Step {
                request: "02-update-deployment-yahoo-basic-app",
                only: "helm4",
                expected: Expected::Unchanged,
                comment: "the empty patch: the pods do not use the key that was added",
            },
            step(
                "03-update-deployment-yahoo-basic-app",
                Expected::Unchanged,
                "the annotation: the config has not changed",
            ),
        ],
    },
    Scene {
        folder: "8-configmap-driver",
        command: "the hook trap again, with release records in ConfigMaps (HELM_DRIVER=configmap)",
        steps: &[step(
            "create-configmap-sh.helm.release.v1.cmrel.v2",
            Expected::Rejected,
            "the release record",
        )],
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let policy = Policy::load(&root.join("policy.wasm"), wasmi)?;
    println!("How policy.wasm answers requests that were recorded from real Helm and kubectl.");
    for (helm, title) in [("helm3", "HELM 3"), ("helm4", "HELM 4")] {
        println!("\n{title}");
        let mut replay = Replay::new(policy.clone(), json!({}));
        let mut stamp = None;
        for scene in &STORY {
            println!("\n  {}", scene.command);
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
                *stamp = config_hash(&evaluation).or(before.clone());
                (before, stamp.clone())
            }
            _ => (None, None),
        };
        println!("    {} - {}", subject(&object), step.comment);
        let actual = print_answer(&evaluation, change);
        ensure!(
            actual == step.expected,
            "{}: expected {:?}, not {actual:?}",
            file.display(),
            step.expected
        );
    }
    ensure!(
        steps.next().is_none(),
        "{}: a request is missing",
        scene.folder
    );
    Ok(())
}

/// Prints the answer. `change` is the config hash of the workload, before and after.
fn print_answer(evaluation: &Evaluation, change: (Option<String>, Option<String>)) -> Expected {
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
            println!("      unchanged: the pod template stays the same");
            Expected::Unchanged
        }
        (None, None) => {
            println!("      accepted");
            Expected::Accepted
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

/// The config hash that the answer sets on the pod template.
fn config_hash(evaluation: &Evaluation) -> Option<String> {
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
