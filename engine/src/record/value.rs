//! The values of the database: JSON behind its checksum.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Encodes a value as its CRC-32 in four bytes, little-endian, followed by its JSON.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(value).map_err(|error| Error::bug(format!("a checkpoint record does not encode: {error}")))?;
    Ok(with_checksum(&json))
}

/// Puts the CRC-32 in front of JSON.
pub(super) fn with_checksum(json: &[u8]) -> Vec<u8> {
    let mut bytes = crc32fast::hash(json).to_le_bytes().to_vec();
    bytes.extend_from_slice(json);
    bytes
}

/// Decodes what [`encode`] made, or says what is wrong with it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(checked(bytes)?).map_err(|error| error.to_string())
}

/// Checks the checksum of a value and returns its JSON.
pub(super) fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    let (sum, json) = bytes.split_first_chunk::<4>().ok_or("a value is truncated")?;
    if crc32fast::hash(json) == u32::from_le_bytes(*sum) { Ok(json) } else { Err("a checksum does not match".into()) }
}
