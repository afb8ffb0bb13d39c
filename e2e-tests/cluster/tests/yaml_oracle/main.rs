//! Random YAML texts: `helm-plan` reads each document as Helm does.
//!
//! ```text
//! texts ─► helm template: fromYaml, toJson ─► Go's value ─┬─► judge
//!   │                                                     │
//!   └────► helm_plan::yaml::parse ────────────────────────┘
//! ```
//!
//! Helm reads manifests with sigs.k8s.io/yaml, and so does `fromYaml` in a chart. So no cluster is
//! needed, and one run of Helm reads hundreds of texts.
//!
//! `CASES` is the number of random texts, half of them for each Helm. `SEED` chooses them. For a text that fails,
//! the report shows the smallest part that fails in the same way.
//!
//! ```sh
//! CASES=100000 SEED=7 cargo test -p cluster-tests --test yaml_oracle
//! ```

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cluster_tests::{HelmVersion, from_environment};
use libtest_mimic::{Arguments, Failed, Trial};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::judge::{Tally, judge, report, smallest};
use crate::oracle::readings;
use crate::texts::texts;

mod judge;
mod oracle;
mod texts;

/// Takes about five seconds.
const DEFAULT_CASES: usize = 20_000;
const DEFAULT_SEED: u64 = 3;
/// How many texts one run of Helm reads.
const BATCH: usize = 500;

fn main() -> Result<ExitCode> {
    let cases = from_environment("CASES", DEFAULT_CASES)?;
    let seed = from_environment("SEED", DEFAULT_SEED)?;
    let tally = Arc::new(Tally::default());
    let mut trials = Vec::new();
    for number in 0..cases.div_ceil(BATCH) {
        let helm = if number % 2 == 0 {
            HelmVersion::V3
        } else {
            HelmVersion::V4
        };
        let size = BATCH.min(cases - number * BATCH);
        let tally = Arc::clone(&tally);
        trials.push(trial(format!("{helm}: batch {number}"), move || {
            check(helm, &random(seed, number, size)?, &tally)
        }));
    }
    for helm in HelmVersion::ALL {
        let tally = Arc::clone(&tally);
        trials.push(trial(
            format!("{helm}: seeds of the fuzz target"),
            move || check(helm, &seeds()?, &tally),
        ));
    }
    println!("SEED={seed} CASES={cases}");
    let code = libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    print!("{tally}");
    Ok(code)
}

fn trial(name: String, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run().map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn check(helm: HelmVersion, texts: &[String], tally: &Tally) -> Result<()> {
    let mut failed = Vec::new();
    for (text, go) in texts.iter().zip(readings(helm, texts)?) {
        match judge(text, &go) {
            Ok(agreement) => tally.add(agreement),
            Err(disagreement) if !failed.iter().any(|(_, same)| *same == disagreement) => {
                failed.push((text, disagreement));
            }
            Err(_) => {}
        }
    }
    let mut reports = Vec::new();
    for (text, disagreement) in failed {
        reports.push(report(helm, &smallest(helm, text, disagreement)?)?);
    }
    if reports.is_empty() {
        return Ok(());
    }
    bail!("{}", reports.join("\n\n"))
}

/// The texts of a batch do not depend on which other batches run.
fn random(seed: u64, batch: usize, size: usize) -> Result<Vec<String>> {
    let mut bytes = [0; 32];
    let parts = seed.to_le_bytes().into_iter().chain(batch.to_le_bytes());
    bytes.iter_mut().zip(parts).for_each(|(b, part)| *b = part);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let texts = texts();
    let text = |_| match texts.new_tree(&mut runner) {
        Ok(tree) => Ok(tree.current()),
        Err(reason) => Err(anyhow!("{reason}")),
    };
    (0..size).map(text).collect()
}

/// The seeds of the fuzz target for manifests, and each of their documents.
fn seeds() -> Result<Vec<String>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let folder = repository
        .context("not in a repository")?
        .join("fuzz/seeds/manifest");
    let mut texts = Vec::new();
    for file in fs::read_dir(folder)? {
        let text = fs::read_to_string(file?.path())?;
        texts.extend(text.split("---\n").map(str::to_owned));
        texts.push(text);
    }
    Ok(texts)
}
