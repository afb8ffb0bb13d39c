//! The items of a list that the host sends.
//!
//! In: the answer of the host, and what was asked for. Out: the items that are wanted. Refuses: an answer without items.
//!
//! The list of a large cluster has many megabytes, for the host sends the objects of all namespaces. So an answer that
//! mentions the name in question nowhere is not parsed at all, and of another answer, items are dropped one by one: they
//! are never in memory together.

use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{List, Scope, not_json};

/// The items of this answer that the list asks for.
pub(super) fn select(answer: &[u8], list: &List<'_>) -> Result<Vec<Value>, String> {
    let has = |text: &str| memmem::Finder::new(text).find(answer).is_some();
    if let Some(name) = list.mentioning
        && has("\"items\"")
        && !has(name)
    {
        return Ok(Vec::new());
    }
    let within = match list.scope {
        Scope::Within(namespace) => Some(namespace),
        Scope::Namespace(_) | Scope::Cluster => None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(answer);
    let items = Answer { within }
        .deserialize(&mut deserializer)
        .and_then(|items| deserializer.end().map(|()| items))
        .map_err(|error| match error.is_data() {
            true => "the answer has no items".to_owned(),
            false => not_json(&error),
        })?;
    items.ok_or_else(|| "the answer has no items".to_owned())
}

/// An answer: an object with `items`.
#[derive(Clone, Copy)]
struct Answer<'a> {
    within: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = Option<Vec<Value>>;

    fn deserialize<D: Deserializer<'de>>(self, answer: D) -> Result<Self::Value, D::Error> {
        answer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = Option<Vec<Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut items = None;
        while let Some(field) = fields.next_key::<String>()? {
            if field == "items" {
                let within = self.within;
                items = Some(fields.next_value_seed(Items { within })?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(items)
    }
}

/// The items, each dropped at once if it is not wanted.
struct Items<'a> {
    within: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, items: D) -> Result<Self::Value, D::Error> {
        items.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut wanted = Vec::new();
        while let Some(item) = items.next_element::<Value>()? {
            let namespace = item.pointer("/metadata/namespace").and_then(Value::as_str);
            if self.within.is_none_or(|within| namespace == Some(within)) {
                wanted.push(item);
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the items that are selected.
    fn selected(
        answer: &str,
        scope: Scope<'_>,
        mentioning: Option<&str>,
    ) -> Result<String, String> {
        let list = List {
            mentioning,
            ..List::of("v1", "ConfigMap", scope)
        };
        let items = select(answer.as_bytes(), &list)?;
        let names = items
            .iter()
            .filter_map(|item| item.pointer("/metadata/name")?.as_str());
        Ok(names.collect::<Vec<_>>().join(" "))
    }

    const ANSWER: &str = r#"{"kind": "ConfigMapList", "items": [
        {"metadata": {"name": "a", "namespace": "shop"}},
        {"metadata": {"name": "b", "namespace": "bank"}},
        {"metadata": {"name": "c"}},
        {"metadata": {"name": "d", "namespace": "shop"}}
    ], "metadata": {}}"#;

    #[test]
    fn items_are_those_of_the_namespace() {
        for (scope, expected) in [
            (Scope::Cluster, "a b c d"),
            (Scope::Namespace("shop"), "a b c d"), // the host has selected
            (Scope::Within("shop"), "a d"),
            (Scope::Within("sho"), ""),
        ] {
            for mentioning in [None, Some("bank")] {
                assert_eq!(
                    selected(ANSWER, scope, mentioning).as_deref(),
                    Ok(expected),
                    "{scope:?}"
                );
            }
        }
    }

    #[test]
    fn an_answer_that_mentions_the_name_nowhere_has_no_item() {
        assert_eq!(
            selected(ANSWER, Scope::Cluster, Some("e")).as_deref(),
            Ok("a b c d")
        );
        assert_eq!(
            selected(ANSWER, Scope::Cluster, Some("web")).as_deref(),
            Ok("")
        );
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        let mentioning = Some("a-name");
        for (answer, expected) in [
            ("{}", "the answer has no items"),
            (r#"{"items": "hidden"}"#, "the answer has no items"),
            (r#"["hidden"]"#, "the answer has no items"),
            (
                r#"{"items": []"#,
                "the answer is not JSON (line 1, column 12)",
            ),
            (
                r#"{"items": []} {}"#,
                "the answer is not JSON (line 1, column 15)",
            ),
        ] {
            let selected = selected(answer, Scope::Cluster, None);
            assert_eq!(selected, Err(expected.to_owned()), "{answer}");
        }
        for answer in ["{}", "", r#"{"message": "hidden"}"#] {
            assert!(
                selected(answer, Scope::Cluster, mentioning).is_err(),
                "{answer}"
            );
        }
    }
}
