//! The two engines give the same answers: what the recordings of real Helm and kubectl get from the interpreter, which all other tests
//! have, they get from policy-server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use testbed::{Policy, Recording, Replay, report, wasmi};

use crate::{policy, root};

#[test]
fn both_engines_give_the_same_answers() {
    let interpreted = Policy::load(&root().join("policy.wasm"), wasmi).unwrap();
    let mut requests = 0;
    for helm in ["helm3", "helm4"] {
        let mut replays =
            [interpreted.clone(), policy()].map(|policy| Replay::new(policy, json!({})));
        for scenario in sorted(&root().join("tests/recordings").join(helm)) {
            for file in sorted(&scenario) {
                let answers = replays.each_mut().map(|replay| {
                    let recording = Recording::read(&file).unwrap();
                    report::json(&replay.play(recording).unwrap())
                });
                assert_eq!(answers[0], answers[1], "{}", file.display());
                requests += 1;
            }
        }
    }
    assert_ne!(requests, 0);
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
