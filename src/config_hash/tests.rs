//! Whole judgements: requests for one workload, one after the other, and the answer to each.

mod choosing;
mod histories;
mod lookups;
mod missing;
mod properties;
mod reloaders;
mod stamping;
mod verifying;

use std::collections::BTreeMap;

use config_digest::{Digester, record};
use serde_json::{Map, json};

use super::*;
use crate::{
    annotations::{
        CHANGE_CAUSE, CONFIG_HASH, CONFIG_VERSION, CONFIGS, ENABLED, EXTRA_CONFIGMAPS, OBJECT,
        TEMPLATE,
    },
    cluster::fake::Objects,
    config_hash::memory::Recorded,
    request,
};

/// A namespace over time: its configs, the settings of the policy, and one workload as it is stored.
struct Shop {
    settings: Settings,
    cluster: Objects,
    stored: Value,
    /// Every content that a config has had, and every key that digests were made with.
    contents: Vec<Vec<(String, String)>>,
    keys: Vec<(String, Digester)>,
    /// The configs that each stamp stands for.
    stamps: BTreeMap<String, String>,
}

impl Shop {
    /// The ConfigMap `app` with `mode=dark`, and no workload yet.
    fn empty() -> Self {
        let mut shop = Self {
            settings: Settings::default(),
            cluster: Objects::default(),
            stored: Value::Null,
            contents: vec![Vec::new()],
            keys: vec![(String::new(), Digester::default())],
            stamps: BTreeMap::new(),
        };
        shop.put("ConfigMap/app", "mode=dark");
        shop
    }

    /// The same, with the Deployment [`web`] created.
    fn new() -> Self {
        Self::with(json!({}))
    }

    /// The same, under other settings.
    fn with(settings: Value) -> Self {
        let mut shop = Self::empty();
        shop.set(settings);
        shop.add(web());
        shop
    }

    #[track_caller]
    fn set(&mut self, settings: Value) {
        self.settings = Settings::parse(&settings).unwrap();
    }

    /// Creates a workload. Only that it is accepted matters here.
    #[track_caller]
    fn add(&mut self, object: Value) {
        self.stored = Value::Null;
        let answer = self.answer(Operation::Create, object);
        assert!(!answer[0].starts_with("rejected"), "{answer:?}");
    }

    /// Writes a config: `put("Secret/db", "user=root, password=x")`.
    fn put(&mut self, id: &str, content: &str) {
        let pairs: Vec<(String, String)> = content
            .split(", ")
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let (kind, name) = id.split_once('/').unwrap();
        let data: Map<_, _> = pairs
            .iter()
            .map(|(key, value)| {
                use base64::{Engine, prelude::BASE64_STANDARD};
                let value = match kind {
                    "Secret" => BASE64_STANDARD.encode(value),
                    _ => value.clone(),
                };
                (key.clone(), value.into())
            })
            .collect();
        self.contents.push(pairs);
        self.remove(id);
        self.cluster.objects.push(json!({
            "apiVersion": "v1", "kind": kind, "data": data,
            "metadata": {
                "namespace": "shop", "name": name, "creationTimestamp": "2026-01-01T10:00:00Z",
                "managedFields": [{"time": "2026-01-01T10:00:00Z", "fieldsV1": {"f:data": {}}}],
            },
        }));
    }

    /// Its content may have changed since it was created.
    fn rewrite(&mut self, id: &str) {
        let mut objects = self.cluster.objects.iter_mut();
        let object = objects.find(|object| id_of(object) == id).unwrap();
        object["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:01Z");
    }

    fn remove(&mut self, id: &str) {
        self.cluster.objects.retain(|object| id_of(object) != id);
    }

    fn annotate_config(&mut self, id: &str, key: &str, value: &str) {
        let mut objects = self.cluster.objects.iter_mut();
        let object = objects.find(|object| id_of(object) == id).unwrap();
        annotations::set(object, OBJECT, key, Some(value.to_owned())).unwrap();
    }

    /// Hashes with this key from now on.
    fn rotate_key(&mut self, key: &str) {
        let bytes = format!("{key:*<16}");
        self.put("Secret/hash-key", &format!("key={bytes}"));
        self.settings.config_hash.key = Some(settings::KeyRef {
            namespace: "shop".to_owned(),
            name: "hash-key".to_owned(),
            key: "key".to_owned(),
        });
        let digester = Digester::with_key(bytes.as_bytes(), "shop").unwrap();
        self.keys.push((format!("{key}: "), digester));
    }

    #[track_caller]
    fn create(&mut self, object: Value, expected: &[&str]) {
        assert_eq!(self.answer(Operation::Create, object), expected);
    }

    /// Updates the stored workload by an edit.
    #[track_caller]
    fn update(&mut self, edit: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut object = self.stored.clone();
        edit(&mut object);
        assert_eq!(self.answer(Operation::Update, object), expected);
    }

    /// An update that changes nothing.
    #[track_caller]
    fn touch(&mut self, expected: &[&str]) {
        self.update(|_| (), expected);
    }

