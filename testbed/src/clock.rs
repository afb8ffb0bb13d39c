//! Time limits, kept the way policy-server keeps them: the engine counts ticks, and the code of a
//! guest is interrupted once it finds that its deadline has passed. The time that host calls take
//! counts, but they are never interrupted themselves.

use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use wasmtime_provider::wasmtime::Engine;

/// Those of policy-server take a second, which makes its limit of two seconds any time between one
/// and two. Here it is at most this much too long.
const TICK: Duration = Duration::from_millis(100);

/// More than a clock can tick. Half of what fits, since the engine adds it to the ticks so far.
pub(crate) const FOREVER: u64 = u64::MAX / 2;

/// Counts the ticks of an engine. Clones are the same clock: two that tick would halve the limits.
#[derive(Clone)]
pub(crate) struct Clock {
    engine: Engine,
    started: Arc<Once>,
}

impl Clock {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            started: Arc::new(Once::new()),
        }
    }

    /// In a thread that ends when nobody uses the engine any more.
    pub(crate) fn start(&self) {
        self.started.call_once(|| {
            let engine = self.engine.weak();
            thread::spawn(move || {
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    thread::sleep(TICK);
                }
            });
        });
    }
}

/// How many ticks take at least that long: the first of them may come at once.
pub(crate) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    u64::try_from(ticks).map_or(FOREVER, |ticks| ticks.min(FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_never_too_short() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(TICK / 2), 2);
        assert_eq!(ticks(TICK), 2);
        assert_eq!(ticks(Duration::from_secs(2)), 21);
        assert_eq!(ticks(Duration::MAX), FOREVER);
    }
}
