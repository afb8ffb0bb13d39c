//! Random histories of a namespace, judged request by request and compared with a small model.
//!
//! The model knows contents and rules, but no hashes, annotations or JSON. It predicts for each update
//! whether the template changes, which configs are the cause, and which are recorded.
//!
//! `ROLLOUT_GUARD_HISTORIES` sets the number of histories.

use std::collections::BTreeSet;

use proptest::{collection, option, prelude::*, sample};

use super::*;
use crate::annotations::{EXTRA_SECRETS, IGNORE};

fn histories() -> u32 {
    let wanted = std::env::var("ROLLOUT_GUARD_HISTORIES").ok();
    wanted.map_or(200, |number| number.parse().expect("a number of histories"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]
    #[test]
    fn templates_change_by_the_rules(
        (workload, policy_is_on) in (workload(), any::<bool>()),
        steps in collection::vec(step(), 1..30),
    ) {
        let mut world = World::new(workload, policy_is_on);
        for step in steps {
            world.take(step);
        }
    }
}

// The history.

/// The configs, in the order of messages, by their index.
const CONFIGS_BY_INDEX: [(&str, &str); 3] = [
    ("ConfigMap", "app"),
    ("ConfigMap", "flags"),
    ("Secret", "hub"),
];
/// The one that is a pull Secret too.
const HUB: usize = 2;
const KEYS: [&str; 3] = ["a", "b", ".dockerconfigjson"];

type Content = BTreeMap<&'static str, u8>;

#[derive(Debug, Clone, PartialEq)]
struct Template {
    image: u8,
    places: Vec<Place>,
    pulls_with_hub: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Place {
    config: usize,
    /// `None`: all keys.
    key: Option<&'static str>,
    optional: bool,
}

#[derive(Debug, Clone)]
struct Workload {
    template: Template,
    extra: BTreeSet<usize>,
    frozen: bool,
}

/// What a client does with the annotations that it did not write.
#[derive(Debug, Clone, Copy)]
enum Client {
    Patches,
    Replaces,
    Forges,
}

#[derive(Debug, Clone)]
enum Step {
    WriteConfig(usize, Option<Content>),
    AnnotateIgnore(usize, bool),
    SetIgnored(BTreeSet<usize>),
    SetKey(Option<u8>),
    SetOthers {
        version: bool,
        pull_secrets: bool,
        change_cause: bool,
    },
    SwitchPolicy(bool),
    BreakLookUps(bool),
    Create(Workload, Client),
    Update {
        template: Option<Template>,
        extra: Option<BTreeSet<usize>>,
        frozen: Option<bool>,
        client: Client,
    },
    Undo(sample::Index),
}

fn template() -> impl Strategy<Value = Template> {
    let place = (
        0..3_usize,
        option::of(sample::select(&KEYS[..])),
        any::<bool>(),
    )
        .prop_map(|(config, key, optional)| Place {
            config,
            key,
            optional,
        });
    (0..3_u8, collection::vec(place, 0..5), any::<bool>()).prop_map(
        |(image, places, pulls_with_hub)| Template {
            image,
            places,
            pulls_with_hub,
        },
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    let frozen = prop::bool::weighted(0.1);
    (template(), configs(), frozen).prop_map(|(template, extra, frozen)| Workload {
        template,
        extra,
        frozen,
    })
}

fn configs() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![
        2 => Just(BTreeSet::new()),
        1 => collection::btree_set(0..3_usize, 0..3),
    ]
}

fn client() -> impl Strategy<Value = Client> {
    sample::select(&[Client::Patches, Client::Replaces, Client::Forges][..])
}

fn step() -> impl Strategy<Value = Step> {
    let some_keys = collection::btree_map(sample::select(&KEYS[..]), 0..2_u8, 0..4);
    let all_keys = (0..2_u8).prop_map(|value| KEYS.map(|key| (key, value)).into());
    let content = prop_oneof![some_keys, all_keys];
    let update = (
        option::weighted(0.1, template()),
        option::weighted(0.2, configs()),
        option::weighted(0.2, any::<bool>()),
        client(),
    );
    prop_oneof![
        16 => (0..3_usize, option::weighted(0.8, content)).prop_map(|(config, content)| Step::WriteConfig(config, content)),
        2 => (0..3_usize, any::<bool>()).prop_map(|(config, ignored)| Step::AnnotateIgnore(config, ignored)),
        3 => configs().prop_map(Step::SetIgnored),
        1 => option::of(0..2_u8).prop_map(Step::SetKey),
        2 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(version, pull_secrets, change_cause)| {
            Step::SetOthers { version, pull_secrets, change_cause }
        }),
        1 => prop::bool::weighted(0.8).prop_map(Step::SwitchPolicy),
        1 => prop::bool::weighted(0.3).prop_map(Step::BreakLookUps),
        1 => (workload(), client()).prop_map(|(workload, client)| Step::Create(workload, client)),
        20 => update.prop_map(|(template, extra, frozen, client)| Step::Update { template, extra, frozen, client }),
        2 => any::<sample::Index>().prop_map(Step::Undo),
    ]
}

// The model.

/// How a config is used, in all places together.
#[derive(Default)]
struct Used {
    whole: bool,
    keys: BTreeSet<&'static str>,
    required: bool,
    required_keys: BTreeSet<&'static str>,
}

/// The part of a config that reaches the pods.
#[derive(Debug, Clone, PartialEq)]
enum Reach {
    Absent,
    /// With the number of the hash key.
    Bytes(Content, Option<u8>),
}

impl Reach {
    /// Contents under different hash keys cannot be compared.
    fn is_comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(_, a), Self::Bytes(_, b)) => a == b,
            _ => true,
        }
    }
}

