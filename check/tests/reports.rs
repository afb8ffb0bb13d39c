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
    path::Path,
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
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

/// What it prints to stderr, if it exits with this code.
#[track_caller]
fn stderr(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    String::from_utf8(output.stderr.clone()).unwrap()
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
const ARGO_CD: &str = "versions/argocd";
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
    assert_eq!(
        stderr(&output, 1),
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
        "Error: helm upgrade api ./api --dry-run=server failed: \
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
    assert_eq!(
        stderr(&output, 2),
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

/// Argo CD makes something else of a chart than Helm does. What it renders is no guess, but for random values.
#[test]
fn two_versions_of_a_chart_in_argo_cd() {
    for (output, name) in [
        ("text", "chart-argocd"),
        ("json", "chart-argocd-json"),
        ("github", "chart-argocd-github"),
    ] {
        let tool = ["--tool", "argocd", "--output", output];
        let printed = report(&[&["chart", OLD, ARGO_CD], tool.as_slice()].concat(), 1);
        assert_printed(name, printed);
    }
    let sarif = ["--tool", "argocd", "--output", "sarif"];
    let printed = report(&[&["chart", OLD, ARGO_CD], sarif.as_slice()].concat(), 1);
    let log: serde_sarif::sarif::Sarif = serde_json::from_str(&printed).unwrap();
    let run = &log.runs[0];
    let rules = run.tool.driver.rules.iter().flatten();
    let rules: Vec<_> = rules.map(|rule| rule.id.as_str()).collect();
    for result in run.results.iter().flatten() {
        let rule = result.rule_id.as_deref().unwrap();
        assert!(
            rules.contains(&rule) && rule.starts_with("argocd-"),
            "{rule}"
        );
    }
}

/// It is a warning, as with Helm; what the old version does by itself is not of the way.
#[test]
fn the_way_back_in_argo_cd() {
    let printed = report(&["chart", ARGO_CD, OLD, "--tool", "argocd"], 0);
    let way_back = "\nThe way back, with a sync to the old version:\n\nwarn argocd-pruned: ConfigMap release-name-config ";
    assert!(printed.contains(way_back), "{printed}");
    assert!(!printed.contains("argocd-hook-deleted"), "{printed}");
}

#[test]
fn levels_of_the_settings_are_not_for_argo_cd() {
    let settings = ["--tool", "argocd", "--settings", "charts/settings.yaml"];
    let output = run(&[&["chart", OLD, ARGO_CD], settings.as_slice()].concat());
    assert_eq!(
        stderr(&output, 1),
        "Note: the levels in --settings are not for the findings of --tool argocd.\n"
    );
}

/// Argo CD renders each version as an install, with its CustomResourceDefinitions (argo-cd `util/helm/cmd.go`, template).
#[test]
fn charts_are_rendered_as_the_tool_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let helm = folder.path().join("helm");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nexec releases/helm \"$@\"\n",
        log.display()
    );
    std::fs::write(&helm, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&helm, executable).unwrap();
    for (tool, expected) in [
        ("helm", ["", " --is-upgrade"]),
        ("argocd", [" --include-crds", " --include-crds"]),
    ] {
        let mut program = program(&["chart", OLD, ARGO_CD, "--tool", tool]);
        program.env("HELM_BIN", &helm).output().unwrap();
        let calls = std::fs::read_to_string(&log).unwrap();
        let of = |version: &str, flags: &str| {
            format!("template release-name {version} --namespace=default{flags}\n")
        };
        assert_eq!(
            calls,
            of(OLD, expected[0]) + &of(ARGO_CD, expected[1]),
            "{tool}"
        );
        std::fs::remove_file(&log).unwrap();
    }
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

/// The JSON Schema of SARIF 2.1.0 is in the sources of the crate whose types are made of it.
fn sarif_schema() -> jsonschema::Validator {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--locked", "--format-version=1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.pointer("/packages").unwrap().as_array().unwrap();
    let has_schema =
        |package: &&serde_json::Value| package.pointer("/name").unwrap() == "serde-sarif";
    let package = packages.iter().find(has_schema).unwrap();
    let manifest = package.pointer("/manifest_path").unwrap();
    let schema = Path::new(manifest.as_str().unwrap()).with_file_name("src/schema.json");
    let schema = std::fs::read_to_string(schema).unwrap();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&serde_json::from_str(&schema).unwrap())
        .unwrap()
}

/// A path is a URI there.
#[test]
fn sarif_is_valid() {
    let schema = sarif_schema();
    let assert_valid = |printed: &str| {
        let log = serde_json::from_str(printed).unwrap();
        let errors = schema.iter_errors(&log);
        let errors: Vec<_> = errors.map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{printed}");
    };
    // Or else nothing would be an error.
    let wrong = serde_json::json!({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "a", "informationUri": "a b"}}}]});
    assert_eq!(schema.iter_errors(&wrong).count(), 1);
    assert_valid(&report(&["chart", OLD, OLD, "--output", "sarif"], 0));
    let printed = report(&["chart", OLD, NEW, "--output", "sarif"], 1);
    assert_valid(&printed);
    let log: serde_sarif::sarif::Sarif = serde_json::from_str(&printed).unwrap();
    let results = log
        .runs
        .into_iter()
        .flat_map(|run| run.results.unwrap_or_default());
    let rules: Vec<_> = results.filter_map(|result| result.rule_id).collect();
    assert_eq!(rules, ["hook-pruned", "dangling-reference"]);
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a b#1");
    std::fs::create_dir_all(odd.join("rendered")).unwrap();
    std::fs::write(odd.join("Chart.yaml"), "name: web\n").unwrap();
    let after = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/charts/after.yaml"
    ))
    .unwrap();
    let before = after.replace("helm.sh/hook", "example.com/hook");
    std::fs::write(odd.join("rendered/default.yaml"), after).unwrap();
    let old = folder.path().join("old");
    std::fs::create_dir_all(old.join("rendered")).unwrap();
    std::fs::write(old.join("rendered/default.yaml"), before).unwrap();
    let printed = report(
        &[
            "chart",
            old.to_str().unwrap(),
            odd.to_str().unwrap(),
            "--output",
            "sarif",
        ],
        1,
    );
    assert_valid(&printed);
    assert!(printed.contains("/a%20b%231/Chart.yaml\""), "{printed}");
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
    let nothing = "No chart that was there before has changed.\n".to_owned();
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

    // What it depends on is built in a copy.
    let depends =
        "name: basic-app\ndependencies: [{name: common, repository: 'file://../common'}]\n";
    write("charts/web/Chart.yaml", depends);
    write("charts/common/Chart.yaml", "name: common\ntype: library\n");
    let (code, annotations, errors) = changed(&["--output", "github"]);
    let new = "Note: charts/common is new, so there is nothing to lose.\n";
    assert_eq!((code, errors.as_str()), (Some(1), new));
    assert!(
        annotations.starts_with("::error file=charts/web/templates/configmap.yaml,line=3,"),
        "{annotations}"
    );
    assert!(!repository.path().join("charts/web/charts").exists());
    // A folder of templates may be a link.
    let templates = repository.path().join("charts/web/rendered");
    std::fs::rename(&templates, repository.path().join("shared")).unwrap();
    std::os::unix::fs::symlink("../../shared", &templates).unwrap();
    let (code, linked, _) = changed(&["--output", "github"]);
    assert_eq!((code, linked), (Some(1), annotations));
    // What cannot be compared does not hide the rest.
    std::fs::remove_dir_all(repository.path().join("charts/common")).unwrap();
    write("charts/db/rendered/default.yaml", &rendered(AFTER));
    let (code, annotations, errors) = changed(&["--output", "github"]);
    let failed = "charts/web: helm dependency build ";
    assert_eq!(code, Some(2));
    assert!(errors.starts_with(&format!("Error: {failed}")), "{errors}");
    for expected in [
        "::error file=charts/db/Chart.yaml,line=1,title=hook-pruned::".to_owned(),
        format!("::error title=Not checked::{failed}"),
    ] {
        assert!(annotations.contains(&expected), "{annotations}");
    }
    git(&["reset", "--quiet", "--hard"]);
    git(&["clean", "--quiet", "--force", "-d"]);

    // A file that was moved to another chart is missed where it was; and it does not matter where the program is started.
    git(&[
        "mv",
        "charts/db/rendered/default.yaml",
        "charts/api/rendered/moved.yaml",
    ]);
    let output = program(&["changed", "--base", "HEAD"])
        .env(
            "HELM_BIN",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/releases/helm"),
        )
        .current_dir(repository.path().join("charts/web/templates"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("Error: charts/db with the default values: helm template "),
        "{text}"
    );
    git(&["reset", "--quiet", "--hard"]);

    write("charts/new/Chart.yaml", "name: new\n");
    git(&["add", "--all"]);
    let new = "Note: charts/new is new, so there is nothing to lose.\n".to_owned();
    assert_eq!(changed_since("HEAD", &[]), (Some(0), nothing, new));
    let (code, _, errors) = changed_since("nowhere", &[]);
    assert_eq!(code, Some(2));
    let expected =
        ": git merge-base -- nowhere HEAD failed: fatal: Not a valid object name nowhere";
    assert!(errors.contains(expected), "{errors}");
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

/// The findings of what is rendered are printed all the same.
#[test]
fn a_file_of_values_that_helm_does_not_render() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let rendered = |version: &str| {
        std::fs::read_to_string(format!("{tests}/versions/{version}/rendered/default.yaml"))
            .unwrap()
    };
    for version in ["old", "new"] {
        write(&format!("{version}/Chart.yaml"), "name: web\n");
        write(&format!("{version}/ci/a-values.yaml"), "");
        write(
            &format!("{version}/rendered/a-values.yaml"),
            &rendered(version),
        );
    }
    let chart = |version: &str| folder.path().join(version).display().to_string();
    let (old, new) = (chart("old"), chart("new"));
    // As a chart that requires values.
    let output = run(&["chart", &old, &new]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let note = format!(
        "Note: {new} does not render with the default values, and is only checked with its ci/*-values.yaml: "
    );
    assert!(errors.starts_with(&note), "{errors}");
    write("new/ci/b-values.yaml", "");
    let output = run(&["chart", &old, &new]);
    assert_eq!(output.status.code(), Some(2));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("\nreject hook-pruned: "), "{report}");
    assert!(
        report.ends_with("\nRenderings that failed and were not checked: 1.\n"),
        "{report}"
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains(&format!(
            "Error: {new} with ci/b-values.yaml: helm template "
        )),
        "{errors}"
    );
    let output = run(&["chart", &new, &new]);
    let report = String::from_utf8(output.stdout).unwrap();
    let end =
        "\nNo findings in what was rendered.\nRenderings that failed and were not checked: 1.\n";
    assert!(report.ends_with(end), "{report}");
}

