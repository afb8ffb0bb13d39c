//! What holds for any record, manifest and plan.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::{Value, json};

use crate::{
    findings::{Change, Fact, Level, report},
    lifecycle::{Operation, Stage},
    live::LiveObjects,
    manifest::{self, ObjectId},
    plan::{Action, Plan, Presence},
    record::{self, Driver, Record},
    release::Release,
    testing::{NAMESPACE, Revision, config, doc, gzip, live, pods, revision, secret, volumes},
    yaml,
};

const PLENTY: u64 = 1 << 20;

fn record_content() -> impl Strategy<Value = Value> {
    let hook = (
        ".*",
        ".*",
        vec("[a-z-]*", 0..3),
        any::<i32>(),
        vec(".*", 0..3),
    );
    let hook = hook.prop_map(|(name, manifest, events, weight, policies)| {
        json!({
            "name": name, "kind": "Job", "path": "", "manifest": manifest, "events": events, "weight": weight,
            "delete_policies": policies, "last_run": {"started_at": "", "completed_at": "", "phase": "Succeeded"},
        })
    });
    (".*", ".*", any::<u64>(), "(?s).*", vec(hook, 0..4), "[a-z-]*", select(vec!["", "ssa", "csa"])).prop_map(
        |(name, namespace, version, manifest, hooks, status, method)| {
            json!({
                "name": name, "namespace": namespace, "version": version, "manifest": manifest, "hooks": hooks,
                "info": {"status": status, "first_deployed": "", "notes": ""}, "apply_method": method,
                "chart": {"values": {"a": [1, null]}},
            })
        },
    )
}

/// Data that is a record, nearly one, or none at all.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let nearly = || {
        let edits = vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
        (record_content(), edits).prop_map(|(content, edits)| {
            let mut json = content.to_string().into_bytes();
            for (at, byte) in edits {
                let at = at.index(json.len());
                json[at] = byte;
            }
            json
        })
    };
    let broken = (nearly(), any::<prop::sample::Index>(), any::<u8>());
    let broken = broken.prop_map(|(json, at, byte)| {
        let mut bytes = gzip(&json);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![
        vec(any::<u8>(), 0..200),
        nearly(),
        nearly().prop_map(|json| gzip(&json)),
        broken
    ]
}

/// Text in which much is syntax.
fn yaml_text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "b: ",
        "kind: X\n",
        "- ",
        "? ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "\r\n",
        "|\n",
        ">-\n",
        "|2",
        "'",
        "\"",
        "\\",
        "\\x4",
        "&a ",
        "*a",
        "!",
        "!!str ",
        "!b,",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "#",
        " # c\n",
        "---",
        "\n---\n",
        "...\n",
        "%YAML 1.1\n",
        "%TAG ! x",
        "<<: ",
        "~",
        "0x1f",
        "1_0.5e3",
        ".inf",
        "yes",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\0",
        "@",
    ]);
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// An object in a chart: regular, or a hook.
#[derive(Debug, Clone)]
struct Piece {
    kind: &'static str,
    name: &'static str,
    hook: Option<Hook>,
    keep: bool,
}

#[derive(Debug, Clone)]
struct Hook {
    events: Vec<&'static str>,
    policies: Option<Vec<&'static str>>,
    weight: i8,
}

fn piece() -> impl Strategy<Value = Piece> {
    let events = [
        "pre-install",
        "post-install",
        "pre-upgrade",
        "post-upgrade",
        "pre-rollback",
        "post-rollback",
        "test",
    ];
    let policies = ["before-hook-creation", "hook-succeeded", "hook-failed"];
    let policies = prop::option::of(subsequence(policies.to_vec(), 1..3));
    let hook = (subsequence(events.to_vec(), 1..4), policies, -1..2_i8);
    let hook = hook.prop_map(|(events, policies, weight)| Hook {
        events,
        policies,
        weight,
    });
    (
        select(vec![
            "ConfigMap",
            "Secret",
            "Job",
            "Deployment",
            "ClusterRole",
        ]),
        select(vec!["a", "b", ""]),
        prop::option::of(hook),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(kind, name, hook, keep)| Piece {
            kind,
            name,
            hook,
            keep,
        })
}

