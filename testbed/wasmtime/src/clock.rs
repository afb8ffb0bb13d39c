//! Time limits with wasmtime, which work as in policy-server: the engine counts ticks, and the code of a guest is interrupted when
//! its deadline has passed. The time of host calls counts, but a host call is never interrupted.

use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// A tick of policy-server takes a second, so its limit of two seconds is between one and two seconds in fact. Here,
/// a limit is exceeded by at most this time.
const TICK: Duration = Duration::from_millis(100);

/// More ticks than there will ever be. It is half of the maximum, because the engine adds it to the current tick.
pub(crate) const FOREVER: u64 = u64::MAX / 2;

/// Counts the ticks of an engine. Clones share one clock, because two clocks would halve the limits.
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

    /// Starts a thread that ends when the engine is no longer used.
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

/// The number of ticks that take at least this long. The first tick may come at once.
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
