//! The consent list on the disk: one file of words. Every process maps it, so that no worker needs its own memory for
//! it.
//!
//! ```text
//! word 0      the magic number             1 slots        2 slots in use      3 whether another file has replaced it
//!      4      when the list was last known to be complete, in Unix milliseconds
//!      5      whether the topic was ever read to its end  6, 7 which topic    8 key ids
//!     16…     the key ids with records, two words each
//!    256…     for each partition of the topic, the offset at which reading continues
//!   8192…     the slots, two words each: 64 bits of a MAC; a mode (3 bits), a time in ms (42) and 19 more bits of the MAC
//! ```
//!
//! A person's slot is found by the MAC (open addressing, linear probing), so slots are also ordered by MAC. One process
//! at a time writes (see `writer`), and any number of others read at the same time. A slot's second word is written
//! last, and is the only word that ever changes. So a reader and a `kill -9` find a record in its old or its new state.
//! A slot is sixteen bytes of one sector, so the same is true after a power cut. In a copy of the file, the words
//! before the slots come first: the offsets in a copy are never beyond its slots' contents.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::mac::{KeyId, Mac, TAG_BITS};
use super::mode::Mode;
use super::record::TIME_BITS;
use crate::memory::{Map, Memory};

/// `PXCONS01`
const MAGIC: u64 = 0x5058_434f_4e53_3031;

pub(super) const USED: usize = 2;
pub(super) const RETIRED: usize = 3;
pub(super) const HEARD: usize = 4;
pub(super) const COMPLETE: usize = 5;
pub(super) const TOPIC: [usize; 2] = [6, 7];
pub(super) const KEY_IDS: usize = 8;
const FIRST_KEY_ID: usize = 16;
pub(super) const MOST_KEY_IDS: usize = 64;
pub(super) const FIRST_OFFSET: usize = 256;
pub(super) const MOST_PARTITIONS: usize = HEAD - FIRST_OFFSET;
pub(super) const HEAD: usize = 8192;
const SLOT_WORDS: usize = 2;

/// The code of a slot with a note: a scope has records under a key id. It differs from the modes' codes.
const NOTE: u64 = 5;

/// The contents of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The mode; None for a note that a scope has records under a key id.
    pub mode: Option<Mode>,
    /// The record's own time in Unix milliseconds. A note has the time of the earliest record.
    pub since: u64,
}

impl Entry {
    fn word(self, tag: u64) -> u64 {
        let code = self.mode.map_or(NOTE, |mode| u64::from(mode.as_byte()) + 1);
        code << (TIME_BITS + TAG_BITS) | self.since << TAG_BITS | tag
    }

    fn of_word(word: u64) -> Self {
        let code = word >> (TIME_BITS + TAG_BITS);
        let mode = u8::try_from(code).ok().and_then(|code| code.checked_sub(1)).and_then(Mode::from_byte);
        Self { mode: mode.filter(|_| code != NOTE), since: word >> TAG_BITS & ((1 << TIME_BITS) - 1) }
    }

    /// The mode and the time of a person's record.
    pub(super) fn of_person(self) -> Option<(Mode, u64)> {
        Some((self.mode?, self.since))
    }

    /// The one of two records that counts. It is the newer one by its own time, or the meet of both if they have the
    /// same time.
    pub(super) fn newer(self, other: Self) -> Self {
        match (self.mode, other.mode) {
            (Some(one), Some(another)) if self.since == other.since => Self { mode: Some(one.meet(another)), ..self },
            (Some(_), Some(_)) => {
                if self.since > other.since {
                    self
                } else {
                    other
                }
            }
            // Of two notes, the earlier one counts.
            _ => {
                if self.since < other.since {
                    self
                } else {
                    other
                }
            }
        }
    }
}

/// A mapped list.
pub struct Table {
    pub(super) file: File,
    memory: Box<dyn Memory>,
    slots: usize,
}

