use super::*;
use crate::object::GroupKind;

mod model;

const DELAY: Duration = Duration::from_millis(200);
const INTERVAL: Duration = Duration::from_secs(5);

fn timing() -> Timing {
    Timing {
        delay: DELAY,
        interval: INTERVAL,
        retry: (Duration::from_secs(1), Duration::from_secs(60)),
        unrecorded: (Duration::from_secs(1), Duration::from_secs(600)),
    }
}

fn config(name: &str) -> ConfigId {
    ConfigId {
        namespace: "shop".into(),
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    }
}

fn workload(name: &str) -> WorkloadId {
    let kind = GroupKind {
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
    };
    WorkloadId {
        namespace: "shop".into(),
        kind: kind.into(),
        name: name.to_owned(),
    }
}

fn version(revision: u64, written: i64) -> Version {
    Version {
        revision,
        written: Some(written),
    }
}

/// A workload that uses these configs, last written at this time. It was recorded with these digests.
fn uses(recorded: &[(&str, &str)], written: i64) -> Workload {
    let recorded: BTreeMap<_, _> = recorded
        .iter()
        .map(|(name, digest)| (config(name), (*digest).to_owned()))
        .collect();
    Workload {
        uses: recorded.keys().cloned().collect(),
        recorded: Some(recorded),
        written: Some(written),
        written_by_us: true,
        generation: 1,
        uid: String::new(),
    }
}

/// Deployment `web` uses ConfigMaps `app` and `more`, all of it is old and recorded.
fn shop(now: Instant) -> Work {
    let mut work = Work::new(timing(), false);
    let web = uses(&[("app", "one"), ("more", "one")], 1000);
    work.workload_seen(&workload("web"), Some(web), now);
    for (name, revision) in [("app", 10), ("other", 11), ("more", 12)] {
        work.config_seen(config(name), version(revision, 0), now);
    }
    work.complete(now);
    work
}

fn next(work: &Work, now: Instant) -> Option<String> {
    work.next(now, |_, _| true).map(|id| id.name)
}

fn patch(work: &mut Work, now: Instant, ending: Ending) {
    let id = work.next(now, |_, _| true).unwrap();
    work.begin(&id, now).unwrap();
    work.end(&id, ending, now);
}

#[test]
fn a_changed_config_makes_its_users_due_after_the_delay() {
    let now = Instant::now();
    let mut work = shop(now);
    assert_eq!(next(&work, now), None);
    work.config_seen(config("other"), version(20, 2000), now);
    assert_eq!(work.next_at(), None);
    work.config_seen(config("app"), version(21, 2000), now);
    assert_eq!(next(&work, now), None);
    assert_eq!(work.next_at(), Some(now + DELAY));
    assert_eq!(next(&work, now + DELAY), Some("web".to_owned()));
    let task = work.begin(&workload("web"), now + DELAY).unwrap();
    assert_eq!(
        (task.lane, task.configs, task.since),
        (Lane::Changed, vec![config("app")], now)
    );
    assert_eq!(next(&work, now + DELAY), None);
}

/// There is nothing to wait for.
#[test]
fn a_workload_with_one_config_is_due_at_once() {
    let now = Instant::now();
    let mut work = shop(now);
    let one = uses(&[("other", "one")], 1000);
    work.workload_seen(&workload("db"), Some(one), now);
    work.config_seen(config("other"), version(20, 2000), now);
    assert_eq!(next(&work, now), Some("db".to_owned()));
    patch(&mut work, now, Ending::Done);
    work.config_seen(config("other"), version(21, 2000), now);
    assert_eq!(work.next_at(), Some(now + INTERVAL));
}

#[test]
fn the_same_version_again_is_no_change() {
    let now = Instant::now();
    let mut work = shop(now);
    work.config_seen(config("app"), version(10, 0), now);
    let source = (ConfigKind::ConfigMap, None);
    let listed = [
        (config("app"), version(10, 0)),
        (config("other"), version(11, 0)),
        (config("more"), version(12, 0)),
    ];
    work.configs_listed(&source, listed.into(), now);
    assert_eq!(work.next_at(), None);
}

