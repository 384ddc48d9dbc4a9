//! Counters that outlive their process: plain numbers at named places of a file.
//!
//! ```text
//! requests track accepted,requests track lost,…      the slots' names, and spaces up to a multiple of eight bytes
//! 2a00000000000000…                                  after the newline, one u64 per slot in the machine's byte order
//! ```
//!
//! A process maps the file and counts in the page cache, so its end does not undo the counts. A reader needs nothing
//! but this format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::notice::{self, Notices};
use crate::reason::Reason;

/// The types of requests for counting. All unknown types share one slot, so that clients cannot make up slots.
const TYPES: [&str; 5] = ["track", "page", "identify", "group", "unknown"];

/// A request is accepted, lost, or rejected for a reason.
const OUTCOMES: usize = 2 + Reason::ALL.len();
const LOST: usize = 1;

/// The first slot after those of the requests.
const NOTICED: usize = TYPES.len() * OUTCOMES;
const EVENT_BYTES: usize = NOTICED + notice::COUNTERS;
const REJECTION_BYTES: usize = EVENT_BYTES + 1;

/// The outcome of a request.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// Its event was appended, as a line of so many bytes.
    Accepted(Notices, u64),
    /// The record of its rejection was appended, as a line of so many bytes.
    Rejected(Reason, u64),
    /// Nothing could be appended.
    Lost,
}

/// The type of a request for counting.
#[must_use]
pub fn type_of(kind: &str) -> &'static str {
    TYPES.iter().find(|name| **name == kind).unwrap_or(&TYPES[TYPES.len() - 1])
}

/// Named counters: those of requests, and additional ones of the owner.
pub struct Counters {
    names: Vec<String>,
    slots: &'static [AtomicU64],
}

impl Counters {
    /// Counts in memory only. The memory is never freed, because a process has one set of counters in its life.
    #[must_use]
    pub fn in_memory(more: &[String]) -> Self {
        let names = names(more);
        Self { slots: Vec::leak(names.iter().map(|_| AtomicU64::default()).collect()), names }
    }

    /// Counts in a new file. `map` maps the file, and returns the slots: so many words from an offset on.
    ///
    /// The file gets its name after it is locked (`flock`). The lock lasts until this process ends.
    pub fn in_file(
        path: &Path,
        more: &[String],
        map: impl FnOnce(File, usize, usize) -> io::Result<&'static [AtomicU64]>,
    ) -> io::Result<Self> {
        let names = names(more);
        let mut header = names.join(",");
        header.extend(std::iter::repeat_n(' ', 7 - header.len() % 8));
        header.push('\n');
        let unnamed = path.with_extension("new");
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unnamed)?;
        file.lock()?;
        file.write_all(header.as_bytes())?;
        // Zeros and not a hole, so that a full disk fails here and not at a later count.
        file.write_all(&vec![0; names.len() * 8])?;
        let slots = map(file, header.len(), names.len())?;
        fs::rename(&unnamed, path)?;
        Ok(Self { names, slots })
    }

    /// Counts one request, before it is answered. So no answered request stays uncounted.
    pub fn count(&self, kind: &str, outcome: Outcome) {
        let index = match outcome {
            Outcome::Accepted(notices, bytes) => {
                self.bump(EVENT_BYTES, bytes);
                if notices != Notices::default() {
                    self.notice(notices);
                }
                0
            }
            Outcome::Rejected(reason, bytes) => {
                self.bump(REJECTION_BYTES, bytes);
                2 + reason as usize
            }
            Outcome::Lost => LOST,
        };
        let kind = TYPES.iter().position(|name| *name == kind).unwrap_or(TYPES.len() - 1);
        self.bump(kind * OUTCOMES + index, 1);
    }

    /// Counts the notices of one request.
    #[inline(never)]
    pub fn notice(&self, notices: Notices) {
        notices.counts().for_each(|(place, by)| self.bump(NOTICED + place, by));
    }

    /// Adds to the slot of a name; false if there is none.
    #[must_use]
    pub fn add(&self, name: &str, by: u64) -> bool {
        let index = self.names.iter().position(|known| known == name);
        index.inspect(|&index| self.bump(index, by)).is_some()
    }

    /// Sets the slot of a name; false if there is none.
    #[must_use]
    pub fn set(&self, name: &str, value: u64) -> bool {
        let slot = self.names.iter().position(|known| known == name).map(|index| &self.slots[index]);
        slot.inspect(|slot| slot.store(value, Ordering::Relaxed)).is_some()
    }

    /// Requests so far by outcome: `accepted`, `lost`, and each reason that occurred.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let names = ["accepted", "lost"].into_iter().chain(Reason::ALL.map(Reason::as_str));
        let of_all_types = |index| (0..TYPES.len()).map(|kind| self.load(kind * OUTCOMES + index)).sum();
        let counts = names.enumerate().map(|(index, name)| (name, of_all_types(index)));
        counts.enumerate().filter(|(index, (_, count))| *index <= LOST || *count > 0).map(|(_, count)| count).collect()
    }

    /// All slots by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().enumerate().map(|(index, name)| (name.as_str(), self.load(index)))
    }

    fn bump(&self, index: usize, by: u64) {
        self.slots[index].fetch_add(by, Ordering::Relaxed);
    }

    fn load(&self, index: usize) -> u64 {
        self.slots[index].load(Ordering::Relaxed)
    }
}

fn names(more: &[String]) -> Vec<String> {
    let outcomes = || ["accepted", "lost"].into_iter().chain(Reason::ALL.map(Reason::as_str));
    let mut names: Vec<_> =
        TYPES.iter().flat_map(|kind| outcomes().map(move |outcome| format!("requests {kind} {outcome}"))).collect();
    names.extend(notice::names());
    names.extend(["appended_bytes events", "appended_bytes rejections"].map(str::to_owned));
    names.extend_from_slice(more);
    names
}
