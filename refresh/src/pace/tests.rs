use k8s_openapi::jiff::{Timestamp, tz::TimeZone};

use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn rate(each_second: u32, burst: u32) -> Rate {
    Rate {
        each_second: number(each_second),
        burst: number(burst),
    }
}

/// How many of `tries` patches may be sent at once.
fn permitted(pace: &mut Pace, lane: Lane, namespace: &str, tries: usize) -> usize {
    let now = Instant::now();
    let namespace = namespace.into();
    let permits = (0..tries).map(|_| pace.permit(lane, &namespace, now));
    permits.filter(Result::is_ok).count()
}

#[test]
fn each_namespace_has_its_limit_and_all_have_one() {
    let mut pace = Pace::new(rate(1, 5), rate(1, 2), number(100));
    assert_eq!(permitted(&mut pace, Lane::Changed, "a", 10), 2);
    assert_eq!(permitted(&mut pace, Lane::Changed, "b", 10), 2);
    assert_eq!(permitted(&mut pace, Lane::Changed, "c", 10), 1);
    assert_eq!(permitted(&mut pace, Lane::Changed, "d", 10), 0);
}

/// A namespace that floods the queue does not use up what others may send.
#[test]
fn who_is_refused_uses_nothing_up() {
    let mut pace = Pace::new(rate(1, 5), rate(1, 2), number(100));
    assert_eq!(permitted(&mut pace, Lane::Changed, "flood", 1000), 2);
    assert_eq!(permitted(&mut pace, Lane::Changed, "b", 2), 2);
    // The permit of the namespace is kept while the cluster has none.
    assert_eq!(permitted(&mut pace, Lane::Changed, "c", 2), 1);
    let now = Instant::now();
    let refused = pace.permit(Lane::Changed, &"c".into(), now).unwrap_err();
    assert!(refused > now);
    assert_eq!(pace.namespaces.get("c"), Some(&State::Permitted));
}

#[test]
fn the_gentle_lane_has_a_limit_of_its_own() {
    let mut pace = Pace::new(rate(100, 100), rate(100, 100), number(1));
    assert_eq!(permitted(&mut pace, Lane::Gentle, "a", 10), 1);
    assert_eq!(permitted(&mut pace, Lane::Changed, "a", 10), 10);
}

#[test]
fn windows_are_open_from_their_begin_for_their_length() {
    let windows = |texts: &[&str]| -> Vec<Window> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let night = windows(&["0 22 * * 1-5 for 4h"]);
    let both = windows(&["0 22 * * 1-5 for 4h", "30 12 * * * for 15m"]);
    // A Friday and the days after.
    for (time, windows, expected) in [
        ("2026-11-27T21:59", &night, false),
        ("2026-11-27T22:00", &night, true),
        ("2026-11-28T01:59", &night, true),
        ("2026-11-28T02:00", &night, false),
        ("2026-11-30T21:30", &night, false),
        ("2026-11-28T12:00", &both, false),
        ("2026-11-28T12:44", &both, true),
        ("2026-11-28T12:45", &both, false),
        ("2026-11-28T03:00", &vec![], true),
    ] {
        let now: Timestamp = format!("{time}:00Z").parse().unwrap();
        let now = now.to_zoned(TimeZone::UTC);
        assert_eq!(is_open(windows, &now), expected, "{time}");
    }
}

#[test]
fn a_window_that_cannot_be_read_is_refused() {
    for (text, expected) in [
        (
            "0 22 * * *",
            "expected a cron expression and a length, such as \"0 22 * * 1-5 for 4h\"",
        ),
        ("0 22 * * * for ever", "not a length: expected number at 0"),
        (
            "0 25 * * * for 1h",
            "not a cron expression: Component error: Number out of bounds.",
        ),
    ] {
        let error = text.parse::<Window>().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
