//! A query, split into its parameters, and names that were seen before.

use crate::query::form::{self, Raw};

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

/// The names of a query that was seen before.
#[derive(Default)]
pub struct Names {
    /// Each with its `=`, and [`form::BEHIND`] them bytes enough to compare in blocks.
    text: Vec<u8>,
    /// Where in the text each ends.
    ends: Vec<u32>,
    digest: u64,
}

impl Names {
    /// Makes them those of a query.
    pub fn keep(&mut self, parameters: &Parameters<'_, '_>) {
        self.digest = parameters.digest;
        self.text.clear();
        self.ends.clear();
        for name in parameters.names() {
            self.text.extend_from_slice(name.bytes);
            self.text.push(b'=');
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        self.text.extend_from_slice(&form::BEHIND);
    }

    /// Whether they are those of a query.
    pub fn are_of(&self, parameters: &Parameters<'_, '_>) -> bool {
        self.digest == parameters.digest
            && self.ends.len() == parameters.len()
            && self.each().zip(parameters.names()).all(|((known, length), name)| {
                length - 1 == name.bytes.len()
                    && form::same(known, form::behind(parameters.query, name.bytes), length - 1)
            })
    }

    /// Splits a query that has these names, each with a `=`: half the work where that is so, which it finds out on the way.
    pub fn split<'q, 'p>(&self, query: &'q [u8], parts: &'p mut Vec<Parameter>) -> Option<Parameters<'q, 'p>> {
        parts.clear();
        let mut pairs = form::pairs(query);
        for (name, length) in self.each() {
            let value = Part::of(query, pairs.value_of(name, length)?);
            let end = value.start - 1;
            #[expect(clippy::cast_possible_truncation, reason = "no query reaches 4 GiB")]
            let name = Part { start: value.start - length as u32, end, plain: false };
            parts.push(Parameter { name, value });
        }
        pairs.is_done().then_some(Parameters { query, parts, digest: self.digest })
    }

    /// What of the text begins with each, and its length with the `=`.
    fn each(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.ends.iter().scan(0, |start, &end| {
            let begin = std::mem::replace(start, end as usize);
            Some((&self.text[begin..], end as usize - begin))
        })
    }
}

/// Odd, and its bits look like chance: 2^64 by the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A digest of a query's first bytes, mostly those of a key, whose sender has few templates.
#[inline]
pub fn beginning(query: &[u8]) -> u64 {
    match query.first_chunk::<16>() {
        Some(begin) => {
            let begin = u128::from_le_bytes(*begin);
            #[expect(clippy::cast_possible_truncation, reason = "one half, and the other")]
            let (low, high) = (begin as u64, (begin >> 64) as u64);
            (low ^ high.rotate_left(23)).wrapping_mul(FACTOR)
        }
        None => 0,
    }
}

/// Adds a name to a digest of those before it: its end, where the names of a template differ most, and its length.
#[inline]
fn mix(digest: u64, name: &[u8]) -> u64 {
    let end = match (name.last_chunk::<8>(), name.last_chunk::<4>(), name) {
        (Some(end), ..) => u64::from_le_bytes(*end),
        (_, Some(end), _) => u32::from_le_bytes(*end).into(),
        (.., [first, .., last]) => u16::from_le_bytes([*first, *last]).into(),
        _ => name.first().copied().unwrap_or_default().into(),
    };
    ((digest.rotate_left(23) ^ end).wrapping_add(name.len() as u64)).wrapping_mul(FACTOR)
}
