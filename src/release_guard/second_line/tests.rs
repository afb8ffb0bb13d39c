use std::time::Duration;

use serde_json::json;

use helm_plan::testing::{Docs, NAMESPACE, config, mounts, pods, revision};

use super::*;
use crate::{
    annotations::ALLOW_REVISION,
    cluster::{InTime, fake::Objects},
    request,
};

const PRE: &str = "pre-install,pre-upgrade";
const SELECTOR: &str = "Secret */* [owner=helm,status in (pending-upgrade,pending-rollback)]";

fn request(operation: Operation, kind: &str, name: &str, annotations: Value) -> Request {
    let object = json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
    });
    let (object, old_object) = match operation {
        Operation::Delete => (Value::Null, object),
        _ => (object, Value::Null),
    };
    Request {
        kind: request::Kind {
            group: String::new(),
            kind: kind.to_owned(),
        },
        name: name.to_owned(),
        namespace: NAMESPACE.to_owned(),
        operation,
        object,
        old_object,
        ..Request::default()
    }
}

fn hook(name: &str, events: &str) -> Request {
    request(Operation::Create, "ConfigMap", name, json!({HOOK: events}))
}

fn deletion(name: &str) -> Request {
    let annotations = json!({RELEASE_NAME: "web", RELEASE_NAMESPACE: NAMESPACE});
    request(Operation::Delete, "ConfigMap", name, annotations)
}

/// While the upgrade of `web` from revision 1 to 2 is pending. The list is outdated, and still shows
/// revision 1 as pending.
fn during(v1: Docs<'_>, v2: Docs<'_>) -> Objects {
    Objects {
        objects: vec![
            revision(2, v2).status("pending-upgrade").secret(),
            revision(1, v1).secret(),
        ],
        outdated: vec![revision(1, v1).status("pending-upgrade").secret()],
        ..Objects::default()
    }
}

/// The trap: a config becomes a hook.
fn trap() -> Objects {
    during(
        &[&config("a"), &mounts("web", "a")],
        &[&config("a").hook(PRE), &mounts("web", "a")],
    )
}

fn answer(request: &Request, cluster: &Objects) -> Verdict {
    judge(request, &Settings::default(), cluster)
}

#[track_caller]
fn assert_accepted(request: &Request, cluster: &Objects) {
    assert_eq!(answer(request, cluster), Verdict::accept());
}

#[test]
fn hooks_and_deletions_of_release_objects_concern() {
    let of_release = json!({RELEASE_NAME: "web"});
    for (name, request, expected) in [
        ("a hook", hook("a", "pre-upgrade"), true),
        (
            "a hook that is patched on",
            request(Operation::Update, "ConfigMap", "a", json!({HOOK: "x"})),
            true,
        ),
        (
            "another object",
            request(Operation::Create, "ConfigMap", "a", json!({})),
            false,
        ),
        (
            "deletion of a release's object",
            request(Operation::Delete, "ConfigMap", "a", of_release.clone()),
            true,
        ),
        (
            "deletion of another one",
            request(Operation::Delete, "ConfigMap", "a", json!({})),
            false,
        ),
        (
            "deletion of a hook",
            request(Operation::Delete, "ConfigMap", "a", json!({HOOK: "x"})),
            false,
        ),
        (
            "creation of a release's object",
            request(Operation::Create, "ConfigMap", "a", of_release),
            false,
        ),
        (
            "connect",
            request(Operation::Connect, "Pod", "a", json!({HOOK: "x"})),
            false,
        ),
    ] {
        assert_eq!(concerns(&request), expected, "{name}");
    }
    let mut status = hook("a", "pre-upgrade");
    status.sub_resource = "status".to_owned();
    assert!(!concerns(&status));
}

#[test]
fn a_hook_that_will_be_lost_is_stopped() {
    let cluster = trap();
    let Outcome::Reject { code, message } = answer(&hook("a", PRE), &cluster).outcome else {
        panic!("rejected")
    };
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "\
rollout-guard: helm upgrade of release web in namespace shop, from revision 1 to 2, would lose what its pods need. The upgrade is already running; only this request was stopped.

hook-pruned: ConfigMap a is a regular resource in revision 1 and a hook (pre-install, pre-upgrade) in revision 2. Helm would create it as a pre-upgrade hook and then delete it, because it is no longer in the release manifest.
Needed by: Deployment web.
Fix it in one of these ways:
- keep it a regular resource: remove the annotation helm.sh/hook
- make Helm keep it: add the annotation helm.sh/resource-policy: keep to the hook

To allow revision 2 anyway: helm upgrade --labels rollout-guard/allow-revision=2 …
Where no labels can be passed (Flux): kubectl label -n shop secret sh.helm.release.v1.web.v1 rollout-guard/allow-revision=2 --overwrite, and try again

More about hook-pruned: https://github.com/rollout-guard/rollout-guard/blob/main/docs/findings.md#hook-pruned"
    );
    assert_eq!(
        *cluster.asked.borrow(),
        [
            SELECTOR,
            "Secret shop/sh.helm.release.v1.web.v2 [metadata.labels]",
            "Secret shop/sh.helm.release.v1.web.v3 [metadata.labels]",
            "Secret shop/sh.helm.release.v1.web.v2 [metadata.labels, data]",
            "Secret shop/sh.helm.release.v1.web.v1 [metadata.labels, data]",
        ]
    );
}

