//! What holds for all workloads, contents and settings.

use base64::{Engine, prelude::BASE64_STANDARD};
use pod_references::random::{KEYS, NAMES, pod_template};
use proptest::{collection, option, prelude::*, sample};

use super::*;
use crate::config_hash::references::{ConfigId, ConfigKind, Use};

type Content = BTreeMap<String, Vec<u8>>;
/// By kind and name.
type Contents = BTreeMap<(&'static str, &'static str), Content>;

/// The part of the content that is used.
fn select<'c>(r#use: &Use, content: &'c Content) -> BTreeMap<&'c str, &'c [u8]> {
    let pairs = content.iter();
    pairs
        .filter(|(key, _)| r#use.whole || r#use.keys.contains(*key))
        .map(|(key, value)| (key.as_str(), value.as_slice()))
        .collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => "[a-z]{0,3}".prop_map(String::into_bytes),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => collection::vec(any::<u8>(), 0..40),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let key = prop_oneof![
        4 => sample::select(&KEYS[..]).prop_map(str::to_owned),
        1 => "[-._a-zA-Z0-9]{1,10}",
    ];
    collection::btree_map(key, bytes(), 0..4)
}

/// The configs that exist, of those that [`pod_template`] names.
fn contents() -> impl Strategy<Value = Contents> {
    let one = option::weighted(0.8, content());
    collection::vec(one, 8).prop_map(|contents| {
        let ids = ["ConfigMap", "Secret"]
            .into_iter()
            .flat_map(|kind| NAMES[..4].iter().map(move |&name| (kind, name)));
        ids.zip(contents)
            .filter_map(|(id, content)| Some((id, content?)))
            .collect()
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let ignored = sample::select(vec![
        vec![],
        vec!["flags".to_owned()],
        vec!["*b".to_owned()],
    ]);
    let enforced = (
        any::<[bool; 4]>(),
        ignored.clone(),
        ignored,
        sample::select(vec![Missing::Ignore, Missing::Warn]),
    );
    enforced.prop_map(
        |([version, change_cause, image_pull_secrets, keyed], config_maps, secrets, missing)| {
            let mut settings = Settings::default();
            settings.config_hash = settings::ConfigHash {
                strategy: match version {
                    true => settings::Strategy::Version,
                    false => settings::Strategy::Hash,
                },
                missing,
                change_cause,
                image_pull_secrets,
                ignore: settings::Ignore {
                    config_maps,
                    secrets,
                },
                key: keyed.then(|| settings::KeyRef {
                    namespace: "kubewarden".to_owned(),
                    name: "hash-key".to_owned(),
                    key: "key".to_owned(),
                }),
                ..settings.config_hash
            };
            settings
        },
    )
}

fn config(kind: &str, name: &str, content: &Content) -> Value {
    let data: Map<_, _> = content
        .iter()
        .map(|(key, bytes)| (key.clone(), BASE64_STANDARD.encode(bytes).into()))
        .collect();
    let field = if kind == "Secret" {
        "data"
    } else {
        "binaryData"
    };
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"namespace": "shop", "name": name}, field: data})
}

fn cluster(contents: &Contents) -> Objects {
    let key = json!({
        "apiVersion": "v1", "kind": "Secret", "data": {"key": "dGhpcyBpcyBubyBzZWNyZXQ="},
        "metadata": {"namespace": "kubewarden", "name": "hash-key"},
    });
    let configs = contents
        .iter()
        .map(|((kind, name), content)| config(kind, name, content));
    Objects::new(configs.chain([key]))
}

fn workload(template: &Value) -> Value {
    let mut object = web();
    object["spec"]["template"] = template.clone();
    object
}

#[track_caller]
fn admitted(request: &Request, settings: &Settings, cluster: &Objects) -> Value {
    let verdict = judge(request, settings, cluster);
    assert_eq!(verdict, judge(request, settings, cluster), "the same again");
    match verdict.outcome {
        Outcome::Accept => request.object.clone(),
        Outcome::Mutate(object) => {
            assert_ne!(object, request.object, "mutated");
            object
        }
        Outcome::Reject { message, .. } => panic!("{message}"),
    }
}

fn created(template: &Value, settings: &Settings, cluster: &Objects) -> Value {
    let request = request(Operation::Create, workload(template), Value::Null);
    admitted(&request, settings, cluster)
}

fn updated(object: Value, old: &Value, settings: &Settings, cluster: &Objects) -> Value {
    let request = request(Operation::Update, object, old.clone());
    admitted(&request, settings, cluster)
}

