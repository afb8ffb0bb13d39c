use std::fs;

use helm_plan::findings::LINTS;
use serde_json::json;

use super::*;

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
    assert_eq!(format!("{:#}", result.unwrap_err()), expected);
}

#[test]
fn files_that_differ_are_named_with_the_command_that_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let file = |name, text: &str| File {
        name,
        text: text.to_owned(),
    };
    let generated = [file("same", "a"), file("changed", "b"), file("absent", "c")];
    fs::write(root.join("same"), "a").unwrap();
    fs::write(root.join("changed"), "by hand").unwrap();
    assert_refused(
        files::check(root, &generated),
        "not as generated from the code: changed, absent\nTo write them again, run: cargo xtask generate",
    );
    assert_eq!(fs::read_to_string(root.join("changed")).unwrap(), "by hand");
    assert!(!root.join("absent").exists());

    files::write(root, &generated).unwrap();
    files::check(root, &generated).unwrap();
    assert_eq!(fs::read_to_string(root.join("changed")).unwrap(), "b");
}

#[test]
fn the_generated_files_are_up_to_date() {
    let root = root().unwrap();
    files::check(root, &generate(root).unwrap()).unwrap();
}

#[test]
fn generating_again_changes_nothing() {
    let root = root().unwrap();
    assert_eq!(generate(root).unwrap(), generate(root).unwrap());
}

const DOCUMENTED: &str = "\
//! It breaks,
//! always.
//!
//! ## Why
//!
//! Because.
//!
//! ## Example
//!
//! ```yaml
//! # a comment
//! a: b
//! ```
//!
//! ### More
//!
//! ## Ways out
//!
//! - None.

use std::fmt;
";

fn lint() -> helm_plan::findings::Lint {
    helm_plan::findings::Lint {
        name: "it-breaks",
        summary: "It breaks, always",
        ..*LINTS[0]
    }
}

#[test]
fn a_finding_is_documented_by_the_comment_of_its_module() {
    let expected = "
## it-breaks

It breaks,
always.

Default level: `reject`. Allowed levels: `reject`, `rescue`, `warn`, `ignore`.

### Why

Because.

### Example

```yaml
# a comment
a: b
```

#### More

### Ways out

- None.
";
    assert_eq!(findings::section(&lint(), DOCUMENTED).unwrap(), expected);
}

#[test]
fn a_finding_without_its_documentation_is_refused() {
    for section in ["## Why", "## Example", "## Ways out"] {
        assert_refused(
            findings::section(&lint(), &DOCUMENTED.replace(section, "Text")),
            "the documentation does not have exactly the sections ## Why, ## Example, ## Ways out",
        );
    }
    assert_refused(
        findings::section(&lint(), &DOCUMENTED.replace("always", "often")),
        "the first sentence of the documentation is not the summary `It breaks, always.`",
    );
}

#[test]
fn yaml_reads_back_as_what_was_written() {
    for value in [
        json!({"a": {"b": [], "c": {}, "d": null}, "e": ["x", "", "no"], "f": [{"g": 1, "h": [{"i": true}]}]}),
        json!([{"text": "it's \"quoted\": #1, [x] & *y ü \\ tab\t", "word": "v1/core.x-y"}]),
        json!({"nothing": "null", "number": "1", "dash": "-", "date": "2026-01-01", "array[": "array["}),
    ] {
        let text = yaml::block(&value, 0);
        assert_eq!(helm_plan::yaml::parse(&text).unwrap(), value, "{text}");
    }
}

