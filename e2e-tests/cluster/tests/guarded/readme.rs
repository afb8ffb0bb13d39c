//! The session in README.md: the hook trap without the policy and with it. `INSTA_UPDATE=always` writes `readme.txt`, and then
//! `cargo xtask generate` draws it.

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use cluster_tests::{Case, HelmVersion, Suite, User};

use crate::example_policy::ExamplePolicy;
use crate::guard::Guard;

const UPGRADE: &str =
    "helm upgrade yahoo examples/charts/hook-trap --set hook=true --namespace shop";

pub(crate) fn add_to(suite: &mut Suite) {
    suite.case("helm4: the session in README.md", readme);
}

fn readme(case: &Case<'_>) -> Result<()> {
    let (without, with) = (case.again(1)?, case.again(2)?);
    for case in [&without, &with] {
        let install = "helm install yahoo examples/charts/hook-trap --namespace shop";
        ensure!(Session::default().run(case, install)?, "not installed");
    }
    let mut session = Session::default();
    session
        .comment("The new chart makes a pre-upgrade hook of its ConfigMap. Without rollout-guard:");
    ensure!(session.run(&without, UPGRADE)?, "{}", session.text);
    let mounts =
        "kubectl get deployment --namespace shop --output custom-columns=MOUNTS:..configMap.name";
    ensure!(session.run(&without, mounts)?, "{}", session.text);
    let config = "kubectl get configmap basic-app-config --namespace shop --output name";
    ensure!(!session.run(&without, config)?, "{}", session.text);
    session.text.push('\n');

    let _guard = Guard::of(&with, &ExamplePolicy::read("releases-policy.yaml")?)?;
    session.comment("With rollout-guard:");
    ensure!(!session.run(&with, UPGRADE)?, "{}", session.text);
    ensure!(session.run(&with, config)?, "{}", session.text);

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guarded/readme.txt");
    if env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        fs::write(&golden, &session.text)?;
    }
    let expected = fs::read_to_string(&golden).with_context(|| golden.display().to_string())?;
    ensure!(
        session.text == expected,
        "not as in readme.txt:\n{}",
        session.text
    );
    Ok(())
}

/// What a terminal shows.
#[derive(Default)]
struct Session {
    text: String,
}

impl Session {
    fn comment(&mut self, text: &str) {
        self.text.push_str(&format!("# {text}\n"));
    }

    /// Runs a command in the root of the repository, and tells whether it succeeded. The namespace `shop` is that of the case.
    fn run(&mut self, case: &Case<'_>, line: &str) -> Result<bool> {
        let mut words = line.split(' ');
        let mut command = match words.next() {
            Some("helm") => case.cluster.helm_command(HelmVersion::V4, User::Admin),
            Some("kubectl") => case.cluster.kubectl_command(User::Admin),
            _ => bail!("neither helm nor kubectl: {line}"),
        };
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .args(words.map(|word| {
                if word == "shop" {
                    &case.namespace
                } else {
                    word
                }
            }));
        let output = case.cluster.run(&mut command)?;
        self.text.push_str(&format!("$ {line}\n"));
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            self.text.push_str(&normalized(line, &case.namespace));
            self.text.push('\n');
        }
        Ok(output.status.success())
    }
}

/// A line of output, with the names as in a real cluster and without what differs each time.
fn normalized(line: &str, namespace: &str) -> String {
    // As the Kubewarden controller names the webhook of examples/releases-policy.yaml.
    let webhook = "clusterwide-rollout-guard-releases.kubewarden.admission";
    let line = line
        .replace(&format!("{namespace}.rollout-guard.test"), webhook)
        .replace(namespace, "shop");
    match line.strip_prefix("LAST DEPLOYED: ") {
        Some(_) => "LAST DEPLOYED: Tue Dec  1 12:00:00 2026".to_owned(),
        None => line,
    }
}