/// The digest that the workload gets for a config of which it uses everything.
fn digest_of(kind: ConfigKind, object: Value) -> String {
    let id = ConfigId {
        kind,
        name: "app".to_owned(),
    };
    let whole = Use {
        whole: true,
        ..Use::default()
    };
    let cluster = Objects::new([object]);
    let configs = Configs {
        cluster: &cluster,
        namespace: "shop",
        key: None,
    };
    let used = [(id.clone(), whole)].into();
    let observed = configs.read(&used, &[], &Memory::of(None)).unwrap();
    match &observed.configs[&id].now {
        Now::Digest(digest) => digest.clone(),
        now => panic!("{now:?}"),
    }
}

/// One difference between two contents.
#[derive(Debug, Clone)]
enum Difference {
    Byte(sample::Index, u8),
    Longer(sample::Index, u8),
    Shorter(sample::Index),
    OtherKey(sample::Index),
    KeyGone(sample::Index),
    KeyMore,
    /// The last byte of a key goes to the front of its value.
    Shifted(sample::Index),
}

impl Difference {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<sample::Index>;
        prop_oneof![
            (place(), 1..=255_u8).prop_map(|(place, by)| Self::Byte(place, by)),
            (place(), any::<u8>()).prop_map(|(place, byte)| Self::Longer(place, byte)),
            place().prop_map(Self::Shorter),
            place().prop_map(Self::OtherKey),
            place().prop_map(Self::KeyGone),
            Just(Self::KeyMore),
            place().prop_map(Self::Shifted),
        ]
    }

    /// `None`: it does not apply to this content.
    fn applied(&self, content: &Content) -> Option<Content> {
        let mut content = content.clone();
        let keys: Vec<_> = content.keys().cloned().collect();
        let at = |place: &sample::Index| (!keys.is_empty()).then(|| place.get(&keys).clone());
        match self {
            Self::Byte(place, by) => {
                let bytes = content.get_mut(&at(place)?)?;
                let last = bytes.last_mut()?;
                *last ^= by;
            }
            Self::Longer(place, byte) => content.get_mut(&at(place)?)?.push(*byte),
            Self::Shorter(place) => _ = content.get_mut(&at(place)?)?.pop()?,
            Self::OtherKey(place) => {
                let bytes = content.remove(&at(place)?)?;
                content.insert("another".to_owned(), bytes);
            }
            Self::KeyGone(place) => _ = content.remove(&at(place)?)?,
            Self::KeyMore => _ = content.insert("another".to_owned(), Vec::new()),
            Self::Shifted(place) => {
                let mut key = at(place)?;
                let mut bytes = content.remove(&key)?;
                let last = key.pop().filter(|_| !key.is_empty())?;
                bytes.insert(0, u8::try_from(last).ok()?);
                content.insert(key, bytes);
            }
        }
        Some(content)
    }
}

/// Values for places that expect another type.
fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let field = sample::select(vec!["name", "key", "annotations", "spec", "data", "x"]);
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            collection::btree_map(field.prop_map(str::to_owned), inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                pointers(entry, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, &format!("{path}/{}", escaped(key)), found);
            }
        }
        _ => {}
    }
}

fn with_odd_value(mut object: Value, place: &sample::Index, odd: &Value) -> Value {
    let mut places = Vec::new();
    pointers(&object, "", &mut places);
    let place: &String = place.get(&places);
    *object.pointer_mut(place).unwrap() = odd.clone();
    object
}

