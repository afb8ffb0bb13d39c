//! What Helm makes of a chart.
//!
//! In: a chart and a file of values. Out: what `helm template` prints. Refuses: what Helm refuses.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::source::Chart;
use crate::{
    cli::{ChartOptions, Tool},
    helm,
};

/// One file of values, for both versions. chart-testing installs a chart once for each `ci/*-values.yaml`.
pub(super) struct Values {
    /// `ci/prod-values.yaml`
    pub(super) name: String,
    /// `None`: the default values.
    pub(super) old: Option<PathBuf>,
    pub(super) new: Option<PathBuf>,
}

impl Values {
    /// The default values, then the files of the new version in the order of their names. The old version is rendered with its own
    /// file of that name, if it has one.
    pub(super) fn of(old: &Chart, new: &Chart) -> Result<Vec<Self>> {
        let mut all = vec![Self {
            name: "the default values".to_owned(),
            old: None,
            new: None,
        }];
        let folder = new.folder.join("ci");
        if !folder.is_dir() {
            return Ok(all);
        }
        let mut names = Vec::new();
        for entry in folder.read_dir()? {
            let name = entry?.file_name();
            names.extend(
                name.into_string()
                    .ok()
                    .filter(|name| name.ends_with("-values.yaml")),
            );
        }
        names.sort();
        for name in names {
            let own = old.folder.join("ci").join(&name);
            let file = folder.join(&name);
            all.push(Self {
                name: format!("ci/{name}"),
                old: Some(if own.is_file() { own } else { file.clone() }),
                new: Some(file),
            });
        }
        Ok(all)
    }
}

/// Renders a chart. `is_new`: it is the version that an upgrade leads to.
pub(super) fn render(
    chart: &Chart,
    values: Option<&Path>,
    is_new: bool,
    options: &ChartOptions,
) -> Result<String> {
    let folder = chart.folder.display().to_string();
    let namespace = format!("--namespace={}", options.namespace);
    let values = values.map(|file| format!("--values={}", file.display()));
    let mut template = vec!["template", &options.release, &folder, &namespace];
    template.extend(values.as_deref());
    match options.tool {
        Tool::Helm if is_new => template.push("--is-upgrade"),
        Tool::Helm => {}
        // Argo CD has no upgrades, and applies CustomResourceDefinitions as it does everything else (argo-cd `util/helm/cmd.go`, template).
        Tool::Argocd => template.push("--include-crds"),
    }
    Ok(String::from_utf8(helm::run(&template, &options.flags)?)?)
}