impl Piece {
    fn text(&self) -> String {
        let spec = volumes(&["configMap: {name: a}", "secret: {secretName: b}"]);
        let mut text = match self.kind {
            "ConfigMap" => config(self.name),
            "Secret" => secret(self.name),
            "ClusterRole" => doc("rbac.authorization.k8s.io/v1", self.kind, self.name),
            kind => pods(kind, self.name, &spec),
        };
        if let Some(Hook {
            events,
            policies,
            weight,
        }) = &self.hook
        {
            text = text.hook(&events.join(",")).weight(&weight.to_string());
            if let Some(policies) = policies {
                text = text.policy(&policies.join(","));
            }
        }
        let text = if self.keep { text.keep() } else { text };
        text.to_string()
    }
}

fn chart_revision(number: u64, pieces: &[Piece]) -> Revision {
    let texts: Vec<_> = pieces.iter().map(Piece::text).collect();
    let docs: Vec<&dyn std::fmt::Display> = texts.iter().map(|text| text as _).collect();
    revision(number, &docs)
}

#[derive(Debug)]
struct Scenario {
    operation: Operation,
    current: Option<Release>,
    target: Release,
    live: LiveObjects,
}

impl Scenario {
    fn plan(&self) -> Plan {
        Plan::new(
            self.operation,
            self.current.as_ref(),
            &self.target,
            &self.live,
        )
    }

    fn was_regular(&self, id: &ObjectId) -> bool {
        self.current
            .iter()
            .flat_map(|current| &current.resources)
            .any(|object| object.id == *id)
    }

    fn is_regular(&self, id: &ObjectId) -> bool {
        self.target.resources.iter().any(|object| object.id == *id)
    }
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let operation = select(vec![
        Operation::Install,
        Operation::Upgrade,
        Operation::Rollback,
    ]);
    (
        operation,
        vec(piece(), 0..6),
        vec(piece(), 0..6),
        any::<(bool, bool, bool)>(),
        subsequence(vec!["a", "b"], 0..3),
    )
        .prop_map(|(operation, v1, v2, (ssa_before, ssa, failed), kept)| {
            let method = |revision: Revision, ssa| {
                if ssa {
                    revision.server_side()
                } else {
                    revision
                }
            };
            let status = if failed { "failed" } else { "deployed" };
            let current = method(chart_revision(1, &v1), ssa_before)
                .status(status)
                .ran();
            let target = method(chart_revision(2, &v2), ssa);
            Scenario {
                operation,
                current: (operation != Operation::Install).then(|| current.release()),
                target: target.release(),
                live: kept
                    .into_iter()
                    .map(|name| (config_id(name), live(true)))
                    .collect(),
            }
        })
}

