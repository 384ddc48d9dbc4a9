//! A query's parameters, and the names of earlier queries.

use crate::query::form::{self, Raw};

const KEPT_PARTS: usize = 4096;

/// A query, and the places of its parameters.
pub struct Parameters<'q, 'p> {
    /// The whole query.
    pub query: &'q [u8],
    parts: &'p [Parameter],
    /// A digest of the names and their order. Different names hardly ever have the same digest.
    pub digest: u64,
}

/// The place of a parameter.
pub struct Parameter {
    name: Part,
    value: Part,
}

/// A range of a query.
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
    /// Splits a query; None if it has more parameters than `limit`. `parts` is a buffer.
    pub fn split(query: &'q [u8], limit: usize, parts: &'p mut Vec<Parameter>) -> Option<Self> {
        parts.clear();
        // The large buffer of one huge query is not kept.
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

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = Raw<'q>> {
        self.parts.iter().map(|parameter| parameter.name.raw(self.query))
    }

    /// The value of a parameter.
    #[inline]
    pub fn value(&self, index: u32) -> Raw<'q> {
        self.parts[index as usize].value.raw(self.query)
    }
}

/// The names of an earlier query.
#[derive(Default)]
pub struct Names {
    /// Each name with its `=`. [`form::BEHIND`] follows them, so that they can be compared in blocks.
    text: Vec<u8>,
    /// The end of each name in the text.
    ends: Vec<u32>,
    digest: u64,
}

impl Names {
    /// Sets them to a query's names.
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

    /// Whether a query has these names.
    pub fn are_of(&self, parameters: &Parameters<'_, '_>) -> bool {
        self.digest == parameters.digest
            && self.ends.len() == parameters.len()
            && self.each().zip(parameters.names()).all(|((known, length), name)| {
                length - 1 == name.bytes.len()
                    && form::same(known, form::behind(parameters.query, name.bytes), length - 1)
            })
    }

    /// Splits a query with these names, each followed by `=`, with half the work. None if the query turns out to have
    /// other names.
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

    /// The text from each name on, and the name's length with the `=`.
    fn each(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.ends.iter().scan(0, |start, &end| {
            let begin = std::mem::replace(start, end as usize);
            Some((&self.text[begin..], end as usize - begin))
        })
    }
}

/// An odd number with random-looking bits: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A digest of a query's first bytes. They usually contain the key, and a key's sender has few templates.
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

/// Adds a name to a digest: its length, and its end, where the names of a template differ most.
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
