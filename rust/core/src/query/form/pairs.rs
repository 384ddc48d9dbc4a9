//! Splits a query into names and values.

use wide::u8x16;

use super::{Raw, odd, same};

/// The names and values of a query, in order.
pub struct Pairs<'q> {
    query: &'q [u8],
    at: usize,
    /// The beginning of the block of `marks`, which has only the bits from `at` on.
    block: usize,
    left: u64,
    marks: Marks,
}

/// Splits a query on `&`, and every non-empty sequence on its first `=`.
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
    /// Takes the next pair if it begins with a name and its `=`, the first `length` bytes of a longer text. Returns the
    /// value. After None, the next pair is undefined.
    #[inline]
    pub fn value_of(&mut self, begin: &[u8], length: usize) -> Option<Raw<'q>> {
        let rest = self.query.get(self.at..).filter(|rest| rest.len() >= length && same(begin, rest, length))?;
        self.at = self.query.len() - rest.len() + length;
        if self.at - self.block >= BLOCK {
            self.block = self.at & !(BLOCK - 1);
            self.marks = Marks::of_block(self.query, self.block);
        }
        self.left = u64::MAX << (self.at - self.block);
        Some(self.until(|marks| marks.ands).0)
    }

    /// Whether all bytes are taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at >= self.query.len()
    }

    /// Takes the bytes before the next mark of a kind, and the mark itself. Returns whether the mark is `=`.
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

/// The special bytes of a block: bit `i` is byte `i`.
#[derive(Clone, Copy)]
struct Marks {
    ands: u64,
    equals: u64,
    /// The bytes that need decoding, an escape in JSON, or a check for UTF-8: see [`PLAIN`].
    odd: u64,
}

impl Marks {
    /// The marks of the block at `start`. The end of the query counts as a mark, as if a `&` followed.
    fn of_block(query: &[u8], start: usize) -> Self {
        let rest = query.get(start..).unwrap_or_default();
        if let Some(block) = rest.first_chunk::<BLOCK>() {
            return Self::new(block);
        }
        let behind = u64::MAX << rest.len();
        // Usually there are enough bytes before the last ones. Their marks are those of the last whole block, shifted.
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
