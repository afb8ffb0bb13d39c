//! The numbers for Prometheus, in the OpenMetrics format.

use std::sync::atomic::{AtomicBool, Ordering};

use kube::runtime::watcher;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    patch::{Outcome, Report, with_causes},
    watch::Watch,
    work::{Lane, Sizes},
};

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    patches: Family<ResultLabel, Counter>,
    delay: Histogram,
    watch_errors: Family<WatchLabel, Counter>,
    queue: Family<LaneLabel, Gauge>,
    waiting: Family<ResultLabel, Gauge>,
    workloads: Gauge,
    configs: Gauge,
    leads: Gauge,
    window_open: Gauge,
    ready: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabel {
    watch: String,
}

/// In seconds: from what a webhook takes to the longest pause after a failure.
const DELAYS: [f64; 12] = [
    0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("rollout_guard_refresh"),
            patches: Family::default(),
            delay: Histogram::new(DELAYS),
            watch_errors: Family::default(),
            queue: Family::default(),
            waiting: Family::default(),
            workloads: Gauge::default(),
            configs: Gauge::default(),
            leads: Gauge::default(),
            window_open: Gauge::default(),
            ready: AtomicBool::new(false),
        };
        let registry = &mut metrics.registry;
        registry.register("patches", "Patches by result", metrics.patches.clone());
        registry.register_with_unit(
            "rollout_delay",
            "From the change of a config to the patch that rolled a workload out",
            Unit::Seconds,
            metrics.delay.clone(),
        );
        registry.register(
            "watch_errors",
            "Errors of watches, which begin again by themselves",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "queue",
            "Workloads that wait for a patch; of the leader, for the others do not see all that it does",
            metrics.queue.clone(),
        );
        registry.register(
            "retries",
            "Workloads in the queue of the leader, by what came of their last patch",
            metrics.waiting.clone(),
        );
        registry.register(
            "workloads",
            "Workloads that use config",
            metrics.workloads.clone(),
        );
        registry.register("configs", "ConfigMaps and Secrets", metrics.configs.clone());
        registry.register("leader", "1 if this replica patches", metrics.leads.clone());
        registry.register(
            "window_open",
            "1 if patches may be sent now",
            metrics.window_open.clone(),
        );
        // They are there before the first patch, so that rates begin at 0.
        for result in [
            "rolled_out",
            "recorded",
            "unchanged",
            "unseen",
            "unrecorded",
            "gone",
            "conflict",
            "denied",
            "unavailable",
        ] {
            let _ = metrics.patches.get_or_create(&ResultLabel { result });
        }
        metrics
    }

    pub(crate) fn patched(&self, report: &Report) {
        let result = report.outcome.name();
        self.patches.get_or_create(&ResultLabel { result }).inc();
        if report.outcome == Outcome::RolledOut && report.task.lane == Lane::Changed {
            self.delay.observe(report.after.as_secs_f64());
        }
    }

    pub(crate) fn watch_failed(&self, watch: &Watch, error: &watcher::Error) {
        let label = WatchLabel {
            watch: watch.to_string(),
        };
        self.watch_errors.get_or_create(&label).inc();
        tracing::warn!(%watch, error = with_causes(error), "the watch begins again");
    }

    pub(crate) fn set_sizes(&self, sizes: Sizes) {
        let number = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        for (lane, size) in [("changed", sizes.changed), ("gentle", sizes.gentle)] {
            self.queue
                .get_or_create(&LaneLabel { lane })
                .set(number(size));
        }
        for (result, size) in [
            ("failed", sizes.failed),
            ("unseen", sizes.unseen),
            ("unrecorded", sizes.unrecorded),
        ] {
            self.waiting
                .get_or_create(&ResultLabel { result })
                .set(number(size));
        }
        self.workloads.set(number(sizes.workloads));
        self.configs.set(number(sizes.configs));
    }

    pub(crate) fn set_leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    pub(crate) fn set_window_open(&self, open: bool) {
        self.window_open.set(open.into());
    }

    /// All watches have listed what there is.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_dashboard_and_the_page_name_metrics_that_there_are() {
        let metrics = Metrics::new();
        // What has labels appears with its first value.
        metrics.set_sizes(Sizes::default());
        let watch = String::new();
        let _ = metrics.watch_errors.get_or_create(&WatchLabel { watch });
        let text = metrics.text().unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let known: BTreeSet<_> = types.filter_map(|line| line.split(' ').next()).collect();
        for page in [
            include_str!("../../docs/refresh-dashboard.json"),
            include_str!("../../docs/refresh.md"),
        ] {
            let words = page.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let named: BTreeSet<_> = words
                .filter(|word| word.starts_with("rollout_guard_refresh_"))
                .map(|word| {
                    let ends = ["_total", "_bucket", "_sum", "_count"];
                    let base = ends.iter().find_map(|end| word.strip_suffix(end));
                    base.unwrap_or(word)
                })
                .collect();
            assert_eq!(named, known);
        }
    }
}
