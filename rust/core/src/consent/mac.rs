//! The keys of persons in the consent list: a MAC over scope, kind and id, under a secret with a key id.
//!
//! ```text
//! key of a scope and a kind = HMAC-SHA-256(secret, "pixelcore consent v1" 00 kind 00 scope)      kind: uid or aid
//! MAC of a person           = the first 16 bytes of HMAC-SHA-256(that key, id)
//! ```
//!
//! So a list contains no ids, and lists of two scopes cannot be joined. Kinds and scopes contain no zero byte, so
//! different inputs make different messages.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

use crate::protect::check;
use crate::text::trim;

/// The bytes of a MAC in a record.
pub const MAC_BYTES: usize = 16;

const PURPOSE: &[u8] = b"pixelcore consent v1";

/// The kind of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Person {
    /// `uid`
    Uid,
    /// `aid`
    Aid,
}

impl Person {
    /// Reads `uid` or `aid`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "uid" => Some(Self::Uid),
            "aid" => Some(Self::Aid),
            _ => None,
        }
    }

    /// `uid` or `aid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Aid => "aid",
        }
    }
}

/// The id of a secret: 1 to 16 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Reads an id.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let fits = (1..=bytes.len()).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
        fits.then(|| {
            bytes[..text.len()].copy_from_slice(text);
            Self(bytes)
        })
    }

    /// Stands for all ids for which a table has no room. No text is parsed as this id, so it has no secret.
    pub(super) const OTHERS: Self = Self(*b"*\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    pub(super) fn words(self) -> [u64; 2] {
        let (high, low) = self.0.split_at(8);
        [high, low].map(|half| u64::from_be_bytes(half.try_into().unwrap_or_default()))
    }

    pub(super) fn of_words(words: [u64; 2]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[0].to_be_bytes());
        bytes[8..].copy_from_slice(&words[1].to_be_bytes());
        Self(bytes)
    }

    /// The place where a table notes that a scope has records under this key id. Such a note is not confidential.
    pub(super) fn note(self, scope: &str) -> Mac {
        let hash =
            Sha256::new_with_prefix(PURPOSE).chain_update([0]).chain_update(self.0).chain_update(scope).finalize();
        Mac::of(&hash)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        f.write_str(str::from_utf8(&self.0[..end]).unwrap_or_default())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The part of a MAC that a table keeps: 83 bits. Among ten million persons, two share all of them with a probability
/// of 10^-11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac {
    pub(super) place: u64,
    pub(super) tag: u64,
}

/// Bits of the tag.
pub(super) const TAG_BITS: u32 = 19;

impl Mac {
    /// From at least eleven bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let number = |range: &[u8]| range.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { place: number(&bytes[..8]), tag: number(&bytes[8..11]) >> (24 - TAG_BITS) }
    }

    /// Reads the base64url text of a record.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAC_BYTES];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == MAC_BYTES).then(|| Self::of(&bytes))
    }
}

/// The secrets of a gateway. The first one makes new records, and all of them are used for look-ups.
pub struct Secrets(Vec<(KeyId, Hmac<Sha256>)>);

