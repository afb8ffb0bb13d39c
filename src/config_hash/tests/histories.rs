//! Random histories of a namespace, judged request by request and compared with its pods.
//!
//! The model knows pods: which template they run, and what was in each config when they started. It knows no
//! hashes, no annotations and none of the rules of stamps. After each request it asks whether the policy
//! restarted pods that ran the current config already, and whether it left pods with older config.
//!
//! Who else acts: clients that send the stored object, the plain manifest or forgeries; a webhook behind this
//! policy that pins images and adds defaults; operators that create, fill, rotate, relabel and delete configs
//! at any time; people who freeze, opt out, switch off, roll back and change settings.
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
    fn pods_run_the_current_config_and_never_restart_for_nothing(
        (workload, policy_is_on, pins) in (workload(), any::<bool>(), any::<bool>()),
        steps in collection::vec(step(), 1..40),
    ) {
        let mut world = World::new(workload, policy_is_on, pins);
        for step in steps {
            world.take(step);
        }
    }
}

// The history.

/// The configs, by their index.
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
    via: Via,
}

/// How it reaches the container.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Via {
    Environment,
    Volume,
    /// Of a volume with all keys, the container sees one.
    SubPath(&'static str),
    /// A volume that no container mounts.
    Nothing,
}

#[derive(Debug, Clone)]
struct Workload {
    template: Template,
    extra: BTreeSet<usize>,
    frozen: bool,
    opted_out: bool,
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
    /// Its manager changes something else of it.
    Relabel(usize),
    AnnotateIgnore(usize, &'static str),
    SetIgnored(BTreeSet<usize>),
    SetKey(Option<u8>),
    SetOthers {
        version: bool,
        pull_secrets: bool,
        change_cause: bool,
    },
    /// The webhook is there.
    SwitchPolicy(bool),
    /// `configHash.enabled`
    SwitchHash(bool),
    BreakLookUps(bool),
    Create(Workload, Client),
    Update {
        template: Option<Template>,
        extra: Option<BTreeSet<usize>>,
        frozen: Option<bool>,
        opted_out: Option<bool>,
        client: Client,
    },
    Undo(sample::Index),
}

fn template() -> impl Strategy<Value = Template> {
    let via = prop_oneof![
        4 => Just(Via::Environment),
        2 => Just(Via::Volume),
        1 => sample::select(&KEYS[..]).prop_map(Via::SubPath),
        1 => Just(Via::Nothing),
    ];
    let place = (
        0..3_usize,
        option::of(sample::select(&KEYS[..])),
        any::<bool>(),
        via,
    )
        .prop_map(|(config, key, optional, via)| Place {
            config,
            key,
            optional,
            via,
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
    let rarely = || prop::bool::weighted(0.1);
    (template(), configs(), rarely(), rarely()).prop_map(|(template, extra, frozen, opted_out)| {
        Workload {
            template,
            extra,
            frozen,
            opted_out,
        }
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
        option::weighted(0.1, configs()),
        option::weighted(0.2, any::<bool>()),
        option::weighted(0.1, any::<bool>()),
        client(),
    );
    prop_oneof![
        16 => (0..3_usize, option::weighted(0.8, content)).prop_map(|(config, content)| Step::WriteConfig(config, content)),
        1 => (0..3_usize).prop_map(Step::Relabel),
        2 => (0..3_usize, sample::select(&["true", "false", "True"][..]))
            .prop_map(|(config, ignored)| Step::AnnotateIgnore(config, ignored)),
        2 => configs().prop_map(Step::SetIgnored),
        1 => option::of(0..2_u8).prop_map(Step::SetKey),
        2 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(version, pull_secrets, change_cause)| {
            Step::SetOthers { version, pull_secrets, change_cause }
        }),
        1 => prop::bool::weighted(0.8).prop_map(Step::SwitchPolicy),
        1 => prop::bool::weighted(0.8).prop_map(Step::SwitchHash),
        1 => prop::bool::weighted(0.3).prop_map(Step::BreakLookUps),
        1 => (workload(), client()).prop_map(|(workload, client)| Step::Create(workload, client)),
        20 => update.prop_map(|(template, extra, frozen, opted_out, client)| {
            Step::Update { template, extra, frozen, opted_out, client }
        }),
        2 => any::<sample::Index>().prop_map(Step::Undo),
    ]
}

// The cluster.

#[derive(Debug, Clone, Default)]
struct Config {
    /// `None`: it does not exist.
    content: Option<Content>,
    /// Steps since the beginning, as seconds.
    created: u32,
    /// When its manager changed anything of it.
    changed: u32,
    /// When its content changed, or it came or went.
    rewritten: u32,
    ignore: &'static str,
}

/// How a config is used, in all places together.
#[derive(Debug, Clone, Default, PartialEq)]
struct Used {
    whole: bool,
    keys: BTreeSet<&'static str>,
    required: bool,
    required_keys: BTreeSet<&'static str>,
}

impl Used {
    /// What the pods see of it.
    fn sees(&self, content: Option<&Content>) -> Content {
        let mut seen = content.cloned().unwrap_or_default();
        seen.retain(|key, _| self.whole || self.keys.contains(key));
        seen
    }

    fn can_start(&self, content: Option<&Content>) -> bool {
        match content {
            None => !self.required,
            Some(content) => self
                .required_keys
                .iter()
                .all(|key| content.contains_key(key)),
        }
    }
}

/// The pods of one stored template.
#[derive(Debug, Clone)]
struct Pods {
    template: Value,
    uses: BTreeMap<usize, Used>,
    stored: u32,
    /// Which configs were there when it was stored.
    found: [bool; 3],
    /// When they started, and what was in the configs. `None`: they wait.
    started: Option<(u32, [Option<Content>; 3])>,
}

struct World {
    now: u32,
    configs: [Config; 3],
    ignored: BTreeSet<usize>,
    key: Option<u8>,
    settings: Settings,
    policy_is_on: bool,
    /// The API server does not answer look-ups, and `lookupFailure` is `warn`.
    blind: bool,
    /// A webhook behind this policy pins images.
    pins: bool,
    workload: Workload,
    stored: Value,
    /// The last ones are those of the stored template; the others run until these have started.
    pods: Vec<Pods>,
    /// Since when the policy can know what is in each config.
    known: [Option<u32>; 3],
    /// The last request that the policy judged.
    judged: u32,
    /// Every template that was stored, stamps and all.
    revisions: Vec<(Template, Value)>,
}

impl World {
    fn new(workload: Workload, policy_is_on: bool, pins: bool) -> Self {
        let mut settings = Settings {
            lookup_failure: LookupFailure::Warn,
            ..Settings::default()
        };
        settings.config_hash.missing = Missing::Ignore;
        let content = Content::from([("a", 0), ("b", 0), (".dockerconfigjson", 0)]);
        let config = |content| Config {
            content,
            ignore: "false",
            ..Config::default()
        };
        let mut world = Self {
            now: 0,
            configs: [
                config(Some(content.clone())),
                config(None),
                config(Some(content)),
            ],
            ignored: BTreeSet::new(),
            key: None,
            settings,
            policy_is_on,
            blind: false,
            pins,
            workload: workload.clone(),
            stored: Value::Null,
            pods: Vec::new(),
            known: [None; 3],
            judged: 0,
            revisions: Vec::new(),
        };
        world.take(Step::Create(workload, Client::Replaces));
        world
    }

    fn take(&mut self, step: Step) {
        self.now += 1;
        let settings = &mut self.settings.config_hash;
        match step {
            Step::WriteConfig(config, content) => self.write(config, content),
            Step::Relabel(config) => self.configs[config].changed = self.now,
            Step::AnnotateIgnore(config, ignore) => self.configs[config].ignore = ignore,
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
                self.ignored = ignored;
            }
            Step::SetKey(key) => {
                settings.key = key.map(|number| settings::KeyRef {
                    namespace: "kubewarden".to_owned(),
                    name: format!("key-{number}"),
                    key: "key".to_owned(),
                });
                if self.key != key {
                    // Digests under different keys cannot be compared.
                    self.known = [None; 3];
                }
                self.key = key;
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
            }
            Step::SwitchPolicy(on) => self.policy_is_on = on,
            Step::SwitchHash(on) => settings.enabled = on,
            Step::BreakLookUps(blind) => self.blind = blind,
            Step::Create(workload, client) => self.create(workload, client),
            Step::Update {
                template,
                extra,
                frozen,
                opted_out,
                client,
            } => {
                let workload = Workload {
                    template: template.unwrap_or(self.workload.template.clone()),
                    extra: extra.unwrap_or(self.workload.extra.clone()),
                    frozen: frozen.unwrap_or(self.workload.frozen),
                    opted_out: opted_out.unwrap_or(self.workload.opted_out),
                };
                let object = sent(&workload, client, &self.stored);
                self.update(workload, object);
            }
            Step::Undo(revision) => {
                let (template, json) = revision.get(&self.revisions).clone();
                let workload = Workload {
                    template,
                    ..self.workload.clone()
                };
                let mut object = self.stored.clone();
                object["spec"]["template"] = json;
                self.update(workload, object);
            }
        }
    }

    fn write(&mut self, config: usize, content: Option<Content>) {
        let before = &self.configs[config];
        let created = match before.content {
            None => self.now,
            Some(_) => before.created,
        };
        let rewritten = match before.content == content {
            true => before.rewritten,
            false => self.now,
        };
        self.configs[config] = Config {
            content,
            created,
            changed: self.now,
            rewritten,
            ignore: match before.content {
                None => "false",
                Some(_) => before.ignore,
            },
        };
        self.start_pods();
    }

    /// Pods that can start do, and replace the older ones.
    fn start_pods(&mut self) {
        let contents = self.configs.each_ref().map(|config| config.content.clone());
        let Some(pods) = self.pods.last_mut() else {
            return;
        };
        let can_start =
            |(&config, used): (&usize, &Used)| used.can_start(contents[config].as_ref());
        if pods.started.is_none() && pods.uses.iter().all(can_start) {
            for (config, object) in self.configs.iter().enumerate() {
                // While they waited for another config, this one changed: nobody saw which content they started with.
                if pods.found[config] && object.rewritten > pods.stored {
                    self.known[config] = None;
                }
            }
            pods.started = Some((self.now, contents));
        }
        if pods.started.is_some() {
            self.pods.drain(..self.pods.len() - 1);
        }
    }

    /// What the pods of a template use, whatever the settings of the policy say.
    fn uses(&self, workload: &Workload, pull_secrets: bool) -> BTreeMap<usize, Used> {
        let mut uses: BTreeMap<usize, Used> = BTreeMap::new();
        for place in &workload.template.places {
            let key = match place.via {
                Via::Nothing => continue,
                Via::SubPath(key) => Some(key),
                Via::Environment | Via::Volume => place.key,
            };
            let used = uses.entry(place.config).or_default();
            used.required |= !place.optional;
            used.whole |= key.is_none();
            used.keys.extend(key);
            if !place.optional {
                used.required_keys.extend(key);
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
        uses
    }

    /// The configs that count.
    fn tracked(&self, workload: &Workload) -> BTreeMap<usize, Used> {
        let mut uses = self.uses(workload, self.settings.config_hash.image_pull_secrets);
        uses.retain(|&config, _| {
            let object = &self.configs[config];
            let ignores_itself = object.content.is_some() && object.ignore == "true";
            !self.ignored.contains(&config) && !ignores_itself
        });
        uses
    }

    fn judges(&self, workload: &Workload) -> bool {
        let reads = !self
            .uses(workload, self.settings.config_hash.image_pull_secrets)
            .keys()
            .all(|config| self.ignored.contains(config));
        self.policy_is_on
            && self.settings.config_hash.enabled
            && !workload.opted_out
            && !(self.blind && reads)
    }

    // Requests.

    fn create(&mut self, workload: Workload, client: Client) {
        let object = sent(&workload, client, &Value::Null);
        let mut admitted = object.clone();
        self.known = [None; 3];
        self.pods.clear();
        if self.policy_is_on {
            (admitted, _) = self.judge(Operation::Create, object, Value::Null);
        }
        if !self.judges(&workload) {
            drop_stamps(&mut admitted);
        }
        self.store(workload, admitted);
    }

    fn update(&mut self, workload: Workload, object: Value) {
        let old = self.stored.clone();
        if !self.policy_is_on {
            let mut object = object;
            if annotations::get(&object, TEMPLATE, CONFIG_HASH) == Some(FORGED) {
                drop_stamps(&mut object);
            }
            self.store(workload, object);
            return;
        }
        let (admitted, warnings) = self.judge(Operation::Update, object, old.clone());
        let restamped = stamps_of(&admitted) != stamps_of(&old);
        if restamped {
            assert!(
                self.judges(&workload),
                "a stamp changes only when config was read"
            );
            assert!(!workload.frozen, "freeze holds");
            assert!(
                Recorded::on(&old).is_some(),
                "the first time, it is only recorded"
            );
            assert!(
                self.is_justified(&workload),
                "pods ran this config already: {warnings:?}"
            );
            assert!(
                warnings.concat().contains("since its config changed"),
                "{warnings:?}"
            );
        } else if self.judges(&workload) && !workload.frozen {
            assert_eq!(
                self.missed(&workload),
                Vec::<usize>::new(),
                "pods run older config"
            );
        }
        self.store(workload, admitted);
    }

    /// Whether some config is not what the pods started with, or the policy could not know it.
    fn is_justified(&self, workload: &Workload) -> bool {
        let Some(pods) = self.pods.last() else {
            return false;
        };
        let tracked = self.tracked(workload);
        let is_cause = |config: usize| {
            let current = &self.configs[config];
            let uses = [pods.uses.get(&config), tracked.get(&config)];
            let sees_other = |before: &[Option<Content>; 3]| {
                uses.iter().flatten().any(|used| {
                    used.sees(before[config].as_ref()) != used.sees(current.content.as_ref())
                })
            };
            let known_at = |time: u32| self.known[config].is_some_and(|since| since <= time);
            match &pods.started {
                // They wait, so another stamp restarts none of them; the older ones run until they start.
                None => current.rewritten >= pods.stored || !known_at(pods.stored),
                Some((start, before)) => {
                    // They waited, and whether it changed before or after they started cannot be told.
                    let waited = *start > pods.stored;
                    let came_meanwhile = waited && (current.changed >= pods.stored);
                    sees_other(before) || came_meanwhile || !known_at(*start)
                }
            }
        };
        tracked.keys().any(|&config| is_cause(config))
    }

    /// The configs that are not what the pods started with, although the policy had all that it needs to know.
    fn missed(&self, workload: &Workload) -> Vec<usize> {
        let Some(Pods {
            started: Some((start, before)),
            uses,
            ..
        }) = self.pods.last()
        else {
            return Vec::new();
        };
        let is_missed = |config: usize, used: &Used| {
            let current = &self.configs[config];
            // Between two uses, only what both see counts.
            let same_use = uses.get(&config) == Some(used);
            let is_known = self.known[config].is_some_and(|since| since <= *start);
            same_use
                && is_known
                && !self.came_and_went(config)
                && used.can_start(current.content.as_ref())
                && used.sees(before[config].as_ref()) != used.sees(current.content.as_ref())
        };
        let tracked = self.tracked(workload);
        let missed = tracked
            .iter()
            .filter(|&(&config, used)| is_missed(config, used));
        missed.map(|(&config, _)| config).collect()
    }

    /// Whether pods started between two requests with something that was gone at the second.
    fn came_and_went(&self, config: usize) -> bool {
        let start = self.pods.last().and_then(|pods| pods.started.as_ref());
        let current = &self.configs[config];
        start.is_some_and(|&(start, _)| {
            start > self.judged && (current.content.is_none() || current.created > start)
        })
    }

    /// Stores the admitted object after the webhook behind this policy, and checks it from all sides.
    fn store(&mut self, workload: Workload, mut admitted: Value) {
        let mut bare = admitted.clone();
        drop_stamps(&mut bare);
        if let Some(image) = image_of(&mut bare).as_str().map(str::to_owned) {
            *image_of(&mut bare) = json!(image.replace('@', ":"));
        }
        assert_eq!(
            template_of(&bare)["spec"],
            written(&workload.template)["spec"],
            "nothing but our stamps"
        );
        if self.pins {
            let image = image_of(&mut admitted);
            *image = json!(image.as_str().unwrap().replace(':', "@"));
        }
        let old = self.stored.clone();
        let judged = self.judges(&workload);
        let restarted = self.pods.is_empty() || template_of(&admitted) != template_of(&old);
        self.learn(
            &workload,
            judged,
            restarted,
            Recorded::on(&admitted).is_some(),
        );
        if judged {
            self.judged = self.now;
        }
        self.workload = workload;
        self.stored = admitted;
        if restarted {
            self.replace_pods();
        } else if judged {
            // The extra annotations and the setting for pull Secrets may have changed.
            let uses = self.uses(&self.workload, self.settings.config_hash.image_pull_secrets);
            let pods = self.pods.last_mut().expect("there are pods");
            pods.uses = uses;
            self.start_pods();
        }
        let revision = (
            self.workload.template.clone(),
            template_of(&self.stored).clone(),
        );
        self.revisions.push(revision);
        if self.policy_is_on {
            self.look_again();
        }
    }

    fn learn(&mut self, workload: &Workload, judged: bool, restarted: bool, recorded: bool) {
        let tracked = self.tracked(workload);
        let before = self.pods.last().map(|pods| pods.uses.clone());
        let before = before.unwrap_or_default();
        // Older pods may come back, and the config in the same moment.
        let waited = self.pods.last().is_some_and(|pods| {
            pods.started
                .as_ref()
                .is_none_or(|&(start, _)| start > self.judged)
        });
        let came_and_went = [0, 1, 2].map(|config| self.came_and_went(config));
        for (config, came_and_went) in came_and_went.into_iter().enumerate() {
            let known = &mut self.known[config];
            if !judged {
                // It sees neither that pods were restarted, nor what they started with.
                if restarted || !recorded {
                    *known = None;
                }
                continue;
            }
            let content = self.configs[config].content.as_ref();
            *known = match (tracked.get(&config), *known) {
                (None, _) => None,
                // Whether a key was rewritten since it was added cannot be seen.
                (Some(used), _) if content.is_some() && !used.can_start(content) => None,
                (Some(_), _) if restarted && waited => None,
                (Some(_), _) if came_and_went => Some(self.now),
                // Pods that started before may have read other keys.
                (Some(used), since) if restarted || before.get(&config) == Some(used) => {
                    since.or(Some(self.now))
                }
                (Some(_), _) => Some(self.now),
            };
        }
    }

    /// The workload has another template: its pods are replaced.
    fn replace_pods(&mut self) {
        let template = template_of(&self.stored).clone();
        let uses = self.uses(&self.workload, self.settings.config_hash.image_pull_secrets);
        // Back to a template whose pods still run.
        let running = self
            .pods
            .iter()
            .position(|pods| pods.template == template && pods.started.is_some());
        let pods = match running {
            Some(running) => Pods {
                uses,
                ..self.pods.remove(running)
            },
            None => Pods {
                template,
                uses,
                stored: self.now,
                found: self
                    .configs
                    .each_ref()
                    .map(|config| config.content.is_some()),
                started: None,
            },
        };
        self.pods.retain(|pods| pods.started.is_some());
        self.pods.push(pods);
        self.start_pods();
    }

    /// The same again rolls nothing out, unless older pods came back; and `mode: verify` says what an update would do.
    fn look_again(&mut self) {
        let stored = || self.stored.clone();
        let (again, warnings) = self.judge(Operation::Update, stored(), stored());
        let rolls_out = stamps_of(&again) != stamps_of(&self.stored);
        assert!(
            !rolls_out || (self.judges(&self.workload) && self.is_justified(&self.workload)),
            "the same again rolls nothing out: {warnings:?}"
        );
        if !self.judges(&self.workload) {
            return;
        }
        self.settings.mode = Mode::Verify;
        let verdict = self.verdict(Operation::Create, self.stored.clone(), Value::Null);
        self.settings.mode = Mode::Enforce;
        let is_stale = matches!(verdict.outcome, Outcome::Reject { .. });
        assert_eq!(is_stale, rolls_out, "{verdict:?}");
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
        let judged = || crate::judge(&request, &self.settings, &self.cluster());
        let verdict = judged();
        assert_eq!(verdict, judged(), "the same answer");
        verdict
    }

    fn cluster(&self) -> Objects {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let all = || self.configs.iter().zip(CONFIGS_BY_INDEX);
        let configs = all().filter_map(|(config, (kind, name))| {
            let data: Map<_, _> = config
                .content
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
            Some(json!({
                "apiVersion": "v1", "kind": kind, "data": data,
                "metadata": {
                    "namespace": "shop", "name": name, "annotations": {IGNORE: config.ignore},
                    "creationTimestamp": config.created.to_string(),
                    "managedFields": [{"time": config.changed.to_string(), "fieldsV1": {"f:data": {}}}],
                },
            }))
        });
        let keys = (0..2_u8).map(|number| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "data": {"key": BASE64_STANDARD.encode([number; 16])},
                "metadata": {"namespace": "kubewarden", "name": format!("key-{number}")},
            })
        });
        let failing = all().map(|(_, (kind, name))| format!("{kind} shop/{name}"));
        Objects {
            failing: failing.filter(|_| self.blind).collect(),
            ..Objects::new(configs.chain(keys))
        }
    }
}

fn image_of(object: &mut Value) -> &mut Value {
    &mut object["spec"]["template"]["spec"]["containers"][0]["image"]
}

fn stamps_of(object: &Value) -> [Option<&str>; 2] {
    [CONFIG_HASH, CONFIG_VERSION].map(|key| annotations::get(object, TEMPLATE, key))
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
        (ENABLED, (!workload.opted_out).to_string()),
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
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (number, place) in template.places.iter().enumerate() {
        let (kind, name) = CONFIGS_BY_INDEX[place.config];
        let (kind, name_of_volume) = match kind {
            "Secret" => ("secret", "secretName"),
            _ => ("configMap", "name"),
        };
        match (place.via, place.key) {
            (Via::Environment, None) => env_from
                .push(json!({format!("{kind}Ref"): {"name": name, "optional": place.optional}})),
            (Via::Environment, Some(key)) => env.push(json!({"name": "X", "valueFrom": {
                format!("{kind}KeyRef"): {"name": name, "key": key, "optional": place.optional},
            }})),
            (Via::Volume | Via::SubPath(_) | Via::Nothing, key) => {
                let mut source = json!({name_of_volume: name, "optional": place.optional});
                if let (Via::Volume, Some(key)) = (place.via, key) {
                    source["items"] = json!([{"key": key, "path": "file"}]);
                }
                let volume = format!("v{number}");
                volumes.push(json!({"name": volume, kind: source}));
                match place.via {
                    Via::SubPath(key) => mounts.push(json!({"name": volume, "subPath": key})),
                    Via::Nothing => {}
                    Via::Volume | Via::Environment => mounts.push(json!({"name": volume})),
                }
            }
        }
    }
    let container = json!({
        "image": format!("web:{}", template.image), "env": env, "envFrom": env_from, "volumeMounts": mounts,
    });
    let mut spec = json!({"containers": [container], "volumes": volumes});
    if template.pulls_with_hub {
        spec["imagePullSecrets"] = json!([{"name": CONFIGS_BY_INDEX[HUB].1}]);
    }
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}
