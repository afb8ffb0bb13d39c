#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod content;
pub mod record;

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use sha2::{Digest, Sha256};

use crate::content::Content;

/// The digest of a config in which the pods see nothing: it is optional and does not exist, or has no key that they use.
pub const ABSENT: &str = "absent";

/// 128 bits: far beyond collision by chance, and short enough to read.
const DIGEST_BYTES: usize = 16;
const ID_BYTES: usize = 4;

/// A shorter key could be guessed, like a password, by whoever sees a digest.
const MIN_KEY_BYTES: usize = 16;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has this many bytes.
    #[error("the key has {0} bytes, but needs at least {MIN_KEY_BYTES}")]
    Short(usize),
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
    /// Computes digests that nobody can reproduce without the key. In each namespace they are others: who may
    /// create Secrets in one cannot use the policy to test what is in those of another.
    pub fn with_key(key: &[u8], namespace: &str) -> Result<Self, KeyError> {
        if key.len() < MIN_KEY_BYTES {
            return Err(KeyError::Short(key.len()));
        }
        let namespace = BTreeMap::from([(namespace, &b""[..])]);
        let bound = Hmac::<Sha256>::new_from_slice(key)?
            .chain_update(canonical("rollout-guard/namespace", &namespace))
            .finalize()
            .into_bytes();
        let keyed = Hmac::new_from_slice(&bound)?;
        Ok(Self { keyed: Some(keyed) })
    }

    /// The digest of what pods find in a config: all of it, or `keys` alone. `None`: there is no such object.
    pub fn of_config(&self, content: Option<&Content>, keys: Option<&BTreeSet<String>>) -> String {
        let pairs = content.into_iter().flatten();
        let used: BTreeMap<_, _> = pairs
            .filter(|(key, _)| keys.is_none_or(|keys| keys.contains(*key)))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
            .collect();
        let digest = match used.is_empty() {
            // To pods that start, it is as if the object did not exist.
            true => ABSENT.to_owned(),
            false => self.digest(&used),
        };
        match keys {
            None => digest,
            Some(keys) => of_keys(&digest, keys),
        }
    }

    /// The digest of the used keys and their bytes.
    pub fn digest(&self, used: &BTreeMap<&str, &[u8]>) -> String {
        let canonical = canonical("rollout-guard/config", used);
        let Some(keyed) = &self.keyed else {
            return hex_prefix(&Sha256::digest(canonical), DIGEST_BYTES);
        };
        let hmac = |message: &[u8]| keyed.clone().chain_update(message).finalize().into_bytes();
        let key_id = hex_prefix(&hmac(b"rollout-guard/key-id"), ID_BYTES);
        format!("{key_id}:{}", hex_prefix(&hmac(&canonical), DIGEST_BYTES))
    }
}

/// A digest with the keys that it was made over, since digests over other keys tell nothing of the content.
pub fn of_keys(digest: &str, keys: &BTreeSet<String>) -> String {
    let names = keys.iter().map(|key| (key.as_str(), &b""[..])).collect();
    let hash = Sha256::digest(canonical("rollout-guard/keys", &names));
    format!("{digest}/{}", hex_prefix(&hash, ID_BYTES))
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

/// Whether two digests differ only if the contents do. Digests over other keys, or with another HMAC key, always
/// differ.
pub fn comparable(a: &str, b: &str) -> bool {
    let ((a, a_keys), (b, b_keys)) = (split(a), split(b));
    let id = |digest: &str| digest.split_once(':').map(|(id, _)| id.to_owned());
    a_keys == b_keys && (a == ABSENT || b == ABSENT || id(a) == id(b))
}

/// The digest, and which keys it was made over; empty for all.
fn split(digest: &str) -> (&str, &str) {
    digest.split_once('/').unwrap_or((digest, ""))
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
