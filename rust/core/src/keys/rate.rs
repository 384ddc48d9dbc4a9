//! Rate limits: a token bucket per key, and how the workers of a gateway divide its limit among themselves.
//!
//! Each worker has a bucket of its own and a share of the limit. Once a second or so the workers tell each other how
//! many requests they had for a key, and each works out its share with [`share`]. Tokens never move when shares do,
//! and a bucket never holds more than a second's worth of its share. So while the shares sum to `1 + FLOOR` at most,
//! all workers together let through at most `limit * t` requests in any time `t` and one second's worth, both times
//! `1 + FLOOR`; a worker whose share is less than one request a second counts with one request instead of its
//! second's worth, and one that begins brings a full bucket.

use std::time::Duration;

/// What a bucket keeps for an idle worker, together for all of them, as a fraction of the limit: a key that uses its
/// limit up on one worker can start on the others at once. It comes on top of the limit.
pub const FLOOR: f64 = 0.05;

/// A token bucket that holds one second's worth, at least one token, and begins full.
///
/// Times are those of any clock that doesn't go back, from any beginning; a time before the last one counts as the
/// last.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Tokens a second, for all workers; positive.
    limit: f64,
    /// This worker's part of the limit, from 0 to 1.
    share: f64,
    tokens: f64,
    refilled: Duration,
}

impl Bucket {
    /// A full bucket, with the whole `limit` (tokens a second, positive) as its share.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        Self { limit, share: 1.0, tokens: limit.max(1.0), refilled: Duration::ZERO }
    }

    /// Takes a token. False when there is no whole one, and then nothing is taken.
    pub fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let full = self.tokens >= 1.0;
        if full {
            self.tokens -= 1.0;
        }
        full
    }

    /// Tokens a second, for all workers.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// From now on, `limit` tokens a second for all workers. No token is given, and what no longer fits is lost.
    pub fn set_limit(&mut self, limit: f64, now: Duration) {
        self.refill(now);
        self.limit = limit;
        self.refill(now);
    }

    /// From now on, this part of the limit, from 0 to 1. No token is given, and what no longer fits is lost.
    pub fn set_share(&mut self, share: f64, now: Duration) {
        self.refill(now);
        self.share = if share > 0.0 { share.min(1.0) } else { 0.0 };
        self.refill(now);
    }

    fn refill(&mut self, now: Duration) {
        let rate = self.limit * self.share;
        let earned = now.saturating_sub(self.refilled).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(rate.max(1.0));
        self.refilled = self.refilled.max(now);
    }
}

/// A worker's share of a limit, from 0 to 1: max-min fair, by what each worker was asked for.
///
/// `mine` and `others` are the requests that this worker and each of the others had within one interval, those
/// refused by rate included; `limit` is how many all of them may let through in such an interval. While the sum of
/// demands is within the limit, each worker gets its demand and an equal part of what is left. Beyond it, whoever
/// asks for less than an equal part gets what it asks for, and the others divide the rest equally. Nobody gets less
/// than its part of [`FLOOR`]. Where all workers reckon with the same numbers, their shares sum to 1 at least and to
/// `1 + FLOOR` at most.
#[must_use]
pub fn share(mine: u64, others: &[u64], limit: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
    let count = |demand: u64| demand as f64;
    let mut demands: Vec<f64> = others.iter().chain([&mine]).map(|&demand| count(demand)).collect();
    demands.sort_unstable_by(f64::total_cmp);
    let (mut waiting, mut left) = (count(demands.len() as u64), limit);
    let floor = FLOOR / waiting;
    let mut granted = None;
    for &demand in &demands {
        let equal = left / waiting;
        if demand >= equal {
            granted = Some(count(mine).min(equal));
            break;
        }
        left -= demand;
        waiting -= 1.0;
    }
    let granted = granted.unwrap_or_else(|| count(mine) + left / count(demands.len() as u64));
    (granted / limit).max(floor).min(1.0)
}
