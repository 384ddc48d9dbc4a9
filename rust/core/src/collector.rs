//! The way of one request: from its parts to a line in a journal.

use std::borrow::Cow;
use std::cell::RefCell;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::address::{IpPolicy, TrustedProxies};
use crate::counters::{self, Counters, Outcome};
use crate::event::{self, Repairs};
use crate::journal::{Error, Journal, end_line};
use crate::keys::Keys;
use crate::options::Options;
use crate::reason::Reason;
use crate::replay::Record;
use crate::request::Request;

/// Writes events to one journal, rejections to another, and counts both. With group commit it is told who waits, a `W`.
pub struct Collector<W> {
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
    /// With group commit, those who wait for the next one.
    group: Option<Mutex<Group<W>>>,
}

/// Requests whose lines are to be written and flushed together.
pub struct Group<W> {
    events: Vec<u8>,
    rejections: Vec<u8>,
    waiting: Vec<Waiting<W>>,
}

struct Waiting<W> {
    who: W,
    kind: &'static str,
    /// What becomes of the request, unless its journal fails.
    outcome: Outcome,
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self { events: Vec::new(), rejections: Vec::new(), waiting: Vec::new() }
    }
}

impl<W> Group<W> {
    /// Those who wait, in the order in which they came, and why their requests were rejected, if they were.
    pub fn into_waiting(self) -> impl Iterator<Item = (W, Option<Reason>)> {
        self.waiting.into_iter().map(|Waiting { who, outcome, .. }| match outcome {
            Outcome::Rejected(reason, _) => (who, Some(reason)),
            _ => (who, None),
        })
    }
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

impl<W> Collector<W> {
    /// Collects into these journals. With `group_commit` a request joins a [group](Self::take_group), and its line is
    /// written, flushed and counted by that group's [`commit`](Self::commit).
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
        let group = group_commit.then(Mutex::default);
        Self { events, rejections, options, proxies, ip, keys, started, counters, group }
    }

    /// Journals one request. When the line could not be written, the request is counted as lost. `who` waits, if there is
    /// something to wait for.
    pub fn collect(&self, kind: &str, query: &[u8], request: &Request<'_>, who: W) -> Result<Option<Reason>, Error> {
        with_line(|line| {
            let judged = self.write(line, kind, query, request);
            if let Err(reason) = judged {
                event::write_rejection(line, reason, kind, query, request, &self.options);
            }
            let kept = self.keep(line, kind, judged, who);
            if kept.is_err() {
                self.counters.count(kind, Outcome::Lost);
            }
            kept.map(|()| judged.err())
        })
    }

    fn keep(&self, line: &mut Vec<u8>, kind: &str, judged: Result<Repairs, Reason>, who: W) -> Result<(), Error> {
        end_line(line)?;
        let bytes = line.len() as u64;
        let outcome = match judged {
            Ok(repairs) => Outcome::Accepted(repairs, bytes),
            Err(reason) => Outcome::Rejected(reason, bytes),
        };
        if let Some(group) = &self.group {
            // The line and who waits for it at once, or one could go with a group that fails, and the other with the next.
            let group = &mut *group.lock().unwrap_or_else(PoisonError::into_inner);
            let lines = if judged.is_ok() { &mut group.events } else { &mut group.rejections };
            lines.extend_from_slice(line);
            group.waiting.push(Waiting { who, kind: counters::type_of(kind), outcome });
        } else {
            let journal = if judged.is_ok() { &self.events } else { &self.rejections };
            journal.append_lines(line)?;
            self.counters.count(kind, outcome);
        }
        Ok(())
    }

    /// Those who wait. Whoever comes later is of the next group.
    pub fn take_group(&self) -> Group<W> {
        let take = |group: &Mutex<Group<W>>| mem::take(&mut *group.lock().unwrap_or_else(PoisonError::into_inner));
        self.group.as_ref().map(take).unwrap_or_default()
    }

    /// Writes the lines of a group and flushes both journals. Counts the group's requests: as lost where their journal failed.
    pub fn commit(&self, group: &Group<W>) -> Result<(), Error> {
        let flush = |journal: &Journal, lines: &[u8]| {
            let (written, flushed) = (journal.append_lines(lines), journal.sync());
            written.and(flushed).map(drop)
        };
        let (events, rejections) = (flush(&self.events, &group.events), flush(&self.rejections, &group.rejections));
        for &Waiting { kind, outcome, .. } in &group.waiting {
            let journal = if matches!(outcome, Outcome::Accepted(..)) { &events } else { &rejections };
            self.counters.count(kind, if journal.is_ok() { outcome } else { Outcome::Lost });
        }
        events.and(rejections)
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
