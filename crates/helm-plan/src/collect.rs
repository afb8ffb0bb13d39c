//! Sets and maps of items, without the sort that `collect` compiles for each type: 6 kB of wasm each.
//!
//! In: an iterator. Out: a set or map. Refuses: nothing; the last of two equal keys counts.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

pub(crate) fn map<K: Ord, V>(items: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(items);
    map
}