/// The main policy needs no list.
#[test]
fn the_second_line_is_off_by_default() {
    for request in [hook("a", PRE), deletion("a")] {
        let cluster = trap();
        let verdict = crate::judge(&request, &Settings::default(), &cluster);
        assert_eq!(verdict, Verdict::accept());
        assert_eq!(*cluster.asked.borrow(), [""; 0]);
        let on = Settings::parse(&json!({"releaseGuard": {"hookRequests": true}})).unwrap();
        assert!(crate::judge(&request, &on, &cluster).is_rejected());
    }
}

#[test]
fn a_deletion_that_loses_something_is_stopped() {
    assert!(matches!(
        answer(&deletion("a"), &trap()).outcome,
        Outcome::Reject { code: 403, .. }
    ));
    // The release that the object says it is of.
    let mut other = deletion("a");
    other.old_object["metadata"]["annotations"][RELEASE_NAME] = "other".into();
    assert_accepted(&other, &trap());
}

#[test]
fn what_the_release_does_not_lose_passes() {
    assert_accepted(&hook("b", PRE), &trap());
    assert_accepted(&deletion("b"), &trap());
    let mut secret = hook("a", PRE);
    secret.kind.kind = "Secret".to_owned();
    assert_accepted(&secret, &trap());
    let docs: Docs<'_> = &[&config("a").hook(PRE), &mounts("web", "a")];
    assert_accepted(&hook("a", PRE), &during(docs, docs));
    assert_accepted(&hook("a", PRE), &Objects::default());
}

#[test]
fn a_bypassed_release_passes() {
    let mut cluster = trap();
    cluster.objects[0]["metadata"]["labels"][ALLOW_REVISION] = "2".into();
    assert_accepted(&hook("a", PRE), &cluster);
    let off = Settings::parse(&json!({"releaseGuard": {"bypass": false}})).unwrap();
    assert!(matches!(
        judge(&hook("a", PRE), &off, &cluster).outcome,
        Outcome::Reject { .. }
    ));
    cluster.objects[0]["metadata"]["labels"][ALLOW_REVISION] = "1".into();
    assert!(matches!(
        answer(&hook("a", PRE), &cluster).outcome,
        Outcome::Reject { .. }
    ));
}

#[test]
fn only_what_is_rejected_is_stopped() {
    let warn = Settings::parse(&json!({"releaseGuard": {"findings": {"hook-pruned": "warn"}}}));
    assert_eq!(
        judge(&hook("a", PRE), &warn.unwrap(), &trap()),
        Verdict::accept()
    );
}

/// The first line has judged already.
#[test]
fn what_cannot_be_judged_passes_with_a_warning() {
    let mut cluster = trap();
    cluster.failing = vec!["Secret shop/sh.helm.release.v1.web.v1".to_owned()];
    let verdict = answer(&hook("a", PRE), &cluster);
    assert_eq!(verdict.outcome, Outcome::Accept);
    assert_eq!(
        verdict.warnings,
        [
            "rollout-guard: ConfigMap/a was not judged: Secret shop/sh.helm.release.v1.web.v1 cannot be read: the API server is away"
        ]
    );
}

fn rescued(request: &Request) -> Verdict {
    let guard = json!({"hookRequests": true, "findings": {"hook-pruned": "rescue"}});
    let rescue = Settings::parse(&json!({"releaseGuard": guard}));
    judge(request, &rescue.unwrap(), &Objects::default())
}

