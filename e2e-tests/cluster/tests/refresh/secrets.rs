//! Values of Secrets are nowhere: neither in what the program says nor in its memory.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, Suite, wait_until};
use serde_json::json;

use crate::app::deployment;
use crate::changes::{replicas, rolled_out};
use crate::guard::Guard;
use crate::program::{LIMIT, flags};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case("values of Secrets are nowhere", nowhere);
}

/// As it is, and as base64.
const PLANTED: [(&str, &str); 2] = [
    ("planted-by-create-4711", "cGxhbnRlZC1ieS1jcmVhdGUtNDcxMQ=="),
    ("planted-by-patch-4712", "cGxhbnRlZC1ieS1wYXRjaC00NzEy"),
];
/// Metadata has this one: `kubectl apply` puts the whole Secret into an annotation.
const APPLIED: &str = "planted-by-apply-4713";

/// Is in memory, so that it is known that memory was read.
const KNOWN: &str = "name-of-the-secret-4714";

fn nowhere(case: &Case<'_>) -> Result<()> {
    let _guard = Guard::new(case, json!({}))?;
    let [leader, other] = replicas(case, &flags(case))?;
    let [(created, _), (patched, _)] = PLANTED;
    let literal = format!("--from-literal=setting={created}");
    case.kubectl(&["create", "secret", "generic", KNOWN, &literal])?
        .success()?;
    let web = deployment("", "web").replace(
        "configMapRef: {name: app-config}",
        &format!("secretRef: {{name: {KNOWN}}}"),
    );
    case.cluster.apply(&case.namespace, &web)?.success()?;
    rolled_out(case, "deployment/web", 1)?;
    let applied = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "applied"}, "stringData": {"setting": APPLIED},
    });
    case.cluster
        .apply(&case.namespace, &applied.to_string())?
        .success()?;
    let patch = json!({"stringData": {"setting": patched}}).to_string();
    case.kubectl(&["patch", "secret", KNOWN, "--patch", &patch])?
        .success()?;
    rolled_out(case, "deployment/web", 2)?;
    // What comes by the same watch later takes the place of the annotation in the buffers of the connection.
    for number in 0..20 {
        let literal = format!("--from-literal=setting={number}");
        let name = format!("later-{number}");
        case.kubectl(&["create", "secret", "generic", &name, &literal])?
            .success()?;
    }
    for refresh in [&leader, &other] {
        wait_until("all Secrets are seen", LIMIT, || {
            Ok((refresh.metric("configs")? >= 22).then_some(()))
        })?;
        let said = fs::read_to_string(refresh.log_file())? + &refresh.get("/metrics")?;
        let memory = memory(refresh.id)?;
        ensure!(contains(&memory, KNOWN), "the memory was not read");
        for planted in PLANTED
            .iter()
            .flat_map(|(text, base64)| [*text, *base64])
            .chain([APPLIED])
        {
            ensure!(!said.contains(planted), "{planted} is in the output");
            ensure!(!contains(&memory, planted), "{planted} is in memory");
        }
    }
    let events = case
        .kubectl(&["get", "events", "--output=yaml"])?
        .success()?
        .stdout;
    ensure!(!events.contains("planted-by"), "{events}");
    Ok(())
}

fn contains(memory: &[u8], text: &str) -> bool {
    memory
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// All memory of a process that can be written.
fn memory(id: u32) -> Result<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let mut file = File::open(format!("/proc/{id}/mem"))?;
    let mut memory = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (
            fields.next().context("range")?,
            fields.next().context("rights")?,
        );
        if !rights.starts_with("rw") {
            continue;
        }
        let (begin, end) = range.split_once('-').context("range")?;
        let begin = u64::from_str_radix(begin, 16)?;
        let size = u64::from_str_radix(end, 16)? - begin;
        file.seek(SeekFrom::Start(begin))?;
        let before = memory.len();
        // A region may have gone meanwhile.
        if Read::by_ref(&mut file)
            .take(size)
            .read_to_end(&mut memory)
            .is_err()
        {
            memory.truncate(before);
        }
    }
    Ok(memory)
}
