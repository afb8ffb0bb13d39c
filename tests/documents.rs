//! What is published agrees with the code and with itself, where `cargo xtask generate` does not see to it.

use std::{collections::BTreeSet, fs, path::Path};

use helm_plan::{findings::LINTS, manifest, yaml};
use rollout_guard::settings::Settings;
use serde_json::Value;

use crate::{
    page_commands::{NOT_RUN, PAGES, RUN, commands},
    support::{root, sorted},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read_yaml(file: &str) -> Value {
    yaml::parse(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// `rollout-guard/…`, wherever it is written.
fn annotations(text: &str) -> BTreeSet<String> {
    let keys = text
        .match_indices("rollout-guard/")
        .filter_map(|(at, prefix)| {
            // Not the end of another path, such as that of the repository.
            let before = text.get(..at)?.chars().next_back();
            let rest = text.get(at + prefix.len()..)?;
            let name = rest
                .split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
                .next()?;
            let is_key =
                !name.is_empty() && !before.is_some_and(|c| c == '/' || c.is_alphanumeric());
            is_key.then(|| format!("{prefix}{name}").trim_end_matches('-').to_owned())
        });
    keys.collect()
}

/// Where the pages and the examples name a version of this project.
const BEFORE_VERSION: [&str; 8] = [
    "rollout-guard/policies/rollout-guard:v",
    "rollout-guard/rollout-guard-refresh:v",
    "rollout-guard/rollout-guard-check:v",
    "rollout-guard/rollout-guard@v",
    "rollout-guard/rollout-guard/v",
    "--branch v",
    "releases/download/v",
    "rollout-guard-",
];

#[test]
fn there_is_one_version() {
    assert_eq!(read_yaml("check/plugin.yaml")["version"], VERSION);
    let metadata = read_yaml("metadata.yml");
    assert_eq!(
        metadata["annotations"]["io.kubewarden.policy.version"],
        VERSION
    );
    let mut texts: Vec<_> = ["README.md", "action.yml"].map(read).into();
    for folder in ["docs", "examples"] {
        let files = sorted(&root().join(folder)).into_iter();
        let files = files.filter(|path| path.is_file());
        texts.extend(files.map(|path| fs::read_to_string(path).unwrap()));
    }
    for before in BEFORE_VERSION {
        let of_a_version = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
        let mut found = texts
            .iter()
            .flat_map(|text| text.split(before).skip(1))
            .filter(of_a_version)
            .peekable();
        assert!(found.peek().is_some(), "nothing has {before:?}");
        for rest in found {
            let after = rest.strip_prefix(VERSION).unwrap_or(rest);
            assert!(!of_a_version(&after), "{before}{rest:.20}");
        }
    }
}

/// A picture cannot be searched or copied, and some readers do not see it.
#[test]
fn the_readme_has_the_session_of_its_picture_as_text() {
    let session = read("e2e-tests/cluster/tests/guarded/readme.txt");
    let block = format!("```console\n{session}```\n");
    assert!(read("README.md").contains(&block), "{session}");
}

#[test]
fn the_readme_leads_to_each_finding() {
    let readme = read("README.md");
    let links = readme.split("](docs/findings.md#").skip(1);
    let linked: BTreeSet<_> = links
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .collect();
    let known: BTreeSet<_> = LINTS.iter().map(|lint| lint.name).collect();
    assert_eq!(linked, known);
}

#[test]
fn the_pages_name_all_annotations_and_labels() {
    let mut known = annotations(&read("src/annotations.rs"));
    for module in [
        "config-digest/src/record",
        "pod-references/src/chosen",
        "pod-references/src/extra",
    ] {
        known.extend(annotations(&read(&format!("crates/{module}.rs"))));
    }
    // The label that the example of the CronJob selects by.
    known.extend(annotations(&read("examples/refresh-cronjob.yaml")));
    assert_eq!(annotations(&read("docs/operations.md")), known);
    let shown = annotations(&read("README.md"));
    assert!(shown.is_subset(&known), "{shown:?}");
}

/// What an operator copies from a page is run by a test, or the page says that it is not.
#[test]
fn each_command_for_operators_is_run_or_says_why_not() {
    let commands: Vec<_> = PAGES
        .iter()
        .flat_map(|page| commands(&read(page)))
        .collect();
    let entries: Vec<_> = RUN
        .iter()
        .map(|(_, entry)| (*entry, None))
        .chain(
            NOT_RUN
                .iter()
                .map(|(entry, reason)| (*entry, Some(*reason))),
        )
        .collect();
    for command in &commands {
        let about: Vec<_> = entries
            .iter()
            .filter(|(entry, _)| command.is(entry))
            .collect();
        let [(_, reason)] = about.as_slice() else {
            panic!("{command:?} must have one entry in page_commands.rs, and has {about:?}");
        };
        let comment = command.comment.as_deref().unwrap_or_default();
        let said = comment.strip_prefix("not tested: ");
        assert_eq!(said, *reason, "{command:?}");
    }
    for (entry, _) in entries {
        let found = commands.iter().filter(|command| command.is(entry)).count();
        assert_eq!(found, 1, "{entry} is not once in {PAGES:?}");
    }
}

/// The metrics of others that the alerts and the dashboard use, their labels, and the file that has them: in kubewarden-controller
/// 1.33 to 1.36, and in k8s.io/apiserver 0.36.
const METRICS: [(&str, &[&str], &str); 4] = [
    (
        "kubewarden_policy_evaluations_total",
        &EVALUATION,
        "crates/policy-server/src/metrics.rs and metrics/policy_evaluations_total.rs",
    ),
    (
        "kubewarden_policy_evaluation_latency_milliseconds",
        &EVALUATION,
        "crates/policy-server/src/metrics.rs and metrics/policy_evaluations_latency.rs",
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code"],
        "pkg/admission/metrics/metrics.go",
    ),
    (
        "apiserver_admission_webhook_fail_open_count",
        &["name", "type"],
        "pkg/admission/metrics/metrics.go",
    ),
];

/// The labels of `PolicyEvaluation`.
const EVALUATION: [&str; 9] = [
    "policy_name",
    "policy_mode",
    "resource_kind",
    "resource_namespace",
    "resource_request_operation",
    "accepted",
    "mutated",
    "request_origin",
    "error_code",
];

/// What a histogram has more than its name.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

#[test]
fn the_alerts_and_the_dashboard_use_metrics_that_there_are() {
    let alerts = read_yaml("examples/policy-alerts.yaml");
    let rules = alerts["spec"]["groups"][0]["rules"].as_array().unwrap();
    let dashboard: Value = serde_json::from_str(&read("docs/policy-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut used = BTreeSet::new();
    for query in rules.iter().chain(targets) {
        let expr = query["expr"].as_str().unwrap();
        let (metrics, labels) = names_in(expr);
        let known = |label: &String| {
            label == "le"
                || metrics
                    .iter()
                    .all(|metric| labels_of(metric).contains(&label.as_str()))
        };
        assert!(!metrics.is_empty() && labels.iter().all(known), "{expr}");
        used.extend(metrics);
        for text in [&query["annotations"]["summary"], &query["legendFormat"]] {
            for label in shown_labels(text.as_str().unwrap_or_default()) {
                assert!(grouped_by(expr).contains(&label), "{label}: {text}");
            }
        }
    }
    assert_eq!(used.len(), 6, "{used:?}");

    let page = read("docs/first-day.md");
    for rule in rules {
        let row = format!("\n| `{}` | ", rule["alert"].as_str().unwrap());
        assert!(page.contains(&row), "{row}");
    }
    for label in EVALUATION {
        assert!(page.contains(&format!("`{label}`")), "{label}");
    }
}

/// The labels of a metric.
fn labels_of(metric: &str) -> &'static [&'static str] {
    let name = OF_HISTOGRAMS
        .iter()
        .find_map(|end| metric.strip_suffix(end))
        .filter(|name| name.ends_with("_milliseconds"))
        .unwrap_or(metric);
    let known = METRICS.iter().find(|(known, ..)| *known == name);
    known
        .unwrap_or_else(|| panic!("{metric} is not in METRICS"))
        .1
}

/// The names of metrics and labels in an expression of Prometheus.
fn names_in(expr: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut metrics = BTreeSet::new();
    let mut labels: BTreeSet<_> = grouped_by(expr).into_iter().collect();
    // What stands between two braces are matchers. Their values have no braces.
    for (index, part) in expr.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            let metric = part.rsplit(|c: char| !is_name(c)).next().unwrap();
            metrics.extend(Some(metric.to_owned()).filter(|metric| metric.contains('_')));
        } else {
            let matchers = part.split(", ");
            labels.extend(matchers.map(|matcher| {
                let name = matcher.trim().split(['=', '!']).next().unwrap();
                name.to_owned()
            }));
        }
    }
    (metrics, labels)
}

fn grouped_by(expr: &str) -> Vec<String> {
    let groups = expr.split("by (").skip(1);
    groups
        .flat_map(|group| group.split_once(')').unwrap().0.split(", "))
        .map(str::to_owned)
        .collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `{{ $labels.name }}` of an alert, `{{name}}` of a dashboard.
fn shown_labels(text: &str) -> Vec<String> {
    let shown = text.split("{{").skip(1);
    let names = shown.filter_map(|rest| {
        let inside = rest.split_once("}}")?.0.trim();
        match inside.split_once("$labels.") {
            Some((_, name)) => name.split(|c: char| !is_name(c)).next(),
            None => Some(inside)
                .filter(|name| name.chars().all(is_name) && *name != "else" && *name != "end"),
        }
    });
    names.map(str::to_owned).collect()
}

/// The keys in the audit log, from the calls of `Verdict::audit` and `Hold::audit_key`.
#[test]
fn the_first_day_names_all_audit_annotations() {
    let mut sources = String::new();
    read_sources(&root().join("src"), &mut sources);
    let calls = sources.split(".audit(\"").skip(1);
    let calls = calls.filter_map(|rest| rest.split('"').next());
    let (_, of_holds) = sources.split_once("fn audit_key(").unwrap();
    let (of_holds, _) = of_holds.split_once("\n    }\n").unwrap();
    let of_holds = of_holds.split('"').skip(1).step_by(2);
    // The unit tests of `Verdict` have names of one word.
    let known: BTreeSet<_> = calls
        .chain(of_holds)
        .filter(|key| key.contains('-'))
        .collect();
    let page = read("docs/first-day.md");
    let (_, section) = page.split_once("\n## 10. The audit log\n").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(named, known);
    let query = commands(&page)
        .into_iter()
        .find(|command| command.text.starts_with("jq"));
    let query = query.unwrap().text;
    let groups: BTreeSet<_> = known
        .iter()
        .filter_map(|key| key.split('-').next())
        .collect();
    let groups: Vec<_> = groups.into_iter().collect();
    assert!(
        query.contains(&format!("/({})-", groups.join("|"))),
        "{query}"
    );
}

/// Each `yes` about this policy has a number, and each number a test.
#[test]
fn the_comparison_names_tests_that_there_are() {
    let page = read("docs/comparison.md");
    let (_, section) = page.split_once("\n## How it compares\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (table, tests) = section.split_once("\nThe tests: ").unwrap();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let ours = row.split(" | ").nth(1).unwrap();
        assert!(!ours.starts_with("yes") || ours.ends_with(']'), "{row}");
    }
    let mut sources = String::new();
    for folder in ["src", "crates", "tests", "e2e-tests/cluster/tests"] {
        read_sources(&root().join(folder), &mut sources);
    }
    let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
    assert_eq!(named.len(), 14);
    for name in named {
        assert!(sources.contains(name), "there is no test {name}");
    }
}

fn read_sources(folder: &Path, sources: &mut String) {
    for path in sorted(folder) {
        match path.extension().is_some_and(|extension| extension == "rs") {
            true => sources.push_str(&fs::read_to_string(&path).unwrap()),
            false if path.is_dir() => read_sources(&path, sources),
            false => {}
        }
    }
}

#[test]
fn the_examples_have_settings_that_the_policy_takes() {
    let mut policies = 0;
    for path in sorted(&root().join("examples")) {
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for document in manifest::documents(&text) {
            let object = yaml::parse(document).unwrap();
            if object["kind"] == "ClusterAdmissionPolicy" {
                let parsed = Settings::parse(&object["spec"]["settings"]);
                parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                policies += 1;
            }
        }
    }
    assert_eq!(policies, 7);
}
