//! How Go reads texts: a chart reads them and prints the result.

use std::fs;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use cluster_tests::{HelmVersion, helm_template};
use serde_json::Value;

/// All texts are in one JSON file, which can hold any text. Helm reads the output of a template as YAML again, so
/// each answer is a comment there.
const TEMPLATE: &str = r##"
{{- range .Files.Get "texts.json" | fromJsonArray }}
# answer {{ fromYaml . | toJson | b64enc }}
{{- end }}
"##;
const ANSWER: &str = "# answer ";

/// How Go reads each text: as a mapping, or why it is none.
///
/// # Errors
/// Helm failed, or its answer is not as expected.
pub(crate) fn readings<T: AsRef<str>>(
    helm: HelmVersion,
    texts: &[T],
) -> Result<Vec<Result<Value, String>>> {
    let texts: Vec<_> = texts.iter().map(|text| ended(text.as_ref())).collect();
    let chart = tempfile::tempdir()?;
    let folder = chart.path();
    fs::create_dir(folder.join("templates"))?;
    fs::write(
        folder.join("Chart.yaml"),
        "apiVersion: v2\nname: oracle\nversion: 0.0.0\n",
    )?;
    fs::write(folder.join("templates/answers.yaml"), TEMPLATE)?;
    fs::write(folder.join("texts.json"), serde_json::to_vec(&texts)?)?;
    let output = helm_template(helm, folder)?.success()?.stdout;
    let answers = output.lines().filter_map(|line| line.strip_prefix(ANSWER));
    let readings = answers.map(reading).collect::<Result<Vec<_>>>()?;
    let (asked, answered) = (texts.len(), readings.len());
    ensure!(asked == answered, "{answered} answers to {asked} texts");
    Ok(readings)
}

/// Ends the last line, as Helm does when it reads manifests.
fn ended(text: &str) -> String {
    if text.ends_with('\n') {
        return text.to_owned();
    }
    format!("{text}\n")
}

fn reading(answer: &str) -> Result<Result<Value, String>> {
    let value: Value = serde_json::from_slice(&BASE64_STANDARD.decode(answer)?)?;
    let fields = value.as_object().context("not a mapping")?;
    // No text has such a key of its own.
    Ok(match fields.get("Error").and_then(Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(value),
    })
}
