//! The application in most cases: a Deployment with one ConfigMap, which becomes a hook in the hook trap.

use std::collections::BTreeMap;

use config_digest::Digester;

/// The annotations that turn the ConfigMap into a hook. Helm prunes it if it was a regular resource before.
pub(crate) const PRE_UPGRADE: &str = r#""helm.sh/hook": "pre-install,pre-upgrade""#;

/// An annotation of the Deployment. With it, Helm 3 sends a request for the Deployment at every upgrade.
pub(crate) const REVISION: &str = r#"revision: "{{ .Release.Revision }}""#;

pub(crate) fn config(annotations: &str, value: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata:
  name: app-config
  annotations: {{{annotations}}}
data: {{setting: {value:?}}}
"
    )
}

pub(crate) fn deployment(annotations: &str, image: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {{{annotations}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: {image:?}, envFrom: [{{configMapRef: {{name: app-config}}}}]}}]
"
    )
}

/// What the policy records on a workload that uses this ConfigMap with its only key, `setting`.
pub(crate) fn recorded(config: &str, setting: &str) -> BTreeMap<String, String> {
    let used = [("setting", setting.as_bytes())].into();
    let digest = Digester::default().digest(&used);
    [(format!("ConfigMap/{config}"), digest)].into()
}
