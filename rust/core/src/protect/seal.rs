//! Makes and opens `x`: base64url of a version, a nonce, and a query under AES-256-GCM.

use aes_gcm::AeadInOut as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::parameters::prefix;
use super::secret::Secret;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + NONCE_BYTES;

/// The bytes of an `x`; None if it is not a seal.
fn decode(sealed: &[u8]) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
    (bytes.len() >= HEAD_BYTES + TAG_BYTES && bytes[0] == VERSION).then_some(bytes)
}

/// Whether a value has the form of a seal, with any secret.
pub fn is_one(sealed: &[u8]) -> bool {
    decode(sealed).is_some()
}

/// The query that was sealed with one of the secrets; None if no secret fits.
pub fn open(secrets: &[Secret], kind: &str, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = decode(sealed)?;
    let (head, rest) = bytes.split_at_mut(HEAD_BYTES);
    let (text, tag) = rest.split_at_mut(rest.len().checked_sub(TAG_BYTES)?);
    let (nonce, tag) = (head.get(1..)?.try_into().ok()?, (&*tag).try_into().ok()?);
    let beside = beside(kind, key);
    // A wrong secret leaves the text unchanged.
    let is_opened = secrets
        .iter()
        .any(|secret| secret.seal.decrypt_inout_detached(nonce, &beside, (&mut *text).into(), tag).is_ok());
    is_opened.then(|| text.to_vec())
}

/// Seals a query.
pub fn seal(secret: &Secret, kind: &str, key: &[u8], query: &[u8], nonce: [u8; NONCE_BYTES]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(query);
    let text = &mut bytes[HEAD_BYTES..];
    let Ok(tag) = secret.seal.encrypt_inout_detached(&nonce.into(), &beside(kind, key), text.into()) else {
        unreachable!("only 64 GiB are too long")
    };
    bytes.extend_from_slice(&tag);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The authenticated data that is not sealed: the type and the key, each after its length.
fn beside(kind: &str, key: &[u8]) -> Vec<u8> {
    [&prefix(kind.len())[..], kind.as_bytes(), &prefix(key.len()), key].concat()
}