type Recorded = BTreeMap<usize, Reach>;

#[derive(Default)]
struct Rules {
    configs: [Option<Content>; 3],
    ignore_themselves: [bool; 3],
    ignored: BTreeSet<usize>,
    key: Option<u8>,
    pull_secrets: bool,
}

impl Rules {
    fn uses(&self, workload: &Workload, pull_secrets: bool) -> BTreeMap<usize, Used> {
        let mut uses: BTreeMap<usize, Used> = BTreeMap::new();
        for place in &workload.template.places {
            let used = uses.entry(place.config).or_default();
            used.required |= !place.optional;
            used.whole |= place.key.is_none();
            used.keys.extend(place.key);
            if !place.optional {
                used.required_keys.extend(place.key);
            }
        }
        for config in &workload.extra {
            let used = uses.entry(*config).or_default();
            (used.required, used.whole) = (true, true);
        }
        if pull_secrets && workload.template.pulls_with_hub {
            let used = uses.entry(HUB).or_default();
            used.keys.insert(".dockerconfigjson");
        }
        uses.retain(|config, _| !self.ignored.contains(config));
        uses
    }

    /// `None`: the pods cannot start.
    fn reach(&self, config: usize, used: &Used) -> Option<Reach> {
        match &self.configs[config] {
            None => (!used.required).then_some(Reach::Absent),
            Some(content) => {
                let all_there = used
                    .required_keys
                    .iter()
                    .all(|key| content.contains_key(key));
                let mut content = content.clone();
                content.retain(|key, _| used.whole || used.keys.contains(key));
                all_there.then_some(Reach::Bytes(content, self.key))
            }
        }
    }

    fn counts(&self, config: usize) -> bool {
        self.configs[config].is_none() || !self.ignore_themselves[config]
    }

    /// The configs that differ from what is recorded, both by the keys that the old workload uses and by
    /// those that the new one uses.
    fn changed(&self, recorded: &Recorded, old: &Workload, new: &Workload) -> Vec<usize> {
        let used = self.uses(new, self.pull_secrets);
        let measures = [(old, false), (old, true), (new, false), (new, true)];
        let uses_when_recorded = measures.map(|(workload, pulls)| self.uses(workload, pulls));
        let mut changed = Vec::new();
        for (&config, used) in used.iter().filter(|&(&config, _)| self.counts(config)) {
            let Some(recorded) = recorded.get(&config) else {
                continue;
            };
            let reaches = || {
                let uses = uses_when_recorded
                    .iter()
                    .map(|uses| uses.get(&config).unwrap_or(used));
                uses.filter_map(|used| self.reach(config, used))
            };
            if self.reach(config, used).is_some()
                && reaches().all(|reach| reach != *recorded)
                && reaches().any(|reach| reach.is_comparable(recorded))
            {
                changed.push(config);
            }
        }
        changed
    }

    fn to_record(&self, last: &Recorded, workload: &Workload) -> Recorded {
        let used = self.uses(workload, self.pull_secrets);
        let counted = used.iter().filter(|&(&config, _)| self.counts(config));
        counted
            .filter_map(|(&config, used)| {
                let reach = self
                    .reach(config, used)
                    .or_else(|| last.get(&config).cloned())?;
                Some((config, reach))
            })
            .collect()
    }
}

// Both together.

