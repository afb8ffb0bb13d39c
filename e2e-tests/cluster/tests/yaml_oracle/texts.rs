//! Random texts, most of them YAML, of what parsers read differently.
//!
//! Keys that differ in Go and are equal as texts (`1` and `"1"`) are left out: which of them wins is
//! random in Go.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Texts of all sorts.
pub(crate) fn texts() -> impl Strategy<Value = String> {
    let document = document().boxed();
    prop_oneof![
        10 => document.clone(),
        4 => edited(document),
        4 => lines(),
        1 => "[a-c:\\-#|>\"'\\[\\]{},&*!?%0 \n\t]{0,30}",
        1 => "(a: |- |\\? )[a-b:\\-#\"'\\[\\]{},&*!?\\\\ \n\t]{0,24}",
    ]
}

/// A node as lines: what stands behind `key:` or `-`, and the lines below, from its own margin.
#[derive(Debug, Clone)]
struct Node {
    head: String,
    below: Vec<String>,
}

fn document() -> impl Strategy<Value = String> {
    let start = select(vec![
        "",
        "",
        "",
        "",
        "---\n",
        "# c\n",
        "%YAML 1.1\n---\n",
        "\u{feff}",
        "--- # c\n",
        "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata: {}\n",
    ]);
    let end = select(vec![
        "\n",
        "\n",
        "\n",
        "",
        "\n\n",
        "\n...\n",
        "\n---\na: b\n",
        "\n# c",
        "\n  \n",
        " ",
    ]);
    let line_break = select(vec!["\n", "\n", "\n", "\n", "\r\n", "\r"]);
    (start, mapping(node().boxed()), end, line_break).prop_map(|(start, node, end, line_break)| {
        let text = node.below.join("\n");
        // Most aliases are of something.
        let anchors = if text.contains('*') {
            "z: [&x {a: 1, b: 2}, &y c]\n"
        } else {
            ""
        };
        let text = format!("{start}{anchors}{text}{end}");
        text.replace('\n', line_break)
    })
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        4 => (properties(), tag(), inline()).prop_map(|(properties, tag, scalar)| Node {
            head: properties + &tag + &scalar,
            below: Vec::new(),
        }),
        1 => select(vec!["*x", "*y", "*x # c"]).prop_map(|alias| Node {
            head: alias.to_owned(),
            below: Vec::new(),
        }),
        2 => block_scalar(),
        1 => over_lines(),
    ];
    leaf.prop_recursive(
        3,
        16,
        4,
        |node| prop_oneof![3 => mapping(node.clone()), 2 => sequence(node)],
    )
}

fn mapping(node: BoxedStrategy<Node>) -> impl Strategy<Value = Node> {
    let entry = (key(), gap(), node, 0..5usize, between());
    (vec(entry, 1..5), properties()).prop_map(|(entries, properties)| {
        let mut below = Vec::new();
        for (key, gap, node, step, between) in entries {
            // Only a list may be as far left as its key.
            let list = node.below.first().is_some_and(|line| line.starts_with('-'));
            let step = if step == 0 && !list { 2 } else { step };
            below.push(
                format!("{key}:{gap}{}", node.head)
                    .trim_end_matches(' ')
                    .to_owned(),
            );
            below.extend(node.below.iter().map(|line| indented(line, step)));
            below.extend(between);
        }
        Node {
            head: properties,
            below,
        }
    })
}

fn sequence(node: BoxedStrategy<Node>) -> impl Strategy<Value = Node> {
    let item = (gap(), node, 1..4usize, between());
    (vec(item, 1..4), properties()).prop_map(|(items, properties)| {
        let mut below = Vec::new();
        for (gap, node, step, between) in items {
            let mut lines = node.below.iter();
            let compact = if node.head.is_empty() {
                lines.next()
            } else {
                None
            };
            // What follows has the margin of what stands behind the dash.
            let (first, step) = match compact {
                Some(first) => (format!("-{}{first}", " ".repeat(step)), step + 1),
                None => (format!("-{gap}{}", node.head), step),
            };
            below.push(first);
            below.extend(lines.map(|line| indented(line, step)));
            below.extend(between);
        }
        Node {
            head: properties,
            below,
        }
    })
}

fn indented(line: &str, step: usize) -> String {
    format!("{}{line}", " ".repeat(step))
}

/// Between entries.
fn between() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        40 => Just(None),
        1 => select(vec!["", "  ", "       ", "# c", "   # c", "\t", "\t# c"]).prop_map(|line| Some(line.to_owned())),
    ]
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![30 => Just(" "), 1 => select(vec!["  ", "\t", " \t"])]
}

