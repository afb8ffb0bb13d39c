//! The program on rendered charts and on a release: what it prints, and how it exits.
//!
//! The reports are in `snapshots/`. `INSTA_UPDATE=always cargo test -p rollout-guard-check` writes them
//! again; review the diff.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml does not reach the helpers of integration tests"
)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use insta::{Settings, assert_snapshot};

/// Runs the program in `tests/`, with a `helm` and a `kubectl` that answer from `tests/releases`.
fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollout-guard-check"));
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .env("HELM_BIN", "releases/helm")
        .env("KUBECTL", "releases/kubectl")
        .args(arguments);
    command
}

/// With the live objects in this folder: what it prints to stdout and stderr, if it exits with this code.
#[track_caller]
fn with_live(live: &str, arguments: &[&str], code: i32) -> (String, String) {
    let output = program(arguments).env("LIVE", live).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

/// What it prints, if it exits with this code.
#[track_caller]
fn report(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// Its report for people and its report for programs, if it exits with this code.
#[track_caller]
fn assert_report(name: &str, arguments: &[&str], code: i32) {
    assert_printed(name, report(arguments, code));
    let json = report(&[arguments, &["--output", "json"]].concat(), code);
    assert_printed(&format!("{name}-json"), json);
}

#[track_caller]
fn assert_printed(name: &str, printed: String) {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(name, printed));
}

/// What it prints when it does not check: exit code 2, and no report.
#[track_caller]
fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    String::from_utf8(output.stderr).unwrap()
}

const BEFORE: &str = "charts/before.yaml";
const AFTER: &str = "charts/after.yaml";
const OLD: &str = "versions/old";
const NEW: &str = "versions/new";
const WARNINGS: &str = "charts/warnings.yaml";
const IN_SHOP: [&str; 4] = ["--release", "yahoo", "--namespace", "shop"];

fn charts<'a>(before: &'a str, after: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["charts", before, after], IN_SHOP.as_slice(), more].concat()
}

#[test]
fn the_trap() {
    let trap = charts(BEFORE, AFTER, &[]);
    assert_report("trap", &trap, 1);
}

#[test]
fn no_findings() {
    assert_report("no-findings", &["charts", AFTER, AFTER], 0);
}

#[test]
fn warnings_only() {
    let warnings = charts(BEFORE, WARNINGS, &[]);
    assert_report("warnings", &warnings, 0);
}

/// With server-side apply, Helm sends each workload, so the config that changes is rolled out.
#[test]
fn one_warning() {
    let warnings = charts(BEFORE, WARNINGS, &["--apply", "server"]);
    assert_report("one-warning", &warnings, 0);
}

#[test]
fn rollback() {
    assert_report("rollback", &ROLLBACK, 1);
}

/// Revision 3 has failed, so an upgrade begins with revision 2, which is deployed.
#[test]
fn upgrade_after_a_failed_one() {
    assert_report("upgrade", &["upgrade", "web", "./web"], 1);
}

const ROLLBACK: [&str; 3] = ["rollback", "web", "1"];

/// Helm keeps an object that somebody has annotated, and so would the policy say.
#[test]
fn a_live_object_that_is_kept_is_no_finding() {
    let (report, errors) = with_live("kept", &ROLLBACK, 0);
    assert_eq!(errors, "");
    let end = "\n\nNo findings: the release keeps what its pods need.\n";
    assert!(report.ends_with(end), "{report}");
}

/// What cannot be looked at is no reason to stop: the manifest decides, and a note tells which object, why,
/// and what was asked.
#[test]
fn a_live_object_that_cannot_be_seen_counts_as_its_manifest_says() {
    let (report, errors) = with_live("forbidden", &ROLLBACK, 1);
    assert!(
        report.ends_with("\n\n1 rejected, 0 warnings.\n"),
        "{report}"
    );
    assert_eq!(
        errors,
        "Note: kubectl cannot look at ConfigMap web-config, so the manifest decides: Error from server (Forbidden): nobody may see: \
         kubectl get --ignore-not-found --output=json --show-managed-fields --namespace=shop -- ConfigMap.v1. web-config\n"
    );
    let (_, errors) = with_live("odd", &ROLLBACK, 1);
    assert_eq!(
        errors,
        "Note: kubectl cannot look at ConfigMap web-config, so the manifest decides: cannot read the output of kubectl: \
         expected ident at line 1 column 2\n"
    );
}

