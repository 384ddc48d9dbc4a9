//! Group commit: the lines of a group, and the requests that wait for their flush.

use crate::counters::Outcome;
use crate::reason::Reason;

/// Requests whose lines are written and flushed together.
pub struct Group<W> {
    pub(super) events: Vec<u8>,
    pub(super) rejections: Vec<u8>,
    pub(super) waiting: Vec<Waiting<W>>,
}

pub(super) struct Waiting<W> {
    pub(super) who: W,
    pub(super) kind: &'static str,
    /// The outcome of the request, unless its journal fails.
    pub(super) outcome: Outcome,
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self { events: Vec::new(), rejections: Vec::new(), waiting: Vec::new() }
    }
}

impl<W> Group<W> {
    /// The waiters in the order of their arrival, each with the reason of rejection if any.
    pub fn into_waiting(self) -> impl Iterator<Item = (W, Option<Reason>)> {
        self.waiting.into_iter().map(|Waiting { who, outcome, .. }| match outcome {
            Outcome::Rejected(reason, _) => (who, Some(reason)),
            _ => (who, None),
        })
    }
}
