//! The history of one release: charts as text, and commands in order.

use std::fmt;

use anyhow::{Context, Result, bail};
use cluster_tests::HelmVersion;
use helm_plan::record::Driver;

/// The history of one release, from its first install on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    /// Where Helm stores the release records.
    pub(crate) driver: Driver,
    /// The only template of each chart; `v1` is the first.
    pub(crate) charts: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Helm {
        version: HelmVersion,
        action: Action,
        flags: Vec<String>,
    },
    /// Annotates a live object (`configmap/a`) with `helm.sh/resource-policy: keep`.
    Keep(String),
    /// Annotates a live object as part of another release.
    Give(String),
    /// The last command counts as killed after its last change: its record stays pending.
    Interrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Of a chart, counted from 1.
    Install(usize),
    /// To a chart, counted from 1.
    Upgrade(usize),
    /// To a revision.
    Rollback(usize),
}

impl Command {
    /// Parses the displayed form. If it does not name a version of Helm, it is `helm`.
    pub(crate) fn parse(text: &str, helm: HelmVersion) -> Result<Command> {
        let mut words = text.split_whitespace().peekable();
        if words.next_if_eq(&"interrupt").is_some() {
            return Ok(Command::Interrupt);
        }
        if let Some(verb) = words.next_if(|word| matches!(*word, "keep" | "give")) {
            let object = words
                .next()
                .with_context(|| format!("{text}: which object?"))?;
            let object = object.to_owned();
            return Ok(match verb {
                "keep" => Command::Keep(object),
                _ => Command::Give(object),
            });
        }
        let named = HelmVersion::ALL.into_iter().find(|version| {
            let name = version.to_string();
            words.next_if(|word| **word == name).is_some()
        });
        let verb = words.next().unwrap_or_default();
        let number = words.next().unwrap_or_default().trim_start_matches('v');
        let number = number
            .parse()
            .with_context(|| format!("{text}: which number?"))?;
        let action = match verb {
            "install" => Action::Install(number),
            "upgrade" => Action::Upgrade(number),
            "rollback" => Action::Rollback(number),
            _ => bail!("{text}: unknown command {verb}"),
        };
        Ok(Command::Helm {
            version: named.unwrap_or(helm),
            action,
            flags: words.map(str::to_owned).collect(),
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Keep(object) => write!(f, "keep {object}"),
            Command::Give(object) => write!(f, "give {object}"),
            Command::Interrupt => f.write_str("interrupt"),
            Command::Helm {
                version,
                action,
                flags,
            } => {
                write!(f, "{version} {action}")?;
                flags.iter().try_for_each(|flag| write!(f, " {flag}"))
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Install(chart) => write!(f, "install v{chart}"),
            Action::Upgrade(chart) => write!(f, "upgrade v{chart}"),
            Action::Rollback(revision) => write!(f, "rollback {revision}"),
        }
    }
}

/// All of it, to read, or to turn into a regression case.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# records in {}s", self.driver.kind())?;
        for command in &self.commands {
            writeln!(f, "{command}")?;
        }
        for (index, chart) in self.charts.iter().enumerate() {
            writeln!(f, "# v{}\n{}", index + 1, chart.trim_end())?;
        }
        Ok(())
    }
}
