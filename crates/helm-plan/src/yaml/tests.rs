use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn assert_parsed(text: &str, expected: Value) {
    assert_eq!(parse(text), Ok(expected), "{text:?}");
}

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text:?}");
}

/// The expected values were printed by sigs.k8s.io/yaml 1.6.0 (go.yaml.in/yaml 2.4.4).
#[test]
fn plain_scalars_are_read_by_the_table_of_go_yaml() {
    for (text, expected) in [
        // null
        ("", json!(null)),
        ("~", json!(null)),
        ("null", json!(null)),
        ("Null", json!(null)),
        ("NULL", json!(null)),
        ("nULL", json!("nULL")),
        // booleans of YAML 1.1
        ("true", json!(true)),
        ("True", json!(true)),
        ("TRUE", json!(true)),
        ("tRUE", json!("tRUE")),
        ("yes", json!(true)),
        ("Yes", json!(true)),
        ("YES", json!(true)),
        ("yEs", json!("yEs")),
        ("y", json!(true)),
        ("Y", json!(true)),
        ("on", json!(true)),
        ("On", json!(true)),
        ("ON", json!(true)),
        ("false", json!(false)),
        ("False", json!(false)),
        ("FALSE", json!(false)),
        ("no", json!(false)),
        ("No", json!(false)),
        ("NO", json!(false)),
        ("n", json!(false)),
        ("N", json!(false)),
        ("off", json!(false)),
        ("Off", json!(false)),
        ("OFF", json!(false)),
        // integers
        ("0", json!(0)),
        ("-0", json!(0)),
        ("+1", json!(1)),
        ("-1", json!(-1)),
        ("1_000", json!(1000)),
        ("1__0", json!(10)),
        ("1_", json!(1)),
        ("_1", json!("_1")),
        ("-1_0", json!(-10)),
        ("0644", json!(420)),
        ("-0644", json!(-420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("0x_1", json!(1)),
        ("-0x1F", json!(-31)),
        ("0xZZ", json!("0xZZ")),
        ("0x", json!("0x")),
        ("0b101", json!(5)),
        ("-0b101", json!(-5)),
        ("0b2", json!("0b2")),
        ("0b-1", json!(-1)),
        ("0b+1", json!(1)),
        ("-0b-1", json!("-0b-1")),
        ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        (
            "18446744073709551615",
            json!(18_446_744_073_709_551_615_u64),
        ),
        // floats; whole ones are written as integers
        ("1.5", json!(1.5)),
        ("-1.5", json!(-1.5)),
        ("+1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("-.5", json!(-0.5)),
        (".1_0", json!(0.1)),
        (".1__0", json!(".1__0")),
        ("._1", json!("._1")),
        ("1.", json!(1)),
        ("1.0", json!(1)),
        ("1.10", json!(1.1)),
        ("08", json!(8)),
        ("1e3", json!(1000)),
        ("1E+3", json!(1000)),
        ("0.1e-5", json!(1e-6)),
        ("1_000.5", json!(1000.5)),
        ("1e400", json!("1e400")),
        ("1e", json!("1e")),
        ("1e5.5", json!("1e5.5")),
        // texts
        ("12:30", json!("12:30")),
        ("190:20:30", json!("190:20:30")),
        ("2020-01-01", json!("2020-01-01")),
        ("2020-01-01T00:00:00Z", json!("2020-01-01T00:00:00Z")),
        ("1.2.3", json!("1.2.3")),
        ("1-2", json!("1-2")),
        ("1a", json!("1a")),
        ("e1", json!("e1")),
        (".", json!(".")),
        ("+", json!("+")),
        ("-", json!(null)),
        ("--", json!("--")),
        ("=", json!("=")),
        ("<<", json!("<<")),
        ("inf", json!("inf")),
        ("NaN", json!("NaN")),
        ("a b", json!("a b")),
        ("a#b", json!("a#b")),
        ("a #b", json!("a")),
        ("http://x:80/", json!("http://x:80/")),
    ] {
        // A dash alone would begin a list.
        let (text, expected) = match text {
            "-" => ("v: [-]", json!({"v": ["-"]})),
            _ => (&*format!("v: {text}\n"), json!({"v": expected})),
        };
        assert_parsed(text, expected);
    }
}

#[test]
fn quoted_and_tagged_scalars() {
    assert_parsed("a: 'yes'", json!({"a": "yes"}));
    assert_parsed("a: \"1\"", json!({"a": "1"}));
    assert_parsed("a: |\n  1", json!({"a": "1\n"}));
    assert_parsed("a: !!str 1", json!({"a": "1"}));
    assert_parsed("a: !!int '1'", json!({"a": 1}));
    assert_parsed("a: !!bool 'true'", json!({"a": true}));
    assert_parsed("a: !!null ''", json!({"a": null}));
    assert_parsed("a: !mine 1", json!({"a": "1"}));
}

/// YAML 1.2 refuses these. go-yaml accepts them, and charts have them (stable/minio, artifactory-ha, …).
#[test]
fn what_helm_accepts_is_accepted() {
    for (text, expected) in [
        ("a:\tb", json!({"a": "b"})),
        ("a: \"x\ny\"", json!({"a": "x y"})),
        ("a: 'x\n\n\ty'", json!({"a": "x\ny"})),
        ("a:\n  b: \"x\ny\"\n", json!({"a": {"b": "x y"}})),
        ("a: [\nb,\nc\n]", json!({"a": ["b", "c"]})),
        ("a: {\n\"b\": 1\n}", json!({"a": {"b": 1}})),
        ("{\n\t\"a\": [\n\t\t1\n\t]\n}", json!({"a": [1]})),
        ("a: [\n\t1]", json!({"a": [1]})),
        ("a: |#x\n  y\n", json!({"a": "y\n"})),
        (r#"a: "It\'s""#, json!({"a": "It's"})),
    ] {
        assert_parsed(text, expected);
    }
}

#[test]
fn block_scalars() {
    for (text, expected) in [
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: |-\n  x\n\n", "x"),
        ("a: |+\n  x\n\n", "x\n\n"),
        ("a: |+\n  x!\n", "x!\n"),
        ("a: >\n  x\n  y\n\n  z\n", "x y\nz\n"),
        ("a: |2\n   x\n", " x\n"),
        ("a: |\r\n  x\r\n  y\r\n", "x\ny\n"),
        // Helm's reader also ends the last line.
        ("a: |\n  x", "x\n"),
        ("a: |\n  # no comment", "# no comment\n"),
    ] {
        assert_parsed(text, json!({"a": expected}));
    }
}

#[test]
fn keys_are_texts() {
    assert_parsed(
        "1: a\non: b\n0x10: c\n1.0: d\n'~': e",
        json!({"1": "d", "true": "b", "16": "c", "~": "e"}),
    );
    assert_parsed("+.Inf: a\n.NaN: b", json!({".inf": "a", ".nan": "b"}));
    // Go writes floats from a million on with an exponent.
    assert_parsed(
        "1e7: a\n12345678.5: b\n123456.5: c\n1e-7: d\n-0.0: e\n1e40: f",
        json!({"1e+07": "a", "1.2345678e+07": "b", "123456.5": "c", "1e-07": "d", "-0": "e", ".inf": "f"}),
    );
    assert_refused("~: a", "a mapping key is null at line 1 column 1");
    assert_refused(
        "? [a]\n: b",
        "a mapping key is a mapping or a list at line 1 column 5",
    );
}

#[test]
fn the_last_of_two_equal_keys_wins() {
    assert_parsed("a: 1\nb: 2\na: 3", json!({"a": 3, "b": 2}));
}

#[test]
fn a_merge_wins_over_the_keys_before_it() {
    let base = "base: &b {x: 1, z: 2}\nmore: &m {z: 3, w: 4}\n";
    let merged =
        |text: &str| parse(&format!("{base}one:\n{text}")).map(|value| value["one"].clone());
    for (name, text, expected) in [
        ("before", "  <<: *b\n  z: 9", json!({"x": 1, "z": 9})),
        ("after", "  z: 9\n  <<: *b", json!({"z": 2, "x": 1})),
        ("several", "  <<: [*m, *b]", json!({"x": 1, "z": 3, "w": 4})),
        ("written out", "  <<: {x: 5}", json!({"x": 5})),
        ("quoted is a key", "  '<<': 1", json!({"<<": 1})),
    ] {
        assert_eq!(merged(text), Ok(expected), "{name}");
    }
    assert_refused(
        "a:\n  <<: 1",
        "the merge key `<<` needs a mapping or a list of mappings at line 2 column 7",
    );
    assert_refused(
        "<<: [{a: 1}, 2]",
        "the merge key `<<` needs a mapping or a list of mappings at line 1 column 15",
    );
}

#[test]
fn anchors_and_aliases() {
    assert_parsed(
        "a: &x [1]\nb: *x\nc: &x 2\nd: *x",
        json!({"a": [1], "b": [1], "c": 2, "d": 2}),
    );
    assert_refused(
        "a: *x",
        "an alias of an anchor that is undefined or still open at line 1 column 4",
    );
    assert_refused(
        "a: &x {b: *x}",
        "an alias of an anchor that is undefined or still open at line 1 column 11",
    );
    // The anchor that began last counts.
    assert_parsed("a: &x {b: &x 1}\nc: *x", json!({"a": {"b": 1}, "c": 1}));
    assert_refused(
        "a: &x 1\nb: &x {c: *x}",
        "an alias of an anchor that is undefined or still open at line 2 column 11",
    );
}

#[test]
fn the_schema_of_a_crd_is_not_read() {
    let kind = "kind: CustomResourceDefinition";
    let head =
        json!({"apiVersion": "v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}});
    assert_parsed(
        &format!("apiVersion: v1\n{kind}\nmetadata: {{name: a}}\nspec:\n  not: [read"),
        head,
    );
    // Without its head, a document is read to the end.
    let late = json!({"apiVersion": "v1", "spec": {"a": 1}, "kind": "CustomResourceDefinition"});
    assert_parsed(&format!("apiVersion: v1\nspec: {{a: 1}}\n{kind}"), late);
    // A document is not a CRD because something inside of it says so.
    let text = format!("apiVersion: v1\nmetadata: {{}}\ndata:\n  {kind}\nspec: {{a: 1}}\nkind: X");
    assert_eq!(
        parse(&text).map(|value| value["spec"].clone()),
        Ok(json!({"a": 1}))
    );
}

#[test]
fn documents_without_a_value_are_null() {
    for text in ["", "\n", "# only a comment\n", "---\n"] {
        assert_parsed(text, Value::Null);
    }
}

#[test]
fn only_the_first_document_is_read() {
    assert_parsed("a: 1\n---\nb: 2", json!({"a": 1}));
    assert_parsed("a: 1\n...\n]", json!({"a": 1}));
}

#[test]
fn bombs_are_refused() {
    assert_refused(
        &"[".repeat(1000),
        "nested deeper than 200 levels at line 1 column 201",
    );
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let alias = format!("*a{}", n - 1);
        laughs += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert_refused(
        &laughs,
        "anchors and aliases copy more than 100000 nodes at line 5 column 40",
    );
    // Anchors around anchors: each copies all that is inside.
    let mut nested = String::new();
    for n in 0..150 {
        nested += &format!("&a{n} [");
    }
    nested += &"x, ".repeat(5000);
    nested += &"]".repeat(150);
    assert_refused(
        &nested,
        "anchors and aliases copy more than 100000 nodes at line 1 column 15960",
    );
}

#[test]
fn all_documents_of_a_release_share_a_budget() {
    let budget = |nodes, bytes| Budget { nodes, bytes };
    for (name, budget, expected) in [
        ("enough", budget(14, 15), None),
        (
            "nodes",
            budget(13, 15),
            Some("more than 250000 YAML nodes in one release at line 2 column 1"),
        ),
        (
            "bytes",
            budget(14, 14),
            Some("more than 16777216 bytes of YAML in one release"),
        ),
    ] {
        let mut budget = budget;
        parse_within("a: b\nc: d\n", &mut budget).unwrap();
        let second = parse_within("a: b\n", &mut budget);
        assert_eq!(
            second.err().map(|error| error.to_string()).as_deref(),
            expected,
            "{name}"
        );
    }
}

/// Lines and columns count from 1.
#[test]
fn errors_say_what_and_where_as_values() {
    let error = |problem, line, column| {
        let place = Some(Place { line, column });
        Err(Error { problem, place })
    };
    assert_eq!(parse("a:\n  ~: b"), error(Problem::NullKey, 2, 3));
    assert_eq!(
        parse("a: @b"),
        error(
            Problem::Syntax("found character that cannot start any token"),
            1,
            4
        )
    );
    // The parser has no other sign for it than the text.
    assert_eq!(parse(r#"a: "\q""#), error(Problem::UnknownEscape, 1, 5));
}

#[test]
fn errors_have_a_place_and_no_content() {
    for (text, expected) in [
        (
            "a: [1",
            "did not find expected ',' or ']' at line 2 column 1",
        ),
        (
            r#"a: "It\'s" ["#,
            "did not find expected key at line 1 column 16",
        ),
        (
            "a: \"s3cret",
            "found unexpected end of stream at line 2 column 1",
        ),
        (
            "a: s3cret: b",
            "mapping values are not allowed in this context at line 1 column 10",
        ),
        (
            "a: @s3cret",
            "found character that cannot start any token at line 1 column 4",
        ),
        (
            r#"a: "s3cret\q""#,
            "found unknown escape character at line 1 column 11",
        ),
        ("a: \u{1}", "control characters are not allowed"),
        ("a: b\nc", "could not find expected ':' at line 3 column 1"),
        (
            "a: {\n\tb: 1\n\t}",
            "found a tab character that violates indentation at line 3 column 1",
        ),
    ] {
        assert_refused(text, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// The parser panics at some of these if it receives them unchanged.
    #[test]
    fn no_tag_panics(text in "[\\[{][!<>,a) ]{0,12}") {
        let _ = parse(&text);
    }
}

/// The parser panics at some of these if it receives them unchanged.
#[test]
fn nothing_panics() {
    for text in [
        "a: |",
        "a: |\n  x",
        "a: >+\n x",
        "a: \"\\",
        "a: \"\\x",
        "a: 'x",
        "? ",
        "&",
        "*",
        "!",
        "!<",
        "!<a",
        "%",
        "%YAML",
        "%TAG ! ",
        "a: [!b,c]",
        "a: [!<b>,c]",
        "- {!<]b,c>,: ,",
        "{: c}!,",
        "'a'!,",
        "[!!str,]",
        "- !a,b,",
        "[)!<,!a,b]",
        "---",
        "--- |",
        "\u{feff}",
        "\r",
    ] {
        let _ = parse(text);
        let _ = parse(&format!("{text}\n"));
    }
    // Without such a tag, a comma stays where it is.
    assert_parsed("a: 'Hello, world!'", json!({"a": "Hello, world!"}));
    assert_parsed("a: 'b!=c,d'", json!({"a": "b!=c,d"}));
    assert_parsed("a: <b>,<c>", json!({"a": "<b>,<c>"}));
    assert_parsed("a: '<b>,<c>!'", json!({"a": "<b>,<c>!"}));
    assert_parsed("a: [!!str 1, !!str 2]", json!({"a": ["1", "2"]}));
    assert_parsed("a: !<tag:yaml.org,2002:str> 1", json!({"a": "1"}));
}
