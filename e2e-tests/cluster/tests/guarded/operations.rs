//! The commands of docs/first-day.md and docs/operations.md, run as they stand there, in the order in which an operator needs them.
//!
//! They concern the whole cluster, so this case has one of its own.

mod kubewarden;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster_tests::{Cluster, HelmVersion, Output, Suite, User, workspace_program};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::kubewarden::Kubewarden;
use crate::app::{config, deployment};
use crate::example_policy::bind_rights;
use crate::page_commands::{self, PAGES, RUN, commands};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case(
        "the commands of docs/first-day.md and docs/operations.md do what the pages say",
        |_| first_day(),
    );
}

/// Kubewarden and the policies come and go; the release `yahoo` and the Deployment `web` of each namespace stay.
const NAMESPACES: [&str; 2] = ["shop", "elsewhere"];

fn first_day() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut kubewarden = Kubewarden::install(&cluster)?;
    let mut operator = Operator::new(&cluster)?;
    for namespace in NAMESPACES {
        cluster.create_namespace(namespace)?;
        let app = [config("", "one"), deployment("", "web")].join("---\n");
        cluster.apply(namespace, &app)?.success()?;
    }
    operator.upgrade_release("one")?.success()?;

    let report = operator.run("check")?.success()?;
    ensure!(report.stdout.contains("shop/yahoo revision 1"), "{report}");

    report_only(&mut operator, &mut kubewarden)?;
    install(&mut operator, &mut kubewarden)?;
    rejected(&mut operator)?;
    operator.run("upgrade")?.success()?;
    kubewarden.reconcile()?;
    config_changes(&mut operator)?;
    bypass(&mut operator)?;
    audit_log(&mut operator)?;
    away(&mut operator, &mut kubewarden)?;
    uninstall(&mut operator, &mut kubewarden)?;

    let names: BTreeSet<_> = RUN.iter().map(|(name, _)| *name).collect();
    let missing: Vec<_> = names.difference(&operator.done).collect();
    ensure!(missing.is_empty(), "not run: {missing:?}");
    Ok(())
}

fn report_only(operator: &mut Operator<'_>, kubewarden: &mut Kubewarden<'_>) -> Result<()> {
    operator.run("grant")?.success()?;
    bind_rights(operator.cluster)?;
    operator.run("monitor")?.success()?;
    kubewarden.reconcile()?;
    operator.run("wait for releases")?.success()?;
    let mode = operator.mode_of_releases()?;
    ensure!(mode == "monitor Ignore", "{mode}");
    Ok(())
}

fn install(operator: &mut Operator<'_>, kubewarden: &mut Kubewarden<'_>) -> Result<()> {
    let before = operator.templates()?;
    operator.run("one namespace")?.success()?;
    kubewarden.reconcile()?;
    operator.run("wait for workloads")?.success()?;
    operator.run("record one namespace")?.success()?;
    ensure!(operator.recorded("shop")? && !operator.recorded("elsewhere")?);

    for policy in [
        "workloads",
        "releases",
        "verify",
        "second line",
        "deletion guard",
    ] {
        operator.run(policy)?.success()?;
    }
    kubewarden.reconcile()?;
    let mode = operator.mode_of_releases()?;
    ensure!(mode == "protect Fail", "{mode}");
    operator.run("wait for all")?.success()?;
    operator.run("wait for webhook")?.success()?;
    operator.run("record all")?.success()?;
    ensure!(operator.recorded("shop")? && operator.recorded("elsewhere")?);
    ensure!(operator.templates()? == before, "something restarts");
    Ok(())
}

/// Both Helms print what the page shows.
fn rejected(operator: &mut Operator<'_>) -> Result<()> {
    for helm in HelmVersion::ALL {
        let upgrade = operator.run_with("rejected", helm, &[])?.failure()?;
        ensure!(upgrade.status.code() == Some(1), "{upgrade}");
        let shown = &operator.command("rejected")?.output;
        ensure!(!shown.is_empty(), "the page shows no output");
        let mut printed = upgrade.stderr.lines();
        for line in shown {
            let begin = line.trim_end_matches('…');
            let is_printed = printed.any(|printed| printed.starts_with(begin));
            ensure!(
                is_printed,
                "{helm} does not print {line:?} there: {upgrade}"
            );
        }
    }
    Ok(())
}

fn config_changes(operator: &mut Operator<'_>) -> Result<()> {
    let before = operator.templates()?;
    let two = config("", "two");
    operator.cluster.apply("shop", &two)?.success()?;
    ensure!(
        operator.templates()? == before,
        "an edit restarts something"
    );
    operator.run("empty patch")?.success()?;
    ensure!(operator.templates()? != before, "web does not roll out");
    Ok(())
}

