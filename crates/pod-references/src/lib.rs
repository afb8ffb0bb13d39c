#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod chosen;
pub mod extra;
mod field;
mod mounts;
#[cfg(any(test, feature = "proptest"))]
pub mod random;
pub mod reloaders;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

pub use self::field::{Problem, WrongShape};
use self::{
    field::Field,
    mounts::{Mounts, View},
};

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
    /// These. The pods do not start if one is missing, unless the reference is optional. With none, the pods
    /// need the object, whatever is in it.
    Only(BTreeSet<String>),
}

/// What an object is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The program reads it, as files or environment.
    Config,
    /// The API server, the kubelet or a volume driver uses it to start the pod. Of a ConfigMap or Secret: the
    /// program sees none of these keys.
    Start,
    /// Credentials of the image registry.
    ImagePull,
}

/// Reads the needs of the pod template of an object. `template` is its place (`spec.template`), empty for a Pod. An object
/// without one has none.
pub fn needs(object: &Value, template: &str) -> Result<Vec<Need>, WrongShape> {
    let mut needs = Vec::new();
    let mut fields = template.split('.').filter(|field| !field.is_empty());
    let pods = fields.try_fold(object, |value, field| value.get(field));
    if let Some(pods) = pods
        && let Some(spec) = Field::new(pods, template).get("spec")?
    {
        collect_pod(spec, &claim_names(object), &mut needs)?;
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

/// The volumes that the pods of a StatefulSet, or of a kind that is like one, get for its claims, instead of those that
/// the template has by these names (pkg/controller/statefulset/stateful_set_utils.go, updateStorage).
/// [`claim_template_needs`] tells of another shape.
fn claim_names(object: &Value) -> BTreeSet<&str> {
    let claims = object.pointer("/spec/volumeClaimTemplates");
    let claims = claims.and_then(Value::as_array).into_iter().flatten();
    claims
        .filter_map(|claim| claim.pointer("/metadata/name")?.as_str())
        .collect()
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

fn collect_pod(
    spec: Field<'_>,
    claims: &BTreeSet<&str>,
    needs: &mut Vec<Need>,
) -> Result<(), WrongShape> {
    let mounts = Mounts::of_pod(spec)?;
    spec.each("volumes", &mut |volume| {
        let name = volume.text("name")?.unwrap_or_default();
        match claims.contains(name.as_str()) {
            true => Ok(()),
            false => collect_volume(volume, &mounts.of_volume(&name), needs),
        }
    })?;
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

fn collect_volume(
    volume: Field<'_>,
    view: &View<'_>,
    needs: &mut Vec<Need>,
) -> Result<(), WrongShape> {
    // Storage is needed also where no container mounts it: the scheduler waits for all claims of a pod (its
    // plugin VolumeBinding, podHasPVCs), and a controller makes those of ephemeral volumes.
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
    let mut when_mounted = Vec::new();
    collect_sources(volume, view, &mut when_mounted)?;
    if view.is_mounted() {
        needs.append(&mut when_mounted);
    }
    Ok(())
}

/// What the kubelet and the volume drivers read to set the volume up.
fn collect_sources(
    volume: Field<'_>,
    view: &View<'_>,
    needs: &mut Vec<Need>,
) -> Result<(), WrongShape> {
    if let Some(source) = volume.get("configMap")? {
        collect_source(source, Kind::ConfigMap, "name", view, true, needs)?;
    }
    if let Some(source) = volume.get("secret")? {
        // All other sources name their Secret otherwise.
        collect_source(source, Kind::Secret, "secretName", view, true, needs)?;
    }
    if let Some(projected) = volume.get("projected")? {
        let mut sources = 0;
        projected.each("sources", &mut |_| {
            sources += 1;
            Ok(())
        })?;
        projected.each("sources", &mut |projection| {
            for (field, kind) in [("configMap", Kind::ConfigMap), ("secret", Kind::Secret)] {
                if let Some(source) = projection.get(field)? {
                    collect_source(source, kind, "name", view, sources == 1, needs)?;
                }
            }
            Ok(())
        })?;
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

/// A ConfigMap or Secret whose keys are files of a volume. `is_alone`: the volume has no other source.
///
/// A missing key of `items` stops the pods. A file that a subPath names and that is missing does not: the
/// kubelet makes an empty directory in its place (makeMounts in pkg/kubelet/kubelet_pods.go). No program
/// expects that, so the key counts as required all the same.
fn collect_source(
    source: Field<'_>,
    kind: Kind,
    name_field: &str,
    view: &View<'_>,
    is_alone: bool,
    needs: &mut Vec<Need>,
) -> Result<(), WrongShape> {
    let name = source.text(name_field)?;
    let optional = source.flag("optional")?.unwrap_or(false);
    let (mut seen, mut unseen) = (BTreeSet::new(), BTreeSet::new());
    source.each("items", &mut |item| {
        let key = item.required_text("key")?;
        let path = item.text("path")?.unwrap_or_default();
        match view.sees(&path) {
            true => seen.insert(key),
            false => unseen.insert(key),
        };
        Ok(())
    })?;
    let mut add = |keys, purpose, optional| {
        needs.push(Need {
            optional,
            ..need(kind, name.clone(), keys, purpose)
        });
    };
    // No items and an empty list of items both mean all keys.
    if seen.is_empty() && unseen.is_empty() {
        match view.keys() {
            Some(keys) if !is_alone && !optional => {
                // Which source has the file is not known here.
                add(Keys::Only(BTreeSet::new()), Purpose::Config, false);
                add(Keys::Only(keys), Purpose::Config, true);
            }
            Some(keys) => add(Keys::Only(keys), Purpose::Config, optional),
            None => add(Keys::All, Purpose::Config, optional),
        }
        return Ok(());
    }
    if !seen.is_empty() || !optional {
        add(Keys::Only(seen), Purpose::Config, optional);
    }
    if !unseen.is_empty() && !optional {
        add(Keys::Only(unseen), Purpose::Start, false);
    }
    Ok(())
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
