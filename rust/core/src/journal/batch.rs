//! Lines on their way out, and the message key of each.

use std::ops::Range;

use super::message_key::Keys;

/// Lines in one buffer.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The keys, one after the other.
    keys: String,
    lines: Vec<Line>,
}

struct Line {
    /// In the journal.
    offset: u64,
    /// In the buffer.
    range: Range<usize>,
    /// In the keys.
    key: Option<Range<usize>>,
}

impl Batch {
    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines without their newlines, each with its message key.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&str>)> {
        self.lines.iter().map(|line| (&self.bytes[line.range.clone()], line.key.clone().map(|key| &self.keys[key])))
    }

    /// The offset that each line begins at.
    #[must_use]
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.lines.iter().map(|line| line.offset)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, offset: u64, line: &[u8], keys: &Keys<'_>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        let key = keys.key().map(|key| {
            let begin = self.keys.len();
            self.keys.push_str(key);
            begin..self.keys.len()
        });
        self.lines.push(Line { offset, range: begin..self.bytes.len(), key });
    }
}
