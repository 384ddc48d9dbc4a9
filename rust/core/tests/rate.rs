//! Token buckets and the division of a limit, by tables and by what must hold for any sequence of calls.

use std::time::Duration;

use pixelcore::keys::rate::{Bucket, FLOOR, share};
use proptest::prelude::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How many of `wanted` tokens there are at once.
fn drain(bucket: &mut Bucket, wanted: usize, now: Duration) -> usize {
    (0..wanted).filter(|_| bucket.take(now)).count()
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
    ] {
        let mut bucket = Bucket::new(limit);
        let start = millis(7);
        assert_eq!(drain(&mut bucket, 100, start), first, "{name}");
        assert_eq!(drain(&mut bucket, 100, start + millis(after_millis)), then, "{name}");
    }
}

#[test]
fn refusals_cost_nothing() {
    let mut bucket = Bucket::new(1.0);
    assert!(bucket.take(Duration::ZERO));
    assert_eq!((1..1000).filter(|&at| bucket.take(millis(at))).count(), 0);
    assert!(bucket.take(millis(1000)));
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let mut bucket = Bucket::new(1.0);
    assert!(bucket.take(millis(5000)));
    assert!(!bucket.take(millis(1000)));
    assert!(!bucket.take(millis(5999)));
    assert!(bucket.take(millis(6000)));
}

#[test]
fn changes_give_no_token() {
    for (name, change, at_once, a_second_later) in [
        ("a higher limit", (|b, now| b.set_limit(100.0, now)) as fn(&mut Bucket, Duration), 4, 100),
        ("a lower limit", |b, now| b.set_limit(2.0, now), 2, 2),
        ("a smaller share", |b, now| b.set_share(0.2, now), 2, 2),
        ("the same share", |b, now| b.set_share(1.0, now), 4, 10),
        ("more than all", |b, now| b.set_share(7.0, now), 4, 10),
        ("no share", |b, now| b.set_share(0.0, now), 1, 0),
        ("no number", |b, now| b.set_share(f64::NAN, now), 1, 0),
        ("a share that comes back", |b, now| [0.2, 1.0].iter().for_each(|&share| b.set_share(share, now)), 2, 10),
    ] {
        let mut bucket = Bucket::new(10.0);
        let now = millis(1);
        assert_eq!(drain(&mut bucket, 6, now), 6, "{name}");
        change(&mut bucket, now);
        assert_eq!(drain(&mut bucket, 100, now), at_once, "{name}");
        assert_eq!(drain(&mut bucket, 1000, now + millis(1000)), a_second_later, "{name}");
    }
}

#[test]
fn changes_count_from_now_on() {
    for (name, change) in [
        ("a higher limit", (|b, now| b.set_limit(50.0, now)) as fn(&mut Bucket, Duration)),
        ("a larger share", |b, now| b.set_share(1.0, now)),
    ] {
        let mut bucket = Bucket::new(10.0);
        bucket.set_share(0.2, millis(1));
        assert_eq!(drain(&mut bucket, 100, millis(1)), 2, "{name}");
        change(&mut bucket, millis(1001));
        assert_eq!(drain(&mut bucket, 100, millis(1001)), 2, "{name}");
        assert_eq!(drain(&mut bucket, 100, millis(2001)), 10, "{name}");
    }
}

#[test]
fn shares() {
    for (name, mine, others, limit, expected) in [
        ("alone", 5, &[][..], 100.0, 1.0),
        ("alone, above the limit", 500, &[], 100.0, 1.0),
        ("nobody asks", 0, &[0, 0, 0], 100.0, 0.25),
        ("what is left is divided equally", 60, &[20], 100.0, 0.7),
        ("as much as the limit", 60, &[40], 100.0, 0.6),
        ("all above the limit", 900, &[100], 100.0, 0.5),
        ("who asks for little gets it", 20, &[900, 900], 100.0, 0.2),
        ("and the others the rest", 900, &[20, 901], 100.0, 0.4),
        ("the idle one can start", 0, &[900], 100.0, FLOOR / 2.0),
        ("at nobody's cost", 900, &[0], 100.0, 1.0),
        ("no limit at all", 9, &[9], 0.0, FLOOR / 2.0),
    ] {
        let share = share(mine, others, limit);
        assert!((share - expected).abs() < 1e-9, "{name}: {share}");
    }
}

