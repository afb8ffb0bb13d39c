//! Shared by the tests of whole requests: the policy that a cluster would load.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use testbed::{Policy, wasmi};

/// The policy that `make policy.wasm` builds. It is loaded once for all tests.
pub(crate) fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = root().join("policy.wasm");
        Policy::load(&path, wasmi)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder, sorted by name.
pub(crate) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
