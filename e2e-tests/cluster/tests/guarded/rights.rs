//! What may be read, by the policy and by the user of a request, and what the answer says where it may not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Case, HelmVersion, Output, Suite, User, wait_until};
use serde_json::json;

use crate::example_policy::{ContextAwareResource, ExamplePolicy};
use crate::guard::Guard;
use crate::hook_trap::chart;
use crate::right_operations::{assert_rejected, upgrade, upgrade_with};
use crate::ways_out::run_printed;

pub(crate) fn add_to(suite: &mut Suite) {
    for helm in HelmVersion::ALL {
        suite.case(
            format!("{helm}: no answer tells whether an object exists that the user may not read"),
            move |case| no_oracle(case, helm),
        );
        suite.case(
            format!("{helm}: keep on a live object counts once the policy may read its kind"),
            move |case| keep_on_unread_kind(case, helm),
        );
    }
}

/// Waits until a user may read this resource: the API server learns about roles from a watch.
fn wait_for_right(case: &Case<'_>, user: &str, resource: &str, namespace: &str) -> Result<()> {
    let may = [
        "auth",
        "can-i",
        "get",
        resource,
        "--as",
        user,
        "--namespace",
        namespace,
    ];
    wait_until("the role takes effect", Duration::from_secs(30), || {
        Ok(case.cluster.kubectl(may)?.status.success().then_some(()))
    })
}

/// The release is in the namespace of the case, and its objects are in another one. A teller may do everything in both,
/// a visitor only in the first.
fn no_oracle(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let bank = &format!("{}-bank", case.namespace);
    case.cluster.create_namespace(bank)?;
    let [visitor, teller] = ["visitor", "teller"].map(|user| format!("{}-{user}", case.namespace));
    for (user, namespace) in [
        (&visitor, &case.namespace),
        (&teller, &case.namespace),
        (&teller, bank),
    ] {
        let user_flag = format!("--user={user}");
        let all = "--clusterrole=cluster-admin";
        let bind = ["create", "rolebinding", user, all, &user_flag];
        let within = ["--namespace", namespace];
        case.cluster
            .kubectl(bind.into_iter().chain(within))?
            .success()?;
        wait_for_right(case, user, "secrets", namespace)?;
    }
    let secret =
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: {bank}}}\n");
    let web = format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {bank}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: web, envFrom: [{{secretRef: {{name: db}}}}]}}]}}
"
    );
    upgrade(case, helm, "1.0.0", &[secret.clone(), web.clone()].concat())?.success()?;
    let _guard = Guard::new(case, json!({}))?;
    let lose = |user: &str| upgrade_with(case, helm, "2.0.0", &web, &["--kube-as-user", user]);
    let kept = secret.replace(
        "name: db",
        "name: db, annotations: {helm.sh/resource-policy: keep}",
    );

    let exists = answer(&lose(&visitor)?.failure()?)?;
    let told = lose(&teller)?;
    case.cluster.apply(bank, &kept)?.success()?;
    let is_kept = answer(&lose(&visitor)?.failure()?)?;
    let delete = ["delete", "secret", "db", "--namespace", bank];
    case.cluster.kubectl(delete)?.success()?;
    let is_gone = answer(&lose(&visitor)?.failure()?)?;

    let annotate = format!("kubectl annotate -n {bank} secret db helm.sh/resource-policy=keep");
    let way_out = format!(
        "- keep the live object: let the user of this request get secrets in namespace {bank}; then: {annotate}\n"
    );
    ensure!(exists.contains("dangling-reference: Secret db"), "{exists}");
    ensure!(exists.contains(&way_out), "{exists}");
    ensure!(is_kept == exists, "{is_kept}\nis not\n{exists}");
    ensure!(is_gone == exists, "{is_gone}\nis not\n{exists}");
    let way_out = format!("- keep the live object: {annotate}\n");
    assert_rejected(told, &["dangling-reference: Secret db", &way_out])?;
    lose(&teller)?.success()?;
    Ok(())
}

/// What the policy says.
fn answer(output: &Output) -> Result<String> {
    let (_, answer) = output
        .stderr
        .split_once("rollout-guard: ")
        .with_context(|| output.to_string())?;
    Ok(answer.to_owned())
}

/// The policy may not read Roles at first. The message says how it may, and that works.
fn keep_on_unread_kind(case: &Case<'_>, helm: HelmVersion) -> Result<()> {
    let role = |annotations: &str| {
        format!(
            "---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, annotations: {{{annotations}}}}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [get]}}]
"
        )
    };
    let guard = Guard::new(case, json!({}))?;
    let with = |role: &str| [chart("", "one").as_str(), role].concat();
    upgrade(case, helm, "1.0.0", &with(&role("")))?.success()?;
    let lose = || {
        upgrade(
            case,
            helm,
            "2.0.0",
            &with(&role("helm.sh/hook: pre-install")),
        )
    };
    let way_out = format!(
        "- keep the live object: let this policy read it (add rbac.authorization.k8s.io/v1/Role to contextAwareResources, \
         and get to the role of the PolicyServer); then: kubectl annotate -n {} role reader helm.sh/resource-policy=keep\n",
        case.namespace
    );
    let rejected = lose()?.failure()?;
    run_printed(case, &rejected.stderr, "annotate")?;
    // The annotation alone does not help: the policy does not see it.
    for rejected in [rejected, lose()?] {
        assert_rejected(rejected, &["hook-pruned: Role reader", &way_out])?;
    }
    guard.remove()?;

    let user = User::Restricted.name();
    case.kubectl(&["create", "role", "guard", "--verb=get", "--resource=roles"])?
        .success()?;
    let user_flag = format!("--user={user}");
    case.kubectl(&["create", "rolebinding", "guard", "--role=guard", &user_flag])?
        .success()?;
    wait_for_right(case, user, "roles", &case.namespace)?;
    let mut example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
    example.context_aware_resources.push(ContextAwareResource {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "Role".to_owned(),
    });
    let _guard = Guard::of(case, &example)?;

    lose()?.success()?;
    case.kubectl(&["get", "role", "reader"])?.success()?;
    Ok(())
}
