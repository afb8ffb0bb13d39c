//! Big releases: two revisions of a chart whose records are about as large as wanted.

use std::fmt::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::record;

/// What a chart is made of.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// ConfigMaps with large texts, as charts have them for Grafana: each about as large as those of
    /// kube-prometheus-stack, 24 kB.
    Dashboards,
    /// CustomResourceDefinitions: many small YAML nodes, 60 kB each.
    Crds,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dashboards => "dashboards",
            Self::Crds => "CRDs",
        })
    }
}

/// Where the current revision is found.
#[derive(Clone, Copy)]
pub(crate) enum Walk {
    /// The last one is deployed.
    First,
    /// Nine failed since, and Helm keeps no more than ten.
    Worst,
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "the last",
            Self::Worst => "9 failed ones before",
        })
    }
}

/// An upgrade: the request that creates the pending record, and the records that are there.
pub(crate) struct Upgrade {
    pub(crate) request: Value,
    pub(crate) history: Vec<Value>,
}

impl Upgrade {
    /// An upgrade whose records have at least so many kilobytes: what counts against the limit of
    /// a Secret.
    pub(crate) fn new(shape: Shape, kilobytes: usize, walk: Walk) -> Self {
        let chart = Chart::of_size(shape, kilobytes);
        let failed = match walk {
            Walk::First => 0,
            Walk::Worst => 9,
        };
        let mut history = vec![chart.record(1, "deployed")];
        history.extend((0..failed).map(|n| chart.record(2 + n, "failed")));
        Self {
            request: record::create(chart.record(2 + failed, "pending-upgrade")),
            history,
        }
    }

    /// The pending record and the one that is deployed: what cannot be judged unread.
    pub(crate) fn pair(&self) -> [&str; 2] {
        [&self.request["object"], &self.history[0]].map(text)
    }
}

fn text(secret: &Value) -> &str {
    secret["data"]["release"].as_str().unwrap()
}

struct Chart {
    shape: Shape,
    documents: usize,
}

impl Chart {
    fn of_size(shape: Shape, kilobytes: usize) -> Self {
        let mut chart = Self {
            shape,
            documents: 1,
        };
        // Kubernetes counts what is inside of its base64.
        while text(&chart.record(1, "deployed")).len() / 4 * 3 < kilobytes * 1000 {
            chart.documents += chart.documents.div_ceil(8);
        }
        chart
    }

    fn record(&self, revision: u64, status: &str) -> Value {
        let mut dice = Dice(0);
        let sentences: Vec<_> = (0..600).map(|_| dice.sentence()).collect();
        let mut manifest = String::new();
        for n in 0..self.documents {
            manifest += &format!("---\n# Source: big/templates/{n}.yaml\n");
            let lines = match self.shape {
                Shape::Dashboards => dashboard(n, revision, &sentences, &mut dice),
                Shape::Crds => crd(n, revision, &sentences, &mut dice),
            };
            manifest += &lines;
        }
        let release = json!({
            "name": "big", "info": {"status": status},
            // In a chart, everything is stored in base64. Here that is all of the manifest once more.
            "chart": {"templates": [{"name": "templates/all.yaml", "data": BASE64_STANDARD.encode(&manifest)}]},
            "manifest": manifest, "version": revision, "namespace": "shop",
        });
        record::secret("big", revision, status, release.to_string().as_bytes())
    }
}

fn dashboard(n: usize, revision: u64, sentences: &[String], dice: &mut Dice) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dashboard-{n}\n  labels:\n    helm.sh/chart: big-1.0.{revision}\n\
         data:\n  dashboard-{n}.json: |\n"
    );
    for panel in 0..120 {
        let (word, sentence) = (dice.of(&WORDS), dice.of(sentences));
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

fn crd(n: usize, revision: u64, sentences: &[String], dice: &mut Dice) -> String {
    let mut text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things{n}.example.com\n\
         \x20 labels:\n    helm.sh/chart: big-1.0.{revision}\nspec:\n  versions:\n  - name: v1\n    schema:\n\
         \x20     openAPIV3Schema:\n        properties:\n"
    );
    for field in 0..600 {
        let (word, sentence) = (dice.of(&WORDS), dice.of(sentences));
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

/// The same numbers in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }

    fn sentence(&mut self) -> String {
        let words = 8 + self.roll(8);
        (0..words)
            .map(|_| *self.of(&WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