fn properties() -> impl Strategy<Value = String> {
    let fitting = select(vec![
        "&x ",
        "&y ",
        "!!str ",
        "!t ",
        "! ",
        "!<x> ",
        "&x !!str ",
        "!!str &y ",
    ]);
    prop_oneof![24 => Just(""), 2 => fitting].prop_map(str::to_owned)
}

/// Of YAML's own tags, most do not fit most values.
fn tag() -> impl Strategy<Value = String> {
    let tag = select(vec![
        "int",
        "float",
        "bool",
        "null",
        "str",
        "binary",
        "timestamp",
        "merge",
        "map",
        "seq",
        "set",
    ]);
    prop_oneof![30 => Just(String::new()), 1 => tag.prop_map(|tag| format!("!!{tag} "))]
}

fn key() -> impl Strategy<Value = String> {
    let plain = select(vec!["a", "b", "c", "d", "e", "kind", "spec", "a.b/c-d_e"]);
    let valid = select(vec![
        "<<",
        "1",
        "0x10",
        "010",
        "1.5",
        "yes",
        "off",
        "\"a b\"",
        "'c'",
        "\"<<\"",
        "a b",
        "a#b",
        "\u{e9}",
        "\u{4e2d}",
        "&x a",
        "&y b",
        "!!str 1x",
        "!!str yes",
        ".5",
        "2020-01-01",
        "-1",
        "+1",
        "1_0",
        "a:b",
        "-a",
        "?a",
        ":a",
        "''",
        "\"\"",
        "\"\\x41\"",
        "a ",
        "a\t",
        "? a\n",
        "=",
        "a,b",
        "a]",
        "123456789012",
    ]);
    let odd = select(vec![
        "<<",
        "<<",
        "<<",
        "NULL",
        "~",
        "*x ",
        ".inf",
        "1e20",
        "0.123456789",
        "[a]",
        "{a: b}",
        "{}",
        "@a",
        "`a",
        "%a",
        "1e3",
        "1e7",
        "-0.0",
        "1e-7",
        "18446744073709551615",
        "12345678.5",
        "? ",
        "!!int a",
        "!!float 2",
    ]);
    prop_oneof![40 => plain, 6 => valid, 1 => odd].prop_map(str::to_owned)
}