/// Look-ups are bounded, as for the policy. One note tells of all that failed.
#[test]
fn many_live_objects() {
    let upgrade = ["upgrade", "many", "./many"];
    let (_, errors) = with_live("forbidden", &upgrade, 1);
    let (first, rest) = errors.split_once("\n").unwrap();
    let expected = "Note: kubectl cannot look at ConfigMap c00 and 31 more objects, so the manifest decides: Error from server";
    assert!(first.starts_with(expected), "{first}");
    let expected = "Note: 2 more live objects were not looked at, so their manifests decide.\n";
    assert_eq!(rest, expected);
}

/// The flags after `--` are for all commands of Helm, and kubectl has other names for them.
#[test]
fn flags_and_variables_of_helm_reach_kubectl() {
    let asked = |arguments: &[&str], variable: (&str, &str)| {
        let output = program(arguments)
            .envs([("LIVE", "forbidden"), variable])
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let errors = asked(&ROLLBACK, ("HELM_KUBECONTEXT", "prod"));
    let expected = "kubectl get --context=prod --ignore-not-found";
    assert!(errors.contains(expected), "{errors}");
    let flags = ["--", "--kube-context", "prod", "--kube-as-user=deployer"];
    let upgrade = [["upgrade", "db", "./db"].as_slice(), &flags].concat();
    let errors = asked(&upgrade, ("HELM_KUBECONTEXT", "test"));
    let expected = "kubectl get --context=prod --as=deployer --ignore-not-found";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn a_kubectl_that_is_missing() {
    let output = program(&ROLLBACK)
        .env("KUBECTL", "releases/no-kubectl")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Note: kubectl cannot look at ConfigMap web-config, so the manifest decides: \
         cannot run releases/no-kubectl: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_token_is_never_an_argument() {
    let output = program(&ROLLBACK)
        .envs([("LIVE", "forbidden"), ("HELM_KUBETOKEN", "hunter2")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Note: kubectl cannot look at ConfigMap web-config, so the manifest decides: helm has its token from HELM_KUBETOKEN, and kubectl \
         takes one only as an argument, which others on this machine can see\n"
    );
}

/// A release that does not exist, as `helm upgrade --install` would begin it.
#[test]
fn install() {
    assert_report("install", &["upgrade", "new", "./new"], 0);
}

/// With `helm uninstall --keep-history` there are revisions, but no current one.
#[test]
fn install_after_an_uninstall() {
    let report = report(&["upgrade", "gone", "./gone"], 0);
    let title = "helm install of release gone in namespace shop, as revision 2\n\nHelm would:\n  apply Deployment gone\n";
    assert!(report.starts_with(title), "{report}");
}

/// A rollback needs a revision.
#[test]
fn a_rollback_of_a_release_that_does_not_exist() {
    assert_eq!(
        error(&["rollback", "new", "1"]),
        "Error: helm history new failed: Error: release: not found\n"
    );
}

/// Names, namespaces and hook events come from records, and a record can hold any of them.
#[test]
fn control_characters_never_reach_the_terminal() {
    let (text, errors) = with_live("forbidden", &["upgrade", "odd", "./odd"], 1);
    let (json, _) = with_live(
        "forbidden",
        &["upgrade", "odd", "./odd", "--output", "json"],
        1,
    );
    for printed in [&text, &json, &errors] {
        let odd = printed.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{printed:?}");
    }
    assert_printed("control-characters", format!("{errors}{text}"));
}

#[test]
fn levels_of_the_settings() {
    let warned = charts(BEFORE, AFTER, &["--settings", "charts/settings.yaml"]);
    let report = report(&warned, 0);
    assert!(
        report.contains("\nwarn hook-pruned: ConfigMap basic-app-config is a regular resource"),
        "{report}"
    );
    assert!(report.ends_with("\n\n0 rejected, 1 warning.\n"), "{report}");
}

#[test]
fn what_the_policy_keeps_is_a_warning() {
    let (code, output) =
        with_settings(r#"{"releaseGuard": {"findings": {"hook-pruned": "rescue"}}}"#);
    assert_eq!(code, Some(0));
    assert_printed("rescue", output);
}

/// Settings that have no levels are valid. A misspelled name would be passed over, so a note says it.
#[test]
fn settings_without_levels_are_noted() {
    let (code, output) = with_settings("releaseGard: {findings: {hook-pruned: warn}}");
    assert_eq!(code, Some(1));
    assert!(
        output.starts_with(
            "Note: - has no `releaseGuard.findings`, so each finding has its default level.\n"
        ),
        "{output}"
    );
}

/// The trap with settings from standard input: the exit code, and stderr and stdout.
fn with_settings(settings: &str) -> (Option<i32>, String) {
    let mut program = program(&charts(BEFORE, AFTER, &["--settings", "-"]));
    let piped = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = piped.spawn().unwrap();
    program
        .stdin
        .take()
        .unwrap()
        .write_all(settings.as_bytes())
        .unwrap();
    let output = program.wait_with_output().unwrap();
    let printed = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn settings_that_are_wrong() {
    let wrong = with_settings("releaseGuard: {findings: {hook-pruned: deny}}");
    let expected = "Error: -: releaseGuard.findings.hook-pruned: unknown variant `deny`, expected one of `reject`, `rescue`, `warn`, `ignore`\n";
    assert_eq!(wrong, (Some(2), expected.to_owned()));
}

#[test]
fn a_chart_that_cannot_be_read() {
    assert_eq!(
        error(&["charts", "charts/none.yaml", AFTER]),
        "Error: cannot read charts/none.yaml: No such file or directory (os error 2)\n"
    );
    let text = error(&["charts", "releases/helm", AFTER]);
    assert!(text.starts_with("Error: releases/helm: "), "{text}");
    assert_eq!(text.matches("line ").count(), 1, "{text}");
}

#[test]
fn a_helm_that_fails() {
    let all = ["--namespace", "shop", "--", "--set", "a=b"];
    assert_eq!(
        error(&[["upgrade", "api", "./api"].as_slice(), &all].concat()),
        "Error: helm upgrade api ./api --dry-run=server --set a=b failed: \
         Error: nothing is known of: upgrade api ./api --dry-run=server --set a=b --output json --namespace=shop\n"
    );
    assert_eq!(
        error(&["rollback", "web", "9"]),
        "Error: helm status web --revision 9 failed: \
         Error: nothing is known of: status web --revision 9 --output json\n"
    );
}

#[test]
fn a_helm_that_is_missing() {
    let output = program(&["rollback", "web", "1"])
        .env("HELM_BIN", "releases/no-helm")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Error: cannot run releases/no-helm: No such file or directory (os error 2)\n"
    );
}

#[test]
fn wrong_arguments() {
    let text = error(&["charts", BEFORE]);
    assert!(text.contains("<AFTER>"), "{text}");
}

/// One finding with each file of values, one with the password alone; and what would be lost on the way back.
#[test]
fn two_versions_of_a_chart() {
    for (output, name) in [
        ("text", "chart"),
        ("json", "chart-json"),
        ("github", "chart-github"),
        ("sarif", "chart-sarif"),
    ] {
        let printed = report(&["chart", OLD, NEW, "--output", output], 1);
        assert_printed(name, printed);
    }
}

#[test]
fn the_same_chart_twice() {
    let printed = report(&["chart", OLD, OLD], 0);
    let expected = "chart versions/old → versions/old\nrendered with the default values, ci/password-values.yaml\n\n\
                    No findings: an upgrade keeps what its pods need, and so does the way back.\n";
    assert_eq!(printed, expected);
    assert_eq!(report(&["chart", OLD, OLD, "--output", "github"], 0), "");
}

/// What only the way back loses is a warning: it must not stop the change that mends a chart.
#[test]
fn the_way_back() {
    let printed = report(&["chart", NEW, OLD], 0);
    assert!(
        printed.contains(
            "\nThe way back, with helm rollback:\n\nwarn hook-pruned: ConfigMap release-name-config"
        ),
        "{printed}"
    );
}

/// The log is read with the types of the format.
#[test]
fn sarif_is_valid() {
    let printed = report(&["chart", OLD, NEW, "--output", "sarif"], 1);
    let log: serde_sarif::sarif::Sarif = serde_json::from_str(&printed).unwrap();
    let results = log
        .runs
        .into_iter()
        .flat_map(|run| run.results.unwrap_or_default());
    let rules: Vec<_> = results.filter_map(|result| result.rule_id).collect();
    assert_eq!(rules, ["hook-pruned", "dangling-reference"]);
}

/// A repository of three charts, with a change in one: its annotations name the files and lines of the work tree.
#[test]
fn the_charts_that_a_pull_request_changes() {
    let repository = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .current_dir(&repository)
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    let write = |path: &str, text: &str| {
        let path = repository.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    // What the fake helm prints stands for the templates.
    let rendered = |file: &str| {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
        std::fs::read_to_string(format!("{tests}/{file}")).unwrap()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    for chart in ["api", "db", "web"] {
        write(&format!("charts/{chart}/Chart.yaml"), "name: basic-app\n");
        write(
            &format!("charts/{chart}/rendered/default.yaml"),
            &rendered(BEFORE),
        );
    }
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=all"]);
    git(&["checkout", "--quiet", "-b", "change"]);
    let changed_since = |base: &str, arguments: &[&str]| {
        let output = program(&[&["changed", "--base", base], arguments].concat())
            .env(
                "HELM_BIN",
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/releases/helm"),
            )
            .current_dir(&repository)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            errors,
        )
    };
    let changed = |arguments: &[&str]| changed_since("main", arguments);
    let nothing = "No chart has changed.\n".to_owned();
    assert_eq!(changed(&[]), (Some(0), nothing.clone(), String::new()));

    write("charts/web/rendered/default.yaml", &rendered(AFTER));
    let template = "apiVersion: v1\n\nkind: ConfigMap\nmetadata:\n  name: basic-app-config\n";
    write("charts/web/templates/configmap.yaml", template);
    write("README.md", "");
    for committed in [false, true] {
        git(&["add", "--all"]);
        if committed {
            git(&["commit", "--quiet", "--message=change"]);
        }
        let (code, annotations, errors) = changed(&["--output", "github"]);
        assert_eq!((code, errors.as_str()), (Some(1), ""));
        let start = "::error file=charts/web/templates/configmap.yaml,line=3,title=hook-pruned::hook-pruned: ConfigMap basic-app-config";
        assert!(annotations.starts_with(start), "{annotations}");
        assert_eq!(annotations.lines().count(), 1, "{annotations}");
    }
    assert_eq!(
        changed_since("HEAD", &[]),
        (Some(0), nothing.clone(), String::new())
    );

    write("charts/new/Chart.yaml", "name: new\n");
    git(&["add", "--all"]);
    let new = "Note: charts/new is new, so there is nothing to lose.\n".to_owned();
    assert_eq!(changed_since("HEAD", &[]), (Some(0), nothing, new));
    let (code, _, errors) = changed_since("nowhere", &[]);
    assert_eq!(code, Some(2));
    assert!(
        errors.starts_with("Error: git merge-base -- nowhere HEAD failed: "),
        "{errors}"
    );
}

/// An archive has no files that could be named.
#[test]
fn an_archive_of_a_chart() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("web.tgz");
    let file = std::fs::File::create(&archive).unwrap();
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        file,
        flate2::Compression::fast(),
    ));
    let new = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/versions/new");
    builder.append_dir_all("web", new).unwrap();
    builder.into_inner().unwrap().finish().unwrap();
    let printed = report(
        &[
            "chart",
            OLD,
            archive.to_str().unwrap(),
            "--output",
            "github",
        ],
        1,
    );
    assert!(
        printed
            .starts_with("::error title=hook-pruned::hook-pruned: ConfigMap release-name-config"),
        "{printed}"
    );
}

#[test]
fn a_chart_that_is_none() {
    let text = error(&["chart", OLD, "charts/before.yaml"]);
    assert!(
        text.starts_with("Error: charts/before.yaml is not the archive of a chart: "),
        "{text}"
    );
    let text = error(&["chart", OLD, "charts/none"]);
    assert!(
        text.starts_with("Error: helm pull charts/none --untar --untardir="),
        "{text}"
    );
}

/// The records of the recorded trap: what was pending, and what it began with.
fn saved_trap() -> (serde_json::Value, serde_json::Value) {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/recordings/helm3/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2.json"
    );
    let recording = std::fs::read_to_string(file).unwrap();
    let mut recording: serde_json::Value = serde_json::from_str(&recording).unwrap();
    let mut part = |path| recording.pointer_mut(path).unwrap().take();
    let (cluster, pending) = (part("/cluster"), part("/request/object"));
    let objects = cluster.as_array().unwrap();
    let is_record = |object: &serde_json::Value| object["type"] == "helm.sh/release.v1";
    let before = objects
        .iter()
        .find(|object| is_record(object))
        .unwrap()
        .clone();
    (before, pending)
}

/// What is printed for these files.
fn judged(texts: &[String]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let file = folder.path().join(format!("{index}.json"));
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        })
        .collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    run(&[&["record"], files.as_slice()].concat())
}