/// A report without findings would look as if there was nothing to find.
#[test]
fn a_chart_of_which_nothing_renders() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), "name: web\n").unwrap();
    let chart = folder.path().to_str().unwrap();
    let printed = |format: &str| {
        let output = run(&["chart", chart, chart, "--output", format]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = format!("chart {chart} → {chart}\nNot checked: nothing could be rendered.\n");
    assert_eq!(printed("text"), text);
    let failed = format!("{chart} with the default values: helm template ");
    // `--set` may have a secret.
    let output = run(&["chart", chart, chart, "--", "--set", "password=hunter2"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("Error: "), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let json: serde_json::Value = serde_json::from_str(&printed("json")).unwrap();
    let said = json[0]["failed"][0].as_str().unwrap();
    assert!(said.starts_with(&failed), "{said}");
    let annotation = format!("::error title=Not checked::{failed}");
    let annotations = printed("github");
    assert!(annotations.starts_with(&annotation), "{annotations}");
    let sarif = printed("sarif");
    let log = serde_json::from_str(&sarif).unwrap();
    assert!(sarif_schema().is_valid(&log), "{sarif}");
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let said = &invocation["toolExecutionNotifications"][0]["message"]["text"];
    assert!(said.as_str().unwrap().starts_with(&failed), "{said}");
}

/// The file of a `helm template` that failed is empty.
#[test]
fn rendered_charts_without_objects_are_noted() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    let output = run(&["charts", BEFORE, empty]);
    assert_eq!(output.status.code(), Some(0));
    let note = format!("Note: {empty} has no objects.\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), note);
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
        let namespace = before
            .pointer("/metadata/namespace")
            .unwrap()
            .as_str()
            .unwrap();
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

/// Three revisions of the release, made of the recorded ones: their numbers and states are inside.
fn revisions(states: &[(u64, &str, &str)]) -> Vec<String> {
    let release = |(version, status, description): &(u64, &str, &str)| {
        let content = serde_json::json!({
            "name": "web", "namespace": "shop", "version": version,
            "info": {"status": status, "description": description},
        });
        let helm = BASE64_STANDARD.encode(content.to_string());
        let release = BASE64_STANDARD.encode(helm);
        serde_json::json!({
            "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"namespace": "shop", "name": format!("sh.helm.release.v1.web.v{version}"),
                         "labels": {"owner": "helm", "name": "web", "version": version.to_string(), "status": status}},
            "data": {"release": release},
        })
        .to_string()
    };
    states.iter().map(release).collect()
}

#[test]
fn a_saved_record_is_compared_with_the_revision_that_it_started_from() {
    let not_compared = |revision: u64| {
        format!(
            "Note: revision {revision} of release web in namespace shop was not compared: the revision before it was not saved."
        )
    };
    let title = |what: &str| format!("helm {what}");
    for (case, states, expected) in [
        (
            "an upgrade after one that failed",
            &[
                (1, "superseded", ""),
                (2, "failed", ""),
                (3, "deployed", ""),
            ][..],
            vec![
                title("install of release web in namespace shop, as revision 1"),
                title("upgrade of release web in namespace shop, from revision 1 to 2"),
                title("upgrade of release web in namespace shop, from revision 1 to 3"),
            ],
        ),
        (
            "a gap",
            &[(1, "superseded", ""), (3, "deployed", "")],
            vec![
                title("install of release web in namespace shop, as revision 1"),
                not_compared(3),
            ],
        ),
        (
            "installed again",
            &[(1, "uninstalled", ""), (2, "deployed", "")],
            vec![
                title("install of release web in namespace shop, as revision 1"),
                title("install of release web in namespace shop, as revision 2"),
            ],
        ),
        (
            "a rollback that failed, and one that did not",
            &[
                (2, "failed", ""),
                (3, "failed", "Rollback \"web\" failed: no"),
                (4, "deployed", "Rollback to 1"),
            ],
            vec![
                title("rollback of release web in namespace shop, from revision 2 to 3"),
                title("rollback of release web in namespace shop, from revision 3 to 4"),
                not_compared(2),
            ],
        ),
    ] {
        let output = judged(&revisions(states));
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let lines = printed.iter().flat_map(|text| text.lines());
        let said: Vec<_> = lines
            .filter(|line| line.starts_with("helm ") || line.starts_with("Note"))
            .collect();
        assert_eq!(said, expected, "{case}");
    }
}

/// A log that is cut off is no log without the trap.
#[test]
fn an_audit_log_that_is_broken_or_of_refused_requests() {
    let (before, pending) = saved_trap();
    let event = |object: &serde_json::Value, code: u64| {
        serde_json::json!({"requestObject": object, "responseStatus": {"code": code}}).to_string()
    };
    let log = [event(&before, 201), event(&pending, 201)].join("\n");
    let cut = log.get(..log.len() - 10).unwrap().to_owned();
    let output = judged(&[cut]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("0.json: it is not valid JSON: EOF while parsing"),
        "{errors}"
    );
    let refused = [event(&before, 201), event(&pending, 403)].join("\n");
    assert_eq!(judged(&[refused]).status.code(), Some(0));
    assert_eq!(judged(&[log]).status.code(), Some(1));
}

#[test]
fn saved_records_that_cannot_be_compared() {
    let (before, pending) = saved_trap();
    let output = judged(&[pending.to_string()]);
    assert_eq!(output.status.code(), Some(0));
    let namespace = before
        .pointer("/metadata/namespace")
        .unwrap()
        .as_str()
        .unwrap();
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

/// The trap has happened: its ConfigMap is gone, and a Deployment needs it. Another release has gone meanwhile, and one cannot be read.
#[test]
fn a_cluster_that_has_lost_a_config() {
    let (before, pending) = saved_trap();
    let namespace = before
        .pointer("/metadata/namespace")
        .unwrap()
        .as_str()
        .unwrap();
    let row = |name: &str| {
        format!(
            "{namespace}   sh.helm.release.v1.{name}.v1   helm.sh/release.v1   1   3d   {name}\n"
        )
    };
    let records = serde_json::json!({"kind": "List", "items": [before, pending]});
    let from = |names: &[&str]| {
        let from = names
            .iter()
            .map(|name| serde_json::json!({"configMapRef": {"name": name}}));
        serde_json::json!({"spec": {"containers": [{"envFrom": from.collect::<Vec<_>>()}]}})
    };
    let deployments = serde_json::json!({"kind": "List", "items": [
        {"kind": "Deployment", "metadata": {"name": "yahoo-basic-app"},
         "spec": {"template": from(&["basic-app-config", "there", "never-there"])}},
        {"kind": "Deployment", "metadata": {"name": "asleep"}, "spec": {"replicas": 0, "template": from(&["gone"])}},
    ]});
    let files = |more: &[(&'static str, &str)]| {
        let mut files = vec![
            ("table-secrets", [row("yahoo"), row("gone")].concat()),
            ("records-yahoo", records.to_string()),
            (
                "records-gone",
                r#"{"kind": "List", "items": []}"#.to_owned(),
            ),
            ("names-configmaps", "there   1   3d\n".to_owned()),
            ("workloads-deployments.apps", deployments.to_string()),
            ("times-replicasets.apps", "Deployment yahoo-basic-app 2026-01-01T00:00:00Z\nDeployment yahoo-basic-app 2026-01-03T00:00:00Z\n".to_owned()),
            (
                "times-configmaps",
                [
                    r#"there [{"time": "2026-01-05T00:00:00Z", "fieldsV1": {"f:metadata": {}}}, {"time": "2026-01-04T00:00:00Z", "fieldsV1": {"f:data": {}}}]"#,
                    r#"other [{"time": "2026-01-05T00:00:00Z", "fieldsV1": {"f:data": {}}}]"#,
                ]
                .join("\n"),
            ),
        ];
        files.extend(more.iter().map(|(name, text)| (*name, (*text).to_owned())));
        files
    };
    for (output, name) in [("text", "cluster"), ("json", "cluster-json")] {
        let output = in_cluster(&files(&[]), &["--output", output]);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_eq!(output.status.code(), Some(1));
        assert_printed(name, String::from_utf8(output.stdout).unwrap());
    }
    // Rolled out since, with a ReplicaSet of an earlier time.
    let mut rolled_out = deployments.clone();
    let progress = serde_json::json!({"conditions": [{"type": "Progressing", "lastUpdateTime": "2026-01-04T00:00:01Z"}]});
    rolled_out
        .pointer_mut("/items/0")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .insert("status".to_owned(), progress);
    let output = in_cluster(
        &files(&[("workloads-deployments.apps", &rolled_out.to_string())]),
        &[],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("Missing now: 2. Not rolled out since a config changed: 0.\n"),
        "{text}"
    );
    // What cannot be read does not hide the rest.
    let table = [row("yahoo"), row("broken")].concat();
    let unreadable = [
        ("table-secrets", table.as_str()),
        ("records-broken", "Error from server (Forbidden): no"),
        ("names-configmaps", "Error from server (Forbidden): no"),
    ];
    let output = in_cluster(&files(&unreadable), &[]);
    assert_eq!(
        stderr(&output, 2),
        "Error: not everything could be looked at\n"
    );
    assert_printed(
        "cluster-incomplete",
        String::from_utf8(output.stdout).unwrap(),
    );
}

/// A namespace with a release that only its workloads matter of.
fn in_namespace(workloads: &serde_json::Value, more: &[(&str, String)]) -> Output {
    let (before, _) = saved_trap();
    let records = serde_json::json!({"kind": "List", "items": [before]});
    let table = "rec-helm3   sh.helm.release.v1.yahoo.v1   helm.sh/release.v1   1   3d   yahoo\n";
    let mut files = vec![
        ("table-secrets", table.to_owned()),
        ("records-yahoo", records.to_string()),
    ];
    for kind in ["deployments.apps", "statefulsets.apps"] {
        let items: Vec<_> = workloads
            .as_array()
            .unwrap()
            .iter()
            .filter(|workload| {
                let lower = workload["kind"].as_str().unwrap().to_ascii_lowercase();
                kind.starts_with(&lower)
            })
            .collect();
        let file = match kind {
            "deployments.apps" => "workloads-deployments.apps",
            _ => "workloads-statefulsets.apps",
        };
        files.push((
            file,
            serde_json::json!({"kind": "List", "items": items}).to_string(),
        ));
    }
    files.extend(more.iter().cloned());
    in_cluster(&files, &[])
}

#[test]
fn a_key_that_is_missing() {
    let env = |name: &str, key: &str, optional: bool| {
        let from = serde_json::json!({"name": name, "key": key, "optional": optional});
        serde_json::json!({"name": key, "valueFrom": {"configMapKeyRef": from}})
    };
    let env = [
        env("basic-app-config", "there", false),
        env("basic-app-config", "binary", false),
        env("basic-app-config", "setting", false),
        env("basic-app-config", "optional", true),
        env("gone", "key", false),
    ];
    let web = serde_json::json!({
        "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"env": env}]}}},
    });
    let keys = "basic-app-config there binary\n".to_owned();
    let output = in_namespace(&serde_json::json!([web]), &[("keys-configmaps", keys)]);
    let text = String::from_utf8(output.stdout).unwrap();
    let missing: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("missing"))
        .collect();
    assert_eq!(
        missing,
        [
            "missing key setting of ConfigMap basic-app-config in namespace rec-helm3, required by Deployment web.",
            "missing ConfigMap gone in namespace rec-helm3, required by Deployment web.",
        ]
    );
}

/// The record of the policy tells for certain; where it does not, the times are a hint.
#[test]
fn the_age_of_configs() {
    let digest = |mode: &str| {
        let config_map = serde_json::json!({"data": {"mode": mode}});
        let content = config_digest::content::of_config_map(&config_map).unwrap();
        config_digest::Digester::default().of_config(Some(&content), None)
    };
    let template = serde_json::json!({"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "app"}}]}]}});
    let fingerprint = config_digest::record::fingerprint(&template);
    let (old, now) = (digest("light"), digest("dark"));
    let hint = "outdated? Deployment web in namespace rec-helm3 was rolled out at 2026-01-03T00:00:00Z, and ConfigMap app was written at \
                2026-01-04T00:00:00Z";
    let certain = |id: &str| {
        format!(
            "outdated {id} in namespace rec-helm3 started with an older content of ConfigMap app, as the policy recorded it"
        )
    };
    let web = certain("Deployment web");
    for (case, kind, entry, expected) in [
        ("no record", "Deployment", None, Some(hint)),
        (
            "another content",
            "Deployment",
            Some(old.clone()),
            Some(web.as_str()),
        ),
        (
            "the same content, written since",
            "Deployment",
            Some(now.clone()),
            None,
        ),
        (
            "made with a key",
            "Deployment",
            Some(format!("6765e530:{old}")),
            Some(hint),
        ),
        (
            "over other keys",
            "Deployment",
            Some(format!("{old}/c67e6bc8")),
            Some(hint),
        ),
        (
            "was missing",
            "Deployment",
            Some("missing".to_owned()),
            Some(hint),
        ),
        (
            "was absent",
            "Deployment",
            Some("absent".to_owned()),
            Some(web.as_str()),
        ),
        (
            "frozen",
            "Deployment",
            Some(format!("{old}@{fingerprint}|{now}")),
            Some(web.as_str()),
        ),
        (
            "frozen, then another template",
            "Deployment",
            Some(format!("{old}@0011223344556677|{now}")),
            None,
        ),
        (
            "by revision",
            "StatefulSet",
            None,
            Some(
                "outdated? StatefulSet web in namespace rec-helm3 was rolled out at 2026-01-02T00:00:00Z, and ConfigMap app was written at \
             2026-01-04T00:00:00Z",
            ),
        ),
        (
            "a StatefulSet with a record",
            "StatefulSet",
            Some(old.clone()),
            Some(certain("StatefulSet web").as_str()),
        ),
    ] {
        let mut workload = serde_json::json!({"kind": kind, "metadata": {"name": "web"}, "spec": {"template": template}});
        if let Some(entry) = entry {
            let record = serde_json::json!({"ConfigMap/app": entry}).to_string();
            workload["metadata"]["annotations"] =
                serde_json::json!({"rollout-guard/configs": record});
        }
        let written = r#"app [{"time": "2026-01-04T00:00:00Z", "fieldsV1": {"f:data": {}}}]"#;
        let files = [
            ("names-configmaps", "app 1 3d\n"),
            (
                "content-configmaps-app",
                r#"{"kind": "ConfigMap", "data": {"mode": "dark"}}"#,
            ),
            (
                "times-replicasets.apps",
                "Deployment web 2026-01-03T00:00:00Z\n",
            ),
            (
                "times-controllerrevisions.apps",
                "StatefulSet web 2026-01-01T00:00:00Z 2026-01-02T00:00:00Z\n",
            ),
            ("times-configmaps", written),
        ];
        let files = files.map(|(name, text)| (name, text.to_owned()));
        let output = in_namespace(&serde_json::json!([workload]), &files);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{case}");
        let text = String::from_utf8(output.stdout).unwrap();
        let outdated: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("outdated"))
            .collect();
        assert_eq!(outdated, expected.into_iter().collect::<Vec<_>>(), "{case}");
    }
}

/// `managedFields` has a new time, but only a label is new.
#[test]
fn content_that_no_revision_has_changed_is_no_older() {
    let record = |version: u64, day: u64, status: &str, manifest: &str| {
        let content = serde_json::json!({
            "name": "web", "namespace": "shop", "version": version, "info": {"status": status}, "manifest": manifest,
        });
        let release = BASE64_STANDARD.encode(BASE64_STANDARD.encode(content.to_string()));
        serde_json::json!({
            "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"name": format!("sh.helm.release.v1.web.v{version}"), "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z")},
            "data": {"release": release},
        })
    };
    let web = serde_json::json!({
        "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"envFrom": [{"secretRef": {"name": "app"}}]}]}}},
    });
    let workload = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: web}]}}}\n";
    let dark = "stringData: {mode: dark}";
    let hint = "outdated? Deployment web in namespace shop was rolled out at 2026-01-03T00:00:00Z, and Secret app was written at 2026-01-04T00:00:00Z";
    for (case, status, contents, live, expected) in [
        (
            "never changed",
            "superseded",
            [dark, "data: {mode: ZGFyaw==}"],
            "dark",
            None,
        ),
        (
            "changed by the upgrade",
            "superseded",
            ["data: {mode: ''}", dark],
            "dark",
            Some(hint),
        ),
        (
            "changed by hand",
            "superseded",
            [dark, dark],
            "light",
            Some(hint),
        ),
        (
            "not in the first revision",
            "superseded",
            ["", dark],
            "dark",
            Some(hint),
        ),
        (
            "not in the second revision",
            "superseded",
            [dark, ""],
            "dark",
            Some(hint),
        ),
        // It may have applied nothing.
        (
            "the first revision failed",
            "failed",
            [dark, dark],
            "dark",
            Some(hint),
        ),
    ] {
        let manifest = |content: &str| match content {
            "" => workload.to_owned(),
            content => format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\n{content}\n---\n{workload}"
            ),
        };
        let [old, new] = contents.map(manifest);
        let records = serde_json::json!({"kind": "List", "items": [record(1, 2, status, &old), record(2, 4, "deployed", &new)]});
        let live =
            serde_json::json!({"kind": "Secret", "data": {"mode": BASE64_STANDARD.encode(live)}});
        let deployments = serde_json::json!({"kind": "List", "items": [web]});
        let output = in_cluster(
            &[
                (
                    "table-secrets",
                    "shop   sh.helm.release.v1.web.v2   helm.sh/release.v1   1   3d   web\n"
                        .to_owned(),
                ),
                ("records-web", records.to_string()),
                ("workloads-deployments.apps", deployments.to_string()),
                ("names-secrets", "app 1 3d\n".to_owned()),
                ("content-secrets-app", live.to_string()),
                (
                    "times-replicasets.apps",
                    "Deployment web 2026-01-03T00:00:00Z\n".to_owned(),
                ),
                (
                    "times-secrets",
                    r#"app [{"time": "2026-01-04T00:00:00Z", "fieldsV1": {"f:data": {}}}]"#
                        .to_owned(),
                ),
            ],
            &[],
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{case}");
        let text = String::from_utf8(output.stdout).unwrap();
        let outdated: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("outdated"))
            .collect();
        assert_eq!(
            outdated,
            expected.into_iter().collect::<Vec<_>>(),
            "{case}: {text}"
        );
    }
}

/// What programs read is JSON all the same.
#[test]
fn a_cluster_that_cannot_be_read() {
    let table = "Error from server (Forbidden): no".to_owned();
    let output = in_cluster(&[("table-secrets", table)], &["--output", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = json["notLookedAt"][0].as_str().unwrap();
    assert!(said.contains("(Forbidden): no"), "{said}");
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
fn completion_for_helm() {
    let printed = report(&["completion", "helm"], 0);
    assert_printed("completion-helm", printed);
}

#[test]
fn completion_for_shells() {
    for (shell, registers) in [
        ("bash", "complete -F "),
        ("fish", "complete -c rollout-guard-check"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef rollout-guard-check\n"),
    ] {
        let printed = report(&["completion", shell], 0);
        assert!(printed.contains(registers), "{shell}: {printed}");
        assert!(printed.contains("old-version"), "{shell}: {printed}");
    }
}

#[test]
fn help() {
    for command in [
        "changed",
        "chart",
        "charts",
        "cluster",
        "completion",
        "record",
        "upgrade",
        "rollback",
    ] {
        let help = report(&[command, "--help"], 0);
        assert_printed(&format!("help-{command}"), help);
    }
    assert_printed("help", report(&["--help"], 0));
}
