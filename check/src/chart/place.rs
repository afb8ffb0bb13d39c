//! Where in a chart a finding can be mended.
//!
//! In: a finding, and the new version as it is and as it was rendered. Out: a [`Place`]. Refuses: nothing; the best guess of a line is
//! the first one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

use anyhow::Result;
use helm_plan::{ObjectId, manifest};

use super::source::Chart;
use crate::{
    cli::{ChartOptions, Tool},
    report::Entry,
};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// With slashes on all systems, as git, GitHub and SARIF name the files of a repository.
    pub(crate) file: String,
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

/// Argo CD renders without a cluster, and each version as an install, as this program does for it (argo-cd `util/helm/cmd.go`, template).
/// So here rendering tells what will be.
const KNOWN_FOR_ARGO_CD: [&str; 3] = ["lookup", ".Release.IsUpgrade", ".Release.IsInstall"];

/// The templates of the new version, by the objects that they make, or made in the old version.
pub(super) struct Templates<'a> {
    chart: &'a Chart,
    named: &'a Named,
    tool: Tool,
    old: BTreeMap<ObjectId, &'a str>,
    new: BTreeMap<ObjectId, &'a str>,
}

impl<'a> Templates<'a> {
    pub(super) fn of(
        chart: &'a Chart,
        named: &'a Named,
        old: &'a str,
        new: &'a str,
        options: &ChartOptions,
    ) -> Result<Self> {
        let namespace = &options.namespace;
        Ok(Self {
            chart,
            named,
            tool: options.tool,
            old: manifest::sources(old, namespace)?.into_iter().collect(),
            new: manifest::sources(new, namespace)?.into_iter().collect(),
        })
    }

    /// The place, and what rendering cannot tell there. An object that has left the chart is mended in its old template, if
    /// that is still there, or else where it is needed.
    pub(super) fn place(&self, entry: &Entry) -> (Option<Place>, Vec<&'static str>) {
        let object = &entry.object;
        let made = [&self.new, &self.old].map(|sources| (object, sources.get(object)));
        let needed = entry.consumers.iter().map(|id| (id, self.new.get(id)));
        let mut files = made.into_iter().chain(needed).filter_map(|(id, source)| {
            let file = self.file(source?)?;
            file.is_file().then_some((id, file))
        });
        let Some((id, file)) = files.next() else {
            let file = self.chart.folder.join("Chart.yaml");
            return (self.shown(&file, 1), Vec::new());
        };
        let text = fs::read_to_string(&file).unwrap_or_default();
        let caveats = self.named.caveats(&text, self.tool);
        let line = line_of(&text, id);
        (self.shown(&file, line), caveats)
    }

    fn shown(&self, file: &Path, line: usize) -> Option<Place> {
        let shown = self.chart.shown.as_ref()?;
        let file = shown.join(file.strip_prefix(&self.chart.folder).ok()?);
        let file = file.display().to_string().replace(MAIN_SEPARATOR, "/");
        Some(Place { file, line })
    }

    /// The file that Helm names. Its first folder is the name of the chart.
    fn file(&self, source: &str) -> Option<PathBuf> {
        let (_, path) = source.split_once('/')?;
        Some(self.chart.folder.join(path))
    }
}

/// The templates of a chart, and of those in its folder `charts`, that others include: each by its name, and whatever stands between its
/// `define` and the next one.
#[derive(Default)]
pub(super) struct Named(BTreeMap<String, String>);

impl Named {
    /// What cannot be read is no template that Helm could have rendered.
    pub(super) fn below(folder: &Path) -> Self {
        let mut named = Self::default();
        let mut folders = vec![folder.join("templates"), folder.join("charts")];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() => {
                        named.add(&fs::read_to_string(path).unwrap_or_default());
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
        named
    }

    fn add(&mut self, text: &str) {
        for definition in text.split("define ").skip(1) {
            if let Some(name) = quoted(definition) {
                self.0.insert(name.to_owned(), definition.to_owned());
            }
        }
    }

    /// What a template asks for, itself and by those that it includes.
    fn caveats(&self, text: &str, tool: Tool) -> Vec<&'static str> {
        let mut words = BTreeSet::new();
        let (mut texts, mut included) = (vec![text], BTreeSet::new());
        while let Some(text) = texts.pop() {
            for action in actions(text) {
                let is_end = |c: char| !(c.is_alphanumeric() || c == '.' || c == '_');
                words.extend(action.split(is_end));
                for word in ["include ", "template "] {
                    let names = action.split(word).skip(1).filter_map(quoted);
                    let new = names.filter(|name| included.insert(*name));
                    texts.extend(new.filter_map(|name| self.0.get(name).map(String::as_str)));
                }
            }
        }
        let mut caveats = Vec::new();
        for (wanted, caveat) in CAVEATS {
            if tool == Tool::Argocd && KNOWN_FOR_ARGO_CD.contains(&wanted) {
                continue;
            }
            let is_asked = |word: &&str| match wanted {
                "rand" => word.starts_with(wanted),
                ".Capabilities" => word.contains(wanted),
                // Also `$root.Release.IsUpgrade`.
                _ if wanted.starts_with('.') => word.ends_with(wanted),
                _ => *word == wanted,
            };
            if words.iter().any(is_asked) && !caveats.contains(&caveat) {
                caveats.push(caveat);
            }
        }
        caveats
    }
}