#[test]
fn the_schema_accepts_what_the_policy_accepts() {
    let schema = schema::of_settings();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut examples = 0;
    for entry in fs::read_dir(root().unwrap().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for document in helm_plan::manifest::documents(&text) {
            let object = helm_plan::yaml::parse(document).unwrap();
            if let Some(settings) = object.pointer("/spec/settings") {
                assert!(validator.is_valid(settings), "{}", path.display());
                examples += 1;
            }
        }
    }
    assert_eq!(examples, 7);

    let key = json!({"namespace": "kubewarden", "name": "hash-key", "key": "key"});
    let defaults = serde_json::to_value(rollout_guard::settings::Settings::default()).unwrap();
    for (settings, is_valid) in [
        (defaults, true),
        (json!({}), true),
        (json!({"mode": "verify"}), true),
        (json!({"configHash": null, "releaseGuard": null}), true),
        (json!({"configHash": {"key": null, "ignore": null}}), true),
        (json!({"configHash": {"ignore": {"secrets": null}}}), true),
        (json!({"releaseGuard": {"findings": null}}), true),
        (json!({"configHash": {"enabled": null}}), false),
        (json!({"mode": {"verify": null}}), false),
        (json!({"timeoutEvalSeconds": 30}), true),
        (json!({"timeoutEvalSeconds": 1}), false),
        (json!({"timeoutEvalSeconds": 31}), false),
        (json!({"configHash": {"key": key}}), true),
        (
            json!({"configHash": {"ignore": {"secrets": ["db-*"]}}}),
            true,
        ),
        (
            json!({"releaseGuard": {"hookRequests": true, "findings": {"hook-pruned": "rescue"}}}),
            true,
        ),
        (json!([]), false),
        (json!({"mod": "verify"}), false),
        (json!({"mode": "validate"}), false),
        (json!({"configHash": {"strategi": "hash"}}), false),
        (json!({"configHash": {"enabled": "yes"}}), false),
        (
            json!({"configHash": {"ignore": {"secrets": ["Db"]}}}),
            false,
        ),
        (json!({"configHash": {"ignore": {"secrets": [""]}}}), false),
        (json!({"configHash": {"ignore": {"names": []}}}), false),
        (
            json!({"configHash": {"key": {"namespace": "a", "name": "b"}}}),
            false,
        ),
        (
            json!({"configHash": {"key": {"namespace": "a", "name": "b", "key": ""}}}),
            false,
        ),
        (json!({"releaseGuard": {"maxRecordBytes": 0}}), false),
        (
            json!({"releaseGuard": {"findings": {"hook-prund": "warn"}}}),
            false,
        ),
        (
            json!({"releaseGuard": {"findings": {"no-rollout": "rescue"}}}),
            false,
        ),
    ] {
        assert_eq!(validator.is_valid(&settings), is_valid, "{settings}");
        let parsed = rollout_guard::settings::Settings::parse(&settings);
        assert_eq!(parsed.is_ok(), is_valid, "{settings}");
    }
}

/// What Rancher's form makes of the questions, as in rancher/kubewarden-ui (`components/Questions`) and rancher/dashboard
/// (`components/Questions/Question.js`): each default is set at the path of its question. A text that was filled in and
/// cleared again is empty.
fn form(questions: &Value, cleared: bool, settings: &mut Value) {
    for question in questions.as_array().into_iter().flatten() {
        let value = match question.get("default") {
            None if cleared => Some(&Value::String(String::new())),
            default => default,
        };
        if let Some(value) = value {
            let variable = question["variable"].as_str().unwrap();
            let place = variable
                .split('.')
                .fold(&mut *settings, |place, field| &mut place[field]);
            assert!(place.is_null(), "{variable} is asked twice");
            *place = value.clone();
        }
        form(&question["subquestions"], cleared, settings);
    }
}

/// When a policy is created, the form takes out what is empty, but not what this makes empty (rancher/kubewarden-ui,
/// `utils/object.ts`).
fn remove_empty(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    let is_empty = |value: &Value| [json!(null), json!(""), json!([]), json!({})].contains(value);
    fields.retain(|_, value| !is_empty(value));
    fields.values_mut().for_each(remove_empty);
}

