//! The regular expressions in Reloader's lists. What Go's regexp says of these was seen once with Go itself.

use proptest::prelude::*;

use crate::reloaders::pattern::Pattern;

#[test]
fn names_that_are_found() {
    for (entry, found, not_found) in [
        ("app", &["app"][..], &["app-1", "my-app", "ap", ""][..]),
        ("app-.*", &["app-", "app-1"], &["app", "my-app-1"]),
        ("app.+", &["app-", "app-1"], &["app"]),
        ("app-?1", &["app1", "app-1"], &["app--1"]),
        ("a*b", &["b", "aab"], &["aa"]),
        ("a.c", &["abc", "a.c"], &["ac", "abbc"]),
        ("a\\.c", &["a.c"], &["abc"]),
        ("[a-c0]-x", &["b-x", "0-x"], &["d-x", "-x"]),
        ("[^a-c]+", &["xyz"], &["xaz", ""]),
        ("[a-]b", &["ab", "-b"], &["bb"]),
        ("[]a]x", &["ax"], &["x"]),
        ("[\\d.]x", &["1x", ".x"], &["ax"]),
        ("v\\d+", &["v12"], &["v", "v1a"]),
        ("\\w+", &["ab1"], &["a-b"]),
        (
            "app-(dev|prod)",
            &["app-dev", "app-prod"],
            &["app-", "app-devprod"],
        ),
        ("app(?:-dev)?", &["app", "app-dev"], &["app-"]),
        ("(a|(b|c)d)e", &["ae", "bde", "cde"], &["be", "de"]),
        ("a.*?b", &["ab", "axxb"], &["a"]),
        // Users write the anchors as well.
        ("^app$", &["app"], &["app-1"]),
        ("^app-.*", &["app-1"], &["my-app-1"]),
        // Each alternative is anchored at one end.
        ("app|db", &["app", "app-1", "my-db"], &["my-app", "db-1"]),
        ("a|x|b", &["a1", "1x1", "1b"], &["1a", "b1"]),
        // These look like globs. The star repeats the `^` that Reloader puts in front.
        ("*-config", &["app-config", "-config"], &["app-config-1"]),
        ("*", &["", "app"], &[]),
        ("app-*", &["app", "app-", "app--"], &["app-1"]),
        ("ä", &["ä"], &["a"]),
        // The backslash takes the `$` that Reloader puts behind.
        ("app\\", &["app$"], &["app"]),
    ] {
        let pattern = Pattern::parse(entry).unwrap();
        for name in found {
            assert!(pattern.matches(name), "{entry} {name}");
        }
        for name in not_found {
            assert!(!pattern.matches(name), "{entry} {name}");
        }
    }
}

#[test]
fn expressions_that_are_not_supported() {
    for entry in [
        // No regular expressions at all.
        "(a",
        "a)",
        "[a",
        "a**",
        "[b-a]",
        "(?a)",
        "(*a)",
        "a|*",
        // Others.
        "a{2}",
        "(ab)*",
        "(ab)+",
        "(?i)a",
        "(?P<n>a)",
        "\\D",
        "\\pL",
        "[[:alpha:]]",
        "[a-\\d]",
        "]",
    ] {
        assert_eq!(Pattern::parse(entry), None, "{entry}");
    }
    let nested = |depth| "(".repeat(depth) + "a" + &")".repeat(depth);
    assert!(Pattern::parse(&nested(8)).is_some());
    assert!(Pattern::parse(&nested(9)).is_none());
}

proptest! {
    #[test]
    fn any_text_is_answered(entry in "[-a-c.*+?()|^$\\\\\\[\\]{}]{0,12}", name in "[-a-c.]{0,8}") {
        if let Some(pattern) = Pattern::parse(&entry) {
            pattern.matches(&name);
        }
    }

    #[test]
    fn a_name_with_escaped_dots_finds_itself(name in "[-a-c.]{1,20}", other in "[-a-c.]{1,3}") {
        let pattern = Pattern::parse(&name.replace('.', "\\.")).unwrap();
        prop_assert!(pattern.matches(&name));
        prop_assert_eq!(pattern.matches(&other), name == other);
    }
}
