//! Headers of any bytes, from a server that hands over all bytes, and from one that hands over only visible ASCII.

use std::borrow::Cow;
use std::cell::RefCell;

use pixelcore::event;
use pixelcore::request::{HEADERS, Request, Unreadable};
use pixelcore::text;
use pixelcore::time::UnixMillis;

use crate::object;
use crate::request::Gateway;

thread_local!(static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::new()));

const QUERIES: [&str; 3] = ["wk=dk_test_a&e=x", "wk=dk_test_b&e=x", "e=x"];

/// A header never disappears without a trace, and never exceeds its kept length. An unreadable one is on no list of
/// domains.
pub fn headers(data: &[u8]) {
    let mut values: Vec<&[u8]> = data.split(|&byte| byte == b'\n').take(HEADERS.len()).collect();
    values.resize(HEADERS.len(), b"");
    for query in QUERIES {
        for hands_over_bytes in [true, false] {
            GATEWAY.with_borrow_mut(|gateway| judged(gateway, query, &values, hands_over_bytes));
        }
    }
}

fn judged(gateway: &mut Gateway, query: &str, values: &[&[u8]], hands_over_bytes: bool) {
    let mut unreadable = Unreadable::default();
    let texts: Vec<Option<Cow<'_, str>>> = values
        .iter()
        .enumerate()
        .map(|(header, value)| match value {
            [] => None,
            value if hands_over_bytes || value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => {
                Some(text::of_header(value))
            }
            _ => {
                unreadable.add(header);
                None
            }
        })
        .collect();
    let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
    let request = Request { unreadable, ..Request::new(UnixMillis::now(), None, &texts) };
    let reason = gateway.collector.collect("track", query.as_bytes(), &request, ()).expect("there is room");
    let lines = [Gateway::lines(&mut gateway.events), Gateway::lines(&mut gateway.rejections)].concat();
    let [line] = &lines[..] else { panic!("{} records of one request", lines.len()) };
    let record = object(line);
    assert!(line.len() < event::greatest_bytes(query.len()), "{} bytes", line.len());

    let named: Vec<_> = record["context"]["unreadable"].as_array().into_iter().flatten().collect();
    assert!(unreadable.names().eq(named), "{record}");
    let [_, referer, .., origin] = &HEADERS;
    let no_page = unreadable.names().any(|name| name == *origin)
        || texts[HEADERS.len() - 1].is_none_or(|origin| origin == "null")
            && unreadable.names().any(|name| name == *referer);
    assert!(!(no_page && query == QUERIES[1] && reason.is_none()), "a page that nobody could read is on a list");
    gateway.requests += 1;
    if gateway.requests == 10_000 {
        *gateway = Gateway::new();
    }
}