#[test]
fn a_list_shows_what_changed_and_what_went_while_the_watch_was_away() {
    let now = Instant::now();
    let source = (ConfigKind::ConfigMap, None);
    for listed in [vec![(config("app"), version(30, 2000))], vec![]] {
        let mut work = shop(now);
        work.configs_listed(&source, listed.into_iter().collect(), now);
        assert_eq!(next(&work, now + DELAY), Some("web".to_owned()));
    }
    // A list of other configs says nothing of it.
    let mut work = shop(now);
    for source in [
        (ConfigKind::Secret, None),
        (ConfigKind::ConfigMap, Some("else".into())),
    ] {
        work.configs_listed(&source, BTreeMap::new(), now);
    }
    assert_eq!(work.next_at(), None);
}

/// The record may be of a content between the one that was known and the one in the list.
#[test]
fn after_a_list_no_record_of_others_tells_that_a_change_is_dealt_with() {
    let now = Instant::now();
    let since = uses(&[("app", "two"), ("more", "one")], 2000);
    let versions = [("app", 30), ("other", 11), ("more", 12)];
    let listed = versions.map(|(name, revision)| (config(name), version(revision, 2000)));
    for (is_list, is_due) in [(false, false), (true, true)] {
        let mut work = shop(now);
        match is_list {
            true => work.configs_listed(&(ConfigKind::ConfigMap, None), listed.clone().into(), now),
            false => work.config_seen(config("app"), version(30, 2000), now),
        }
        assert!(work.next_at().is_some());
        work.workload_seen(&workload("web"), Some(since.clone()), now);
        assert_eq!(work.next_at().is_some(), is_due, "list: {is_list}");
    }
}

#[test]
fn many_changes_lead_to_one_patch_and_the_next_one_waits_for_the_interval() {
    let now = Instant::now();
    let mut work = shop(now);
    for (revision, after) in [(20, 0), (21, 50), (22, 150)] {
        let at = now + Duration::from_millis(after);
        work.config_seen(config("app"), version(revision, 2000), at);
    }
    // The first one decides.
    assert_eq!(work.next_at(), Some(now + DELAY));
    patch(&mut work, now + DELAY, Ending::Done);
    assert_eq!(work.next_at(), None);
    work.config_seen(
        config("app"),
        version(23, 2001),
        now + Duration::from_secs(1),
    );
    assert_eq!(work.next_at(), Some(now + DELAY + INTERVAL));
}

#[test]
fn a_change_during_a_patch_is_patched_once_more() {
    let now = Instant::now();
    for ending in [Ending::Done, Ending::Failed, Ending::Unrecorded] {
        let mut work = shop(now);
        work.config_seen(config("app"), version(20, 2000), now);
        let id = workload("web");
        work.begin(&id, now + DELAY).unwrap();
        work.config_seen(config("app"), version(21, 2000), now + DELAY);
        assert_eq!(
            work.next(now + INTERVAL * 2, |_, _| true),
            None,
            "one at a time"
        );
        work.end(&id, ending, now + DELAY);
        assert_eq!(work.next_at(), Some(now + DELAY + INTERVAL), "{ending:?}");
    }
}

#[test]
fn what_failed_is_tried_again_later_and_later() {
    let now = Instant::now();
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    let mut at = now + DELAY;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        patch(&mut work, at, Ending::Failed);
        assert_eq!(work.sizes().failed, 1);
        let again = work.next_at().unwrap();
        pauses.push((again - at).as_secs());
        at = again;
    }
    assert!(
        pauses.first().is_some_and(|first| *first <= 2),
        "{pauses:?}"
    );
    assert!(
        pauses.last().is_some_and(|last| (60..=120).contains(last)),
        "{pauses:?}"
    );
    // A change may have removed what was in the way.
    work.config_seen(config("app"), version(21, 3000), at);
    assert_eq!(work.next_at(), Some(at.min(at + DELAY)));
    assert_eq!(work.sizes().failed, 0);
}

#[test]
fn what_is_deleted_is_forgotten() {
    let now = Instant::now();
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    patch(&mut work, now + DELAY, Ending::Failed);
    work.workload_deleted(&workload("web"));
    assert_eq!((work.sizes().workloads, work.next_at()), (0, None));
    work.config_seen(config("app"), version(21, 2000), now);
    assert_eq!(work.next_at(), None);
    // Whichever goes first, nothing is left of a config.
    work.config_deleted(config("app"), 22, now);
    work.config_deleted(config("more"), 23, now);
    assert_eq!(work.sizes().configs, 1);
    let mut work = shop(now);
    work.config_deleted(config("app"), 20, now);
    work.workload_deleted(&workload("web"));
    assert_eq!(work.sizes().configs, 2);
}