proptest! {
    #[test]
    fn a_digest_ignores_encoding_and_order(
        content in content(),
        places in collection::vec(any::<(u8, bool)>(), 8),
    ) {
        let secret = digest_of(ConfigKind::Secret, config("Secret", "app", &content));
        // Text may be in data or binaryData; keys may be in any order.
        let mut pairs: Vec<_> = content.iter().zip(places).collect();
        pairs.sort_by_key(|(_, (order, _))| *order);
        let mut object = config("ConfigMap", "app", &Content::new());
        for ((key, bytes), (_, as_text)) in pairs {
            match std::str::from_utf8(bytes) {
                Ok(text) if as_text => object["data"][key] = json!(text),
                _ => object["binaryData"][key] = json!(BASE64_STANDARD.encode(bytes)),
            }
        }
        prop_assert_eq!(digest_of(ConfigKind::ConfigMap, object), secret);
    }

    #[test]
    fn a_digest_differs_when_anything_differs(content in content(), difference in Difference::any()) {
        let other = difference.applied(&content);
        prop_assume!(other.is_some());
        let other = other.unwrap();
        prop_assume!(other != content);
        let digest = |content| digest_of(ConfigKind::ConfigMap, config("ConfigMap", "app", content));
        prop_assert_ne!(digest(&content), digest(&other));
    }

    #[test]
    fn nothing_changed_leaves_the_template_as_it_is(
        template in pod_template(),
        contents in contents(),
        (settings, old_settings) in (settings(), settings()),
        replicas: u8,
        [never_seen, replaces, forges]: [bool; 3],
        label in option::of("[a-z]{1,3}"),
    ) {
        let cluster = cluster(&contents);
        let stored = match never_seen {
            true => workload(&template),
            false => created(&template, &old_settings, &cluster),
        };
        let mut object = match replaces {
            true => workload(&template),
            false => stored.clone(),
        };
        object["spec"]["replicas"] = replicas.into();
        if let Some(label) = label {
            object["metadata"]["labels"] = json!({"x": label});
        }
        if forges {
            forge(&mut object);
        }
        let after = updated(object, &stored, &settings, &cluster);
        prop_assert_eq!(template_of(&after), template_of(&stored));
        let again = updated(after.clone(), &after, &settings, &cluster);
        prop_assert_eq!(again, after, "the same again mutates nothing");
    }

    #[test]
    fn a_used_key_that_changes_changes_the_template(
        template in pod_template(),
        contents in contents(),
        settings in settings(),
        (place, difference) in (any::<sample::Index>(), Difference::any()),
    ) {
        let before = cluster(&contents);
        let stored = created(&template, &settings, &before);
        let used = references(&workload(&template), &settings.config_hash).unwrap();
        let ids: Vec<_> = contents.keys().copied().collect();
        prop_assume!(!ids.is_empty());
        let changed = *place.get(&ids);
        let other = difference.applied(&contents[&changed]);
        prop_assume!(other.is_some());
        let other = other.unwrap();

        let r#use = used.iter().find(|(id, _)| (id.kind.to_string().as_str(), id.name.as_str()) == changed);
        // Missing keys are another matter.
        let can_start = |content: &Content| {
            r#use.is_none_or(|(_, r#use)| r#use.required_keys.iter().all(|key| content.contains_key(key)))
        };
        prop_assume!(can_start(&contents[&changed]) && can_start(&other));
        let is_change = r#use.is_some_and(|(_, r#use)| select(r#use, &contents[&changed]) != select(r#use, &other));

        let mut contents = contents;
        contents.insert(changed, other);
        let after = updated(stored.clone(), &stored, &settings, &cluster(&contents));
        prop_assert_eq!(template_of(&after) != template_of(&stored), is_change);
        let again = updated(after.clone(), &after, &settings, &cluster(&contents));
        prop_assert_eq!(again, after, "the same again mutates nothing");
    }

    /// Values of the wrong type, at any place, still get an answer.
    #[test]
    fn odd_objects_are_answered(
        template in pod_template(),
        contents in contents(),
        settings in settings(),
        verifies: bool,
        odd in odd_value(),
        places in any::<[sample::Index; 3]>(),
        [in_object, in_old, in_config]: [bool; 3],
    ) {
        let mut settings = settings;
        let mut cluster = cluster(&contents);
        let stored = created(&template, &settings, &cluster);
        let change = |value: &Value, place: &sample::Index, wanted: bool| match wanted {
            true => with_odd_value(value.clone(), place, &odd),
            false => value.clone(),
        };
        let object = change(&stored, &places[0], in_object);
        let old = change(&stored, &places[1], in_old);
        if in_config {
            let config = places[2].get(&cluster.objects).clone();
            cluster.objects.retain(|object| *object != config);
            // It keeps its place in the cluster.
            let mut changed = with_odd_value(config.clone(), &places[0], &odd);
            if changed.is_object() {
                for field in ["apiVersion", "kind", "metadata"] {
                    changed[field] = config[field].clone();
                }
            }
            cluster.objects.push(changed);
        }
        if verifies {
            settings.mode = Mode::Verify;
        }
        for operation in [Operation::Create, Operation::Update] {
            let request = request(operation, object.clone(), old.clone());
            let verdict = judge(&request, &settings, &cluster);
            prop_assert_eq!(&verdict, &judge(&request, &settings, &cluster));
            if let Outcome::Mutate(mutated) = verdict.outcome {
                prop_assert!(!verifies);
                let again = admitted(&super::request(Operation::Update, mutated.clone(), mutated.clone()), &settings, &cluster);
                prop_assert_eq!(again, mutated, "the same again mutates nothing");
            }
        }
    }
}