struct World {
    rules: Rules,
    settings: Settings,
    policy_is_on: bool,
    /// The API server does not answer look-ups, and `lookupFailure` is `warn`.
    blind: bool,
    workload: Workload,
    recorded: Recorded,
    stored: Value,
    /// Every template that was stored, stamps and all.
    revisions: Vec<(Template, Value)>,
}

impl World {
    fn new(workload: Workload, policy_is_on: bool) -> Self {
        let mut settings = Settings {
            lookup_failure: LookupFailure::Warn,
            ..Settings::default()
        };
        settings.config_hash.missing = Missing::Ignore;
        let content = Content::from([("a", 0), ("b", 0), (".dockerconfigjson", 0)]);
        let mut world = Self {
            rules: Rules {
                configs: [Some(content.clone()), None, Some(content)],
                ..Rules::default()
            },
            settings,
            policy_is_on,
            blind: false,
            workload: workload.clone(),
            recorded: Recorded::new(),
            stored: Value::Null,
            revisions: Vec::new(),
        };
        world.take(Step::Create(workload, Client::Replaces));
        world
    }

    fn take(&mut self, step: Step) {
        let settings = &mut self.settings.config_hash;
        match step {
            Step::WriteConfig(config, content) => self.rules.configs[config] = content,
            Step::AnnotateIgnore(config, ignored) => {
                self.rules.ignore_themselves[config] = ignored;
            }
            Step::SetIgnored(ignored) => {
                let of_kind = |wanted| {
                    let names = ignored.iter().map(|&config| CONFIGS_BY_INDEX[config]);
                    names
                        .filter(|(kind, _)| *kind == wanted)
                        .map(|(_, name)| name.to_owned())
                        .collect()
                };
                settings.ignore.config_maps = of_kind("ConfigMap");
                settings.ignore.secrets = of_kind("Secret");
                self.rules.ignored = ignored;
            }
            Step::SetKey(key) => {
                settings.key = key.map(|number| settings::KeyRef {
                    namespace: "kubewarden".to_owned(),
                    name: format!("key-{number}"),
                    key: "key".to_owned(),
                });
                self.rules.key = key;
            }
            Step::SetOthers {
                version,
                pull_secrets,
                change_cause,
            } => {
                settings.strategy = match version {
                    true => settings::Strategy::Version,
                    false => settings::Strategy::Hash,
                };
                settings.image_pull_secrets = pull_secrets;
                settings.change_cause = change_cause;
                self.rules.pull_secrets = pull_secrets;
            }
            Step::SwitchPolicy(on) => self.policy_is_on = on,
            Step::BreakLookUps(blind) => self.blind = blind,
            Step::Create(workload, client) => self.create(workload, client),
            Step::Update {
                template,
                extra,
                frozen,
                client,
            } => {
                let workload = Workload {
                    template: template.unwrap_or(self.workload.template.clone()),
                    extra: extra.unwrap_or(self.workload.extra.clone()),
                    frozen: frozen.unwrap_or(self.workload.frozen),
                };
                let object = sent(&workload, client, &self.stored);
                self.update(workload, object, client);
            }
            Step::Undo(revision) => {
                let (template, json) = revision.get(&self.revisions).clone();
                let workload = Workload {
                    template,
                    ..self.workload.clone()
                };
                let mut object = self.stored.clone();
                object["spec"]["template"] = json;
                self.update(workload, object, Client::Patches);
            }
        }
    }

    fn create(&mut self, workload: Workload, client: Client) {
        let object = sent(&workload, client, &Value::Null);
        let is_blind = self.is_blind(&workload);
        let mut admitted = object.clone();
        self.recorded = Recorded::new();
        if self.policy_is_on {
            let (answer, warnings) = self.judge(Operation::Create, object, Value::Null);
            admitted = answer;
            if !is_blind {
                self.recorded = self.rules.to_record(&Recorded::new(), &workload);
                assert_eq!(warnings, Vec::<String>::new(), "nothing to warn about");
            }
            let stamped = self.stamp_of(&admitted).is_some();
            assert_eq!(
                stamped,
                !self.recorded.is_empty(),
                "stamped if there is config"
            );
        } else {
            drop_stamps(&mut admitted);
        }
        self.store(workload, admitted);
    }

