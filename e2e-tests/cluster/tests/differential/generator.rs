//! Small random scenarios in which every finding occurs sometimes.
//!
//! Every choice lists the simplest alternative first, because shrinking prefers it.

use cluster_tests::HelmVersion;
use helm_plan::record::Driver;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::objects::{Form, Hook, Item, Kind, Listing, Look, Place, Reference, State, template};
use crate::scenario::{Action, Command, Scenario};

/// Scenarios for a version of Helm. Some scenarios for Helm 4 start with Helm 3.
pub(crate) fn scenarios(helm: HelmVersion) -> impl Strategy<Value = Scenario> {
    let web = item(Just((Kind::Deployment, "web")), true);
    let items = vec(item(kind_and_name(), false), 3..10);
    let driver = prop_oneof![4 => Just(Driver::Secret), 1 => Just(Driver::ConfigMap)];
    (
        driver,
        web,
        situation(),
        items,
        first_helm(helm),
        commands(helm),
    )
        .prop_map(|(driver, web, situation, items, install, commands)| {
            let mut items: Vec<_> = std::iter::once(web).chain(situation).chain(items).collect();
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
                    .chain(commands.into_iter().flatten())
                    .collect(),
            }
        })
}

fn first_helm(helm: HelmVersion) -> BoxedStrategy<Command> {
    let install = |version, flags: &[&str]| Command::Helm {
        version,
        action: Action::Install(1),
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
    };
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
fn commands(helm: HelmVersion) -> impl Strategy<Value = Vec<Vec<Command>>> {
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
    let keep = prop_oneof![
        6 => Just(None),
        1 => select(&KEPT[..]).prop_map(Some),
    ];
    let command = (
        action,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.4),
        server_side,
        keep,
    )
        .prop_map(
            move |(action, no_hooks, take_ownership, server_side, keep)| {
                let is_upgrade = matches!(action, Action::Upgrade(_));
                let flags = [
                    no_hooks.then_some("--no-hooks"),
                    (take_ownership && is_upgrade).then_some("--take-ownership"),
                    server_side,
                ];
                let helm = Command::Helm {
                    version: helm,
                    action,
                    flags: flags.into_iter().flatten().map(str::to_owned).collect(),
                };
                let keep = keep.map(|object| Command::Keep(object.to_owned()));
                keep.into_iter().chain([helm]).collect()
            },
        );
    vec(command, 1..4)
}

const KEPT: [&str; 6] = [
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
        [state().boxed(), state().boxed(), state().boxed()]
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

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        6 => Just(State::Absent),
        16 => look().prop_map(State::Regular),
        18 => (look(), hook()).prop_map(|(look, hook)| State::Hook(look, hook)),
        2 => (look(), hook()).prop_map(|(look, hook)| State::Both(look, hook)),
        1 => look().prop_map(State::Twice),
    ]
}

/// Situations that need several objects, which are rare by chance.
fn situation() -> impl Strategy<Value = Vec<Item>> {
    prop_oneof![
        6 => Just(Vec::new()),
        1 => hook().prop_map(helpers_become_hooks),
        1 => prop::bool::ANY.prop_map(config_changes),
        1 => hook().prop_map(upgrade_fails),
    ]
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
    let helper = |kind| Item {
        kind,
        name: "helper",
        references: Vec::new(),
        charts: [
            regular(),
            State::Hook(Look::plain(), hook("pre-upgrade")),
            State::Hook(Look::plain(), hook("pre-install,pre-upgrade")),
        ],
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
    let reference = Reference {
        kind: Kind::ConfigMap,
        name: "a",
        form: Form::EnvFrom,
        optional: false,
    };
    let api = Item {
        kind: Kind::Deployment,
        name: "api",
        references: vec![reference],
        charts: [(); 3].map(|()| State::Regular(Look::plain())),
    };
    vec![config, api]
}

fn look() -> impl Strategy<Value = Look> {
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
    )
        .prop_map(
            |(content, one_key, place, keep, listing, extra, fails)| Look {
                content,
                one_key,
                place,
                keep,
                listing,
                extra,
                fails,
            },
        )
}

fn hook() -> impl Strategy<Value = Hook> {
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
    (events(), weight, delete_policy).prop_map(|(events, weight, delete_policy)| Hook {
        events,
        weight,
        delete_policy,
    })
}

fn events() -> impl Strategy<Value = String> {
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
}

fn reference() -> impl Strategy<Value = Reference> {
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
    (target, form, prop::bool::weighted(0.15)).prop_map(|((kind, name), form, optional)| {
        Reference {
            kind,
            name,
            form,
            optional,
        }
    })
}
