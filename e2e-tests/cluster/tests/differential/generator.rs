//! Small random scenarios in which every finding occurs sometimes.
//!
//! Every choice lists the simplest alternative first, because shrinking prefers it.

use cluster_tests::HelmVersion;
use helm_plan::record::Driver;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::objects::{
    Form, Hook, Item, Kind, Listing, Look, Place, Pods, Reference, State, template,
};
use crate::scenario::{Action, Command, Scenario};

/// Scenarios for a version of Helm. Some scenarios for Helm 4 start with Helm 3.
pub(crate) fn scenarios(helm: HelmVersion) -> impl Strategy<Value = Scenario> {
    let web = item(Just((Kind::Deployment, "web")), true);
    let items = vec(item(kind_and_name(), false), 3..10);
    let driver = prop_oneof![4 => Just(Driver::Secret), 1 => Just(Driver::ConfigMap)];
    (
        driver,
        web,
        situation(helm).boxed(),
        items,
        first_helm(helm),
        commands(helm),
    )
        .prop_map(|(driver, web, situation, items, install, commands)| {
            let Situation {
                items: own,
                commands: first,
            } = situation;
            let mut items: Vec<_> = std::iter::once(web).chain(own).chain(items).collect();
            // Only the state of an item decides about two documents for one object.
            let mut seen = Vec::new();
            items.retain(|item| {
                let is_new = !seen.contains(&(item.kind, item.name));
                seen.push((item.kind, item.name));
                is_new
            });
            Scenario {
                driver,
                charts: (0..3).map(|chart| template(&items, chart)).collect(),
                commands: std::iter::once(install)
                    .chain(first)
                    .chain(commands.into_iter().flatten())
                    .collect(),
            }
        })
}

fn first_helm(helm: HelmVersion) -> BoxedStrategy<Command> {
    let install = |version, flags: &[&str]| command(version, Action::Install(1), flags);
    match helm {
        HelmVersion::V3 => prop_oneof![
            15 => Just(install(helm, &[])),
            1 => Just(install(helm, &["--no-hooks"])),
        ]
        .boxed(),
        HelmVersion::V4 => prop_oneof![
            12 => Just(install(helm, &[])),
            1 => Just(install(helm, &["--no-hooks"])),
            5 => Just(install(helm, &["--server-side=false"])),
            2 => Just(install(HelmVersion::V3, &[])),
        ]
        .boxed(),
    }
}

/// The commands after the installation. If a revision does not exist, Helm fails, which takes little time.
fn commands(helm: HelmVersion) -> BoxedStrategy<Vec<Vec<Command>>> {
    let action = prop_oneof![
        5 => Just(Action::Upgrade(2)),
        3 => Just(Action::Upgrade(3)),
        1 => Just(Action::Upgrade(1)),
        2 => (1_usize..4).prop_map(Action::Rollback),
    ];
    let server_side = match helm {
        HelmVersion::V3 => Just(None).boxed(),
        HelmVersion::V4 => prop_oneof![
            12 => Just(None),
            1 => Just(Some("--server-side=false")),
            1 => Just(Some("--server-side=true")),
        ]
        .boxed(),
    };
    let history = prop_oneof![
        10 => Just(None),
        1 => Just(Some("--history-max=1")),
        1 => Just(Some("--history-max=2")),
    ];
    // By somebody else, before the command.
    let annotated = prop_oneof![
        12 => Just(None),
        2 => select(&LIVE[..]).prop_map(|object| Some(Command::Keep(object.to_owned()))),
        1 => select(&LIVE[..]).prop_map(|object| Some(Command::Give(object.to_owned()))),
    ];
    // Helm refuses upgrades then, but not rollbacks.
    let interrupted = option::weighted(0.07, 1_usize..4);
    let commands = (
        action,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.4),
        server_side,
        history,
        annotated,
        interrupted,
    )
        .prop_map(
            move |(
                action,
                no_hooks,
                take_ownership,
                server_side,
                history,
                annotated,
                interrupted,
            )| {
                let is_upgrade = matches!(action, Action::Upgrade(_));
                let flags = [
                    no_hooks.then_some("--no-hooks"),
                    (take_ownership && is_upgrade).then_some("--take-ownership"),
                    server_side,
                    history,
                ];
                let flags: Vec<_> = flags.into_iter().flatten().collect();
                let freed = interrupted.map(|revision| {
                    let rollback = command(helm, Action::Rollback(revision), &[]);
                    [Command::Interrupt, rollback]
                });
                let commands = annotated.into_iter().chain([command(helm, action, &flags)]);
                commands.chain(freed.into_iter().flatten()).collect()
            },
        );
    vec(commands.boxed(), 1..4).boxed()
}

