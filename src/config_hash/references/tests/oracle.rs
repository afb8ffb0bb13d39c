//! A second opinion: the typed Kubernetes API, walked in the most obvious way.

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, Volume};
use proptest::prelude::*;

use super::*;
use crate::pod_template::{self, Need, random::pod_template};

type Found = Vec<(Kind, String, Option<BTreeSet<String>>, bool)>;

fn items(items: &Option<Vec<KeyToPath>>) -> Option<BTreeSet<String>> {
    let items = items.as_ref().filter(|items| !items.is_empty())?;
    Some(items.iter().map(|item| item.key.clone()).collect())
}

fn config_of_volume(volume: &Volume, found: &mut Found) {
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        found.push((
            Kind::ConfigMap,
            source.name.clone(),
            items(&source.items),
            optional,
        ));
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        found.push((Kind::Secret, name, items(&source.items), optional));
    }
    let projected = volume.projected.iter().flat_map(|it| &it.sources).flatten();
    for projection in projected {
        if let Some(source) = &projection.config_map {
            let optional = source.optional == Some(true);
            found.push((
                Kind::ConfigMap,
                source.name.clone(),
                items(&source.items),
                optional,
            ));
        }
        if let Some(source) = &projection.secret {
            let optional = source.optional == Some(true);
            found.push((
                Kind::Secret,
                source.name.clone(),
                items(&source.items),
                optional,
            ));
        }
    }
}

fn config_of_container(container: &Container, found: &mut Found) {
    for source in container.env_from.iter().flatten() {
        if let Some(it) = &source.config_map_ref {
            let optional = it.optional == Some(true);
            found.push((Kind::ConfigMap, it.name.clone(), None, optional));
        }
        if let Some(it) = &source.secret_ref {
            let optional = it.optional == Some(true);
            found.push((Kind::Secret, it.name.clone(), None, optional));
        }
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|env| env.value_from.as_ref())
    {
        if let Some(it) = &source.config_map_key_ref {
            let (key, optional) = (BTreeSet::from([it.key.clone()]), it.optional == Some(true));
            found.push((Kind::ConfigMap, it.name.clone(), Some(key), optional));
        }
        if let Some(it) = &source.secret_key_ref {
            let (key, optional) = (BTreeSet::from([it.key.clone()]), it.optional == Some(true));
            found.push((Kind::Secret, it.name.clone(), Some(key), optional));
        }
    }
}

/// What the pod reads as config.
fn config(spec: &PodSpec, with_pull_secrets: bool) -> Found {
    let mut found = Found::new();
    for volume in spec.volumes.iter().flatten() {
        config_of_volume(volume, &mut found);
    }
    for container in spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
    {
        config_of_container(container, &mut found);
    }
    if with_pull_secrets {
        for secret in spec.image_pull_secrets.iter().flatten() {
            let keys = BTreeSet::from([".dockercfg".to_owned(), ".dockerconfigjson".to_owned()]);
            found.push((Kind::Secret, secret.name.clone(), Some(keys), true));
        }
    }
    found.retain(|(_, name, ..)| !name.is_empty());
    found
}

/// What the kubelet needs besides.
fn others(spec: &PodSpec) -> BTreeSet<(Kind, String)> {
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

        let mut found = config(&spec, image_pull_secrets);
        found.retain(|(kind, name, ..)| (*kind, name.as_str()) != (Kind::ConfigMap, "kube-root-ca.crt"));
        let ids: BTreeSet<_> = found
            .iter()
            .map(|(kind, name, ..)| ConfigId { kind: *kind, name: name.clone() })
            .collect();
        prop_assert_eq!(ours.keys().cloned().collect::<BTreeSet<_>>(), ids);
        for (id, r#use) in &ours {
            let of_id = || found.iter().filter(|(kind, name, ..)| (*kind, name) == (id.kind, &id.name));
            let keys = |required_only: bool| -> BTreeSet<String> {
                of_id()
                    .filter(|(.., optional)| !(required_only && *optional))
                    .flat_map(|(_, _, keys, _)| keys.clone().unwrap_or_default())
                    .collect()
            };
            prop_assert_eq!(r#use.whole, of_id().any(|(_, _, keys, _)| keys.is_none()), "{}", id);
            prop_assert_eq!(r#use.required, of_id().any(|(.., optional)| !optional), "{}", id);
            prop_assert_eq!(&r#use.keys, &keys(false), "{}", id);
            prop_assert_eq!(&r#use.required_keys, &keys(true), "{}", id);
        }
    }

    #[test]
    fn other_needs_are_those_of_the_typed_api(template in pod_template()) {
        let spec: PodSpec = serde_json::from_value(template["spec"].clone()).unwrap();
        let needs = pod_template::needs(&template, "").unwrap();
        let to_start = needs.iter().filter(|need| need.role == Role::Start);
        let ours: BTreeSet<_> = to_start.clone().map(|Need { kind, name, .. }| (*kind, name.clone())).collect();
        prop_assert_eq!(ours, others(&spec));
        for need in to_start {
            prop_assert!(!need.optional && need.keys == Keys::All, "{:?}", need);
        }
    }
}
