//! Looks up the persons' ceilings, for requests and for shipping.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use jiff::Timestamp;
use serde::Deserialize;

use super::mac::{KeyId, ScopeKeys, Secrets};
use super::mode::Mode;
use super::table::{COMPLETE, Entry, HEARD, Table};
use super::writer::TABLE;
use crate::journal::read_record;
use crate::memory::Map;

pub use super::mac::Person;

/// The result of looking a person up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// A record.
    Of {
        /// The most that may be kept of the person.
        mode: Mode,
        /// The record's own time, in Unix milliseconds.
        since: u64,
    },
    /// A record of a list that is too old, or was never read to its end. The limit is the lower of the record and the
    /// mode of unknown persons.
    Stale {
        /// The most that may be kept of the person.
        mode: Mode,
        /// The record's own time, in Unix milliseconds.
        since: u64,
    },
    /// No record.
    Unknown,
    /// The scope has records under a secret that this gateway does not have.
    Unreadable,
}

/// The most scopes whose keys are cached, because deriving keys costs as much as the rest of a look-up.
const MOST_SCOPES: usize = 4096;

/// The ceilings that a gateway knows: the list in its data directory, with all changes.
pub struct Ceilings {
    path: PathBuf,
    map: Map,
    secrets: Secrets,
    /// A list that was last complete longer ago is stale. None if only this machine writes the list.
    max_age: Option<Duration>,
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    table: Option<Table>,
    /// The number of key ids in the table when `strangers` was computed.
    key_ids: usize,
    /// The key ids of records for which this gateway has no secret.
    strangers: Vec<KeyId>,
    /// The scopes, by the kind of the ids.
    scopes: [HashMap<Box<str>, ScopeKeys>; 2],
}

#[derive(Default)]
struct Look {
    newest: Option<(Mode, u64)>,
    /// The time of the scope's first record that this gateway cannot read.
    unreadable_since: Option<u64>,
    is_fresh: bool,
}

impl Ceilings {
    /// The list of a directory. It need not exist yet.
    #[must_use]
    pub fn new(directory: &Path, secrets: Secrets, max_age: Option<Duration>, map: Map) -> Self {
        let ceilings = Self { path: directory.join(TABLE), map, secrets, max_age, held: RwLock::default() };
        ceilings.refresh();
        ceilings
    }

    /// Opens a file that has replaced the list. Call it once a second, because a process that replaces the file may end
    /// before it says so. New records in the same file are in force without this call.
    pub fn refresh(&self) {
        let is_held = |table: &Table| !table.is_retired() && table.is_at(&self.path);
        if self.read().table.as_ref().is_some_and(is_held) {
            return;
        }
        // If the file cannot be opened now, the current list stays in force.
        if let Ok(Some(table)) =
            OpenOptions::new().read(true).write(true).open(&self.path).and_then(|file| Table::open(file, self.map))
        {
            let held = &mut *self.write();
            held.table = Some(table);
            held.look_for_strangers(&self.secrets);
        }
    }

    /// The ceiling of a person in a scope, by an id of a kind.
    #[must_use]
    pub fn ceiling(&self, scope: &str, kind: Person, id: &[u8]) -> Ceiling {
        match self.look(scope, kind, id) {
            Look { unreadable_since: Some(_), .. } => Ceiling::Unreadable,
            Look { newest: None, .. } => Ceiling::Unknown,
            Look { newest: Some((mode, since)), is_fresh: true, .. } => Ceiling::Of { mode, since },
            Look { newest: Some((mode, since)), is_fresh: false, .. } => Ceiling::Stale { mode, since },
        }
    }

