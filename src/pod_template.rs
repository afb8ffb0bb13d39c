//! What the pods of a template need from the cluster.
//!
//! In: a pod template as raw JSON, of an object under review or of a rendered manifest. Out: its
//! [`Need`]s in the order of the template. Refuses: a template whose fields have the wrong shape, with
//! their path; everything that is not looked at may be anything.

#[cfg(test)]
pub(crate) mod random;

use std::{collections::BTreeSet, fmt};

use serde::Deserialize;
use serde_json::Value;

/// The kinds of objects that a pod can need by name, in its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
    ServiceAccount,
    PersistentVolumeClaim,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants carry the names of the kinds.
        write!(f, "{self:?}")
    }
}

/// One place in a pod template that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub kind: Kind,
    pub name: String,
    pub keys: Keys,
    /// The pods start without it.
    pub optional: bool,
    pub role: Role,
}

/// Which keys of a ConfigMap or Secret are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    All,
    Only(BTreeSet<String>),
}

/// What an object is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The program reads it, as files or environment.
    Config,
    /// The kubelet or a volume driver uses it to start the pod.
    Start,
    /// Credentials of the image registry.
    ImagePull,
}

/// Reads the needs of the pod template at `template`; `path` is its place in the object, for errors
/// (`spec.template`).
pub fn needs(template: &Value, path: &str) -> Result<Vec<Need>, String> {
    let template: Option<Template> =
        serde_path_to_error::deserialize(template).map_err(|error| {
            let place = match error.path().to_string() {
                inner if inner == "." => String::new(),
                inner => format!(".{inner}"),
            };
            format!("{path}{place}: {}", error.inner())
        })?;
    let mut needs = Vec::new();
    if let Some(spec) = template.and_then(|template| template.spec) {
        spec.collect(&mut needs);
    }
    needs.retain(|need| !need.name.is_empty());
    Ok(needs)
}

/// The API server reads a `null` in a list as an empty entry, and passes it in `imagePullSecrets`.
type List<T> = Option<Vec<Option<T>>>;

fn entries<T>(list: List<T>) -> impl Iterator<Item = T> {
    list.into_iter().flatten().flatten()
}

#[derive(Deserialize)]
struct Template {
    spec: Option<PodSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    volumes: List<Volume>,
    init_containers: List<Container>,
    containers: List<Container>,
    image_pull_secrets: List<Named>,
    service_account_name: Option<String>,
    /// The deprecated name of the same, which the API server still takes from a manifest.
    service_account: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    config_map: Option<Source>,
    secret: Option<SecretSource>,
    projected: Option<Projected>,
    persistent_volume_claim: Option<Claim>,
    // Credentials of volume drivers: the fields that Kubernetes itself visits to find the Secrets of
    // a pod (pkg/api/v1/pod/util.go, VisitPodSecretNames).
    azure_file: Option<AzureFile>,
    #[serde(rename = "cephfs")]
    ceph_fs: Option<Driver>,
    cinder: Option<Driver>,
    csi: Option<Csi>,
    flex_volume: Option<Driver>,
    iscsi: Option<Driver>,
    rbd: Option<Driver>,
    #[serde(rename = "scaleIO")]
    scale_io: Option<Driver>,
    storageos: Option<Driver>,
}

#[derive(Deserialize)]
struct Projected {
    sources: List<Projection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Projection {
    config_map: Option<Source>,
    secret: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    name: Option<String>,
    items: Option<Vec<Item>>,
    optional: Option<bool>,
}

/// A Secret volume names its Secret otherwise than all other sources do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretSource {
    secret_name: Option<String>,
    items: Option<Vec<Item>>,
    optional: Option<bool>,
}

