//! The references that the policy finds, compared with the typed Kubernetes API.

use k8s_openapi::api::core::v1::PodSpec;
use pod_references::{Need, random::pod_template};
use proptest::prelude::*;

use super::*;

/// What the kubelet needs to start the pod, and the keys that it needs of it. With no keys: the object.
type StartNeeds = BTreeMap<(Kind, String), BTreeSet<String>>;

fn start_needs(spec: &PodSpec) -> StartNeeds {
    let mut found = StartNeeds::new();
    let mut add = |kind, name| _ = found.entry((kind, name)).or_default();
    let account = spec.service_account_name.clone().unwrap_or_default();
    add(Kind::ServiceAccount, account);
    let priority = spec.priority_class_name.clone().unwrap_or_default();
    if !priority.starts_with("system-") {
        add(Kind::PriorityClass, priority);
    }
    let runtime = spec.runtime_class_name.clone().unwrap_or_default();
    add(Kind::RuntimeClass, runtime);
    for volume in spec.volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            add(Kind::PersistentVolumeClaim, claim.claim_name.clone());
        }
        let ephemeral = volume.ephemeral.as_ref();
        if let Some(claim) = ephemeral.and_then(|it| it.volume_claim_template.as_ref()) {
            let annotations = claim
                .metadata
                .as_ref()
                .and_then(|it| it.annotations.as_ref());
            let old = annotations.and_then(|it| it.get("volume.beta.kubernetes.io/storage-class"));
            let class = old.or(claim.spec.storage_class_name.as_ref());
            add(Kind::StorageClass, class.cloned().unwrap_or_default());
        }
        let mounts = typed::mounts(spec, volume);
        if mounts.is_empty() {
            continue;
        }
        if let Some(csi) = &volume.csi
            && csi.driver.starts_with("secrets-store")
            && let Some(attributes) = &csi.volume_attributes
            && let Some(class) = attributes.get("secretProviderClass")
        {
            add(Kind::SecretProviderClass, class.clone());
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
            add(Kind::Secret, reference.name.clone());
        }
        if let Some(share) = &volume.azure_file {
            add(Kind::Secret, share.secret_name.clone());
        }
    }
    for volume in spec.volumes.iter().flatten() {
        let mounts = typed::mounts(spec, volume);
        let required = typed::sources(volume).into_iter().filter(|it| !it.optional);
        for source in required.filter(|_| !mounts.is_empty()) {
            let kind = match source.kind {
                ConfigKind::ConfigMap => Kind::ConfigMap,
                ConfigKind::Secret => Kind::Secret,
            };
            let [_, unseen] = typed::items(source.items, &mounts);
            if !unseen.is_empty() {
                found.entry((kind, source.name)).or_default().extend(unseen);
            }
        }
    }
    found.retain(|(_, name), _| !name.is_empty());
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
        let mut ours = StartNeeds::new();
        for Need { kind, name, keys, optional, .. } in to_start {
            prop_assert!(!optional);
            let found = ours.entry((*kind, name.clone())).or_default();
            if let Keys::Only(keys) = keys {
                prop_assert!(!keys.is_empty());
                found.extend(keys.iter().cloned());
            }
        }
        prop_assert_eq!(ours, start_needs(&spec));
    }
}