/// While the watches were apart, nobody knew that the workload uses the config.
#[test]
fn a_workload_that_uses_more_or_is_another_one_is_checked() {
    let now = Instant::now();
    let more = uses(&[("app", "one"), ("more", "one"), ("other", "one")], 1000);
    let recreated = Workload {
        uid: "another".to_owned(),
        ..uses(&[("app", "one"), ("more", "one")], 1000)
    };
    let forgotten = Workload {
        recorded: None,
        ..uses(&[("app", "one"), ("more", "one")], 1000)
    };
    for seen in [more, recreated, forgotten] {
        let mut work = shop(now);
        for (name, revision) in [("other", 20), ("app", 21)] {
            work.config_seen(config(name), version(revision, 2000), now);
        }
        patch(&mut work, now + DELAY, Ending::Done);
        work.workload_seen(&workload("web"), Some(seen), now);
        assert_eq!(next(&work, now), Some("web".to_owned()));
        // What the leader has published does not cover it.
        work.taken_over(&[((ConfigKind::ConfigMap, None), 30)].into());
        assert_eq!(next(&work, now), Some("web".to_owned()));
    }
}

#[test]
fn what_was_never_recorded_is_not_covered_by_the_leader() {
    let now = Instant::now();
    let mut work = Work::new(timing(), false);
    let never = Workload {
        recorded: None,
        ..uses(&[("app", "")], 1000)
    };
    work.workload_seen(&workload("new"), Some(never), now);
    work.config_seen(config("app"), version(10, 0), now);
    work.complete(now);
    work.taken_over(&[((ConfigKind::ConfigMap, None), 30)].into());
    assert_eq!(next(&work, now), Some("new".to_owned()));
    // And it holds nothing up.
    patch(&mut work, now, Ending::Unrecorded);
    assert_eq!(work.handled().into_values().max(), Some(10));
}

#[test]
fn after_a_start_what_may_have_been_missed_is_due() {
    let now = Instant::now();
    for (case, workload_written, config_version, is_due) in [
        (
            "written long after its config",
            1000,
            Some(version(10, 900)),
            false,
        ),
        (
            "written just after its config",
            1000,
            Some(version(10, 990)),
            true,
        ),
        (
            "written before its config",
            1000,
            Some(version(10, 2000)),
            true,
        ),
        (
            "nobody knows when",
            1000,
            Some(Version {
                revision: 10,
                written: None,
            }),
            true,
        ),
        ("its config was deleted", 1000, None, true),
    ] {
        let mut work = Work::new(timing(), false);
        let seen = uses(&[("app", "one")], workload_written);
        work.workload_seen(&workload("web"), Some(seen), now);
        if let Some(version) = config_version {
            work.config_seen(config("app"), version, now);
        }
        assert_eq!(next(&work, now), None, "{case}: not all is listed");
        work.complete(now);
        assert_eq!(next(&work, now).is_some(), is_due, "{case}");
        if is_due {
            assert_eq!(work.sizes().gentle, 1, "{case}");
        }
    }
    for record in ["absent", "absent/123", "missing"] {
        let mut work = Work::new(timing(), false);
        work.workload_seen(&workload("web"), Some(uses(&[("app", record)], 1000)), now);
        work.complete(now);
        assert_eq!(next(&work, now), None, "{record}");
    }
}

#[test]
fn what_the_policy_does_not_see_is_tried_again() {
    let now = Instant::now();
    let mut work = shop(now);
    let never = Workload {
        recorded: None,
        ..uses(&[("app", "")], 1000)
    };
    work.workload_seen(&workload("new"), Some(never), now);
    patch(&mut work, now, Ending::Unrecorded);
    assert_eq!(work.sizes().unrecorded, 1);
    assert!(
        work.next_at()
            .is_some_and(|at| at >= now + Duration::from_secs(1))
    );
}

/// A replica that does not lead sees what the leader does, in either order.
#[test]
fn a_change_whose_effect_is_seen_is_dealt_with() {
    let now = Instant::now();
    let effect = || Some(uses(&[("app", "two")], 2000));
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    work.workload_seen(&workload("web"), effect(), now + DELAY);
    assert_eq!(work.next_at(), None);

    let mut work = shop(now);
    work.workload_seen(&workload("web"), effect(), now);
    work.config_seen(config("app"), version(20, 2000), now + DELAY);
    assert_eq!(work.next_at(), None);

    // The effect of something else.
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    let other = Workload {
        generation: 2,
        ..uses(&[("app", "one")], 2000)
    };
    work.workload_seen(&workload("web"), Some(other), now);
    assert_eq!(next(&work, now + DELAY), Some("web".to_owned()));
}

