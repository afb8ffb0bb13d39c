//! The needs of random pods, compared with a small model of the kubelet: it sets volumes up from the configs
//! of a cluster, and knows which files each container sees.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, btree_set},
    option,
    prelude::*,
    sample::select,
};

use super::*;
use crate::random::{KEYS, NAMES, pod_template};

/// The keys of each ConfigMap and Secret.
type Cluster = BTreeMap<(Kind, String), BTreeSet<String>>;

/// The keys of items, the names in the paths of random pods, and one that nothing names.
const ALL_KEYS: [&str; 7] = [KEYS[0], KEYS[1], KEYS[2], "p", "dir", "nowhere", "another"];

struct File {
    path: Vec<String>,
    config: (Kind, String),
    key: String,
    /// It is at the path of its name.
    is_plain: bool,
}

fn entries<'a>(parent: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    parent
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(parent: &'a Value, field: &str) -> &'a str {
    parent
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn steps(path: &str) -> Vec<String> {
    let steps = path
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".");
    steps.map(str::to_owned).collect()
}

/// The name of the volume, and the path in it; empty for all of it.
fn mounts(spec: &Value) -> Vec<(&str, Vec<String>)> {
    let containers = entries(spec, "containers").chain(entries(spec, "initContainers"));
    let mounts = containers.flat_map(|container| entries(container, "volumeMounts"));
    let mounts = mounts.map(|mount| {
        let mut path = steps(text(mount, "subPath"));
        // It may lead anywhere, and `..data` to all files.
        if !text(mount, "subPathExpr").is_empty()
            || path.first().is_some_and(|step| step == "..data")
        {
            path.clear();
        }
        (text(mount, "name"), path)
    });
    mounts.collect()
}

/// The files of a volume. `None`: it cannot be set up.
fn set_up(volume: &Value, cluster: &Cluster) -> Option<Vec<File>> {
    let projected = volume.get("projected").unwrap_or(&Value::Null);
    let sources = [
        (volume.get("configMap"), Kind::ConfigMap, "name"),
        (volume.get("secret"), Kind::Secret, "secretName"),
    ];
    let projections = entries(projected, "sources").flat_map(|projection| {
        [
            (projection.get("configMap"), Kind::ConfigMap, "name"),
            (projection.get("secret"), Kind::Secret, "name"),
        ]
    });
    let mut files = Vec::new();
    for (source, kind, name) in sources.into_iter().chain(projections) {
        let Some(source) = source.filter(|source| !source.is_null()) else {
            continue;
        };
        let config = (kind, text(source, name).to_owned());
        let optional = source.get("optional") == Some(&json!(true));
        let keys = match cluster.get(&config) {
            Some(keys) => keys.clone(),
            None if optional => continue,
            None => return None,
        };
        let mut file = |key: &str, path, is_plain| {
            files.push(File {
                path,
                config: config.clone(),
                key: key.to_owned(),
                is_plain,
            });
        };
        if entries(source, "items").next().is_none() {
            keys.iter().for_each(|key| file(key, steps(key), true));
        }
        for item in entries(source, "items") {
            let key = text(item, "key");
            match keys.contains(key) {
                true => file(key, steps(text(item, "path")), false),
                false if optional => {}
                false => return None,
            }
        }
    }
    Some(files)
}

/// The files that containers see: of which config, and which key. What lies below a plain file shows that the
/// file is meant.
fn seen(spec: &Value, cluster: &Cluster) -> BTreeSet<(Kind, String, String)> {
    let mut seen = BTreeSet::new();
    for (name, path) in mounts(spec) {
        for volume in entries(spec, "volumes").filter(|volume| text(volume, "name") == name) {
            let files = set_up(volume, cluster).unwrap();
            let shown = files.into_iter().filter(|file| {
                file.path.starts_with(&path) || file.is_plain && path.starts_with(&file.path)
            });
            seen.extend(shown.map(|file| (file.config.0, file.config.1, file.key)));
        }
    }
    seen
}

/// A pod that needs configs for its volumes only.
fn pod_with_volumes() -> impl Strategy<Value = Value> {
    pod_template().prop_map(|mut template| {
        let spec = &mut template["spec"];
        for containers in ["containers", "initContainers"] {
            for container in spec[containers].as_array_mut().into_iter().flatten() {
                container.as_object_mut().unwrap().remove("env");
                container.as_object_mut().unwrap().remove("envFrom");
            }
        }
        if let Some(volumes) = spec["volumes"].as_array_mut() {
            let sources = ["configMap", "secret", "projected"];
            volumes.retain(|volume| sources.iter().any(|source| volume.get(source).is_some()));
        }
        template
    })
}

fn configs() -> impl Iterator<Item = (Kind, String)> {
    let kinds = [Kind::ConfigMap, Kind::Secret];
    kinds
        .into_iter()
        .flat_map(|kind| NAMES.map(|name| (kind, name.to_owned())))
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let all = || ALL_KEYS.map(str::to_owned).into();
    let config = select(configs().collect::<Vec<_>>());
    let keys = prop_oneof![
        2 => btree_set(select(&ALL_KEYS[..]).prop_map(str::to_owned), 0..8),
        1 => Just(all()),
    ];
    let changed = btree_map(config, option::weighted(0.7, keys), 0..4);
    changed.prop_map(move |changed| {
        let all = configs().map(|config| (config, Some(all())));
        let configs = all.chain(changed).collect::<BTreeMap<_, _>>().into_iter();
        let exists = |(_, name): &(Kind, String)| !name.is_empty();
        configs
            .filter_map(|(config, keys)| Some((config, keys?)))
            .filter(|(config, _)| exists(config))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// In a cluster in which each config has every key.
    #[test]
    fn what_containers_see_counts_and_nothing_else(template in pod_with_volumes()) {
        let all_keys = BTreeSet::from(ALL_KEYS.map(str::to_owned));
        let cluster = configs().map(|config| (config, all_keys.clone())).collect();
        let mut counts = BTreeSet::new();
        for need in needs(&template, "").unwrap() {
            let keys = match need.keys {
                Keys::All => all_keys.clone(),
                Keys::Only(keys) => keys,
            };
            if need.purpose == Purpose::Config {
                counts.extend(keys.into_iter().map(|key| (need.kind, need.name.clone(), key)));
            }
        }
        let mut seen = seen(&template["spec"], &cluster);
        seen.retain(|(_, name, _)| !name.is_empty());
        prop_assert_eq!(counts, seen);
    }

    #[test]
    fn pods_start_when_they_have_what_they_need(template in pod_with_volumes(), cluster in cluster()) {
        let spec = &template["spec"];
        let mut is_set_up = true;
        let mut is_complete = true;
        for (name, path) in mounts(spec) {
            for volume in entries(spec, "volumes").filter(|volume| text(volume, "name") == name) {
                let files = set_up(volume, &cluster);
                is_set_up &= files.is_some();
                let mut files = files.iter().flatten();
                is_complete &= path.is_empty() || files.any(|file| file.path.starts_with(&path));
            }
        }
        let names_nothing = template.to_string().contains(r#"ame":"""#);
        let needs = needs(&template, "").unwrap();
        let of_configs = needs.iter().filter(|need| matches!(need.kind, Kind::ConfigMap | Kind::Secret));
        let has_all = of_configs.filter(|need| !need.optional).all(|need| {
            let keys = cluster.get(&(need.kind, need.name.clone()));
            keys.is_some_and(|keys| match &need.keys {
                Keys::All => true,
                Keys::Only(needed) => needed.is_subset(keys),
            })
        });
        if has_all && !names_nothing {
            prop_assert!(is_set_up);
        }
        if is_set_up && is_complete {
            prop_assert!(has_all);
        }
    }
}
