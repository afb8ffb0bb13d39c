use serde_json::json;

use helm_plan::testing::revision;

use super::*;
use crate::cluster::{List, Review, fake::Objects};

/// The records `(revision, status)` of `web` in the cluster.
fn cluster(records: &[(u64, &str)]) -> Objects {
    let record = |&(number, status): &(u64, &str)| revision(number, &[]).status(status).secret();
    Objects::new(records.iter().map(record))
}

/// What cannot be told is an error that begins with `unknown: `.
fn current(cluster: &dyn Cluster, operation: Operation, new: u64) -> Result<Option<u64>, String> {
    current_of_driver(Driver::Secret, cluster, operation, new)
}

fn current_of_driver(
    driver: Driver,
    cluster: &dyn Cluster,
    operation: Operation,
    new: u64,
) -> Result<Option<u64>, String> {
    let history = History {
        cluster,
        driver,
        namespace: "shop",
        max_record_bytes: 1 << 20,
    };
    let current = history
        .current(operation, "web", new)
        .map_err(|error| error.to_string())?;
    match current {
        Current::None => Ok(None),
        Current::Record(record) => Ok(Some(record.version)),
        Current::Unknown(why) => Err(format!("unknown: {why}")),
    }
}

/// Look-ups: `v3` for a whole record, `v2 labels` for its labels.
fn asked(cluster: &Objects) -> Vec<String> {
    let short = |asked: &String| {
        let asked = asked
            .strip_prefix("Secret shop/sh.helm.release.v1.web.")
            .unwrap();
        let asked = asked.replace(" [metadata.labels, data]", "");
        asked.replace(" [metadata.labels]", " labels")
    };
    cluster.asked.borrow().iter().map(short).collect()
}

#[track_caller]
fn assert_current(
    name: &str,
    records: &[(u64, &str)],
    new: u64,
    expected: Result<u64, &str>,
    looked_up: &[&str],
) {
    let cluster = cluster(records);
    let current = current(&cluster, Operation::Upgrade, new);
    let expected = expected.map(Some).map_err(str::to_owned);
    assert_eq!(current, expected, "{name}");
    assert_eq!(asked(&cluster), looked_up, "{name}");
}

#[test]
fn current_of_an_upgrade_is_what_helm_takes() {
    assert_current(
        "the last is deployed",
        &[(1, "superseded"), (2, "deployed")],
        3,
        Ok(2),
        &["v2"],
    );
    assert_current("the first", &[(1, "deployed")], 2, Ok(1), &["v1"]);
    assert_current(
        "the last has failed",
        &[(1, "superseded"), (2, "deployed"), (3, "failed")],
        4,
        Ok(2),
        &["v3", "v2 labels", "v2"],
    );
    assert_current(
        "several have failed",
        &[(1, "deployed"), (2, "failed"), (3, "failed"), (4, "failed")],
        5,
        Ok(1),
        &["v4", "v3 labels", "v2 labels", "v1 labels", "v1"],
    );
    assert_current(
        "a gap: somebody has deleted records",
        &[(2, "deployed"), (5, "failed")],
        6,
        Ok(2),
        &["v5", "v4 labels", "v3 labels", "v2 labels", "v2"],
    );
    assert_current(
        "several are deployed: the newest",
        &[(1, "deployed"), (2, "deployed"), (3, "failed")],
        4,
        Ok(2),
        &["v3", "v2 labels", "v2"],
    );
    assert_current(
        "none is deployed, the last has failed",
        &[(1, "failed"), (2, "failed")],
        3,
        Ok(2),
        &["v2", "v1 labels"],
    );
    assert_current(
        "none is deployed, the last is superseded",
        &[(1, "failed"), (2, "superseded")],
        3,
        Ok(2),
        &["v2", "v1 labels"],
    );
    assert_current(
        "pending ones in between are passed over",
        &[(1, "deployed"), (2, "pending-upgrade"), (3, "failed")],
        4,
        Ok(1),
        &["v3", "v2 labels", "v1 labels", "v1"],
    );
}

