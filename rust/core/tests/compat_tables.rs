//! Tables of foreign queries and their events (`docs/migration.md`). Random queries are in `compat.rs`.
#![expect(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pixelcore::event::{Judged, write};
use pixelcore::options::{Compat, Options};
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::{Value, json};

fn both() -> Options {
    Options { compat: Compat { segment: true, rudderstack: true }, ..Options::default() }
}

fn data(json: &[u8]) -> Vec<u8> {
    format!("data={}", URL_SAFE_NO_PAD.encode(json)).into_bytes()
}

fn reason(query: &[u8], options: &Options) -> Option<Reason> {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
    write(&mut Vec::new(), "page", query, &request, options, |_| Ok(Judged::default())).err().map(Reason::from)
}

/// The event of a page with the key `k`, without the members of every event.
fn said(kind: &str, query: &[u8]) -> Result<Value, Reason> {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
    let mut line = Vec::new();
    write(&mut line, kind, query, &request, &both(), |_| Ok(Judged::default()))?;
    let mut event: Value = serde_json::from_slice(&line).unwrap();
    let members = event.as_object_mut().unwrap();
    for (name, usual) in [("type", kind), ("pipelineKey", "k"), ("receivedAt", "2025-02-25T14:30:01.250Z")] {
        assert_eq!(members.remove(name), Some(json!(usual)));
    }
    members.retain(|name, value| match name.as_str() {
        "messageId" => value.as_str().unwrap().len() != 36,
        "timestamp" => value != "2025-02-25T14:30:01.250Z",
        _ => true,
    });
    let context = members["context"].as_object_mut().unwrap();
    context.retain(|name, value| name != "library" || value["name"] != "pixelcore");
    if context.is_empty() {
        members.remove("context");
    }
    Ok(event)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a row a line")]
fn what_a_foreign_query_says() {
    let base64 = |json: &str| String::from_utf8(data(json.as_bytes())).unwrap();
    let page =
        |members: &str| base64(&format!(r#"{{"writeKey":"k"{}{members}}}"#, if members.is_empty() { "" } else { "," }));
    let with_locale = json!({"context": {"locale": "fr"}});
    for (name, kind, query, expected) in [
        (
            "long names",
            "page",
            "writeKey=k&userId=u&anonymousId=a&groupId=g&messageId=m&name=N".to_owned(),
            json!({"userId": "u", "anonymousId": "a", "groupId": "g", "messageId": "m", "name": "N"}),
        ),
        ("a track's name", "track", "writeKey=k&event=E&name=N".to_owned(), json!({"event": "E"})),
        ("only pages and tracks have names", "group", "writeKey=k&event=E&name=N".to_owned(), json!({})),
        (
            "native names win",
            "page",
            "userId=u&writeKey=x&wk=k&uid=v&e=E&name=N".to_owned(),
            json!({"userId": "v", "name": "E"}),
        ),
        ("amp; before them", "page", "writeKey=k&amp;userId=u".to_owned(), json!({"userId": "u"})),
        (
            "paths",
            "page",
            "writeKey=k&properties.a.b=1&traits.c=2&properties.d%26=3".to_owned(),
            json!({"properties": {"a": {"b": "1"}, "d&": "3"}, "traits": {"c": "2"}}),
        ),
        ("a context", "page", "writeKey=k&context.locale=fr".to_owned(), with_locale.clone()),
        (
            "a context's member that does not fit",
            "page",
            "writeKey=k&context.library=x&context.page=y&context.ip=z".to_owned(),
            json!({}),
        ),
        (
            "what the gateway alone knows",
            "page",
            page(
                r#""context":{"ip":"1","consent":{"a":1},"client":1,"signed":true,"sealed":true,"repaired":{"a":1},"unreadable":[1]}"#,
            ),
            json!({}),
        ),
        (
            "what says nothing",
            "page",
            page(r#""context":{"a":null,"b":{},"c":"","d":[]}"#),
            json!({"context": {"d": []}}),
        ),
        (
            "what fits",
            "page",
            page(
                r#""context":{"userAgent":"A","locale":"fr","page":{"url":"u","x":1},"campaign":{"source":"s"},"library":{"name":"n","version":"1"}}"#,
            ),
            json!({"context": {"userAgent": "A", "locale": "fr", "page": {"url": "u", "x": 1}, "campaign": {"source": "s"}, "library": {"name": "n", "version": "1"}}}),
        ),
        (
            "a library without a version",
            "page",
            page(r#""context":{"library":{"name":"n"},"userAgent":1,"locale":"","campaign":{"id":1}}"#),
            json!({}),
        ),
        (
            "data",
            "page",
            page(r#""userId":7,"groupId":-1.50,"name":"a+b%20c&e=x","properties":{"a":[1]},"traits":{"b":null}"#),
            json!({"userId": "7", "groupId": "-1.50", "name": "a+b%20c&e=x", "properties": {"a": [1]}, "traits": {"b": null}}),
        ),
        (
            "null is absent",
            "page",
            page(r#""userId":null,"properties":null,"traits":null,"context":null,"name":null"#),
            json!({}),
        ),
        ("empty ones are absent", "page", page(r#""properties":{},"traits":{},"context":{}"#), json!({})),
        ("of duplicates the last", "page", page(r#""userId":"a","userId":"b""#), json!({"userId": "b"})),
        (
            "parameters beside data win",
            "page",
            page(r#""userId":"a","groupId":"g""#) + "&uid=b",
            json!({"userId": "b", "groupId": "g"}),
        ),
        ("a key beside data makes it nothing", "page", "wk=k&".to_owned() + &page(r#""userId":"a""#), json!({})),
        ("an empty key does not", "page", "wk=+&".to_owned() + &page(r#""userId":"a""#), json!({"userId": "a"})),
        (
            "the first data that is not empty",
            "page",
            "data=&".to_owned() + &page(r#""userId":"a""#) + "&data=x",
            json!({"userId": "a"}),
        ),
        (
            "the other alphabet, padding, and a plus",
            "page",
            page(r#""name":"\u00fb\u00ff>~""#).replace('-', "%2B").replace('_', "/") + "==",
            json!({"name": "\u{fb}\u{ff}>~"}),
        ),
        (
            "ISO 8601",
            "page",
            "writeKey=k&timestamp=2025-02-25T15:30:00%2B01:00".to_owned(),
            json!({"timestamp": "2025-02-25T14:30:00.000Z"}),
        ),
        (
            "the better time",
            "page",
            "writeKey=k&originalTimestamp=2001-01-01T00:00:00Z&timestamp=2025-02-25T14:30:00Z".to_owned(),
            json!({"timestamp": "2025-02-25T14:30:00.000Z"}),
        ),
        (
            "the other time",
            "page",
            "writeKey=k&timestamp=&originalTimestamp=2025-02-25T14:30:00Z&sentAt=x".to_owned(),
            json!({"timestamp": "2025-02-25T14:30:00.000Z"}),
        ),
        (
            "Unix time in data",
            "page",
            page(r#""timestamp":1740493800000"#),
            json!({"timestamp": "2025-02-25T14:30:00.000Z"}),
        ),
        (
            "a time beside data",
            "page",
            page(r#""timestamp":1"#) + "&timestamp=2025-02-25T14:30:00Z",
            json!({"timestamp": "2025-02-25T14:30:00.000Z"}),
        ),
        (
            "no time",
            "page",
            page(r#""originalTimestamp":"yesterday""#),
            json!({"context": {"repaired": {"ts": "yesterday"}}}),
        ),
    ] {
        assert_eq!(said(kind, query.as_bytes()), Ok(expected), "{name}");
    }
}

#[test]
fn reasons() {
    let base64 = |json: &str| String::from_utf8(data(json.as_bytes())).unwrap();
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let path = |depth: usize| ["a"; 64][..depth].join(".");
    for (name, query, expected) in [
        ("no key", base64("{}"), Some(Reason::MissingKey)),
        ("no base64", "data=%7B".to_owned(), Some(Reason::MalformedData)),
        ("no JSON", base64("writeKey=k"), Some(Reason::MalformedData)),
        ("an array", base64("[]"), Some(Reason::MalformedData)),
        ("an id that is none", base64(r#"{"writeKey":"k","userId":true}"#), Some(Reason::MalformedData)),
        ("properties that are none", base64(r#"{"writeKey":"k","properties":[]}"#), Some(Reason::MalformedData)),
        ("a context that is none", base64(r#"{"writeKey":"k","context":1}"#), Some(Reason::MalformedData)),
        ("a time that is none", base64(r#"{"writeKey":"k","timestamp":[]}"#), Some(Reason::MalformedData)),
        ("an open escape", base64(r#"{"writeKey":"k","userId":"\ud8"}"#), Some(Reason::MalformedData)),
        ("as deep as can be", base64(&format!(r#"{{"writeKey":"k","properties":{}}}"#, nested(32))), None),
        ("too deep", base64(&format!(r#"{{"writeKey":"k","properties":{}}}"#, nested(33))), Some(Reason::TooDeep)),
        ("a path as deep as can be", format!("writeKey=k&properties.{}", path(32)), None),
        ("a path that is too deep", format!("writeKey=k&properties.{}", path(33)), Some(Reason::TooDeep)),
        ("a context as deep as can be", format!("writeKey=k&context.{}", path(32)), None),
        ("a context that is too deep", format!("writeKey=k&context.{}", path(33)), Some(Reason::TooDeep)),
        ("as many as can be", format!("writeKey=k{}", "&x".repeat(255)), None),
        ("too many", format!("writeKey=k{}", "&x".repeat(256)), Some(Reason::TooManyParameters)),
        (
            "those of data do not count",
            base64(r#"{"writeKey":"k","userId":"u","groupId":"g"}"#) + &"&x".repeat(255),
            None,
        ),
    ] {
        assert_eq!(reason(query.as_bytes(), &both()), expected, "{name}");
    }
    for (name, compat, expected) in [
        ("neither", Compat::default(), [Some(Reason::MissingKey); 2]),
        ("one of them has data", Compat { segment: true, rudderstack: false }, [None; 2]),
        ("the other has not", Compat { segment: false, rudderstack: true }, [None, Some(Reason::MissingKey)]),
    ] {
        let options = Options { compat, ..Options::default() };
        let found = [b"writeKey=k".to_vec(), data(br#"{"writeKey":"k"}"#)].map(|query| reason(&query, &options));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn names_that_mean_something() {
    let ignored = |kind: &str, query: &str, compat| {
        let options = Options { compat, ..Options::default() };
        pixelcore::notice::ignored(kind, query.as_bytes(), &options)
    };
    let query = "wk=k&cb=1&p.a&t.b&s&x&m&utm_id&uid&writeKey&event&name&data&properties.a&traits.b&context.c&timestamp\
        &originalTimestamp&sentAt&amp;zz&%7Az&zz&ts";
    let (segment, rudderstack) =
        (Compat { segment: true, rudderstack: false }, Compat { segment: false, rudderstack: true });
    for (kind, compat, expected) in [
        ("page", segment, &["event", "sentAt", "zz"][..]),
        ("track", segment, &["name", "sentAt", "zz"]),
        ("group", rudderstack, &["event", "name", "data", "sentAt", "zz"]),
        (
            "page",
            Compat::default(),
            &[
                "writeKey",
                "event",
                "name",
                "data",
                "properties.a",
                "traits.b",
                "context.c",
                "timestamp",
                "originalTimestamp",
                "sentAt",
                "zz",
            ],
        ),
    ] {
        assert_eq!(ignored(kind, query, compat), expected, "{kind} {compat:?}");
    }
}
