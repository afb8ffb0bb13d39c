//! The application that most cases are about: a Deployment with one ConfigMap, which the trap makes a
//! hook.

use std::collections::BTreeMap;

use rollout_guard::config_hash::digest::Digester;

/// Annotations of a ConfigMap that is pruned when it was a regular resource before.
pub(crate) const PRE_UPGRADE: &str = r#""helm.sh/hook": "pre-install,pre-upgrade""#;

/// An annotation of the Deployment that makes Helm 3 send a request for it at every upgrade.
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
  replicas: 0
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: {image:?}, envFrom: [{{configMapRef: {{name: app-config}}}}]}}]
"
    )
}

/// What the policy remembers of a workload that uses this ConfigMap, with the one key `setting`.
pub(crate) fn recorded(config: &str, setting: &str) -> BTreeMap<String, String> {
    let used = [("setting", setting.as_bytes())].into();
    let digest = Digester::default().digest(&used);
    [(format!("ConfigMap/{config}"), digest)].into()
}
