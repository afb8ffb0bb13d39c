//! Random scenarios, run with real Helm and planned by `helm-plan`: Helm does what the plan says.
//!
//! ```text
//! generator ─► charts and commands ─┬─► run: real Helm ─► requests, before, after ─┐
//!                                   │            │                                 ├─► compare
//!                                   │            ▼ records                         │   damage
//!                                   └─────────► expect: plan, findings ────────────┘
//! ```
//!
//! `CASES` is the number of scenarios, half of them for each version of Helm. The number of a case and `SEED` together
//! choose a scenario. A scenario that fails is shrunk, which runs Helm up to `SHRINK` times.
//!
//! ```sh
//! CASES=2000 SEED=7 cargo test -p cluster-tests --test differential
//! SEED=7 cargo test -p cluster-tests --test differential -- 'helm3: case 12'
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use cluster_tests::{Case, HelmVersion, Suite, from_environment};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::generator::scenarios;
use crate::judge::judge;
use crate::scenario::Scenario;
use crate::tally::Tally;

mod compare;
mod damage;
mod expect;
mod generator;
mod judge;
mod objects;
mod regressions;
mod run;
mod scenario;
mod tally;

/// A sample, of about three minutes.
const DEFAULT_CASES: usize = 60;
/// From this number of cases on, each finding must occur: `make differential`.
const ALL_FINDINGS: usize = 150;
const DEFAULT_SEED: u64 = 3;
const DEFAULT_SHRINK: usize = 60;

fn main() -> Result<ExitCode> {
    let cases = from_environment("CASES", DEFAULT_CASES)?;
    let seed = from_environment("SEED", DEFAULT_SEED)?;
    let shrink = from_environment("SHRINK", DEFAULT_SHRINK)?;
    let tally = Arc::new(Tally::default());
    let mut suite = Suite::new();
    for number in 0..cases {
        let helm = if number % 2 == 0 {
            HelmVersion::V3
        } else {
            HelmVersion::V4
        };
        let number = number / 2;
        let tally = Arc::clone(&tally);
        suite.case(format!("{helm}: case {number}"), move |case| {
            random(case, helm, seed, number, shrink, &tally)
        });
    }
    regressions::add_to(&mut suite);
    println!("SEED={seed} CASES={cases}");
    let code = suite.run();
    print!("{tally}");
    let missing = tally.missing();
    if tally.cases() == cases && cases >= ALL_FINDINGS && !missing.is_empty() {
        println!("findings that never occurred: {missing:?}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

fn random(
    case: &Case,
    helm: HelmVersion,
    seed: u64,
    number: usize,
    shrink: usize,
    tally: &Tally,
) -> Result<()> {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(helm, seed, number));
    let tree = scenarios(helm).new_tree(&mut runner);
    let mut tree = tree.map_err(|reason| anyhow!("{reason}"))?;
    match judge(case, &tree.current())? {
        Ok(agreed) => {
            tally.add(helm, &agreed);
            Ok(())
        }
        Err(disagreement) => {
            let smallest = smallest(case, &mut tree, shrink, disagreement.0)?;
            bail!("SEED={seed}: {smallest}")
        }
    }
}

/// The random numbers of a case do not depend on which other cases run.
fn rng(helm: HelmVersion, seed: u64, number: usize) -> TestRng {
    let mut bytes = [0; 32];
    let parts = seed.to_le_bytes().into_iter().chain(number.to_le_bytes());
    let parts = parts.chain([u8::from(helm == HelmVersion::V4)]);
    bytes.iter_mut().zip(parts).for_each(|(b, part)| *b = part);
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// The report of the smallest scenario that still shows a disagreement.
fn smallest(
    case: &Case,
    tree: &mut impl ValueTree<Value = Scenario>,
    runs: usize,
    mut report: String,
) -> Result<String> {
    let mut has_simpler = tree.simplify();
    // Many choices change nothing in the charts. Then the answer is known.
    let mut last: Option<(Scenario, bool)> = None;
    let mut run = 0;
    while has_simpler && run < runs {
        let scenario = tree.current();
        let fails = match &last {
            Some((same, fails)) if *same == scenario => *fails,
            _ => {
                run += 1;
                let judged = judge(&case.again(run)?, &scenario)?;
                judged.map_err(|smaller| report = smaller.0).is_err()
            }
        };
        last = Some((scenario, fails));
        has_simpler = if fails {
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    Ok(report)
}
