use serde_json::json;

use super::*;

fn with(data: &str) -> Doc {
    config("a").fields(&format!("data: {{{data}}}"))
}

fn needs_key(key: &str) -> Doc {
    let source = format!("configMap: {{name: a, items: [{{key: {key}, path: p}}]}}");
    deployment("web", &volumes(&[&source]))
}

/// A live ConfigMap with these keys.
fn keys(keys: &[&str]) -> Live {
    let keys: serde_json::Map<_, _> = keys
        .iter()
        .map(|key| (format!("f:{key}"), json!({})))
        .collect();
    Live::Present(json!({"metadata": {"managedFields": [
        {"manager": "helm", "fieldsV1": {"f:data": keys, "f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}}}},
    ]}}))
}

/// What is found when the ConfigMap `a` was looked at. All hooks of the current revision have run.
fn found(operation: Operation, v1: Docs<'_>, v2: Docs<'_>, a: &Live) -> Vec<Finding> {
    let (current, target) = (revision(2, v1).ran().release(), revision(3, v2).release());
    let look = |_: &str, id: &ObjectId| {
        let is_a = *id == core("ConfigMap", "a");
        Ok::<_, std::convert::Infallible>(if is_a { a.clone() } else { Live::Unknown })
    };
    let assessed = crate::assess(operation, Some(&current), target, look);
    assessed.unwrap().findings
}

const LOST: &[&str] = &["hook-not-run ConfigMap a < Deployment web"];
const DOUBT: &[&str] = &["hook-not-run? ConfigMap a < Deployment web"];

#[test]
fn a_rollback_does_not_bring_back_what_a_hook_wrote() {
    let hook = |data: &str| with(data).hook(PRE);
    let all = |data: &str| with(data).hook("pre-install,pre-upgrade,pre-rollback");
    let web = || mounts("web", "a");
    let external = doc("external-secrets.io/v1", "ExternalSecret", "a")
        .fields("spec: {target: {manifest: {kind: ConfigMap}}}");
    let unseen = || {
        let source = "configMap: {name: a, items: [{key: x, path: p}, {key: z, path: q}]}";
        deployment("web", &mounted_at(&[(source, "subPath: q")]))
    };
    let cases: [(&str, Docs<'_>, Docs<'_>, Live, &[&str]); 15] = [
        (
            "Not: another value of an item that no container sees",
            &[&hook("x: new, z: same"), &unseen()],
            &[&hook("x: old, z: same"), &unseen()],
            keys(&["x", "z"]),
            &[],
        ),
        (
            "other content",
            &[&hook("x: new"), &web()],
            &[&hook("x: old"), &web()],
            keys(&["x"]),
            DOUBT,
        ),
        (
            "another value of a key",
            &[&hook("x: new"), &needs_key("x")],
            &[&hook("x: old"), &needs_key("x")],
            keys(&["x"]),
            DOUBT,
        ),
        (
            "a key is missing",
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x")],
            keys(&["y"]),
            LOST,
        ),
        (
            "a key may be missing",
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x")],
            Live::Unknown,
            DOUBT,
        ),
        (
            "Not: the key is there, since the current revision is a rollback too",
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x")],
            keys(&["x"]),
            &[],
        ),
        (
            "Not: the same content",
            &[&hook("x: x"), &web()],
            &[&hook("x: x"), &web()],
            keys(&["x"]),
            &[],
        ),
        (
            "Not: another key",
            &[&hook("x: x, y: new")],
            &[&hook("x: x, y: old"), &needs_key("x")],
            keys(&["x", "y"]),
            &[],
        ),
        (
            "Not: it runs in rollbacks",
            &[&all("y: new")],
            &[&all("x: old"), &needs_key("x")],
            keys(&["y"]),
            &[],
        ),
        (
            "Not: nobody uses it",
            &[&hook("x: new")],
            &[&hook("x: old")],
            keys(&["x"]),
            &[],
        ),
        (
            "Not: something else makes it",
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x"), &external],
            keys(&["y"]),
            &[],
        ),
        (
            "Not: somebody else fills it",
            &[&hook("y: new")],
            &[
                &hook("x: old").annotation("reflector.v1.k8s.emberstack.com/reflects", "b"),
                &needs_key("x"),
            ],
            keys(&["y"]),
            &[],
        ),
        (
            "Not: a regular resource in the target",
            &[&hook("x: new"), &web()],
            &[&with("x: old"), &web()],
            keys(&["x"]),
            &[],
        ),
        (
            "Not: another kind",
            &[&secret("b").hook(PRE)],
            &[&hook("x: x"), &web()],
            keys(&["x"]),
            &[],
        ),
        (
            "Not: it has gone",
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x")],
            Live::Absent,
            &[],
        ),
    ];
    for (name, v1, v2, live, expected) in &cases {
        let mut found = found(Operation::Rollback, v1, v2, live);
        found.retain(|finding| finding.lint().name == "hook-not-run");
        assert_found(name, &found, expected);
    }
    let (v1, v2): (Docs<'_>, Docs<'_>) = (&[&hook("y: new")], &[&hook("x: old"), &needs_key("x")]);
    assert_found(
        "Not: an upgrade runs it",
        &found(Operation::Upgrade, v1, v2, &keys(&["y"])),
        &[],
    );
    let did_not_run = rollback(v1, v2);
    assert_found(
        "Not: it did not run in the current revision",
        &did_not_run,
        &[],
    );
}

#[test]
fn a_hook_that_is_new_and_does_not_run_creates_nothing() {
    let hook = |events: &str| config("a").hook(events);
    let web = || mounts("web", "a");
    let cases: [(&str, Docs<'_>, Docs<'_>, Live, &[&str]); 11] = [
        (
            "it is absent",
            &[&web()],
            &[&hook("pre-install"), &web()],
            Live::Absent,
            LOST,
        ),
        (
            "it was not seen",
            &[&web()],
            &[&hook("pre-install"), &web()],
            Live::Unknown,
            DOUBT,
        ),
        (
            "a Deployment that is a hook needs it",
            &[],
            &[&hook("pre-install"), &web().hook("post-upgrade")],
            Live::Absent,
            LOST,
        ),
        (
            "Not: it is there",
            &[&web()],
            &[&hook("pre-install"), &web()],
            keys(&["key"]),
            &[],
        ),
        (
            "Not: it runs",
            &[&web()],
            &[&hook(PRE), &web()],
            Live::Absent,
            &[],
        ),
        (
            "Not: a test hook",
            &[&web()],
            &[&hook("test"), &web()],
            Live::Absent,
            &[],
        ),
        (
            "Not: another hook of it runs",
            &[&web()],
            &[&hook("pre-install"), &hook("pre-upgrade"), &web()],
            Live::Absent,
            &[],
        ),
        (
            "Not: regular as well",
            &[&web()],
            &[&hook("pre-install"), &config("a"), &web()],
            Live::Absent,
            &[],
        ),
        (
            "Not: nobody needs it",
            &[],
            &[&hook("pre-install")],
            Live::Absent,
            &[],
        ),
        (
            "Not: a hook in the current revision",
            &[&hook("pre-install"), &web()],
            &[&hook("pre-install"), &web()],
            Live::Absent,
            &[],
        ),
        (
            "Not: only a hook Job needs it",
            &[],
            &[
                &hook("pre-install"),
                &pods("Job", "j", &volumes(&["configMap: {name: a}"])).hook("post-upgrade"),
            ],
            Live::Absent,
            &[],
        ),
    ];
    for (name, v1, v2, live, expected) in &cases {
        assert_found(name, &found(Operation::Upgrade, v1, v2, live), expected);
    }
    let (v1, v2): (Docs<'_>, Docs<'_>) = (&[&web()], &[&hook(PRE), &web()]);
    assert_found(
        "a rollback",
        &found(Operation::Rollback, v1, v2, &Live::Absent),
        LOST,
    );
    assert_found(
        "an install",
        &install(&[&hook("pre-upgrade"), &web()]),
        DOUBT,
    );
}

#[test]
fn the_words() {
    let web = || mounts("web", "a");
    let hook = |data: &str| with(data).hook(PRE);
    let start = "is a hook (pre-install, pre-upgrade) in revision 3, which does not run in this rollback; it keeps the content of revision 2, ";
    let ways_out = [
        "upgrade to a chart with the old content, instead of rolling back",
        "apply the old content with kubectl first",
    ];
    let rollback = |v1: Docs<'_>, v2: Docs<'_>, live| found(Operation::Rollback, v1, v2, &live);
    assert_reason(
        &rollback(
            &[&hook("x: new"), &web()],
            &[&hook("x: old"), &web()],
            keys(&["x"]),
        ),
        &format!("{start}and pods of the old revision run with that"),
        &ways_out,
    );
    assert_reason(
        &rollback(
            &[&hook("y: new")],
            &[&hook("x: old"), &needs_key("x")],
            keys(&["y"]),
        ),
        &format!("{start}which lacks the key \"x\"; the pods that need the key could not start"),
        &ways_out,
    );
    let created = |operation, v2: Docs<'_>, live| found(operation, &[&web()], v2, &live);
    let v2: Docs<'_> = &[&config("a").hook("pre-install"), &web()];
    assert_reason(
        &created(Operation::Upgrade, v2, Live::Absent),
        "is a hook (pre-install) in revision 3, which does not run in this upgrade; it does not exist, so nothing creates it, and the pods that need it could not start",
        &[
            "make it a regular resource: remove the annotation helm.sh/hook",
            "add pre-upgrade to its helm.sh/hook",
        ],
    );
    assert_reason(
        &created(Operation::Rollback, v2, Live::Unknown),
        "is a hook (pre-install) in revision 3, which does not run in this rollback; unless it exists already, nothing creates it, and the pods that need it could not start",
        &["upgrade to a chart that has it as a regular resource, instead of rolling back"],
    );
}
