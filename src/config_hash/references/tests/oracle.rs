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
    for volume in spec.volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            found.insert((Kind::PersistentVolumeClaim, claim.claim_name.clone()));
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