/// Each worker's share.
fn divide(demands: &[u64], limit: f64) -> Vec<f64> {
    let others = |i| demands.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, &demand)| demand).collect::<Vec<_>>();
    demands.iter().enumerate().map(|(i, &mine)| share(mine, &others(i), limit)).collect()
}

fn demands() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![Just(0), 0..50_u64, 0..5000_u64], 1..9)
}

proptest! {
    #[test]
    fn shares_sum_to_the_limit(demands in demands(), limit in 0.1..5000.0) {
        let shares = divide(&demands, limit);
        let sum: f64 = shares.iter().sum();
        prop_assert!((1.0 - 1e-9..=1.0 + FLOOR + 1e-9).contains(&sum), "{shares:?}");
        #[expect(clippy::cast_precision_loss)]
        let floor = FLOOR / demands.len() as f64;
        prop_assert!(shares.iter().all(|&share| (floor..=1.0).contains(&share)), "{shares:?}");
    }

    /// Nobody who asks for more than it gets, gets less than another one.
    #[test]
    fn shares_are_fair(demands in demands(), limit in 0.1..5000.0) {
        let shares = divide(&demands, limit);
        for (&demand, &share) in demands.iter().zip(&shares) {
            #[expect(clippy::cast_precision_loss)]
            let content = share * limit >= demand as f64 - 1e-6;
            prop_assert!(content || shares.iter().all(|&other| other <= share + 1e-9), "{shares:?}");
        }
    }

    /// Any calls of any workers, with shares that are divided now and then: never too much in any window.
    #[test]
    fn no_window_has_more_than_the_limit(
        limit in prop_oneof![0.2..3.0, 3.0..300.0],
        workers in 1..4_usize,
        calls in proptest::collection::vec((0..4_usize, 0..400_u64, 0..60_usize, any::<bool>()), 1..60),
    ) {
        let mut buckets = vec![Bucket::new(limit); workers];
        let mut demands = vec![0; workers];
        let mut now = Duration::from_secs(3);
        let mut most_burst = 0.0_f64;
        let mut divide_at = |buckets: &mut [Bucket], demands: &mut Vec<u64>, now| {
            let shares = divide(demands, limit);
            buckets.iter_mut().zip(&shares).for_each(|(bucket, &share)| bucket.set_share(share, now));
            most_burst = most_burst.max(shares.iter().map(|share| (limit * share).max(1.0)).sum());
            demands.fill(0);
        };
        divide_at(&mut buckets, &mut demands, now);
        let mut passed: Vec<(Duration, usize)> = Vec::new();
        for (worker, wait, wanted, again) in calls {
            now += millis(wait);
            if again {
                divide_at(&mut buckets, &mut demands, now);
            }
            let worker = worker % workers;
            demands[worker] += wanted as u64;
            passed.push((now, drain(&mut buckets[worker], wanted, now)));
        }
        for (i, &(from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for &(to, count) in &passed[i..] {
                sum += count;
                #[expect(clippy::cast_precision_loss)]
                let sum = sum as f64;
                let elapsed = to.saturating_sub(from);
 let earned = elapsed.as_secs_f64() * limit * (1.0 + FLOOR);
                prop_assert!(sum <= earned + most_burst + 1e-6, "{sum} in {elapsed:?}");
            }
        }
    }

    /// A single bucket against one that counts in whole nanotokens.
    #[test]
    fn a_bucket_agrees_with_an_exact_one(
        limit in 1..500_u32,
        calls in proptest::collection::vec((0..3_000_000_000_u64, 0..40_usize), 1..60),
    ) {
        const TOKEN: u64 = 1_000_000_000;
        let mut bucket = Bucket::new(f64::from(limit));
        let full = u64::from(limit) * TOKEN;
        let (mut tokens, mut now) = (full, Duration::ZERO);
        for (wait, wanted) in calls {
            // Multiples of a power of two, of which a double loses nothing.
            let wait = wait / 1_000_000_000 * 1_000_000_000 + wait % 8 * 125_000_000;
            now += Duration::from_nanos(wait);
            tokens = full.min(tokens + wait * u64::from(limit));
            let expected = usize::try_from(tokens / TOKEN).unwrap_or(usize::MAX).min(wanted);
            tokens -= expected as u64 * TOKEN;
            prop_assert_eq!(drain(&mut bucket, wanted, now), expected);
        }
    }
}
