//! `application/x-www-form-urlencoded`, as the WHATWG URL standard parses it (section 5.1): split before decoding,
//! and never an error.

use std::borrow::Cow;

use wide::u8x16;

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

/// The names and values of a query, in order.
pub struct Pairs<'q> {
    query: &'q [u8],
    at: usize,
    /// Where the block begins that `marks` are of, and the bits of it that are not before `at`.
    block: usize,
    left: u64,
    marks: Marks,
}

/// Splits a query on `&`, and every sequence that is not empty on its first `=`.
#[must_use]
pub fn pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { query, at: 0, block: 0, left: u64::MAX, marks: Marks::of_block(query, 0) }
}

impl<'q> Iterator for Pairs<'q> {
    type Item = (Raw<'q>, Raw<'q>);

    #[expect(
        clippy::inline_always,
        reason = "a call, and handing a pair over in memory, costs as much as splitting it"
    )]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, has_value) = loop {
            if self.at >= self.query.len() {
                return None;
            }
            let (name, equals) = self.until(|marks| marks.ands | marks.equals);
            if equals || !name.bytes.is_empty() {
                break (name, equals);
            }
        };
        let nothing = Raw { bytes: &name.bytes[name.bytes.len()..], plain: true };
        Some((name, if has_value { self.until(|marks| marks.ands).0 } else { nothing }))
    }
}

impl<'q> Pairs<'q> {
    /// Takes the bytes before the next mark of a kind, and the mark itself; returns whether that is `=`.
    #[inline]
    fn until(&mut self, kind: impl Fn(&Marks) -> u64) -> (Raw<'q>, bool) {
        let start = self.at;
        let mut odd = 0;
        let mut stops = kind(&self.marks) & self.left;
        while stops == 0 {
            odd |= self.marks.odd & self.left;
            self.block += BLOCK;
            self.marks = Marks::of_block(self.query, self.block);
            self.left = u64::MAX;
            stops = kind(&self.marks);
        }
        let end = self.block + stops.trailing_zeros() as usize;
        let up_to_it = stops ^ (stops - 1);
        let taken = self.left & up_to_it;
        self.left = !up_to_it;
        self.at = end + 1;
        let plain = (odd | self.marks.odd & taken) == 0;
        (Raw { bytes: &self.query[start..end], plain }, self.marks.equals & taken != 0)
    }
}

const BLOCK: usize = 64;

/// Where in a block the bytes are that mean something: bit `i` is byte `i`.
#[derive(Clone, Copy)]
struct Marks {
    ands: u64,
    equals: u64,
    /// What needs decoding, or escaping in JSON, or a check that it is UTF-8: see [`PLAIN`].
    odd: u64,
}

impl Marks {
    /// The marks of the block that begins at `start`. As if `&` followed, the end of the query is one.
    fn of_block(query: &[u8], start: usize) -> Self {
        let rest = query.get(start..).unwrap_or_default();
        if let Some(block) = rest.first_chunk::<BLOCK>() {
            return Self::new(block);
        }
        let behind = u64::MAX << rest.len();
        // Mostly there are bytes enough before the last ones, whose marks are those of a whole block, moved.
        let Self { ands, equals, odd } = match query.last_chunk::<BLOCK>() {
            Some(block) if !rest.is_empty() => Self::new(block).moved(BLOCK - rest.len()),
            _ => {
                let mut padded = [b'&'; BLOCK];
                padded[..rest.len()].copy_from_slice(rest);
                Self::new(&padded)
            }
        };
        Self { ands: ands | behind, equals, odd }
    }

    fn moved(self, by: usize) -> Self {
        Self { ands: self.ands >> by, equals: self.equals >> by, odd: self.odd >> by }
    }

    #[inline]
    fn new(block: &[u8; BLOCK]) -> Self {
        let mut marks = Self { ands: 0, equals: 0, odd: 0 };
        let (vectors, _) = block.as_chunks::<16>();
        for (i, vector) in vectors.iter().enumerate() {
            let vector = u8x16::from(*vector);
            marks.ands |= u64::from(vector.simd_eq(u8x16::splat(b'&')).to_bitmask()) << (16 * i);
            marks.equals |= u64::from(vector.simd_eq(u8x16::splat(b'=')).to_bitmask()) << (16 * i);
            marks.odd |= u64::from(odd(vector)) << (16 * i);
        }
        marks
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
