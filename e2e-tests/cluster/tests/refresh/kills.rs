//! Replicas die at any moment.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{AuditMark, Case, User, Verb, wait_until};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

use crate::app::{config, deployment};
use crate::changes::{rolled_out, set};
use crate::guard::Guard;
use crate::program::{LIMIT, Refresh, flags};

/// So many that no config changes twice within the minute in which two changes cannot be told apart.
const APPS: usize = 60;

/// How long after a change a replica dies, at most: the leader has patched long before.
const LONGEST: u64 = 600;

pub(crate) fn killed(case: &Case<'_>, kills: usize, seed: u64) -> Result<()> {
    let mut rng = random(seed);
    let _guard = Guard::new(case, json!({}))?;
    let mut apps = String::new();
    for number in 0..APPS {
        let name = format!("web-{number}");
        let web = deployment("", "web").replace("name: web\n", &format!("name: {name}\n"));
        apps += &format!("{}---{web}---", config("", "0")).replace("app-config", &name);
    }
    case.cluster.apply(&case.namespace, &apps)?.success()?;
    let flags = flags(case);
    let start = || Refresh::start(case, &flags);
    let mut replicas = vec![start()?, start()?];
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..APPS {
        rolled_out(case, &format!("deployment/web-{number}"), 1)?;
        expected.insert(format!("web-{number}"), 1);
    }
    one_leads(&replicas)?;
    let mark = case.cluster.audit_mark()?;
    for kill in 0..kills {
        one_leads(&replicas)?;
        let apps: Vec<_> = [0, 1]
            .map(|nth| format!("web-{}", (2 * kill + nth) % APPS))
            .into();
        for app in &apps {
            set(case, app, &format!("kill-{kill}"))?;
            *expected.entry(app.clone()).or_default() += 1;
        }
        // Any moment, so no condition is waited for.
        thread::sleep(Duration::from_millis(rng.next_u64() % LONGEST));
        // Mostly the leader.
        let victim = match rng.next_u64() % 4 {
            0 => 0,
            _ => replicas
                .iter()
                .position(|replica| replica.leads().unwrap_or(false))
                .unwrap_or(0),
        };
        drop(replicas.remove(victim));
        replicas.push(start()?);
        for app in &apps {
            let times = expected.get(app).copied().unwrap_or_default();
            let logs = || replicas.iter().map(Refresh::end_of_log).collect::<String>();
            rolled_out(case, &format!("deployment/{app}"), times)
                .with_context(|| format!("kill {kill}\n{}", logs()))?;
        }
    }
    let twice = patched_twice(case, mark, &expected)?;
    println!(
        "SEED={seed}: {kills} kills, {} changes, {} of them patched once more after a kill",
        2 * kills,
        twice
    );
    for (app, times) in &expected {
        rolled_out(case, &format!("deployment/{app}"), *times)?;
    }
    Ok(())
}

/// Two replicas are for the death of one: the next one dies when another has taken over.
fn one_leads(replicas: &[Refresh]) -> Result<()> {
    wait_until("one leads and has nothing to do", LIMIT, || {
        for replica in replicas {
            if replica.leads()? && replica.is_idle()? {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
}

/// How many more patches than changes there were. Dry runs count as none.
fn patched_twice(
    case: &Case<'_>,
    mark: AuditMark,
    expected: &BTreeMap<String, usize>,
) -> Result<usize> {
    let trail = case
        .cluster
        .audit_since(mark)?
        .in_namespace(&case.namespace);
    let trail = trail.by_user(User::Refresh);
    let mut patches: BTreeMap<String, usize> = BTreeMap::new();
    for event in trail.events() {
        if event.request_uri.contains("dryRun") {
            continue;
        }
        // The API server gives up a request whose client has died, unless it is too late.
        let Some(step) = event.step().filter(|step| step.code == 200) else {
            continue;
        };
        if step.verb == Verb::Patch {
            let object = &step.object;
            *patches.entry(object.name.clone()).or_default() += 1;
        }
    }
    let mut twice = 0;
    for (app, times) in expected {
        let changes = times - 1;
        let sent = patches.get(app).copied().unwrap_or_default();
        ensure!(
            sent >= changes,
            "{app} was patched {sent} times for {changes} changes"
        );
        twice += sent - changes;
    }
    Ok(twice)
}

fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte = value;
    }
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
