//! The reasons of rejection, their precedence, and the kept record (contract, section 5).
#![expect(clippy::unwrap_used)]

use pixelcore::VERSION;
use pixelcore::event::{Judged, write, write_rejection};
use pixelcore::options::{Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

const AT: i64 = 1_740_493_801_250;
const AT_TEXT: &str = "2025-02-25T14:30:01.250Z";

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

fn ask(kind: &str, query: &str, request: &Request<'_>, options: &Options) -> Result<String, Reason> {
    let mut out = Vec::new();
    write(&mut out, kind, query.as_bytes(), request, options, |_| Ok(Judged::default()))?;
    Ok(String::from_utf8(out).unwrap())
}

fn request() -> Request<'static> {
    Request { received_at: at(AT), ..Request::default() }
}

const SMALL: Options = Options {
    limits: Limits { query_bytes: 60, parameters: 4, depth: 2 },
    typed_values: false,
    respect_gpc: false,
    gpc: pixelcore::consent::Mode::Individual,
    window_ms: None,
    reject_automated: true,
    compat: pixelcore::options::Compat { segment: false, rudderstack: false },
};

#[test]
fn reasons() {
    let keys = [("a".repeat(64), true), ("a".repeat(65), false)].map(|(key, is_key)| (format!("wk={key}"), is_key));
    for (query, is_key) in keys {
        let expected = if is_key { None } else { Some(Reason::MalformedKey) };
        assert_eq!(ask("page", &query, &request(), &Options::default()).err(), expected, "{query}");
    }
    let bot = Request { user_agent: Some("Slackbot-LinkExpanding 1.0"), ..request() };
    for (name, kind, query, expected) in [
        ("all is right", "track", "wk=k&e=E&p.a.b=1&uid=u", None),
        ("any of the four", "identify", "wk=k", None),
        ("any of the four", "group", "wk=k", None),
        ("none of the four", "tracks", "wk=k&e=E", Some(Reason::UnknownType)),
        ("case counts", "Track", "wk=k&e=E", Some(Reason::UnknownType)),
        ("as long as can be", "page", "wk=k&p.a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", None),
        (
            "too long",
            "page",
            "wk=k&p.a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            Some(Reason::QueryTooLong),
        ),
        ("as many as can be", "page", "wk=k&a&b&c", None),
        ("empty ones do not count", "page", "wk=k&&&a&b&&c", None),
        ("too many", "page", "wk=k&a&b&c&d", Some(Reason::TooManyParameters)),
        ("no key", "page", "a=1", Some(Reason::MissingKey)),
        ("an empty key", "page", "wk=+", Some(Reason::MissingKey)),
        ("of all letters", "page", "wk=+AZaz09_-+", None),
        ("a letter before", "page", "wk=%40", Some(Reason::MalformedKey)),
        ("a letter behind", "page", "wk=%7B", Some(Reason::MalformedKey)),
        ("not ASCII", "page", "wk=%C3%A9", Some(Reason::MalformedKey)),
        ("a track without e", "track", "wk=k", Some(Reason::MissingEvent)),
        ("a track with an empty e", "track", "wk=k&e=+", Some(Reason::MissingEvent)),
        ("a page needs none", "page", "wk=k", None),
        ("as deep as can be", "page", "wk=k&p.a.b=1&t.a.b=1", None),
        ("too deep", "page", "wk=k&p.a.b.c=1", Some(Reason::TooDeep)),
        ("traits too deep", "page", "wk=k&t.a.b.c=1", Some(Reason::TooDeep)),
        ("other names have no depth", "page", "wk=k&x.a.b.c=1", None),
        ("the key before the event", "track", "wk=%40", Some(Reason::MalformedKey)),
        ("the event before the depth", "track", "wk=k&p.a.b.c=1", Some(Reason::MissingEvent)),
    ] {
        assert_eq!(ask(kind, query, &request(), &SMALL).err(), expected, "{name}: {query}");
    }
    assert_eq!(ask("page", "wk=k", &bot, &SMALL).err(), Some(Reason::Automated));
    assert_eq!(ask("page", "wk=k&p.a.b.c=1", &bot, &SMALL).err(), Some(Reason::TooDeep), "before that nobody looked");
    assert_eq!(ask("page", "wk=k", &bot, &Options::default()).err(), None);
    assert_eq!(Options::default().limits, Limits { query_bytes: 8192, parameters: 256, depth: 32 }, "the contract's");
}

#[test]
fn a_judges_word_comes_behind_the_key_and_before_the_event() {
    for (query, expected) in [("", Reason::MissingKey), ("wk=%40", Reason::MalformedKey), ("wk=k", Reason::DisabledKey)]
    {
        let mut out = Vec::new();
        let judged =
            write(&mut out, "track", query.as_bytes(), &request(), &Options::default(), |_| Err(Reason::DisabledKey));
        assert_eq!((judged.err().map(Reason::from), out.is_empty()), (Some(expected), true), "{query}");
    }
}

#[test]
fn a_record_has_all_that_an_event_is_made_of() {
    let query = "uid=jane\"\u{e9}&p.a";
    let headers = ["A", "https://a.example/b?who=jane", "de-DE,de", "1", "0", "prefetch"].map(Some);
    let request = Request::new(at(AT), Some("203.0.113.7"), &headers);
    for (name, options, who, page) in [
        ("", Options::default(), r#""ip":"203.0.113.7","userAgent":"A","#, "https://a.example/b?who=jane"),
        ("of who asks for privacy", Options { respect_gpc: true, ..Options::default() }, "", "https://a.example/b"),
    ] {
        let mut out = Vec::new();
        write_rejection(&mut out, Reason::MissingKey, "a\"b", query.as_bytes(), &request, &options);
        let expected = format!(
            r#"{{"reason":"missing_key","type":"a\"b","query":"uid=jane\"é&p.a","receivedAt":"{AT_TEXT}","context":{{{who}"locale":"de-DE","page":{{"url":"{page}"}},"consent":{{"gpc":true}},"client":{{"name":"prefetch","automated":true}},"library":{{"name":"pixelcore","version":"{VERSION}"}}}}}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{name}");
    }
}
