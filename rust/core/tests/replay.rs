//! A rejection's record, and the event of its replay (contract, section 5).
#![expect(clippy::unwrap_used)]

use pixelcore::consent::Mode;
use pixelcore::event::{Judged, write, write_rejection};
use pixelcore::options::{Compat, Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::replay::{Record, RecordError};
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use proptest::prelude::*;

const OPTIONS: Options = Options {
    limits: Limits { query_bytes: 8192, parameters: 256, depth: 32 },
    typed_values: false,
    respect_gpc: false,
    gpc: Mode::Individual,
    window_ms: None,
    reject_automated: false,
    compat: Compat { segment: false, rudderstack: false },
};

fn event(kind: &str, query: &[u8], request: &Request<'_>) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::new();
    write(&mut out, kind, query, request, &OPTIONS, |_| Ok(Judged::default())).map(|_| out).map_err(Reason::from)
}

fn record(reason: Reason, kind: &str, query: &str, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_rejection(&mut out, reason, kind, query.as_bytes(), request, &OPTIONS);
    out
}

fn request(millis: i64) -> Request<'static> {
    let received_at = UnixMillis::new(millis).unwrap();
    Request { received_at, ..Request::default() }
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("\\PC{0,20}|[a-z]{2}(-[A-Z]{2})?(, ?[*a-z]{1,2};q=0\\.[0-9]){0,2}|[01]|[ -~]{0,12}")
}

proptest! {
    #[test]
    fn the_event_is_that_of_the_request(
        (kind, query, millis) in ("track|page|x", "(wk=k&)?(e=E&)?\\PC{0,20}", 0..253_402_207_200_000_i64),
        (ip, user_agent, referer, locale) in (text(), text(), text(), text()),
        (gpc, dnt) in (text(), text()),
        (agent, purpose) in (
            prop::option::of(prop::sample::select(vec!["Mozilla/5.0", "Slackbot 1.0", "prefetch", "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"])),
            prop::option::of(prop::sample::select(vec!["prefetch", "Prefetch;prerender", " preview ", "navigate", "1"])),
        ),
    ) {
        let sent = Request {
            ip: ip.as_deref(),
            user_agent: agent.or(user_agent.as_deref()),
            referer: referer.as_deref(),
            locale: locale.as_deref(),
            gpc: gpc.as_deref(),
            dnt: dnt.as_deref(),
            purposes: [purpose, None, None, None],
            ..request(millis)
        };
        // Without its own messageId, each event gets a new one.
        let query = format!("mid=m&{query}");
        let line = record(Reason::TooDeep, &kind, &query, &sent);
        let record = Record::parse(&line).unwrap();
        prop_assert_eq!(record.reason(), "too_deep");
        prop_assert_eq!(record.judge(event), event(&kind, query.as_bytes(), &sent));
    }

    #[test]
    fn no_line_is_a_panic(line in "\\PC*|\\{(\"(reason|type|query|receivedAt|context)\":(\"\\PC*\"|\\{\\}),?){0,5}\\}") {
        let _ = Record::parse(line.as_bytes());
    }
}

#[test]
fn what_is_no_record() {
    let good = r#"{"reason":"r","type":"page","query":"wk=k","receivedAt":"2025-02-25T14:30:00.000Z","context":{}}"#;
    assert!(Record::parse(good.as_bytes()).unwrap().judge(event).is_ok());
    for (from, to) in [
        ("{\"reason\":\"r\",", "{"),
        ("\"wk=k\"", "1"),
        ("\"context\":{}", "\"context\":1"),
        ("\"context\":{}", "\"context\":{\"page\":\"url\"}"),
        ("}}", "}"),
    ] {
        assert!(matches!(Record::parse(good.replacen(from, to, 1).as_bytes()), Err(RecordError::Json(_))), "{from}");
    }
    for time in ["", "now", "2025-02-25", "1969-12-31T23:59:59.999Z"] {
        let line = good.replace("2025-02-25T14:30:00.000Z", time);
        assert!(matches!(Record::parse(line.as_bytes()), Err(RecordError::ReceivedAt)), "{time}");
    }
}

#[test]
fn a_domain_that_was_refused_without_a_referer_needs_an_origin() {
    for (reason, referer, expected) in [
        ("domain_not_allowed", None, true),
        ("domain_not_allowed", Some("https://example.com/"), false),
        ("unknown_key", None, false),
        ("unknown_key", Some("https://example.com/"), false),
    ] {
        let line = record(Reason::TooDeep, "page", "", &Request { referer, ..request(0) });
        let line = String::from_utf8(line).unwrap().replacen("too_deep", reason, 1);
        let origin =
            Record::parse(line.as_bytes()).unwrap().judge(|_, _, request| Ok(request.origin.map(str::to_owned)));
        let origin = origin.unwrap();
        let origin = origin.as_deref();
        assert_eq!(origin.is_some(), expected, "{reason} {referer:?}");
        let domains = [pixelcore::keys::domain::parse("example.com").unwrap()];
        assert_eq!(
            pixelcore::keys::domain::allows(&domains, false, origin, referer),
            !expected,
            "{reason} {referer:?}"
        );
        assert!(pixelcore::keys::domain::allows(&[], false, origin, referer), "all are allowed");
    }
}