#[test]
fn rescue_keeps_hooks_that_run_before_the_prune() {
    for events in ["pre-upgrade", PRE, "pre-rollback", " Pre-Upgrade , test"] {
        let request = hook("a", events);
        let verdict = rescued(&request);
        let Outcome::Mutate(object) = &verdict.outcome else {
            panic!("{events}: {verdict:?}")
        };
        let mut expected = request.object.clone();
        expected["metadata"]["annotations"][RESOURCE_POLICY] = "keep".into();
        assert_eq!(*object, expected, "{events}");
        assert_eq!(
            verdict.audit.get("hook-rescued").map(String::as_str),
            Some("ConfigMap/a")
        );
    }
    for events in ["pre-install", "post-upgrade", "test", ""] {
        assert_eq!(rescued(&hook("a", events)), Verdict::accept(), "{events}");
    }
    let kept = request(
        Operation::Create,
        "ConfigMap",
        "a",
        json!({HOOK: PRE, RESOURCE_POLICY: "keep"}),
    );
    assert_eq!(rescued(&kept), Verdict::accept(), "kept already");
    let mut job = hook("a", PRE);
    job.kind = request::Kind {
        group: "batch".to_owned(),
        kind: "Job".to_owned(),
    };
    assert_eq!(rescued(&job), Verdict::accept(), "a Job");
}

/// Helm 3 fails when the object of a hook exists; once somebody has deleted it, it is created and lost.
#[test]
fn a_hook_whose_object_has_gone_is_stopped() {
    let cluster = during(
        &[&config("a"), &mounts("web", "a")],
        &[
            &config("a").hook(PRE).policy("hook-failed"),
            &mounts("web", "a"),
        ],
    );
    assert!(matches!(
        answer(&hook("a", PRE), &cluster).outcome,
        Outcome::Reject { .. }
    ));
}

#[test]
fn pods_and_jobs_of_hooks_pass() {
    let job = || pods("Job", "migrate", "").hook(PRE);
    let cluster = during(&[&pods("Job", "migrate", "")], &[&job()]);
    let mut request = hook("migrate", PRE);
    request.kind = request::Kind {
        group: "batch".to_owned(),
        kind: "Job".to_owned(),
    };
    assert_accepted(&request, &cluster);
}

fn is_rejected(request: &Request, cluster: &Objects) -> bool {
    answer(request, cluster).is_rejected()
}

/// The client of revision 2 was killed. Revision 3, the rollback that freed the release, makes it meaningless.
#[test]
fn a_pending_record_that_was_passed_over_means_nothing() {
    for status in ["deployed", "failed", "pending-rollback", "pending-upgrade"] {
        let mut cluster = trap();
        assert!(is_rejected(&hook("a", PRE), &cluster));
        assert!(is_rejected(&deletion("a"), &cluster));
        let regular: Docs<'_> = &[&config("a"), &mounts("web", "a")];
        let third = revision(3, regular).status(status).secret();
        cluster.objects.push(third);
        assert_accepted(&hook("a", PRE), &cluster);
        assert_accepted(&deletion("a"), &cluster);
    }
}

/// The same records in another namespace.
fn stored_in(namespace: &str, mut cluster: Objects) -> Objects {
    for object in cluster.objects.iter_mut().chain(&mut cluster.outdated) {
        object["metadata"]["namespace"] = namespace.into();
    }
    cluster
}

#[test]
fn records_are_found_wherever_they_are() {
    for request in [hook("a", PRE), deletion("a")] {
        let mut cluster = stored_in("flux", trap());
        let Outcome::Reject { message, .. } = answer(&request, &cluster).outcome else {
            panic!("rejected")
        };
        assert!(
            message.contains("of release web in namespace shop, from revision 1 to 2, "),
            "{message}"
        );
        assert!(
            message.contains(" kubectl label -n flux secret sh.helm.release.v1.web.v1 "),
            "{message}"
        );

        // Otherwise anybody who may create Secrets anywhere could stop requests everywhere.
        cluster.forbidden = vec!["secrets flux".to_owned()];
        cluster.asked.take();
        assert_accepted(&request, &cluster);
        assert_eq!(
            *cluster.asked.borrow(),
            [SELECTOR, "may  of  get secrets flux?"]
        );
    }
}

/// A release of the same name in another namespace, whose records are in one place.
#[test]
fn a_deletion_is_of_the_release_that_it_names() {
    let regular: Docs<'_> = &[&config("a"), &mounts("web", "a")];
    let hooked: Docs<'_> = &[&config("a").hook(PRE), &mounts("web", "a")];
    let of_bank = |number, docs| revision(number, docs).with("/namespace", "bank");
    let cluster = Objects::new([
        of_bank(1, regular).secret(),
        of_bank(2, hooked).status("pending-upgrade").secret(),
    ]);
    assert_accepted(&deletion("a"), &cluster);
    let mut of_bank = deletion("a");
    of_bank.old_object["metadata"]["annotations"][RELEASE_NAMESPACE] = "bank".into();
    of_bank.namespace = "bank".to_owned();
    assert!(is_rejected(&of_bank, &cluster));
}