    fn update(&mut self, workload: Workload, object: Value, client: Client) {
        if !self.policy_is_on {
            let mut object = object;
            if !matches!(client, Client::Patches) {
                drop_stamps(&mut object);
                self.recorded = Recorded::new();
            }
            self.store(workload, object);
            return;
        }
        let changed = self
            .rules
            .changed(&self.recorded, &self.workload, &workload);
        let template_changed = workload.template != self.workload.template;
        let is_blind = self.is_blind(&workload);
        let is_held_back = !template_changed && !changed.is_empty() && workload.frozen;
        let rolls_out = !template_changed && !changed.is_empty() && !is_held_back && !is_blind;

        let old = self.stored.clone();
        let (admitted, warnings) = self.judge(Operation::Update, object, old.clone());
        let in_fact = template_of(&admitted) != template_of(&old);
        assert_eq!(
            in_fact,
            template_changed || rolls_out,
            "the template changes"
        );
        let causes = list(&changed);
        let expected = match (template_changed, changed.is_empty()) {
            _ if is_blind => "keeps its current config hash",
            (false, false) if workload.frozen => &format!("runs stale config: {causes}"),
            (false, false) => &format!("since its config changed: {causes}"),
            _ => "",
        };
        assert_eq!(
            warnings.len(),
            usize::from(!expected.is_empty()),
            "{warnings:?}"
        );
        assert!(
            warnings.concat().contains(expected),
            "{warnings:?} has {expected}"
        );
        if rolls_out && self.settings.config_hash.strategy == settings::Strategy::Version {
            assert!(version_of(&admitted) > version_of(&old), "versions grow");
        }
        if !is_blind && !is_held_back {
            self.recorded = self.rules.to_record(&self.recorded, &workload);
        }
        self.store(workload, admitted);
    }

    /// Stores the admitted object, and checks it from all sides.
    fn store(&mut self, workload: Workload, admitted: Value) {
        let mut bare = admitted.clone();
        drop_stamps(&mut bare);
        assert_eq!(
            template_of(&bare),
            &written(&workload.template),
            "nothing but our stamps"
        );
        let recorded = stamp::recorded_on(&admitted).unwrap_or_default();
        let expected = self.recorded.iter().map(|(&config, reach)| {
            let (kind, name) = CONFIGS_BY_INDEX[config];
            (format!("{kind}/{name}"), *reach == Reach::Absent)
        });
        let in_fact = recorded
            .iter()
            .map(|(id, digest)| (id.clone(), digest == "absent"));
        assert_eq!(
            in_fact.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "recorded"
        );

        self.workload = workload;
        self.stored = admitted;
        let revision = (
            self.workload.template.clone(),
            template_of(&self.stored).clone(),
        );
        self.revisions.push(revision);
        if self.policy_is_on {
            let (again, _) =
                self.judge(Operation::Update, self.stored.clone(), self.stored.clone());
            assert_eq!(again, self.stored, "the same again changes nothing");
        }
        if !self.is_blind(&self.workload) {
            self.verify();
        }
    }

    /// Judges with `mode: verify`, as the audit scanner does.
    fn verify(&mut self) {
        let stale = self
            .rules
            .changed(&self.recorded, &self.workload, &self.workload);
        self.settings.mode = Mode::Verify;
        let verdict = self.verdict(Operation::Create, self.stored.clone(), Value::Null);
        self.settings.mode = Mode::Enforce;
        let message = match &verdict.outcome {
            Outcome::Accept => verdict.warnings.concat(),
            Outcome::Reject { message, .. } => message.clone(),
            Outcome::Mutate(_) => panic!("verify never mutates"),
        };
        let rejected = verdict.outcome != Outcome::Accept;
        assert_eq!(
            rejected,
            !stale.is_empty() && !self.workload.frozen,
            "{message}"
        );
        assert_eq!(message.is_empty(), stale.is_empty(), "{message}");
        assert!(message.contains(&list(&stale)), "{message} names {stale:?}");
    }

    /// Whether a look-up would be made, and fail.
    fn is_blind(&self, workload: &Workload) -> bool {
        let used = self.rules.uses(workload, self.rules.pull_secrets);
        self.blind && !used.is_empty()
    }

    fn judge(&self, operation: Operation, object: Value, old: Value) -> (Value, Vec<String>) {
        let verdict = self.verdict(operation, object.clone(), old);
        let admitted = match verdict.outcome {
            Outcome::Accept => object,
            Outcome::Mutate(mutated) => mutated,
            Outcome::Reject { message, .. } => panic!("{message}"),
        };
        (admitted, verdict.warnings)
    }

    fn verdict(&self, operation: Operation, object: Value, old: Value) -> Verdict {
        let request = request(operation, object, old);
        let verdict = judge(&request, &self.settings, &self.cluster());
        assert_eq!(
            verdict,
            judge(&request, &self.settings, &self.cluster()),
            "the same answer"
        );
        verdict
    }