#[derive(Deserialize)]
struct Item {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureFile {
    secret_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Csi {
    node_publish_secret_ref: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    secret_ref: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    env: List<Env>,
    env_from: List<EnvFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    value_from: Option<ValueFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueFrom {
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
}

#[derive(Deserialize)]
struct KeyRef {
    name: Option<String>,
    key: String,
    optional: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvFrom {
    config_map_ref: Option<WholeRef>,
    secret_ref: Option<WholeRef>,
}

#[derive(Deserialize)]
struct WholeRef {
    name: Option<String>,
    optional: Option<bool>,
}

impl PodSpec {
    fn collect(self, needs: &mut Vec<Need>) {
        for volume in entries(self.volumes) {
            volume.collect(needs);
        }
        for container in entries(self.init_containers).chain(entries(self.containers)) {
            container.collect(needs);
        }
        for secret in entries(self.image_pull_secrets) {
            // A pod starts without its pull Secret; whether the image can be pulled is another matter.
            needs.push(need(
                Kind::Secret,
                secret.name,
                Keys::All,
                Some(true),
                Role::ImagePull,
            ));
        }
        needs.push(need(
            Kind::ServiceAccount,
            self.service_account_name
                .filter(|name| !name.is_empty())
                .or(self.service_account),
            Keys::All,
            None,
            Role::Start,
        ));
    }
}

impl Volume {
    fn collect(self, needs: &mut Vec<Need>) {
        if let Some(source) = self.config_map {
            needs.push(source.need(Kind::ConfigMap));
        }
        if let Some(SecretSource {
            secret_name,
            items,
            optional,
        }) = self.secret
        {
            needs.push(
                Source {
                    name: secret_name,
                    items,
                    optional,
                }
                .need(Kind::Secret),
            );
        }
        for projection in entries(self.projected.and_then(|projected| projected.sources)) {
            needs.extend(
                projection
                    .config_map
                    .map(|source| source.need(Kind::ConfigMap)),
            );
            needs.extend(projection.secret.map(|source| source.need(Kind::Secret)));
        }
        if let Some(claim) = self.persistent_volume_claim {
            needs.push(need(
                Kind::PersistentVolumeClaim,
                claim.claim_name,
                Keys::All,
                None,
                Role::Start,
            ));
        }
        let drivers = [
            self.ceph_fs,
            self.cinder,
            self.flex_volume,
            self.iscsi,
            self.rbd,
            self.scale_io,
            self.storageos,
        ];
        let credentials = drivers
            .into_iter()
            .flatten()
            .filter_map(|driver| driver.secret_ref)
            .chain(self.csi.and_then(|csi| csi.node_publish_secret_ref))
            .map(|secret| secret.name)
            .chain(self.azure_file.map(|share| share.secret_name));
        needs
            .extend(credentials.map(|name| need(Kind::Secret, name, Keys::All, None, Role::Start)));
    }
}

impl Source {
    fn need(self, kind: Kind) -> Need {
        let keys = match self.items {
            // No items and an empty list of items both mean all keys.
            Some(items) if !items.is_empty() => {
                Keys::Only(items.into_iter().map(|item| item.key).collect())
            }
            _ => Keys::All,
        };
        need(kind, self.name, keys, self.optional, Role::Config)
    }
}

impl Container {
    fn collect(self, needs: &mut Vec<Need>) {
        for from in entries(self.env_from) {
            for (kind, whole) in [
                (Kind::ConfigMap, from.config_map_ref),
                (Kind::Secret, from.secret_ref),
            ] {
                needs.extend(
                    whole.map(|whole| {
                        need(kind, whole.name, Keys::All, whole.optional, Role::Config)
                    }),
                );
            }
        }
        for from in entries(self.env).filter_map(|env| env.value_from) {
            for (kind, one) in [
                (Kind::ConfigMap, from.config_map_key_ref),
                (Kind::Secret, from.secret_key_ref),
            ] {
                needs.extend(one.map(|one| {
                    let keys = Keys::Only(BTreeSet::from([one.key]));
                    need(kind, one.name, keys, one.optional, Role::Config)
                }));
            }
        }
    }
}

fn need(kind: Kind, name: Option<String>, keys: Keys, optional: Option<bool>, role: Role) -> Need {
    // A missing name is the API server's to refuse; no object has it.
    Need {
        kind,
        name: name.unwrap_or_default(),
        keys,
        optional: optional.unwrap_or(false),
        role,
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
