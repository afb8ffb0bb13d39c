//! A second implementation to compare with: it walks the typed Kubernetes API in the most obvious way.
//! The fuzz target of references uses it too.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, Volume};

use super::{ConfigKind, Use};

/// How each config is used by a pod.
pub(crate) fn uses(spec: &PodSpec, with_pull_secrets: bool) -> BTreeMap<(ConfigKind, String), Use> {
    let mut uses: BTreeMap<_, Use> = BTreeMap::new();
    for (kind, name, keys, optional) in config(spec, with_pull_secrets) {
        if (kind, name.as_str()) == (ConfigKind::ConfigMap, "kube-root-ca.crt") {
            continue;
        }
        let r#use = uses.entry((kind, name)).or_default();
        r#use.whole |= keys.is_none();
        r#use.required |= !optional;
        for key in keys.into_iter().flatten() {
            if !optional {
                r#use.required_keys.insert(key.clone());
            }
            r#use.keys.insert(key);
        }
    }
    uses
}

type Found = Vec<(ConfigKind, String, Option<BTreeSet<String>>, bool)>;

fn items(items: &Option<Vec<KeyToPath>>) -> Option<BTreeSet<String>> {
    let items = items.as_ref().filter(|items| !items.is_empty())?;
    Some(items.iter().map(|item| item.key.clone()).collect())
}

fn config_of_volume(volume: &Volume, found: &mut Found) {
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        found.push((
            ConfigKind::ConfigMap,
            source.name.clone(),
            items(&source.items),
            optional,
        ));
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        found.push((ConfigKind::Secret, name, items(&source.items), optional));
    }
    let projected = volume.projected.iter().flat_map(|it| &it.sources).flatten();
    for projection in projected {
        if let Some(source) = &projection.config_map {
            let optional = source.optional == Some(true);
            found.push((
                ConfigKind::ConfigMap,
                source.name.clone(),
                items(&source.items),
                optional,
            ));
        }
        if let Some(source) = &projection.secret {
            let optional = source.optional == Some(true);
            found.push((
                ConfigKind::Secret,
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
            found.push((ConfigKind::ConfigMap, it.name.clone(), None, optional));
        }
        if let Some(it) = &source.secret_ref {
            let optional = it.optional == Some(true);
            found.push((ConfigKind::Secret, it.name.clone(), None, optional));
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
            found.push((ConfigKind::ConfigMap, it.name.clone(), Some(key), optional));
        }
        if let Some(it) = &source.secret_key_ref {
            let (key, optional) = (BTreeSet::from([it.key.clone()]), it.optional == Some(true));
            found.push((ConfigKind::Secret, it.name.clone(), Some(key), optional));
        }
    }
}

/// The config that the pod reads.
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
            found.push((ConfigKind::Secret, secret.name.clone(), Some(keys), true));
        }
    }
    found.retain(|(_, name, ..)| !name.is_empty());
    found
}
