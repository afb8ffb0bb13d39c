use serde_json::json;

use super::*;
use crate::testing::{NAMESPACE, config, doc};

/// `group/Kind namespace/name` of each object.
fn ids(manifest: &str) -> Vec<String> {
    let objects = parse(manifest, NAMESPACE).unwrap();
    let id = |object: &Object| {
        let ObjectId {
            group,
            kind,
            namespace,
            name,
        } = &object.id;
        format!("{group}/{kind} {namespace}/{name}")
    };
    objects.iter().map(id).collect()
}

#[track_caller]
fn assert_names(manifest: &str, expected: &[&str]) {
    let objects = parse(manifest, NAMESPACE);
    let objects = objects.unwrap_or_else(|error| panic!("{error}: {manifest:?}"));
    let names: Vec<_> = objects
        .iter()
        .map(|object| object.id.name.as_str())
        .collect();
    assert_eq!(names, expected, "{manifest:?}");
}

#[track_caller]
fn assert_refused(manifest: &str, expected: &str) {
    let error = parse(manifest, NAMESPACE).unwrap_err();
    assert_eq!(error.to_string(), expected, "{manifest:?}");
}

#[test]
fn documents_are_split_at_lines_that_start_with_dashes() {
    let (a, b) = (&*config("a").to_string(), &*config("b").to_string());
    for (name, manifest, expected) in [
        ("nothing", String::new(), &[][..]),
        ("blank", "\n  \n".to_owned(), &[]),
        ("one", a.to_owned(), &["a"]),
        ("two", format!("{a}\n---\n{b}"), &["a", "b"]),
        (
            "as Helm writes it",
            format!("---\n# Source: x\n{a}\n---\n# Source: y\n{b}\n"),
            &["a", "b"],
        ),
        (
            "separators at both ends",
            format!("---\n{a}\n---\n"),
            &["a"],
        ),
        (
            "empty documents",
            format!("---\n---\n\n---\n{a}\n---\n---"),
            &["a"],
        ),
        (
            "a comment behind the separator",
            format!("--- # first\n{a}\n---  # second\n{b}"),
            &["a", "b"],
        ),
        (
            "blanks behind the separator",
            format!("---  \n{a}\n---\t\n{b}"),
            &["a", "b"],
        ),
        ("CRLF", format!("---\r\n{a}\r\n---\r\n{b}\r\n"), &["a", "b"]),
        (
            "only comments",
            format!("# a\n---\n# b\n---\n{a}\n---\n# c\n"),
            &["a"],
        ),
        (
            "the null document",
            format!("null\n---\n{a}\n---\n~"),
            &["a"],
        ),
        ("more dashes", format!("{a}\n-----\n{b}"), &["a", "b"]),
        ("an end marker", format!("{a}\n...\n---\n{b}"), &["a", "b"]),
    ] {
        assert_eq!(
            parse(&manifest, NAMESPACE).map(|objects| {
                objects
                    .into_iter()
                    .map(|object| object.id.name)
                    .collect::<Vec<_>>()
            }),
            Ok(expected.iter().map(ToString::to_string).collect()),
            "{name}"
        );
    }
}

#[test]
fn dashes_within_a_document_do_not_split_it() {
    let script = "\
kind: ConfigMap
metadata: {name: a}
data:
  script: |
    ---
    a: 1
    --- # more
  list: [--- , a---b]
";
    let objects = parse(script, NAMESPACE).unwrap();
    assert_eq!(
        objects.first().map(|object| &object.body["data"]["script"]),
        Some(&json!("---\na: 1\n--- # more\n"))
    );
    assert_eq!(objects.len(), 1);
}

#[test]
fn objects_get_the_namespace_that_helm_gives_them() {
    for (name, text, expected) in [
        ("core", config("a"), "/ConfigMap shop/a"),
        (
            "another namespace",
            config("a").namespace("other"),
            "/ConfigMap other/a",
        ),
        (
            "a group",
            doc("apps/v1", "Deployment", "a"),
            "apps/Deployment shop/a",
        ),
        (
            "cluster-scoped",
            doc("v1", "Namespace", "a"),
            "/Namespace /a",
        ),
        (
            "cluster-scoped with a stray namespace",
            doc("rbac.authorization.k8s.io/v1", "ClusterRole", "a").namespace("stray"),
            "rbac.authorization.k8s.io/ClusterRole /a",
        ),
        (
            "a kind of the same name in another group",
            doc("example.com/v1", "ClusterRole", "a"),
            "example.com/ClusterRole shop/a",
        ),
        (
            "a custom kind",
            doc("example.com/v1", "Thing", "a"),
            "example.com/Thing shop/a",
        ),
        (
            "no name",
            doc("v1", "Pod", "").fields("spec: {}"),
            "/Pod shop/",
        ),
    ] {
        assert_eq!(ids(&text.to_string()), [expected], "{name}");
    }
    assert_eq!(
        ids(
            "{kind: A, metadata: null}\n---\n{kind: B}\n---\n{kind: C, metadata: {name: 1, namespace: []}}"
        ),
        ["/A shop/", "/B shop/", "/C shop/"],
        "what is missing or of another type is empty"
    );
}

