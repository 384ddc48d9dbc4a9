//! Rate limits: a token bucket per key, which all workers of a gateway share.
//!
//! A bucket holds the tokens of one second, at least one, and begins full. It is one number: the time at which it is
//! full again (the generic cell rate algorithm, <https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm>). So it
//! fits into a file that all workers have mapped, and one compare-and-swap takes a token. In any time `t`, all workers
//! together admit at most `limit * t` requests, plus those of one second.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::memory::{Map, Memory};

/// The requests per second of a key, and the most at once.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The nanoseconds until the next token.
    interval: u64,
    /// The nanoseconds until an empty bucket is full.
    filling: u64,
}

impl Limit {
    /// So many requests per second, a positive number; at most a thousand million.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX);
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).clamp(1, Self::SLOWEST);
        Self { interval, filling: interval.max(1_000_000_000) }
    }

    /// One token in a hundred years.
    const SLOWEST: u64 = 3_155_760_000_000_000_000;

    /// Takes a token of a bucket at the time `now` (since the Unix epoch). False if there is no whole token; then
    /// nothing is taken. A clock that is set back gives no tokens.
    #[must_use]
    pub fn take(self, bucket: &AtomicU64, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        // A time later than an empty bucket's comes from a clock that was set back since.
        let empty = now.saturating_add(self.filling);
        let has_token = |full_at: u64| full_at <= empty - self.interval;
        let found = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            has_token(full_at).then(|| full_at.max(now) + self.interval).or((full_at > empty).then_some(empty))
        });
        found.is_ok_and(has_token)
    }
}

/// The buckets of keys: a hash table that only grows, in words that all workers share.
///
/// A slot has two words: the digest of a key, which is 0 in an empty slot, and the bucket. A digest is at its place or
/// in the next free slot, so all workers find the same one.
#[derive(Clone)]
pub struct Buckets(Arc<dyn Memory>);

impl Default for Buckets {
    fn default() -> Self {
        Self::in_memory(0)
    }
}

impl Buckets {
    /// Buckets for so many keys, in this process alone.
    #[must_use]
    pub fn in_memory(keys: usize) -> Self {
        let words: Vec<AtomicU64> = (0..4 * keys.max(1)).map(|_| AtomicU64::default()).collect();
        Self(Arc::new(words))
    }

    /// Buckets for so many keys, in a file that all workers of a gateway share. The first worker makes it.
    pub fn in_file(path: &Path, keys: usize, map: Map) -> io::Result<Self> {
        let words = 4 * keys.max(1);
        let unnamed = path.with_extension(process::id().to_string());
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        if !path.try_exists()? {
            let mut file = options.clone().create_new(true).open(&unnamed)?;
            // Zeros and not a hole, so that a full disk fails here and not when a token is taken.
            let made = file.write_all(&vec![0; words * 8]).and_then(|()| fs::hard_link(&unnamed, path));
            fs::remove_file(&unnamed)?;
            made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
        }
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
        let memory = map(&file)?;
        if memory.len() < words { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Self(memory.into())) }
    }

    /// The place of a key's bucket, for [`bucket`](Self::bucket). None if there is no room for another key.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<usize> {
        // It gives the same hash in all workers, which run the same program. Only the operator chooses keys, so it
        // needs no random seed.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let digest = hasher.finish().max(1);
        let slots = self.0.len() / 2;
        let first = usize::try_from(digest % (slots.max(1) as u64)).unwrap_or_default();
        (first..slots).chain(0..first).map(|slot| 2 * slot).find_map(|at| {
            let found = self.0[at].compare_exchange(0, digest, Ordering::Relaxed, Ordering::Relaxed);
            found.map_or_else(|there| there == digest, |_| true).then_some(at + 1)
        })
    }

    /// The bucket at a place.
    #[must_use]
    pub fn bucket(&self, place: usize) -> &AtomicU64 {
        &self.0[place]
    }
}
