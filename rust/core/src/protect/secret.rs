//! A secret, and its derived keys: one for each purpose, so that neither reveals anything about the other.

use std::collections::BTreeSet;
use std::fmt;

use aes_gcm::Aes256Gcm;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of a signature: half of HMAC-SHA-256, which is enough against guessing.
const SIGNATURE_BYTES: usize = 16;

/// The labels that distinguish the two keys of a secret.
const SIGN: &[u8] = b"pixelcore sign v1";
const SEAL: &[u8] = b"pixelcore seal v1";

/// The least length of a secret, and its least number of different characters.
const MIN_BYTES: usize = 32;
const MIN_DIFFERENT: usize = 10;

/// The keys of a secret. They are wiped when it is dropped, and the text is not kept.
pub struct Secret {
    sign: Hmac<Sha256>,
    pub(super) seal: Aes256Gcm,
}

/// Why a text is too weak for a secret. The error does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakSecret {
    /// It is shorter than 32 bytes.
    Short,
    /// It has a character that is not visible ASCII, such as the end of a line.
    Invisible,
    /// It has fewer than 10 different characters, or repeats one text.
    Repetitive,
}

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "is shorter than 32 characters",
            Self::Invisible => "has a character that is not visible ASCII, such as a space or the end of a line",
            Self::Repetitive => "repeats itself, so that it can be guessed",
        })?;
        f.write_str("; `pixelcore secret` makes one")
    }
}

impl std::error::Error for WeakSecret {}

impl Secret {
    /// Derives the keys of a secret's text, unless it could be guessed.
    pub fn new(text: &str) -> Result<Self, WeakSecret> {
        check(text.as_bytes())?;
        let secret = Hkdf::<Sha256>::new(None, text.as_bytes());
        let derive = |purpose| {
            let mut key = Zeroizing::new([0; 32]);
            secret.expand(purpose, &mut *key).map(|()| key)
        };
        if let (Ok(sign), Ok(seal)) = (derive(SIGN), derive(SEAL))
            && let Ok(sign) = Hmac::new_from_slice(&*sign)
        {
            return Ok(Self { sign, seal: Aes256Gcm::new((&*seal).into()) });
        }
        unreachable!("a key of 32 bytes is no longer than 255 hashes, and HMAC takes any")
    }

    /// The signature of a message, in the form of URLs.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        let whole = self.sign.clone().chain_update(message).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode(&whole[..SIGNATURE_BYTES])
    }

    /// Whether a signature from a URL belongs to a message. The comparison takes constant time.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut bytes = [0; SIGNATURE_BYTES];
        BASE64_URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes).is_ok_and(|length| length == SIGNATURE_BYTES)
            && self.sign.clone().chain_update(message).verify_truncated_left(&bytes).is_ok()
    }
}

pub(crate) fn check(text: &[u8]) -> Result<(), WeakSecret> {
    if text.len() < MIN_BYTES {
        return Err(WeakSecret::Short);
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(WeakSecret::Invisible);
    }
    let repeats = |period| text.iter().zip(&text[period..]).all(|(a, b)| a == b);
    let different: BTreeSet<_> = text.iter().collect();
    if different.len() < MIN_DIFFERENT || (1..=text.len() / 2).any(repeats) {
        return Err(WeakSecret::Repetitive);
    }
    Ok(())
}