#[test]
fn generated_names_are_shown_as_such() {
    let [named, unnamed] = &*parse("{kind: A, metadata: {name: a}}\n---\n{kind: A}", "").unwrap()
    else {
        panic!("two objects")
    };
    assert_eq!(named.id.to_string(), "A a");
    assert_eq!(unnamed.id.to_string(), "A (generated name)");
}

#[test]
fn lists_are_flattened() {
    let (a, b, c) = (config("a"), config("b"), config("c"));
    assert_names(
        &format!("{{apiVersion: v1, kind: List, items: [{a}, {b}]}}"),
        &["a", "b"],
    );
    assert_names(
        &format!(
            "{{apiVersion: v1, kind: List, items: [{{kind: List, items: [{a}]}}, {b}]}}\n---\n{c}"
        ),
        &["a", "b", "c"],
    );
    assert_names("{apiVersion: v1, kind: List, items: []}", &[]);
    assert_names("{apiVersion: v1, kind: List, items: null}", &[]);
    // To Helm's builder, everything with `items` is a list.
    assert_names(
        &format!("{{apiVersion: example.com/v1, kind: Basket, items: [{a}]}}"),
        &["a"],
    );
    assert_eq!(
        ids(&format!(
            "{{kind: List, metadata: {{namespace: other}}, items: [{a}]}}"
        )),
        ["/ConfigMap shop/a"],
        "the list's own metadata counts for nothing"
    );
}

#[test]
fn the_items_of_a_typed_list_have_its_type() {
    assert_eq!(
        ids(
            "{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a}}, {metadata: {name: b}}]}"
        ),
        ["/ConfigMap shop/a", "/ConfigMap shop/b"]
    );
    assert_eq!(
        ids(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleList, items: [{metadata: {name: a}}]}"
        ),
        ["rbac.authorization.k8s.io/ClusterRole /a"]
    );
    // An item with one of the two fields has a type of its own.
    assert_refused(
        "{apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, metadata: {name: a}}]}",
        "document 1: an object without a kind",
    );
    assert_refused(
        "{apiVersion: v1, kind: List, items: [{metadata: {name: a}}]}",
        "document 1: an object without a kind",
    );
}

#[test]
fn keep_is_an_exact_word_as_in_an_upgrade() {
    for (value, expected) in [
        ("keep", true),
        // Helm's uninstall would accept these.
        ("Keep", false),
        (" keep ", false),
        ("delete", false),
        ("", false),
    ] {
        let text = config("a").annotation("helm.sh/resource-policy", value);
        let objects = parse(&text.to_string(), NAMESPACE).unwrap();
        assert_eq!(objects.iter().all(Object::is_kept), expected, "{value:?}");
    }
    assert!(!metadata::is_kept(
        &json!({"metadata": {"annotations": null}})
    ));
}

#[test]
fn errors_have_the_document_and_its_file() {
    let a = config("a");
    assert_refused(
        &format!(
            "---\n# Source: app/templates/a.yaml\n{a}\n---\n# Source: app/templates/b.yaml\na: [1\n"
        ),
        "document 2 (app/templates/b.yaml): did not find expected ',' or ']' at line 3 column 1",
    );
    assert_refused(
        "a: @b",
        "document 1: found character that cannot start any token at line 1 column 4",
    );
    assert_refused(
        &format!("{a}\n---\n# a comment\nmetadata: {{name: s3cret}}"),
        "document 2: an object without a kind",
    );
    assert_refused("text", "document 1: an object without a kind");
    assert_refused("[a]", "document 1: an object without a kind");
    assert_refused("kind: ''", "document 1: an object without a kind");
    assert_refused("kind: 1", "document 1: an object without a kind");
}

#[test]
fn errors_are_values() {
    assert_eq!(
        parse("kind: A\n---\n# Source: a/b.yaml\n~: c", NAMESPACE),
        Err(Error {
            document: 2,
            file: Some("a/b.yaml".to_owned()),
            cause: Cause::Yaml(yaml::Error {
                problem: yaml::Problem::NullKey,
                // The line of the separator counts, and so does the comment.
                place: Some(yaml::Place { line: 2, column: 1 }),
            }),
        })
    );
}

#[test]
fn no_name_is_longer_than_kubernetes_takes() {
    let of = |group: usize, kind: usize, namespace: usize, name: usize| {
        let text = |length: usize| "x".repeat(length);
        let manifest = format!(
            "apiVersion: {}/v1\nkind: {}\nmetadata: {{namespace: {}, name: {}}}",
            text(group),
            text(kind),
            text(namespace),
            text(name)
        );
        parse(&manifest, NAMESPACE)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(of(253, 253, 253, 253), Ok(()));
    let refused = Err("document 1: a name of more than 253 characters".to_owned());
    for (group, kind, namespace, name) in [
        (254, 1, 1, 1),
        (1, 254, 1, 1),
        (1, 1, 254, 1),
        (1, 1, 1, 254),
    ] {
        assert_eq!(of(group, kind, namespace, name), refused);
    }
}
