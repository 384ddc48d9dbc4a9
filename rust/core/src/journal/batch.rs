//! A batch: lines on their way to a topic, each with the parts of its Kafka record.

use std::ops::Range;

use super::record::Record;

/// Lines in one buffer.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The keys and the pipelines, concatenated.
    texts: String,
    lines: Vec<Line>,
}

struct Line {
    /// Its offset in the journal.
    offset: u64,
    /// Its place in the buffer.
    range: Range<usize>,
    /// Its place in the texts.
    key: Option<Range<usize>>,
    /// Its place in the texts.
    pipeline: Option<Range<usize>>,
    received_at: Option<i64>,
}

/// A line without its newline, with the parts of its Kafka record.
pub struct Message<'b> {
    /// The line.
    pub line: &'b [u8],
    /// `userId`, else `anonymousId`.
    pub key: Option<&'b str>,
    /// `receivedAt` in Unix milliseconds.
    pub received_at: Option<i64>,
    /// `pipelineId`.
    pub pipeline: Option<&'b str>,
}

impl Batch {
    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines without their newlines.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        let text = |range: &Option<Range<usize>>| range.clone().map(|range| &self.texts[range]);
        self.lines.iter().map(move |line| Message {
            line: &self.bytes[line.range.clone()],
            key: text(&line.key),
            received_at: line.received_at,
            pipeline: text(&line.pipeline),
        })
    }

    /// The offset at which each line begins.
    #[must_use]
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.lines.iter().map(|line| line.offset)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, offset: u64, line: &[u8], record: &Record<'_>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        let (key, pipeline) = (self.keep(record.key()), self.keep(record.pipeline_id.as_deref()));
        let range = begin..self.bytes.len();
        self.lines.push(Line { offset, range, key, pipeline, received_at: record.received_at() });
    }

    fn keep(&mut self, text: Option<&str>) -> Option<Range<usize>> {
        let begin = self.texts.len();
        self.texts.push_str(text?);
        Some(begin..self.texts.len())
    }
}