fn config_id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn records_are_read_as_they_were_written(content in record_content()) {
        let written: Record = serde_json::from_value(content.clone()).unwrap();
        let stored = Revision { content: content.clone() };
        prop_assert_eq!(&record::decode(&stored.secret(), Driver::Secret, PLENTY).unwrap(), &written);
        prop_assert_eq!(&record::decode(&stored.config_map(), Driver::ConfigMap, PLENTY).unwrap(), &written);
        let plain = json!({"data": {"release": BASE64_STANDARD.encode(content.to_string())}});
        prop_assert_eq!(record::decode(&plain, Driver::ConfigMap, PLENTY).unwrap(), written);
    }

    #[test]
    fn whatever_is_in_a_record_nothing_panics(data in data(), text in ".*") {
        let helm = BASE64_STANDARD.encode(&data);
        let kubernetes = BASE64_STANDARD.encode(&helm);
        for (driver, release) in [(Driver::Secret, kubernetes), (Driver::ConfigMap, helm), (Driver::Secret, text.clone()), (Driver::ConfigMap, text)] {
            let object = json!({"data": {"release": release}});
            let Ok(release) = record::decode(&object, driver, PLENTY) else { continue };
            let _ = release.info.rollback_target();
            let _ = Release::parse(release);
        }
    }

    #[test]
    fn whatever_a_manifest_is_nothing_panics(text in yaml_text(), any in "(?s).*") {
        let _ = yaml::parse(&text);
        let _ = manifest::parse(&text, NAMESPACE);
        let _ = manifest::parse(&any, NAMESPACE);
    }

    #[test]
    fn a_manifest_has_the_documents_that_were_put_in(
        names in vec("[a-z]{1,8}", 0..6),
        separators in vec(select(vec!["\n---\n", "\r\n---\r\n", "\n--- # c\n", "\n---\n---\n", "\n---\n# Source: x\n", "\n---   \n\n"]), 6),
        lead in select(vec!["", "\n", "---\n", "# c\n---\n"]),
        tail in select(vec!["", "\n", "\n---", "\n---\n"]),
    ) {
        let mut text = lead.to_owned();
        for (index, (name, separator)) in names.iter().zip(&separators).enumerate() {
            let separator = if index == 0 { "" } else { separator };
            text += &format!("{separator}apiVersion: v1\nkind: X\nmetadata:\n  name: '{name}'\ndata:\n  text: |\n    ---\n    {name}");
        }
        text += tail;
        let objects = manifest::parse(&text, NAMESPACE).unwrap();
        let found: Vec<_> = objects.into_iter().map(|object| object.id.name).collect();
        prop_assert_eq!(found, names, "{}", text);
    }

    #[test]
    fn plans_hold_to_what_helm_promises(scenario in scenario()) {
        let plan = scenario.plan();
        let pruned: Vec<_> = plan.steps.iter().filter(|step| step.action == Action::Prune).map(|step| &step.object).collect();
        for id in &pruned {
            prop_assert!(scenario.was_regular(id) && !scenario.is_regular(id), "{id}");
            prop_assert_eq!(pruned.iter().filter(|other| other == &id).count(), 1);
        }
        for object in &scenario.target.resources {
            let id = &object.id;
            if plan.fails() || id.name.is_empty() {
                continue;
            }
            prop_assert_eq!(plan.after_prune(id), Presence::Present, "{}", id);
            let deletes_itself = plan.actions(id).any(|action| action == Action::DeleteAfterHook(Stage::Post));
            prop_assert!(deletes_itself || plan.at_end(id) == Presence::Present, "{id}");
        }
        for (id, _) in scenario.live.iter() {
            let hooked = plan.actions(id).any(|action| matches!(action, Action::DeleteBeforeHook(_) | Action::CreateHook(_) | Action::PatchHook(_)));
            prop_assert!(hooked || !pruned.contains(&id), "{id}");
        }
        if scenario.operation == Operation::Install {
            prop_assert!(pruned.is_empty());
        }
    }

    #[test]
    fn the_same_chart_again_prunes_nothing(pieces in vec(piece(), 0..6), ssa in any::<bool>()) {
        let revision = |number| {
            let revision = chart_revision(number, &pieces);
            if ssa { revision.server_side().release() } else { revision.release() }
        };
        for operation in [Operation::Upgrade, Operation::Rollback] {
            let plan = Plan::new(operation, Some(&revision(1)), &revision(2), &LiveObjects::default());
            let takes = |action| matches!(action, Action::Prune | Action::Keep);
            prop_assert!(!plan.steps.iter().any(|step| takes(step.action)));
        }
    }

    #[test]
    fn findings_are_about_what_the_plan_shows(scenario in scenario()) {
        let plan = scenario.plan();
        let change = Change {
            operation: scenario.operation,
            current: scenario.current.as_ref(),
            target: &scenario.target,
            plan: &plan,
            live: &scenario.live,
        };
        let findings = report(change).unwrap().findings;
        let mut seen = Vec::new();
        for finding in &findings {
            let id = &finding.object;
            prop_assert!(!seen.contains(&(finding.lint().name, id)), "{finding} twice");
            seen.push((finding.lint().name, id));
            prop_assert!(!finding.ways_out().is_empty(), "{finding}");
            prop_assert!(!finding.to_string().contains('\n'));
            match finding.fact {
                Fact::HookPruned(_) | Fact::HookHelperPruned(_) => {
                    prop_assert!(scenario.was_regular(id));
                    prop_assert_eq!(plan.at_end(id), Presence::Absent, "{}", finding);
                }
                Fact::DanglingReference(_) | Fact::HookSelfDeleted(_) => {
                    prop_assert_eq!(plan.at_end(id), Presence::Absent, "{}", finding);
                    prop_assert!(!finding.consumers.is_empty());
                }
                Fact::HookTooLate(_) => prop_assert_ne!(plan.after_prune(id), Presence::Present),
                Fact::NamespaceDeleted(_) | Fact::CrdDeleted(_) | Fact::MakerDeleted(_) | Fact::OtherRelease(_) => {
                    prop_assert!(plan.actions(id).any(|action| action == Action::Prune), "{finding}");
                }
                Fact::HookNotRun(_) => {
                    prop_assert!(!scenario.is_regular(id) && plan.actions(id).next().is_none(), "{finding}");
                    prop_assert!(!finding.consumers.is_empty());
                }
                Fact::HookWaits(_) => {
                    prop_assert!(!scenario.was_regular(id));
                    prop_assert!(finding.consumers.iter().all(ObjectId::runs_to_completion), "{finding}");
                }
                Fact::HookRecreatesObject(_) => prop_assert_eq!(plan.at_end(id), Presence::Present, "{}", finding),
                Fact::HookConflict(_) | Fact::HookRecreatesStorage(_) | Fact::NoRollout(_) => {}
            }
        }
    }

    /// Nothing leaves, no hook comes or goes or deletes itself: only what objects hold differs.
    #[test]
    fn what_loses_nothing_is_never_rejected(
        pieces in vec(piece(), 0..8),
        is_rollback in any::<bool>(),
        ssa in any::<(bool, bool)>(),
        failed in any::<bool>(),
        ran in any::<bool>(),
        kept in subsequence(vec!["a", "b"], 0..3),
    ) {
        let deletes_itself = |piece: &Piece| {
            let policies = piece.hook.iter().filter_map(|hook| hook.policies.as_ref());
            policies.flatten().any(|policy| *policy == "hook-succeeded")
        };
        let stays: Vec<_> = pieces.into_iter().filter(|piece| !deletes_itself(piece)).collect();
        let with = |number, value: &str, ssa| {
            let texts: Vec<_> = stays.iter().map(|piece| piece.text().replace("key: value", &format!("key: {value}"))).collect();
            let docs: Vec<&dyn std::fmt::Display> = texts.iter().map(|text| text as _).collect();
            let revision = revision(number, &docs);
            if ssa { revision.server_side() } else { revision }
        };
        let before = with(1, "one", ssa.0).status(if failed { "failed" } else { "deployed" });
        let before = if ran { before.ran() } else { before };
        let scenario = Scenario {
            operation: if is_rollback { Operation::Rollback } else { Operation::Upgrade },
            current: Some(before.release()),
            target: with(2, "two", ssa.1).release(),
            live: kept.into_iter().map(|name| (config_id(name), live(true))).collect(),
        };
        let plan = scenario.plan();
        let change = Change {
            operation: scenario.operation,
            current: scenario.current.as_ref(),
            target: &scenario.target,
            plan: &plan,
            live: &scenario.live,
        };
        for finding in report(change).unwrap().findings {
            let level = finding.lint().default_level;
            prop_assert!(level != Level::Reject || finding.is_uncertain(), "{finding}");
        }
    }
}
