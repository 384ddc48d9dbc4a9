//! Pipeline keys: which `wk` is accepted, from which pages, and how often. `file` has the format that they are read from.
//!
//! The judgement is on the way of every request; reading a file is not.

pub mod domain;
mod file;
pub mod rate;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use url::Host;

use crate::reason::Reason;
use rate::Bucket;

pub use file::{KeysError, mask};

/// A key and what it is judged by.
struct Entry {
    key: Box<str>,
    pipeline: Box<str>,
    enabled: bool,
    domains: Box<[Host]>,
    /// Shared with the keys of the file that was read before: see [`Keys::adopt`].
    bucket: Arc<Mutex<Bucket>>,
}

impl Entry {
    /// A number is whole after each change, so a panic elsewhere is no reason to refuse for ever.
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a file.
#[derive(Default)]
pub struct Keys {
    /// In the file's order.
    entries: Vec<Entry>,
    /// Positions in `entries`, by key.
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Requests for each of `entries` since the last look. Apart from them, so that a look at many is fast.
    demand: Vec<AtomicU64>,
}

impl Keys {
    fn push(&mut self, entry: Entry) {
        let Self { entries, index, hasher, demand } = self;
        let hash = hasher.hash_one(&*entry.key);
        index.insert_unique(hash, entries.len(), |&i| hasher.hash_one(&*entries[i].key));
        entries.push(entry);
        demand.push(AtomicU64::default());
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.index.find(self.hasher.hash_one(key), |&i| *self.entries[i].key == *key).copied()
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Judges a request with the key `wk`: the id of its pipeline, or why it is refused. Only an accepted one costs a
    /// token.
    ///
    /// `origin` and `referer` are the values of these headers. `now` is the time since some moment that is the same
    /// in all calls for these keys, and for those that they were adopted from.
    pub fn judge(&self, wk: &str, origin: Option<&str>, referer: Option<&str>, now: Duration) -> Result<&str, Reason> {
        let position = self.admit(wk, origin, referer)?;
        let entry = &self.entries[position];
        self.demand[position].fetch_add(1, Ordering::Relaxed);
        if entry.bucket().take(now) { Ok(&entry.pipeline) } else { Err(Reason::RateLimited) }
    }

    /// The same without the limit, which is none of a request that is judged again: its time is over.
    pub fn judge_again(&self, wk: &str, origin: Option<&str>, referer: Option<&str>) -> Result<&str, Reason> {
        self.admit(wk, origin, referer).map(|position| &*self.entries[position].pipeline)
    }

    fn admit(&self, wk: &str, origin: Option<&str>, referer: Option<&str>) -> Result<usize, Reason> {
        let position = self.position(wk).ok_or(Reason::UnknownKey)?;
        let entry = &self.entries[position];
        if !entry.enabled {
            return Err(Reason::DisabledKey);
        }
        if !domain::allows(&entry.domains, origin, referer) {
            return Err(Reason::DomainNotAllowed);
        }
        Ok(position)
    }

    /// Goes on with the buckets of the keys that `old` has, too: their tokens, their shares, and the demand. To be
    /// called once, before these keys take the place of the old ones, which may be in use meanwhile.
    pub fn adopt(&mut self, old: &Self, now: Duration) {
        for (entry, demand) in self.entries.iter_mut().zip(&self.demand) {
            let Some(position) = old.position(&entry.key) else { continue };
            let limit = entry.bucket().limit();
            entry.bucket = Arc::clone(&old.entries[position].bucket);
            entry.bucket().set_limit(limit, now);
            demand.store(old.demand[position].swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The keys that were asked for since the last look, and how often, those refused by rate included.
    pub fn demand(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().zip(&self.demand).filter_map(|(entry, demand)| {
            // A look at what nobody asked for must not write to its cache line.
            let asked = demand.load(Ordering::Relaxed) != 0;
            asked.then(|| (&*entry.key, demand.swap(0, Ordering::Relaxed)))
        })
    }

    /// The limit of a key in requests a second, for all workers of the gateway.
    #[must_use]
    pub fn limit(&self, key: &str) -> Option<f64> {
        self.position(key).map(|position| self.entries[position].bucket().limit())
    }

    /// This worker's part of a key's limit, from 0 to 1, which is 1 at first; see [`crate::keys::rate::share`]. Unknown
    /// keys have none.
    pub fn set_share(&self, key: &str, share: f64, now: Duration) {
        if let Some(position) = self.position(key) {
            self.entries[position].bucket().set_share(share, now);
        }
    }

    /// The same for all keys: for a worker that begins, and where workers come and go.
    pub fn set_shares(&self, share: f64, now: Duration) {
        for entry in &self.entries {
            entry.bucket().set_share(share, now);
        }
    }
}