/// What stands between `{{` and `}}`.
fn actions(text: &str) -> impl Iterator<Item = &str> {
    let rests = text.split("{{").skip(1);
    let actions = rests.filter_map(|rest| Some(rest.split_once("}}")?.0));
    // Not those that are comments.
    actions.filter(|action| !action.trim_start_matches(['-', ' ']).starts_with("/*"))
}

/// The text in quotes at the beginning.
fn quoted(text: &str) -> Option<&str> {
    let (name, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(name)
}

/// The line with the kind of an object. If there are several, that whose name is most like the object's.
fn line_of(text: &str, id: &ObjectId) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let (mut first, mut best) = (1, None);
    for document in lines.split(|line| line.starts_with("---")) {
        let kind = document
            .iter()
            .position(|line| value(line, "kind:") == Some(&id.kind));
        if let Some(at) = kind {
            let likeness = name_in(document).map_or(0, |name| letters_in(name, &id.name));
            // Of equals, the first one.
            if best.is_none_or(|(known, _)| likeness > known) {
                best = Some((likeness, first + at));
            }
        }
        first += document.len() + 1;
    }
    best.map_or(1, |(_, line)| line)
}

/// What stands behind a key in a line, without quotes and comments.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim_start().trim_start_matches("- ");
    let value = line.strip_prefix(key)?;
    let value = value.split_once(" #").map_or(value, |(value, _)| value);
    Some(value.trim().trim_matches(['"', '\'']))
}

/// `metadata.name` of an object, as its template has it: in a line of its own, or `metadata: {name: …}`.
fn name_in<'a>(document: &[&'a str]) -> Option<&'a str> {
    let metadata = document
        .iter()
        .position(|line| line.trim_start().starts_with("metadata:"))?;
    let (line, below) = document.get(metadata..)?.split_first()?;
    match line.split_once("name:") {
        Some((_, name)) => {
            let name = name.split_once(',').map_or(name, |(name, _)| name);
            let name = name.trim();
            Some(name.strip_suffix('}').unwrap_or(name))
        }
        None => below.iter().find_map(|line| value(line, "name:")),
    }
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

    #[test]
    fn included_templates_are_looked_into() {
        let mut named = Named::default();
        named.add(
            r#"{{- define "web.name" -}}{{ .Release.Name }}{{- end }}
{{- define "web.password" -}}
{{ include "web.random" . }}
{{- end }}
{{ define "web.random" }}{{ randAlphaNum 8 }}{{ template "web.password" . }}{{ end }}"#,
        );
        let random = "random values differ each time the template is rendered";
        let lookup = "the template looks objects up in the cluster, and rendering finds none";
        for (template, expected) in [
            ("name: {{ include \"web.name\" . }}", vec![]),
            (
                "password: {{ include \"web.password\" . | b64enc }}",
                vec![random],
            ),
            ("{{- template \"web.random\" . }}", vec![random]),
            (
                "{{ lookup \"v1\" \"Secret\" }} {{ include \"other\" . }}",
                vec![lookup],
            ),
            ("rand: lookup", vec![]),
            ("{{- /* lookup */ -}}", vec![]),
            (
                "{{ if $root.Release.IsUpgrade }}",
                vec!["the old version is rendered as an install, and the new one as an upgrade"],
            ),
        ] {
            assert_eq!(named.caveats(template, Tool::Helm), expected, "{template}");
        }
    }

    #[test]
    fn what_argo_cd_renders_is_no_guess() {
        let template = "{{ if .Release.IsUpgrade }}{{ lookup \"v1\" \"Secret\" }}{{ randAlphaNum 8 }}{{ .Release.IsInstall }}{{ end }}";
        let of = |tool| Named::default().caveats(template, tool).len();
        assert_eq!((of(Tool::Helm), of(Tool::Argocd)), (3, 1));
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
---
metadata: {labels: {app: web}}
kind: Role
---
apiVersion: v1
kind: Role # of the one
metadata: {name: one, labels: {app: two}}
---
kind: Role
metadata: {name: "{{ .Release.Name }}-two"}
---
metadata:
  name: "three" # a comment
kind: Role
"#;

    #[test]
    fn a_finding_is_placed_at_the_kind_of_its_object() {
        for (kind, name, expected) in [
            ("ConfigMap", "release-name-web", 2),
            ("ConfigMap", "release-name-web-extra", 7),
            ("ConfigMap", "anything", 2),
            ("Secret", "db", 12),
            ("Service", "db", 1),
            ("Role", "one", 20),
            ("Role", "release-name-two", 23),
            ("Role", "three", 28),
            ("Role", "four", 17),
        ] {
            assert_eq!(
                line_of(TEMPLATE, &id(kind, name)),
                expected,
                "{kind} {name}"
            );
        }
    }
}
