use std::convert::Infallible;

use super::*;

/// The current revision by these statuses, and the revisions that were asked for.
fn current_of(operation: Operation, statuses: &[(u64, Status)], next: u64) -> (Current, Vec<u64>) {
    let mut asked = Vec::new();
    let Ok(current) = current(operation, next, |revision| {
        asked.push(revision);
        let found = statuses.iter().find(|(number, _)| *number == revision);
        Ok::<_, Infallible>(found.map(|(_, status)| *status))
    });
    (current, asked)
}

#[test]
fn current_of_an_upgrade_is_what_helm_takes() {
    use Status::{Deployed, Failed, PendingUpgrade, Superseded};
    for (name, statuses, expected, expected_asked) in [
        (
            "the last is deployed",
            vec![(2, Superseded), (3, Deployed)],
            3,
            vec![3],
        ),
        (
            "the last has failed",
            vec![(2, Deployed), (3, Failed)],
            2,
            vec![3, 2],
        ),
        (
            "several are deployed: the newest",
            vec![(1, Deployed), (2, Deployed), (3, Failed)],
            2,
            vec![3, 2],
        ),
        (
            "a gap, and one pending",
            vec![(1, Deployed), (2, PendingUpgrade)],
            1,
            vec![3, 2, 1],
        ),
        (
            "none is deployed, the last has failed",
            vec![(2, Failed), (3, Failed)],
            3,
            vec![3, 2, 1],
        ),
        (
            "none is deployed, the last is superseded",
            vec![(3, Superseded)],
            3,
            vec![3, 2, 1],
        ),
    ] {
        let (current, asked) = current_of(Operation::Upgrade, &statuses, 4);
        assert_eq!(current, Current::Revision(expected), "{name}");
        assert_eq!(asked, expected_asked, "{name}");
    }
}

#[test]
fn of_a_rollback_it_is_the_last_and_of_an_install_none() {
    let statuses = [(1, Status::Deployed), (2, Status::Failed)];
    assert_eq!(
        current_of(Operation::Rollback, &statuses, 3),
        (Current::Revision(2), vec![])
    );
    assert_eq!(
        current_of(Operation::Install, &statuses, 3),
        (Current::None, vec![])
    );
}

#[track_caller]
fn assert_unknown(statuses: &[(u64, Status)], next: u64, expected: &str) -> Vec<u64> {
    let (current, asked) = current_of(Operation::Upgrade, statuses, next);
    let Current::Unknown(reason) = current else {
        panic!("{current:?}")
    };
    assert_eq!(reason.to_string(), expected);
    asked
}

/// `helm install` with `--history-max 1` fails, and the upgrade deletes its record before it writes its own.
#[test]
fn what_no_record_tells_is_unknown() {
    use Status::{Failed, PendingInstall, Superseded, Uninstalled, Uninstalling, Unknown};
    for (status, name) in [
        (PendingInstall, "pending-install"),
        (Uninstalled, "uninstalled"),
        (Uninstalling, "uninstalling"),
        (Unknown, "unknown"),
    ] {
        let expected = format!("revision 1 is {name}, and no older one is deployed");
        assert_unknown(&[(1, status)], 2, &expected);
    }
    for (next, statuses, gone) in [
        (2, vec![], 1),
        (1, vec![], 0),
        (0, vec![], 0),
        (4, vec![(1, Superseded), (2, Failed)], 3),
    ] {
        let expected = format!("revision {gone} has no record, and no older one is deployed");
        assert_unknown(&statuses, next, &expected);
    }
}

#[test]
fn a_long_history_is_not_read_to_its_beginning() {
    let mut statuses: Vec<_> = (97..=100)
        .map(|revision| (revision, Status::Failed))
        .collect();
    statuses.push((10, Status::Deployed));
    let expected = "none of the revisions 37 to 100 is deployed";
    let asked = assert_unknown(&statuses, 101, expected);
    assert_eq!(asked.len() as u64, MAX_REVISIONS);
    assert_eq!((asked.first(), asked.last()), (Some(&100), Some(&37)));
}
