//! What the containers of a pod see of its volumes.
//!
//! In: the containers as raw JSON. Out: [`Mounts`], and a [`View`] of each volume. Refuses: mounts of the
//! wrong shape.
//!
//! The kubelet sets up only the volumes that a container mounts (pkg/kubelet/volumemanager/populator,
//! processPodVolumes). With a `subPath`, the container sees one file or directory of the volume.

use std::{cell::Cell, collections::BTreeSet};

use crate::field::{Field, WrongShape};

/// At most this many keys are known by the subPaths of a pod; of the volumes beyond that, all keys count.
/// Each source of a projected volume may have each key: work would grow with the square of the input.
pub(crate) const MAX_KEYS: usize = 10_000;

/// The places that the containers of a pod mount.
pub(crate) struct Mounts {
    /// Each as a path: the [`root`] of its volume, and `dir/file/` in it. In order, so that what lies below a
    /// path comes directly after it; and none lies below another.
    places: Vec<String>,
    spare_keys: Cell<usize>,
}

/// What the containers see of one volume.
pub(crate) struct View<'m> {
    root: String,
    places: &'m [String],
    spare_keys: &'m Cell<usize>,
}

impl Mounts {
    pub(crate) fn of_pod(spec: Field<'_>) -> Result<Self, WrongShape> {
        let mut places = BTreeSet::new();
        for containers in ["initContainers", "containers"] {
            spec.each(containers, &mut |container| {
                container.each("volumeMounts", &mut |mount| {
                    places.insert(place(mount)?);
                    Ok(())
                })
            })?;
        }
        let mut places: Vec<_> = places.into_iter().collect();
        places.dedup_by(|below, above| below.starts_with(above.as_str()));
        Ok(Self {
            places,
            spare_keys: Cell::new(MAX_KEYS),
        })
    }

    /// What they see of this volume.
    pub(crate) fn of_volume(&self, name: &str) -> View<'_> {
        let root = root(name);
        let (_, places) = split(&self.places, |place| *place < root);
        let (places, _) = split(places, |place| place.starts_with(&root));
        View {
            root,
            places,
            spare_keys: &self.spare_keys,
        }
    }
}

impl View<'_> {
    /// Whether a container mounts the volume.
    pub(crate) fn is_mounted(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether a container sees the file at this path in the volume.
    pub(crate) fn sees(&self, path: &str) -> bool {
        let file = format!("{}{}", self.root, below(path));
        let (before, _) = split(self.places, |place| *place <= file);
        before.last().is_some_and(|place| file.starts_with(place))
    }

    /// The keys that they see of a config whose keys are the names of the files. `None`: all.
    pub(crate) fn keys(&self) -> Option<BTreeSet<String>> {
        let spare_keys = self.spare_keys.get().checked_sub(self.places.len())?;
        let mut keys = BTreeSet::new();
        for place in self.places {
            let (key, _) = place.strip_prefix(&self.root)?.split_once('/')?;
            keys.insert(key.to_owned());
        }
        self.spare_keys.set(spare_keys);
        Some(keys)
    }
}

/// What a mount names.
fn place(mount: Field<'_>) -> Result<String, WrongShape> {
    let volume = root(&mount.text("name")?.unwrap_or_default());
    let path = mount.text("subPath")?.unwrap_or_default();
    let expression = mount.text("subPathExpr")?.unwrap_or_default();
    // The kubelet keeps the files themselves in a directory `..data`, and a key cannot begin like that. Where
    // an expression leads is known when the container starts. Both count as the whole volume.
    let is_within = steps(&path)
        .next()
        .is_none_or(|first| !first.starts_with(".."));
    Ok(match is_within && expression.is_empty() {
        true => volume + &below(&path),
        false => volume,
    })
}

/// No root is the beginning of another one, whatever is in a name.
fn root(volume: &str) -> String {
    format!("{}/{volume}/", volume.len())
}

/// `dir/file/`
fn below(path: &str) -> String {
    let mut below = String::new();
    for step in steps(path) {
        below.push_str(step);
        below.push('/');
    }
    below
}

/// `./dir//file` has the steps `dir` and `file`.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|step| !matches!(*step, "" | "."))
}

fn split(places: &[String], is_before: impl FnMut(&String) -> bool) -> (&[String], &[String]) {
    places.split_at(places.partition_point(is_before))
}
