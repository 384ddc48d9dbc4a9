//! Changes the consent list on the disk. One process at a time does so, and holds the lock.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::mac::KeyId;
use super::record::Record;
use super::table::{COMPLETE, Entry, FIRST_OFFSET, HEARD, MOST_PARTITIONS, RETIRED, TOPIC, Table};
use crate::memory::Map;

/// The names in a list's directory.
pub(super) const TABLE: &str = "ceilings";
const LOCK: &str = "lock";
const NEW: &str = "ceilings.new";

/// The slots of a new list.
const FEWEST: usize = 4096;

/// Whether a list is so full that it gets a larger file, in which four of seven slots are used. So ten million persons
/// need at most 280 MB.
fn is_full(used: usize, slots: usize) -> bool {
    used > slots / 5 * 4
}

fn roomy(used: usize) -> usize {
    (used / 4 * 7).max(FEWEST)
}

/// Changes a consent list.
pub struct Writer {
    directory: PathBuf,
    map: Map,
    table: Table,
    /// The notes of scopes and key ids that were checked, with their times.
    noted: HashMap<KeyId, HashMap<String, u64>>,
    was_damaged: bool,
}

/// The outcome of applying records.
#[derive(Debug, Default)]
pub struct Applied {
    /// The pairs of key id and scope without an earlier record.
    pub new_scopes: Vec<(KeyId, String)>,
}

impl Writer {
    /// Opens the list of a directory, or makes an empty one.
    pub fn open(directory: &Path, map: Map) -> io::Result<Self> {
        let _lock = lock(directory)?;
        let (table, was_damaged) = open_or_make(directory, map)?;
        Ok(Self { directory: directory.to_owned(), map, table, noted: HashMap::new(), was_damaged })
    }

    /// Applies records. They are in force at once, and on the device with the next [`sync`](Self::sync).
    pub fn apply(&mut self, records: &[Record]) -> io::Result<Applied> {
        let _lock = self.locked()?;
        let mut applied = Applied::default();
        // At most one slot for the person, and one for the scope.
        let most = self.table.used() + 2 * records.len();
        if is_full(most, self.table.slots()) {
            self.grow(most)?;
        }
        for record in records {
            self.table.put(record.mac, Entry { mode: Some(record.mode), since: record.since });
            if let Some(scope) = &record.scope {
                self.note(record.key_id, scope, record.since, &mut applied);
            }
        }
        Ok(applied)
    }

    /// Notes that a scope has records under a key id, from a time on.
    fn note(&mut self, key_id: KeyId, scope: &str, since: u64, applied: &mut Applied) {
        let noted = self.noted.entry(key_id).or_default();
        if noted.get(scope).is_some_and(|noted| *noted <= since) {
            return;
        }
        noted.insert(scope.to_owned(), since);
        let note = self.table.note_key_id(key_id).note(scope);
        if self.table.find(note).is_none() {
            applied.new_scopes.push((key_id, scope.to_owned()));
        }
        self.table.put(note, Entry { mode: None, since });
    }

    /// Replaces the list by one with room for so many slots.
    fn grow(&mut self, used: usize) -> io::Result<()> {
        let table = make(&self.directory, roomy(used), self.map, Some(&self.table))?;
        self.table.set(RETIRED, 1);
        self.table = table;
        Ok(())
    }

    /// The offset of each partition of a topic at which reading continues; empty if the list is of another topic.
    pub fn offsets(&mut self, topic: u128) -> io::Result<Vec<u64>> {
        let _lock = self.locked()?;
        if TOPIC.map(|at| self.table.word(at)) != halves(topic) {
            return Ok(Vec::new());
        }
        let offsets: Vec<_> = (0..MOST_PARTITIONS).map(|partition| self.table.word(FIRST_OFFSET + partition)).collect();
        let end = offsets.iter().rposition(|&offset| offset != 0).map_or(0, |last| last + 1);
        Ok(offsets[..end].to_vec())
    }

    /// Notes that a topic is read from its beginning. The persons' records stay.
    pub fn begin(&mut self, topic: u128) -> io::Result<()> {
        let _lock = self.locked()?;
        // In this order: at any end of the process, offsets of one topic are never taken for another's.
        for at in TOPIC {
            self.table.set(at, 0);
        }
        self.table.set(COMPLETE, 0);
        (0..MOST_PARTITIONS).for_each(|partition| self.table.set(FIRST_OFFSET + partition, 0));
        TOPIC.into_iter().zip(halves(topic)).for_each(|(at, word)| self.table.set(at, word));
        Ok(())
    }

    /// Flushes the records to the device, and then notes the offsets up to which the topic was read.
    pub fn sync(&mut self, offsets: &[(usize, u64)]) -> io::Result<()> {
        let _lock = self.locked()?;
        self.table.file.sync_data()?;
        for &(partition, offset) in offsets.iter().filter(|(partition, _)| *partition < MOST_PARTITIONS) {
            self.table.set(FIRST_OFFSET + partition, offset);
        }
        Ok(())
    }

    /// Notes that the list had all records of the topic at a time, in Unix milliseconds.
    pub fn heard(&mut self, millis: u64) -> io::Result<()> {
        let _lock = self.locked()?;
        self.table.set(HEARD, millis);
        self.table.set(COMPLETE, 1);
        Ok(())
    }

    /// Whether the list's file was damaged, such as a truncated copy.
    #[must_use]
    pub fn has_replaced_a_damaged_one(&self) -> bool {
        self.was_damaged
    }

    /// Takes the lock, and opens the file that has the list's name now.
    fn locked(&mut self) -> io::Result<File> {
        let lock = lock(&self.directory)?;
        if self.table.is_retired() || !self.table.is_at(&self.directory.join(TABLE)) {
            self.noted.clear();
            let (table, was_damaged) = open_or_make(&self.directory, self.map)?;
            self.table = table;
            self.was_damaged |= was_damaged;
        }
        Ok(lock)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

fn lock(directory: &Path) -> io::Result<File> {
    let lock = own(&directory.join(LOCK), OpenOptions::new().write(true).create(true))?;
    lock.lock()?;
    Ok(lock)
}

/// The list of a directory, or an empty one, and whether there was a damaged file.
fn open_or_make(directory: &Path, map: Map) -> io::Result<(Table, bool)> {
    let found = match own(&directory.join(TABLE), OpenOptions::new().read(true).write(true)) {
        Ok(file) => Some(Table::open(file, map)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match found {
        Some(Some(table)) => Ok((table, false)),
        found => Ok((make(directory, FEWEST, map, None)?, found.is_some())),
    }
}

/// A file that no other user may read.
fn own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(0o600).open(path)
}

/// Replaces an old list by a new one, which gets its name after all of it is on the device.
fn make(directory: &Path, slots: usize, map: Map, old: Option<&Table>) -> io::Result<Table> {
    let new = directory.join(NEW);
    // A leftover of a process that ended in between.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = own(&new, OpenOptions::new().read(true).write(true).create_new(true))?;
    let table = Table::create(file, slots, map)?;
    if let Some(old) = old {
        table.take_over(old);
    }
    table.file.sync_all()?;
    fs::rename(&new, directory.join(TABLE))?;
    File::open(directory)?.sync_all()?;
    Ok(table)
}
