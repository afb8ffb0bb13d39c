//! What is published agrees with the code and with itself.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rollout_guard::{
    release_guard::{findings::Lint, manifest, yaml},
    settings::Settings,
};
use serde_json::Value;

use crate::support::{root, sorted};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read_yaml(file: &str) -> Value {
    yaml::parse(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every setting by its path, with its default: `configHash.key.name`.
fn settings() -> BTreeMap<String, Value> {
    let mut defaults = serde_json::to_value(Settings::default()).unwrap();
    // It has no default to look into.
    let key = serde_json::json!({"namespace": "", "name": "", "key": ""});
    assert_eq!(defaults["configHash"]["key"], Value::Null);
    defaults["configHash"]["key"] = key;
    let mut found = BTreeMap::new();
    leaves(&defaults, "", &mut found);
    found
}

fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        None => drop(found.insert(path.to_owned(), value.clone())),
        Some(fields) => fields.iter().for_each(|(field, value)| {
            let path = format!("{path}.{field}");
            leaves(value, path.trim_start_matches('.'), found);
        }),
    }
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
    assert_eq!(read_yaml("artifacthub-pkg.yml")["version"], VERSION);
    assert_eq!(read_yaml("check/plugin.yaml")["version"], VERSION);
    let metadata = read_yaml("metadata.yml");
    assert_eq!(
        metadata["annotations"]["io.kubewarden.policy.version"],
        VERSION
    );
    let module = "ghcr.io/rollout-guard/policies/rollout-guard:v";
    let mut examples = sorted(&root().join("examples"));
    examples.retain(|path| path.is_file());
    for text in examples
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
    {
        for (at, _) in text.match_indices(module) {
            let rest = text.get(at + module.len()..).unwrap();
            assert!(rest.starts_with(&format!("{VERSION}\n")), "{rest}");
        }
    }
}

/// The shape is that of `kwctl scaffold artifacthub`.
#[test]
fn artifact_hub_is_told_what_the_metadata_says() {
    let (package, metadata) = (read_yaml("artifacthub-pkg.yml"), read_yaml("metadata.yml"));
    let of_policy = |key: &str| &metadata["annotations"][format!("io.kubewarden.policy.{key}")];
    let of_hub = |key: &str| &metadata["annotations"][format!("io.artifacthub.{key}")];
    let annotation = |key: &str| {
        package["annotations"][format!("kubewarden/{key}")]
            .as_str()
            .unwrap()
    };
    assert_eq!(&package["name"], of_policy("title"));
    assert_eq!(&package["description"], of_policy("description"));
    assert_eq!(&package["license"], of_policy("license"));
    assert_eq!(&package["homeURL"], of_policy("url"));
    assert_eq!(&package["displayName"], of_hub("displayName"));
    let keywords = package["keywords"].as_array().unwrap();
    let keywords: Vec<_> = keywords.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(keywords.join(", "), of_hub("keywords").as_str().unwrap());
    let image = format!("{}:v{VERSION}", of_policy("ociUrl").as_str().unwrap());
    assert_eq!(package["containersImages"][0]["image"], image);
    assert_eq!(annotation("mutation"), metadata["mutating"].to_string());
    assert_eq!(
        annotation("resources"),
        of_hub("resources").as_str().unwrap()
    );
    assert_eq!(annotation("questions-ui"), read("questions-ui.yml"));
    assert_eq!(yaml::parse(annotation("rules")).unwrap(), metadata["rules"]);
    let by_kind = |resources: Value| {
        let mut resources = resources.as_array().unwrap().clone();
        resources.sort_by_key(|resource| resource["kind"].to_string());
        resources
    };
    assert_eq!(
        by_kind(yaml::parse(annotation("contextAwareResources")).unwrap()),
        by_kind(metadata["contextAwareResources"].clone())
    );
}

#[test]
fn the_questions_are_about_all_settings() {
    fn collect(questions: &Value, found: &mut BTreeMap<String, Value>) {
        for question in questions.as_array().into_iter().flatten() {
            let variable = question["variable"].as_str().unwrap().to_owned();
            found.insert(variable, question["default"].clone());
            collect(&question["subquestions"], found);
        }
    }
    let mut asked = BTreeMap::new();
    collect(&read_yaml("questions-ui.yml")["questions"], &mut asked);
    assert_eq!(asked, settings());
}

#[test]
fn the_readme_shows_all_settings_with_their_defaults() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## Settings\n").unwrap();
    let (_, block) = section.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let shown = yaml::parse(block).unwrap();
    assert_eq!(shown, serde_json::to_value(Settings::default()).unwrap());
}

#[test]
fn the_readme_names_all_findings_annotations_and_labels() {
    let readme = read("README.md");
    for lint in Lint::ALL {
        let heading = format!("\n### {lint}\n");
        assert!(readme.contains(&heading), "{lint} has no section");
        let row = format!("| [`{lint}`](#{lint}) |");
        assert!(readme.contains(&row), "{lint} is not in the table");
    }
    let known: BTreeSet<_> = Lint::ALL.iter().map(|lint| lint.name()).collect();
    let headings = readme.lines().filter_map(|line| line.strip_prefix("### "));
    for heading in headings.filter(|heading| heading.contains('-')) {
        assert!(known.contains(heading), "there is no finding {heading}");
    }
    let mut known = annotations(&read("src/annotations.rs"));
    // The label that the example of the CronJob selects by.
    known.extend(annotations(&read("examples/refresh-cronjob.yaml")));
    assert_eq!(annotations(&readme), known);
}

/// Each `yes` about this policy has a number, and each number a test.
#[test]
fn the_comparison_names_tests_that_there_are() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## How it compares\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (table, tests) = section.split_once("\nThe tests: ").unwrap();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let ours = row.split(" | ").nth(1).unwrap();
        assert!(!ours.starts_with("yes") || ours.ends_with(']'), "{row}");
    }
    let mut sources = String::new();
    for folder in ["src", "tests", "e2e-tests/cluster/tests"] {
        read_sources(&root().join(folder), &mut sources);
    }
    let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
    assert_eq!(named.len(), 12);
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
    assert_eq!(policies, 3);
}
