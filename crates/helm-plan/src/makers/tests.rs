use super::*;
use crate::{
    manifest,
    testing::{Doc, NAMESPACE, doc},
};

fn secret(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "Secret".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

fn resources(docs: &[Doc]) -> Vec<Object> {
    let text: Vec<_> = docs.iter().map(|doc| format!("---\n{doc}\n")).collect();
    manifest::parse(&text.concat(), NAMESPACE).unwrap()
}

/// What makes the Secret `tls` again, and what fills it.
fn of(doc: &Doc) -> (bool, bool) {
    let resources = resources(std::slice::from_ref(doc));
    let makers = Makers::of(resources.iter());
    let id = secret("tls");
    (
        makers.of_object(&id).is_some(),
        makers.of_key(&id).is_some(),
    )
}

#[test]
fn known_makers_are_told_by_kind_and_field() {
    let maker =
        |api: &str, kind: &str, name: &str, fields: &str| doc(api, kind, name).fields(fields);
    let ingress = || {
        maker(
            "networking.k8s.io/v1",
            "Ingress",
            "web",
            "spec: {tls: [{secretName: tls}]}",
        )
    };
    let gateway = || {
        maker(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "web",
            "spec: {listeners: [{tls: {certificateRefs: [{name: tls}]}}]}",
        )
    };
    let issuer = "cert-manager.io/cluster-issuer";
    for (case, doc, expected) in [
        (
            "Certificate",
            maker(
                "cert-manager.io/v1",
                "Certificate",
                "web",
                "spec: {secretName: tls}",
            ),
            (true, true),
        ),
        (
            "Certificate of another Secret",
            maker(
                "cert-manager.io/v1",
                "Certificate",
                "tls",
                "spec: {secretName: other}",
            ),
            (false, false),
        ),
        (
            "ExternalSecret with its own name",
            maker(
                "external-secrets.io/v1",
                "ExternalSecret",
                "tls",
                "spec: {}",
            ),
            (true, true),
        ),
        (
            "ExternalSecret with a target",
            maker(
                "external-secrets.io/v1",
                "ExternalSecret",
                "web",
                "spec: {target: {name: tls}}",
            ),
            (true, true),
        ),
        (
            "ExternalSecret that merges",
            maker(
                "external-secrets.io/v1",
                "ExternalSecret",
                "tls",
                "spec: {target: {creationPolicy: Merge}}",
            ),
            (false, true),
        ),
        (
            "ExternalSecret that makes nothing",
            maker(
                "external-secrets.io/v1",
                "ExternalSecret",
                "tls",
                "spec: {target: {creationPolicy: None}}",
            ),
            (false, false),
        ),
        (
            "ExternalSecret that makes a ConfigMap",
            maker(
                "external-secrets.io/v1",
                "ExternalSecret",
                "tls",
                "spec: {target: {manifest: {apiVersion: v1, kind: ConfigMap}}}",
            ),
            (false, false),
        ),
        (
            "SealedSecret",
            maker("bitnami.com/v1alpha1", "SealedSecret", "tls", "spec: {}"),
            (true, true),
        ),
        (
            "Vault, creating",
            maker(
                "secrets.hashicorp.com/v1beta1",
                "VaultStaticSecret",
                "web",
                "spec: {destination: {name: tls, create: true}}",
            ),
            (true, true),
        ),
        (
            "Vault, into a Secret that is there",
            maker(
                "secrets.hashicorp.com/v1beta1",
                "VaultStaticSecret",
                "web",
                "spec: {destination: {name: tls}}",
            ),
            (false, true),
        ),
        (
            "Bundle",
            maker(
                "trust.cert-manager.io/v1alpha1",
                "Bundle",
                "tls",
                "spec: {target: {secret: {key: ca}}}",
            )
            .namespace("other"),
            (true, true),
        ),
        (
            "SopsSecret",
            maker(
                "isindir.github.com/v1alpha3",
                "SopsSecret",
                "web",
                "spec: {secretTemplates: [{name: tls}]}",
            ),
            (true, true),
        ),
        (
            "Crossplane",
            maker(
                "db.example.org/v1",
                "Instance",
                "web",
                "spec: {writeConnectionSecretToRef: {name: tls}}",
            ),
            (true, true),
        ),
        ("Ingress", ingress(), (false, false)),
        (
            "Ingress for cert-manager",
            ingress().annotation(issuer, "le"),
            (true, true),
        ),
        ("Gateway", gateway(), (false, false)),
        (
            "Gateway for cert-manager",
            gateway().annotation(issuer, "le"),
            (true, true),
        ),
        (
            "a kind that only uses it",
            maker(
                "monitoring.coreos.com/v1",
                "ServiceMonitor",
                "tls",
                "spec: {tlsConfig: {ca: {secret: {name: tls}}}}",
            ),
            (false, false),
        ),
        (
            "an unknown kind whose spec names it",
            maker(
                "example.org/v1",
                "Database",
                "web",
                "spec: {credentials: tls}",
            ),
            (true, true),
        ),
        (
            "an unknown kind with its name",
            maker("example.org/v1", "Database", "tls", "spec: {size: 1}"),
            (false, false),
        ),
        (
            "an unknown kind in another namespace",
            maker(
                "example.org/v1",
                "Database",
                "web",
                "spec: {credentials: tls}",
            )
            .namespace("other"),
            (false, false),
        ),
        (
            "a custom workload",
            maker(
                "example.org/v1",
                "Server",
                "web",
                "spec: {template: {spec: {containers: [{envFrom: [{secretRef: {name: tls}}]}]}}}",
            ),
            (false, false),
        ),
    ] {
        assert_eq!(of(&doc), expected, "{case}");
    }
}

#[test]
fn nothing_makes_accounts_but_kubernetes_the_default_one() {
    let resources =
        resources(&[doc("example.org/v1", "Operator", "x").fields("spec: {account: web}")]);
    let makers = Makers::of(resources.iter());
    let account = |name: &str| ObjectId {
        kind: "ServiceAccount".to_owned(),
        ..secret(name)
    };
    assert_eq!(makers.of_object(&account("web")), None);
    assert_eq!(
        makers.of_object(&account("default")),
        Some(Maker::ServiceAccountController)
    );
}

#[test]
fn annotations_and_labels_of_the_object_name_who_fills_it() {
    let filled = |doc: Doc| Maker::that_fills(&resources(&[doc]).remove(0)).is_some();
    let config = || doc("v1", "ConfigMap", "ca");
    assert!(filled(config().annotation(
        "service.beta.openshift.io/inject-cabundle",
        "true"
    )));
    assert!(filled(config().fields(
        "metadata: {name: ca, labels: {config.openshift.io/inject-trusted-cabundle: 'true'}}"
    )));
    assert!(!filled(config().annotation("example.org/inject", "true")));
}
