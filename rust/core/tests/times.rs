//! Times, and the ids that contain them (contract, section 4).
#![expect(clippy::unwrap_used)]

use pixelcore::event::{Judged, write};
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::{Value, json};

const AT: i64 = 1_740_493_801_250;
const AT_TEXT: &str = "2025-02-25T14:30:01.250Z";
const HOUR: i64 = 3_600_000;

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

#[test]
fn times() {
    let plausible =
        |ts: &str, received_at: i64| UnixMillis::of_ts(ts.as_bytes(), at(received_at)).map(UnixMillis::millis);
    for (name, ts, expected) in [
        ("the very moment", AT.to_string(), true),
        ("a second ago", (AT - 1000).to_string(), true),
        ("the earliest", "946684800000".to_owned(), true),
        ("too early", "946684799999".to_owned(), false),
        ("the latest", (AT + 23 * HOUR).to_string(), true),
        ("too late", (AT + 23 * HOUR + 1).to_string(), false),
        ("never set", "0".to_owned(), false),
        ("seconds", "1740493800".to_owned(), false),
        ("leading zeros", format!("00{AT}"), true),
        ("more than 64 bits", "9".repeat(30), false),
        ("plausible when cut to 64 bits", "18446745814203353866".to_owned(), false),
        ("a sign", format!("-{AT}"), false),
        ("a fraction", format!("{AT}.0"), false),
        ("before the digits", format!("/{AT}"), false),
        ("behind the digits", format!(":{AT}"), false),
        ("ISO 8601", AT_TEXT.to_owned(), false),
    ] {
        let expected = expected.then(|| ts.parse::<i64>().unwrap());
        assert_eq!(plausible(&ts, AT), expected, "{name}");
        let found = ask("page", &format!("wk=k&mid=m&ts={ts}"), &request(), &Options::default()).unwrap();
        let event: Value = serde_json::from_str(&found).unwrap();
        let written = String::from_utf8(at(expected.unwrap_or(AT)).iso().to_vec()).unwrap();
        assert_eq!((&event["timestamp"], &event["receivedAt"]), (&json!(written), &json!(AT_TEXT)), "{name}");
        let repaired = if expected.is_none() { json!({"ts": ts}) } else { Value::Null };
        assert_eq!(event["context"]["repaired"], repaired, "{name}");
    }
    assert_eq!(plausible("", AT), None);
    assert!(
        !ask("page", "wk=k&ts=&ts=+", &request(), &Options::default()).unwrap().contains("repaired"),
        "empty is absent"
    );
    for (text, expected) in [
        ("2025-02-25T14:30:00Z", Some(1_740_493_800_000)),
        ("2025-02-25T15:30:00.007+01:00", Some(1_740_493_800_007)),
        ("2025-02-25T14:30:00", None),
        ("1999-12-31T23:59:59Z", None),
        ("2025-02-26T13:30:01.250Z", Some(AT + 23 * HOUR)),
        ("2025-02-26T13:30:01.251Z", None),
        ("now", None),
        ("", None),
    ] {
        assert_eq!(UnixMillis::of_iso(text.as_bytes(), at(AT)).map(UnixMillis::millis), expected, "{text}");
    }
    assert!(UnixMillis::of_iso(b"\xff", at(AT)).is_none());
}

#[test]
fn the_clocks_range() {
    for (millis, expected) in [
        (-1, None),
        (0, Some("1970-01-01T00:00:00.000Z")),
        (7, Some("1970-01-01T00:00:00.007Z")),
        (AT, Some(AT_TEXT)),
        (253_402_207_200_000, Some("9999-12-30T22:00:00.000Z")),
        (253_402_300_800_000, None),
        (i64::MAX, None),
    ] {
        let found = UnixMillis::new(millis);
        assert_eq!(found.map(|time| String::from_utf8(time.iso().to_vec()).unwrap()).as_deref(), expected, "{millis}");
        assert_eq!(found.map(UnixMillis::millis), expected.map(|_| millis));
    }
    let unix = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = u128::try_from(UnixMillis::now().millis()).unwrap();
    assert!((unix..unix + 60_000).contains(&now));
}

#[test]
fn a_message_without_identity_gets_one_of_its_time() {
    let mut ids = Vec::new();
    for (millis, query) in
        [(0, "wk=k"), (1, "wk=k&mid"), (AT, "wk=k&mid=+%00"), (AT, "wk=k"), (4_102_444_799_999, "wk=k")]
    {
        let request = Request { received_at: at(millis), ..Request::default() };
        let event: Value = serde_json::from_str(&ask("page", query, &request, &Options::default()).unwrap()).unwrap();
        let id = event["messageId"].as_str().unwrap().to_owned();
        let hex = id.replace('-', "");
        assert_eq!(i64::from_str_radix(&hex[..12], 16), Ok(millis), "{id}");
        assert_eq!((id.len(), &id[14..15]), (36, "7"), "a UUIDv7 in its usual spelling");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b") && id == id.to_lowercase(), "{id}");
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each its own");
}