/// A record may be of the first change, and the second has come while the request was on its way.
#[test]
fn of_two_changes_in_a_short_time_the_effect_tells_nothing() {
    let now = Instant::now();
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    work.config_seen(config("app"), version(21, 2000), now);
    work.workload_seen(&workload("web"), Some(uses(&[("app", "two")], 2000)), now);
    assert_eq!(next(&work, now + DELAY), Some("web".to_owned()));

    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    work.workload_seen(&workload("web"), Some(uses(&[("app", "two")], 2000)), now);
    work.config_seen(
        config("app"),
        version(21, 2001),
        now + Duration::from_secs(1),
    );
    work.workload_seen(&workload("web"), Some(uses(&[("app", "three")], 2001)), now);
    let later = now + Duration::from_secs(2);
    assert_eq!(next(&work, later), Some("web".to_owned()));
}

#[test]
fn the_next_leader_goes_on_where_the_last_one_ended() {
    let now = Instant::now();
    let source = (ConfigKind::ConfigMap, None);
    let mut leader = shop(now);
    let mut other = shop(now);
    for work in [&mut leader, &mut other] {
        work.workload_seen(&workload("db"), Some(uses(&[("other", "one")], 1000)), now);
        work.config_seen(config("app"), version(20, 2000), now);
    }
    assert_eq!(leader.handled(), [(source.clone(), 19)].into());
    patch(&mut leader, now + DELAY, Ending::Done);
    assert_eq!(leader.handled(), [(source.clone(), 20)].into());
    for work in [&mut leader, &mut other] {
        work.config_seen(config("other"), version(30, 2000), now);
    }
    assert_eq!(leader.handled(), [(source, 29)].into());
    other.taken_over(&leader.handled());
    let later = now + DELAY;
    assert_eq!(next(&other, later), Some("db".to_owned()));
    assert_eq!(other.sizes().changed, 1);
    // On the way, and failed, is not dealt with.
    leader.begin(&workload("db"), later).unwrap();
    assert_eq!(leader.handled().into_values().max(), Some(29));
    leader.end(&workload("db"), Ending::Failed, later);
    assert_eq!(leader.handled().into_values().max(), Some(29));
}

#[test]
fn a_namespace_that_opts_out_is_left_alone_and_checked_when_it_opts_in() {
    let now = Instant::now();
    let mut work = shop(now);
    work.config_seen(config("app"), version(20, 2000), now);
    work.namespace_seen(&"shop".into(), true, now);
    assert_eq!(work.next_at(), None);
    work.config_seen(config("app"), version(21, 2001), now);
    assert_eq!(work.next_at(), None);
    work.namespace_seen(&"shop".into(), false, now);
    assert_eq!(next(&work, now), Some("web".to_owned()));
}

#[test]
fn a_workload_that_changes_its_configs_is_found_by_the_new_ones() {
    let now = Instant::now();
    let mut work = shop(now);
    work.workload_seen(&workload("web"), Some(uses(&[("other", "one")], 3000)), now);
    work.config_seen(config("app"), version(20, 2000), now);
    assert_eq!(work.next_at(), None);
    work.config_seen(config("other"), version(21, 2000), now);
    assert_eq!(next(&work, now + DELAY), Some("web".to_owned()));
    work.workload_seen(&workload("web"), None, now);
    assert_eq!(work.next_at(), None);
}

#[test]
fn changes_come_before_what_may_have_been_missed() {
    let now = Instant::now();
    let mut work = Work::new(timing(), false);
    for (name, uses_config) in [("a", "old"), ("b", "new")] {
        work.workload_seen(
            &workload(name),
            Some(uses(&[(uses_config, "one")], 1000)),
            now,
        );
        work.config_seen(config(uses_config), version(10, 1000), now);
    }
    work.complete(now);
    work.config_seen(config("new"), version(20, 2000), now);
    let later = now + DELAY;
    assert_eq!(next(&work, later), Some("b".to_owned()));
    let gentle = work.next(later, |lane, _| lane == Lane::Gentle);
    assert_eq!(gentle.map(|id| id.name), Some("a".to_owned()));
}
