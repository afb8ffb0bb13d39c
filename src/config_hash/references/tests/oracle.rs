//! The references that the policy finds, compared with the typed Kubernetes API.

use k8s_openapi::api::core::v1::PodSpec;
use pod_references::{Need, random::pod_template};
use proptest::prelude::*;

use super::*;

/// What the kubelet needs to start the pod.
fn start_needs(spec: &PodSpec) -> BTreeSet<(Kind, String)> {
    let mut found = BTreeSet::new();
    let account = spec.service_account_name.clone().unwrap_or_default();
    found.insert((Kind::ServiceAccount, account));
    let priority = spec.priority_class_name.clone().unwrap_or_default();
    if !priority.starts_with("system-") {
        found.insert((Kind::PriorityClass, priority));
    }
    let runtime = spec.runtime_class_name.clone().unwrap_or_default();
    found.insert((Kind::RuntimeClass, runtime));
    for volume in spec.volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            found.insert((Kind::PersistentVolumeClaim, claim.claim_name.clone()));
        }
        let ephemeral = volume.ephemeral.as_ref();
        if let Some(claim) = ephemeral.and_then(|it| it.volume_claim_template.as_ref()) {
            let annotations = claim
                .metadata
                .as_ref()
                .and_then(|it| it.annotations.as_ref());
            let old = annotations.and_then(|it| it.get("volume.beta.kubernetes.io/storage-class"));
            let class = old.or(claim.spec.storage_class_name.as_ref());
            found.insert((Kind::StorageClass, class.cloned().unwrap_or_default()));
        }
        if let Some(csi) = &volume.csi
            && csi.driver.starts_with("secrets-store")
            && let Some(attributes) = &csi.volume_attributes
            && let Some(class) = attributes.get("secretProviderClass")
        {
            found.insert((Kind::SecretProviderClass, class.clone()));
        }
        let references = [
            volume.cephfs.as_ref().and_then(|it| it.secret_ref.as_ref()),
            volume.cinder.as_ref().and_then(|it| it.secret_ref.as_ref()),
            volume
                .csi
                .as_ref()
                .and_then(|it| it.node_publish_secret_ref.as_ref()),
            volume
                .flex_volume
                .as_ref()
                .and_then(|it| it.secret_ref.as_ref()),
            volume.iscsi.as_ref().and_then(|it| it.secret_ref.as_ref()),
            volume.rbd.as_ref().and_then(|it| it.secret_ref.as_ref()),
            volume.scale_io.as_ref().map(|it| &it.secret_ref),
            volume
                .storageos
                .as_ref()
                .and_then(|it| it.secret_ref.as_ref()),
        ];
        for reference in references.into_iter().flatten() {
            found.insert((Kind::Secret, reference.name.clone()));
        }
        if let Some(share) = &volume.azure_file {
            found.insert((Kind::Secret, share.secret_name.clone()));
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

proptest! {
    #[test]
    fn references_are_those_of_the_typed_api(
        template in pod_template(),
        image_pull_secrets: bool,
    ) {
        let spec: PodSpec = serde_json::from_value(template["spec"].clone()).unwrap();
        let settings = ConfigHash { image_pull_secrets, ..ConfigHash::default() };
        let ours = references(&json!({"spec": {"template": template}}), &settings).unwrap();
        let ours: BTreeMap<_, _> = ours.into_iter().map(|(id, r#use)| ((id.kind, id.name), r#use)).collect();
        prop_assert_eq!(ours, typed::uses(&spec, image_pull_secrets));
    }

    #[test]
    fn start_needs_are_those_of_the_typed_api(template in pod_template()) {
        let spec: PodSpec = serde_json::from_value(template["spec"].clone()).unwrap();
        let needs = pod_references::needs(&template, "").unwrap();
        let to_start = needs.iter().filter(|need| need.purpose == Purpose::Start);
        let ours: BTreeSet<_> = to_start.clone().map(|Need { kind, name, .. }| (*kind, name.clone())).collect();
        prop_assert_eq!(ours, start_needs(&spec));
        for need in to_start {
            prop_assert!(!need.optional && need.keys == Keys::All, "{:?}", need);
        }
    }
}
