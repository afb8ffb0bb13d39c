//! What the tests of whole requests share: the policy that a cluster would load.

#![allow(unreachable_pub, reason = "the module is compiled into each test file")]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use testbed::Policy;

/// The policy as `make policy.wasm` builds it; compiled once for all tests of a file.
#[allow(dead_code, reason = "not every test file runs it")]
pub fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = root().join("policy.wasm");
        Policy::load(&path)
            .unwrap_or_else(|error| panic!("{error:#}; `make policy.wasm` builds it"))
    });
    POLICY.clone()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder, by name.
#[allow(dead_code, reason = "not every test file reads folders")]
pub fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
