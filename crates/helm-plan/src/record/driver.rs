//! Where Helm stores release records: as Secrets, or as ConfigMaps with `HELM_DRIVER=configmap`.
//!
//! The SQL driver stores nothing in the cluster.

use serde_json::Value;

use crate::metadata::label;

/// The type of the Secrets that hold records.
const SECRET_TYPE: &str = "helm.sh/release.v1";

/// A storage driver of Helm (helm `pkg/storage/driver`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Helm's default.
    Secret,
    /// `HELM_DRIVER=configmap`.
    ConfigMap,
}

impl Driver {
    /// The driver that wrote an object of the core group, if the object is a release record. Helm gives
    /// its Secrets a type of their own, and its ConfigMaps a label (helm `pkg/storage/driver`).
    pub fn of_record(kind: &str, object: &Value) -> Option<Self> {
        let driver = match kind {
            "Secret" => Self::Secret,
            "ConfigMap" => Self::ConfigMap,
            _ => return None,
        };
        let is_record = match driver {
            Self::Secret => object.get("type").and_then(Value::as_str) == Some(SECRET_TYPE),
            Self::ConfigMap => label(object, "owner") == Some("helm"),
        };
        is_record.then_some(driver)
    }

    /// The kind of its records, in the core group.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// The name of the record of a revision: `sh.helm.release.v1.web.v2`.
pub fn record_name(release: &str, revision: u64) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}
