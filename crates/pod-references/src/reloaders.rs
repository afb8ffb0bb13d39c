//! The annotations of two controllers that roll workloads out when their config changes: Reloader and Wave.
//!
//! In: a workload, or a config, as raw JSON. Out: which configs count for the workload ([`Watched`]), and a
//! [`Warning`] for each value that does not count. Refuses: nothing.
//!
//! Read from the source of Reloader v1.4.21 (`pkg/common/common.go`, ShouldReload; `internal/pkg/handler/upgrade.go`) and Wave
//! v0.11.0 (`pkg/core/children.go`). `docs/reloader-and-wave.md` has the table of all annotations, and what differs.

mod pattern;

use std::collections::BTreeSet;

use serde_json::Value;

use self::pattern::Pattern;
use crate::Kind;

/// On the workload: all configs that its pod template names count. `"false"` opts out.
pub const AUTO: &str = "reloader.stakater.com/auto";
/// On the workload: of these configs, those with [`MATCH`] count.
pub const SEARCH: &str = "reloader.stakater.com/search";
/// On a config, for [`SEARCH`].
pub const MATCH: &str = "reloader.stakater.com/match";
/// On a config: it never counts.
pub const IGNORE: &str = "reloader.stakater.com/ignore";
/// On the workload: all configs that its pod template names count.
pub const WAVE: &str = "wave.pusher.com/update-on-config-change";

const PAUSE_PERIOD: &str = "deployment.reloader.stakater.com/pause-period";
const ROLLOUT_STRATEGY: &str = "reloader.stakater.com/rollout-strategy";
const CSI: [&str; 2] = [
    "secretproviderclass.reloader.stakater.com/auto",
    "secretproviderclass.reloader.stakater.com/reload",
];

/// The annotations for one kind of config.
struct Names {
    /// Like [`AUTO`].
    auto: &'static str,
    /// Regular expressions, separated by commas, for names of configs.
    reload: &'static str,
    /// Names, separated by commas, of configs that do not count.
    exclude: &'static str,
    /// Of Wave: names, separated by commas, that may begin with a namespace and a slash.
    extra: &'static str,
}

const CONFIG_MAPS: Names = Names {
    auto: "configmap.reloader.stakater.com/auto",
    reload: "configmap.reloader.stakater.com/reload",
    exclude: "configmaps.exclude.reloader.stakater.com/reload",
    extra: "wave.pusher.com/extra-configmaps",
};

const SECRETS: Names = Names {
    auto: "secret.reloader.stakater.com/auto",
    reload: "secret.reloader.stakater.com/reload",
    exclude: "secrets.exclude.reloader.stakater.com/reload",
    extra: "wave.pusher.com/extra-secrets",
};

/// The length of all regular expressions of one list. Each is matched with the name of each config.
const MAX_PATTERNS: usize = 512;
/// More than the answer to a request can hold.
const MAX_WARNINGS: usize = 32;

/// An annotation that does not count, or not as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A flag that is neither on nor off. It counts as off.
    #[error("annotation {annotation} is {value:?}, which counts as \"false\", as in {tool}")]
    Flag {
        /// Where it is.
        annotation: &'static str,
        /// Its value.
        value: String,
        /// Whose annotation it is.
        tool: &'static str,
    },
    /// An entry of a list that cannot be the name of an object.
    #[error("annotation {annotation} names {entry:?}, which cannot be the name of an object")]
    ImpossibleName {
        /// Where it is.
        annotation: &'static str,
        /// The entry.
        entry: String,
    },
    /// An entry of a list with another namespace than that of the workload.
    #[error(
        "annotation {annotation} names {entry:?}, but only configs in the namespace of the workload count"
    )]
    OtherNamespace {
        /// Where it is.
        annotation: &'static str,
        /// The entry.
        entry: String,
    },
    /// Configs are read by name, so a regular expression finds only those whose names are known.
    #[error(
        "annotation {annotation}: {entry:?} is a pattern, which only finds configs that the pod template names; \
         list others by name"
    )]
    OnlyNamed {
        /// Where it is.
        annotation: &'static str,
        /// The entry.
        entry: String,
    },
    /// A regular expression of a kind that is not known, or one too many.
    #[error("annotation {annotation}: the pattern {entry:?} is not supported; list the names")]
    Pattern {
        /// Where it is.
        annotation: &'static str,
        /// The entry.
        entry: String,
    },
    /// The whole annotation.
    #[error("annotation {annotation} is not supported: {reason}")]
    NotSupported {
        /// Where it is.
        annotation: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
}

/// Which of the configs that the pod template names count without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// All.
    All,
    /// All, except for a kind that opts out: Reloader's `--auto-reload-all`.
    UnlessOptedOut,
    /// None.
    None,
}

/// How one config counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// It does not.
    No,
    /// If [`is_marked`]: with the keys that the pods use.
    IfMarked,
    /// With the keys that the pods use.
    Used,
    /// With all its keys.
    Whole,
}

/// What the annotations of a workload ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    config_maps: Rules,
    secrets: Rules,
    /// What does not count.
    pub warnings: Vec<Warning>,
}

