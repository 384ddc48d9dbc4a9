//! Parses `application/x-www-form-urlencoded` like the WHATWG URL standard (section 5.1). It splits before decoding,
//! and accepts every input.

mod pairs;

use std::borrow::Cow;

use wide::u8x16;

use crate::text::trim;

pub use pairs::{Pairs, pairs};

/// A name or a value at its place in the query, still encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw<'q> {
    /// Its bytes.
    pub bytes: &'q [u8],
    /// Whether each byte stands for itself: it is ASCII, and needs no decoding and no escape in JSON.
    pub plain: bool,
}

impl<'q> Raw<'q> {
    /// A name or value from its bytes alone.
    #[must_use]
    pub fn new(bytes: &'q [u8]) -> Self {
        Self { bytes, plain: bytes.iter().all(|&byte| PLAIN[usize::from(byte)]) }
    }

    /// The part that is left after its text is [trimmed](crate::text::trim).
    #[inline]
    #[must_use]
    pub fn trim(self) -> Self {
        let ends_are_visible = match self.bytes {
            [first, .., escape, _, last] => is_visible(*first) && is_visible(*last) && *escape != b'%',
            [first, .., last] => is_visible(*first) && is_visible(*last),
            [one] => is_visible(*one),
            [] => true,
        };
        if ends_are_visible { self } else { self.trimmed() }
    }

    /// Before its repair, each byte of a text stands for one byte or one escape. Trimmed characters need no repair.
    #[inline(never)]
    fn trimmed(self) -> Self {
        let text = self.decode();
        let left = trim(&text);
        if left.is_empty() {
            return Self::default();
        }
        let front = left.as_ptr().addr() - text.as_ptr().addr();
        let back = text.len() - front - left.len();
        let mut begins = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        while at < self.bytes.len() {
            begins.push(at);
            at += decode_byte(&self.bytes[at..]).1;
        }
        begins.push(at);
        Self { bytes: &self.bytes[begins[front]..begins[begins.len() - 1 - back]], plain: self.plain }
    }

    /// Decodes `+` and percent escapes; borrows if there is nothing to decode. The result is UTF-8, because invalid
    /// bytes become U+FFFD.
    #[inline]
    #[must_use]
    pub fn decode(self) -> Cow<'q, [u8]> {
        if self.plain {
            return Cow::Borrowed(self.bytes);
        }
        Cow::Owned(self.decoded())
    }

    /// The decoded bytes, also invalid UTF-8.
    #[must_use]
    pub fn bytes_of(self) -> Vec<u8> {
        let mut rest = self.bytes;
        let decode = || {
            let (byte, taken) = decode_byte(rest);
            rest = &rest[taken..];
            (taken > 0).then_some(byte)
        };
        std::iter::from_fn(decode).collect()
    }

    #[inline(never)]
    fn decoded(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.decode_into(self.bytes, &mut bytes);
        bytes
    }

    /// Appends the result of [`decode`](Self::decode). `query` contains the bytes. The bytes after them make copying
    /// cheaper.
    pub fn decode_into(self, query: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        if self.decode_bytes_into(query, out) >= 0x80 {
            repair(out, begin);
        }
    }

    /// The same without a check for UTF-8. The result is UTF-8 if the returned value is less than 0x80.
    #[inline]
    pub(crate) fn decode_bytes_into(self, query: &[u8], out: &mut Vec<u8>) -> u8 {
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
        seen
    }
}

/// Whether a byte is neither trimmed nor a part of a character that may be trimmed.
#[inline]
fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && byte != b'%' && byte != b'+'
}

/// Replaces invalid UTF-8 after `begin` by U+FFFD.
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
    // After a shift by 0x20, the control characters come after all others of ASCII.
    let not_text = (vector - u8x16::splat(0x20)).simd_ge(u8x16::splat(0x60));
    is(b'%') | is(b'"') | is(b'\\') | not_text
}

/// The rest of a query from a part of it on.
#[must_use]
pub fn behind<'q>(query: &'q [u8], part: &[u8]) -> &'q [u8] {
    &query[part.as_ptr().addr() - query.as_ptr().addr()..]
}

/// A value of a query before it was [trimmed](Raw::trim).
#[must_use]
pub fn untrimmed<'q>(query: &'q [u8], value: Raw<'q>) -> Raw<'q> {
    let begin = value.bytes.as_ptr().addr() - query.as_ptr().addr();
    let front = query[..begin].iter().rev().take_while(|&&byte| byte != b'=').count();
    let length = query[begin..].iter().take_while(|&&byte| byte != b'&').count();
    Raw { bytes: &query[begin - front..begin + length], plain: false }
}

/// The padding after our own texts, so that all of a text can be read in blocks.
pub const BEHIND: [u8; SHORT] = [0; SHORT];

/// A copy of so many bytes with a truncation afterwards costs less than a copy of variable length.
const SHORT: usize = 16;

/// Appends the first `length` bytes of a text, which may be longer.
#[inline]
pub fn copy(out: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<SHORT>() {
        Some(chunk) if length <= SHORT => {
            // The copy goes through a number. Otherwise the compiler merges both copies into one with a variable
            // length.
            out.extend_from_slice(&u128::from_ne_bytes(*chunk).to_ne_bytes());
            out.truncate(out.len() - SHORT + length);
        }
        _ => out.extend_from_slice(&from[..length]),
    }
}

/// Whether the first `length` bytes of two texts are the same. Both may be longer.
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

/// Decodes the plain bytes and `+` at the beginning of the first `length` bytes of a text, at most 16. Appends the
/// result, and returns their number.
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

/// The first decoded byte, and the number of bytes that stand for it. A malformed escape stays as it is.
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

/// The bytes that stand for themselves both in a form-encoded text and in a JSON string.
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
