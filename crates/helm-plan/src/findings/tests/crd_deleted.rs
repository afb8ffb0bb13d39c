use super::*;

fn definition(name: &str) -> Doc {
    doc("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        .fields("spec: {group: example.com}")
}

fn backups() -> Doc {
    definition("backups.example.com")
}

fn backup() -> Doc {
    doc("example.com/v1", "Backup", "nightly")
}

const DOUBT: &[&str] = &["crd-deleted? CustomResourceDefinition backups.example.com"];

#[test]
fn a_definition_that_leaves_takes_all_objects_of_its_kind_with_it() {
    let lost = &["crd-deleted CustomResourceDefinition backups.example.com < Backup nightly"][..];
    // `spec` is read where it does not come last.
    let irregular = "{apiVersion: apiextensions.k8s.io/v1, spec: {names: {kind: Backup}}, kind: CustomResourceDefinition, metadata: {name: dumps.example.com}}";
    let cases: [(&str, Docs<'_>, Docs<'_>, &[&str]); 12] = [
        (
            "an object of it",
            &[&backups(), &backup()],
            &[&backup()],
            lost,
        ),
        (
            "in another namespace, as a hook",
            &[&backups()],
            &[&backup().namespace("other").hook("post-upgrade")],
            lost,
        ),
        (
            "a plural in -ies",
            &[&definition("policies.example.com")],
            &[&doc("example.com/v1", "Policy", "p")],
            &["crd-deleted CustomResourceDefinition policies.example.com < Policy p"],
        ),
        (
            "a plural in -es",
            &[&definition("indexes.example.com")],
            &[&doc("example.com/v1", "Index", "i")],
            &["crd-deleted CustomResourceDefinition indexes.example.com < Index i"],
        ),
        (
            "by the name of the kind",
            &[&irregular],
            &[&backup()],
            &["crd-deleted CustomResourceDefinition dumps.example.com < Backup nightly"],
        ),
        ("only others' objects", &[&backups(), &backup()], &[], DOUBT),
        (
            "another group",
            &[&backups()],
            &[&doc("example.org/v1", "Backup", "b")],
            DOUBT,
        ),
        (
            "another kind",
            &[&backups()],
            &[&doc("example.com/v1", "Restore", "r")],
            DOUBT,
        ),
        (
            "Not: keep",
            &[&backups().keep(), &backup()],
            &[&backup()],
            &[],
        ),
        (
            "Not: it stays",
            &[&backups(), &backup()],
            &[&backups(), &backup()],
            &[],
        ),
        (
            "Not: hooks never delete one",
            &[&backups().hook(PRE), &backup()],
            &[
                &backups()
                    .hook(PRE)
                    .policy("before-hook-creation,hook-succeeded"),
                &backup(),
            ],
            &[],
        ),
        (
            "a hook: the other finding tells",
            &[&backups(), &backup()],
            &[&backups().hook("pre-install"), &backup()],
            &["hook-pruned CustomResourceDefinition backups.example.com"],
        ),
    ];
    for (name, v1, v2, expected) in cases {
        assert_found(name, &upgrade(v1, v2), expected);
    }
}

#[test]
fn the_words() {
    let keep = "keep the live object: kubectl annotate customresourcedefinition backups.example.com helm.sh/resource-policy=keep";
    let reason = "so Helm deletes it; all objects of its kind are deleted too, in every namespace";
    assert_reason(
        &upgrade(&[&backups()], &[&backup()]),
        &format!("is in revision 1 but not in revision 2, {reason}"),
        &["put it back into the templates of the chart", keep],
    );
    assert_reason(
        &rollback(&[&backups()], &[]),
        &format!("is in revision 2 but not in revision 3, {reason}, and others may have some"),
        &[
            "upgrade to a chart that has it in its templates, instead of rolling back",
            keep,
        ],
    );
}
