//! What occurred how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cluster_tests::HelmVersion;
use rollout_guard::release_guard::findings::Lint;

use crate::judge::Agreed;

/// Counts, shared by all cases.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    cases: BTreeMap<String, usize>,
    operations: BTreeMap<String, usize>,
    /// And how many of them are uncertain.
    findings: BTreeMap<(&'static str, String), (usize, usize)>,
}

impl Tally {
    /// Counts a case of a Helm.
    pub(crate) fn add(&self, helm: HelmVersion, agreed: &[Agreed]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let helm = helm.to_string();
        *counts.cases.entry(helm.clone()).or_default() += 1;
        for agreed in agreed {
            let operation = match agreed {
                Agreed::Refused => "refused by Helm itself".to_owned(),
                Agreed::Planned {
                    operation,
                    course,
                    findings,
                } => {
                    for found in findings {
                        let key = (found.lint.name(), helm.clone());
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

    /// Findings that never occurred.
    pub(crate) fn missing(&self) -> Vec<Lint> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let occurs = |lint: &Lint| counts.findings.keys().any(|(name, _)| *name == lint.name());
        Lint::ALL.into_iter().filter(|lint| !occurs(lint)).collect()
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
        for lint in Lint::ALL {
            write!(f, "  {lint}:")?;
            for helm in counts.cases.keys() {
                let key = (lint.name(), helm.clone());
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
