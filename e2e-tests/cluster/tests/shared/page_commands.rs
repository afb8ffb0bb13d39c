//! The commands in the pages for operators, and what the tests do with each.
//!
//! `tests/documents.rs` checks that this list and the pages agree. `guarded/operations.rs` runs the commands as they stand in the pages.

/// From the root of the repository.
pub(crate) const PAGES: [&str; 2] = ["docs/first-day.md", "docs/operations.md"];

/// What the case calls a command, and the command. One that ends with `…` stands for all that begin like this.
pub(crate) const RUN: [(&str, &str); 28] = [
    ("check", "rollout-guard-check cluster"),
    ("grant", "kubectl apply -f examples/policy-server-rbac.yaml"),
    ("monitor", "sed …"),
    (
        "wait for releases",
        "kubectl wait clusteradmissionpolicy rollout-guard-releases --for=condition=PolicyActive --timeout=5m",
    ),
    (
        "one namespace",
        "kubectl patch --local -f examples/workloads-policy.yaml …",
    ),
    (
        "wait for workloads",
        "kubectl wait clusteradmissionpolicy rollout-guard-workloads --for=condition=PolicyActive --timeout=5m",
    ),
    (
        "record one namespace",
        "kubectl annotate deployments,statefulsets,daemonsets --all -n shop rollout-guard/refresh-",
    ),
    (
        "workloads",
        "kubectl apply -f examples/workloads-policy.yaml",
    ),
    ("releases", "kubectl apply -f examples/releases-policy.yaml"),
    ("verify", "kubectl apply -f examples/verify-policy.yaml"),
    (
        "second line",
        "kubectl apply -f examples/second-line-policy.yaml",
    ),
    (
        "deletion guard",
        "kubectl apply -f examples/deletion-guard-policy.yaml",
    ),
    (
        "wait for all",
        "kubectl wait clusteradmissionpolicy --all --for=condition=PolicyActive --timeout=5m",
    ),
    (
        "wait for webhook",
        "kubectl wait mutatingwebhookconfiguration clusterwide-rollout-guard-workloads …",
    ),
    (
        "record all",
        "kubectl annotate deployments,statefulsets,daemonsets --all --all-namespaces rollout-guard/refresh-",
    ),
    (
        "rejected",
        "helm upgrade yahoo examples/charts/hook-trap --set hook=true -n shop",
    ),
    (
        "upgrade",
        "kubectl apply -f examples/workloads-policy.yaml -f examples/releases-policy.yaml",
    ),
    ("audit log", "jq -r …"),
    ("empty patch", "kubectl patch deployment web -p '{}'"),
    (
        "allow by flag",
        "helm upgrade --labels rollout-guard/allow-revision=N …",
    ),
    (
        "allow by label",
        "kubectl label -n NAMESPACE secret sh.helm.release.v1.RELEASE.vLAST rollout-guard/allow-revision=N --overwrite",
    ),
    (
        "remove mutating webhook",
        "kubectl delete mutatingwebhookconfiguration clusterwide-rollout-guard-workloads",
    ),
    (
        "remove validating webhook",
        "kubectl delete validatingwebhookconfiguration clusterwide-rollout-guard-releases",
    ),
    (
        "ignore",
        "kubectl patch clusteradmissionpolicy rollout-guard-releases …",
    ),
    (
        "delete policies",
        "kubectl delete -f examples/workloads-policy.yaml -f examples/releases-policy.yaml",
    ),
    (
        "delete optional policies",
        "kubectl delete --ignore-not-found -f examples/verify-policy.yaml …",
    ),
    (
        "delete rights",
        "kubectl delete -f examples/policy-server-rbac.yaml",
    ),
    (
        "delete records",
        "kubectl annotate deployments,statefulsets,daemonsets --all --all-namespaces rollout-guard/configs-",
    ),
];

/// Commands that the case cannot run, and why. The page says so in a comment.
#[allow(dead_code, reason = "for documents.rs")]
pub(crate) const NOT_RUN: [(&str, &str); 5] = [
    (
        "kubectl logs -n kubewarden …",
        "needs the pods of policy-server",
    ),
    (
        "kubectl get reports.openreports.io --all-namespaces",
        "needs the audit scanner",
    ),
    (
        "kubectl get policyreports --all-namespaces",
        "needs the audit scanner",
    ),
    (
        "kubectl rollout status -n kubewarden deployment/policy-server-default",
        "needs the Deployment of policy-server",
    ),
    (
        "kubectl apply -f examples/policy-alerts.yaml",
        "needs the Prometheus Operator",
    ),
];

/// A command of a page.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) text: String,
    /// What follows after `#`.
    #[allow(dead_code, reason = "for documents.rs")]
    pub(crate) comment: Option<String>,
    /// The lines that the page shows after it, if it has a prompt.
    #[allow(dead_code, reason = "for guarded/operations.rs")]
    pub(crate) output: Vec<String>,
}

impl Command {
    /// Whether an entry of [`RUN`] or [`NOT_RUN`] is about this command.
    pub(crate) fn is(&self, entry: &str) -> bool {
        match entry.strip_suffix('…') {
            Some(begin) => self.text.starts_with(begin),
            None => self.text == entry,
        }
    }
}

/// The commands in the `console` blocks of a page. In a block with prompts (`$ `), the other lines are output.
pub(crate) fn commands(page: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for block in page.split("\n```console\n").skip(1) {
        let (block, _) = block.split_once("\n```").unwrap_or((block, ""));
        let has_prompts = block.lines().any(|line| line.starts_with("$ "));
        for line in block.lines() {
            let command = match has_prompts {
                true => line.strip_prefix("$ "),
                false => Some(line).filter(|line| !line.is_empty()),
            };
            match (command, commands.last_mut()) {
                (Some(line), _) => commands.push(command_of(line)),
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => {}
            }
        }
    }
    commands
}

fn command_of(line: &str) -> Command {
    let (text, comment) = match line.split_once(" # ") {
        Some((text, comment)) => (text, Some(comment.to_owned())),
        None => (line, None),
    };
    Command {
        text: text.trim_end().to_owned(),
        comment,
        output: Vec::new(),
    }
}
