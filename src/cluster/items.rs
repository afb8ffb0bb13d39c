//! The items of a list that the host sends.
//!
//! In: the answer of the host, and what was asked for. Out: the items that are wanted. Refuses: an answer without items.
//!
//! The list of a large cluster has many megabytes, for the host sends the objects of all namespaces. So an answer that
//! mentions the name in question nowhere is not parsed at all, and of another answer, items are dropped one by one: they
//! are never in memory together.

use std::fmt;

use memchr::memmem;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{List, Scope, not_json};

/// The items of this answer that the list asks for.
pub(super) fn select(answer: &[u8], list: &List<'_>) -> Result<Vec<Value>, String> {
    let has = |text: &str| memmem::Finder::new(text).find(answer).is_some();
    let only = match list.mention {
        Some(mention) if !has(mention.name) => Some(mention.otherwise),
        _ => None,
    };
    if only.is_some_and(<[_]>::is_empty) && has("\"items\"") {
        return Ok(Vec::new());
    }
    let within = match list.scope {
        Scope::Within(namespace) => Some(namespace),
        Scope::Namespace(_) | Scope::Cluster => None,
    };
    let wanted = Wanted { within, only };
    let mut deserializer = serde_json::Deserializer::from_slice(answer);
    let items = Answer(wanted)
        .deserialize(&mut deserializer)
        .and_then(|items| deserializer.end().map(|()| items))
        .map_err(|error| match error.is_data() {
            true => "the answer has no items".to_owned(),
            false => not_json(&error),
        })?;
    items.ok_or_else(|| "the answer has no items".to_owned())
}

/// Which items are wanted.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// Those of this namespace.
    within: Option<&'a str>,
    /// Only these of their fields.
    only: Option<&'a [&'a str]>,
}

/// An answer: an object with `items`.
struct Answer<'a>(Wanted<'a>);

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
                items = Some(fields.next_value_seed(Items(self.0))?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(items)
    }
}

/// The items, each dropped at once if it is not wanted.
struct Items<'a>(Wanted<'a>);

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
        while let Some(item) = items.next_element_seed(Item(self.0.only))? {
            let namespace = item.pointer("/metadata/namespace").and_then(Value::as_str);
            if self.0.within.is_none_or(|within| namespace == Some(within)) {
                wanted.push(item);
            }
        }
        Ok(wanted)
    }
}

/// One item, or these fields of it.
struct Item<'a>(Option<&'a [&'a str]>);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, item: D) -> Result<Value, D::Error> {
        match self.0 {
            None => Value::deserialize(item),
            Some(_) => item.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut item = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            if self.0.is_some_and(|only| only.contains(&field.as_str())) {
                let value = fields.next_value()?;
                item.insert(field, value);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(item))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::Mention;

    /// The names of the items that are selected.
    fn selected(answer: &str, scope: Scope<'_>, name: Option<&str>) -> Result<String, String> {
        let list = List {
            mention: name.map(|name| Mention {
                name,
                otherwise: &[],
            }),
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

    /// Of items that do not mention it, these fields, and still only those of the namespace.
    #[test]
    fn an_answer_that_mentions_the_name_nowhere_is_read_in_part() {
        let answer = r#"{"items": [
            {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"config": "app"}, "status": {"replicas": 1}},
            {"metadata": {"name": "b", "namespace": "bank"}, "spec": {}, "status": {}}
        ]}"#;
        let read = |name| {
            let list = List {
                mention: Some(Mention {
                    name,
                    otherwise: &["metadata", "status"],
                }),
                ..List::of("apps/v1", "Deployment", Scope::Within("shop"))
            };
            select(answer.as_bytes(), &list)
        };
        let metadata = json!({"name": "a", "namespace": "shop"});
        let status = json!({"replicas": 1});
        assert_eq!(
            read("app"),
            Ok(vec![
                json!({"metadata": metadata, "spec": {"config": "app"}, "status": status})
            ])
        );
        assert_eq!(
            read("db"),
            Ok(vec![json!({"metadata": metadata, "status": status})])
        );
    }
}