fn command(version: HelmVersion, action: Action, flags: &[&str]) -> Command {
    Command::Helm {
        version,
        action,
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
    }
}

const LIVE: [&str; 6] = [
    "configmap/a",
    "configmap/b",
    "secret/a",
    "serviceaccount/a",
    "persistentvolumeclaim/a",
    "clusterrole/a",
];

fn kind_and_name() -> impl Strategy<Value = (Kind, &'static str)> {
    prop_oneof![
        7 => select(&["a", "b"][..]).prop_map(|name| (Kind::ConfigMap, name)),
        5 => select(&["a", "b"][..]).prop_map(|name| (Kind::Secret, name)),
        3 => Just((Kind::ServiceAccount, "a")),
        3 => Just((Kind::PersistentVolumeClaim, "a")),
        1 => Just((Kind::Role, "a")),
        1 => Just((Kind::RoleBinding, "a")),
        2 => Just((Kind::ConfigMap, "helper")),
        2 => Just((Kind::ServiceAccount, "helper")),
        1 => Just((Kind::ClusterRole, "a")),
        1 => Just((Kind::HorizontalPodAutoscaler, "a")),
        1 => Just((Kind::Certificate, "a")),
        2 => Just((Kind::Deployment, "api")),
        1 => Just((Kind::StatefulSet, "db")),
        1 => Just((Kind::DaemonSet, "agent")),
        1 => Just((Kind::CronJob, "nightly")),
        4 => select(&["migrate", "check"][..]).prop_map(|name| (Kind::Job, name)),
    ]
}

