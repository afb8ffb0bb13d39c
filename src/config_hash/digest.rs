//! The digest of a config. FROZEN: a different algorithm would restart every workload.
//!
//! In: the used keys of one ConfigMap or Secret and their bytes. Out: a short text for the
//! `configs` annotation; over all of them, the stamp of the pod template. Refuses: an empty key.
//!
//! ```text
//! canonical(label, pairs) = label 0x00 u64(number of pairs) { u64(len key) key u64(len value) value }…
//! digest                  = hex(SHA-256(canonical("rollout-guard/config", used keys))[..16])
//! digest, with a key      = id ":" hex(HMAC-SHA-256(key, the same)[..16])
//!   where id              = hex(HMAC-SHA-256(key, "rollout-guard/key-id")[..4])
//! stamp                   = "sha256:" hex(SHA-256(canonical("rollout-guard/stamp", recorded digests)))
//! stamp after a stamp     = the same, over one more pair: the empty key and the current stamp
//! ```
//!
//! `u64` is big-endian; pairs are in the byte order of their keys. The length of every part comes before
//! it, so no two different configs have the same canonical form. `data` and `binaryData` are one map of
//! bytes, and metadata does not belong to it: equal content has an equal digest, whatever its encoding,
//! order or name. `docs/digest.md` has the test vectors.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use sha2::{Digest, Sha256};

/// The digest of an optional config that does not exist.
pub const ABSENT: &str = "absent";

/// 128 bits: far beyond collision by chance, and short enough to read.
const DIGEST_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 4;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its digests would be as easy to guess as those without a key.
    #[error("the key is empty")]
    Empty,
    /// HMAC takes keys of any length, but its interface allows for others.
    #[error(transparent)]
    Length(#[from] InvalidLength),
}

/// Computes digests, with a key or without.
#[derive(Clone, Default)]
pub struct Digester {
    keyed: Option<Hmac<Sha256>>,
}

impl Digester {
    /// Computes digests that nobody can reproduce without the key.
    pub fn with_key(key: &[u8]) -> Result<Self, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        let keyed = Hmac::new_from_slice(key)?;
        Ok(Self { keyed: Some(keyed) })
    }

    /// The digest of the used keys and their bytes.
    pub fn digest(&self, used: &BTreeMap<&str, &[u8]>) -> String {
        let canonical = canonical("rollout-guard/config", used);
        let Some(keyed) = &self.keyed else {
            return hex_prefix(&Sha256::digest(canonical), DIGEST_BYTES);
        };
        let hmac = |message: &[u8]| keyed.clone().chain_update(message).finalize().into_bytes();
        let key_id = hex_prefix(&hmac(b"rollout-guard/key-id"), KEY_ID_BYTES);
        format!("{key_id}:{}", hex_prefix(&hmac(&canonical), DIGEST_BYTES))
    }
}

/// The stamp over the recorded digests, by `configs` key.
pub fn stamp(recorded: &BTreeMap<String, String>) -> String {
    stamp_over(recorded, None)
}

/// Another stamp over the recorded digests, for a template that already has the stamp which [`stamp`]
/// makes of them.
pub fn stamp_after(current: &str, recorded: &BTreeMap<String, String>) -> String {
    // No config has the empty key.
    stamp_over(recorded, Some(("", current.as_bytes())))
}

fn stamp_over(recorded: &BTreeMap<String, String>, more: Option<(&str, &[u8])>) -> String {
    let pairs = recorded
        .iter()
        .map(|(key, digest)| (key.as_str(), digest.as_bytes()))
        .chain(more)
        .collect();
    format!(
        "sha256:{}",
        hex::encode(Sha256::digest(canonical("rollout-guard/stamp", &pairs)))
    )
}

/// Whether two digests differ only if the contents do. Digests with different keys always differ.
pub fn comparable(a: &str, b: &str) -> bool {
    let key_id = |digest: &str| digest.split_once(':').map(|(id, _)| id.to_owned());
    a == ABSENT || b == ABSENT || key_id(a) == key_id(b)
}

fn canonical(label: &str, pairs: &BTreeMap<&str, &[u8]>) -> Vec<u8> {
    let size: usize = pairs
        .iter()
        .map(|(key, value)| key.len() + value.len() + 16)
        .sum();
    let mut bytes = Vec::with_capacity(label.len() + 9 + size);
    bytes.extend(label.as_bytes());
    bytes.push(0);
    bytes.extend((pairs.len() as u64).to_be_bytes());
    for (key, value) in pairs {
        for part in [key.as_bytes(), value] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
    }
    bytes
}

fn hex_prefix(bytes: &[u8], len: usize) -> String {
    hex::encode(bytes.get(..len).unwrap_or(bytes))
}

#[cfg(test)]
mod tests;
