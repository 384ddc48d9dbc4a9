//! Group commit: the flush of each waiting request, and its outcome.
#![expect(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, mem};

use pixelcore::journal::{Committer, Error};

/// The waiting requests.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Vec<&'static str>>>);

type Names = Vec<&'static str>;

impl Waiting {
    fn committer(&self, flush: impl FnMut(&Names) -> Result<(), Error> + Send + 'static) -> Committer<Names> {
        let waiting = self.clone();
        Committer::start(move || mem::take(&mut *waiting.0.lock().unwrap()), flush).unwrap()
    }

    /// Joins the group, and asks for a flush.
    fn join(&self, committer: &Committer<Names>, who: &'static str) {
        self.0.lock().unwrap().push(who);
        committer.ask();
    }
}

/// A committer whose flushes report their beginning, and end on command.
fn steered(waiting: &Waiting) -> (Committer<Names>, Receiver<()>, Sender<Result<(), Error>>) {
    let (began, beginnings) = channel();
    let (endings, end) = channel();
    let flush = move |_: &Names| {
        began.send(()).unwrap();
        end.recv().unwrap_or(Ok(()))
    };
    (waiting.committer(flush), beginnings, endings)
}

/// The waiting requests of so many flushes, and whether the flushes failed.
fn taken(committer: &Committer<Names>, count: usize) -> Vec<(Names, bool)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut flushes = Vec::new();
    while flushes.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} flushes", flushes.len());
        flushes.extend(committer.take().into_iter().map(|flush| (flush.group, flush.outcome.is_err())));
        thread::sleep(Duration::from_millis(1));
    }
    flushes
}

#[test]
fn a_flush_covers_only_those_who_came_before_it_began() {
    let waiting = Waiting::default();
    let (committer, beginnings, endings) = steered(&waiting);
    waiting.join(&committer, "a");
    beginnings.recv().unwrap();
    waiting.join(&committer, "b"); // the first one has begun without them
    waiting.join(&committer, "c");
    endings.send(Ok(())).unwrap();
    beginnings.recv().unwrap();
    waiting.join(&committer, "d");
    endings.send(Err(Error::Io("segment".to_owned(), io::Error::other("EIO")))).unwrap();
    beginnings.recv().unwrap();
    endings.send(Ok(())).unwrap();
    assert_eq!(taken(&committer, 3), [(vec!["a"], false), (vec!["b", "c"], true), (vec!["d"], false)]);
    assert!(committer.take().is_empty());
    assert!(beginnings.try_recv().is_err(), "nobody asked for another");
}

#[test]
fn whoever_waits_is_told_before_the_end() {
    let waiting = Waiting::default();
    let (committer, beginnings, endings) = steered(&waiting);
    waiting.join(&committer, "a");
    beginnings.recv().unwrap();
    waiting.0.lock().unwrap().push("b"); // and does not even ask
    drop(endings);
    committer.stop();
    assert_eq!(taken(&committer, 2), [(vec!["a"], false), (vec!["b"], false)]);
    committer.stop();
}

#[test]
fn a_panic_is_a_failure_and_not_the_last_flush() {
    let waiting = Waiting::default();
    let mut first = true;
    let committer = waiting.committer(move |_| {
        assert!(!mem::take(&mut first), "what must never happen");
        Ok(())
    });
    for (who, failed) in [("a", true), ("b", false)] {
        waiting.join(&committer, who);
        assert_eq!(taken(&committer, 1), [(vec![who], failed)]);
    }
}

#[test]
fn nobody_is_forgotten() {
    let waiting = Waiting::default();
    let flushes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&flushes);
    let committer = waiting.committer(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    for _ in 0..100 {
        waiting.join(&committer, "a");
        assert_eq!(taken(&committer, 1), [(vec!["a"], false)]);
    }
    assert_eq!(flushes.load(Ordering::SeqCst), 100);
}

#[test]
fn flushes_begin_apart_however_many_ask() {
    let waiting = Waiting::default();
    let flushes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&flushes);
    let committer = waiting.committer(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(30) || flushes.load(Ordering::SeqCst) < 10 {
        assert!(began.elapsed() < Duration::from_secs(60), "too few flushes");
        waiting.join(&committer, "a");
        committer.take();
    }
    // The time is taken after the count, because flushes go on.
    let count = flushes.load(Ordering::SeqCst);
    let most = began.elapsed().as_micros() / 500 + 2;
    assert!(u128::from(count) <= most, "{count} flushes, at most {most}");
}
