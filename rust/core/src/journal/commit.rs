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

/// From the beginning of a flush to that of the next at least. Under load a flush costs its core some 90 us, which is much
/// for a few lines and little for many.
const SPACING: Duration = Duration::from_micros(500);

/// A thread that flushes as long as somebody waits for a flush.
///
/// Flushes are numbered from 1. Who has written a line takes a [`ticket`](Self::ticket), the number of the flush that
/// covers it; what became of a flush is [`take`](Self::take)n when the descriptor can be read, so that an event loop can
/// watch it.
pub struct Committer {
    shared: Arc<Shared>,
    readable: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A flush that has ended.
pub struct Flush {
    /// The ticket of those who wait for it.
    pub number: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether what it covers survives a power cut.
    pub outcome: Result<(), Error>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    /// The flush that began last.
    begun: u64,
    began: Option<Instant>,
    /// The last one that somebody waits for: `begun`, or the next.
    wanted: u64,
    ended: Vec<Flush>,
    stopping: bool,
}

impl Committer {
    /// Starts the thread, which calls `flush`.
    pub fn start(mut flush: impl FnMut() -> Result<(), Error> + Send + 'static) -> io::Result<Self> {
        let (readable, mut writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let work = move || {
            while let Some(number) = theirs.begin() {
                let began = Instant::now();
                // Whoever waits must not do so for ever.
                let outcome = catch_unwind(AssertUnwindSafe(&mut flush))
                    .unwrap_or_else(|_| Err(Error::Io("the flush".to_owned(), io::Error::other("a panic"))));
                if theirs.end(Flush { number, took: began.elapsed(), outcome }) {
                    // It fails only where nobody reads any more.
                    let _ = writable.write(&[1]);
                }
            }
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(work)?;
        Ok(Self { shared, readable, thread: Mutex::new(Some(thread)) })
    }

    /// The number of the first flush that begins after this call. It will.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        let mut state = self.shared.lock();
        let number = state.begun + 1;
        if mem::replace(&mut state.wanted, number) < number {
            self.shared.asked.notify_one();
        }
        number
    }

    /// The flushes that have ended since the last call, in their order.
    pub fn take(&self) -> Vec<Flush> {
        // In this order: a flush that ends in between is taken, and its byte reads as a take of nothing.
        while (&self.readable).read(&mut [0; 64]).is_ok_and(|read| read == 64) {}
        mem::take(&mut self.shared.lock().ended)
    }

    /// Flushes for those who still wait, and ends the thread.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.asked.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// What to watch: it can be read when there is something to [`take`](Self::take).
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Waits until somebody wants a flush, and begins it; None when there will be no more.
    fn begin(&self) -> Option<u64> {
        let mut state = self.lock();
        while state.wanted == state.begun {
            if state.stopping {
                return None;
            }
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Those who come meanwhile are covered, too; after a pause nobody has to wait for any.
        while let Some(began) = state.began.filter(|began| !state.stopping && began.elapsed() < SPACING) {
            let early = SPACING.saturating_sub(began.elapsed());
            state = self.asked.wait_timeout(state, early).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.began = Some(Instant::now());
        state.begun = state.wanted;
        Some(state.begun)
    }

    /// Whether this is the first one to be taken: of the others it is known that there is something.
    fn end(&self, flush: Flush) -> bool {
        let mut state = self.lock();
        state.ended.push(flush);
        state.ended.len() == 1
    }

    /// A panic cannot leave the state half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
