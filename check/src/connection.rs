//! Which cluster, and as whom: the flags and the environment of `helm`, and the flags of `kubectl` that say
//! the same.
//!
//! In: flags for `helm upgrade`, and Helm's environment. Out: those that each command of a check needs.
//! Refuses: nothing.

use std::env;

/// How Helm reaches the cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Flags of Helm and their values: `("--kube-context", "prod")`.
    flags: Vec<(&'static str, String)>,
    /// Helm's variables, as [`VARIABLES`] names their flags.
    variables: Vec<(&'static str, String)>,
    /// Whether Helm has its token from a variable.
    pub(crate) has_secret_token: bool,
}

/// Helm's flag, and that of kubectl, if it has one (helm `pkg/cli/environment.go`, AddFlags).
const FLAGS: [(&str, Option<&str>); 11] = [
    ("--kube-context", Some("--context")),
    ("--kubeconfig", Some("--kubeconfig")),
    ("--kube-apiserver", Some("--server")),
    ("--kube-as-user", Some("--as")),
    ("--kube-as-group", Some("--as-group")),
    ("--kube-ca-file", Some("--certificate-authority")),
    (
        "--kube-insecure-skip-tls-verify",
        Some("--insecure-skip-tls-verify"),
    ),
    ("--kube-tls-server-name", Some("--tls-server-name")),
    ("--kube-token", Some("--token")),
    // kubectl is told the namespace of each object.
    ("--namespace", None),
    ("-n", None),
];

/// Helm's variables and the flags that they stand for. `KUBECONFIG` is read by kubectl itself.
const VARIABLES: [(&str, &str); 7] = [
    ("HELM_KUBECONTEXT", "--kube-context"),
    ("HELM_KUBEAPISERVER", "--kube-apiserver"),
    ("HELM_KUBEASUSER", "--kube-as-user"),
    ("HELM_KUBEASGROUPS", "--kube-as-group"),
    ("HELM_KUBECAFILE", "--kube-ca-file"),
    (
        "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
        "--kube-insecure-skip-tls-verify",
    ),
    ("HELM_KUBETLS_SERVER_NAME", "--kube-tls-server-name"),
];

impl Connection {
    /// Of a command that ends with these flags for Helm.
    pub(crate) fn of(flags: &[String]) -> Self {
        Self::new(flags, |name| env::var(name).ok())
    }

    fn new(flags: &[String], variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut given = Vec::new();
        let mut rest = flags.iter();
        while let Some(flag) = rest.next() {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag.as_str(), None),
            };
            let Some((name, _)) = FLAGS.iter().find(|(known, _)| *known == name) else {
                continue;
            };
            let value = match value {
                Some(value) => Some(value),
                None if *name == "--kube-insecure-skip-tls-verify" => Some("true".to_owned()),
                None => rest.next().cloned(),
            };
            given.extend(value.map(|value| (*name, value)));
        }
        // Helm sets all of them for a plugin, the unused ones to nothing.
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let variables = VARIABLES
            .iter()
            .filter_map(|(name, flag)| Some((*flag, variable(name)?)));
        Self {
            flags: given,
            variables: variables.collect(),
            has_secret_token: variable("HELM_KUBETOKEN").is_some(),
        }
    }

    /// What every command of Helm needs; it reads its variables itself.
    pub(crate) fn helm_flags(&self) -> Vec<String> {
        let flags = self.flags.iter();
        flags
            .flat_map(|(flag, value)| match flag.strip_prefix("--") {
                Some(_) => vec![format!("{flag}={value}")],
                None => vec![(*flag).to_owned(), value.clone()],
            })
            .collect()
    }

    /// The same for kubectl, which does not know the variables of Helm.
    pub(crate) fn kubectl_flags(&self) -> Vec<String> {
        let is_flag = |flag| self.flags.iter().any(|(given, _)| *given == flag);
        // As for Helm, a flag is stronger than its variable.
        let variables = self.variables.iter().filter(|(flag, _)| !is_flag(*flag));
        let given = variables.chain(&self.flags);
        given
            .flat_map(|(flag, value)| {
                let flag = FLAGS.iter().find(|(known, _)| known == flag);
                let flag = flag.and_then(|(_, kubectl)| *kubectl);
                let values = match flag {
                    Some("--as-group") => value.split(',').collect(),
                    _ => vec![value.as_str()],
                };
                let values = values.into_iter();
                flag.into_iter()
                    .flat_map(move |flag| {
                        values.clone().map(move |value| format!("{flag}={value}"))
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(flags: &str, variables: &[(&str, &str)]) -> Connection {
        let flags: Vec<_> = flags.split_whitespace().map(str::to_owned).collect();
        Connection::new(&flags, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_reach_helm_and_kubectl() {
        let flags = "--set a=b --kube-context prod --kubeconfig=/k -n shop --kube-as-group a --kube-as-group b \
                     --kube-insecure-skip-tls-verify --wait";
        let connection = connection(flags, &[]);
        let helm = "--kube-context=prod --kubeconfig=/k -n shop --kube-as-group=a --kube-as-group=b \
                    --kube-insecure-skip-tls-verify=true";
        assert_eq!(connection.helm_flags().join(" "), helm);
        let kubectl = "--context=prod --kubeconfig=/k --as-group=a --as-group=b --insecure-skip-tls-verify=true";
        assert_eq!(connection.kubectl_flags().join(" "), kubectl);
    }

    #[test]
    fn variables_reach_kubectl_unless_a_flag_says_otherwise() {
        let variables = [
            ("HELM_KUBECONTEXT", "staging"),
            ("HELM_KUBEASUSER", "deployer"),
            ("HELM_KUBEASGROUPS", "a,b"),
            ("HELM_KUBEAPISERVER", ""),
        ];
        let by_variables = connection("", &variables);
        assert_eq!(by_variables.helm_flags(), [""; 0]);
        let expected = "--context=staging --as=deployer --as-group=a --as-group=b";
        assert_eq!(by_variables.kubectl_flags().join(" "), expected);
        let by_flag = connection("--kube-context prod", &variables[..1]);
        assert_eq!(by_flag.kubectl_flags(), ["--context=prod"]);
    }

    /// kubectl takes a token only as an argument, and arguments can be seen by others.
    #[test]
    fn a_token_in_a_variable_stays_there() {
        let secret = connection("", &[("HELM_KUBETOKEN", "hunter2")]);
        assert!(secret.has_secret_token);
        assert_eq!(secret.kubectl_flags(), [""; 0]);
        let shown = connection("--kube-token abc", &[("HELM_KUBETOKEN", "")]);
        assert!(!shown.has_secret_token);
        assert_eq!(shown.kubectl_flags(), ["--token=abc"]);
    }

    #[test]
    fn a_flag_without_its_value_is_for_helm_to_refuse() {
        assert_eq!(connection("--kube-context", &[]), Connection::default());
    }
}
