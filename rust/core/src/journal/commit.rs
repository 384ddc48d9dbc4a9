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
/// Who has written a line [`wait`](Self::wait)s for the flush that covers it; flushes that have ended are
/// [`take`](Self::take)n, with those who waited, when the descriptor can be read, so that an event loop can watch it.
pub struct Committer<W> {
    shared: Arc<Shared<W>>,
    readable: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A flush that has ended.
pub struct Flush<W> {
    /// Those whose lines it covers, in the order in which they came.
    pub waited: Vec<W>,
    /// How long it took.
    pub took: Duration,
    /// Whether what it covers survives a power cut.
    pub outcome: Result<(), Error>,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    asked: Condvar,
}

struct State<W> {
    /// Those who wait for the next flush.
    waiting: Vec<W>,
    /// When the last one began.
    began: Option<Instant>,
    ended: Vec<Flush<W>>,
    stopping: bool,
}

impl<W: Send + 'static> Committer<W> {
    /// Starts the thread, which calls `flush`.
    pub fn start(mut flush: impl FnMut() -> Result<(), Error> + Send + 'static) -> io::Result<Self> {
        let (readable, mut writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let state = State { waiting: Vec::new(), began: None, ended: Vec::new(), stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), asked: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let work = move || {
            while let Some(waited) = theirs.begin() {
                let began = Instant::now();
                // Whoever waits must not do so for ever.
                let outcome = catch_unwind(AssertUnwindSafe(&mut flush))
                    .unwrap_or_else(|_| Err(Error::Io("the flush".to_owned(), io::Error::other("a panic"))));
                if theirs.end(Flush { waited, took: began.elapsed(), outcome }) {
                    // It fails only where nobody reads any more.
                    let _ = writable.write(&[1]);
                }
            }
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(work)?;
        Ok(Self { shared, readable, thread: Mutex::new(Some(thread)) })
    }

    /// Waits, without blocking, for the first flush that begins after this call. It will.
    pub fn wait(&self, who: W) {
        let mut state = self.shared.lock();
        state.waiting.push(who);
        if state.waiting.len() == 1 {
            self.shared.asked.notify_one();
        }
    }

    /// The flushes that have ended since the last call, in their order.
    pub fn take(&self) -> Vec<Flush<W>> {
        // In this order: a flush that ends in between is taken, and its byte reads as a take of nothing.
        while (&self.readable).read(&mut [0; 64]).is_ok_and(|read| read == 64) {}
        mem::take(&mut self.shared.lock().ended)
    }

    /// What to watch: it can be read when there is something to [`take`](Self::take).
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

impl<W> Committer<W> {
    /// Flushes for those who still wait, and ends the thread.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.asked.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl<W> Drop for Committer<W> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<W> Shared<W> {
    /// Waits until somebody wants a flush, and begins it; None when there will be no more.
    fn begin(&self) -> Option<Vec<W>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
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
        Some(mem::take(&mut state.waiting))
    }

    /// Whether this is the first one to be taken: of the others it is known that there is something.
    fn end(&self, flush: Flush<W>) -> bool {
        let mut state = self.lock();
        state.ended.push(flush);
        state.ended.len() == 1
    }

    /// A panic cannot leave the state half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
