#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod extra;
mod field;
#[cfg(any(test, feature = "proptest"))]
pub mod random;
pub mod reloaders;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use self::field::Field;
pub use self::field::{Problem, WrongShape};

/// The kinds of objects that a pod, or a claim for storage, can need by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Read as files or environment.
    ConfigMap,
    /// Read as files or environment, or credentials for images and volumes.
    Secret,
    /// The account that the pods run as.
    ServiceAccount,
    /// Storage that the pods mount.
    PersistentVolumeClaim,
    /// How urgent the pods are. Without it the API server refuses them.
    PriorityClass,
    /// What runs the containers. Without it the API server refuses the pods.
    RuntimeClass,
    /// Which secrets of an external store the Secrets Store CSI driver mounts.
    SecretProviderClass,
    /// How storage for a claim is made.
    StorageClass,
}

impl Kind {
    /// As in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::PriorityClass => "PriorityClass",
            Self::RuntimeClass => "RuntimeClass",
            Self::SecretProviderClass => "SecretProviderClass",
            Self::StorageClass => "StorageClass",
        }
    }

    /// The API group without the version; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Secret | Self::ServiceAccount | Self::PersistentVolumeClaim => {
                ""
            }
            Self::PriorityClass => "scheduling.k8s.io",
            Self::RuntimeClass => "node.k8s.io",
            Self::SecretProviderClass => "secrets-store.csi.x-k8s.io",
            Self::StorageClass => "storage.k8s.io",
        }
    }

    /// Whether the object is in no namespace. All others are in the namespace of the pod or claim.
    pub fn is_cluster_scoped(self) -> bool {
        match self {
            Self::ConfigMap
            | Self::Secret
            | Self::ServiceAccount
            | Self::PersistentVolumeClaim
            | Self::SecretProviderClass => false,
            Self::PriorityClass | Self::RuntimeClass | Self::StorageClass => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place in a pod template or claim that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The kind of the object.
    pub kind: Kind,
    /// The name of the object. It is in the namespace of the pod, or in none: see
    /// [`Kind::is_cluster_scoped`].
    pub name: String,
    /// Which of its keys the pods use.
    pub keys: Keys,
    /// Whether the pods start without it.
    pub optional: bool,
    /// What the pods use it for.
    pub purpose: Purpose,
}

/// Which keys of a ConfigMap or Secret are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// All of them, or the object has none.
    All,
    /// These. The pods do not start if one is missing, unless the reference is optional.
    Only(BTreeSet<String>),
}

/// What an object is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The program reads it, as files or environment.
    Config,
    /// The API server, the kubelet or a volume driver uses it to start the pod.
    Start,
    /// Credentials of the image registry.
    ImagePull,
}

/// Reads the needs of the pod template at `template`; `path` is its place in the object, for errors
/// (`spec.template`).
pub fn needs(template: &Value, path: &str) -> Result<Vec<Need>, WrongShape> {
    let mut needs = Vec::new();
    if let Some(spec) = Field::new(template, path).get("spec")? {
        collect_pod(spec, &mut needs)?;
    }
    needs.retain(|need| !need.name.is_empty());
    Ok(needs)
}

/// Reads the StorageClass of a claim for storage: a PersistentVolumeClaim, or a template of one. `path` is
/// its place in the object, for errors; empty for the object itself.
pub fn claim_needs(claim: &Value, path: &str) -> Result<Vec<Need>, WrongShape> {
    let mut needs = Vec::new();
    collect_claim(Field::new(claim, path), &mut needs)?;
    needs.retain(|need| !need.name.is_empty());
    Ok(needs)
}

/// Reads the StorageClasses of the claims that a StatefulSet makes for its pods
/// (`spec.volumeClaimTemplates`).
pub fn claim_template_needs(workload: &Value) -> Result<Vec<Need>, WrongShape> {
    let mut needs = Vec::new();
    if let Some(spec) = Field::new(workload, "").get("spec")? {
        spec.each("volumeClaimTemplates", &mut |claim| {
            collect_claim(claim, &mut needs)
        })?;
    }
    needs.retain(|need| !need.name.is_empty());
    Ok(needs)
}

