#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod field;
#[cfg(any(test, feature = "proptest"))]
pub mod random;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use self::field::Field;
pub use self::field::{Problem, WrongShape};

/// The kinds of objects that a pod can need by name, in its own namespace.
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
}

impl Kind {
    /// As in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place in a pod template that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The kind of the object.
    pub kind: Kind,
    /// The name of the object. It is in the namespace of the pod.
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
    /// The kubelet or a volume driver uses it to start the pod.
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
