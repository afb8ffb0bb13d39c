//! A second implementation to compare with: it walks the typed Kubernetes API in the most obvious way.
//! The fuzz target of references uses it too.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, Volume, VolumeMount};

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

/// A path in a volume, step by step.
type Path<'a> = Vec<&'a str>;

fn path(text: &str) -> Path<'_> {
    let steps = text.split('/');
    steps.filter(|step| !["", "."].contains(step)).collect()
}

/// The paths in a volume that containers mount; the empty one is the whole volume.
pub(super) fn mounts<'a>(spec: &'a PodSpec, volume: &Volume) -> Vec<Path<'a>> {
    let containers = spec.init_containers.iter().flatten();
    let containers = containers.chain(&spec.containers);
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    let of_volume = mounts.filter(|mount| mount.name == volume.name);
    of_volume.map(mounted_path).collect()
}

fn mounted_path(mount: &VolumeMount) -> Path<'_> {
    let path = path(mount.sub_path.as_deref().unwrap_or_default());
    let is_known = mount.sub_path_expr.as_deref().unwrap_or_default() == "";
    match path.first() {
        Some(first) if is_known && !first.starts_with("..") => path,
        _ => Path::new(),
    }
}

/// The keys of the items that the mounts show, and of those that they do not.
pub(super) fn items(items: &[KeyToPath], mounts: &[Path<'_>]) -> [BTreeSet<String>; 2] {
    let is_seen = |item: &&KeyToPath| {
        let file = path(&item.path);
        mounts.iter().any(|mount| file.starts_with(mount))
    };
    let (seen, unseen): (Vec<_>, Vec<_>) = items.iter().partition(is_seen);
    [seen, unseen].map(|items| items.into_iter().map(|item| item.key.clone()).collect())
}

/// A config whose keys are files of a volume.
pub(super) struct Source<'a> {
    pub(super) kind: ConfigKind,
    pub(super) name: String,
    /// Empty: each key is a file of its name.
    pub(super) items: &'a [KeyToPath],
    pub(super) optional: bool,
    /// Another source may have the same file.
    is_shared: bool,
}

pub(super) fn sources(volume: &Volume) -> Vec<Source<'_>> {
    fn source<'a>(
        kind: ConfigKind,
        name: &str,
        items: &'a Option<Vec<KeyToPath>>,
        optional: Option<bool>,
        is_shared: bool,
    ) -> Source<'a> {
        Source {
            kind,
            name: name.to_owned(),
            items: items.as_deref().unwrap_or_default(),
            optional: optional == Some(true),
            is_shared,
        }
    }
    let mut found = Vec::new();
    if let Some(it) = &volume.config_map {
        let kind = ConfigKind::ConfigMap;
        found.push(source(kind, &it.name, &it.items, it.optional, false));
    }
    if let Some(it) = &volume.secret {
        let name = it.secret_name.as_deref().unwrap_or_default();
        found.push(source(
            ConfigKind::Secret,
            name,
            &it.items,
            it.optional,
            false,
        ));
    }
    let projected = volume.projected.iter().flat_map(|it| &it.sources);
    for sources in projected {
        let is_shared = sources.len() > 1;
        for projection in sources {
            if let Some(it) = &projection.config_map {
                let kind = ConfigKind::ConfigMap;
                found.push(source(kind, &it.name, &it.items, it.optional, is_shared));
            }
            if let Some(it) = &projection.secret {
                let kind = ConfigKind::Secret;
                found.push(source(kind, &it.name, &it.items, it.optional, is_shared));
            }
        }
    }
    found
}

fn config_of_volume(volume: &Volume, mounts: &[Path<'_>], found: &mut Found) {
    if mounts.is_empty() {
        return;
    }
    for source in sources(volume) {
        let mut add = |keys, optional| {
            found.push((source.kind, source.name.clone(), keys, optional));
        };
        if !source.items.is_empty() {
            let [seen, _] = items(source.items, mounts);
            if !(source.optional && seen.is_empty()) {
                add(Some(seen), source.optional);
            }
        } else if mounts.contains(&Path::new()) {
            add(None, source.optional);
        } else {
            let keys = mounts.iter().map(|path| path[0].to_owned()).collect();
            add(Some(keys), source.optional || source.is_shared);
            add(Some(BTreeSet::new()), source.optional);
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
        config_of_volume(volume, &mounts(spec, volume), &mut found);
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