#[test]
fn saved_records() {
    let (before, pending) = saved_trap();
    let list = serde_json::json!({"kind": "List", "items": [pending, before]});
    let event = |object: &serde_json::Value| {
        serde_json::json!({"kind": "Event", "verb": "create", "requestObject": object}).to_string()
    };
    let other =
        serde_json::json!({"kind": "Event", "verb": "create", "requestObject": {"kind": "Pod"}});
    let yaml = |object: &serde_json::Value| format!("---\n# saved\n{object}\n");
    for (case, texts) in [
        ("a list", vec![list.to_string()]),
        ("two files", vec![pending.to_string(), before.to_string()]),
        (
            "an audit log",
            vec![[event(&before), other.to_string(), event(&pending)].join("\n")],
        ),
        ("YAML", vec![[yaml(&pending), yaml(&before)].concat()]),
    ] {
        let output = judged(&texts);
        let report = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), errors.as_str()),
            (Some(1), ""),
            "{case}"
        );
        let titles: Vec<_> = report
            .lines()
            .filter(|line| line.starts_with("helm "))
            .collect();
        let namespace = before["metadata"]["namespace"].as_str().unwrap();
        assert_eq!(
            titles,
            [
                format!("helm install of release yahoo in namespace {namespace}, as revision 1"),
                format!(
                    "helm upgrade of release yahoo in namespace {namespace}, from revision 1 to 2"
                ),
            ],
            "{case}"
        );
        assert!(
            report.contains("\nreject hook-pruned: ConfigMap basic-app-config"),
            "{case}: {report}"
        );
    }
}

