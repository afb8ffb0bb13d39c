//! How many patches may be sent, and when.
//!
//! In: the limits, the maintenance windows, and the clock. Out: whether a workload may be patched now, or when to ask again.
//! Refuses: a window that is not a cron expression with a length.

use std::{collections::BTreeMap, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use croner::Cron;
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use k8s_openapi::jiff::{SignedDuration, Zoned};
use tokio::time::Instant;

use crate::work::Lane;

/// Patches in a second, on average and at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) each_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

/// Limits for the whole cluster, for each namespace, and for the gentle lane.
#[derive(Debug)]
pub(crate) struct Pace {
    cluster: Gate<DefaultDirectRateLimiter>,
    gentle: Gate<DefaultDirectRateLimiter>,
    by_namespace: DefaultKeyedRateLimiter<Arc<str>>,
    namespaces: BTreeMap<Arc<str>, State>,
}

#[derive(Debug)]
struct Gate<L> {
    limiter: L,
    state: State,
}

/// What a limiter said last. A permit that was not needed, because another limiter refused, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Permitted,
    ClosedUntil(Instant),
}

impl Pace {
    pub(crate) fn new(cluster: Rate, namespace: Rate, gentle: NonZeroU32) -> Self {
        let quota = |rate: Rate| Quota::per_second(rate.each_second).allow_burst(rate.burst);
        let one_by_one = Rate {
            each_second: gentle,
            burst: NonZeroU32::MIN,
        };
        let gate = |rate| Gate {
            limiter: RateLimiter::direct(quota(rate)),
            state: State::Unknown,
        };
        Self {
            cluster: gate(cluster),
            gentle: gate(one_by_one),
            by_namespace: RateLimiter::keyed(quota(namespace)),
            namespaces: BTreeMap::new(),
        }
    }

    /// Whether a workload of the namespace may be patched now. If not, when to ask again.
    pub(crate) fn permit(
        &mut self,
        lane: Lane,
        namespace: &Arc<str>,
        now: Instant,
    ) -> Result<(), Instant> {
        if lane == Lane::Gentle {
            let limiter = &self.gentle.limiter;
            ask(&mut self.gentle.state, now, || limiter.check())?;
        }
        let state = self.namespaces.get(namespace).copied();
        let mut state = state.unwrap_or(State::Unknown);
        let asked = ask(&mut state, now, || self.by_namespace.check_key(namespace));
        self.namespaces.insert(Arc::clone(namespace), state);
        asked?;
        let limiter = &self.cluster.limiter;
        ask(&mut self.cluster.state, now, || limiter.check())?;
        self.cluster.state = State::Unknown;
        self.namespaces.remove(namespace);
        if lane == Lane::Gentle {
            self.gentle.state = State::Unknown;
        }
        Ok(())
    }

    /// Forgets the namespaces that have not been heard of for some time.
    pub(crate) fn forget_idle(&mut self, now: Instant) {
        self.by_namespace.retain_recent();
        self.namespaces
            .retain(|_, state| !matches!(state, State::ClosedUntil(until) if *until <= now));
    }
}

fn ask<T>(
    state: &mut State,
    now: Instant,
    check: impl FnOnce() -> Result<T, NotUntil<<DefaultClock as Clock>::Instant>>,
) -> Result<(), Instant> {
    match *state {
        State::Permitted => return Ok(()),
        State::ClosedUntil(until) if now < until => return Err(until),
        State::ClosedUntil(_) | State::Unknown => {}
    }
    match check() {
        Ok(_) => {
            *state = State::Permitted;
            Ok(())
        }
        Err(refused) => {
            let until = now + refused.wait_time_from(DefaultClock::default().now());
            *state = State::ClosedUntil(until);
            Err(until)
        }
    }
}

/// A time in which patches may be sent: `0 22 * * 1-5 for 4h` is from 22:00 to 02:00 UTC in the nights after working days.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    begin: Cron,
    length: Duration,
}

/// Why a window cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WindowError {
    #[error("expected a cron expression and a length, such as \"0 22 * * 1-5 for 4h\"")]
    Parts,
    #[error("not a cron expression: {0}")]
    Cron(#[from] croner::errors::CronError),
    #[error("not a length: {0}")]
    Length(#[from] humantime::DurationError),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let (begin, length) = text.split_once(" for ").ok_or(WindowError::Parts)?;
        Ok(Self {
            begin: begin.trim().parse()?,
            length: humantime::parse_duration(length.trim())?,
        })
    }
}

impl Window {
    fn is_open(&self, now: &Zoned) -> bool {
        let began = self.begin.find_previous_occurrence(now, true);
        began.is_ok_and(|began| {
            let since = now.timestamp().duration_since(began.timestamp());
            since < SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX)
        })
    }
}

/// Whether patches may be sent now: in each window, and always if there is none.
pub(crate) fn is_open(windows: &[Window], now: &Zoned) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.is_open(now))
}

#[cfg(test)]
mod tests;
