//! Group commit: one flush covers all lines that were written before it began.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use super::Error;

/// The least time from the beginning of a flush to that of the next. Under load a flush costs its core some 90 us,
/// which is much for a few lines and little for many.
const SPACING: Duration = Duration::from_micros(500);

/// A thread that commits groups on request. A `G` is a group, with the requests that wait for its flush.
///
/// A request that has joined a group calls [`ask`](Self::ask). [`take`](Self::take) returns the flushes that have
/// ended, with their groups. The descriptor is readable when there are some, so that an event loop can watch it.
pub struct Committer<G> {
    shared: Arc<Shared<G>>,
    readable: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A flush that has ended.
pub struct Flush<G> {
    /// The group that it covers.
    pub group: G,
    /// Its duration.
    pub took: Duration,
    /// Whether the group's lines survive a power cut.
    pub outcome: Result<(), Error>,
}

struct Shared<G> {
    state: Mutex<State<G>>,
    asked: Condvar,
}

struct State<G> {
    /// Whether a request waits for the next flush.
    asked: bool,
    /// When the last flush began.
    began: Option<Instant>,
    ended: Vec<Flush<G>>,
    stopping: bool,
}

impl<G: Send + 'static> Committer<G> {
    /// Starts the thread, which takes a group from `gather` and passes it to `flush`.
    pub fn start(
        mut gather: impl FnMut() -> G + Send + 'static,
        mut flush: impl FnMut(&G) -> Result<(), Error> + Send + 'static,
    ) -> io::Result<Self> {
        let (readable, mut writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let state = State { asked: false, began: None, ended: Vec::new(), stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), asked: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let work = move || {
            while theirs.begin() {
                let began = Instant::now();
                let group = gather();
                // Requests must not wait for ever.
                let outcome = catch_unwind(AssertUnwindSafe(|| flush(&group)))
                    .unwrap_or_else(|_| Err(Error::Io("the flush".to_owned(), io::Error::other("a panic"))));
                if theirs.end(Flush { group, took: began.elapsed(), outcome }) {
                    // It fails only if nobody reads any more.
                    let _ = writable.write(&[1]);
                }
            }
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(work)?;
        Ok(Self { shared, readable, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a flush that begins after this call. Returns at once.
    pub fn ask(&self) {
        if !mem::replace(&mut self.shared.lock().asked, true) {
            self.shared.asked.notify_one();
        }
    }

    /// The flushes that have ended since the last call, in their order.
    pub fn take(&self) -> Vec<Flush<G>> {
        // In this order: a flush that ends in between is taken now, and its byte leads to an empty take later.
        while (&self.readable).read(&mut [0; 64]).is_ok_and(|read| read == 64) {}
        mem::take(&mut self.shared.lock().ended)
    }

    /// The descriptor to watch. It is readable when there is something to [`take`](Self::take).
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

impl<G> Committer<G> {
    /// Flushes the rest, and ends the thread.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        (state.asked, state.stopping) = (true, true);
        drop(state);
        self.shared.asked.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl<G> Drop for Committer<G> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<G> Shared<G> {
    /// Waits until a flush is requested, and begins it; false if there will be no more.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        while !state.asked {
            if state.stopping {
                return false;
            }
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Requests that arrive meanwhile are also covered. After a pause in the traffic, there is no wait.
        while let Some(began) = state.began.filter(|began| !state.stopping && began.elapsed() < SPACING) {
            let early = SPACING.saturating_sub(began.elapsed());
            state = self.asked.wait_timeout(state, early).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.began = Some(Instant::now());
        state.asked = false;
        true
    }

    /// Whether this is the first flush to be taken. For further ones, the descriptor is readable already.
    fn end(&self, flush: Flush<G>) -> bool {
        let mut state = self.lock();
        state.ended.push(flush);
        state.ended.len() == 1
    }

    /// A panic cannot leave the state half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, State<G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
