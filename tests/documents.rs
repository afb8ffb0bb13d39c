//! What is published agrees with the code and with itself, where `cargo xtask generate` does not see to it.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use helm_plan::{findings::LINTS, manifest, yaml};
use rollout_guard::settings::Settings;
use serde_json::Value;

use crate::support::{root, sorted};

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

#[test]
fn there_is_one_version() {
    assert_eq!(read_yaml("check/plugin.yaml")["version"], VERSION);
    let metadata = read_yaml("metadata.yml");
    assert_eq!(
        metadata["annotations"]["io.kubewarden.policy.version"],
        VERSION
    );
    let images = [
        "ghcr.io/rollout-guard/policies/rollout-guard:v",
        "ghcr.io/rollout-guard/rollout-guard-refresh:v",
    ];
    let mut examples = sorted(&root().join("examples"));
    examples.retain(|path| path.is_file());
    let page = read("docs/operations.md");
    let release = "githubusercontent.com/rollout-guard/rollout-guard/v";
    assert_eq!(page.matches(release).count(), 3);
    let of_this_version = format!("{release}{VERSION}/");
    assert_eq!(page.matches(&of_this_version).count(), 3);
    for text in examples
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
    {
        for image in images {
            for (at, _) in text.match_indices(image) {
                let rest = text.get(at + image.len()..).unwrap();
                assert!(rest.starts_with(&format!("{VERSION}\n")), "{rest}");
            }
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
