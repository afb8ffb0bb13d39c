//! Times that can be compared on a machine whose speed drifts.

use std::time::{Duration, Instant};

pub(crate) const ROUNDS: usize = 15;

/// One thing that is timed: a closure that does it once.
pub(crate) type Case<'a> = Box<dyn Fn() + 'a>;

/// The median time of each case, in milliseconds. In each round all of them take turns, so that what
/// slows the machine slows them all; the first round, which warms up, does not count.
pub(crate) fn medians<const N: usize>(cases: [Case<'_>; N], repeats: u32) -> [f64; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (case, times) in cases.iter().zip(&mut times) {
            let start = Instant::now();
            (0..repeats).for_each(|_| case());
            if round > 0 {
                times.push(start.elapsed() / repeats);
            }
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64() * 1000.0
    })
}
