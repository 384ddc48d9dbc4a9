//! Takes one request all the way: from its parts to a line in a journal, and to a counter.
//!
//! A request is judged under a read lock of the rules, so a new key file applies to whole requests. With group commit,
//! a request joins a group, and the group's commit writes, flushes and counts it. This module knows no headers by name
//! and no files: [`event`] and [`Journal`] do.

mod group;
mod line;

pub use group::Group;
use group::Waiting;
pub use line::with_line;

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::address::{IpPolicy, TrustedProxies};
use crate::consent::ceilings::Ceilings;
use crate::consent::{self, Journals, Kept, Mode};
use crate::counters::{self, Counters, Outcome};
use crate::event::{self, Judged, Refusal};
use crate::fairness::Fairness;
use crate::journal::{Error, Journal, end_line};
use crate::keys::Keys;
use crate::notice::{self, Notices};
use crate::options::Options;
use crate::reason::Reason;
use crate::replay::Record;
use crate::request::Request;
use crate::time::UnixMillis;

/// Writes events to one journal and rejections to another, and counts both. With group commit, a `W` represents the
/// caller that waits.
pub struct Collector<W> {
    events: Arc<Journal>,
    rejections: Arc<Journal>,
    /// The journals of reduced records.
    reduced: Journals,
    options: Options,
    proxies: TrustedProxies,
    ip: IpPolicy,
    rules: RwLock<Rules>,
    /// The start of the clock of `fairness`.
    started: Instant,
    counters: Arc<Counters>,
    /// With group commit, the group of the next commit.
    group: Option<Mutex<Group<W>>>,
    fairness: Fairness,
    /// Hashes the key and reason of a rejection, with a random seed, so that nobody can construct collisions.
    groups: RandomState,
}

/// The rules for requests.
#[derive(Default)]
struct Rules {
    /// None while every well-formed key is accepted.
    keys: Option<Keys>,
    /// None if no persons are looked up.
    ceilings: Option<Arc<Ceilings>>,
}

