//! The replay sessions of the bats tests: how kwctl answers the look-ups of the policy.
//!
//! They are generated here from the recordings, so they always match the look-ups of the policy. `make golden`
//! rewrites them. kwctl answers each request once, in this order.

use std::{env, fmt::Write, fs, sync::Arc};

use serde_json::{Value, json};
use testbed::{HostCall, Objects, Recording};

use crate::support::{policy, root};

/// The sessions that `e2e-tests/e2e.bats` replays, with their recordings.
const SESSIONS: [(&str, &str); 6] = [
    (
        "helm3-trap",
        "helm3/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2",
    ),
    (
        "helm4-trap",
        "helm4/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2",
    ),
    (
        "configmap-driver-trap",
        "helm3/8-configmap-driver/05-create-configmap-sh.helm.release.v1.cmrel.v2",
    ),
    (
        "rollback",
        "helm4/4-rollback-to-v1/01-create-secret-sh.helm.release.v1.yahoo.v4",
    ),
    (
        "new-workload",
        "helm3/1-install-v1/03-create-deployment-yahoo-basic-app",
    ),
    (
        "known-workload",
        "helm3/6-kubectl/02-update-deployment-yahoo-basic-app",
    ),
];

#[test]
fn sessions_match_the_look_ups_of_the_policy() {
    for (name, recording) in SESSIONS {
        let file = root()
            .join("tests/recordings")
            .join(format!("{recording}.json"));
        let Recording { request, cluster } = Recording::read(&file).unwrap();
        let objects = Arc::new(Objects::new(cluster.clone()));
        let evaluation = policy().validate(&request, &json!({}), objects).unwrap();
        let session: String = evaluation
            .host_calls
            .iter()
            .map(|call| exchange(call, &cluster))
            .collect();

        let golden = root()
            .join("e2e-tests/sessions")
            .join(name)
            .with_extension("yml");
        if env::var("INSTA_UPDATE").as_deref() == Ok("always") {
            fs::write(&golden, &session).unwrap();
        }
        let written = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            written,
            session,
            "{}: `make golden` rewrites it",
            golden.display()
        );
    }
}

/// One exchange in the format of kwctl.
fn exchange(call: &HostCall, cluster: &[Value]) -> String {
    assert_eq!(call.operation, "get_resource");
    let text = |field: &str| {
        call.request
            .get(field)
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    let (kind, name) = (text("kind"), text("name"));
    let mut exchange = String::from("- type: Exchange\n  request: |\n    !KubernetesGetResource\n");
    for field in ["api_version", "kind", "name", "namespace"] {
        writeln!(exchange, "    {field}: {}", text(field)).unwrap();
    }
    writeln!(
        exchange,
        "    disable_cache: {}\n    field_masks:",
        call.request["disable_cache"]
    )
    .unwrap();
    for mask in call.request["field_masks"].as_array().unwrap() {
        writeln!(exchange, "    - {}", mask.as_str().unwrap()).unwrap();
    }
    let object = cluster
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap();
    let payload = object.to_string().replace('\'', "''");
    writeln!(
        exchange,
        "  response:\n    type: Success\n    payload: '{payload}'"
    )
    .unwrap();
    exchange
}
