//! A query, split into its parameters.

use crate::form::{self, Raw};

const KEPT_PARTS: usize = 4096;

/// A query and where its parameters are in it.
pub struct Parameters<'q, 'p> {
    /// The whole of it.
    pub query: &'q [u8],
    parts: &'p [Parameter],
    /// Of two queries whose names differ, or the order of them, hardly any have the same.
    pub digest: u64,
}

/// Where a parameter is.
pub struct Parameter {
    name: Part,
    value: Part,
}

/// A stretch of a query.
struct Part {
    start: u32,
    end: u32,
    plain: bool,
}

impl Part {
    /// No query reaches 4 GiB.
    #[inline]
    #[expect(clippy::cast_possible_truncation)]
    fn of(query: &[u8], raw: Raw<'_>) -> Self {
        let start = raw.bytes.as_ptr().addr() - query.as_ptr().addr();
        Self { start: start as u32, end: (start + raw.bytes.len()) as u32, plain: raw.plain }
    }

    #[inline]
    fn raw<'q>(&self, query: &'q [u8]) -> Raw<'q> {
        Raw { bytes: &query[self.start as usize..self.end as usize], plain: self.plain }
    }
}

impl<'q, 'p> Parameters<'q, 'p> {
    /// Splits a query; None when it has more parameters than `limit`. `parts` is a buffer.
    pub fn split(query: &'q [u8], limit: usize, parts: &'p mut Vec<Parameter>) -> Option<Self> {
        parts.clear();
        // What one huge query left behind is not kept.
        parts.shrink_to(KEPT_PARTS);
        let mut digest = 0;
        for (name, value) in form::pairs(query) {
            if parts.len() == limit {
                return None;
            }
            digest = mix(digest, name.bytes);
            parts.push(Parameter { name: Part::of(query, name), value: Part::of(query, value) });
        }
        Some(Self { query, parts, digest })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = Raw<'q>> {
        self.parts.iter().map(|parameter| parameter.name.raw(self.query))
    }

    /// The value of one.
    #[inline]
    pub fn value(&self, index: u32) -> Raw<'q> {
        self.parts[index as usize].value.raw(self.query)
    }
}

/// Adds a name to a digest of those before it: its end, where the names of a template differ most, and its length.
#[inline]
fn mix(digest: u64, name: &[u8]) -> u64 {
    // Odd, and its bits look like chance: 2^64 by the golden ratio.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let end = match (name.last_chunk::<8>(), name.last_chunk::<4>(), name) {
        (Some(end), ..) => u64::from_le_bytes(*end),
        (_, Some(end), _) => u32::from_le_bytes(*end).into(),
        (.., [first, .., last]) => u16::from_le_bytes([*first, *last]).into(),
        _ => name.first().copied().unwrap_or_default().into(),
    };
    ((digest.rotate_left(23) ^ end).wrapping_add(name.len() as u64)).wrapping_mul(FACTOR)
}
