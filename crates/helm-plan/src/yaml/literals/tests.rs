use proptest::prelude::*;

use super::*;
use crate::yaml::{parse, parse_whole};

#[track_caller]
fn assert_lifted(name: &str, text: &str, rest: &str, literals: &[&str]) {
    let expected = Lifted {
        text: rest.into(),
        literals: literals.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(lift(text), expected, "{name}");
    assert_eq!(parse(text), parse_whole(text), "{name}");
    assert!(parse(text).is_ok(), "{name}");
}

#[test]
fn literals_at_the_top_are_taken_out() {
    for (name, text, rest, literals) in [
        (
            "a ConfigMap",
            "# Source: a\nkind: ConfigMap\nmetadata:\n  name: 'a b'\n\ndata:\n  a.sh: |\n    #!/bin/sh\n\n      echo {a: |\n  b: |-\n    x\n    \n  c: \"y\"\n",
            "# Source: a\nkind: ConfigMap\nmetadata:\n  name: 'a b'\n\ndata:\n  a.sh: !literal \"0\"\n  b: !literal \"1\"\n  c: \"y\"\n",
            &["#!/bin/sh\n\n  echo {a: |\n", "x"][..],
        ),
        (
            "no line break at the end",
            "a: |\n  x",
            "a: !literal \"0\"\n",
            &["x\n"],
        ),
        (
            "only blanks at the end",
            "a: |-\n  x\n   ",
            "a: !literal \"0\"\n",
            &["x\n "],
        ),
        (
            "blank lines before it",
            "a: |\n\n\n  x\nb: {}\n",
            "a: !literal \"0\"\nb: {}\n",
            &["\n\nx\n"],
        ),
        (
            "a comment further left",
            "a:\n  b: |\n    x\n# no text\n  c: d\n",
            "a:\n  b: !literal \"0\"\n# no text\n  c: d\n",
            &["x\n"],
        ),
        (
            "tabs and other letters",
            "a: |\n  \u{b5}s\tx\n",
            "a: !literal \"0\"\n",
            &["\u{b5}s\tx\n"],
        ),
        (
            "an empty collection in a line of its own",
            "a:\n  {}\nb:\n  []\nc: /d e-1.0+2 (f:g), h#i\nj: |\n  x\n",
            "a:\n  {}\nb:\n  []\nc: /d e-1.0+2 (f:g), h#i\nj: !literal \"0\"\n",
            &["x\n"],
        ),
        (
            "a list behind it",
            "a: |\n  x\nb:\n- c: |\n    y\n",
            "a: !literal \"0\"\nb:\n- c: |\n    y\n",
            &["x\n"],
        ),
        (
            "what looks like one in it",
            "a: |\n  b: !literal \"0\"\n",
            "a: !literal \"0\"\n",
            &["b: !literal \"0\"\n"],
        ),
    ] {
        assert_lifted(name, text, rest, literals);
    }
}

#[test]
fn what_is_not_certain_stays() {
    for (name, text) in [
        ("a quoted text", "a: \"x\n  b: |\n    y\"\n"),
        ("a flow collection", "a: {x: y,\n  b: |\n    z\n  }\n"),
        ("a list", "a:\n- b: |\n    x\n"),
        ("a folded one", "a: >\n  b: |\n    x\n"),
        ("with all line breaks", "a: |+\n  x\n\n"),
        ("with an indicator", "a: |2\n   x\n"),
        ("with a comment", "a: | # c\n  x\n"),
        ("an empty one", "a: |\nb: c\n"),
        ("nothing but blanks in it", "a: |\n  \nb: c\n"),
        ("blanks before it", "a: |\n \n  x\n"),
        ("text between the margins", "a:\n  b: |\n      x\n    y\n"),
        ("a tab in the margin", "a: |\n  x\n\ty\n"),
        ("a tab behind the margin", "a: |\n  \tx\n"),
        ("line breaks of their own", "a: |\n  x\u{2028}  y\n"),
        ("such a line break behind it", "a: |\n  x\n\u{85}\n  y\n"),
        ("CRLF", "a: |\r\n  x\r\n"),
        ("a comment that ends early", "# a\r\"\nb: |\n  x\n\""),
        ("control characters", "a: |\n  x\u{1}\n"),
        ("a quoted key", "'a': |\n  x\n"),
        ("an anchor", "a: &b\nc: |\n  x\n"),
        ("a tag of the same name", "a: |\n  x\nb: !literal \"0\"\n"),
    ] {
        assert_eq!(lift(text).literals, [""; 0], "{name}");
        assert_eq!(parse(text), parse_whole(text), "{name}");
    }
}

#[test]
fn errors_keep_their_place() {
    let error = parse("a: |\n  x\n  y\nb: [\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "did not find expected node content at line 5 column 1"
    );
}

/// Lines that begin and end literals, or make them uncertain.
fn line() -> impl Strategy<Value = String> {
    let content = prop_oneof![
        4 => "[a-c]: \\|-?",
        1 => "[a-c]: (\\|\\+|\\|2|>|>-|\\| #|&x \\||!t \\|)",
        3 => "[a-c]:",
        3 => "[a-c]: [a-c0]([ :#{,]|\\[)?( [a-c:#'\"&])?",
        2 => "[a-c]: (\\{\\}|\\[\\]|\"x\"|'y'|\"x|'|\\{|\\[|\"\\\\\"\"|\\*x|!literal \"0\"|y #z|- |#)",
        1 => "(\\{\\}|\\[\\]|- [a-c]|- [a-c]: \\||\\? a|: b|\\]|\\}|\"|'|---|\\.\\.\\.|%)",
        2 => "[a-c#]{0,3}",
        1 => "# ?(\r|\u{85})?[\"'{a][: |]{0,3}",
        1 => "(\t|\u{85}|\u{2028}|\u{feff}|\u{b5}|\r|x\ty)",
    ];
    (0..6usize, content).prop_map(|(indentation, content)| " ".repeat(indentation) + &content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every text has the same value with and without taking literals out.
    #[test]
    fn nothing_else_is_read(lines in prop::collection::vec(line(), 0..12), ends in any::<bool>()) {
        let text = lines.join("\n") + if ends { "\n" } else { "" };
        match (parse(&text), parse_whole(&text)) {
            (Err(_), Err(_)) => {}
            (with, without) => prop_assert_eq!(with, without, "{}", text),
        }
    }
}
