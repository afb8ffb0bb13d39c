//! Large releases: revisions of a chart whose records have about a given size.

use std::fmt::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::record;

/// What a chart contains.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// ConfigMaps with large texts, such as dashboards for Grafana. Each has 24 kB, about as much as those of
    /// kube-prometheus-stack.
    Dashboards,
    /// CustomResourceDefinitions with many small YAML nodes, 60 kB each.
    Crds,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dashboards => "dashboards",
            Self::Crds => "CRDs",
        })
    }
}

/// Where the current revision is.
#[derive(Clone, Copy)]
pub(crate) enum History {
    /// The last revision is deployed.
    Deployed,
    /// Nine revisions failed after it. Helm keeps no more than ten.
    NineFailed,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "the last",
            Self::NineFailed => "before 9 failed",
        })
    }
}

/// An upgrade: the request that creates the pending record, and the existing records.
pub(crate) struct Upgrade {
    pub(crate) request: Value,
    pub(crate) records: Vec<Value>,
}

impl Upgrade {
    /// An upgrade whose records have at least this size, as it counts towards the limit of a Secret.
    pub(crate) fn new(content: Content, kilobytes: usize, history: History) -> Self {
        let chart = Chart::of_size(content, kilobytes);
        let failed = match history {
            History::Deployed => 0,
            History::NineFailed => 9,
        };
        let mut records = vec![chart.record(1, "deployed")];
        records.extend((0..failed).map(|n| chart.record(2 + n, "failed")));
        Self {
            request: record::create(chart.record(2 + failed, "pending-upgrade")),
            records,
        }
    }

    /// The pending record and the deployed one. Both have to be read.
    pub(crate) fn pair(&self) -> [&str; 2] {
        [&self.request["object"], &self.records[0]].map(text)
    }
}

fn text(secret: &Value) -> &str {
    secret["data"]["release"].as_str().unwrap()
}

struct Chart {
    content: Content,
    documents: usize,
}

impl Chart {
    fn of_size(content: Content, kilobytes: usize) -> Self {
        let mut chart = Self {
            content,
            documents: 1,
        };
        // Kubernetes counts the content without its own base64.
        while text(&chart.record(1, "deployed")).len() / 4 * 3 < kilobytes * 1000 {
            chart.documents += chart.documents.div_ceil(8);
        }
        chart
    }

    fn record(&self, revision: u64, status: &str) -> Value {
        let mut random = Random(0);
        let sentences: Vec<_> = (0..600).map(|_| random.sentence()).collect();
        let mut manifest = String::new();
        for n in 0..self.documents {
            manifest += &format!("---\n# Source: big/templates/{n}.yaml\n");
            let lines = match self.content {
                Content::Dashboards => dashboard(n, revision, &sentences, &mut random),
                Content::Crds => crd(n, revision, &sentences, &mut random),
            };
            manifest += &lines;
        }
        let release = json!({
            "name": "big", "info": {"status": status},
            // Templates of a chart are stored in base64. Here they are the whole manifest again.
            "chart": {"templates": [{"name": "templates/all.yaml", "data": BASE64_STANDARD.encode(&manifest)}]},
            "manifest": manifest, "version": revision, "namespace": "shop",
        });
        record::secret("big", revision, status, release.to_string().as_bytes())
    }
}

fn dashboard(n: usize, revision: u64, sentences: &[String], random: &mut Random) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dashboard-{n}\n  labels:\n    helm.sh/chart: big-1.0.{revision}\n\
         data:\n  dashboard-{n}.json: |\n"
    );
    for panel in 0..120 {
        let (word, sentence) = (random.choose(&WORDS), random.choose(sentences));
        let lines = [
            "{".to_owned(),
            format!("  \"id\": {panel},"),
            format!("  \"expr\": \"sum(rate({word}_total{{job=\\\"{word}\\\"}}[5m]))\","),
            format!("  \"title\": \"{sentence}\","),
            "  \"type\": \"timeseries\"".to_owned(),
            "},".to_owned(),
        ];
        for line in lines {
            writeln!(text, "    {line}").unwrap();
        }
    }
    text
}

fn crd(n: usize, revision: u64, sentences: &[String], random: &mut Random) -> String {
    let mut text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things{n}.example.com\n\
         \x20 labels:\n    helm.sh/chart: big-1.0.{revision}\nspec:\n  versions:\n  - name: v1\n    schema:\n\
         \x20     openAPIV3Schema:\n        properties:\n"
    );
    for field in 0..600 {
        let (word, sentence) = (random.choose(&WORDS), random.choose(sentences));
        for line in [
            format!("{word}{field}:"),
            format!("  description: {sentence}"),
            "  type: string".to_owned(),
        ] {
            writeln!(text, "          {line}").unwrap();
        }
    }
    text
}

const WORDS: [&str; 32] = [
    "a",
    "be",
    "cluster",
    "container",
    "default",
    "field",
    "instance",
    "is",
    "labels",
    "list",
    "memory",
    "must",
    "name",
    "namespace",
    "node",
    "object",
    "of",
    "pod",
    "prometheus",
    "query",
    "rate",
    "request",
    "resource",
    "selector",
    "set",
    "specified",
    "the",
    "to",
    "value",
    "volume",
    "when",
    "which",
];

/// Random numbers that are the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn sentence(&mut self) -> String {
        let words = 8 + self.below(8);
        (0..words)
            .map(|_| *self.choose(&WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