/// A scalar or a flow collection, most of them on one line.
fn inline() -> impl Strategy<Value = String> {
    let end = select(vec![" ", " # c", " #", "\t# c", "\t"]);
    prop_oneof![
        5 => scalar(),
        1 => flow(),
        1 => (scalar(), end).prop_map(|(scalar, end)| scalar + end),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    let words = select(vec![
        "",
        "a",
        "b c",
        "a #b",
        "a#b",
        "~",
        "null",
        "x\ty",
        "a:b",
        "http://a/b",
        "\u{e9}",
        "\u{1f600}",
        "\u{85}",
        "a\u{2028}b",
        "a\u{a0}",
        "<<",
        "=",
        "a'b",
        "a\"b",
        "a\\nb",
        "#",
        "--",
        "-a",
        "a - b",
        "a ? b",
        "a | b",
        "a!b",
        "a&b",
        "...a",
        "---a",
        "/",
        "(a)",
        "$(a)",
    ]);
    let typed = select(vec![
        "true",
        "True",
        "tRUE",
        "yes",
        "YES",
        "yES",
        "y",
        "N",
        "on",
        "Off",
        "oFF",
        "Null",
        "NULL",
        "nULL",
        "0",
        "-0",
        "+0",
        "00",
        "007",
        "08",
        "09.5",
        "0o17",
        "0O17",
        "-0o17",
        "0x1F",
        "0X1f",
        "-0x1",
        "+0x1",
        "0b11",
        "-0b11",
        "+0b11",
        "0B11",
        "0b2",
        "0b",
        "0x",
        "0o",
        "1_000",
        "_1",
        "1_",
        "0_7",
        "0x_f",
        "0_x1",
        "1__0",
        "+_1",
        "-_1",
        "1.",
        ".5",
        "-.5",
        "+.5",
        "1.5e3",
        "1e3",
        "1E+03",
        "1e-3",
        "1e",
        "e1",
        "1.e1",
        ".e1",
        "._1",
        ".1_0",
        "1_0.5",
        ".5_",
        "._5",
        ".1__0",
        ".1_0e1_0",
        ".5e",
        ".5e+1",
        ".5e_1",
        "1e1_0",
        "1.2.3",
        "1e400",
        "-1e400",
        ".1e400",
        "1e-400",
        "1.0",
        "0.1",
        "3.14159265358979",
        "123456789012345678",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "0xffffffffffffffff",
        "0x10000000000000000",
        "-.5_0",
        "+.1_0",
        ".iNF",
        "inf",
        "nan",
        "Infinity",
        "NaN",
        "0x1p4",
        "0x.8",
        "1:30",
        "190:20:30",
        "2020-01-01",
        "2020-01-01T00:00:00Z",
        "2020-1-1",
        "2020-13-01",
        "+",
        "-",
        "+-1",
        "--1",
        "0-1",
        "1-",
        "1+1",
        ".",
        "..",
        ".1.",
        "+1",
        "-1",
        "1 ",
        "1 2",
        "\u{661}",
        "+1_0",
        "0x-1",
        "0b-1",
        "0o-1",
        "-0b-1",
        "0x+1",
        ".0x1",
        ".1f",
        ".infinity",
        ".Inf_",
    ]);
    let quoted = select(vec![
        "\"\"",
        "''",
        "\"a\"",
        "'a'",
        "\"yes\"",
        "'10'",
        "'a''b'",
        "\"a\\\"b\"",
        "\"a\\nb\"",
        "\"\\u00e9\"",
        "\"\\x41\\t\\e\"",
        "\"\\U0001f600\"",
        "\"\\_\\N\\L\\P\"",
        "\"\\0\\a\\b\\v\\f\\r\"",
        "'\\n'",
        "\"a: b\"",
        "'# c'",
        "\" a \"",
        "'\ta'",
        "\"\\\ta\"",
        "\"\\ \"",
        "'!!str'",
        "\"{\"",
        "\"\\uFEFF\"",
    ]);
    let odd = select(vec![
        "a: b",
        "a:",
        "-",
        "- a",
        "?",
        ":",
        "@",
        "`",
        "%a",
        "!",
        "&",
        "*",
        "*x",
        "*x",
        "*y",
        "*x ",
        "|a",
        ">a",
        "]",
        "}",
        ",",
        "a,b",
        "a]",
        "{{a}}",
        "[a",
        "\u{7f}",
        "---",
        "...",
        "\u{feff}",
        "\u{fffe}",
        "\u{0}",
        "\"\\z\"",
        "\"a\" b",
        "'a'b",
        "\"\\xg\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD800\"",
        "\"\\/\"",
        ".inf",
        "+.inf",
        "-.Inf",
        ".INF",
        ".nan",
        ".NaN",
        "a{b}",
        "a\u{feff}",
    ]);
    prop_oneof![30 => words, 20 => typed, 20 => quoted, 2 => odd].prop_map(str::to_owned)
}

/// A scalar that a flow collection takes as it is, mostly.
fn flow_scalar() -> impl Strategy<Value = String> {
    let fitting =
        |text: &String| !text.contains([',', '[', ']', '{', '}', '#']) && !text.is_empty();
    prop_oneof![30 => scalar().prop_filter("not of a flow collection", fitting), 1 => scalar()]
}

fn flow() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![5 => flow_scalar(), 1 => key()];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let separator = prop_oneof![
            20 => select(vec![", ", ",", ",\n  ", " ,\t", ", # c\n  ", "\n    ,"]),
            1 => select(vec![",\n", "\n,", ",,", " "]),
        ];
        let colon = prop_oneof![
            20 => select(vec![": ", " : ", ":\t", ":\n    "]),
            1 => select(vec![":", "", "\n: ", ":\n"]),
        ];
        let end = prop_oneof![
            20 => select(vec!["", "", "", ",", ", ", "\n  ", "\n    "]),
            1 => select(vec![" # c\n", "\n\t", ",\n", "\n"]),
        ];
        let pair = (
            prop_oneof![20 => key(), 1 => "[a-c]\n", 1 => "\\? [a-c]", 1 => scalar()],
            colon,
            inner.clone(),
        );
        let pair = pair.prop_map(|(key, colon, value)| key + colon + &value);
        let pair = pair.boxed();
        let item = prop_oneof![5 => inner, 1 => pair.clone()];
        prop_oneof![
            (vec(item, 0..4), separator.clone(), end.clone())
                .prop_map(|(items, separator, end)| format!("[{}{end}]", items.join(separator))),
            (vec(pair, 0..4), separator, end)
                .prop_map(|(pairs, separator, end)| format!("{{{}{end}}}", pairs.join(separator))),
        ]
    })
}