#[test]
fn the_form_of_rancher_sends_the_defaults() {
    let questions = read(root().unwrap(), "questions-ui.yml").unwrap();
    let questions = helm_plan::yaml::parse(&questions).unwrap();
    let sent = |cleared| {
        let mut settings = json!({});
        form(&questions["questions"], cleared, &mut settings);
        settings
    };
    let mut created = sent(true);
    assert_eq!(
        created["configHash"]["key"],
        json!({"namespace": "", "name": "", "key": ""})
    );
    remove_empty(&mut created);
    assert_eq!(created["configHash"]["key"], json!({}));
    assert_eq!(created["configHash"]["ignore"], json!({}));
    for settings in [sent(false), sent(true), created] {
        let parsed = rollout_guard::settings::Settings::parse(&settings);
        assert_eq!(
            parsed.unwrap_or_else(|error| panic!("{error}: {settings}")),
            rollout_guard::settings::Settings::default()
        );
    }
}

#[test]
fn every_setting_has_a_question_and_a_section() {
    fn single(path: &str, schema: &Value, found: &mut Vec<String>) {
        for setting in schema::fields(path, schema) {
            match setting.schema.get("properties") {
                Some(_) => single(&setting.path, setting.schema, found),
                None => found.push(setting.path),
            }
        }
    }
    let schema = schema::of_settings();
    let mut settings = Vec::new();
    single("", &schema, &mut settings);
    assert!(settings.contains(&"configHash.key.name".to_owned()));
    let questions = questions::file(&schema).unwrap().text;
    let page = settings::file(&schema).unwrap().text;
    for setting in settings {
        let question = format!("variable: {setting}\n");
        assert_eq!(questions.matches(&question).count(), 1, "{setting}");
        let (_, name) = setting.rsplit_once('.').unwrap_or(("", &setting));
        let heading = page.contains(&format!("# {setting}\n"));
        let row = page.contains(&format!("| [`{name}`](findings.md#{name}) |"));
        assert!(heading != row, "{setting}");
    }
}

const CHANGELOG: &str = "\
# Changelog

- kind: x

## 0.1.0

### Added

- A `mode: verify` is new.
  Two lines.

### Fixed

- It works.

## 0.0.9

### Added

- Everything.
";

#[test]
fn a_version_without_changes_is_refused() {
    assert_refused(
        changelog::changes(CHANGELOG, "0.2.0"),
        "CHANGELOG.md: there is no heading `## 0.2.0`",
    );
    assert_refused(
        changelog::changes(&CHANGELOG.replace("### Fixed", "### New"), "0.1.0"),
        "CHANGELOG.md: `### New` is none of Added, Changed, Deprecated, Removed, Fixed, Security",
    );
    assert_refused(
        changelog::changes("# Changelog\n\n## 0.1.0\n\n- Everything.\n", "0.1.0"),
        "CHANGELOG.md: version 0.1.0 has no changes",
    );
}

const PACKAGE: &str = "\
# by hand
version: 0.0.9
name: x
displayName: x
description: x
license: x
homeURL: x
containersImages:
- name: policy
  image: ghcr.io/policy:v0.0.9
keywords:
- x
- y
links:
- name: policy
  url: https://github.com/source/releases/download/v0.0.9/policy.wasm
- name: documentation
  url: https://github.com/source/blob/v0.0.9/README.md
screenshots:
- title: x
  url: https://raw.githubusercontent.com/source/v0.0.9/x.svg
changes:
- kind: fixed
  description: x
annotations:
  kubewarden/contextAwareResources: x
  kubewarden/mutation: x
  kubewarden/other: by hand
  kubewarden/questions-ui: |
    questions:
      - x
  kubewarden/resources: x
  kubewarden/rules: |
    - x
";

