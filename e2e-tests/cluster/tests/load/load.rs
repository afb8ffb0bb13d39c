//! 32 clients at once: every answer is as expected, and the memory of the webhook does not grow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster_tests::{Case, HelmVersion};
use futures::future;
use helm_plan::testing::gzip;
use serde_json::{Value, json};

use crate::client::Client;
use crate::example_policy::ExamplePolicy;
use crate::program::Program;
use crate::release::{Release, padded, with_data};
use crate::review::{CONFIG_MAP, Expected, JOB, Question, SECRET, SERVICE, request};

const CLIENTS: usize = 32;

/// After this time, many clients have asked every question at once, and all lasting connections, threads and watches
/// exist.
const WARM_UP: Duration = Duration::from_secs(5);

/// The default of `releaseGuard.maxRecordBytes`.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// How much the memory may grow after the warm-up, measured while the webhook is idle. Between runs, the growth differs by
/// less than one MiB. A leak of a kilobyte per answer exceeds this in ten seconds, and one of a hundred bytes in sixty.
const MAX_GROWTH: u64 = 3 << 20;

pub(crate) fn load(case: &Case<'_>, duration: Duration) -> Result<()> {
    let known = questions(case)?;
    let mut example = ExamplePolicy::with_second_line()?;
    example.settings = json!({"releaseGuard": {"hookRequests": true}});
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
        "load: {CLIENTS} clients, {seconds:.0} s, {answers} answers and none wrong, {:.0} per second; \
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

/// A question that never changes.
struct Known {
    question: Question,
    expected: Expected,
    /// Only one client asks it. Several at once take a second, and the limit for an evaluation is two.
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

/// Asks one question after the other, without other load.
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
    use Expected::{Accepted, Rejected};

    let [helm3, helm4] = HelmVersion::ALL;
    let release3 = Release::install(case.again(1)?, helm3)?;
    let release4 = Release::install(case.again(2)?, helm4)?;
    // The upgrade is already running, because the policy did not see the record.
    let running = Release::install(case.again(3)?, helm4)?;
    running.begin_the_trap()?;

    let pruned = Rejected(403, "hook-pruned: ConfigMap app-config");
    let stopped = Rejected(
        403,
        "The upgrade is already running; only this request was stopped.",
    );
    let mut all = vec![
        Known::new(
            "a harmless upgrade with Helm 3",
            record(&release3.harmless),
            Accepted,
        ),
        Known::new(
            "a harmless upgrade with Helm 4",
            record(&release4.harmless),
            Accepted,
        ),
        Known::new("the trap with Helm 3", record(&release3.trap), pruned),
        Known::new("the trap with Helm 4", record(&release4.trap), pruned),
        Known::new("a deletion in a release", release3.deletion()?, Accepted),
        Known::new("the deletion of the trap", running.deletion()?, stopped),
        Known::new(
            "a large record",
            record(&padded(&release4.harmless)?),
            Accepted,
        )
        .expensive(),
    ];
    all.extend(other_requests(&case.namespace));
    all.extend(hostile(&release3.trap)?);
    Ok(all)
}

fn record(secret: &Value) -> Value {
    request("CREATE", SECRET, (secret, &Value::Null))
}

fn other_requests(namespace: &str) -> Vec<Known> {
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
    .map(|(name, request)| Known::new(name, request, Expected::Accepted))
    .into()
}

/// Unreadable records, made from a readable one.
fn hostile(readable: &Value) -> Result<Vec<Known>> {
    let known = |name, data: String, part| {
        let unreadable = record(&with_data(readable, &data)?);
        anyhow::Ok(Known::new(name, unreadable, Expected::Rejected(500, part)))
    };
    let once = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let twice = |bytes: &[u8]| once(once(bytes).as_bytes());
    let broken = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 255, 255];
    // The policy has to start decoding it to find out.
    let bomb = gzip(&vec![b' '; MAX_RECORD_BYTES + 1]);
    Ok(vec![
        known(
            "no base64",
            "%".to_owned(),
            "Kubernetes' base64 layer has an invalid character",
        )?,
        known(
            "no base64 inside",
            once(b"%"),
            "Helm's base64 layer has an invalid character",
        )?,
        known("broken gzip", twice(&broken), "data.release: gzip: ")?,
        known("broken JSON", twice(b"{"), "data.release: JSON: ")?,
        known(
            "a gzip bomb",
            twice(&bomb),
            "the decoded record is larger than ",
        )?
        .expensive(),
    ])
}
