//! How often each operation and each finding occurred.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cluster_tests::HelmVersion;
use helm_plan::findings::LINTS;

use crate::judge::Agreed;

/// Counts, shared by all cases.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    cases: BTreeMap<String, usize>,
    operations: BTreeMap<String, usize>,
    /// By name and version of Helm: how many, and how many of them are uncertain.
    findings: BTreeMap<(&'static str, String), (usize, usize)>,
}

impl Tally {
    /// Counts a case, by its version of Helm.
    pub(crate) fn add(&self, helm: HelmVersion, agreed: &[Agreed]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let helm = helm.to_string();
        *counts.cases.entry(helm.clone()).or_default() += 1;
        for agreed in agreed {
            let operation = match agreed {
                Agreed::Refused => "refused by Helm itself".to_owned(),
                Agreed::NotCompared(operation) => {
                    format!("{} of a revision without a record", operation.name())
                }
                Agreed::Planned {
                    operation,
                    course,
                    findings,
                } => {
                    for found in findings {
                        let key = (found.lint.name, helm.clone());
                        let count = counts.findings.entry(key).or_default();
                        count.0 += 1;
                        count.1 += usize::from(found.uncertain);
                    }
                    format!("{} {course:?}", operation.name())
                }
            };
            *counts.operations.entry(operation).or_default() += 1;
        }
    }

    /// How many cases there were.
    pub(crate) fn cases(&self) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.cases.values().sum()
    }

    /// The names of findings that never occurred.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let occurs = |lint: &str| counts.findings.keys().any(|(name, _)| *name == lint);
        let names = LINTS.iter().map(|lint| lint.name);
        names.filter(|name| !occurs(name)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (helm, count) in &counts.cases {
            writeln!(f, "{helm}: {count} cases that agree")?;
        }
        for (operation, count) in &counts.operations {
            writeln!(f, "  {operation}: {count}")?;
        }
        for lint in LINTS {
            write!(f, "  {lint}:")?;
            for helm in counts.cases.keys() {
                let key = (lint.name, helm.clone());
                let (count, uncertain) = counts.findings.get(&key).copied().unwrap_or_default();
                write!(f, " {count} with {helm}")?;
                if uncertain > 0 {
                    write!(f, " ({uncertain} uncertain)")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
