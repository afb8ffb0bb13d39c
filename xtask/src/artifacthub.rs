//! artifacthub-pkg.yml: what Artifact Hub shows. It repeats metadata.yml, questions-ui.yml and CHANGELOG.md; the rest of the file
//! is written by hand and stays as it is.

use anyhow::{Context, Result, ensure};
use helm_plan::yaml as reader;
use serde_json::{Value, json};

use crate::{changelog, files::File, text, yaml};

pub(crate) const NAME: &str = "artifacthub-pkg.yml";

pub(crate) fn file(
    current: &str,
    metadata: &Value,
    questions: &str,
    changelog: &str,
) -> Result<File> {
    let annotations = metadata
        .get("annotations")
        .context("metadata.yml: no annotations")?;
    let of_policy = |key: &str| annotation(annotations, &format!("io.kubewarden.policy.{key}"));
    let of_hub = |key: &str| annotation(annotations, &format!("io.artifacthub.{key}"));
    let (version, image, source) = (
        of_policy("version")?,
        of_policy("ociUrl")?,
        of_policy("source")?,
    );
    let keywords: Vec<_> = of_hub("keywords")?.split(", ").collect();

    let mut package = Package(current.to_owned());
    for (key, value) in [
        ("version", version),
        ("name", of_policy("title")?),
        ("displayName", of_hub("displayName")?),
        ("description", of_policy("description")?),
        ("license", of_policy("license")?),
        ("homeURL", of_policy("url")?),
    ] {
        package.set("", key, &format!("{key}: {value}\n"))?;
    }
    let list: String = keywords.iter().map(|word| format!("- {word}\n")).collect();
    package.set("", "keywords", &format!("keywords:\n{list}"))?;
    let changes = yaml::block(&changelog::changes(changelog, version)?, 0);
    package.set("", "changes", &format!("changes:\n{changes}"))?;
    package.set_version(&format!("{image}:v"), version);
    package.set_version(&format!("{source}/releases/download/v"), version);
    package.set_version(&format!("{source}/blob/v"), version);
    let raw = source.replace("//github.com/", "//raw.githubusercontent.com/");
    package.set_version(&format!("{raw}/v"), version);

    let mut resources = field(metadata, "contextAwareResources")?;
    // As `kwctl scaffold artifacthub` sorts them.
    if let Some(resources) = resources.as_array_mut() {
        resources.sort_by_key(|resource| {
            (
                resource["apiVersion"].to_string(),
                resource["kind"].to_string(),
            )
        });
    }
    for (key, value) in [
        ("contextAwareResources", block(&yaml::block(&resources, 0))),
        ("mutation", format!("'{}'\n", field(metadata, "mutating")?)),
        ("questions-ui", block(questions)),
        ("resources", format!("{}\n", of_hub("resources")?)),
        ("rules", block(&yaml::block(&field(metadata, "rules")?, 0))),
    ] {
        let key = format!("kubewarden/{key}");
        package.set("  ", &key, &format!("  {key}: {value}"))?;
    }
    check(&package.0, metadata, questions)?;
    Ok(File {
        name: NAME,
        text: package.0,
    })
}

fn annotation<'a>(annotations: &'a Value, key: &str) -> Result<&'a str> {
    text(annotations, key).context("metadata.yml: annotations")
}

fn field(metadata: &Value, key: &str) -> Result<Value> {
    let value = metadata.get(key).cloned();
    value.with_context(|| format!("metadata.yml: `{key}` is missing"))
}

/// A text of several lines as the value of an annotation.
fn block(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {line}\n"));
    format!("|\n{}", lines.collect::<String>())
}

/// What was set as lines is what is read as YAML.
fn check(package: &str, metadata: &Value, questions: &str) -> Result<()> {
    let package = reader::parse(package).context("the new artifacthub-pkg.yml")?;
    let described = &metadata["annotations"]["io.kubewarden.policy.description"];
    let annotations = &package["annotations"];
    let rules = reader::parse(annotations["kubewarden/rules"].as_str().unwrap_or_default())?;
    ensure!(
        package["description"] == *described
            && annotations["kubewarden/questions-ui"] == json!(questions)
            && rules == metadata["rules"],
        "metadata.yml or questions-ui.yml has text that cannot be copied as it is"
    );
    Ok(())
}

/// The text of the file.
struct Package(String);

impl Package {
    /// Replaces a key with its value, however many lines it has.
    fn set(&mut self, margin: &str, key: &str, lines: &str) -> Result<()> {
        let start = format!("{margin}{key}:");
        let mut text = String::with_capacity(self.0.len());
        let (mut inside, mut found) = (false, false);
        for line in self.0.split_inclusive('\n') {
            if line.starts_with(&start) {
                text.push_str(lines);
                (inside, found) = (true, true);
                continue;
            }
            // Deeper lines, and items of a list, which may stand as far left as their key.
            inside = inside
                && line
                    .strip_prefix(margin)
                    .is_some_and(|rest| rest.starts_with([' ', '-']));
            if !inside {
                text.push_str(line);
            }
        }
        ensure!(found, "{NAME}: `{key}` is missing");
        self.0 = text;
        Ok(())
    }

    /// Replaces the version wherever it follows `before`.
    fn set_version(&mut self, before: &str, version: &str) {
        let is_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        let mut parts = self.0.split(before);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(before);
            text.push_str(version);
            text.push_str(part.trim_start_matches(is_version));
        }
        self.0 = text;
    }
}