    /// Whether a line of a journal must not be shipped, because it arrived after its person's withdrawal, before the
    /// gateway knew of it. The line is an event or the day of a last opening. A day counts as its last moment, because
    /// its time is unknown.
    #[must_use]
    pub fn withholds(&self, scope: &str, kind: Person, line: &[u8]) -> bool {
        let Some(event) = read_record(line) else { return false };
        let id = match kind {
            Person::Uid => &event.user_id,
            Person::Aid => &event.anonymous_id,
        };
        let Some(id) = id else { return false };
        let (until, needs) = match event.received_at() {
            Some(received_at) => (received_at, Mode::Individual),
            None => (end_of_day(line).unwrap_or(i64::MAX), Mode::Deliverability),
        };
        let came_after = |since: u64| i64::try_from(since).is_ok_and(|since| since <= until);
        let look = self.look(scope, kind, id.as_bytes());
        look.newest.is_some_and(|(mode, since)| mode.meet(needs) != needs && came_after(since))
            || look.unreadable_since.is_some_and(came_after)
    }

    /// When the list was last known to be complete, in Unix milliseconds; 0 if the topic was never read to its end.
    #[must_use]
    pub fn heard(&self) -> u64 {
        let heard = |table: &Table| if table.word(COMPLETE) == 0 { 0 } else { table.word(HEARD) };
        self.current().table.as_ref().map_or(0, heard)
    }

    /// The number of records: one per person and scope, and one per scope and key id.
    #[must_use]
    pub fn count(&self) -> usize {
        self.current().table.as_ref().map_or(0, Table::used)
    }

    /// The key ids of the records, and whether this gateway has their secrets.
    #[must_use]
    pub fn key_ids(&self) -> Vec<(String, bool)> {
        let held = self.current();
        let ids = held.table.iter().flat_map(Table::key_ids);
        ids.map(|id| (id.to_string(), !held.strangers.contains(&id))).collect()
    }

    fn look(&self, scope: &str, kind: Person, id: &[u8]) -> Look {
        let held = self.current();
        let Some(table) = &held.table else { return Look::default() };
        let derived;
        let (keys, is_new) = if let Some(keys) = held.scopes[kind as usize].get(scope) {
            (keys, false)
        } else {
            derived = self.secrets.of_scope(scope, kind);
            (&derived, true)
        };
        let look = Look {
            newest: keys.macs(id).filter_map(|mac| table.find(mac)).reduce(Entry::newer).and_then(Entry::of_person),
            unreadable_since: held.strangers.iter().filter_map(|id| Some(table.find(id.note(scope))?.since)).min(),
            is_fresh: self.is_fresh(table),
        };
        if is_new {
            let keys = keys.clone();
            drop(held);
            self.write().keep(scope, kind, keys);
        }
        look
    }

    fn is_fresh(&self, table: &Table) -> bool {
        let Some(max_age) = self.max_age else { return true };
        let heard = Duration::from_millis(table.word(HEARD));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        table.word(COMPLETE) != 0 && now.saturating_sub(heard) <= max_age
    }

    /// The current list, after a check that no other file has replaced it.
    fn current(&self) -> RwLockReadGuard<'_, Held> {
        let held = self.read();
        let Some(table) = &held.table else { return held };
        if table.is_retired() {
            drop(held);
            self.refresh();
        } else if table.key_id_count() != held.key_ids {
            drop(held);
            self.write().look_for_strangers(&self.secrets);
        } else {
            return held;
        }
        self.read()
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last millisecond of the day of an opening.
fn end_of_day(line: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Opening<'l> {
        day: &'l str,
    }
    let Opening { day } = serde_json::from_slice(line).ok()?;
    let last: Timestamp = format!("{day}T23:59:59.999Z").parse().ok()?;
    Some(last.as_millisecond())
}

impl Held {
    fn look_for_strangers(&mut self, secrets: &Secrets) {
        let ids: Vec<KeyId> = self.table.iter().flat_map(Table::key_ids).collect();
        self.key_ids = ids.len();
        self.strangers = ids.into_iter().filter(|id| secrets.ids().all(|known| known != *id)).collect();
    }

    fn keep(&mut self, scope: &str, kind: Person, keys: ScopeKeys) {
        let scopes = &mut self.scopes[kind as usize];
        if scopes.len() >= MOST_SCOPES {
            scopes.clear();
        }
        scopes.insert(scope.into(), keys);
    }
}