fn item(
    kind_and_name: impl Strategy<Value = (Kind, &'static str)>,
    regular: bool,
) -> impl Strategy<Value = Item> {
    let charts = if regular {
        let regular = || look().prop_map(State::Regular);
        [regular().boxed(), regular().boxed(), regular().boxed()]
    } else {
        [state(), state(), state()]
    };
    let helpers = subsequence(vec![Kind::ConfigMap, Kind::ServiceAccount], 0..=2);
    (kind_and_name, vec(reference(), 0..4), helpers, charts).prop_map(
        |((kind, name), mut references, helpers, charts)| {
            if kind == Kind::Job {
                references.extend(helpers.into_iter().map(reference_to_helper));
            }
            Item {
                kind,
                name,
                references,
                charts,
            }
        },
    )
}

/// A reference that only Jobs have.
fn reference_to_helper(kind: Kind) -> Reference {
    Reference {
        kind,
        name: "helper",
        form: Form::EnvFrom,
        optional: false,
    }
}

fn state() -> BoxedStrategy<State> {
    prop_oneof![
        6 => Just(State::Absent),
        16 => look().prop_map(State::Regular),
        18 => (look(), hook()).prop_map(|(look, hook)| State::Hook(look, hook)),
        2 => (look(), hook()).prop_map(|(look, hook)| State::Both(look, hook)),
        1 => look().prop_map(State::Twice),
    ]
    .boxed()
}

/// Objects and the first commands after the installation, which together are rare by chance.
#[derive(Debug, Clone, Default)]
struct Situation {
    items: Vec<Item>,
    commands: Vec<Command>,
}

#[derive(Debug, Clone, Copy)]
enum Motif {
    None,
    HelpersBecomeHooks,
    ConfigChanges,
    UpgradeFails,
    RecordIsGone,
    Interrupted,
    AccountIsHook,
    HookGoesBack,
    JobWaits,
    MakerLeaves,
    MakerIsHook,
    Namespace,
    Definition,
    OtherRelease,
}

fn situation(helm: HelmVersion) -> impl Strategy<Value = Situation> {
    let motif = select(
        &[
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::None,
            Motif::HelpersBecomeHooks,
            Motif::ConfigChanges,
            Motif::UpgradeFails,
            Motif::RecordIsGone,
            Motif::Interrupted,
            Motif::AccountIsHook,
            Motif::HookGoesBack,
            Motif::JobWaits,
            Motif::MakerLeaves,
            Motif::MakerIsHook,
            Motif::Namespace,
            Motif::Namespace,
            Motif::Definition,
            Motif::OtherRelease,
        ][..],
    );
    let choice = prop::bool::ANY;
    let states = (state(), state());
    (motif, hook(), states, choice).prop_map(move |(motif, hook, states, choice)| {
        let upgrade = command(helm, Action::Upgrade(2), &[]);
        let rollback = |flags| command(helm, Action::Rollback(1), flags);
        let limit = if choice {
            "--history-max=1"
        } else {
            "--history-max=2"
        };
        let (items, commands) = match motif {
            Motif::None => (vec![], vec![]),
            Motif::HelpersBecomeHooks => (helpers_become_hooks(hook), vec![]),
            Motif::ConfigChanges => (config_changes(choice), vec![]),
            Motif::UpgradeFails => (upgrade_fails(hook), vec![]),
            Motif::RecordIsGone => (upgrade_fails(hook), vec![upgrade, rollback(&[limit])]),
            Motif::Interrupted => (
                upgrade_fails(hook),
                vec![upgrade, Command::Interrupt, rollback(&[])],
            ),
            Motif::AccountIsHook => (hook_in_all(Kind::ServiceAccount, hook), vec![upgrade]),
            Motif::HookGoesBack => (
                hook_in_all(Kind::ConfigMap, hook),
                vec![upgrade, rollback(&[])],
            ),
            Motif::JobWaits => (job_waits(), vec![upgrade]),
            Motif::MakerLeaves => (maker_leaves(), vec![upgrade]),
            Motif::MakerIsHook => (vec![maker_is_hook()], vec![upgrade]),
            Motif::Namespace => {
                let second = if choice { State::Absent } else { states.0 };
                (namespace([second, states.1]), vec![upgrade])
            }
            Motif::Definition => {
                let second = if choice { State::Absent } else { states.0 };
                (vec![definition(second)], vec![upgrade])
            }
            Motif::OtherRelease => (
                config_leaves(),
                vec![Command::Give("configmap/a".to_owned()), upgrade],
            ),
        };
        Situation { items, commands }
    })
}

/// An object that is a hook of installs and upgrades in all charts, and the workload that uses it.
fn hook_in_all(kind: Kind, hook: Hook) -> Vec<Item> {
    let hook = Hook {
        events: "pre-install,pre-upgrade".to_owned(),
        ..hook
    };
    let state = |content, one_key| {
        let look = Look {
            content,
            one_key,
            ..Look::plain()
        };
        State::Hook(look, hook.clone())
    };
    let item = Item {
        kind,
        name: "a",
        references: Vec::new(),
        charts: [state(1, true), state(2, false), state(3, true)],
    };
    vec![item, workload_with(kind, Form::EnvFrom)]
}

/// A Deployment that uses the object `a`, and never changes.
fn workload_with(kind: Kind, form: Form) -> Item {
    let reference = Reference {
        kind,
        name: "a",
        form,
        optional: false,
    };
    Item {
        kind: Kind::Deployment,
        name: "api",
        references: vec![reference],
        charts: [(); 3].map(|()| State::Regular(Look::plain())),
    }
}

/// A Job before the upgrade needs what comes only with the upgrade.
fn job_waits() -> Vec<Item> {
    let job = Hook {
        events: "pre-upgrade".to_owned(),
        weight: None,
        delete_policy: None,
    };
    let regular = || State::Regular(Look::plain());
    migration(&job, &[State::Absent, regular(), regular()])
}

/// A Job that is a hook, and what only it uses.
fn migration(job: &Hook, helpers: &[State; 3]) -> Vec<Item> {
    let helper = |kind| Item {
        kind,
        name: "helper",
        references: Vec::new(),
        charts: helpers.clone(),
    };
    let migrate = Item {
        kind: Kind::Job,
        name: "migrate",
        references: [Kind::ServiceAccount, Kind::ConfigMap]
            .map(reference_to_helper)
            .to_vec(),
        charts: [(); 3].map(|()| State::Hook(Look::plain(), job.clone())),
    };
    vec![
        helper(Kind::ServiceAccount),
        helper(Kind::ConfigMap),
        migrate,
    ]
}

/// What makes a Secret leaves the chart, and the workload still uses the Secret.
fn maker_leaves() -> Vec<Item> {
    let item = |kind, charts| Item {
        kind,
        name: "a",
        references: Vec::new(),
        charts,
    };
    let certificate = [
        State::Regular(Look::plain()),
        State::Absent,
        State::Regular(Look::plain()),
    ];
    vec![
        item(Kind::Certificate, certificate),
        item(Kind::Secret, [State::Absent, State::Absent, State::Absent]),
        workload_with(Kind::Secret, Form::EnvFrom),
    ]
}

fn maker_is_hook() -> Item {
    let hook = Hook {
        events: "pre-install,pre-upgrade".to_owned(),
        weight: None,
        delete_policy: None,
    };
    Item {
        kind: Kind::Certificate,
        name: "a",
        references: Vec::new(),
        charts: [(); 3].map(|()| State::Hook(Look::plain(), hook.clone())),
    }
}

/// A namespace, and a config that is always in it. It stays at first, so that the config has a place.
fn namespace([second, third]: [State; 2]) -> Vec<Item> {
    let inside = || {
        State::Regular(Look {
            place: Place::Team,
            ..Look::plain()
        })
    };
    let item = |kind, name, charts| Item {
        kind,
        name,
        references: Vec::new(),
        charts,
    };
    let first = State::Regular(Look::plain());
    vec![
        item(Kind::Namespace, "team", [first, second, third]),
        item(Kind::ConfigMap, "inside", [(); 3].map(|()| inside())),
    ]
}

/// It may leave or become a hook, and comes back.
fn definition(second: State) -> Item {
    let regular = || State::Regular(Look::plain());
    Item {
        kind: Kind::CustomResourceDefinition,
        name: "backups",
        references: Vec::new(),
        charts: [regular(), second, regular()],
    }
}

/// Configs leave the chart.
fn config_leaves() -> Vec<Item> {
    let config = |name| Item {
        kind: Kind::ConfigMap,
        name,
        references: Vec::new(),
        charts: [
            State::Regular(Look::plain()),
            State::Absent,
            State::Regular(Look::plain()),
        ],
    };
    vec![config("a"), config("b")]
}

/// The objects that a migration Job uses are regular at first, and become hooks like the Job.
fn helpers_become_hooks(job: Hook) -> Vec<Item> {
    let hook = |events: &str| Hook {
        events: events.to_owned(),
        weight: Some("-5"),
        delete_policy: None,
    };
    let job = Hook {
        events: "pre-install,pre-upgrade".to_owned(),
        ..job
    };
    let regular = || State::Regular(Look::plain());
    let helpers = [
        regular(),
        State::Hook(Look::plain(), hook("pre-upgrade")),
        State::Hook(Look::plain(), hook("pre-install,pre-upgrade")),
    ];
    migration(&job, &helpers)
}

/// The first upgrade fails in a hook. The changes before that remain.
fn upgrade_fails(job: Hook) -> Vec<Item> {
    let job = |events: &str, fails| {
        let hook = Hook {
            events: events.to_owned(),
            ..job.clone()
        };
        let look = Look {
            fails,
            ..Look::plain()
        };
        State::Hook(look, hook)
    };
    vec![Item {
        kind: Kind::Job,
        name: "migrate",
        references: Vec::new(),
        charts: [
            State::Absent,
            job("pre-upgrade,post-upgrade", true),
            job("post-upgrade", false),
        ],
    }]
}

/// A config changes, but the workload that uses it does not.
fn config_changes(one_key: bool) -> Vec<Item> {
    let look = |content| {
        State::Regular(Look {
            content,
            one_key,
            ..Look::plain()
        })
    };
    let config = Item {
        kind: Kind::ConfigMap,
        name: "a",
        references: Vec::new(),
        charts: [look(1), look(2), look(3)],
    };
    vec![config, workload_with(Kind::ConfigMap, Form::EnvFrom)]
}

// Boxed, like those below: a value of all choices does not fit on the stack of a thread.
fn look() -> BoxedStrategy<Look> {
    let place = prop_oneof![
        14 => Just(Place::Unset),
        1 => Just(Place::Release),
        1 => Just(Place::Other),
    ];
    (
        prop_oneof![4 => Just(1_u8), 2 => Just(2), 1 => Just(3)],
        prop::bool::weighted(0.15),
        place,
        prop::bool::weighted(0.1),
        prop_oneof![
            14 => Just(Listing::No),
            1 => Just(Listing::List),
            1 => Just(Listing::ListOfHooks),
        ],
        option::weighted(0.2, reference()),
        prop::bool::weighted(0.2),
        prop_oneof![6 => Just(Pods::Default), 3 => Just(Pods::One), 1 => Just(Pods::None)],
    )
        .prop_map(
            |(content, one_key, place, keep, listing, extra, fails, pods)| Look {
                content,
                one_key,
                place,
                keep,
                listing,
                extra,
                fails,
                pods,
            },
        )
        .boxed()
}

fn hook() -> BoxedStrategy<Hook> {
    let weight = prop_oneof![
        4 => Just(None),
        1 => Just(Some("-5")),
        1 => Just(Some("5")),
        1 => Just(Some("first")),
    ];
    let delete_policy = prop_oneof![
        12 => Just(None),
        3 => Just(Some("before-hook-creation")),
        3 => Just(Some("hook-succeeded")),
        3 => Just(Some("before-hook-creation,hook-succeeded")),
        3 => Just(Some("hook-failed")),
        1 => Just(Some("hook-succeeded,hook-failed")),
        1 => Just(Some("before-hook-creation, Hook-Succeeded ,hook-failed")),
        1 => Just(Some("hook-suceeded")),
        1 => Just(Some("")),
    ];
    (events(), weight, delete_policy)
        .prop_map(|(events, weight, delete_policy)| Hook {
            events,
            weight,
            delete_policy,
        })
        .boxed()
}

fn events() -> BoxedStrategy<String> {
    let common = [
        "pre-upgrade",
        "pre-upgrade",
        "pre-upgrade",
        "pre-install,pre-upgrade",
        "pre-install,pre-upgrade",
        "pre-install,pre-upgrade",
        "pre-install,pre-upgrade,pre-rollback",
        "pre-install",
        "pre-install",
        "post-upgrade",
        "post-install,post-upgrade",
        "pre-upgrade,post-upgrade",
        "pre-rollback",
        "post-rollback",
        "pre-delete",
        "test",
    ];
    let odd = [
        "pre-upgarde",
        " Pre-Upgrade , post-install",
        "pre-upgrade,pre-upgrade",
        "pre-install,test-success",
        "pre-upgrade,test-failure",
        "",
    ];
    let all = vec![
        "pre-install",
        "post-install",
        "pre-upgrade",
        "post-upgrade",
        "pre-rollback",
        "post-rollback",
        "pre-delete",
        "post-delete",
        "test",
    ];
    prop_oneof![
        8 => select(common.to_vec()).prop_map(str::to_owned),
        1 => subsequence(all, 1..5).prop_map(|events| events.join(",")),
        1 => select(odd.to_vec()).prop_map(str::to_owned),
    ]
    .boxed()
}

fn reference() -> BoxedStrategy<Reference> {
    let target = prop_oneof![
        5 => select(&["a", "b"][..]).prop_map(|name| (Kind::ConfigMap, name)),
        4 => select(&["a", "b"][..]).prop_map(|name| (Kind::Secret, name)),
        2 => Just((Kind::ServiceAccount, "a")),
        2 => Just((Kind::PersistentVolumeClaim, "a")),
    ];
    let form = prop_oneof![
        3 => Just(Form::EnvFrom),
        2 => select(&["url", "user"][..]).prop_map(Form::Key),
        2 => Just(Form::Volume),
        1 => Just(Form::Projected),
    ];
    (target, form, prop::bool::weighted(0.15))
        .prop_map(|((kind, name), form, optional)| Reference {
            kind,
            name,
            form,
            optional,
        })
        .boxed()
}
