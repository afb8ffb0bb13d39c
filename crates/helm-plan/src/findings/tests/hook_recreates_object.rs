use super::*;

fn hook() -> Doc {
    account("a").hook(PRE)
}

fn web(spec: &str) -> Doc {
    deployment("web", &format!("serviceAccountName: a{spec}"))
}

#[test]
fn tokens_of_running_pods_do_not_outlive_their_account() {
    let renewed = &["hook-recreates-object ServiceAccount a < Deployment web"][..];
    let no_token = || web(", automountServiceAccountToken: false");
    let projected = web(
        ", automountServiceAccountToken: false, volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
    );
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 12] = [
        (
            "in both revisions",
            &[&hook(), &web("")],
            &[&hook(), &web("")],
            renewed,
        ),
        (
            "a workload is new",
            &[&hook()],
            &[&hook(), &web("")],
            renewed,
        ),
        (
            "with a hook Job, which does not count",
            &[&hook(), &web("")],
            &[&hook(), &web(""), &migration(PRE, "a")],
            renewed,
        ),
        (
            "a Deployment that is a hook",
            &[&hook()],
            &[&hook(), &web("").hook("post-upgrade")],
            renewed,
        ),
        (
            "a token of another volume",
            &[&hook()],
            &[&hook(), &projected],
            renewed,
        ),
        ("Not: no token", &[&hook()], &[&hook(), &no_token()], &[]),
        (
            "Not: no token by the account",
            &[&hook()],
            &[
                &hook().fields("automountServiceAccountToken: false"),
                &web(""),
            ],
            &[],
        ),
        (
            "Not: only hook Jobs",
            &[&hook()],
            &[&hook(), &migration(PRE, "a")],
            &[],
        ),
        ("Not: a new one", &[], &[&hook(), &web("")], &[]),
        (
            "Not: another policy",
            &[&hook()],
            &[&hook().policy("hook-failed"), &web("")],
            &[],
        ),
        (
            "Not: at the install only",
            &[&account("a").hook("pre-install"), &web("")],
            &[&account("a").hook("pre-install"), &web("")],
            &[],
        ),
        (
            "Not: a regular one",
            &[&account("a"), &web("")],
            &[&account("a"), &web("")],
            &[],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
    assert_found("Not: an install", &install(&[&hook(), &web("")]), &[]);
    let both = || revision(1, &[&hook(), &web("")]);
    let gone = [(core("ServiceAccount", "a"), Live::Absent)];
    assert_found(
        "nobody looks at it",
        &assessed(&both(), &both(), &gone),
        renewed,
    );
}

#[test]
fn custom_resources_are_deleted_with_what_their_operator_made() {
    let custom = |api_version: &str, kind: &str| doc(api_version, kind, "x").hook(PRE);
    let again = |object: Doc| upgrade(&[&object], &[&object]);
    assert_found(
        "a database",
        &again(custom("postgresql.cnpg.io/v1", "Cluster")),
        &["hook-recreates-object Cluster x"],
    );
    assert_found(
        "Not: it runs once",
        &again(custom("argoproj.io/v1alpha1", "Workflow")),
        &[],
    );
    assert_found(
        "Not: of Kubernetes itself",
        &again(custom("v1", "ConfigMap")),
        &[],
    );
    assert_found(
        "Not: a new one",
        &upgrade(&[], &[&custom("postgresql.cnpg.io/v1", "Cluster")]),
        &[],
    );
}

#[test]
fn the_words() {
    let start = "is a hook with the delete policy before-hook-creation, so each upgrade deletes and recreates it";
    let regular = "make it a regular resource: remove the annotation helm.sh/hook";
    assert_reason(
        &upgrade(&[&hook()], &[&hook(), &web("")]),
        &format!(
            "{start}; the API server refuses the tokens of running pods (401) until they are renewed, up to 48 minutes"
        ),
        &[regular, "give hooks an account of their own"],
    );
    let database = doc("postgresql.cnpg.io/v1", "Cluster", "x").hook(PRE);
    assert_reason(
        &upgrade(&[&database], &[&database]),
        &format!("{start}; what its operator has made for it may be deleted with it"),
        &[regular],
    );
}