impl Table {
    /// Opens a list; None if the file is not a list. `file` may be open for reading only.
    pub fn open(file: File, map: Map) -> io::Result<Option<Self>> {
        if file.metadata()?.len() < (HEAD * size_of::<u64>()) as u64 {
            return Ok(None);
        }
        let memory = map(&file)?;
        let slots = usize::try_from(memory[1].load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let is_whole = slots.checked_mul(SLOT_WORDS).and_then(|words| words.checked_add(HEAD)) == Some(memory.len());
        let is_list = memory[0].load(Ordering::Relaxed) == MAGIC && is_whole && slots > 0;
        Ok(is_list.then_some(Self { file, memory, slots }))
    }

    /// An empty list in a new, empty file.
    pub(super) fn create(mut file: File, slots: usize, map: Map) -> io::Result<Self> {
        // Zeros and not a hole, so that a full disk fails here, and not with a signal at a later write.
        let bytes = (HEAD + slots * SLOT_WORDS) * size_of::<u64>();
        io::copy(&mut io::Read::take(io::repeat(0), bytes as u64), &mut file)?;
        let memory = map(&file)?;
        memory[0].store(MAGIC, Ordering::Relaxed);
        memory[1].store(slots as u64, Ordering::Relaxed);
        Ok(Self { file, memory, slots })
    }

    /// The number of slots.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The entry of a person, or of a scope and a key id.
    #[must_use]
    pub fn find(&self, mac: Mac) -> Option<Entry> {
        let found = self.probe(mac).1;
        (found != 0).then(|| Entry::of_word(found))
    }

    /// Enters a record, unless a newer one is there. Only the writer may call it, and only while there is a free slot.
    pub(super) fn put(&self, mac: Mac, entry: Entry) {
        let (at, found) = self.probe(mac);
        let entry = if found == 0 { entry } else { Entry::of_word(found).newer(entry) };
        self.store(at, mac, entry.word(mac.tag), found == 0);
    }

    fn store(&self, at: usize, mac: Mac, word: u64, is_new: bool) {
        if is_new {
            self.memory[at].store(mac.place, Ordering::Relaxed);
            self.memory[USED].fetch_add(1, Ordering::Relaxed);
        }
        // A reader that sees this word also sees the MAC.
        self.memory[at + 1].store(word, Ordering::Release);
    }

    /// The place of a MAC's slot, existing or new, and its second word, which is 0 if there is no entry.
    fn probe(&self, mac: Mac) -> (usize, u64) {
        let memory = &**self.memory;
        #[expect(clippy::cast_possible_truncation, reason = "below the number of slots")]
        let mut slot = ((u128::from(mac.place) * self.slots as u128) >> 64) as usize;
        loop {
            let at = HEAD + slot * SLOT_WORDS;
            let word = memory[at + 1].load(Ordering::Acquire);
            let is_it = word & ((1 << TAG_BITS) - 1) == mac.tag && memory[at].load(Ordering::Relaxed) == mac.place;
            if word == 0 || is_it {
                return (at, word);
            }
            slot = if slot + 1 == self.slots { 0 } else { slot + 1 };
        }
    }

    /// Adds the entries of another list, and copies its head.
    pub(super) fn take_over(&self, old: &Self) {
        for at in (HEARD..HEAD).filter(|&at| at != USED) {
            self.memory[at].store(old.memory[at].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for at in (HEAD..HEAD + old.slots * SLOT_WORDS).step_by(SLOT_WORDS) {
            let word = old.memory[at + 1].load(Ordering::Acquire);
            if word != 0 {
                let mac = Mac { place: old.memory[at].load(Ordering::Relaxed), tag: word & ((1 << TAG_BITS) - 1) };
                self.put(mac, Entry::of_word(word));
            }
        }
    }

    /// A word of the head.
    pub(super) fn word(&self, at: usize) -> u64 {
        self.memory[at].load(Ordering::Acquire)
    }

    /// Sets a word of the head.
    pub(super) fn set(&self, at: usize, value: u64) {
        self.memory[at].store(value, Ordering::Release);
    }

    /// The number of used slots: those of persons, and those of scopes and key ids.
    #[must_use]
    pub fn used(&self) -> usize {
        usize::try_from(self.word(USED)).unwrap_or(usize::MAX)
    }

    /// Whether another file has replaced this one.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.word(RETIRED) != 0
    }

    /// The number of key ids with records.
    #[must_use]
    pub fn key_id_count(&self) -> usize {
        usize::try_from(self.word(KEY_IDS)).unwrap_or(usize::MAX).min(MOST_KEY_IDS)
    }

    /// The key ids with records.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        (0..self.key_id_count()).map(|index| {
            let at = FIRST_KEY_ID + 2 * index;
            KeyId::of_words([self.word(at), self.word(at + 1)])
        })
    }

    /// Notes a record's key id, and returns the noted one. It may be the one that stands for all key ids without room.
    pub(super) fn note_key_id(&self, key_id: KeyId) -> KeyId {
        let count = self.key_id_count();
        if self.key_ids().any(|known| known == key_id) {
            return key_id;
        }
        let key_id = if count + 1 < MOST_KEY_IDS { key_id } else { KeyId::OTHERS };
        if !self.key_ids().any(|known| known == key_id) {
            let at = FIRST_KEY_ID + 2 * count;
            let words = key_id.words();
            self.set(at, words[0]);
            self.set(at + 1, words[1]);
            self.set(KEY_IDS, count as u64 + 1);
        }
        key_id
    }

    /// Whether a path leads to this file.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |status: Metadata| (status.dev(), status.ino());
        let there = path.metadata().map(identity).ok();
        there.is_some() && there == self.file.metadata().map(identity).ok()
    }
}