/// The release loses its ConfigMap, and the next upgrade brings it back.
fn bypass(operator: &mut Operator<'_>) -> Result<()> {
    let chart = "yahoo examples/charts/hook-trap --set hook=true -n shop";
    let allowed = |upgrade: Output| {
        let upgrade = upgrade.success()?;
        let warning = "allowed by label: hook-pruned: ConfigMap basic-app-config";
        ensure!(upgrade.stderr.contains(warning), "{upgrade}");
        Ok(())
    };
    let by_flag = [("=N", "=2"), ("…", chart)];
    allowed(operator.run_with("allow by flag", HelmVersion::V3, &by_flag)?)?;
    operator.upgrade_release("one")?.success()?;

    let by_label = [
        ("NAMESPACE", "shop"),
        ("RELEASE", "yahoo"),
        ("vLAST", "v3"),
        ("=N", "=4"),
    ];
    operator
        .run_with("allow by label", HelmVersion::V3, &by_label)?
        .success()?;
    let trap = format!("helm upgrade {chart}");
    allowed(operator.sh(&trap, HelmVersion::V4)?)?;
    operator.upgrade_release("one")?.success()?;
    Ok(())
}

fn audit_log(operator: &mut Operator<'_>) -> Result<()> {
    let printed = operator.run("audit log")?.success()?;
    for event in [
        "\tadmin\tshop\tsh.helm.release.v1.yahoo.v2\tclusterwide-rollout-guard-releases.kubewarden.admission/release-findings\
         \thook-pruned: ConfigMap basic-app-config\n",
        "\tadmin\tshop\tsh.helm.release.v1.yahoo.v4\tclusterwide-rollout-guard-releases.kubewarden.admission/release-bypass\
         \trollout-guard/allow-revision=4: hook-pruned: ConfigMap basic-app-config\n",
        "\tadmin\tshop\tweb\tclusterwide-rollout-guard-workloads.kubewarden.admission/config-changed\tConfigMap app-config\n",
    ] {
        ensure!(printed.stdout.contains(event), "no {event:?} in {printed}");
    }
    Ok(())
}

fn away(operator: &mut Operator<'_>, kubewarden: &mut Kubewarden<'_>) -> Result<()> {
    kubewarden.go_away();
    let held_back = operator.upgrade_release("two")?.failure()?;
    let expected = "failed calling webhook \"clusterwide-rollout-guard-releases";
    ensure!(held_back.stderr.contains(expected), "{held_back}");
    let annotate = ["annotate", "deployment", "web", "note=one", "-n", "shop"];
    operator.cluster.kubectl(annotate)?.success()?;
    metrics_of_the_alerts(operator.cluster)?;

    operator.run("remove mutating webhook")?.success()?;
    operator.run("remove validating webhook")?.success()?;
    kubewarden.wait_until_unused("rollout-guard-workloads")?;
    kubewarden.wait_until_unused("rollout-guard-releases")?;
    operator.upgrade_release("two")?.success()?;

    // The controller creates them again.
    kubewarden.reconcile()?;
    operator.upgrade_release("three")?.failure()?;
    operator.run("ignore")?.success()?;
    kubewarden.reconcile()?;
    operator.upgrade_release("three")?.success()?;

    kubewarden.come_back();
    kubewarden.reconcile()
}

/// The API server has the metrics that the alerts and the dashboard use.
fn metrics_of_the_alerts(cluster: &Cluster) -> Result<()> {
    let alerts = repository().join("examples/policy-alerts.yaml");
    let alerts = fs::read_to_string(alerts)?;
    let words = alerts.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let names: BTreeSet<_> = words.filter(|word| word.ends_with("_count")).collect();
    ensure!(names.len() == 2, "{names:?}");
    let metrics = cluster.kubectl(["get", "--raw", "/metrics"])?.success()?;
    for name in names {
        let mut lines = metrics.stdout.lines();
        let seen = lines.find(|line| {
            line.starts_with(&format!("{name}{{"))
                && line.contains("name=\"clusterwide-rollout-guard-")
        });
        let seen = seen.with_context(|| format!("the API server has no {name}"))?;
        let called =
            name.ends_with("open_count") || seen.contains("error_type=\"calling_webhook_error\"");
        ensure!(called, "{seen}");
    }
    Ok(())
}

fn uninstall(operator: &mut Operator<'_>, kubewarden: &mut Kubewarden<'_>) -> Result<()> {
    let before = operator.templates()?;
    operator.run("delete policies")?.success()?;
    kubewarden.reconcile()?;
    operator.run("delete optional policies")?.success()?;
    kubewarden.reconcile()?;
    operator.run("delete rights")?.success()?;
    ensure!(operator.recorded("shop")? && operator.recorded("elsewhere")?);
    operator.run("delete records")?.success()?;
    ensure!(!operator.recorded("shop")? && !operator.recorded("elsewhere")?);
    ensure!(operator.templates()? == before, "something restarts");
    Ok(())
}

