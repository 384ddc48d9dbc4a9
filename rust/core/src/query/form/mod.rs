//! `application/x-www-form-urlencoded`, as the WHATWG URL standard parses it (section 5.1): split before decoding,
//! and never an error.

mod pairs;

use std::borrow::Cow;

use wide::u8x16;

pub use pairs::{Pairs, pairs};

/// A name or a value where it stands in the query, still encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw<'q> {
    /// Its bytes.
    pub bytes: &'q [u8],
    /// Whether each byte stands for itself: nothing to decode, ASCII, and nothing to escape in JSON.
    pub plain: bool,
}

impl<'q> Raw<'q> {
    /// What `bytes` are by themselves.
    #[must_use]
    pub fn new(bytes: &'q [u8]) -> Self {
        Self { bytes, plain: bytes.iter().all(|&byte| PLAIN[usize::from(byte)]) }
    }

    /// Decodes `+` and percent escapes; borrows where there is nothing to decode. The bytes are UTF-8, since what is
    /// not becomes U+FFFD.
    #[inline]
    #[must_use]
    pub fn decode(self) -> Cow<'q, [u8]> {
        if self.plain {
            return Cow::Borrowed(self.bytes);
        }
        Cow::Owned(self.decoded())
    }

    #[inline(never)]
    fn decoded(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.decode_into(self.bytes, &mut bytes);
        bytes
    }

    /// Appends what [`decode`](Self::decode) returns. `query` is what the bytes are a part of: what is behind them makes
    /// copying cheaper.
    pub fn decode_into(self, query: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        let (mut rest, mut length) = (behind(query, self.bytes), self.bytes.len());
        out.reserve(length + SHORT);
        let mut seen = 0;
        while length > 0 {
            let taken = if is_in_run(rest[0]) {
                copy_run(out, rest, length)
            } else {
                let (byte, taken) = decode_byte(&rest[..length]);
                out.push(byte);
                seen |= byte;
                taken
            };
            (rest, length) = (&rest[taken..], length - taken);
        }
        if seen >= 0x80 {
            repair(out, begin);
        }
    }
}

/// Replaces what is not UTF-8 behind `begin` by U+FFFD.
pub fn repair(out: &mut Vec<u8>, begin: usize) {
    if std::str::from_utf8(&out[begin..]).is_err() {
        let text = String::from_utf8_lossy(&out[begin..]).into_owned();
        out.truncate(begin);
        out.extend_from_slice(text.as_bytes());
    }
}

/// The bits of the bytes that are not [`PLAIN`].
#[inline]
fn odd(vector: u8x16) -> u32 {
    (special(vector) | vector.simd_eq(u8x16::splat(b'+'))).to_bitmask()
}

/// The bytes that are neither [`PLAIN`] nor `+`.
#[inline]
fn special(vector: u8x16) -> u8x16 {
    let is = |byte| vector.simd_eq(u8x16::splat(byte));
    // Moved down by 0x20 the control characters come after all others of ASCII.
    let not_text = (vector - u8x16::splat(0x20)).simd_ge(u8x16::splat(0x60));
    is(b'%') | is(b'"') | is(b'\\') | not_text
}

/// What of a query begins with a part of it.
#[must_use]
pub fn behind<'q>(query: &'q [u8], part: &[u8]) -> &'q [u8] {
    &query[part.as_ptr().addr() - query.as_ptr().addr()..]
}

/// What stands behind a text of ours, so that all of it may be read in blocks.
pub const BEHIND: [u8; SHORT] = [0; SHORT];

/// A copy of so many bytes whose end is cut off again costs less than one of any length.
const SHORT: usize = 16;

/// Appends the first `length` bytes of a text, behind which it may go on.
#[inline]
pub fn copy(out: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<SHORT>() {
        Some(chunk) if length <= SHORT => {
            // By way of a number, or the compiler makes one copy of both, with a length to look up.
            out.extend_from_slice(&u128::from_ne_bytes(*chunk).to_ne_bytes());
            out.truncate(out.len() - SHORT + length);
        }
        _ => out.extend_from_slice(&from[..length]),
    }
}

/// Whether the first `length` bytes of two texts, behind which they may go on, are the same.
#[inline]
#[must_use]
pub fn same(a: &[u8], b: &[u8], length: usize) -> bool {
    match (a.first_chunk::<SHORT>(), b.first_chunk::<SHORT>()) {
        (Some(a), Some(b)) if length <= SHORT => {
            u8x16::from(*a).simd_eq(u8x16::from(*b)).to_bitmask() | u32::MAX << length == u32::MAX
        }
        _ => a[..length] == b[..length],
    }
}

/// Appends what the plain bytes and `+` are decoded that the first `length` bytes of a text begin with, at most 16, and
/// returns how many they are.
#[inline]
pub fn copy_run(out: &mut Vec<u8>, from: &[u8], length: usize) -> usize {
    if let Some(chunk) = from.first_chunk::<SHORT>() {
        let chunk = u8x16::from(*chunk);
        let run = length.min((special(chunk).to_bitmask() | 1 << SHORT).trailing_zeros() as usize);
        let plus = chunk.simd_eq(u8x16::splat(b'+'));
        out.extend_from_slice(&(chunk ^ plus & u8x16::splat(b'+' ^ b' ')).to_array());
        out.truncate(out.len() - SHORT + run);
        return run;
    }
    let from = &from[..length];
    let run = from.iter().position(|&byte| !is_in_run(byte)).unwrap_or(length);
    out.extend(from[..run].iter().map(|&byte| if byte == b'+' { b' ' } else { byte }));
    run
}

/// Whether a byte is one that [`copy_run`] copies.
#[inline]
#[must_use]
pub fn is_in_run(byte: u8) -> bool {
    PLAIN[usize::from(byte)] || byte == b'+'
}

/// The first decoded byte, and how many bytes stand for it. An escape that is none stays as it is.
#[inline]
#[must_use]
pub fn decode_byte(raw: &[u8]) -> (u8, usize) {
    match raw {
        [b'%', high, low, ..] if HEX[usize::from(*high)] | HEX[usize::from(*low)] < 16 => {
            (HEX[usize::from(*high)] << 4 | HEX[usize::from(*low)], 3)
        }
        [b'+', ..] => (b' ', 1),
        [first, ..] => (*first, 1),
        [] => (0, 0),
    }
}

/// The bytes of a form-encoded text that stand for themselves, in the text and in a JSON string.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        table[byte] = true;
        byte += 1;
    }
    table[b'%' as usize] = false;
    table[b'+' as usize] = false;
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
};

/// The value of each hexadecimal digit; 255 for every other byte.
const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit as usize] as usize] = digit;
        table[b"0123456789ABCDEF"[digit as usize] as usize] = digit;
        digit += 1;
    }
    table
};
