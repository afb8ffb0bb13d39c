//! The webhook is killed while Helm works, with failurePolicy Fail. Helm succeeds or fails, and nothing is lost in either
//! case.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use cluster_tests::k8s_openapi::api::apps::v1::Deployment;
use cluster_tests::k8s_openapi::api::core::v1::ConfigMap;
use cluster_tests::kube::Api;
use cluster_tests::{AuditMark, Case, HelmVersion, Output, Step, Verb};
use config_digest::stamp;
use rollout_guard::annotations::CONFIG_HASH;

use crate::app::{PRE_UPGRADE, recorded};
use crate::example_policy::ExamplePolicy;
use crate::program::Program;
use crate::release::upgrade;

/// The command for Helm.
#[derive(Debug, Clone, Copy)]
enum Command {
    /// Upgrades to a changed config.
    Change,
    /// Upgrades to a changed config that is a hook.
    Trap,
    /// Installs the release again.
    Install,
}

/// When the webhook is killed, at the latest when Helm has ended.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Before Helm is started.
    Before,
    /// As soon as it is sent the first request, for which the API server waits.
    Asked,
    /// As soon as it has judged this many requests. The API server may not have the last answer yet.
    Judged(usize),
    /// As soon as the API server has completed this many requests of Helm.
    Done(usize),
}

const COMMANDS: [Command; 3] = [Command::Change, Command::Trap, Command::Install];

/// Helm writes its record, the ConfigMap, the Deployment, and its record again. The policy judges the first and the third
/// request.
const MOMENTS: [Moment; 7] = [
    Moment::Judged(1),
    Moment::Before,
    Moment::Done(1),
    Moment::Asked,
    Moment::Judged(2),
    Moment::Done(2),
    Moment::Done(3),
];

/// The error of the API server if the webhook does not answer.
const UNANSWERED: &str = "failed calling webhook";

/// How often to check for the moment. Helm sends a request every few milliseconds.
const INTERVAL: Duration = Duration::from_millis(1);

/// One release, whose webhook is killed again and again.
struct Target<'a> {
    case: &'a Case<'a>,
    helm: HelmVersion,
    program: Program,
    /// The current content of the ConfigMap.
    setting: String,
}

pub(crate) fn killed(case: &Case<'_>, helm: HelmVersion, kills: usize) -> Result<()> {
    let example = ExamplePolicy::read("cluster-admission-policy.yaml")?;
    let program = Program::start(case.cluster, &example)?;
    let ca_bundle = std::fs::read_to_string(program.ca_file()?)?;
    let webhook = example.webhook(case, program.port, "/validate", &ca_bundle);
    let _webhook = case.cluster.register_webhook(&webhook)?;
    let mut target = Target {
        case,
        helm,
        program,
        setting: "first".to_owned(),
    };
    Command::Install.run(case, helm, "first")?.success()?;
    target.assert_done("first")?;

    let mut failed = 0;
    for number in 0..kills {
        // After 21 rounds, each command was combined with each moment.
        let command = COMMANDS.iter().cycle().nth(number);
        let moment = MOMENTS.iter().cycle().nth(number);
        let (command, moment) = command.zip(moment).context("nothing to do")?;
        let output = target
            .survives(*command, *moment, &format!("round {number}"))
            .with_context(|| format!("round {number}: {command:?}, killed {moment:?}"))?;
        failed += usize::from(!output.status.success());
    }
    println!(
        "{helm}: killed the webhook {kills} times in {} runs of Helm; {failed} of the runs with a kill failed",
        2 * kills + 1
    );
    Ok(())
}

impl Command {
    fn run(self, case: &Case<'_>, helm: HelmVersion, setting: &str) -> Result<Output> {
        let annotations = match self {
            Command::Install | Command::Change => "",
            Command::Trap => PRE_UPGRADE,
        };
        upgrade(case, helm, annotations, setting)
    }
}

