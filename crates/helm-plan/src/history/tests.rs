use std::convert::Infallible;

use super::*;

/// The current revision by these statuses, and the revisions that were asked for.
fn current_of(
    operation: Operation,
    statuses: &[(u64, Status)],
    next: u64,
) -> (Result<Option<u64>, String>, Vec<u64>) {
    let mut asked = Vec::new();
    let current = current(operation, next, |revision| {
        asked.push(revision);
        let found = statuses.iter().find(|(number, _)| *number == revision);
        Ok::<_, Infallible>(found.map(|(_, status)| *status))
    });
    (current.map_err(|error| error.to_string()), asked)
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
        assert_eq!(current, Ok(Some(expected)), "{name}");
        assert_eq!(asked, expected_asked, "{name}");
    }
}

#[test]
fn of_a_rollback_it_is_the_last_and_of_an_install_none() {
    let statuses = [(1, Status::Deployed), (2, Status::Failed)];
    assert_eq!(
        current_of(Operation::Rollback, &statuses, 3),
        (Ok(Some(2)), vec![])
    );
    assert_eq!(
        current_of(Operation::Install, &statuses, 3),
        (Ok(None), vec![])
    );
}

#[test]
fn helm_does_not_upgrade_from_any_history() {
    use Status::{PendingInstall, Uninstalled, Uninstalling, Unknown};
    for status in [PendingInstall, Uninstalled, Uninstalling, Unknown] {
        let (current, _) = current_of(Operation::Upgrade, &[(1, status)], 2);
        assert_eq!(
            current,
            Err("there is no revision to upgrade from".to_owned()),
            "{status}"
        );
    }
    for next in [0, 1, 2] {
        let (current, _) = current_of(Operation::Upgrade, &[], next);
        assert_eq!(
            current,
            Err("there is no revision to upgrade from".to_owned()),
            "{next}"
        );
    }
}

#[test]
fn a_long_history_is_not_read_to_its_beginning() {
    let failed: Vec<_> = (2..=100)
        .map(|revision| (revision, Status::Failed))
        .collect();
    let (current, asked) = current_of(Operation::Upgrade, &failed, 101);
    assert_eq!(
        current,
        Err("none of the last 64 revisions is deployed".to_owned())
    );
    assert_eq!(asked.len() as u64, MAX_REVISIONS);
    assert_eq!((asked.first(), asked.last()), (Some(&100), Some(&37)));
}