fn metadata() -> Value {
    json!({
        "rules": [{"apiGroups": [""], "resources": ["secrets"]}],
        "mutating": true,
        "contextAwareResources": [
            {"apiVersion": "v1", "kind": "Secret"},
            {"apiVersion": "v1", "kind": "ConfigMap"},
        ],
        "annotations": {
            "io.artifacthub.displayName": "Policy",
            "io.artifacthub.resources": "Secret",
            "io.artifacthub.keywords": "helm, secret",
            "io.kubewarden.policy.ociUrl": "ghcr.io/policy",
            "io.kubewarden.policy.title": "policy",
            "io.kubewarden.policy.version": "0.1.0",
            "io.kubewarden.policy.description": "Does it",
            "io.kubewarden.policy.url": "https://example.com",
            "io.kubewarden.policy.source": "https://github.com/source",
            "io.kubewarden.policy.license": "Apache-2.0",
        },
    })
}

#[test]
fn the_package_repeats_the_metadata_and_keeps_what_is_written_by_hand() {
    let expected = "\
# by hand
version: 0.1.0
name: policy
displayName: Policy
description: Does it
license: Apache-2.0
homeURL: https://example.com
containersImages:
- name: policy
  image: ghcr.io/policy:v0.1.0
keywords:
- helm
- secret
links:
- name: policy
  url: https://github.com/source/releases/download/v0.1.0/policy.wasm
- name: documentation
  url: https://github.com/source/blob/v0.1.0/README.md
screenshots:
- title: x
  url: https://raw.githubusercontent.com/source/v0.1.0/x.svg
changes:
- kind: added
  description: \"A mode: verify is new. Two lines.\"
- kind: fixed
  description: \"It works.\"
annotations:
  kubewarden/contextAwareResources: |
    - apiVersion: v1
      kind: ConfigMap
    - apiVersion: v1
      kind: Secret
  kubewarden/mutation: 'true'
  kubewarden/other: by hand
  kubewarden/questions-ui: |
    questions: []
  kubewarden/resources: Secret
  kubewarden/rules: |
    - apiGroups: [\"\"]
      resources: [secrets]
";
    let questions = "questions: []\n";
    let written = artifacthub::file(PACKAGE, &metadata(), questions, CHANGELOG).unwrap();
    assert_eq!(written.text, expected);
    let again = artifacthub::file(&written.text, &metadata(), questions, CHANGELOG).unwrap();
    assert_eq!(again, written);
}

#[test]
fn metadata_that_cannot_be_copied_is_refused() {
    let mut metadata = metadata();
    metadata["annotations"]["io.kubewarden.policy.description"] = json!("Does it # well");
    assert_refused(
        artifacthub::file(PACKAGE, &metadata, "questions: []\n", CHANGELOG),
        "metadata.yml or questions-ui.yml has text that cannot be copied as it is",
    );
    let package = PACKAGE.replace("license: x\n", "");
    assert_refused(
        artifacthub::file(&package, &metadata, "", CHANGELOG),
        "artifacthub-pkg.yml: `license` is missing",
    );
}

/// What Artifact Hub refuses (artifacthub/hub: `GetPackageMetadata` in `internal/pkg/metadata.go`), and what it accepts and does not show: a
/// recommendation of another site (`URL_regex` in `web/src/layout/package/RecommendedPackages`), and a picture without a full URL.
fn rules_of_artifact_hub() -> jsonschema::Validator {
    let text = json!({"type": "string", "minLength": 1});
    let url = json!({"type": "string", "pattern": "^https://"});
    let list = |of: &[(&str, &Value)]| {
        let fields: serde_json::Map<_, _> = of
            .iter()
            .map(|&(name, schema)| (name.to_owned(), schema.clone()))
            .collect();
        let names: Vec<_> = of.iter().map(|(name, _)| name).collect();
        json!({"type": "array", "minItems": 1, "items": {
            "type": "object", "properties": fields, "required": names, "additionalProperties": false,
        }})
    };
    let kind = json!({"enum": ["added", "changed", "deprecated", "removed", "fixed", "security"]});
    let package = json!({"pattern": "^https://artifacthub.io/packages/(helm|kubewarden)/[a-z0-9-]+/[a-z0-9-]+$"});
    // A second image could only be `policy-alternative-location`.
    let image = json!({"const": "policy"});
    let mut images = list(&[("name", &image), ("image", &text)]);
    images["maxItems"] = json!(1);
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["version", "name", "displayName", "createdAt", "description", "containersImages"],
        "properties": {
            "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$"},
            "name": text,
            "displayName": text,
            "createdAt": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
            "description": text,
            "license": text,
            "homeURL": url,
            "containersImages": images,
            "keywords": {"type": "array", "items": text},
            "links": list(&[("name", &text), ("url", &url)]),
            "screenshots": list(&[("title", &text), ("url", &url)]),
            "install": text,
            "changes": list(&[("kind", &kind), ("description", &text)]),
            "maintainers": list(&[("name", &text), ("email", &text)]),
            "provider": {"type": "object", "properties": {"name": text}, "required": ["name"], "additionalProperties": false},
            "recommendations": list(&[("url", &package)]),
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn artifact_hub_accepts_the_package() {
    let package = read(root().unwrap(), artifacthub::NAME).unwrap();
    let package = helm_plan::yaml::parse(&package).unwrap();
    let rules = rules_of_artifact_hub();
    let errors: Vec<_> = rules
        .iter_errors(&package)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");

    let image =
        |name| json!({"name": name, "image": "ghcr.io/rollout-guard/rollout-guard-refresh:v0.1.0"});
    for (path, wrong) in [
        ("/version", json!("0.1")),
        ("/createdAt", json!("2026-11-21")),
        ("/containersImages/0/name", json!("rollout-guard")),
        (
            "/containersImages",
            json!([image("policy"), image("refresh")]),
        ),
        ("/screenshots/0/url", json!("docs/trap.svg")),
        ("/changes/0/kind", json!("new")),
        (
            "/recommendations/0/url",
            json!("https://charts.kubewarden.io/admission-controller"),
        ),
        ("/annotations/kubewarden~1mutation", json!(true)),
    ] {
        let mut package = package.clone();
        *package.pointer_mut(path).unwrap() = wrong;
        assert!(!rules.is_valid(&package), "{path}");
    }
    let mut unknown = package;
    unknown["screenshot"] = json!([]);
    assert!(!rules.is_valid(&unknown));
}

#[test]
fn what_the_package_links_to_is_in_the_repository() {
    let root = root().unwrap();
    let package = read(root, artifacthub::NAME).unwrap();
    let parsed = helm_plan::yaml::parse(&package).unwrap();
    let version = parsed["version"].as_str().unwrap();
    let mut links = 0;
    for place in [
        format!("https://github.com/rollout-guard/rollout-guard/blob/v{version}/"),
        format!("https://raw.githubusercontent.com/rollout-guard/rollout-guard/v{version}/"),
    ] {
        for rest in package.split(&place).skip(1) {
            let path = rest.split([')', '\n']).next().unwrap();
            assert!(root.join(path).is_file(), "{place}{path}");
            links += 1;
        }
    }
    assert_eq!(links, 10);
}

#[test]
fn the_terminal_wraps_lines_at_words_and_colours_commands() {
    let words = ["hook-pruned"; 9].join(" ");
    let session = format!("# Without it:\n$ helm upgrade\n  {words}\nError: no\n\n");
    let screen = terminal::screen(&session);
    let plain = anstream::adapter::strip_str(&screen).to_string();
    let first = ["hook-pruned"; 8].join(" ");
    assert_eq!(
        plain,
        format!("# Without it:\n$ helm upgrade\n  {first}\nhook-pruned\nError: no\n\n")
    );
    for line in screen.lines() {
        let is_plain = line.is_empty() || line.contains("hook-pruned");
        assert_eq!(line.contains('\u{1b}'), !is_plain, "{line:?}");
    }
}
