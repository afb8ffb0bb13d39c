//! The published vectors, read from the document itself.

use serde_json::Value;

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/digest.md");

/// The rows of the table whose header starts with this, as cells without their backquotes.
#[track_caller]
fn table(header: &str) -> Vec<Vec<&'static str>> {
    let rows: Vec<_> = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with(header))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().trim_matches('`')).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

fn strings(json: &str) -> BTreeMap<String, String> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_published_digests_are_those_of_the_code() {
    for row in table("| config |") {
        let [name, namespace, key, pairs, expected] = row[..] else {
            panic!("{row:?}");
        };
        let pairs: BTreeMap<String, Vec<u8>> = strings(pairs)
            .into_iter()
            .map(|(key, value)| (key, hex::decode(value).unwrap()))
            .collect();
        let digester = match hex::decode(key).unwrap() {
            key if key.is_empty() => Digester::default(),
            key => Digester::with_key(&key, namespace).unwrap(),
        };
        let used = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()))
            .collect();
        assert_eq!(digester.digest(&used), expected, "{name}");
    }
}

#[test]
fn the_published_stamps_are_those_of_the_code() {
    for row in table("| configs |") {
        let [name, configs, running, expected] = row[..] else {
            panic!("{row:?}");
        };
        let made = match running {
            "" => stamp(&strings(configs)),
            running => stamp_after(running, &strings(configs)),
        };
        assert_eq!(made, expected, "{name}");
    }
}

#[test]
fn the_published_digests_of_keys_are_those_of_the_code() {
    for row in table("| keys |") {
        let [keys, digest, expected] = row[..] else {
            panic!("{row:?}");
        };
        let keys = serde_json::from_str(keys).unwrap();
        assert_eq!(of_keys(digest, &keys), expected);
    }
}

#[test]
fn the_document_has_vectors_for_all_forms() {
    let (digests, keys, stamps) = (table("| config |"), table("| keys |"), table("| configs |"));
    let keyed = digests.iter().filter(|row| !row[2].is_empty()).count();
    assert_eq!(
        (digests.len(), keyed, keys.len(), stamps.len()),
        (12, 4, 4, 6)
    );
    let all = digests.iter().chain(&keys).chain(&stamps);
    let mut distinct: Vec<_> = all.map(|row| row.last()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), digests.len() + keys.len() + stamps.len());
}

#[test]
fn a_short_key_is_refused() {
    let refused = Digester::with_key(&[b'k'; 15], "shop").err();
    assert_eq!(refused, Some(KeyError::Short(15)));
    assert!(Digester::with_key(&[b'k'; 16], "shop").is_ok());
}

#[test]
fn digests_are_comparable_when_made_with_the_same_key() {
    for (name, a, b, expected) in [
        ("both without a key", "4ba5", "44ca", true),
        ("the same key", "f3cb:4ba5", "f3cb:44ca", true),
        ("another key", "f3cb:4ba5", "ae4c:44ca", false),
        ("a key only in the second", "4ba5", "f3cb:4ba5", false),
        ("a key only in the first", "f3cb:4ba5", "4ba5", false),
        ("absent, then present", ABSENT, "f3cb:4ba5", true),
        ("present, then absent", "f3cb:4ba5", ABSENT, true),
        ("the same keys", "4ba5/c67e", "44ca/c67e", true),
        ("other keys", "4ba5/c67e", "4ba5/6257", false),
        ("all keys, then some", "4ba5", "4ba5/6257", false),
        (
            "absent, of the same keys",
            "absent/c67e",
            "f3cb:44ca/c67e",
            true,
        ),
        ("absent, of other keys", "absent/c67e", "44ca", false),
    ] {
        assert_eq!(comparable(a, b), expected, "{name}");
    }
}

/// The `configs` annotation has the digests as JSON strings; they contain nothing that JSON escapes.
#[test]
fn a_digest_is_plain_text() {
    for row in table("| config |") {
        let quoted = Value::from(row[4]).to_string();
        assert_eq!(quoted, format!("\"{}\"", row[4]));
    }
}
