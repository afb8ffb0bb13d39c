//! Random histories of configs, workloads, a policy and two replicas of this program, of which each may die at any moment.
//!
//! What must hold: in the end, the policy has looked at the last content of each config for each workload that uses it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const CONFIGS: usize = 3;
const WORKLOADS: usize = 4;
/// In milliseconds: a webhook may take this long.
const ADMISSION: u64 = 30_000;
/// In milliseconds: a watch that works tells nothing later than this.
const LATE: u64 = 4_000;
/// Of each replica, that of the configs and that of the workloads.
const WATCHES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The content changes, or only a label.
    Change {
        config: usize,
        content: bool,
    },
    Delete {
        config: usize,
    },
    /// The owner of a workload writes it; the policy looks at its configs.
    Apply {
        workload: usize,
    },
    /// One watch of one replica tells the next thing.
    Tell {
        replica: usize,
        watch: usize,
    },
    /// The leader sends its next patch.
    Send,
    /// The policy reads the configs for a patch that is on the way.
    Read {
        patch: usize,
    },
    /// It is stored, or refused.
    Store {
        patch: usize,
        refused: bool,
    },
    /// The leader gets the answer.
    Answer {
        patch: usize,
    },
    /// The leader tells the next one up to where all is dealt with.
    Publish,
    /// A replica dies and starts again. If it led, the other one leads.
    Die {
        replica: usize,
    },
    /// A watch begins again with a list.
    List {
        replica: usize,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (config, replica, patch) = (0..CONFIGS, 0..2_usize, 0..3_usize);
    let wait = prop_oneof![1..400_u64, 400..8_000_u64, 8_000..90_000_u64];
    prop_oneof![
        4 => (config.clone(), prop::bool::weighted(0.8))
            .prop_map(|(config, content)| Step::Change { config, content }),
        1 => config.prop_map(|config| Step::Delete { config }),
        1 => (0..WORKLOADS).prop_map(|workload| Step::Apply { workload }),
        12 => (replica.clone(), 0..2_usize)
            .prop_map(|(replica, watch)| Step::Tell { replica, watch }),
        6 => Just(Step::Send),
        5 => patch.clone().prop_map(|patch| Step::Read { patch }),
        5 => (patch.clone(), prop::bool::weighted(0.1))
            .prop_map(|(patch, refused)| Step::Store { patch, refused }),
        5 => patch.prop_map(|patch| Step::Answer { patch }),
        2 => Just(Step::Publish),
        1 => replica.clone().prop_map(|replica| Step::Die { replica }),
        1 => replica.prop_map(|replica| Step::List { replica }),
        4 => wait.prop_map(|millis| Step::Wait { millis }),
    ]
}

#[derive(Debug, Clone)]
enum Told {
    Config(usize, Version),
    ConfigGone(usize, u64),
    Workload(usize, Workload),
}

#[derive(Debug)]
struct Replica {
    work: Work,
    /// What the watches of configs and of workloads have yet to tell.
    watches: [VecDeque<(u64, Told)>; 2],
}

#[derive(Debug)]
struct Patch {
    workload: usize,
    /// `None`: the replica that sent it has died.
    by: Option<usize>,
    sent: u64,
    /// What the policy found, and for which generation of the workload.
    read: Option<(BTreeMap<ConfigId, String>, i64)>,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Cluster {
    begin: Instant,
    millis: u64,
    revision: u64,
    /// Content and version; `None` if it does not exist.
    configs: Vec<Option<(u64, Version)>>,
    workloads: Vec<Workload>,
    patches: Vec<Patch>,
    replicas: Vec<Replica>,
    leader: usize,
    published: Handled,
}

fn config_of(number: usize) -> ConfigId {
    config(&number.to_string())
}

fn workload_of(number: usize) -> WorkloadId {
    workload(&number.to_string())
}

impl Cluster {
    fn new(uses: &[Vec<usize>], recorded: &[bool]) -> Self {
        let workloads = uses.iter().zip(recorded).map(|(uses, recorded)| Workload {
            uses: uses.iter().copied().map(config_of).collect(),
            recorded: recorded.then(|| {
                let entry = |config: &usize| (config_of(*config), "0".to_owned());
                uses.iter().map(entry).collect()
            }),
            written: Some(0),
            written_by_us: false,
            generation: 1,
            uid: String::new(),
        });
        let mut cluster = Self {
            begin: Instant::now(),
            millis: 0,
            revision: 1,
            configs: vec![Some((0, version(1, 0))); CONFIGS],
            workloads: workloads.collect(),
            patches: Vec::new(),
            replicas: Vec::new(),
            leader: 0,
            published: Handled::new(),
        };
        for _ in 0..2 {
            let replica = cluster.start();
            cluster.replicas.push(replica);
        }
        cluster
    }

