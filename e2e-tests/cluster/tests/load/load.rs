//! 32 clients at once: every answer is the known one, and the webhook's memory stays what it was.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster_tests::{Case, HelmVersion};
use futures::future;
use serde_json::{Value, json};

use crate::client::Client;
use crate::example_policy::ExamplePolicy;
use crate::program::Program;
use crate::release::{Release, gzip, padded, with_data};
use crate::review::{CONFIG_MAP, Expected, JOB, Question, SECRET, SERVICE, request};

const CLIENTS: usize = 32;

/// Every question was asked by many clients at once by then, and each connection, thread and watch
/// that stays is there.
const WARM_UP: Duration = Duration::from_secs(5);

/// What the settings allow by default.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// How much memory may be gained after that, measured while nothing is asked. It differs by less than
/// one MiB from one run to the next. A kilobyte that is lost with each answer is more than this in ten
/// seconds, and a hundred bytes in sixty.
const MAX_GROWTH: u64 = 3 << 20;

pub(crate) fn load(case: &Case<'_>, duration: Duration) -> Result<()> {
    let known = questions(case)?;
    let example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
    let mut program = Program::start(case.cluster, &example)?;
    let cluster = case.cluster;

    let clients =
        (0..CLIENTS).map(|number| Client::new(number, &program, cluster.client(), &case.namespace));
    let mut clients = cluster.block_on(future::try_join_all(clients))?;
    let first = clients.first_mut().context("no client")?;
    let known = cluster.block_on(learn(first, known))?;

    let mut ask = |duration: Duration| {
        let end = Instant::now() + duration;
        let answers = |clients: &[Client]| clients.iter().map(|client| client.answers).sum();
        let before: usize = answers(&clients);
        let working = clients.iter_mut().enumerate().map(|(number, client)| {
            let mine = known.iter().filter(|known| known.is_for(number));
            let mine: Vec<_> = mine.map(|known| &known.question).collect();
            async move { client.ask_until(end, &mine).await }
        });
        cluster.block_on(future::try_join_all(working))?;
        let after: usize = answers(&clients);
        anyhow::Ok(after - before)
    };
    ask(WARM_UP)?;
    let before = program.resident_bytes()?;
    let start = Instant::now();
    let answers = ask(duration)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = program.resident_bytes()?;
    program.check()?;

    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "load: {CLIENTS} clients, {seconds:.0} s, {answers} answers and none wrong, {:.0} a second; \
         resident memory {:.1} MiB before, {:.1} MiB after",
        answers as f64 / seconds,
        mebibytes(before),
        mebibytes(after),
    );
    ensure!(
        after <= before + MAX_GROWTH,
        "the memory of the webhook grew from {before} to {after} bytes with {answers} answers"
    );
    Ok(())
}

/// A question that is the same each time.
struct Known {
    question: Question,
    expected: Expected,
    /// Only one client asks it: several at once take a second, and an evaluation may take two.
    expensive: bool,
}

impl Known {
    fn new(name: &'static str, request: Value, expected: Expected) -> Known {
        let question = Question {
            name,
            request,
            response: Value::Null,
        };
        Known {
            question,
            expected,
            expensive: false,
        }
    }

    fn expensive(self) -> Known {
        Known {
            expensive: true,
            ..self
        }
    }

    fn is_for(&self, client: usize) -> bool {
        !self.expensive || client == 0
    }
}

/// Asks one after the other, with nothing else going on.
async fn learn(client: &mut Client, mut all: Vec<Known>) -> Result<Vec<Known>> {
    for Known {
        question, expected, ..
    } in &mut all
    {
        let answer = client.ask(&question.review("first")?).await?;
        question.learn(answer, *expected)?;
    }
    Ok(all)
}

/// Each kind of request, and each kind of answer.
fn questions(case: &Case<'_>) -> Result<Vec<Known>> {
    use Expected::{Passes, Rejected};

    let [helm3, helm4] = HelmVersion::ALL;
    let three = Release::install(case.again(1)?, helm3)?;
    let four = Release::install(case.again(2)?, helm4)?;
    // Helm has begun, since the policy did not see the record.
    let begun = Release::install(case.again(3)?, helm4)?;
    begun.begin_the_trap()?;

    let pruned = Rejected(403, "hook-pruned: ConfigMap app-config");
    let stopped = Rejected(
        403,
        "The upgrade is already running; only this request was stopped.",
    );
    let mut all = vec![
        Known::new(
            "a harmless upgrade with Helm 3",
            record(&three.harmless),
            Passes,
        ),
        Known::new(
            "a harmless upgrade with Helm 4",
            record(&four.harmless),
            Passes,
        ),
        Known::new("the trap with Helm 3", record(&three.trap), pruned),
        Known::new("the trap with Helm 4", record(&four.trap), pruned),
        Known::new("a deletion in a release", three.deletion()?, Passes),
        Known::new("the deletion of the trap", begun.deletion()?, stopped),
        Known::new("a large record", record(&padded(&four.harmless)?), Passes).expensive(),
    ];
    all.extend(not_ours(&case.namespace));
    all.extend(hostile(&three.trap)?);
    Ok(all)
}

fn record(secret: &Value) -> Value {
    request("CREATE", SECRET, (secret, &Value::Null))
}

fn not_ours(namespace: &str) -> Vec<Known> {
    let object =
        |spec: Value| json!({"metadata": {"name": "x", "namespace": namespace}, "spec": spec});
    let service = object(json!({"ports": []}));
    let containers = json!([{"name": "a", "image": "a"}]);
    let job = object(json!({"template": {"spec": {"containers": containers}}}));
    let config = object(Value::Null);
    [
        (
            "a Service",
            request("CREATE", SERVICE, (&service, &Value::Null)),
        ),
        ("a Job", request("CREATE", JOB, (&job, &Value::Null))),
        (
            "a ConfigMap",
            request("CREATE", CONFIG_MAP, (&config, &Value::Null)),
        ),
        ("an edit", request("UPDATE", CONFIG_MAP, (&config, &config))),
        (
            "a deletion",
            request("DELETE", CONFIG_MAP, (&Value::Null, &config)),
        ),
    ]
    .map(|(name, request)| Known::new(name, request, Expected::Passes))
    .into()
}

/// Records that nobody can read, made of one that can be read.
fn hostile(readable: &Value) -> Result<Vec<Known>> {
    let known = |name, data: String, part| {
        let unreadable = record(&with_data(readable, &data)?);
        anyhow::Ok(Known::new(name, unreadable, Expected::Rejected(500, part)))
    };
    let once = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let twice = |bytes: &[u8]| once(once(bytes).as_bytes());
    let broken = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 255, 255];
    // The policy has to begin to decode it, in order to find out.
    let bomb = gzip(&vec![b' '; MAX_RECORD_BYTES + 1])?;
    Ok(vec![
        known(
            "no base64",
            "%".to_owned(),
            "base64 of Kubernetes: wrong symbol",
        )?,
        known(
            "no base64 in it",
            once(b"%"),
            "base64 of Helm: wrong symbol",
        )?,
        known("broken gzip", twice(&broken), "data.release: gzip: ")?,
        known("broken JSON", twice(b"{"), "data.release: JSON: ")?,
        known(
            "a gzip bomb",
            twice(&bomb),
            "larger than releaseGuard.maxRecordBytes",
        )?
        .expensive(),
    ])
}