const UNCHECKED: &str =
    "(--history-max deletes records), so what this upgrade deletes was not checked";

/// `--history-max` deletes records before the new one is written, and spares only the deployed one.
#[test]
fn a_hole_in_the_history_is_unknown() {
    let record = "unknown: release record Secret shop/sh.helm.release.v1.web";
    let gone = |last| format!("{record}.v{last} does not exist {UNCHECKED}");
    let is = |status| format!("{record}.v1 is {status}, and no older one is deployed {UNCHECKED}");
    for (name, records, new, expected, looked_up) in [
        ("the install has failed", &[][..], 2, gone(1), vec!["v1"]),
        (
            "two have failed",
            &[(1, "failed")],
            3,
            gone(2),
            vec!["v2", "v1 labels"],
        ),
        ("revision 1", &[], 1, gone(0), vec!["v0"]),
        ("revision 0", &[], 0, gone(0), vec!["v0"]),
        (
            "uninstalled",
            &[(1, "uninstalled")],
            2,
            is("uninstalled"),
            vec!["v1"],
        ),
        (
            "pending",
            &[(1, "pending-install")],
            2,
            is("pending-install"),
            vec!["v1"],
        ),
    ] {
        assert_current(name, records, new, Err(&expected), &looked_up);
    }
    assert_current(
        "the failed revision is gone, the deployed one is not",
        &[(1, "deployed")],
        3,
        Ok(1),
        &["v2", "v1 labels", "v1"],
    );
}

/// Between the look-up of its labels and that of its content.
#[test]
fn a_record_that_has_just_been_deleted_is_a_hole() {
    struct Vanishing(Objects);
    impl Cluster for Vanishing {
        fn get(
            &self,
            object: ObjectRef<'_>,
            fields: &[&str],
        ) -> Result<Option<Value>, LookupError> {
            let found = self.0.get(object, fields)?;
            Ok(found.filter(|_| !object.name.ends_with(".v1") || fields.len() == 1))
        }

        fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
            self.0.list(list)
        }

        fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
            self.0.may_read(review)
        }
    }
    let cluster = Vanishing(cluster(&[(1, "deployed"), (2, "failed")]));
    assert_eq!(
        current(&cluster, Operation::Upgrade, 3),
        Err(format!(
            "unknown: release record Secret shop/sh.helm.release.v1.web.v1 does not exist {UNCHECKED}"
        ))
    );
}

/// Helm reads the status of the last revision from its content, and looks for deployed ones by label.
#[test]
fn an_edited_label_counts_as_in_helm() {
    let labelled = |number, status: &str, label: &str| {
        let mut record = revision(number, &[]).status(status).secret();
        record["metadata"]["labels"]["status"] = label.into();
        record
    };
    let last = |record| Objects::new([revision(1, &[]).secret(), record]);

    let cluster = last(labelled(2, "deployed", "failed"));
    assert_eq!(current(&cluster, Operation::Upgrade, 3), Ok(Some(2)));
    assert_eq!(asked(&cluster), ["v2"]);

    let cluster = last(labelled(2, "failed", "deployed"));
    assert_eq!(current(&cluster, Operation::Upgrade, 3), Ok(Some(2)));
    assert_eq!(asked(&cluster), ["v2"]);

    let cluster = Objects::new([
        labelled(1, "superseded", "deployed"),
        revision(2, &[]).status("failed").secret(),
    ]);
    assert_eq!(current(&cluster, Operation::Upgrade, 3), Ok(Some(1)));

    let mut unlabelled = revision(1, &[]).secret();
    unlabelled["metadata"]["labels"] = serde_json::Value::Null;
    assert_eq!(
        current(&Objects::new([unlabelled]), Operation::Upgrade, 2),
        Ok(Some(1))
    );
}

#[test]
fn an_install_looks_at_nothing() {
    let cluster = cluster(&[(1, "deployed")]);
    assert_eq!(current(&cluster, Operation::Install, 2), Ok(None));
    assert_eq!(asked(&cluster), [""; 0]);
}

