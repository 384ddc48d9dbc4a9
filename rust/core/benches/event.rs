//! Writes one event so many times. `python -m benches.instructions` counts the instructions.
//!
//!     event <times> <query> [new|signed|sealed]
//!
//! It prints the outcome of the query: `accepted`, or the reason of rejection. With `new`, each time has a name that no
//! earlier query had. With `signed` or `sealed`, the query is protected first, and its pipeline requires that.

use std::hint::black_box;
use std::process::ExitCode;

use pixelcore::event::{Judged, write};
use pixelcore::options::Options;
use pixelcore::protect::{Guard, Secret, seal, sign};
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, times, query, how @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    let how = how.first().map(String::as_str);
    let Ok(secret) = Secret::new("a-secret-of-instructions-0123456789") else { return ExitCode::FAILURE };
    let mut query = match how {
        Some("new") => format!("{query}&n00000000="),
        Some("signed") => format!("{query}&s={}", sign(&secret, "track", query.as_bytes())),
        Some("sealed") => sealed(&secret, query),
        _ => query.clone(),
    }
    .into_bytes();
    let guard = if matches!(how, Some("signed" | "sealed")) { Guard::new(vec![secret], true) } else { None };
    let (Ok(times), Some(received_at)) = (times.parse::<u32>(), UnixMillis::new(1_740_493_801_250)) else {
        return ExitCode::FAILURE;
    };
    let request = Request {
        received_at,
        ip: Some("203.0.113.7"),
        user_agent: Some(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ),
        referer: Some("https://shop.example/checkout/thanks"),
        locale: Some("en-GB,en;q=0.9,de;q=0.7"),
        ..Request::default()
    };
    let options = Options::default();
    // Six bytes for each of the longest query: no event is longer.
    let mut out = Vec::with_capacity(64 * 1024);
    let mut outcome = "accepted";
    for _ in 0..times {
        out.clear();
        if how == Some("new") {
            count_up(&mut query);
        }
        let written = write(&mut out, "track", black_box(&query), black_box(&request), &options, |claim| {
            claim.settle(guard.as_ref()).map(|()| Judged::default())
        });
        outcome = written.map_or_else(|refusal| refusal.reason.as_str(), |_| "accepted");
        black_box(&out);
    }
    println!("{outcome}");
    ExitCode::SUCCESS
}

/// A query whose first parameter is its key. Everything else is sealed, except `cb` and `utm_*`.
fn sealed(secret: &Secret, query: &str) -> String {
    let is_free = |pair: &&str| pair.starts_with("cb=") || pair.starts_with("utm_");
    let (free, covered): (Vec<_>, Vec<_>) = query.split('&').partition(is_free);
    let (key, inside) = covered.split_first().map_or(("", String::new()), |(key, inside)| (*key, inside.join("&")));
    let x = seal(secret, "track", key.trim_start_matches("wk=").as_bytes(), inside.as_bytes(), [7; 12]);
    [&[key, &format!("x={x}")], &free[..]].concat().join("&")
}

/// Increments the number before the last `=`.
fn count_up(query: &mut [u8]) {
    for digit in query.iter_mut().rev().skip(1) {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}