    fn now(&self) -> Instant {
        self.begin + Duration::from_millis(self.millis)
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.millis / 1000).unwrap()
    }

    fn start(&self) -> Replica {
        let mut work = Work::new(timing(), false);
        work.configs_listed(&(ConfigKind::ConfigMap, None), self.listed(), self.now());
        for (number, workload) in self.workloads.iter().enumerate() {
            work.workload_seen(&workload_of(number), Some(workload.clone()), self.now());
        }
        work.complete(self.now());
        Replica {
            work,
            watches: Default::default(),
        }
    }

    fn listed(&self) -> BTreeMap<ConfigId, Version> {
        let configs = self.configs.iter().enumerate();
        configs
            .filter_map(|(number, config)| Some((config_of(number), (*config)?.1)))
            .collect()
    }

    fn tell(&mut self, watch: usize, told: &Told) {
        for replica in &mut self.replicas {
            replica.watches[watch].push_back((self.millis, told.clone()));
        }
    }

    /// What the policy finds of the configs of a workload.
    fn record(&self, workload: usize) -> BTreeMap<ConfigId, String> {
        let uses = self.workloads[workload].uses.iter();
        uses.map(|id| {
            let number: usize = id.name.parse().unwrap();
            let content = self.configs[number].map(|(content, _)| content.to_string());
            (id.clone(), content.unwrap_or_else(|| "absent".to_owned()))
        })
        .collect()
    }

    fn store(&mut self, workload: usize, record: BTreeMap<ConfigId, String>, by_us: bool) {
        let seconds = self.seconds();
        let stored = &mut self.workloads[workload];
        if by_us && stored.recorded.as_ref() == Some(&record) {
            return; // An empty patch that changes nothing is not written.
        }
        stored.recorded = Some(record);
        stored.written = Some(seconds);
        stored.written_by_us = by_us;
        stored.generation += 1;
        let told = Told::Workload(workload, stored.clone());
        self.tell(1, &told);
    }

    fn is_late(&self, replica: usize, watch: usize) -> bool {
        let next = self.replicas[replica].watches[watch].front();
        next.is_some_and(|(told, _)| self.millis - told > LATE)
    }

    fn deliver(&mut self, replica: usize, watch: usize) -> bool {
        let now = self.now();
        let Replica { work, watches } = &mut self.replicas[replica];
        match watches[watch].pop_front().map(|(_, told)| told) {
            None => return false,
            Some(Told::Config(number, version)) => {
                work.config_seen(config_of(number), version, now);
            }
            Some(Told::ConfigGone(number, revision)) => {
                work.config_deleted(config_of(number), revision, now);
            }
            Some(Told::Workload(number, workload)) => {
                work.workload_seen(&workload_of(number), Some(workload), now);
            }
        }
        true
    }

    fn send(&mut self) -> bool {
        let now = self.now();
        let work = &mut self.replicas[self.leader].work;
        let Some(id) = work.next(now, |_, _| true) else {
            return false;
        };
        work.begin(&id, now).unwrap();
        self.patches.push(Patch {
            workload: id.name.parse().unwrap(),
            by: Some(self.leader),
            sent: self.millis,
            read: None,
            ending: None,
        });
        true
    }

    fn read(&mut self, patch: usize) {
        if let Some(Patch {
            workload,
            read: None,
            ..
        }) = self.patches.get(patch)
        {
            let record = self.record(*workload);
            let generation = self.workloads[*workload].generation;
            self.patches[patch].read = Some((record, generation));
        }
    }

    fn commit(&mut self, patch: usize, refused: bool) {
        let millis = self.millis;
        let Some(patch) = self.patches.get_mut(patch) else {
            return;
        };
        let (Some((record, generation)), None) = (patch.read.clone(), patch.ending) else {
            return;
        };
        if self.workloads[patch.workload].generation != generation {
            // Somebody else has written it. The API server applies the patch again, and asks the policy again.
            patch.read = None;
            return;
        }
        if refused || millis - patch.sent > ADMISSION {
            patch.ending = Some(Ending::Failed);
            return;
        }
        patch.ending = Some(Ending::Done);
        let workload = patch.workload;
        self.store(workload, record, true);
    }