impl<W> Collector<W> {
    /// Collects into these journals. With `group_commit`, a request joins a [group](Self::take_group), and that group's
    /// [`commit`](Self::commit) writes, flushes and counts its line.
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
        let (rules, started, reduced) = (RwLock::default(), Instant::now(), Journals::default());
        let group = group_commit.then(Mutex::default);
        let (fairness, groups) = (Fairness::default(), RandomState::new());
        Self { events, rejections, reduced, options, proxies, ip, rules, started, counters, group, fairness, groups }
    }

    /// The same collector with journals for reduced records. Without them, reduced records are not kept.
    #[must_use]
    pub fn with_reduced(mut self, reduced: Journals) -> Self {
        self.reduced = reduced;
        self
    }

    /// Journals one request. If the line cannot be written, the request is counted as lost. With group commit, `who`
    /// waits for the flush.
    pub fn collect(&self, kind: &str, query: &[u8], request: &Request<'_>, who: W) -> Result<Option<Reason>, Error> {
        with_line(|line| {
            let mut pipeline = "";
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            let judged = self.write(line, kind, query, request, &rules, &mut pipeline);
            let mut is_kept = true;
            if let Err(refusal) = judged {
                let reason = refusal.reason;
                if matches!(
                    reason,
                    Reason::MissingKey | Reason::MalformedKey | Reason::UnknownKey | Reason::MissingEvent
                ) {
                    let quoted_printable = notice::quoted_printable(query);
                    self.counters.notice(Notices { quoted_printable, ..Notices::default() });
                }
                let Rules { keys, ceilings } = &*rules;
                let kept = consent::kept(refusal, query, request, &self.options, keys.as_ref(), ceilings.as_deref());
                if kept == Kept::Nothing {
                    is_kept = false;
                } else {
                    let (query, request) = match kept {
                        Kept::WithoutUrls => (&b""[..], &Request { referer: None, ..*request }),
                        _ => (query, request),
                    };
                    event::write_rejection(line, reason, kind, query, request, &self.options);
                    let group = self.groups.hash_one((reason.as_str(), pipeline));
                    is_kept = self.fairness.admits(&self.rejections, group, line.len() as u64 + 1, self.clock());
                }
            }
            drop(rules);
            if !is_kept {
                line.clear();
            }
            let judged = judged.map_err(|refusal| refusal.reason);
            let kept = match judged {
                Ok(notices) if notices.mode != Mode::Individual => self.keep_reduced(line, kind, notices, request, who),
                _ => self.keep(line, kind, judged, who),
            };
            if kept.is_err() {
                self.counters.count(kind, Outcome::Lost);
            }
            kept.map(|()| judged.err())
        })
    }

    /// Keeps a reduced record.
    #[cold]
    fn keep_reduced(
        &self,
        line: &mut Vec<u8>,
        kind: &str,
        notices: Notices,
        request: &Request<'_>,
        who: W,
    ) -> Result<(), Error> {
        if !line.is_empty() {
            end_line(line)?;
            self.reduced.append(notices.mode, line, consent::window(request.received_at, &self.options))?;
        }
        let outcome = Outcome::Accepted(notices, 0);
        if let Some(group) = &self.group {
            let waiting = Waiting { who, kind: counters::type_of(kind), outcome };
            group.lock().unwrap_or_else(PoisonError::into_inner).waiting.push(waiting);
        } else {
            self.counters.count(kind, outcome);
        }
        Ok(())
    }

    /// Releases the journal of a past window, so that its loads can be counted.
    pub fn turn(&self, now: UnixMillis) -> Result<(), Error> {
        self.reduced.turn(consent::window(now, &self.options))
    }

    fn keep(&self, line: &mut Vec<u8>, kind: &str, judged: Result<Notices, Reason>, who: W) -> Result<(), Error> {
        if !line.is_empty() {
            end_line(line)?;
        }
        let bytes = line.len() as u64;
        let outcome = match judged {
            Ok(notices) => Outcome::Accepted(notices, bytes),
            Err(reason) => Outcome::Rejected(reason, bytes),
        };
        if let Some(group) = &self.group {
            // The line and its waiter join the group together. Otherwise the line could belong to a group that fails,
            // and the waiter to the next one.
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

    /// Takes the current group. Later requests join the next group.
    pub fn take_group(&self) -> Group<W> {
        let take = |group: &Mutex<Group<W>>| mem::take(&mut *group.lock().unwrap_or_else(PoisonError::into_inner));
        self.group.as_ref().map(take).unwrap_or_default()
    }

    /// Writes the lines of a group, and flushes all journals. Counts the group's requests, as lost if their journal
    /// failed.
    pub fn commit(&self, group: &Group<W>) -> Result<(), Error> {
        let flush = |journal: &Journal, lines: &[u8]| {
            let (written, flushed) = (journal.append_lines(lines), journal.sync());
            written.and(flushed).map(drop)
        };
        let (events, rejections) = (flush(&self.events, &group.events), flush(&self.rejections, &group.rejections));
        let reduced = self.reduced.sync();
        for &Waiting { kind, outcome, .. } in &group.waiting {
            let journal = match outcome {
                Outcome::Accepted(notices, _) if notices.mode != Mode::Individual => &reduced,
                Outcome::Accepted(..) => &events,
                _ => &rejections,
            };
            self.counters.count(kind, if journal.is_ok() { outcome } else { Outcome::Lost });
        }
        events.and(rejections).and(reduced)
    }

    /// Counts a request as lost after [`collect`](Self::collect) panicked, because the state of its line is unknown.
    pub fn count_lost(&self, kind: &str) {
        self.counters.count(kind, Outcome::Lost);
    }

    /// Writes the event. Sets `pipeline` to the id of the pipeline of the request's key.
    fn write<'k>(
        &self,
        line: &mut Vec<u8>,
        kind: &str,
        query: &[u8],
        request: &Request<'_>,
        Rules { keys, ceilings }: &'k Rules,
        pipeline: &mut &'k str,
    ) -> Result<Notices, Refusal> {
        event::write(line, kind, query, request, &self.options, |claim| match keys {
            None => claim.settle(None).map(|()| Judged::default()),
            Some(keys) => {
                let (origin, referer) = request.pages();
                let wk = ascii(claim.key());
                let judged = keys.admit(wk, origin, referer).and_then(|admitted| {
                    // The claim is settled before a token is taken. Otherwise anybody who knows the key could use up
                    // the limit without the secret.
                    claim.settle(admitted.guard())?;
                    let pipeline = admitted.take(since_the_epoch())?;
                    Ok(Judged { pipeline, terms: admitted.terms(), ceilings: ceilings.as_deref() })
                });
                *pipeline = judged.map_or_else(|_| keys.pipeline(wk), |judged| judged.pipeline);
                judged
            }
        })
    }

    /// The number of rejections' records that were not kept, because they exceed the share of their group.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.fairness.refused()
    }

    /// Appends the event of a rejected request if it is judged now, or nothing if its mode allows no event. Nothing is
    /// journaled or counted, and no rate limit applies.
    pub fn judge_again(&self, line: &mut Vec<u8>, record: &Record<'_>) -> Result<Notices, Reason> {
        let Rules { keys, ceilings } = &*self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let judged = record.judge(|kind, query, request| {
            let ip = request.ip.map(|ip| ip.parse().map_or(Some(Cow::Borrowed(ip)), |ip| self.kept(ip)));
            let request = Request { ip: ip.as_ref().and_then(|ip| ip.as_deref()), ..*request };
            event::write(line, kind, query, &request, &self.options, |claim| match keys {
                None => claim.settle(None).map(|()| Judged::default()),
                Some(keys) => {
                    let (origin, referer) = request.pages();
                    let admitted = keys.admit(ascii(claim.key()), origin, referer)?;
                    claim.settle(admitted.guard())?;
                    let ceilings = ceilings.as_deref();
                    Ok(Judged { pipeline: admitted.pipeline(), terms: admitted.terms(), ceilings })
                }
            })
            .map_err(|refusal| refusal.reason)
        });
        if judged.is_ok_and(|notices| notices.mode != Mode::Individual) {
            line.clear();
        }
        judged
    }

    /// The client's address in the form that events have.
    ///
    /// `peer` is `address:port`, or anything else for a Unix domain socket. The others are the values of
    /// X-Forwarded-For and Forwarded, line by line, None for an unreadable line.
    #[must_use]
    pub fn client_ip<'p>(
        &self,
        peer: &'p str,
        listed: &[Option<&str>],
        forwarded: &[Option<&str>],
    ) -> Option<Cow<'p, str>> {
        if self.ip == IpPolicy::Full && listed.is_empty() && forwarded.is_empty() {
            // Usually it is IPv4, and needs no rewriting.
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

    /// From now on, accepts only these keys.
    pub fn set_keys(&self, keys: Keys) {
        // The old keys are freed after the lock is released, so that no request waits for it.
        let _old = self.rules.write().unwrap_or_else(PoisonError::into_inner).keys.replace(keys);
    }

    /// From now on, looks persons up in this list.
    pub fn set_ceilings(&self, ceilings: Option<Arc<Ceilings>>) {
        self.rules.write().unwrap_or_else(PoisonError::into_inner).ceilings = ceilings;
    }

    fn clock(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The time of the rate limits, which all workers share.
fn since_the_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A key from [`event::write`] as a text, for the look-up.
fn ascii(wk: &[u8]) -> &str {
    str::from_utf8(wk).unwrap_or_default()
}
