//! Token buckets: tables, and properties of any sequence of calls.
#![expect(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pixelcore::keys::rate::{Buckets, Limit};
use pixelcore::memory::Memory;
use proptest::prelude::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A realistic time, long after the epoch.
const START: Duration = Duration::from_secs(1_800_000_000);

/// The number of `wanted` tokens that are available at once.
fn drain(limit: Limit, bucket: &AtomicU64, wanted: usize, now: Duration) -> usize {
    (0..wanted).filter(|_| limit.take(bucket, now)).count()
}

#[test]
fn a_bucket_holds_a_second() {
    for (name, limit, first, after_millis, then) in [
        ("full at first, empty after that", 10.0, 10, 0, 0),
        ("a token in its time", 10.0, 10, 100, 1),
        ("no token before its time", 10.0, 10, 99, 0),
        ("no more than a second's worth", 10.0, 10, 60_000, 10),
        ("at least one token", 0.5, 1, 2_000, 1),
        ("a slow one takes its time", 0.5, 1, 1_999, 0),
        ("part of a token is none", 2.5, 2, 100, 0),
        ("part of a token is kept", 2.5, 2, 200, 1),
        ("a token in a hundred thousand years", 3e-13, 1, u64::from(u32::MAX), 0),
        ("the least that there is", f64::MIN_POSITIVE, 1, u64::from(u32::MAX), 0),
        ("more than can be asked for", 1e300, 1_000, 0, 1_000),
    ] {
        let (limit, bucket) = (Limit::new(limit), AtomicU64::default());
        assert_eq!(drain(limit, &bucket, 1_000, START), first, "{name}");
        assert_eq!(drain(limit, &bucket, 1_000, START + millis(after_millis)), then, "{name}");
    }
}

#[test]
fn refusals_cost_nothing() {
    let (limit, bucket) = (Limit::new(1.0), AtomicU64::default());
    assert!(limit.take(&bucket, START));
    assert_eq!((1..1000).filter(|&at| limit.take(&bucket, START + millis(at))).count(), 0);
    assert!(limit.take(&bucket, START + millis(1000)));
}

#[test]
fn a_clock_that_is_put_back_gives_nothing() {
    let (limit, bucket) = (Limit::new(1.0), AtomicU64::default());
    assert!(limit.take(&bucket, START));
    let back = START.checked_sub(Duration::from_secs(3600)).unwrap();
    assert!(!limit.take(&bucket, back));
    assert!(!limit.take(&bucket, back + millis(999)));
    assert!(limit.take(&bucket, back + millis(1000)), "and does not refuse for an hour");
}

#[test]
fn another_limit_gives_no_token() {
    // 6 of 10 tokens are taken, so the bucket is full after 0.6 s, with any new limit.
    for (name, limit, at_once, a_second_later) in
        [("the same", 10.0, 4, 10), ("a higher one", 100.0, 40, 100), ("a lower one", 2.0, 0, 2)]
    {
        let bucket = AtomicU64::default();
        assert_eq!(drain(Limit::new(10.0), &bucket, 6, START), 6, "{name}");
        assert_eq!(drain(Limit::new(limit), &bucket, 1_000, START), at_once, "{name}");
        assert_eq!(drain(Limit::new(limit), &bucket, 1_000, START + millis(1000)), a_second_later, "{name}");
    }
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let buckets = Buckets::in_memory(1_000);
    let keys: Vec<String> = (0..1_000).map(|number| format!("dk_live_{number}")).collect();
    let mut places: Vec<usize> = keys.iter().map(|key| buckets.place(key).unwrap()).collect();
    assert_eq!(places, keys.iter().map(|key| buckets.place(key).unwrap()).collect::<Vec<_>>(), "the same again");
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), keys.len());
    for place in places {
        assert_eq!(buckets.bucket(place).load(Ordering::Relaxed), 0, "full");
    }
}

#[test]
fn there_is_room_for_twice_as_many_keys() {
    let buckets = Buckets::in_memory(3);
    assert_eq!((0..10).filter(|number| buckets.place(&number.to_string()).is_some()).count(), 6);
    assert!(buckets.place("0").is_some(), "what has a place keeps it");
}

/// Memory that is not shared, but has the same length.
fn map(file: &fs::File) -> io::Result<Box<dyn Memory>> {
    let words = file.metadata()?.len() / 8;
    Ok(Box::new((0..words).map(|_| AtomicU64::default()).collect::<Vec<_>>()))
}

#[test]
fn the_file_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("1-2-128.buckets");
    for _ in 0..2 {
        assert!(Buckets::in_file(&path, 128, map).unwrap().place("dk_live_a").is_some());
        let status = fs::metadata(&path).unwrap();
        assert_eq!((status.len(), status.permissions().mode() & 0o777), (128 * 32, 0o600));
        fs::write(&path, vec![1; 128 * 32]).unwrap(); // what is in it stays
    }
    assert_eq!(fs::read(&path).unwrap(), vec![1; 128 * 32]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");

    let link = directory.path().join("link.buckets");
    symlink(&path, &link).unwrap();
    assert!(Buckets::in_file(&link, 128, map).is_err(), "no link is followed");
    assert!(Buckets::in_file(&path, 129, map).is_err(), "it is too short");
    assert!(Buckets::in_file(&directory.path().join("no/such.buckets"), 128, map).is_err());
}

proptest! {
    /// For any calls of any workers, no window has too many requests.
    #[test]
    fn no_window_has_more_than_the_limit(
        limit in prop_oneof![0.2..3.0, 3.0..300.0],
        calls in proptest::collection::vec((0..400_u64, 0..60_usize), 1..60),
    ) {
        let bucket = AtomicU64::default();
        let mut now = START;
        let mut passed: Vec<(Duration, usize)> = Vec::new();
        for (wait, wanted) in calls {
            now += millis(wait);
            passed.push((now, drain(Limit::new(limit), &bucket, wanted, now)));
        }
        for (i, &(from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for &(to, count) in &passed[i..] {
                sum += count;
                #[expect(clippy::cast_precision_loss)]
                let sum = sum as f64;
                let elapsed = to.saturating_sub(from);
                prop_assert!(sum <= elapsed.as_secs_f64() * limit + limit.max(1.0) + 1e-6, "{sum} in {elapsed:?}");
            }
        }
    }

    /// A bucket compared with one that counts in whole nanotokens.
    #[test]
    fn a_bucket_agrees_with_an_exact_one(
        limit in prop_oneof![1..9_u32, 1..501_u32].prop_filter("a whole number of nanoseconds", |limit| 1_000_000_000 % limit == 0),
        calls in proptest::collection::vec((0..3_000_000_000_u64, 0..40_usize), 1..60),
    ) {
        const TOKEN: u64 = 1_000_000_000;
        let bucket = AtomicU64::default();
        let full = u64::from(limit) * TOKEN;
        let (mut tokens, mut now) = (full, START);
        for (wait, wanted) in calls {
            now += Duration::from_nanos(wait);
            tokens = full.min(tokens + wait * u64::from(limit));
            let expected = usize::try_from(tokens / TOKEN).unwrap_or(usize::MAX).min(wanted);
            tokens -= expected as u64 * TOKEN;
            prop_assert_eq!(drain(Limit::new(f64::from(limit)), &bucket, wanted, now), expected);
        }
    }
}
