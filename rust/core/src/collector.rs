//! The way of one request: from its parts to a line in a journal.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{self, Options, Reason, Request};
use crate::journal::{Error, Journal};

/// Writes events to one journal, rejections to another, and counts both.
pub struct Collector {
    events: Arc<Journal>,
    rejections: Arc<Journal>,
    options: Options,
    accepted: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    lost: AtomicU64,
}

thread_local! {
    /// One line at a time is in the making, so its buffer serves again and again.
    static LINE: RefCell<Vec<u8>> = RefCell::default();
}

/// A buffer that one huge request left behind is not kept.
const KEPT_BYTES: usize = 64 * 1024;

impl Collector {
    /// Collects into these journals.
    #[must_use]
    pub fn new(events: Arc<Journal>, rejections: Arc<Journal>, options: Options) -> Self {
        Self {
            events,
            rejections,
            options,
            accepted: AtomicU64::default(),
            rejected: Default::default(),
            lost: AtomicU64::default(),
        }
    }

    /// Journals one request. When the line could not be written, the request is counted as lost.
    pub fn collect(&self, kind: &str, query: &[u8], request: &Request<'_>) -> Result<Option<Reason>, Error> {
        LINE.with_borrow_mut(|line| {
            line.clear();
            let written = match event::write(line, kind, query, request, &self.options) {
                Ok(()) => self.events.append(line).map(|_| None),
                Err(reason) => {
                    event::write_rejection(line, reason, kind, query, request);
                    self.rejections.append(line).map(|_| Some(reason))
                }
            };
            line.shrink_to(KEPT_BYTES);
            let counter = match written {
                Ok(None) => &self.accepted,
                Ok(Some(reason)) => &self.rejected[reason as usize],
                Err(_) => &self.lost,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            written
        })
    }

    /// Requests so far by outcome: `accepted`, `lost`, and each reason that occurred.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts =
            vec![("accepted", self.accepted.load(Ordering::Relaxed)), ("lost", self.lost.load(Ordering::Relaxed))];
        for (reason, count) in Reason::ALL.iter().zip(&self.rejected) {
            match count.load(Ordering::Relaxed) {
                0 => {}
                count => counts.push((reason.as_str(), count)),
            }
        }
        counts
    }
}

/// The address of a socket's peer, `address:port`; None for a Unix domain socket. IPv4 in IPv6 reads as IPv4.
#[must_use]
pub fn peer_ip(peer: &str) -> Option<String> {
    peer.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical().to_string())
}
