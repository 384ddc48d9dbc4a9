//! Ranges of a tree's text, and the common beginning of two paths.

use wide::u8x16;

use super::children::digest;
use super::id;

/// A range of a query, or of the text in its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The bytes of the range.
    pub fn of(self, texts: &[u8]) -> &[u8] {
        &texts[self.start as usize..self.end as usize]
    }

    /// The part before the first dot of a path, and its digest.
    #[inline]
    pub fn segment(self, texts: &[u8]) -> (Self, u32) {
        let text = self.of(texts);
        let name = &text[..first_dot(&texts[self.start as usize..], text.len())];
        (Self { end: self.start + id(name.len()), ..self }, digest(name))
    }
}

/// The place of the first dot in the first `length` bytes of a longer text; `length` if there is none.
#[inline]
fn first_dot(text: &[u8], length: usize) -> usize {
    if let Some(chunk) = text.first_chunk::<16>() {
        let dots = u8x16::from(*chunk).simd_eq(u8x16::splat(b'.')).to_bitmask();
        if dots != 0 || length <= 16 {
            return length.min(dots.trailing_zeros() as usize);
        }
    }
    text[..length].iter().position(|&byte| byte == b'.').unwrap_or(length)
}

/// The length of the common beginning of two paths. If more text follows both, eight bytes are compared at once.
pub(super) fn shared(texts: &[u8], a: Span, b: Span) -> usize {
    let limit = (a.end - a.start).min(b.end - b.start) as usize;
    let (mut a, mut b) = (&texts[a.start as usize..], &texts[b.start as usize..]);
    let mut length = 0;
    while length < limit {
        let (Some((block, behind)), Some((other, behind_other))) = (a.split_first_chunk(), b.split_first_chunk())
        else {
            length += a.iter().zip(b).take_while(|(a, b)| a == b).count();
            break;
        };
        let difference = u64::from_le_bytes(*block) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            length += difference.trailing_zeros() as usize / 8;
            break;
        }
        (a, b) = (behind, behind_other);
        length += 8;
    }
    length.min(limit)
}

/// The range of `part`, which is a slice of `query`.
pub(super) fn span(query: &[u8], part: &[u8]) -> Span {
    let start = id(part.as_ptr().addr() - query.as_ptr().addr());
    Span { start, end: start + id(part.len()) }
}
