//! One event, so many times: what `python -m benches.instructions` counts the instructions of.
//!
//!     event <times> <query> [new]
//!
//! It prints what became of the query: `accepted`, or the reason why not. With `new` each time has a name that no query
//! had before.

use std::hint::black_box;
use std::process::ExitCode;

use pixelcore::event::write;
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, times, query, new @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    let mut query = query.clone().into_bytes();
    if !new.is_empty() {
        query.extend_from_slice(b"&n00000000=");
    }
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
        if !new.is_empty() {
            count_up(&mut query);
        }
        let written = write(&mut out, "track", black_box(&query), black_box(&request), &options, |_| Ok(""));
        outcome = written.map_or_else(Reason::as_str, |_| "accepted");
        black_box(&out);
    }
    println!("{outcome}");
    ExitCode::SUCCESS
}

/// Makes the number before the last `=` the next one.
fn count_up(query: &mut [u8]) {
    for digit in query.iter_mut().rev().skip(1) {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}