/// The annotation that was the name of the StorageClass before the field was. Where both are, Kubernetes
/// takes the annotation (component-helpers `storage/volume/helpers.go`, GetPersistentVolumeClaimClass).
const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn collect_claim(claim: Field<'_>, needs: &mut Vec<Need>) -> Result<(), WrongShape> {
    let mut class = None;
    if let Some(metadata) = claim.get("metadata")?
        && let Some(annotations) = metadata.get("annotations")?
    {
        class = annotations.text(BETA_STORAGE_CLASS)?;
    }
    if class.is_none()
        && let Some(spec) = claim.get("spec")?
    {
        class = spec.text("storageClassName")?;
    }
    needs.push(need(Kind::StorageClass, class, Keys::All, Purpose::Start));
    Ok(())
}

/// The API server makes these itself, and again when they are deleted (pkg/apis/scheduling/types.go).
const BUILT_IN_PRIORITIES: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

/// The drivers of the Secrets Store, as the project and as GKE install it.
const SECRETS_STORES: [&str; 2] = ["secrets-store.csi.k8s.io", "secrets-store-gke.csi.k8s.io"];

fn collect_pod(spec: Field<'_>, needs: &mut Vec<Need>) -> Result<(), WrongShape> {
    spec.each("volumes", &mut |volume| collect_volume(volume, needs))?;
    spec.each("initContainers", &mut |container| {
        collect_container(container, needs)
    })?;
    spec.each("containers", &mut |container| {
        collect_container(container, needs)
    })?;
    spec.each("imagePullSecrets", &mut |secret| {
        // A pod starts without its pull Secret; whether the image can be pulled is another matter.
        let need = need(
            Kind::Secret,
            secret.text("name")?,
            Keys::All,
            Purpose::ImagePull,
        );
        needs.push(Need {
            optional: true,
            ..need
        });
        Ok(())
    })?;
    let account = spec.text("serviceAccountName")?;
    // The deprecated name of the same, which the API server still takes from a manifest.
    let deprecated = spec.text("serviceAccount")?;
    let account = account.filter(|name| !name.is_empty()).or(deprecated);
    needs.push(need(
        Kind::ServiceAccount,
        account,
        Keys::All,
        Purpose::Start,
    ));
    let priority = spec.text("priorityClassName")?;
    let priority = priority.filter(|name| !BUILT_IN_PRIORITIES.contains(&name.as_str()));
    let runtime = spec.text("runtimeClassName")?;
    needs.extend(
        [
            (Kind::PriorityClass, priority),
            (Kind::RuntimeClass, runtime),
        ]
        .map(|(kind, name)| need(kind, name, Keys::All, Purpose::Start)),
    );
    Ok(())
}

