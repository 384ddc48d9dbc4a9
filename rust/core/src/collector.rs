//! The way of one request: from its parts to a line in a journal.

use std::borrow::Cow;
use std::cell::RefCell;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::address::{IpPolicy, TrustedProxies};
use crate::counters::{self, Counters, Outcome};
use crate::event::{self, Repairs, Request};
use crate::journal::{Error, Journal};
use crate::keys::Keys;
use crate::options::Options;
use crate::reason::Reason;
use crate::replay::Record;

/// Writes events to one journal, rejections to another, and counts both.
pub struct Collector {
    events: Arc<Journal>,
    rejections: Arc<Journal>,
    options: Options,
    proxies: TrustedProxies,
    ip: IpPolicy,
    /// None as long as every well-formed key is accepted.
    keys: RwLock<Option<Keys>>,
    /// The clock of the rate limits begins here.
    started: Instant,
    counters: Arc<Counters>,
    /// With group commit, what will become of requests whose lines are written, unless their flush fails.
    uncommitted: Option<Mutex<Vec<(&'static str, Outcome)>>>,
}

thread_local! {
    /// One line at a time is in the making, so its buffer serves again and again.
    static LINE: RefCell<Vec<u8>> = RefCell::default();
}

/// A buffer that one huge request left behind is not kept.
const KEPT_BYTES: usize = 64 * 1024;

/// Lends this thread's buffer for a line, empty.
pub fn with_line<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    LINE.with_borrow_mut(|line| {
        line.clear();
        let done = work(line);
        line.shrink_to(KEPT_BYTES);
        done
    })
}

impl Collector {
    /// Collects into these journals. With `group_commit` a request is counted by the [`commit`](Self::commit) that
    /// flushes its line.
    #[must_use]
    pub fn new(
        events: Arc<Journal>,
        rejections: Arc<Journal>,
        options: Options,
        proxies: TrustedProxies,
        ip: IpPolicy,
        counters: Arc<Counters>,
        group_commit: bool,
    ) -> Self {
        let (keys, started) = (RwLock::default(), Instant::now());
        let uncommitted = group_commit.then(Mutex::default);
        Self { events, rejections, options, proxies, ip, keys, started, counters, uncommitted }
    }

    /// Journals one request. When the line could not be written, the request is counted as lost.
    pub fn collect(&self, kind: &str, query: &[u8], request: &Request<'_>) -> Result<Option<Reason>, Error> {
        with_line(|line| {
            let written = match self.write(line, kind, query, request) {
                Ok(repairs) => self.events.append_line(line).map(|_| Outcome::Accepted(repairs, line.len() as u64)),
                Err(reason) => {
                    event::write_rejection(line, reason, kind, query, request, &self.options);
                    self.rejections.append_line(line).map(|_| Outcome::Rejected(reason, line.len() as u64))
                }
            };
            match (&written, &self.uncommitted) {
                (Ok(outcome), Some(uncommitted)) => {
                    uncommitted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((counters::type_of(kind), *outcome));
                }
                _ => self.counters.count(kind, *written.as_ref().unwrap_or(&Outcome::Lost)),
            }
            written.map(|outcome| match outcome {
                Outcome::Rejected(reason, _) => Some(reason),
                _ => None,
            })
        })
    }

    /// Flushes both journals, and counts the requests that waited for it: as lost where one of them failed.
    pub fn commit(&self) -> Result<(), Error> {
        let uncommitted = self.uncommitted.as_ref();
        // In this order: who is counted here has written before the flush began.
        let waiting = uncommitted.map(|list| mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner)));
        let (events, rejections) = (self.events.sync(), self.rejections.sync());
        let flushed = events.and(rejections).map(drop);
        for (kind, outcome) in waiting.into_iter().flatten() {
            self.counters.count(kind, if flushed.is_ok() { outcome } else { Outcome::Lost });
        }
        flushed
    }

    /// Counts a request of whose line nothing is known, since [`collect`](Self::collect) panicked.
    pub fn count_lost(&self, kind: &str) {
        self.counters.count(kind, Outcome::Lost);
    }

    fn write(&self, line: &mut Vec<u8>, kind: &str, query: &[u8], request: &Request<'_>) -> Result<Repairs, Reason> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        event::write(line, kind, query, request, &self.options, |wk| match &*keys {
            None => Ok(""),
            Some(keys) => keys.judge(ascii(wk), request.origin, request.referer, self.clock()),
        })
    }

    /// Appends the event that a rejected request becomes now; nothing is journaled or counted, and no rate limit
    /// applies.
    pub fn judge_again(&self, line: &mut Vec<u8>, record: &Record<'_>) -> Result<Repairs, Reason> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        record.judge(|kind, query, request| {
            let ip = request.ip.map(|ip| ip.parse().map_or(Some(Cow::Borrowed(ip)), |ip| self.kept(ip)));
            let request = Request { ip: ip.as_ref().and_then(|ip| ip.as_deref()), ..*request };
            event::write(line, kind, query, &request, &self.options, |wk| match &*keys {
                None => Ok(""),
                Some(keys) => keys.judge_again(ascii(wk), request.origin, request.referer),
            })
        })
    }

    /// The client's address as the events have it.
    ///
    /// `peer` is `address:port`, or anything else for a Unix domain socket; the others are the values of
    /// X-Forwarded-For and Forwarded, line by line.
    #[must_use]
    pub fn client_ip<'p>(&self, peer: &'p str, listed: &[&str], forwarded: &[&str]) -> Option<Cow<'p, str>> {
        if self.ip == IpPolicy::Full && listed.is_empty() && forwarded.is_empty() {
            // Mostly it is IPv4 and right as it stands.
            if let Some((address, _)) = peer.split_once(':')
                && address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            {
                return Some(Cow::Borrowed(address));
            }
        }
        let peer: Option<IpAddr> = peer.parse().ok().map(|address: SocketAddr| address.ip());
        let client = self.proxies.client_ip(peer, listed.iter().copied(), forwarded.iter().copied())?;
        self.kept(client)
    }

    fn kept(&self, address: IpAddr) -> Option<Cow<'static, str>> {
        self.ip.apply(address).map(|address| Cow::Owned(address.to_string()))
    }

    /// Accepts these keys from now on, and no others. What was used of the limits of keys that stay is still used.
    pub fn set_keys(&self, mut new: Keys) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = &*keys {
            new.adopt(old, self.clock());
        }
        *keys = Some(new);
    }

    /// Reads or adjusts the keys, if there are any.
    pub fn with_keys<T>(&self, work: impl FnOnce(&Keys, Duration) -> T) -> Option<T> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref().map(|keys| work(keys, self.clock()))
    }

    fn clock(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A key that [`event::write`] hands over. Only where there are keys to look it up in it has to be a text.
fn ascii(wk: &[u8]) -> &str {
    str::from_utf8(wk).unwrap_or_default()
}
