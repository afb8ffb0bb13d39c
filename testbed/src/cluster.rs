//! The look-ups of a policy in a cluster, and the errors that policy-server answers.

#[cfg(feature = "serve")]
mod live;
mod objects;
mod selector;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReviewStatus;
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    CanIRequest, GetResourceRequest, ListAllResourcesRequest, ListResourcesByNamespaceRequest,
};
use serde_json::Value;

#[cfg(feature = "serve")]
pub use live::LiveCluster;
pub use objects::Objects;

/// The objects that a policy can look up: given as JSON ([`Objects`]), or those of a live cluster.
///
/// Answers are whole objects, as the API server returns them. The testbed removes the fields that the policy did not
/// ask for. A failed look-up is a [`HostError`] with the text of policy-server.
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

    /// Whether a user may do something. Everybody may do everything, unless a cluster knows better.
    fn can_i(&self, _request: &CanIRequest) -> Result<SubjectAccessReviewStatus, HostError> {
        Ok(SubjectAccessReviewStatus {
            allowed: true,
            ..SubjectAccessReviewStatus::default()
        })
    }
}

/// A kind of objects, as in a look-up: `v1/ConfigMap`, `apps/v1/Deployment`.
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

/// A failed host call. The guest sees only its text.
///
/// The texts are exactly those of policy-server:
///
/// | | text |
/// | --- | --- |
/// | absent | `Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some("shop")'` |
/// | absent, no namespace in the request | `Callback evaluation failure: Cannot find v1/Namespace named 'shop' inside of namespace 'None'` |
/// | denied | `Policy has not been granted access to Kubernetes v1/Secret resources. The violation has been reported.` |
/// | failed | `Callback evaluation failure: ` and the cause |
///
/// A guest in Rust sees a prefix that its own libraries add: `wapc_guest::host_call` adds `Host error: `, and the typed
/// helpers of the SDK add `error invoking host capability kubernetes.get_resource: ` before that.
///
/// Two failures of policy-server are similar to the text for an absent object. One is for an unknown kind:
/// `Callback evaluation failure: Cannot find resource v1/Foo`. The other is for a missing namespace: `Callback
/// evaluation failure: Resource v1/ConfigMap is namespaced, but no namespace was provided`.
///
/// If `RUST_BACKTRACE` is set for policy-server, each text that begins with `Callback evaluation failure` is followed by
/// a stack trace on further lines. So do not rely on the end of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The API server has no such object.
    Absent(String),
    /// The kind is not among the `contextAwareResources` that the policy was granted.
    Denied(String),
    /// Anything else: the API server answered with an error or not at all, or the request is invalid.
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
        // The debug output of the option, as in policy-server.
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