fn block_scalar() -> impl Strategy<Value = Node> {
    let indicators = prop_oneof![
        5 => select(vec!["|", "|-", "|", "|-", "|+", ">", ">-", ">+"]).prop_map(str::to_owned),
        1 => "[|>]([+-]?[0-4]?|[1-4][+-])( | #c|#c|\t| \t#)?",
    ];
    let margin = prop_oneof![6 => Just(0..1usize), 1 => Just(0..4usize)];
    let lines = margin.prop_flat_map(|extra| vec((extra, literal_line()), 0..7));
    (properties(), indicators, lines).prop_map(|(properties, indicators, lines)| Node {
        head: properties + &indicators,
        below: lines
            .iter()
            .map(|(extra, line)| indented(line, *extra))
            .collect(),
    })
}

/// Lines that look like something else, in a block scalar or behind it.
fn literal_line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["a", "b c", "#!/bin/sh", "x: y", "echo \"$A\""]),
        2 => select(vec!["", "", "  ", "     ", "         ", " a", "    b"]),
        2 => select(vec![
            "a: |", "b: |-", "- c: |", "- a", "# c", "\"", "'", "{", "}]", "---", "...", "? a", ": b", "&x",
            "*x", "!t", "!literal \"0\"", "a: !literal \"0\"", "%YAML", "\ta", "a\tb", "\t", "a ", "a\t",
            "\u{e9}", "\u{85}", "\u{2028}", "a\u{2029}b", "\u{feff}", "\u{1f600}", "\r", "a\r", "\u{a0}", "\u{7f}",
        ]),
    ]
    .prop_map(str::to_owned)
}

/// A scalar that goes on in the next lines.
fn over_lines() -> impl Strategy<Value = Node> {
    let line =
        prop_oneof![2 => "[a-b]( [a-b])?", 1 => literal_line(), 1 => "a\\\\", 1 => " *\\\\ a"];
    (select(vec!["\"", "'", ""]), vec(line, 1..5), properties()).prop_map(
        |(quote, mut lines, properties)| {
            if let Some(last) = lines.last_mut() {
                last.push_str(quote);
            }
            Node {
                head: format!("{properties}{quote}a"),
                below: lines,
            }
        },
    )
}

/// The text with up to three changes.
fn edited(text: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..5usize, fragment());
    (text, vec(edit, 1..4)).prop_map(|(text, edits)| {
        let mut chars: Vec<_> = text.chars().collect();
        for (place, removed, added) in edits {
            let start = place.index(chars.len() + 1);
            // Most edits are small: half only add, or take one away.
            let removed = if removed > 2 { 0 } else { removed };
            let end = (start + removed).min(chars.len());
            chars.splice(start..end, added.chars());
        }
        chars.into_iter().collect()
    })
}

fn fragment() -> impl Strategy<Value = &'static str> {
    select(vec![
        "", "", "", " ", "  ", "\n", "\n\n", "\n  ", "\t", ":", ": ", "- ", "? ", "#", " # c", "|",
        ">", "\"", "'", "{", "}", "[", "]", ",", "&x ", "*x", "!t ", "!!str ", "!", "%", "\\",
        "\r", "\r\n", "\u{85}", "\u{2028}", "\u{feff}", "\u{0}", "\u{7}", "~", "<<: *x\n", "---\n",
        "...\n", "\n---\n", "a: |\n", "=", "@",
    ])
}

/// Lines of pieces, at any margin.
fn lines() -> impl Strategy<Value = String> {
    let line = (
        0..6usize,
        piece(),
        select(vec!["", "", "", "", " ", " # c", "\t", ":", ","]),
    )
        .prop_map(|(margin, piece, end)| format!("{}{piece}{end}", " ".repeat(margin)));
    let ends = select(vec!["\n", "\n", "", "\n\n"]);
    let line_break = select(vec!["\n", "\n", "\n", "\n", "\n", "\r\n"]);
    (vec(line, 1..10), ends, line_break)
        .prop_map(|(lines, end, line_break)| (lines.join("\n") + end).replace('\n', line_break))
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (key(), gap(), inline()).prop_map(|(key, gap, value)| format!("{key}:{gap}{value}")),
        3 => (key(), "[|>][+-]?[1-3]?").prop_map(|(key, value)| format!("{key}: {value}")),
        3 => key().prop_map(|key| key + ":"),
        2 => inline().prop_map(|value| format!("- {value}")),
        1 => (key(), inline()).prop_map(|(key, value)| format!("- {key}: {value}")),
        2 => literal_line(),
        1 => (properties(), inline()).prop_map(|(properties, value)| properties + &value),
    ]
}