#[test]
fn saved_records_that_cannot_be_compared() {
    let (before, pending) = saved_trap();
    let output = judged(&[pending.to_string()]);
    assert_eq!(output.status.code(), Some(0));
    let namespace = before["metadata"]["namespace"].as_str().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "Note: revision 2 of release yahoo in namespace {namespace} was not compared: the revision before it was not saved.\n"
        )
    );
    let text = error(&["record", BEFORE]);
    assert_eq!(
        text,
        "Error: charts/before.yaml: there is no release record in it\n"
    );
    let broken = serde_json::json!({
        "kind": "Secret", "type": "helm.sh/release.v1", "metadata": {"name": "sh.helm.release.v1.web.v1"},
        "data": {"release": "%"},
    });
    let output = judged(&[broken.to_string()]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("0.json: release record sh.helm.release.v1.web.v1: data.release: "),
        "{errors}"
    );
}

/// What the program prints of a cluster whose kubectl answers from these files.
fn in_cluster(files: &[(&str, String)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut program = program(&[&["cluster"], arguments].concat());
    program
        .env("KUBECTL", "releases/kubectl-cluster")
        .env("CLUSTER", folder.path())
        .output()
        .unwrap()
}

/// The trap has happened: revision 2 is deployed, its ConfigMap is gone, and a Deployment needs it.
#[test]
fn a_cluster_that_has_lost_a_config() {
    let (before, mut pending) = saved_trap();
    *pending.pointer_mut("/metadata/labels/status").unwrap() = "deployed".into();
    let namespace = before["metadata"]["namespace"].as_str().unwrap();
    let table = format!(
        "{namespace}   sh.helm.release.v1.yahoo.v1   helm.sh/release.v1   1   3d   yahoo\n"
    );
    let records = serde_json::json!({"kind": "List", "items": [before, pending]});
    let from = serde_json::json!([{"configMapRef": {"name": "basic-app-config"}}, {"secretRef": {"name": "there"}}]);
    let workloads = serde_json::json!({"kind": "List", "items": [{
        "kind": "Deployment", "metadata": {"name": "yahoo-basic-app"},
        "spec": {"template": {"spec": {"containers": [{"envFrom": from}]}}},
    }]});
    let files = [
        ("table-secrets", table),
        ("records", records.to_string()),
        ("names", "secret/there   Opaque   1   3d\n".to_owned()),
        ("workloads", workloads.to_string()),
    ];
    for (output, name) in [("text", "cluster"), ("json", "cluster-json")] {
        let output = in_cluster(&files, &["--output", output]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_printed(name, String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn a_cluster_without_releases() {
    let output = in_cluster(&[], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "No releases. Those that Helm stores in SQL (HELM_DRIVER=sql) cannot be read.\n"
    );
}

/// Helm takes `--namespace` away from a plugin, and gives it as a variable.
#[test]
fn the_namespace_of_helm_counts_for_charts() {
    let title = |arguments: &[&str]| {
        let output = program(&[&["charts", BEFORE, AFTER], arguments].concat())
            .env("HELM_NAMESPACE", "bank")
            .output()
            .unwrap();
        let report = String::from_utf8(output.stdout).unwrap();
        report.lines().next().unwrap_or_default().to_owned()
    };
    let expected = "helm upgrade of release release-name in namespace bank, from revision 1 to 2";
    assert_eq!(title(&[]), expected);
    assert_eq!(
        title(&["--namespace", "shop"]),
        expected.replace("bank", "shop")
    );
}

#[test]
fn help() {
    for command in [
        "changed", "chart", "charts", "cluster", "record", "upgrade", "rollback",
    ] {
        let help = report(&[command, "--help"], 0);
        assert_printed(&format!("help-{command}"), help);
    }
    assert_printed("help", report(&["--help"], 0));
}