    /// An update that the policy does not see.
    fn update_unseen(&mut self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.stored);
    }

    /// Judges a request, stores the admitted object, and returns the answer in words.
    fn answer(&mut self, operation: Operation, object: Value) -> Vec<String> {
        let request = request(operation, object, self.stored.clone());
        let Verdict {
            outcome,
            warnings,
            audit,
        } = crate::judge(&request, &self.settings, &self.cluster);
        let told = warnings
            .into_iter()
            .map(|warning| format!("warning: {}", without_prefix(&warning)))
            .chain(
                audit
                    .into_iter()
                    .map(|(key, value)| format!("audit {key}: {value}")),
            );
        let (word, admitted) = match outcome {
            Outcome::Accept => ("accepted", request.object),
            Outcome::Mutate(object) => ("mutated", object),
            Outcome::Reject { code, message } => {
                let message = format!("rejected {code}: {}", without_prefix(&message));
                return [message].into_iter().chain(told).collect();
            }
        };
        let template = match template_of(&admitted) {
            _ if operation == Operation::Create => "template new",
            template if template == template_of(&self.stored) => "template the same",
            _ => "template changed",
        };
        self.stored = admitted;
        [format!("{word}, {template}")]
            .into_iter()
            .chain(self.annotations())
            .chain(told)
            .collect()
    }

    /// The annotations of the stored workload, in words.
    fn annotations(&mut self) -> Vec<String> {
        let configs = Recorded::on(&self.stored).map(|recorded| {
            let words = self.words(&recorded);
            let stamp = config_digest::stamp(&recorded.0);
            let again = config_digest::stamp_after(&stamp, &recorded.0);
            self.stamps.insert(again, format!("again {words}"));
            self.stamps.insert(stamp, words.clone());
            words
        });
        let annotation = |place, key| annotations::get(&self.stored, place, key);
        let hash = annotation(TEMPLATE, CONFIG_HASH)
            .map(|hash| self.stamps.get(hash).cloned().unwrap_or(hash.to_owned()));
        let version = annotation(TEMPLATE, CONFIG_VERSION);
        let cause = annotation(OBJECT, CHANGE_CAUSE);
        [
            hash.map(|hash| format!("stamp: {hash}")),
            version.map(|version| format!("version: {version}")),
            configs.map(|configs| format!("configs: {configs}")),
            cause.map(|cause| format!("cause: {cause}")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// `ConfigMap/app mode=dark, ConfigMap/flags absent, Secret/db x=1 or x=2`
    fn words(&self, recorded: &Recorded) -> String {
        let words: Vec<_> = recorded
            .0
            .iter()
            .map(|(id, entry)| match record::split(entry) {
                None => format!("{id} {}", self.content(entry)),
                Some((running, _, "")) => format!("{id} {} or ?", self.content(running)),
                Some((running, _, next)) => {
                    format!("{id} {} or {}", self.content(running), self.content(next))
                }
            })
            .collect();
        words.join(", ")
    }

    /// What a digest stands for: `mode=dark`, or with a key `key: mode=dark`.
    fn content(&self, digest: &str) -> String {
        let digest = digest.split('/').next().unwrap();
        for (key, digester) in &self.keys {
            for pairs in self.contents.iter().flat_map(|pairs| subsets(pairs)) {
                let used = pairs
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_bytes()));
                if digester.digest(&used.collect()) == digest {
                    let words: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    return format!("{key}{}", words.join("+"));
                }
            }
        }
        digest.to_owned()
    }
}

fn subsets<'a>(
    pairs: &'a [(String, String)],
) -> impl Iterator<Item = Vec<&'a (String, String)>> + use<'a> {
    (0..1_u32 << pairs.len()).map(move |chosen| {
        let is_chosen = |n: &usize| chosen & (1 << n) != 0;
        (0..pairs.len())
            .filter(is_chosen)
            .map(|n| &pairs[n])
            .collect()
    })
}

fn id_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    text(&object["kind"]) + "/" + &text(&object["metadata"]["name"])
}

fn without_prefix(text: &str) -> &str {
    text.strip_prefix("rollout-guard: ").unwrap()
}

fn template_of(object: &Value) -> &Value {
    &object["spec"]["template"]
}

fn request(operation: Operation, object: Value, old_object: Value) -> Request {
    Request {
        kind: request::Kind {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
        },
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        operation,
        object,
        old_object,
        ..Request::default()
    }
}

/// A Deployment that uses all of ConfigMap `app`.
fn web() -> Value {
    web_with(json!({"envFrom": [{"configMapRef": {"name": "app"}}]}))
}

/// A Deployment whose container has these fields.
fn web_with(container: Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container]},
            },
        },
    });
    image("web:1")(&mut object);
    object
}

/// A container that uses one key.
fn env(kind: &str, name: &str, key: &str) -> Value {
    json!({"env": [{"name": "X", "valueFrom": {kind: {"name": name, "key": key}}}]})
}

fn image(image: &str) -> impl FnOnce(&mut Value) {
    move |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image)
}

fn annotate(key: &str, value: &str) -> impl FnOnce(&mut Value) {
    move |object| annotations::set(object, OBJECT, key, Some(value.to_owned())).unwrap()
}

fn remove_annotation(key: &str) -> impl FnOnce(&mut Value) {
    move |object| annotations::set(object, OBJECT, key, None).unwrap()
}

/// Sends a manifest without our annotations, as a PUT does.
fn replace_with(manifest: Value) -> impl FnOnce(&mut Value) {
    move |object| *object = manifest
}

const FORGED: &str = "sha256:0000";

/// Sends forged annotations of ours.
fn forge(object: &mut Value) {
    for (place, key, value) in [
        (TEMPLATE, CONFIG_HASH, FORGED),
        (TEMPLATE, CONFIG_VERSION, "999"),
        (OBJECT, CONFIGS, r#"{"ConfigMap/app":"0000"}"#),
    ] {
        annotations::set(object, place, key, Some(value.to_owned())).unwrap();
    }
}
