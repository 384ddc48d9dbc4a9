//! Readable and unreadable headers in an event, and the largest event (contract, sections 2 and 4).
#![expect(clippy::unwrap_used)]

use pixelcore::event::{Judged, greatest_bytes, write, write_rejection};
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::replay::Record;
use pixelcore::request::{HEADERS, PROXY_HEADERS, Request, Unreadable};
use pixelcore::time::UnixMillis;
use proptest::prelude::*;
use serde_json::{Value, json};

const QUERY: &[u8] = b"wk=k&e=x&uid=jane";

fn request() -> Request<'static> {
    Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() }
}

fn context(request: &Request<'_>, options: &Options) -> Value {
    let mut line = Vec::new();
    write(&mut line, "track", QUERY, request, options, |_| Ok(Judged::default())).unwrap();
    let mut event: Value = serde_json::from_slice(&line).unwrap();
    let mut context = event["context"].take();
    context.as_object_mut().unwrap().remove("library");
    context
}

#[test]
fn unreadable_headers_are_named() {
    let all: Vec<_> = HEADERS.into_iter().chain(PROXY_HEADERS).collect();
    for (header, name) in all.iter().enumerate() {
        let mut unreadable = Unreadable::default();
        unreadable.add(header);
        let request = Request { unreadable, ..request() };
        assert_eq!(context(&request, &Options::default()), json!({"unreadable": [name]}));
        let mut line = Vec::new();
        write_rejection(&mut line, Reason::UnknownKey, "track", QUERY, &request, &Options::default());
        let again = Record::parse(&line).unwrap().judge(|_, _, request| Ok(request.unreadable)).unwrap();
        assert_eq!(again, unreadable, "{name} is as unreadable when it is judged again");
    }
    let mut unreadable = Unreadable::default();
    (0..all.len()).for_each(|header| unreadable.add(header));
    assert_eq!(context(&Request { unreadable, ..request() }, &Options::default()), json!({"unreadable": all}));
}

#[test]
fn what_is_kept_of_a_header_is_bounded() {
    let long = "é".repeat(5_000);
    let request = Request {
        user_agent: Some(&long),
        referer: Some(&long),
        locale: Some(&long),
        ip: Some("192.0.2.1"),
        ..request()
    };
    let (agent, url, locale) = ("é".repeat(512), "é".repeat(2048), "é".repeat(32));
    let expected = json!({"ip": "192.0.2.1", "userAgent": agent, "locale": locale, "page": {"url": url}});
    assert_eq!(context(&request, &Options::default()), expected);
    let odd = format!("a{long}");
    let request = Request { user_agent: Some(&odd), ..self::request() };
    assert_eq!(
        context(&request, &Options::default())["userAgent"].as_str().unwrap().len(),
        1023,
        "a character is whole"
    );
}

#[test]
fn consent() {
    for (value, expected) in [
        ("1", true),
        ("1, 1", true),
        ("1,1", true),
        (" 1", true),
        ("0", false),
        ("1, 0", false),
        ("0, 1", false),
        ("", false),
        ("1,", false),
        ("true", false),
        ("11", false),
    ] {
        let of = |name: &str, request| context(&request, &Options::default())["consent"][name] == json!(true);
        assert_eq!(of("gpc", Request { gpc: Some(value), ..request() }), expected, "Sec-GPC: {value}");
        assert_eq!(of("dnt", Request { dnt: Some(value), ..request() }), expected, "DNT: {value}");
    }
}

#[test]
fn the_page_of_somebody_who_asks_for_privacy_has_no_query() {
    let options = Options { respect_gpc: true, ..Options::default() };
    for (referer, expected) in [
        ("https://shop.example/a?email=jane@example.com", "https://shop.example/a"),
        ("https://shop.example/a#jane", "https://shop.example/a"),
        ("https://shop.example/a", "https://shop.example/a"),
    ] {
        for (gpc, url) in [(None, referer), (Some("0"), referer), (Some("1"), expected), (Some("1, 1"), expected)] {
            let request = Request { referer: Some(referer), gpc, ..request() };
            assert_eq!(context(&request, &options)["page"]["url"], url, "{referer} {gpc:?}");
        }
    }
    let nothing_else = Request { referer: Some("?email=jane@example.com"), gpc: Some("1"), ..request() };
    assert!(context(&nothing_else, &options)["page"].is_null(), "and the line is JSON");
}

/// A query of so many bytes, made by repeating `part`.
fn repeated(part: &str, bytes: usize) -> String {
    let begin = "wk=k&e=x&";
    let times = (bytes - begin.len()) / part.len();
    format!("{begin}{}", part.repeat(times))
}

fn size(query: &[u8], headers: &str, options: &Options) -> usize {
    let pick = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let mut unreadable = Unreadable::default();
    (0..HEADERS.len() + PROXY_HEADERS.len()).for_each(|header| unreadable.add(header));
    let request = Request {
        ip: Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        user_agent: pick(headers),
        referer: pick(headers),
        locale: pick(headers),
        gpc: Some("1"),
        dnt: Some("1"),
        unreadable,
        ..request()
    };
    let pipeline = "pip_".to_owned() + &"x".repeat(60);
    let mut line = Vec::new();
    let _ = write(&mut line, "track", query, &request, options, |_| {
        Ok(Judged { pipeline: &pipeline, ..Judged::default() })
    });
    line.len() + 1
}

#[test]
fn an_event_has_a_greatest_size() {
    let mut options = Options::default();
    options.limits.parameters = usize::MAX;
    let bytes = options.limits.query_bytes;
    assert_eq!(greatest_bytes(bytes), 82_304, "what the documentation says");
    let controls = "\u{1}".repeat(8192);
    let deep = |first: usize| format!("p.{first}{}=", ".".repeat(options.limits.depth - 1));
    let paths: String = (0..1000).map(|first| deep(first) + "&").collect();
    for (name, query) in [
        ("controls", repeated("\u{1}", bytes)),
        ("escaped controls", repeated("p.%00=%00&", bytes)),
        ("names of controls", repeated("p.\u{1}=\u{1}&", bytes)),
        ("quotes", repeated("p.\"=\"\"\"\"&", bytes)),
        ("empty members", repeated("p.&", bytes)),
        ("no values", repeated("p.a&t.b&", bytes)),
        ("deep paths", format!("wk=k&e=x&{paths}")[..bytes].to_owned()),
        ("a time that is none", format!("wk=k&e=x&ts={}", "\u{1}".repeat(bytes - 12))),
        ("campaigns", format!("wk=k&e=x&utm_source={}", "\u{1}".repeat(bytes - 20))),
    ] {
        let found = size(query.as_bytes(), &controls, &options);
        assert!(found > 1000 && found <= greatest_bytes(bytes), "{name}: {found} bytes");
    }
    let query = [b"wk=k&e=", &[0xFF; 8000][..]].concat();
    assert!(size(&query, &controls, &options) <= greatest_bytes(bytes));
}

proptest! {
    #[test]
    fn no_event_is_larger(
        parts in proptest::collection::vec("(p|t|e|uid|mid|ts|utm_id|x)?[.&=%01a-f\\\\\"\u{1}\u{80}é+]{0,12}", 0..200),
        headers in "[a\u{1}\"é]{0,300}",
    ) {
        let query = format!("wk=k&e=x&{}", parts.join("&"));
        let bytes = size(query.as_bytes(), &headers, &Options::default());
        prop_assert!(bytes <= greatest_bytes(query.len()), "{} bytes of {}", bytes, query.len());
    }
}
