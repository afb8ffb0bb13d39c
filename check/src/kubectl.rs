//! Live objects, as `kubectl` shows them.
//!
//! In: the kind and name of an object. Out: what is [`Live`]. Refuses: nothing. What cannot be looked at
//! counts as its manifest says, as for the policy; a note tells of it.

use std::{env, process};

use helm_plan::{Live, ObjectId};
use serde_json::{Value, json};

use crate::connection::Connection;

/// `kubectl` with the cluster and the user that `helm` has.
pub(crate) struct Kubectl {
    program: String,
    flags: Vec<String>,
    has_secret_token: bool,
    unseen: Vec<(ObjectId, Unseen)>,
}

/// Why an object could not be looked at.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    /// With any other credentials it would look as somebody else.
    #[error(
        "helm has its token from HELM_KUBETOKEN, and kubectl takes one only as an argument, which others on this machine can see"
    )]
    SecretToken,
    #[error("cannot run {program}: {source}")]
    NotStarted {
        program: String,
        source: std::io::Error,
    },
    /// It is forbidden, the kind does not exist, the server is away: only the text tells.
    #[error("{}", .0.trim())]
    Failed(String),
    #[error("cannot read the output of kubectl: {0}")]
    NotJson(#[from] serde_json::Error),
}

impl Kubectl {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            program: env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned()),
            flags: connection.kubectl_flags(),
            has_secret_token: connection.has_secret_token,
            unseen: Vec::new(),
        }
    }

    /// What is known of an object.
    pub(crate) fn look(&mut self, api_version: &str, id: &ObjectId) -> Live {
        let found = self.get(api_version, id);
        live(found.map_err(|unseen| self.unseen.push((id.clone(), unseen))))
    }

    /// What could not be looked at, for people.
    pub(crate) fn note(&self) -> Option<String> {
        let (id, unseen) = self.unseen.first()?;
        let more = match self.unseen.len() {
            1 => String::new(),
            2 => " and one more object".to_owned(),
            number => format!(" and {} more objects", number - 1),
        };
        Some(format!(
            "Note: kubectl cannot look at {id}{more}, so the manifest decides: {unseen}"
        ))
    }

    /// What a command prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = self.output(arguments.iter().map(|&argument| argument.to_owned()))?;
        Ok(output)
    }

    fn output(&self, arguments: impl IntoIterator<Item = String>) -> Result<Vec<u8>, Unseen> {
        if self.has_secret_token {
            return Err(Unseen::SecretToken);
        }
        let mut command = process::Command::new(&self.program);
        let mut arguments = arguments.into_iter();
        command
            .args(arguments.next())
            .args(&self.flags)
            .args(arguments);
        let output = command.output().map_err(|source| Unseen::NotStarted {
            program: self.program.clone(),
            source,
        })?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Unseen::Failed(errors.into_owned()));
        }
        Ok(output.stdout)
    }

    /// `None` if it does not exist.
    fn get(&self, api_version: &str, id: &ObjectId) -> Result<Option<Value>, Unseen> {
        // Who else writes the object is in its managed fields.
        let get = [
            "get",
            "--ignore-not-found",
            "--output=json",
            "--show-managed-fields",
        ];
        let mut arguments: Vec<_> = get.map(str::to_owned).into();
        if !id.namespace.is_empty() {
            arguments.push(format!("--namespace={}", id.namespace));
        }
        // The names come from a record: none of them is a flag.
        arguments.extend([
            "--".to_owned(),
            resource(api_version, &id.kind),
            id.name.clone(),
        ]);
        let output = self.output(arguments)?;
        if output.trim_ascii().is_empty() {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&output)?)
    }
}

/// What a look-up says about the object.
fn live(found: Result<Option<Value>, ()>) -> Live {
    match found {
        // Secrets have no other business here.
        Ok(Some(mut object)) => Live::Present(json!({
            "metadata": object.get_mut("metadata").map(Value::take),
        })),
        Ok(None) => Live::Absent,
        // A failure never counts as an absent object. What is forbidden here may be open to the policy, so it
        // is not `Denied`.
        Err(()) => Live::Unknown,
    }
}

/// `Deployment.v1.apps`, and `ConfigMap.v1.` for the core group: a bare kind could be one of another group.
fn resource(api_version: &str, kind: &str) -> String {
    let (group, version) = match api_version.rsplit_once('/') {
        Some((group, version)) => (group, version),
        None => ("", api_version),
    };
    format!("{kind}.{version}.{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_is_told_the_group_and_the_version() {
        assert_eq!(resource("v1", "ConfigMap"), "ConfigMap.v1.");
        assert_eq!(resource("apps/v1", "Deployment"), "Deployment.v1.apps");
        assert_eq!(
            resource("external-secrets.io/v1beta1", "ExternalSecret"),
            "ExternalSecret.v1beta1.external-secrets.io"
        );
    }

    #[test]
    fn only_an_empty_answer_is_an_absent_object() {
        assert_eq!(live(Ok(None)), Live::Absent);
        assert_eq!(live(Err(())), Live::Unknown);
        let object = json!({"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}, "data": {"password": "aA=="}});
        let metadata = json!({"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}});
        assert_eq!(live(Ok(Some(object))), Live::Present(metadata));
    }
}
