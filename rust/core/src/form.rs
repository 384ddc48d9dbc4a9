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
    #[must_use]
    pub fn decode(self) -> Cow<'q, [u8]> {
        if self.plain {
            return Cow::Borrowed(self.bytes);
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        self.decode_into(&mut bytes);
        Cow::Owned(bytes)
    }

    /// Appends what [`decode`](Self::decode) returns.
    pub fn decode_into(self, out: &mut Vec<u8>) {
        let begin = out.len();
        let mut rest = self.bytes;
        let mut seen = 0;
        while !rest.is_empty() {
            let plain = rest.iter().position(|&byte| !PLAIN[usize::from(byte)]).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            if !rest.is_empty() {
                let (byte, length) = decode_byte(rest);
                out.push(byte);
                seen |= byte;
                rest = &rest[length..];
            }
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
    /// Of the block that `at` is in.
    marks: Marks,
}

/// Splits a query on `&`, and every sequence that is not empty on its first `=`.
#[must_use]
pub fn pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { query, at: 0, marks: Marks::of_block(query, 0) }
}

impl<'q> Iterator for Pairs<'q> {
    type Item = (Raw<'q>, Raw<'q>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while *self.query.get(self.at)? == b'&' {
            self.advance(1);
        }
        let name = self.until(|marks| marks.ands | marks.equals);
        if self.query.get(self.at) == Some(&b'=') {
            self.advance(1);
        }
        // Without a `=` this is where the `&` or the end is, and empty.
        Some((name, self.until(|marks| marks.ands)))
    }
}

impl<'q> Pairs<'q> {
    /// Takes the bytes before the next mark of a kind.
    #[inline]
    fn until(&mut self, kind: impl Fn(&Marks) -> u64) -> Raw<'q> {
        let start = self.at;
        let mut odd = 0;
        loop {
            let passed = self.at % BLOCK;
            let stops = kind(&self.marks) >> passed;
            let length = stops.trailing_zeros() as usize;
            if stops != 0 {
                odd |= (self.marks.odd >> passed) & ((1 << length) - 1);
                self.at += length;
                break;
            }
            odd |= self.marks.odd >> passed;
            self.advance(BLOCK - passed);
            if self.at >= self.query.len() {
                break;
            }
        }
        Raw { bytes: self.query.get(start..self.at).unwrap_or_default(), plain: odd == 0 }
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at.is_multiple_of(BLOCK) {
            self.marks = Marks::of_block(self.query, self.at);
        }
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
        let mut padded = [b'&'; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        Self::new(&padded)
    }

    #[inline]
    fn new(block: &[u8; BLOCK]) -> Self {
        let mut marks = Self { ands: 0, equals: 0, odd: 0 };
        let (vectors, _) = block.as_chunks::<16>();
        for (i, vector) in vectors.iter().enumerate() {
            let vector = u8x16::from(*vector);
            let is = |byte| vector.simd_eq(u8x16::splat(byte));
            let control = vector.simd_lt(u8x16::splat(0x20));
            let not_ascii = vector.simd_ge(u8x16::splat(0x80));
            let odd = is(b'%') | is(b'+') | is(b'"') | is(b'\\') | control | not_ascii;
            marks.ands |= u64::from(is(b'&').to_bitmask()) << (16 * i);
            marks.equals |= u64::from(is(b'=').to_bitmask()) << (16 * i);
            marks.odd |= u64::from(odd.to_bitmask()) << (16 * i);
        }
        marks
    }
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
pub const PLAIN: [bool; 256] = {
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