/// Who runs the commands of the pages, in a folder with what they name.
struct Operator<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
    commands: Vec<page_commands::Command>,
    done: BTreeSet<&'static str>,
}

impl<'a> Operator<'a> {
    fn new(cluster: &'a Cluster) -> Result<Operator<'a>> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        symlink(repository().join("examples"), at("examples"))?;
        symlink(cluster.audit_log(), at("audit.log"))?;
        fs::create_dir(at("bin"))?;
        let kubectl = cluster.kubectl_command(User::Admin);
        symlink(kubectl.get_program(), at("bin/kubectl"))?;
        let check = workspace_program("rollout-guard-check")?;
        symlink(check, at("bin/rollout-guard-check"))?;
        for helm in HelmVersion::ALL {
            fs::create_dir(at(&helm.to_string()))?;
            let program = cluster.helm_command(helm, User::Admin);
            symlink(program.get_program(), at(&format!("{helm}/helm")))?;
        }
        // Commands without a namespace are for this one.
        let kubeconfig = fs::read_to_string(cluster.kubeconfig())?;
        let mut kubeconfig: Value = serde_json::from_str(&kubeconfig)?;
        let context = kubeconfig.pointer_mut("/contexts/0/context");
        let context = context.and_then(Value::as_object_mut);
        context
            .context("no context")?
            .insert("namespace".to_owned(), json!("shop"));
        fs::write(at("kubeconfig"), kubeconfig.to_string())?;

        let mut all = Vec::new();
        for page in PAGES {
            let text = fs::read_to_string(repository().join(page)).context(page)?;
            all.extend(commands(&text));
        }
        Ok(Operator {
            cluster,
            folder,
            commands: all,
            done: BTreeSet::new(),
        })
    }

    /// The command that [`RUN`] calls so, from its page.
    fn command(&self, name: &str) -> Result<&page_commands::Command> {
        let entry = RUN.iter().find(|(known, _)| *known == name);
        let (_, entry) = entry.with_context(|| format!("RUN has no {name:?}"))?;
        let mut commands = self.commands.iter();
        let found = commands.find(|command| command.is(entry));
        found.with_context(|| format!("no page has {entry:?}"))
    }

    fn run(&mut self, name: &'static str) -> Result<Output> {
        self.run_with(name, HelmVersion::V3, &[])
    }

    /// `filled_in`: what stands in the page, and what is meant here.
    fn run_with(
        &mut self,
        name: &'static str,
        helm: HelmVersion,
        filled_in: &[(&str, &str)],
    ) -> Result<Output> {
        let mut text = self.command(name)?.text.clone();
        for (placeholder, value) in filled_in {
            text = text.replace(placeholder, value);
        }
        self.done.insert(name);
        self.sh(&text, helm)
    }

    fn sh(&self, text: &str, helm: HelmVersion) -> Result<Output> {
        let at = |name: &str| self.folder.path().join(name);
        let folders = [at(&helm.to_string()), at("bin")];
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(folders.into_iter().chain(env::split_paths(&path)))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", at("kubeconfig"))
            .env("PATH", path);
        self.cluster.run(&mut command)
    }

    /// To a version without the hook.
    fn upgrade_release(&self, setting: &str) -> Result<Output> {
        let chart = "yahoo examples/charts/hook-trap";
        let upgrade = format!("helm upgrade --install {chart} --set setting={setting} -n shop");
        self.sh(&upgrade, HelmVersion::V3)
    }

    /// And its failure policy.
    fn mode_of_releases(&self) -> Result<String> {
        let fields = "jsonpath={.spec.mode} {.spec.failurePolicy}";
        let policy = "clusteradmissionpolicy/rollout-guard-releases";
        let get = self.cluster.kubectl(["get", policy, "--output", fields])?;
        Ok(get.success()?.stdout)
    }

    /// The pod templates of all Deployments.
    fn templates(&self) -> Result<String> {
        let fields = "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.template}{\"\\n\"}{end}";
        let all = ["get", "deployments", "--all-namespaces", "--output", fields];
        Ok(self.cluster.kubectl(all)?.success()?.stdout)
    }

    /// Whether all Deployments of a namespace have a record of their config.
    fn recorded(&self, namespace: &str) -> Result<bool> {
        let fields =
            "jsonpath={range .items[*]}[{.metadata.annotations.rollout-guard/configs}]{end}";
        let all = [
            "get",
            "deployments",
            "--namespace",
            namespace,
            "--output",
            fields,
        ];
        let records = self.cluster.kubectl(all)?.success()?.stdout;
        ensure!(records.contains('['), "no Deployment in {namespace}");
        Ok(!records.contains("[]"))
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