    fn answer(&mut self, patch: usize) {
        let now = self.now();
        let is_answered = |patch: &Patch| patch.ending.is_some();
        if self.patches.get(patch).is_some_and(is_answered) {
            let Patch {
                workload,
                by,
                ending,
                ..
            } = self.patches.remove(patch);
            if let (Some(by), Some(ending)) = (by, ending) {
                self.replicas[by]
                    .work
                    .end(&workload_of(workload), ending, now);
            }
        }
    }

    fn change(&mut self, config: usize, content: bool) {
        self.revision += 1;
        let version = version(self.revision, self.seconds());
        let content = match self.configs[config] {
            Some((before, _)) if !content => before,
            _ => self.revision,
        };
        self.configs[config] = Some((content, version));
        self.tell(0, &Told::Config(config, version));
    }

    fn die(&mut self, replica: usize) {
        for patch in &mut self.patches {
            if patch.by == Some(replica) {
                patch.by = None;
            }
        }
        self.replicas[replica] = self.start();
        if self.leader == replica {
            self.leader = 1 - replica;
            self.replicas[self.leader].work.taken_over(&self.published);
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Change { config, content } => self.change(config, content),
            Step::Delete { config } => {
                if self.configs[config].take().is_some() {
                    self.revision += 1;
                    self.tell(0, &Told::ConfigGone(config, self.revision));
                }
            }
            Step::Apply { workload } => {
                let record = self.record(workload);
                self.store(workload, record, false);
            }
            Step::Tell { replica, watch } => {
                self.deliver(replica, watch);
            }
            Step::Send => {
                self.send();
            }
            Step::Read { patch } => self.read(patch),
            Step::Store { patch, refused } => self.commit(patch, refused),
            Step::Answer { patch } => self.answer(patch),
            Step::Publish => self.published = self.replicas[self.leader].work.handled(),
            Step::Die { replica } => self.die(replica),
            Step::List { replica } => {
                let (listed, now) = (self.listed(), self.now());
                let Replica { work, watches } = &mut self.replicas[replica];
                watches[0].clear();
                work.configs_listed(&(ConfigKind::ConfigMap, None), listed, now);
            }
            Step::Wait { millis } => {
                let end = self.millis + millis;
                while self.millis < end {
                    self.millis = end.min(self.millis + 500);
                    for (replica, watch) in WATCHES {
                        while self.is_late(replica, watch) {
                            self.deliver(replica, watch);
                        }
                    }
                }
            }
        }
    }

    /// Everything that is on its way arrives, and the leader has all the time that it needs.
    fn settle(&mut self) {
        for _ in 0..200 {
            for (replica, watch) in WATCHES {
                while self.deliver(replica, watch) {}
            }
            while !self.patches.is_empty() {
                self.commit(0, false);
                self.read(0);
                self.commit(0, false);
                self.answer(0);
            }
            for (replica, watch) in WATCHES {
                while self.deliver(replica, watch) {}
            }
            let Some(at) = self.replicas[self.leader].work.next_at() else {
                return;
            };
            let until = at.saturating_duration_since(self.begin).as_millis();
            self.millis = self.millis.max(u64::try_from(until).unwrap() + 1);
            while self.send() {}
        }
        panic!("the queue never ends");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 30_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_change_is_lost(
        uses in prop::collection::vec(prop::collection::vec(0..CONFIGS, 1..3), WORKLOADS),
        recorded in prop::collection::vec(prop::bool::weighted(0.8), WORKLOADS),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut cluster = Cluster::new(&uses, &recorded);
        for step in &steps {
            cluster.run(*step);
        }
        cluster.settle();
        for (number, workload) in cluster.workloads.iter().enumerate() {
            let record = cluster.record(number);
            prop_assert_eq!(workload.recorded.as_ref(), Some(&record), "workload {}", number);
        }
        // All is dealt with, and the next leader has nothing to do, unless the one saw a deletion and the other only its result.
        if steps.iter().any(|step| matches!(step, Step::List { .. } | Step::Die { .. })) {
            return Ok(());
        }
        let handled = cluster.replicas[cluster.leader].work.handled();
        let next = &mut cluster.replicas[1 - cluster.leader].work;
        next.taken_over(&handled);
        let mut causes = next.due.values().flat_map(|due| due.causes.values());
        prop_assert!(!causes.any(|cause| cause.revision > 0), "{:?}", next.due);
    }
}