#[test]
fn current_of_a_rollback_is_the_last_whatever_it_is() {
    for status in [
        "deployed",
        "failed",
        "superseded",
        "pending-upgrade",
        "uninstalled",
    ] {
        let cluster = cluster(&[(1, "deployed"), (2, status)]);
        assert_eq!(
            current(&cluster, Operation::Rollback, 3),
            Ok(Some(2)),
            "{status}"
        );
        assert_eq!(asked(&cluster), ["v2"], "{status}");
    }
    let missing = cluster(&[(1, "deployed")]);
    assert_eq!(
        current(&missing, Operation::Rollback, 3),
        Err(
            "unknown: release record Secret shop/sh.helm.release.v1.web.v2 does not exist \
             (--history-max deletes records), so what this rollback deletes was not checked"
                .to_owned()
        )
    );
}

#[test]
fn look_ups_are_bounded() {
    let all_failed = |numbers: std::ops::RangeInclusive<u64>| -> Vec<_> {
        numbers.map(|number| (number, "failed")).collect()
    };
    let records = [vec![(1, "deployed")], all_failed(2..=64)].concat();
    let within = cluster(&records);
    assert_eq!(current(&within, Operation::Upgrade, 65), Ok(Some(1)));
    assert_eq!(
        within.asked.borrow().len(),
        65,
        "64 revisions, and the record itself"
    );

    let records = [vec![(1, "deployed")], all_failed(2..=65)].concat();
    let beyond = cluster(&records);
    assert_eq!(
        current(&beyond, Operation::Upgrade, 66),
        Err(format!(
            "unknown: no release record Secret shop/sh.helm.release.v1.web.v2 to v65 is deployed, \
             and older ones are not read {UNCHECKED}"
        ))
    );
    assert_eq!(beyond.asked.borrow().len(), 64);
}

#[test]
fn absurd_revisions_are_unknown() {
    for number in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let cluster = cluster(&[]);
        let error = current(&cluster, Operation::Upgrade, number).unwrap_err();
        assert!(error.starts_with("unknown: no release record"), "{error}");
        assert_eq!(cluster.asked.borrow().len(), 64);
        let rollback = current(&cluster, Operation::Rollback, number).unwrap_err();
        assert!(
            rollback.starts_with("unknown: release record"),
            "{rollback}"
        );
    }
}

#[test]
fn the_configmap_driver_is_read_in_configmaps() {
    let records = [(1, "deployed"), (2, "failed")];
    let record =
        |&(number, status): &(u64, &str)| revision(number, &[]).status(status).config_map();
    let cluster = Objects::new(records.iter().map(record));
    let current = current_of_driver(Driver::ConfigMap, &cluster, Operation::Upgrade, 3);
    assert_eq!(current, Ok(Some(1)));
    assert_eq!(
        *cluster.asked.borrow(),
        [
            "ConfigMap shop/sh.helm.release.v1.web.v2 [metadata.labels, data]",
            "ConfigMap shop/sh.helm.release.v1.web.v1 [metadata.labels]",
            "ConfigMap shop/sh.helm.release.v1.web.v1 [metadata.labels, data]",
        ]
    );
}

#[test]
fn failed_look_ups_are_errors() {
    for failing in [3, 2] {
        let mut cluster = cluster(&[(2, "deployed"), (3, "failed")]);
        let record = format!("Secret shop/sh.helm.release.v1.web.v{failing}");
        cluster.failing = vec![record.clone()];
        assert_eq!(
            current(&cluster, Operation::Upgrade, 4),
            Err(format!("{record} cannot be read: the API server is away"))
        );
    }
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let mut broken = revision(1, &[]).secret();
    broken["data"]["release"] = json!("*");
    let cluster = Objects::new([broken]);
    let expected = "release record Secret shop/sh.helm.release.v1.web.v1 cannot be read: \
                    data.release: Kubernetes' base64 layer has an invalid character at byte 0";
    for operation in [Operation::Upgrade, Operation::Rollback] {
        assert_eq!(current(&cluster, operation, 2), Err(expected.to_owned()));
    }
}
