//! The few selectors that [`Objects`](super::Objects) supports. Any other selector is an error; it never selects
//! everything.

use serde_json::Value;

/// Requirements on labels. All of them must be met.
pub(super) struct LabelSelector(Vec<Requirement>);

struct Requirement {
    label: String,
    /// `None`: any value is allowed.
    values: Option<Vec<String>>,
}

/// JSON pointers, and the text that each has to lead to.
pub(super) struct FieldSelector(Vec<(&'static str, String)>);

impl LabelSelector {
    /// Reads `key=value`, `key in (a,b)` and `key`, joined by commas. An empty text selects
    /// everything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let requirements: Option<_> = requirements(text).map(Requirement::parse).collect();
        requirements
            .map(Self)
            .ok_or_else(|| format!("the testbed does not support the label selector '{text}'"))
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|Requirement { label, values }| {
            let value = labels
                .and_then(|labels| labels.get(label))
                .and_then(Value::as_str);
            match (value, values) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(value), Some(values)) => values.iter().any(|wanted| wanted == value),
            }
        })
    }
}

impl FieldSelector {
    /// Reads `metadata.name=…` and `metadata.namespace=…`, joined by commas. An empty text
    /// selects everything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let field = |requirement: &str| {
            let (field, value) = requirement.split_once('=')?;
            let pointer = match field {
                "metadata.name" => "/metadata/name",
                "metadata.namespace" => "/metadata/namespace",
                _ => return None,
            };
            Some((pointer, word(value)?))
        };
        let fields: Option<_> = requirements(text).map(field).collect();
        fields
            .map(Self)
            .ok_or_else(|| format!("the testbed does not support the field selector '{text}'"))
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(pointer, value)| object.pointer(pointer).is_some_and(|found| found == value))
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let (label, values) = if let Some((head, list)) = text.split_once('(') {
            let label = head.trim_end().strip_suffix(" in")?;
            let values = list.strip_suffix(')')?.split(',').map(word);
            (label, Some(values.collect::<Option<_>>()?))
        } else if let Some((label, value)) = text.split_once('=') {
            (label, Some(vec![word(value)?]))
        } else {
            (text, None)
        };
        let label = word(label)?;
        Some(Self { label, values })
    }
}

/// Splits at commas outside of parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut in_parentheses = false;
    let parts = text.split(move |c| {
        match c {
            '(' => in_parentheses = true,
            ')' => in_parentheses = false,
            _ => {}
        }
        c == ',' && !in_parentheses
    });
    parts
        .map(str::trim)
        .filter(move |_| !text.trim().is_empty())
}

/// A name or value. Anything else is most likely an unsupported operator: `a!=b`, `!a`.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(is_word)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn labels_select(selector: &str, expected: bool) {
        let record = json!({"metadata": {"labels": {
            "owner": "helm", "status": "pending-upgrade", "helm.sh/chart": "basic-app"}}});
        let selects = LabelSelector::parse(selector).map(|selector| selector.selects(&record));
        assert_eq!(selects, Ok(expected), "{selector}");
    }

    #[test]
    fn label_selectors() {
        labels_select("", true);
        labels_select("owner=helm", true);
        labels_select("owner=flux", false);
        labels_select("owner", true);
        labels_select("revision", false);
        labels_select("helm.sh/chart = basic-app", true);
        labels_select("status in (pending-upgrade, pending-rollback)", true);
        labels_select("status in(deployed)", false);
        labels_select(
            "owner=helm,status in (deployed,pending-upgrade),helm.sh/chart",
            true,
        );
        labels_select("owner=helm,status in (deployed,superseded)", false);
    }

    #[test]
    fn unsupported_label_selectors() {
        for selector in [
            "owner!=helm",
            "owner==helm",
            "!owner",
            "status notin (deployed)",
            "status in (deployed",
            "status in ()",
            "in (deployed)",
            "owner=helm,",
            "=helm",
        ] {
            let error = LabelSelector::parse(selector).err();
            let expected = format!("the testbed does not support the label selector '{selector}'");
            assert_eq!(error, Some(expected));
        }
    }

    #[test]
    fn field_selectors() {
        let object = json!({"metadata": {"namespace": "shop", "name": "app"}});
        for (selector, expected) in [
            ("", true),
            ("metadata.name=app", true),
            ("metadata.name=db", false),
            ("metadata.namespace=shop,metadata.name=app", true),
            ("metadata.namespace=blog,metadata.name=app", false),
        ] {
            let selects = FieldSelector::parse(selector).map(|selector| selector.selects(&object));
            assert_eq!(selects, Ok(expected), "{selector}");
        }
    }

    #[test]
    fn unsupported_field_selectors() {
        for selector in [
            "type=Opaque",
            "metadata.name!=app",
            "metadata.name",
            "metadata.name=",
        ] {
            let error = FieldSelector::parse(selector).err();
            let expected = format!("the testbed does not support the field selector '{selector}'");
            assert_eq!(error, Some(expected));
        }
    }
}
