//! What the entries of the record mean.

use serde_json::json;

use super::*;
use crate::config_hash::references::ConfigKind;

fn app() -> ConfigId {
    ConfigId {
        kind: ConfigKind::ConfigMap,
        name: "app".to_owned(),
    }
}

fn stored(entry: &str, image: &str) -> Value {
    json!({
        "metadata": {"annotations": {CONFIGS: json!({"ConfigMap/app": entry}).to_string()}},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    })
}

fn seen(now: Now) -> Observed {
    let seen = Seen {
        now,
        unchanged_digests: Vec::new(),
        rewritten: false,
    };
    let mut observed = Observed::default();
    observed.configs.insert(app(), seen);
    observed
}

/// The entry after a request, `F` for the fingerprint of the stored template.
fn next(entry: &str, now: Now, rolls_out: bool) -> Option<String> {
    let stored = stored(entry, "web:1");
    let memory = Memory::of(Some(&stored));
    let recorded = memory.next(&seen(now), rolls_out);
    let text = recorded.0.get("ConfigMap/app")?;
    Some(text.replace(memory.template(), "F"))
}

#[test]
fn an_entry_becomes() {
    let digest = |text: &str| Now::Digest(text.to_owned());
    for (case, entry, now, rolls_out, expected) in [
        ("unchanged", "a1", digest("a1"), false, Some("a1")),
        (
            "changed and rolled out",
            "a1",
            digest("b2"),
            true,
            Some("b2"),
        ),
        (
            "changed and held back",
            "a1",
            digest("b2"),
            false,
            Some("a1@F|b2"),
        ),
        (
            "absent, changed and held back",
            "absent",
            digest("b2"),
            false,
            Some("absent@F|b2"),
        ),
        (
            "another HMAC key",
            "1:a1",
            digest("2:a1"),
            false,
            Some("2:a1"),
        ),
        ("deleted", "a1", Now::NoObject, false, Some("a1@F|missing")),
        (
            "deleted, while others roll out",
            "a1",
            Now::NoObject,
            true,
            Some("a1@F|missing"),
        ),
        ("its key is deleted", "a1", Now::NoKey, false, Some("a1@F|")),
        (
            "still missing",
            "missing",
            Now::NoObject,
            false,
            Some("missing"),
        ),
        ("late", "missing", digest("a1"), false, Some("a1")),
        ("late, without the key", "missing", Now::NoKey, false, None),
        (
            "gone for a while, with another template",
            "a1@e|missing",
            Now::NoObject,
            false,
            Some("a1@e|missing"),
        ),
        (
            "gone after its key, with another template",
            "a1@e|",
            Now::NoObject,
            false,
            Some("a1@e|missing"),
        ),
        (
            "back without its key, with another template",
            "a1@e|missing",
            Now::NoKey,
            false,
            Some("a1@e|"),
        ),
        (
            "back, with another template",
            "a1@e|missing",
            digest("b2"),
            false,
            Some("b2"),
        ),
        (
            "held back, with another template",
            "a1@e|b2",
            digest("b2"),
            false,
            Some("b2"),
        ),
        (
            "held back twice",
            "a1@e|b2",
            digest("c3"),
            false,
            Some("b2@F|c3"),
        ),
    ] {
        assert_eq!(next(entry, now, rolls_out).as_deref(), expected, "{case}");
    }
}

#[test]
fn the_stored_template_decides_which_memory_counts() {
    let before = stored("a1", "web:1");
    let entry = {
        let memory = Memory::of(Some(&before));
        let recorded = memory.next(&seen(Now::Digest("b2".to_owned())), false);
        recorded.0["ConfigMap/app"].clone()
    };
    let changed = |image: &str| {
        let stored = stored(&entry, image);
        Memory::of(Some(&stored)).changed(&seen(Now::Digest("b2".to_owned())).configs)
    };
    assert_eq!(changed("web:1"), [app()], "the pods started before");
    assert_eq!(changed("web:2"), [], "the pods started since");
}

#[test]
fn the_order_of_fields_makes_no_other_template() {
    let (a, b) = (
        json!({"a": {"b": 1, "c": 2}, "d": 3}),
        json!({"d": 3, "a": {"c": 2, "b": 1}}),
    );
    assert_eq!(fingerprint(&a), fingerprint(&b));
    assert_ne!(
        fingerprint(&a),
        fingerprint(&json!({"a": {"b": 2, "c": 2}, "d": 3}))
    );
}