/// The same, for one kind of config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    /// `Some(false)` opts out.
    auto: Option<bool>,
    search: bool,
    /// The list of Reloader.
    names: BTreeSet<String>,
    patterns: Vec<Pattern>,
    excluded: BTreeSet<String>,
    /// The list of Wave, which opts nothing in.
    extra: BTreeSet<String>,
}

impl Watched {
    /// Reads the annotations of the workload and of its pod template.
    pub fn of(workload: &Value) -> Self {
        let object = Annotations::at(workload, "/metadata/annotations");
        let template = Annotations::at(workload, "/spec/template/metadata/annotations");
        let mut watched = Self::default();
        // Most workloads have none.
        if !object.has_any() && !template.has_any() {
            return watched;
        }
        let namespace = workload.pointer("/metadata/namespace");
        let mut reader = Reader {
            object,
            template,
            namespace: namespace.and_then(Value::as_str),
            warnings: Vec::new(),
        };
        watched.config_maps = reader.rules(&CONFIG_MAPS);
        watched.secrets = reader.rules(&SECRETS);
        reader.not_supported(workload);
        watched.warnings = reader.warnings;
        watched
    }

    /// Whether a controller would roll the workload out.
    pub fn is_opted_in(&self) -> bool {
        self.rules().any(Rules::is_opted_in)
    }

    /// Whether Reloader would not, even with `--auto-reload-all`.
    pub fn is_opted_out(&self) -> bool {
        let opts_out = |rules: &Rules| rules.auto == Some(false) && !rules.is_opted_in();
        self.rules().all(opts_out)
    }

    /// Whether a config that the pod template names counts.
    pub fn counts(&self, kind: Kind, name: &str, unasked: Unasked) -> Counts {
        match kind {
            Kind::ConfigMap => self.config_maps.counts(name, unasked),
            Kind::Secret => self.secrets.counts(name, unasked),
            _ => Counts::No,
        }
    }

    /// The configs that count whether the pod template names them or not. The pods do not need them to start.
    pub fn listed(&self) -> impl Iterator<Item = (Kind, &str)> {
        let kinds = [
            (Kind::ConfigMap, &self.config_maps),
            (Kind::Secret, &self.secrets),
        ];
        kinds.into_iter().flat_map(|(kind, rules)| {
            let names = rules.names.union(&rules.extra);
            let names = names.filter(|name| !rules.excluded.contains(*name));
            names.map(move |name| (kind, name.as_str()))
        })
    }

    fn rules(&self) -> impl Iterator<Item = &Rules> {
        [&self.config_maps, &self.secrets].into_iter()
    }
}

impl Rules {
    fn is_opted_in(&self) -> bool {
        self.auto == Some(true)
            || self.search
            || !self.names.is_empty()
            || !self.patterns.is_empty()
    }

    /// What is excluded never counts; what is listed counts even without `auto`.
    fn counts(&self, name: &str, unasked: Unasked) -> Counts {
        let is_listed = || {
            self.names.contains(name)
                || self.extra.contains(name)
                || self.patterns.iter().any(|pattern| pattern.matches(name))
        };
        let by_auto = match unasked {
            Unasked::All => true,
            Unasked::UnlessOptedOut => self.auto.unwrap_or(true),
            Unasked::None => self.auto.unwrap_or(false),
        };
        match () {
            () if self.excluded.contains(name) => Counts::No,
            () if is_listed() => Counts::Whole,
            () if by_auto => Counts::Used,
            () if self.search => Counts::IfMarked,
            () => Counts::No,
        }
    }
}

/// Whether [`IGNORE`] leaves the config out.
pub fn is_ignored(config: &Value) -> bool {
    Annotations::at(config, "/metadata/annotations").text(IGNORE) == Some("true")
}

/// Whether [`MATCH`] marks the config for [`SEARCH`].
pub fn is_marked(config: &Value) -> bool {
    Annotations::at(config, "/metadata/annotations").text(MATCH) == Some("true")
}

#[derive(Clone, Copy)]
struct Annotations<'a>(Option<&'a Value>);

impl<'a> Annotations<'a> {
    fn at(object: &'a Value, pointer: &str) -> Self {
        Self(object.pointer(pointer))
    }

    fn has_any(self) -> bool {
        let keys = self.0.and_then(Value::as_object);
        let mut keys = keys.into_iter().flat_map(|fields| fields.keys());
        keys.any(|key| {
            key.contains("reloader.stakater.com/") || key.starts_with("wave.pusher.com/")
        })
    }

    /// An annotation that is not a string counts as missing.
    fn text(self, key: &str) -> Option<&'a str> {
        self.0?.get(key)?.as_str()
    }
}