#[test]
fn only_releases_with_the_hook_are_assessed() {
    let cluster = trap();
    assert_accepted(&hook("b", PRE), &cluster);
    assert!(
        !cluster
            .asked
            .borrow()
            .iter()
            .any(|asked| asked.contains("web.v1 [metadata.labels, data]"))
    );
}

/// Records of other releases, `r00`, `r01`, …
fn releases(count: usize, number: u64, status: &str) -> Vec<Value> {
    let named = |n: usize| {
        let name = format!("r{n:02}");
        let record = revision(number, &[]).status(status);
        let mut record = record.with("/name", name.as_str()).secret();
        record["metadata"]["name"] = format!("sh.helm.release.v1.{name}.v{number}").into();
        record
    };
    (0..count).map(named).collect()
}

#[test]
fn the_pending_records_that_are_read_are_bounded() {
    for (name, records, look_ups, warning) in [
        (
            "as many as are read",
            releases(16, 2, "pending-upgrade"),
            1 + 16 * 2,
            None,
        ),
        (
            "one more",
            releases(17, 2, "pending-upgrade"),
            1 + 16 * 2,
            Some("not all of the 17 releases that are pending were read"),
        ),
        (
            "stale ones",
            [
                releases(65, 2, "pending-upgrade"),
                releases(65, 3, "deployed"),
            ]
            .concat(),
            1 + 64,
            Some("not all of the 65 releases that are pending were read"),
        ),
    ] {
        let cluster = Objects::new(records);
        let verdict = answer(&hook("a", PRE), &cluster);
        assert_eq!(verdict.outcome, Outcome::Accept, "{name}");
        let expected =
            warning.map(|warning| format!("rollout-guard: ConfigMap/a was not judged: {warning}"));
        assert_eq!(verdict.warnings, Vec::from_iter(expected), "{name}");
        assert_eq!(cluster.asked.borrow().len(), look_ups, "{name}");
    }

    // Those of the own namespace come first, and the record of a deletion is found by its label.
    let mut cluster = stored_in("bank", Objects::new(releases(20, 2, "pending-upgrade")));
    cluster.objects.extend(trap().objects);
    assert!(is_rejected(&hook("a", PRE), &cluster));
    let mut elsewhere = Objects::new(releases(20, 2, "pending-upgrade"));
    elsewhere.objects.extend(stored_in("z", trap()).objects);
    assert!(is_rejected(&deletion("a"), &elsewhere));
}

#[test]
fn a_record_that_cannot_be_read_stops_no_other() {
    let mut broken = releases(1, 2, "pending-upgrade").remove(0);
    broken["data"]["release"] = "*".into();
    let alone = Objects::new([broken.clone()]);
    let verdict = answer(&hook("a", PRE), &alone);
    assert_eq!(
        verdict.warnings,
        [
            "rollout-guard: ConfigMap/a was not judged: data.release: Kubernetes' base64 layer has an invalid character at byte 0"
        ]
    );
    let mut cluster = trap();
    cluster.objects.push(broken);
    assert!(is_rejected(&hook("a", PRE), &cluster));
    // Nothing tells that a record of another namespace has the hook.
    assert_accepted(&hook("a", PRE), &stored_in("bank", alone));
}

#[test]
fn a_list_that_fails_is_a_warning() {
    let mut cluster = trap();
    cluster.failing = vec!["Secret */*".to_owned()];
    let verdict = answer(&hook("a", PRE), &cluster);
    assert_eq!(verdict.outcome, Outcome::Accept);
    assert_eq!(
        verdict.warnings,
        [
            "rollout-guard: ConfigMap/a was not judged: the list of Secrets cannot be read: the API server is away"
        ]
    );
}

#[test]
fn what_is_not_read_in_time_was_not_judged() {
    let slow = |look_up: &str| {
        format!(
            "ConfigMap/a was not judged: {look_up} cannot be read: the API server is slow, and the time for look-ups is \
             over; raise timeoutEvalSeconds of the policy, and in its settings"
        )
    };
    for (look_ups, not_read) in [
        (0, "the list of Secrets"),
        (1, "Secret shop/sh.helm.release.v1.web.v2"),
        (2, "Secret shop/sh.helm.release.v1.web.v3"),
    ] {
        let asked = std::cell::Cell::new(0);
        let elapsed = || Duration::from_secs(asked.replace(asked.get() + 1));
        let cluster = InTime::new(trap(), Duration::from_secs(look_ups), elapsed);
        let verdict = judge(&deletion("a"), &Settings::default(), &cluster);
        assert_eq!(
            verdict,
            Verdict::accept().warn(slow(not_read)),
            "{look_ups}"
        );
    }
}
