use super::*;
use crate::testing::live;

fn external(fields: &str) -> Doc {
    doc("external-secrets.io/v1", "ExternalSecret", "db").fields(fields)
}

fn uses(name: &str) -> Doc {
    deployment(
        "web",
        &volumes(&[&format!("secret: {{secretName: {name}}}")]),
    )
}

#[test]
fn what_pods_need_goes_with_what_makes_it() {
    let sealed = |template: &str| {
        doc("bitnami.com/v1alpha1", "SealedSecret", "db")
            .fields(&format!("spec: {{template: {{metadata: {{{template}}}}}}}"))
    };
    let vault = |create: bool| {
        doc("secrets.hashicorp.com/v1beta1", "VaultStaticSecret", "v").fields(&format!(
            "spec: {{destination: {{name: db, create: {create}}}}}"
        ))
    };
    let certificate =
        || doc("cert-manager.io/v1", "Certificate", "c").fields("spec: {secretName: db}");
    let secret_only = || external("spec: {}");
    let lost = |maker: &str| format!("maker-deleted {maker} < Deployment web");
    let doubt = |maker: &str| format!("maker-deleted? {maker} < Deployment web");
    let lost_external = || lost("ExternalSecret db");
    let optional = deployment(
        "web",
        &volumes(&["secret: {secretName: db, optional: true}"]),
    );
    let pre_hook = pods("Job", "migrate", &volumes(&["secret: {secretName: db}"])).hook(PRE);
    let other = || {
        doc("external-secrets.io/v1", "ExternalSecret", "other")
            .fields("spec: {target: {name: db}}")
    };
    let unknown = doc("example.com/v1", "Database", "d").fields("spec: {secret: db}");
    let cases: [(&str, Doc, Docs<'_>, Option<String>); 18] = [
        (
            "ExternalSecret",
            secret_only(),
            &[&uses("db")],
            Some(lost_external()),
        ),
        (
            "by the name of its target",
            other(),
            &[&uses("db")],
            Some(lost("ExternalSecret other")),
        ),
        (
            "SealedSecret",
            sealed(""),
            &[&uses("db")],
            Some(lost("SealedSecret db")),
        ),
        (
            "VaultStaticSecret",
            vault(true),
            &[&uses("db")],
            Some(lost("VaultStaticSecret v")),
        ),
        (
            "Certificate",
            certificate(),
            &[&uses("db")],
            Some(doubt("Certificate c")),
        ),
        (
            "Orphan",
            external("spec: {target: {creationPolicy: Orphan}}"),
            &[&uses("db")],
            Some(doubt("ExternalSecret db")),
        ),
        (
            "without an owner",
            sealed("annotations: {sealedsecrets.bitnami.com/skip-set-owner-references: 'true'}"),
            &[&uses("db")],
            Some(doubt("SealedSecret db")),
        ),
        (
            "a kind that nobody knows names it",
            secret_only(),
            &[&uses("db"), &unknown],
            Some(doubt("ExternalSecret db")),
        ),
        ("Not: it only fills one", vault(false), &[&uses("db")], None),
        (
            "Not: Merge",
            external("spec: {target: {creationPolicy: Merge}}"),
            &[&uses("db")],
            None,
        ),
        (
            "Not: another makes it",
            secret_only(),
            &[&uses("db"), &other()],
            None,
        ),
        (
            "Not: the chart has it",
            secret_only(),
            &[&uses("db"), &secret("db")],
            None,
        ),
        (
            "Not: a hook has it",
            secret_only(),
            &[&uses("db"), &secret("db").hook(PRE)],
            None,
        ),
        (
            "Not: it stays",
            secret_only(),
            &[&uses("db"), &secret_only()],
            None,
        ),
        ("Not: keep", secret_only().keep(), &[&uses("db")], None),
        (
            "Not: nobody needs it",
            secret_only(),
            &[&uses("else")],
            None,
        ),
        ("Not: optional", secret_only(), &[&optional], None),
        ("Not: only a pre-hook", secret_only(), &[&pre_hook], None),
    ];
    for (name, maker, v2, expected) in cases {
        let found = upgrade(&[&maker, &uses("db")], v2);
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        assert_found(name, &found, &expected);
    }
}

#[test]
fn the_live_maker_counts() {
    let id = ObjectId {
        group: "external-secrets.io".to_owned(),
        ..core("ExternalSecret", "db")
    };
    let v1 = revision(1, &[&external(""), &uses("db")]);
    let v2 = revision(2, &[&uses("db")]);
    for (name, seen, expected) in [
        (
            "there",
            live(false),
            &["maker-deleted ExternalSecret db < Deployment web"][..],
        ),
        ("kept", live(true), &[]),
        ("gone already", Live::Absent, &[]),
    ] {
        assert_found(name, &assessed(&v1, &v2, &[(id.clone(), seen)]), expected);
    }
}

#[test]
fn the_words() {
    let keep = |kind: &str| {
        format!(
            "keep the live object: kubectl annotate -n shop {kind} helm.sh/resource-policy=keep"
        )
    };
    assert_reason(
        &upgrade(&[&external(""), &uses("db")], &[&uses("db")]),
        "is in revision 1 but not in revision 2, so Helm deletes it; Secret db, which it makes, is deleted with it, and the pods that need that could not start",
        &[
            "put it back into the chart, or put Secret db itself into the chart",
            &keep("externalsecret.external-secrets.io db"),
        ],
    );
    let certificate =
        doc("cert-manager.io/v1", "Certificate", "c").fields("spec: {secretName: db}");
    assert_reason(
        &rollback(&[&certificate, &uses("db")], &[&uses("db")]),
        "is in revision 2 but not in revision 3, so Helm deletes it; Secret db, which it makes and pods need, may stay, but nothing renews it any more",
        &[
            "upgrade to a chart that has it, instead of rolling back",
            &keep("certificate.cert-manager.io c"),
        ],
    );
}
