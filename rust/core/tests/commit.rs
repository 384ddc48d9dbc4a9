//! Group commit: who waits for which flush, and what they are told.
#![expect(clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pixelcore::journal::{Committer, Error};

/// A committer whose flushes say when they begin, and end as they are told.
fn steered() -> (Committer<&'static str>, Receiver<()>, Sender<Result<(), Error>>) {
    let (began, beginnings) = channel();
    let (endings, end) = channel();
    let flush = move || {
        began.send(()).unwrap();
        end.recv().unwrap_or(Ok(()))
    };
    (Committer::start(flush).unwrap(), beginnings, endings)
}

/// Who waited for so many flushes, and whether they failed.
fn taken<W: Send + 'static>(committer: &Committer<W>, count: usize) -> Vec<(Vec<W>, bool)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut flushes = Vec::new();
    while flushes.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} flushes", flushes.len());
        flushes.extend(committer.take().into_iter().map(|flush| (flush.waited, flush.outcome.is_err())));
        thread::sleep(Duration::from_millis(1));
    }
    flushes
}

#[test]
fn a_flush_covers_only_what_was_written_before_it_began() {
    let (committer, beginnings, endings) = steered();
    committer.wait("a");
    beginnings.recv().unwrap();
    committer.wait("b"); // the first one has begun without them
    committer.wait("c");
    endings.send(Ok(())).unwrap();
    beginnings.recv().unwrap();
    committer.wait("d");
    endings.send(Err(Error::Io("segment".to_owned(), io::Error::other("EIO")))).unwrap();
    beginnings.recv().unwrap();
    endings.send(Ok(())).unwrap();
    assert_eq!(taken(&committer, 3), [(vec!["a"], false), (vec!["b", "c"], true), (vec!["d"], false)]);
    assert!(committer.take().is_empty());
    assert!(beginnings.try_recv().is_err(), "nobody asked for another");
}

#[test]
fn whoever_waits_is_told_before_the_end() {
    let (committer, beginnings, endings) = steered();
    committer.wait("a");
    beginnings.recv().unwrap();
    committer.wait("b");
    drop(endings);
    committer.stop();
    assert_eq!(taken(&committer, 2), [(vec!["a"], false), (vec!["b"], false)]);
    committer.stop();
}

#[test]
fn a_panic_is_a_failure_and_not_the_last_flush() {
    let mut first = true;
    let committer = Committer::start(move || {
        assert!(!std::mem::take(&mut first), "what must never happen");
        Ok(())
    })
    .unwrap();
    for (who, failed) in [("a", true), ("b", false)] {
        committer.wait(who);
        assert_eq!(taken(&committer, 1), [(vec![who], failed)]);
    }
}

#[test]
fn nobody_is_forgotten() {
    let flushes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&flushes);
    let committer = Committer::start(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
    .unwrap();
    for who in 0..100 {
        committer.wait(who);
        assert_eq!(taken(&committer, 1), [(vec![who], false)]);
    }
    assert_eq!(flushes.load(Ordering::SeqCst), 100);
}