/// Volumes with credentials, and where these are named: the fields that Kubernetes itself visits to
/// find the Secrets of a pod (pkg/api/v1/pod/util.go, VisitPodSecretNames). `azureFile` is another one.
const DRIVERS: [(&str, &str); 8] = [
    ("cephfs", "secretRef"),
    ("cinder", "secretRef"),
    ("flexVolume", "secretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
    ("scaleIO", "secretRef"),
    ("storageos", "secretRef"),
    ("csi", "nodePublishSecretRef"),
];

fn collect_volume(volume: Field<'_>, needs: &mut Vec<Need>) -> Result<(), WrongShape> {
    if let Some(source) = volume.get("configMap")? {
        needs.push(volume_source(source, Kind::ConfigMap, "name")?);
    }
    if let Some(source) = volume.get("secret")? {
        // All other sources name their Secret otherwise.
        needs.push(volume_source(source, Kind::Secret, "secretName")?);
    }
    if let Some(projected) = volume.get("projected")? {
        projected.each("sources", &mut |projection| {
            if let Some(source) = projection.get("configMap")? {
                needs.push(volume_source(source, Kind::ConfigMap, "name")?);
            }
            if let Some(source) = projection.get("secret")? {
                needs.push(volume_source(source, Kind::Secret, "name")?);
            }
            Ok(())
        })?;
    }
    if let Some(claim) = volume.get("persistentVolumeClaim")? {
        let name = claim.text("claimName")?;
        needs.push(need(
            Kind::PersistentVolumeClaim,
            name,
            Keys::All,
            Purpose::Start,
        ));
    }
    if let Some(ephemeral) = volume.get("ephemeral")?
        && let Some(claim) = ephemeral.get("volumeClaimTemplate")?
    {
        collect_claim(claim, needs)?;
    }
    if let Some(csi) = volume.get("csi")?
        && let Some(driver) = csi.text("driver")?
        && SECRETS_STORES.contains(&driver.as_str())
        && let Some(attributes) = csi.get("volumeAttributes")?
    {
        needs.push(need(
            Kind::SecretProviderClass,
            attributes.text("secretProviderClass")?,
            Keys::All,
            Purpose::Start,
        ));
    }
    for (driver, reference) in DRIVERS {
        if let Some(driver) = volume.get(driver)?
            && let Some(secret) = driver.get(reference)?
        {
            needs.push(need(
                Kind::Secret,
                secret.text("name")?,
                Keys::All,
                Purpose::Start,
            ));
        }
    }
    if let Some(share) = volume.get("azureFile")? {
        needs.push(need(
            Kind::Secret,
            share.text("secretName")?,
            Keys::All,
            Purpose::Start,
        ));
    }
    Ok(())
}

/// The source of a volume: all keys, or those in `items`.
fn volume_source(source: Field<'_>, kind: Kind, name: &str) -> Result<Need, WrongShape> {
    let mut keys = BTreeSet::new();
    source.each("items", &mut |item| {
        keys.insert(item.required_text("key")?);
        Ok(())
    })?;
    // No items and an empty list of items both mean all keys.
    let keys = match keys.is_empty() {
        true => Keys::All,
        false => Keys::Only(keys),
    };
    Ok(Need {
        optional: source.flag("optional")?.unwrap_or(false),
        ..need(kind, source.text(name)?, keys, Purpose::Config)
    })
}

fn collect_container(container: Field<'_>, needs: &mut Vec<Need>) -> Result<(), WrongShape> {
    container.each("envFrom", &mut |from| {
        for (field, kind) in [
            ("configMapRef", Kind::ConfigMap),
            ("secretRef", Kind::Secret),
        ] {
            if let Some(whole) = from.get(field)? {
                needs.push(env_reference(whole, kind, Keys::All)?);
            }
        }
        Ok(())
    })?;
    container.each("env", &mut |env| {
        let Some(from) = env.get("valueFrom")? else {
            return Ok(());
        };
        for (field, kind) in [
            ("configMapKeyRef", Kind::ConfigMap),
            ("secretKeyRef", Kind::Secret),
        ] {
            if let Some(one) = from.get(field)? {
                let key = one.required_text("key")?;
                needs.push(env_reference(one, kind, Keys::Only([key].into()))?);
            }
        }
        Ok(())
    })
}

/// A reference by environment.
fn env_reference(reference: Field<'_>, kind: Kind, keys: Keys) -> Result<Need, WrongShape> {
    Ok(Need {
        optional: reference.flag("optional")?.unwrap_or(false),
        ..need(kind, reference.text("name")?, keys, Purpose::Config)
    })
}

fn need(kind: Kind, name: Option<String>, keys: Keys, purpose: Purpose) -> Need {
    Need {
        kind,
        // A missing name is the API server's to refuse; no object has it.
        name: name.unwrap_or_default(),
        keys,
        optional: false,
        purpose,
    }
}

#[cfg(test)]
mod tests;