impl Secrets {
    /// Reads `ID:SECRET`, or several with commas between them. The error shows no secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut secrets: Vec<(KeyId, Hmac<Sha256>)> = Vec::new();
        for part in text.split(',') {
            let (id, secret) =
                part.split_once(':').ok_or("must be ID:SECRET, or several with commas between them".to_owned())?;
            let id = KeyId::parse(id.as_bytes())
                .ok_or("has an id before a : that is not 1 to 16 of A-Z a-z 0-9 _ -".to_owned())?;
            check(secret.as_bytes()).map_err(|weak| format!("the secret of {id} {weak}"))?;
            if secrets.iter().any(|(other, _)| *other == id) {
                return Err(format!("has two secrets with the id {id}"));
            }
            secrets.push((id, hmac(secret.as_bytes())));
        }
        Ok(Self(secrets))
    }

    /// Their ids, in their order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|(id, _)| *id)
    }

    /// The keys for the persons of a scope, by ids of a kind.
    #[must_use]
    pub fn of_scope(&self, scope: &str, kind: Person) -> ScopeKeys {
        let derive = |(_, secret): &(KeyId, Hmac<Sha256>)| {
            let parts = [PURPOSE, &[0], kind.as_str().as_bytes(), &[0], scope.as_bytes()];
            ScopeKey::new(&parts.iter().fold(secret.clone(), Hmac::chain_update).finalize().into_bytes().into())
        };
        ScopeKeys(self.0.iter().map(derive).collect())
    }

    /// The keys of persons' records, under the first secret: `key id.MAC`.
    pub fn record_keys<'i>(
        &self,
        scope: &str,
        kind: Person,
        ids: impl IntoIterator<Item = &'i [u8]>,
    ) -> impl Iterator<Item = String> {
        let (keys, key_id) = (self.of_scope(scope, kind), self.ids().next());
        ids.into_iter().zip(std::iter::repeat(key_id)).filter_map(move |(id, key_id)| {
            let mac = keys.0.first()?.mac(trim(id));
            Some(format!("{}.{}", key_id?, BASE64_URL_SAFE_NO_PAD.encode(&mac[..MAC_BYTES])))
        })
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

/// The keys of a scope and a kind, one per secret.
#[derive(Clone)]
pub struct ScopeKeys(Box<[ScopeKey]>);

impl ScopeKeys {
    /// The MACs of a person, who may be in the list under any of the secrets. `id` is trimmed like an event's.
    pub fn macs(&self, id: &[u8]) -> impl Iterator<Item = Mac> {
        let id = trim(id);
        self.0.iter().map(move |key| Mac::of(&key.mac(id)))
    }
}

/// HMAC-SHA-256 (RFC 2104) under a key, after the two blocks that are the same for every message.
///
/// A request makes one MAC, usually of an id that fits into one block. The crate `hmac` copies and wipes some 500 bytes
/// for each MAC, which costs more than the two remaining blocks. A test compares this with `hmac`.
#[derive(Clone, Copy)]
struct ScopeKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

const BLOCK: usize = 64;
/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl ScopeKey {
    fn new(key: &[u8; 32]) -> Self {
        let begin = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            state
        };
        Self { inner: begin(0x36), outer: begin(0x5c) }
    }

    fn mac(&self, message: &[u8]) -> [u8; 32] {
        finish(self.outer, &finish(self.inner, message))
    }
}

