//! Where in a chart a finding can be mended.
//!
//! In: a finding, and the new version as it is and as it was rendered. Out: a [`Place`]. Refuses: nothing; the best guess of a line is
//! the first one.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Result;
use helm_plan::{Finding, ObjectId, manifest};

use super::source::Chart;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
}

/// What a template can ask for that rendering cannot tell, and what is to be known about it.
const CAVEATS: [(&str, &str); 9] = [
    (
        "lookup",
        "the template looks objects up in the cluster, and rendering finds none",
    ),
    (
        "rand",
        "random values differ each time the template is rendered",
    ),
    (
        "genCA",
        "certificates differ each time the template is rendered",
    ),
    (
        "genSelfSignedCert",
        "certificates differ each time the template is rendered",
    ),
    (
        "genSignedCert",
        "certificates differ each time the template is rendered",
    ),
    (
        "genPrivateKey",
        "keys differ each time the template is rendered",
    ),
    (
        ".Release.IsUpgrade",
        "the old version is rendered as an install, and the new one as an upgrade",
    ),
    (
        ".Release.IsInstall",
        "the old version is rendered as an install, and the new one as an upgrade",
    ),
    (
        ".Capabilities",
        "the template asks for the capabilities of the cluster: see --kube-version and --api-versions",
    ),
];

/// The templates of the new version, by the objects that they make, or made in the old version.
pub(super) struct Templates<'a> {
    chart: &'a Chart,
    old: BTreeMap<ObjectId, &'a str>,
    new: BTreeMap<ObjectId, &'a str>,
}

impl<'a> Templates<'a> {
    pub(super) fn of(
        chart: &'a Chart,
        old: &'a str,
        new: &'a str,
        namespace: &str,
    ) -> Result<Self> {
        Ok(Self {
            chart,
            old: manifest::sources(old, namespace)?.into_iter().collect(),
            new: manifest::sources(new, namespace)?.into_iter().collect(),
        })
    }

    /// The place, and what rendering cannot tell there. An object that has left the chart is mended in its old template, if
    /// that is still there, or else where it is needed.
    pub(super) fn place(&self, finding: &Finding) -> (Option<Place>, Vec<&'static str>) {
        let object = &finding.object;
        let made = [&self.new, &self.old].map(|sources| (object, sources.get(object)));
        let needed = finding.consumers.iter().map(|id| (id, self.new.get(id)));
        let mut files = made.into_iter().chain(needed).filter_map(|(id, source)| {
            let file = self.file(source?)?;
            file.is_file().then_some((id, file))
        });
        let Some((id, file)) = files.next() else {
            let file = self.chart.folder.join("Chart.yaml");
            return (self.shown(Place { file, line: 1 }), Vec::new());
        };
        let text = fs::read_to_string(&file).unwrap_or_default();
        let caveats = caveats(&text);
        let line = line_of(&text, id);
        (self.shown(Place { file, line }), caveats)
    }

    fn shown(&self, place: Place) -> Option<Place> {
        let shown = self.chart.shown.as_ref()?;
        let file = place.file.strip_prefix(&self.chart.folder).ok()?;
        Some(Place {
            file: shown.join(file),
            line: place.line,
        })
    }

    /// The file that Helm names. Its first folder is the name of the chart.
    fn file(&self, source: &str) -> Option<PathBuf> {
        let (_, path) = source.split_once('/')?;
        Some(self.chart.folder.join(path))
    }
}

/// What the actions of a template ask for.
fn caveats(text: &str) -> Vec<&'static str> {
    let actions = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("}}")?.0));
    let is_end = |c: char| !(c.is_alphanumeric() || c == '.' || c == '_');
    let words: Vec<_> = actions.flat_map(|action| action.split(is_end)).collect();
    let mut caveats = Vec::new();
    for (wanted, caveat) in CAVEATS {
        let is_asked = |word: &&str| match wanted {
            "rand" => word.starts_with(wanted),
            ".Capabilities" => word.starts_with(wanted),
            _ => *word == wanted,
        };
        if words.iter().any(is_asked) && !caveats.contains(&caveat) {
            caveats.push(caveat);
        }
    }
    caveats
}

/// The line with the kind of an object. If there are several, that whose name is most like the object's.
fn line_of(text: &str, id: &ObjectId) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let kinds = lines.iter().enumerate().filter(|(_, line)| {
        let kind = line.trim().strip_prefix("kind:").map(str::trim);
        kind.map(|kind| kind.trim_matches(['"', '\'']) == id.kind) == Some(true)
    });
    let likeness = |at: usize| {
        let name = lines
            .iter()
            .skip(at)
            .find_map(|line| line.trim().strip_prefix("name:"));
        name.map_or(0, |name| letters_in(name, &id.name))
    };
    // Of equals, the first one.
    let best = kinds
        .map(|(at, _)| at)
        .max_by_key(|&at| (likeness(at), std::cmp::Reverse(at)));
    best.map_or(1, |at| at + 1)
}

/// How many letters of a name stand in its template, outside of `{{ … }}`. None if one of its parts is not in the name.
fn letters_in(template: &str, name: &str) -> usize {
    let mut letters = 0;
    for part in template.trim().trim_matches(['"', '\'']).split("{{") {
        let literal = part.split_once("}}").map_or(part, |(_, literal)| literal);
        match name.contains(literal) {
            true => letters += literal.len(),
            false => return 0,
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    const TEMPLATE: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "web.fullname" . }}
---
{{- if .Values.extra }}
kind: "ConfigMap"
metadata:
  name: '{{ include "web.fullname" . }}-extra'
{{- end }}
---
kind: Secret
metadata:
  name: {{ .Values.secret }}
"#;

    #[test]
    fn a_finding_is_placed_at_the_kind_of_its_object() {
        for (kind, name, expected) in [
            ("ConfigMap", "release-name-web", 2),
            ("ConfigMap", "release-name-web-extra", 7),
            ("ConfigMap", "anything", 2),
            ("Secret", "db", 12),
            ("Service", "db", 1),
        ] {
            assert_eq!(
                line_of(TEMPLATE, &id(kind, name)),
                expected,
                "{kind} {name}"
            );
        }
    }
}
