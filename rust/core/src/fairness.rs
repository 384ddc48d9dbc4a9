//! Decides which rejections are kept when their journal is full, so that no key and no reason displaces all others
//! (contract, section 5).
//!
//! While there is room, all records are kept. A full journal makes room by dropping its oldest records, so a flood
//! could fill it entirely. Therefore groups that have more than an even share of the journal are limited to a rate at
//! which they renew it in a day. Their further records are counted and dropped. The records of all other groups are
//! kept.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::journal::Journal;

/// The least time in which groups with more than their share renew the journal.
const RENEWAL: Duration = Duration::from_secs(86_400);
/// The part of the journal that they may write at once, as a divisor.
const BURST: u64 = 64;
/// The journal is divided into so many parts. A dropped part does not count, and a group with less than one part has no
/// share.
const PARTS: u64 = 32;
/// Further groups of a part count as one, so that made-up groups take no memory.
const GROUPS: usize = 1024;

/// The group of a record: a hash of its reason, and of its pipeline if that is known.
pub type Group = u64;

/// Decides about the rejections of one worker's life.
#[derive(Default)]
pub struct Fairness {
    state: Mutex<State>,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The bytes of this life in the journal, by group, in the order of writing.
    parts: VecDeque<Part>,
    /// The sums of `parts`.
    held: HashMap<Group, u64>,
    total: u64,
    /// The number of groups with a share, as of the last part.
    sharers: u64,
    allowance: f64,
    refilled: Option<Duration>,
}

struct Part {
    /// The offset after it.
    end: u64,
    bytes: u64,
    held: HashMap<Group, u64>,
}

impl Fairness {
    /// Whether a record of so many bytes is kept. `now` is the time since any fixed moment.
    pub fn admits(&self, journal: &Journal, group: Group, bytes: u64, now: Duration) -> bool {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = match journal.used_when_full() {
            None => true,
            Some(used) => {
                state.forget(journal.start());
                let held = state.held.get(&group).copied().unwrap_or_default();
                let is_alone = held == state.total && used <= state.total + journal.max_bytes() / PARTS;
                is_alone || held < state.share() || state.takes(bytes, journal.max_bytes(), now)
            }
        };
        if admitted {
            state.add(group, bytes, journal.end() + bytes, journal.max_bytes() / PARTS);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// The number of records that were not kept.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl State {
    fn add(&mut self, group: Group, bytes: u64, end: u64, part_bytes: u64) {
        if self.parts.back().is_none_or(|part| part.bytes >= part_bytes) {
            self.parts.push_back(Part { end, bytes: 0, held: HashMap::new() });
            self.sharers = self.held.values().filter(|held| **held >= part_bytes).count() as u64;
        }
        let Some(part) = self.parts.back_mut() else { return };
        let group = if part.held.len() < GROUPS { group } else { 0 };
        part.end = end;
        part.bytes += bytes;
        *part.held.entry(group).or_default() += bytes;
        *self.held.entry(group).or_default() += bytes;
        self.total += bytes;
    }

    /// The share of a group, in bytes. Each large group, all small groups together, and the records of earlier lives
    /// and siblings have one share each.
    fn share(&self) -> u64 {
        self.total / (self.sharers + 2)
    }

    /// Forgets the parts before the journal's first segment.
    fn forget(&mut self, start: u64) {
        while self.parts.front().is_some_and(|part| part.end <= start) {
            let part = self.parts.pop_front();
            for (group, bytes) in part.into_iter().flat_map(|part| part.held) {
                self.total -= bytes;
                if let Some(held) = self.held.get_mut(&group) {
                    *held -= bytes;
                    if *held == 0 {
                        self.held.remove(&group);
                    }
                }
            }
        }
    }

    /// Takes bytes from the allowance of groups with more than their share.
    #[expect(clippy::cast_precision_loss, reason = "sizes of records and journals")]
    fn takes(&mut self, bytes: u64, max_bytes: u64, now: Duration) -> bool {
        let (bytes, burst) = (bytes as f64, (max_bytes / BURST) as f64);
        let passed = now.saturating_sub(self.refilled.unwrap_or_default());
        self.allowance = match self.refilled {
            None => burst,
            Some(_) => (self.allowance + passed.as_secs_f64() / RENEWAL.as_secs_f64() * max_bytes as f64).min(burst),
        };
        self.refilled = Some(now);
        let takes = self.allowance >= bytes;
        if takes {
            self.allowance -= bytes;
        }
        takes
    }
}
