//! What a policy can ask of a cluster, and the words in which policy-server refuses.

#[cfg(feature = "serve")]
mod live;
mod objects;
mod selector;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde_json::Value;

#[cfg(feature = "serve")]
pub use live::LiveCluster;
pub use objects::Objects;

/// Objects to be looked up: made of files ([`Objects`]), or those of a live cluster.
///
/// Answers are whole objects, as the API server would give them; the testbed prunes them to what the
/// policy asked for. What is refused is refused with a [`HostError`], which has the right words.
pub trait Cluster: Send + Sync {
    fn get_resource(&self, request: &GetResourceRequest) -> Result<Value, HostError>;

    fn list_resources_by_namespace(
        &self,
        request: &ListResourcesByNamespaceRequest,
    ) -> Result<Vec<Value>, HostError>;

    fn list_resources_all(
        &self,
        request: &ListAllResourcesRequest,
    ) -> Result<Vec<Value>, HostError>;
}

/// A kind of objects, in the words of a look-up: `v1/ConfigMap`, `apps/v1/Deployment`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    pub api_version: String,
    pub kind: String,
}

impl Kind {
    pub fn new(api_version: &str, kind: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version, self.kind)
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let error = || format!("'{text}' is not a kind like v1/ConfigMap or apps/v1/Deployment");
        let (api_version, kind) = text.rsplit_once('/').with_context(error)?;
        let mut parts = api_version.split('/').chain([kind]);
        ensure!(
            parts.clone().count() <= 3 && parts.all(|part| !part.is_empty()),
            error()
        );
        Ok(Self::new(api_version, kind))
    }
}

/// A host call that was not answered. The text is all that the guest gets to see of it.
///
/// The texts are those of policy-server, to the letter:
///
/// | | text |
/// | --- | --- |
/// | absent | `Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some("shop")'` |
/// | absent, no namespace in the request | `Callback evaluation failure: Cannot find v1/Namespace named 'shop' inside of namespace 'None'` |
/// | denied | `Policy has not been granted access to Kubernetes v1/Secret resources. The violation has been reported.` |
/// | failed | `Callback evaluation failure: ` and the cause |
///
/// A guest written in Rust sees more in front of them, which its own side puts there:
/// `wapc_guest::host_call` begins with `Host error: `, and the typed helpers of the SDK put
/// `error invoking host capability kubernetes.get_resource: ` before that.
///
/// The real host has two failures that share words with an absent object without being one. It
/// knows no such kind: `Callback evaluation failure: Cannot find resource v1/Foo`. A namespace is
/// needed: `Callback evaluation failure: Resource v1/ConfigMap is namespaced, but no namespace was
/// provided`.
///
/// Where `RUST_BACKTRACE` is set for policy-server, a stack trace follows, in further lines, upon
/// each text that begins with `Callback evaluation failure`: do not look at where a text ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The API server has no such object.
    Absent(String),
    /// The kind is not among the `contextAwareResources` that the policy was granted.
    Denied(String),
    /// Anything else: the API server said no, did not answer, or the request makes no sense.
    Failed(String),
}

impl HostError {
    pub fn absent(request: &GetResourceRequest) -> Self {
        let GetResourceRequest {
            api_version,
            kind,
            name,
            namespace,
            ..
        } = request;
        // Debug output of the option, as in the real host.
        Self::Absent(format!(
            "Callback evaluation failure: Cannot find {api_version}/{kind} named '{name}' inside of namespace '{namespace:?}'"
        ))
    }

    pub fn denied(api_version: &str, kind: &str) -> Self {
        Self::Denied(format!(
            "Policy has not been granted access to Kubernetes {api_version}/{kind} resources. The violation has been reported."
        ))
    }

    pub fn failed(cause: impl fmt::Display) -> Self {
        Self::Failed(format!("Callback evaluation failure: {cause}"))
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Absent(text) | Self::Denied(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_with_their_version() {
        let read = |text: &str| text.parse::<Kind>().map_err(|error| error.to_string());

        assert_eq!(read("v1/Secret"), Ok(Kind::new("v1", "Secret")));
        assert_eq!(
            read("apps/v1/Deployment"),
            Ok(Kind::new("apps/v1", "Deployment"))
        );
        assert_eq!(
            Kind::new("apps/v1", "Deployment").to_string(),
            "apps/v1/Deployment"
        );
        for text in ["Secret", "/Secret", "v1/", "apps//Deployment", "a/b/c/d"] {
            assert_eq!(
                read(text),
                Err(format!(
                    "'{text}' is not a kind like v1/ConfigMap or apps/v1/Deployment"
                ))
            );
        }
    }
}