impl Target<'_> {
    /// Kills the webhook while Helm runs a command, and runs the command again after the webhook was restarted. Returns
    /// the output of the first run.
    fn survives(&mut self, command: Command, moment: Moment, setting: &str) -> Result<Output> {
        if let Command::Install = command {
            self.case
                .helm(self.helm, &["uninstall", "app"])?
                .success()?;
        }
        let before = self.case.cluster.snapshot(&self.case.namespace)?;
        let mark = self.case.cluster.audit_mark()?;
        let output = self.run_and_kill(command, moment, setting)?;

        if let Moment::Before | Moment::Asked = moment {
            ensure!(output.stderr.contains(UNANSWERED), "{output}");
        }
        // The webhook is down, and nobody else could have repaired anything.
        self.assert_nothing_is_lost(command, setting, &output, mark)?;
        self.program.restart()?;
        let again = command.run(self.case, self.helm, setting)?;
        if let Command::Trap = command {
            let again = again.failure()?;
            ensure!(again.stderr.contains("hook-pruned"), "{again}");
            let after = self.case.cluster.snapshot(&self.case.namespace)?;
            let changes = before.changes(&after);
            ensure!(changes.is_empty(), "{changes:?}");
        } else {
            again.success()?;
            setting.clone_into(&mut self.setting);
        }
        self.assert_done(&self.setting)?;
        Ok(output)
    }

    fn run_and_kill(&mut self, command: Command, moment: Moment, setting: &str) -> Result<Output> {
        let judged = self.program.judged()?;
        let mark = self.case.cluster.audit_mark()?;
        match moment {
            Moment::Before => self.program.kill(),
            // Otherwise it would answer before the test sees the request.
            Moment::Asked => self.program.freeze()?,
            Moment::Judged(_) | Moment::Done(_) => {}
        }
        thread::scope(|scope| {
            let (case, version) = (self.case, self.helm);
            let helm = scope.spawn(move || command.run(case, version, setting));
            let has_come = || match moment {
                Moment::Before => Ok(true),
                Moment::Asked => self.program.has_unread_data(),
                Moment::Judged(number) => Ok(self.program.judged()? >= judged + number),
                Moment::Done(number) => anyhow::Ok(self.steps(mark)?.len() >= number),
            };
            while !helm.is_finished() && !has_come()? {
                thread::sleep(INTERVAL);
            }
            self.program.kill();
            helm.join().map_err(|_| anyhow!("helm panicked"))?
        })
    }

    /// The successful requests of Helm since a mark.
    fn steps(&self, mark: AuditMark) -> Result<Vec<Step>> {
        let trail = self.case.cluster.audit_since(mark)?;
        let trail = trail.in_namespace(&self.case.namespace).by_agent("Helm/");
        let mut steps = trail.steps();
        steps.retain(Step::succeeded);
        Ok(steps)
    }

    fn assert_nothing_is_lost(
        &self,
        command: Command,
        setting: &str,
        output: &Output,
        mark: AuditMark,
    ) -> Result<()> {
        let steps = self.steps(mark)?;
        ensure!(
            steps.iter().all(|step| step.verb != Verb::Delete),
            "{steps:?}"
        );
        if output.status.success() {
            ensure!(!matches!(command, Command::Trap), "{output}");
            return self.assert_done(setting);
        }
        let is_judged = matches!(command, Command::Trap) && output.stderr.contains("hook-pruned");
        let is_unjudged = output.stderr.contains(UNANSWERED);
        ensure!(is_judged || is_unjudged, "{output}");
        let (config, hash) = self.state()?;
        let hash_of = |setting: &str| stamp(&recorded("app-config", setting));
        let is_unchanged = config.as_deref() == Some(&self.setting)
            && hash.as_deref() == Some(&hash_of(&self.setting));
        match command {
            Command::Trap => ensure!(is_unchanged && steps.is_empty(), "{steps:?}"),
            // The config may have changed before the workload uses it.
            Command::Change => ensure!(
                is_unchanged || config.as_deref() == Some(setting),
                "{config:?}, {hash:?}"
            ),
            Command::Install => {}
        }
        // No workload is written without a config hash.
        ensure!(
            hash.is_none()
                || hash == Some(hash_of(setting))
                || hash == Some(hash_of(&self.setting)),
            "{hash:?}"
        );
        Ok(())
    }

    /// The config has this content, and the workload has its hash.
    fn assert_done(&self, setting: &str) -> Result<()> {
        let (config, hash) = self.state()?;
        let expected = stamp(&recorded("app-config", setting));
        ensure!(config.as_deref() == Some(setting), "{config:?}");
        ensure!(hash.as_deref() == Some(&expected), "{hash:?}");
        Ok(())
    }

    /// The content of the ConfigMap, and the config hash of the workload.
    fn state(&self) -> Result<(Option<String>, Option<String>)> {
        let Case {
            cluster, namespace, ..
        } = self.case;
        let configs = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
        let workloads = Api::<Deployment>::namespaced(cluster.client(), namespace);
        let config = cluster.block_on(configs.get_opt("app-config"))?;
        let workload = cluster.block_on(workloads.get_opt("web"))?;
        let setting = config.and_then(|config| config.data?.remove("setting"));
        let template = workload.and_then(|workload| workload.spec?.template.metadata);
        let hash = template.and_then(|template| template.annotations?.remove(CONFIG_HASH));
        Ok((setting, hash))
    }
}