struct Reader<'a> {
    object: Annotations<'a>,
    template: Annotations<'a>,
    namespace: Option<&'a str>,
    warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    fn rules(&mut self, of: &Names) -> Rules {
        // Reloader looks at the template if the object says nothing about this kind.
        let decisive = [of.reload, of.auto, AUTO, SEARCH];
        let place = match decisive.iter().any(|key| self.object.text(key).is_some()) {
            true => self.object,
            false => self.template,
        };
        let auto = [AUTO, of.auto].map(|key| self.flag(key, place.text(key)));
        let by_wave = self.is_true(WAVE, self.anywhere(WAVE), "Wave");
        let (names, patterns) = self.reload(of.reload, place.text(of.reload));
        Rules {
            auto: match by_wave {
                true => Some(true),
                false => auto.into_iter().flatten().reduce(|a, b| a || b),
            },
            search: self.is_true(SEARCH, place.text(SEARCH), "Reloader"),
            names,
            patterns,
            excluded: self.exclude(of.exclude),
            extra: self.extra(of.extra),
        }
    }

    /// Of the object, or else of the template. Reloader and Wave themselves read these only of the object.
    fn anywhere(&self, key: &str) -> Option<&'a str> {
        self.object.text(key).or_else(|| self.template.text(key))
    }

    /// What both kinds say is said once.
    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// As Go's `strconv.ParseBool` reads it.
    fn flag(&mut self, annotation: &'static str, value: Option<&str>) -> Option<bool> {
        match value? {
            "" => None,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            odd => {
                self.odd_flag(annotation, odd, "Reloader");
                Some(false)
            }
        }
    }

    /// Only `"true"` is true.
    fn is_true(
        &mut self,
        annotation: &'static str,
        value: Option<&str>,
        tool: &'static str,
    ) -> bool {
        match value {
            Some("true") => return true,
            None | Some("" | "false") => {}
            Some(odd) => self.odd_flag(annotation, odd, tool),
        }
        false
    }

    fn odd_flag(&mut self, annotation: &'static str, value: &str, tool: &'static str) {
        self.warn(Warning::Flag {
            annotation,
            value: value.to_owned(),
            tool,
        });
    }

    fn reload(
        &mut self,
        annotation: &'static str,
        list: Option<&str>,
    ) -> (BTreeSet<String>, Vec<Pattern>) {
        let mut names = BTreeSet::new();
        let mut patterns = Vec::new();
        let mut read = 0;
        for entry in entries(list) {
            if is_name(entry) {
                names.insert(entry.to_owned());
                continue;
            }
            let owned = entry.to_owned();
            read += entry.len();
            let fits = read <= MAX_PATTERNS;
            match fits.then(|| Pattern::parse(entry)).flatten() {
                Some(pattern) => {
                    patterns.push(pattern);
                    self.warn(Warning::OnlyNamed {
                        annotation,
                        entry: owned,
                    });
                }
                None => self.warn(Warning::Pattern {
                    annotation,
                    entry: owned,
                }),
            }
        }
        (names, patterns)
    }

    fn exclude(&mut self, annotation: &'static str) -> BTreeSet<String> {
        entries(self.anywhere(annotation))
            .filter_map(|entry| self.name(annotation, entry, entry))
            .collect()
    }

    fn extra(&mut self, annotation: &'static str) -> BTreeSet<String> {
        entries(self.anywhere(annotation))
            .filter_map(|entry| match entry.split_once('/') {
                None => self.name(annotation, entry, entry),
                Some((namespace, name)) if self.namespace == Some(namespace) => {
                    self.name(annotation, entry, name)
                }
                Some(_) => {
                    self.warn(Warning::OtherNamespace {
                        annotation,
                        entry: entry.to_owned(),
                    });
                    None
                }
            })
            .collect()
    }

    fn name(&mut self, annotation: &'static str, entry: &str, name: &str) -> Option<String> {
        if is_name(name) {
            return Some(name.to_owned());
        }
        self.warn(Warning::ImpossibleName {
            annotation,
            entry: entry.to_owned(),
        });
        None
    }

    fn not_supported(&mut self, workload: &Value) {
        let (object, template) = (self.object, self.template);
        let mut warn = |annotation, reason| self.warn(Warning::NotSupported { annotation, reason });
        if object.text(PAUSE_PERIOD).is_some() {
            warn(PAUSE_PERIOD, "hold rollouts back with rollout-guard/freeze");
        }
        let is_rollout = workload.get("kind").and_then(Value::as_str) == Some("Rollout");
        if is_rollout && object.text(ROLLOUT_STRATEGY) == Some("restart") {
            warn(
                ROLLOUT_STRATEGY,
                "a changed config is rolled out in the steps of the Rollout",
            );
        }
        for annotation in CSI {
            if [object, template]
                .iter()
                .any(|place| place.text(annotation).is_some())
            {
                warn(
                    annotation,
                    "let the SecretProviderClass sync to a Secret, and list that",
                );
            }
        }
    }
}

fn entries(list: Option<&str>) -> impl Iterator<Item = &str> {
    let entries = list.unwrap_or_default().split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty())
}

/// Whether an object can have the name. In a regular expression such a name stands for itself, except that its dots
/// stand for any character; nobody means that.
fn is_name(entry: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    let is_outer = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = entry.as_bytes();
    bytes.iter().all(|&c| is_inner(c)) && is_outer(bytes.first()) && is_outer(bytes.last())
}

#[cfg(test)]
mod tests;