    fn cluster(&self) -> Objects {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let all = || self.rules.configs.iter().zip(CONFIGS_BY_INDEX).enumerate();
        let configs = all().filter_map(|(config, (content, (kind, name)))| {
            let data: Map<_, _> = content
                .as_ref()?
                .iter()
                .map(|(&key, value)| {
                    let value = match kind {
                        "Secret" => BASE64_STANDARD.encode([*value]),
                        _ => char::from(*value).to_string(),
                    };
                    (key.to_owned(), value.into())
                })
                .collect();
            let ignored = self.rules.ignore_themselves[config].to_string();
            Some(json!({
                "apiVersion": "v1", "kind": kind, "data": data,
                "metadata": {"namespace": "shop", "name": name, "annotations": {IGNORE: ignored}},
            }))
        });
        let keys = (0..2_u8).map(|number| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "data": {"key": BASE64_STANDARD.encode([number])},
                "metadata": {"namespace": "kubewarden", "name": format!("key-{number}")},
            })
        });
        let failing = all().map(|(_, (_, (kind, name)))| format!("{kind} shop/{name}"));
        Objects {
            failing: failing.filter(|_| self.blind).collect(),
            ..Objects::new(configs.chain(keys))
        }
    }

    fn stamp_of<'o>(&self, object: &'o Value) -> Option<&'o str> {
        let key = match self.settings.config_hash.strategy {
            settings::Strategy::Hash => CONFIG_HASH,
            settings::Strategy::Version => CONFIG_VERSION,
        };
        annotations::get(object, TEMPLATE, key)
    }
}

fn version_of(object: &Value) -> u64 {
    let version = annotations::get(object, TEMPLATE, CONFIG_VERSION);
    version.map_or(0, |version| version.parse().expect("a number"))
}

fn list(configs: &[usize]) -> String {
    let names = configs.iter().map(|&config| {
        let (kind, name) = CONFIGS_BY_INDEX[config];
        format!("{kind} {name}")
    });
    names.collect::<Vec<_>>().join(", ")
}

fn drop_stamps(object: &mut Value) {
    for (place, key) in [
        (TEMPLATE, CONFIG_HASH),
        (TEMPLATE, CONFIG_VERSION),
        (OBJECT, CONFIGS),
    ] {
        annotations::set(object, place, key, None).expect("an object");
    }
}

/// What the client sends.
fn sent(workload: &Workload, client: Client, stored: &Value) -> Value {
    let mut object = match client {
        Client::Patches if !stored.is_null() => stored.clone(),
        _ => web(),
    };
    let template = &mut object["spec"]["template"];
    let stamps = template["metadata"]["annotations"].take();
    *template = written(&workload.template);
    if !stamps.is_null() {
        template["metadata"]["annotations"] = stamps;
    }
    let extra = |wanted| {
        let names = workload
            .extra
            .iter()
            .map(|&config| CONFIGS_BY_INDEX[config]);
        let of_kind = names.filter(|(kind, _)| *kind == wanted);
        of_kind.map(|(_, name)| name).collect::<Vec<_>>().join(",")
    };
    for (key, value) in [
        (EXTRA_CONFIGMAPS, extra("ConfigMap")),
        (EXTRA_SECRETS, extra("Secret")),
        (FREEZE, workload.frozen.to_string()),
    ] {
        annotate(key, &value)(&mut object);
    }
    if let Client::Forges = client {
        forge(&mut object);
    }
    object
}

/// The template as its author writes it.
fn written(template: &Template) -> Value {
    let (mut env, mut env_from) = (Vec::new(), Vec::new());
    for place in &template.places {
        let (kind, name) = CONFIGS_BY_INDEX[place.config];
        let kind = if kind == "Secret" {
            "secret"
        } else {
            "configMap"
        };
        match place.key {
            None => env_from
                .push(json!({format!("{kind}Ref"): {"name": name, "optional": place.optional}})),
            Some(key) => env.push(json!({"name": "X", "valueFrom": {
                format!("{kind}KeyRef"): {"name": name, "key": key, "optional": place.optional},
            }})),
        }
    }
    let mut spec = json!({
        "containers": [{"image": format!("web:{}", template.image), "env": env, "envFrom": env_from}],
    });
    if template.pulls_with_hub {
        spec["imagePullSecrets"] = json!([{"name": CONFIGS_BY_INDEX[HUB].1}]);
    }
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}