/// The hash of one block, which `state` is the result of, followed by a message (FIPS 180-4, 5.1.1 and 6.2).
fn finish(mut state: [u32; 8], message: &[u8]) -> [u8; 32] {
    let (blocks, rest) = message.as_chunks::<BLOCK>();
    compress256(&mut state, blocks);
    let mut last = [[0; BLOCK]; 2];
    last[0][..rest.len()].copy_from_slice(rest);
    last[0][rest.len()] = 0x80;
    let count = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    let bits = ((BLOCK + message.len()) as u64) * 8;
    last[count - 1][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &last[..count]);
    let mut hash = [0; 32];
    hash.iter_mut().zip(state.into_iter().flat_map(u32::to_be_bytes)).for_each(|(to, from)| *to = from);
    hash
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use hmac::Mac as _;

    use super::{Hmac, Mac, PURPOSE, Person, Secrets, Sha256, hmac};

    const ONE: &str = "k1:fRz3t8Qh2mWc6XeJ0LpVnYbA4sGdUo95";
    const TWO: &str = "k2:9oUdGs4AbYnVpL0JeX6cWm2hQ8t3zRfX";

    fn key(secrets: &str, scope: &str, kind: Person, id: &str) -> String {
        Secrets::parse(secrets).unwrap().record_keys(scope, kind, [id.as_bytes()]).next().unwrap()
    }

    /// Made by OpenSSL: `printf 'pixelcore consent v1\0uid\0pip_news' | openssl dgst -sha256 -hmac SECRET`, then
    /// `printf user_1 | openssl dgst -sha256 -mac HMAC -macopt hexkey:…`.
    #[test]
    fn a_mac_is_what_any_hmac_makes_of_it() {
        assert_eq!(key(ONE, "pip_news", Person::Uid, "user_1"), "k1.qeuETsoyCX7rowl0G0omVg");
    }

    #[test]
    fn an_id_of_any_length_has_the_mac_that_hmac_makes() {
        let secret = Secrets::parse(ONE).unwrap();
        let key: Hmac<Sha256> = secret.0[0].1.clone().chain_update(PURPOSE).chain_update("\0aid\0s");
        let key: [u8; 32] = key.finalize().into_bytes().into();
        for length in 0..300 {
            let id = vec![b'x'; length];
            let expected = hmac(&key).chain_update(&id).finalize().into_bytes();
            assert_eq!(secret.of_scope("s", Person::Aid).0[0].mac(&id), *expected, "{length}");
        }
    }

    #[test]
    fn nothing_of_a_person_is_alike_in_two_lists() {
        let one = key(ONE, "pip_news", Person::Uid, "user_1");
        for (name, other) in [
            ("secret", key(TWO, "pip_news", Person::Uid, "user_1")),
            ("scope", key(ONE, "pip_new", Person::Uid, "user_1")),
            ("kind", key(ONE, "pip_news", Person::Aid, "user_1")),
            ("id", key(ONE, "pip_news", Person::Uid, "user_2")),
            ("scope and id", key(ONE, "pip_newsuser", Person::Uid, "_1")),
        ] {
            let mac = |key: &str| key.split_once('.').unwrap().1.to_owned();
            assert_ne!(mac(&one), mac(&other), "{name}");
        }
        assert_eq!(one, key(&format!("{ONE},{TWO}"), "pip_news", Person::Uid, "\u{200b} user_1\n"), "an id is trimmed");
    }

    #[test]
    fn a_lookup_and_a_record_have_the_same_mac() {
        let secrets = Secrets::parse(&format!("{ONE},{TWO}")).unwrap();
        let made = secrets.record_keys("s", Person::Aid, [b"a".as_slice()]).next().unwrap();
        let macs: Vec<_> = secrets.of_scope("s", Person::Aid).macs(b" a ").collect();
        assert_eq!(macs.len(), 2);
        assert_eq!(Mac::parse(made.strip_prefix("k1.").unwrap().as_bytes()), Some(macs[0]));
    }

    #[test]
    fn a_text_that_is_no_secret_says_why_and_shows_none_of_it() {
        let repeated = format!("k1:{}", "ab".repeat(20));
        for (text, expected) in [
            ("", "must be ID:SECRET, or several with commas between them"),
            ("k1", "must be ID:SECRET, or several with commas between them"),
            ("k 1:fRz3t8Qh2mWc6XeJ0LpVnYbA4sGdUo95", "has an id before a : that is not 1 to 16 of A-Z a-z 0-9 _ -"),
            ("k1:short", "the secret of k1 is shorter than 32 characters; `pixelcore secret` makes one"),
            (&repeated, "the secret of k1 repeats itself, so that it can be guessed; `pixelcore secret` makes one"),
            (&format!("{ONE},{ONE}"), "has two secrets with the id k1"),
            (&format!("{ONE},"), "must be ID:SECRET, or several with commas between them"),
        ] {
            assert_eq!(Secrets::parse(text).err().as_deref(), Some(expected));
        }
        let ids: Vec<_> = Secrets::parse(&format!("{ONE},{TWO}")).unwrap().ids().map(|id| id.to_string()).collect();
        assert_eq!(ids, ["k1", "k2"]);
    }
}
