//! Write keys: which `wk` is accepted, from which pages, and how often. `file` reads the key file, `domain` checks
//! pages, `rate` limits, and `terms` reads consent members.
//!
//! Judging is on the hot path of every request; reading a file is not. No error and no log shows a whole key.

pub mod domain;
mod file;
pub mod rate;
mod terms;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use url::Host;

use crate::consent::Terms;
use crate::protect::Guard;
use crate::reason::Reason;
use rate::{Buckets, Limit};

pub use file::{KeysError, mask};

/// A key with its rules.
struct Entry {
    key: Box<str>,
    pipeline: Arc<str>,
    enabled: bool,
    domains: Box<[Host]>,
    /// None without secrets.
    guard: Option<Box<Guard>>,
    /// The terms; None if the entry states none.
    terms: Option<Arc<Terms>>,
    require_origin: bool,
    limit: Limit,
    /// The place of its bucket in `buckets`.
    place: usize,
}

/// The keys of a file.
#[derive(Default)]
pub struct Keys {
    /// The entries in the file's order.
    entries: Vec<Entry>,
    /// Positions in `entries`, by key.
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    buckets: Buckets,
    /// The topics of pipelines with their own topic, by the pipeline's id.
    topics: BTreeMap<String, String>,
    /// The terms of each pipeline, by its id.
    terms: BTreeMap<Arc<str>, Option<Arc<Terms>>>,
}

impl Keys {
    fn push(&mut self, entry: Entry) {
        let Self { entries, index, hasher, terms, .. } = self;
        terms.entry(Arc::clone(&entry.pipeline)).or_insert_with(|| entry.terms.clone());
        let hash = hasher.hash_one(&*entry.key);
        index.insert_unique(hash, entries.len(), |&i| hasher.hash_one(&*entries[i].key));
        entries.push(entry);
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.index.find(self.hasher.hash_one(key), |&i| *self.entries[i].key == *key).copied()
    }

    /// The topics of pipelines with their own topic, by the pipeline's id.
    #[must_use]
    pub fn topics(&self) -> &BTreeMap<String, String> {
        &self.topics
    }

    /// The terms of each pipeline, by its id; None if it states none.
    #[must_use]
    pub fn terms(&self) -> &BTreeMap<Arc<str>, Option<Arc<Terms>>> {
        &self.terms
    }

    /// The terms of a key's pipeline, if the key exists and its pipeline states any.
    #[cold]
    pub(crate) fn terms_of(&self, wk: &str) -> Option<&Terms> {
        self.position(wk).and_then(|position| self.entries[position].terms.as_deref())
    }

    /// Whether any pipeline may keep less than the event.
    #[cold]
    pub(crate) fn reduces(&self) -> bool {
        self.terms.values().flatten().any(|terms| terms.reduces())
    }

    /// The number of keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The id of a key's pipeline; empty for an unknown key.
    #[cold]
    pub(crate) fn pipeline(&self, wk: &str) -> &str {
        self.position(wk).map_or("", |position| &*self.entries[position].pipeline)
    }

    /// Admits a request with the key `wk`, or returns the reason of rejection. `origin` and `referer` are the values of
    /// these headers.
    pub fn admit(&self, wk: &str, origin: Option<&str>, referer: Option<&str>) -> Result<Admitted<'_>, Reason> {
        let position = self.position(wk).ok_or(Reason::UnknownKey)?;
        let entry = &self.entries[position];
        if !entry.enabled {
            return Err(Reason::DisabledKey);
        }
        if !domain::allows(&entry.domains, entry.require_origin, origin, referer) {
            return Err(Reason::DomainNotAllowed);
        }
        Ok(Admitted { entry, buckets: &self.buckets })
    }

    /// From now on, takes tokens from these buckets. False if they have no room for all keys; then nothing changes.
    #[must_use]
    pub fn use_buckets(&mut self, buckets: Buckets) -> bool {
        let places: Option<Vec<usize>> = self.entries.iter().map(|entry| buckets.place(&entry.key)).collect();
        let Some(places) = places else { return false };
        for (entry, place) in self.entries.iter_mut().zip(places) {
            entry.place = place;
        }
        self.buckets = buckets;
        true
    }
}

/// An admitted request: its page may use its key.
#[derive(Clone, Copy)]
pub struct Admitted<'k> {
    entry: &'k Entry,
    buckets: &'k Buckets,
}

impl<'k> Admitted<'k> {
    /// The id of the key's pipeline.
    #[must_use]
    pub fn pipeline(self) -> &'k str {
        &self.entry.pipeline
    }

    /// The pipeline's terms, if it states any.
    #[must_use]
    pub fn terms(self) -> Option<&'k Terms> {
        self.entry.terms.as_deref()
    }

    /// The pipeline's guard, if it has secrets.
    #[must_use]
    pub fn guard(self) -> Option<&'k Guard> {
        self.entry.guard.as_deref()
    }

    /// Takes a token. This is the last check, so that only accepted requests cost a token. `now` is the time since the
    /// Unix epoch.
    pub fn take(self, now: Duration) -> Result<&'k str, Reason> {
        let Entry { limit, place, pipeline, .. } = self.entry;
        if limit.take(self.buckets.bucket(*place), now) { Ok(pipeline) } else { Err(Reason::RateLimited) }
    }
}
