//! Measures times that can be compared although the speed of the machine changes.

use std::time::{Duration, Instant};

pub(crate) const ROUNDS: usize = 15;

/// Something to measure: a closure that does it once.
pub(crate) type Case<'a> = Box<dyn Fn() + 'a>;

/// The median time of each case, in milliseconds. The cases take turns in each round, so a slow phase of the
/// machine affects all of them. The first round only warms up and does not count.
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
