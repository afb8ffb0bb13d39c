//! The layers around the JSON of a record: base64 of Kubernetes, base64 of Helm, gzip.
//!
//! In: a Secret or ConfigMap. Out: the bytes in it. Refuses: a layer that is broken, and more bytes than
//! allowed.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use crate::record::{
    driver::Driver,
    error::{Error, Layer},
};

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// What is inside of the base64 layers: gzip or JSON.
pub(super) fn content(object: &Value, driver: Driver) -> Result<Vec<u8>, Error> {
    let text = object
        .pointer("/data/release")
        .and_then(Value::as_str)
        .ok_or(Error::Missing)?;
    let helm = match driver {
        Driver::Secret => decode_base64(Layer::Kubernetes, text.as_bytes())?.into(),
        Driver::ConfigMap => Cow::Borrowed(text.as_bytes()),
    };
    decode_base64(Layer::Helm, &helm)
}

fn decode_base64(layer: Layer, text: &[u8]) -> Result<Vec<u8>, Error> {
    let decoded = match BASE64_STANDARD.decode(text) {
        // Go ignores line breaks, and a record that was edited by hand has them (`… | base64`).
        Err(_) if text.iter().any(is_line_break) => {
            let text: Vec<_> = text.iter().copied().filter(|b| !is_line_break(b)).collect();
            BASE64_STANDARD.decode(text)
        }
        decoded => decoded,
    };
    decoded.map_err(|error| Error::base64(layer, error))
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

/// Decompresses with `read`, which receives the stream and the size that it announces.
pub(super) fn gunzip(
    bytes: &[u8],
    max_bytes: u64,
    read: fn(&mut dyn Read, usize) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    // One byte more than allowed tells a record that is too large from one that just fits.
    let mut reader = MultiGzDecoder::new(bytes).take(max_bytes.saturating_add(1));
    let json = read(&mut reader, announced_size(bytes, max_bytes)).map_err(Error::Gzip)?;
    match reader.limit() {
        0 => Err(Error::TooLarge { max_bytes }),
        _ => Ok(json),
    }
}

pub(super) fn read_whole(reader: &mut dyn Read, size: usize) -> io::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(size);
    reader.read_to_end(&mut json)?;
    Ok(json)
}

/// The first bytes of the JSON, or as many as can be read.
pub(super) fn beginning(bytes: &[u8], length: u64) -> Vec<u8> {
    let mut beginning = Vec::new();
    // If something is wrong, the caller reads the whole record and gets the error.
    _ = match is_gzip(bytes) {
        true => MultiGzDecoder::new(bytes)
            .take(length)
            .read_to_end(&mut beginning),
        false => bytes.take(length).read_to_end(&mut beginning),
    };
    beginning
}

/// The size that a gzip stream announces at its end (RFC 1952, ISIZE), so that its content is allocated
/// only once. The announcement may be false, but so few bytes cannot hold more than [`MAX_RATIO`] allows.
pub(super) fn announced_size(bytes: &[u8], max_bytes: u64) -> usize {
    let announced = bytes
        .last_chunk()
        .map_or(0, |&size| u32::from_le_bytes(size));
    let possible = bytes.len().saturating_mul(MAX_RATIO);
    let allowed = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    (announced as usize)
        .min(possible)
        .min(allowed)
        .saturating_add(1)
}

/// How much longer the content of deflate can be: two bits for each 258 bytes.
const MAX_RATIO: usize = 1032;
