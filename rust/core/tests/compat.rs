//! Foreign queries: any input becomes a line of JSON or a reason, and native queries are unaffected.
#![expect(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pixelcore::consent::Mode;
use pixelcore::event::{Judged, write};
use pixelcore::options::{Compat, Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn event(query: &[u8], options: &Options) -> Result<Vec<u8>, Reason> {
    let request = Request {
        received_at: UnixMillis::new(1_740_493_801_250).unwrap(),
        user_agent: Some("A"),
        locale: Some("de"),
        ..Request::default()
    };
    let mut out = Vec::new();
    let written = write(&mut out, "page", query, &request, options, |_| Ok(Judged::default()));
    let keeps_an_event = written.is_ok_and(|notices| notices.mode == Mode::Individual);
    assert_eq!(keeps_an_event, !out.is_empty());
    Ok(written.map(|_| out)?)
}

fn both() -> Options {
    Options { compat: Compat { segment: true, rudderstack: true }, ..Options::default() }
}

fn data(json: &[u8]) -> Vec<u8> {
    format!("data={}", URL_SAFE_NO_PAD.encode(json)).into_bytes()
}

#[test]
fn names() {
    for (names, expected) in [
        (&[][..], Ok((false, false))),
        (&["segment"], Ok((true, false))),
        (&["rudderstack", "segment", "segment"], Ok((true, true))),
        (&["segment", "Segment", "x"], Err("Segment")),
        (&[""], Err("")),
    ] {
        let found = Compat::of(names.iter().copied());
        assert_eq!(found.map(|found| (found.segment, found.rudderstack)), expected, "{names:?}");
        assert!(found.is_err() || found.unwrap().any() != names.is_empty());
    }
}

#[test]
fn no_limit_is_too_large() {
    let limits = Limits { query_bytes: usize::MAX, parameters: usize::MAX, depth: usize::MAX };
    let deep = format!(r#"{{"writeKey":"k","properties":{}{}}}"#, "{\"a\":".repeat(50_000) + "1", "}".repeat(50_000));
    assert!(event(&data(deep.as_bytes()), &Options { limits, ..both() }).is_ok());
    assert_eq!(
        event(&data(deep.as_bytes()), &Options { limits: Limits { depth: 9, ..limits }, ..both() }),
        Err(Reason::TooDeep)
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}|[\\x00-\\x7f]{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn objects_come_back(properties in prop::collection::hash_map("\\PC{0,6}", json_value(), 1..4), context in json_value()) {
        let properties: Map<String, Value> = properties.into_iter().collect();
        let sent = json!({ "writeKey": "k", "properties": properties, "context": { "mine": context } });
        let line = event(&data(&serde_json::to_vec(&sent).unwrap()), &both()).unwrap();
        let event: Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(&event["properties"], &sent["properties"]);
        let said = !matches!(context, Value::Null) && context != json!("") && context != json!({});
        prop_assert_eq!(event["context"].get("mine"), Some(&context).filter(|_| said));
    }

    #[test]
    fn whatever_is_sent_is_a_line_or_a_reason(
        json in "\\PC*|(\\{|\\}|\\[|\\]|,|:|\"|\\\\u?|d8|00|-|1e9| |\n|\"(writeKey|name|context|properties|timestamp)\":){0,24}",
        rest in "(&(properties|context|traits|p|t)?(\\.[a0]?){0,4}=[%+a0]{0,3}){0,6}",
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for query in [data(json.as_bytes()), data(&bytes), data(format!("{{\"writeKey\":\"k\",{json}}}").as_bytes()), bytes, b"writeKey=k".to_vec()] {
            let query = [&query, rest.as_bytes()].concat();
            if let Ok(line) = event(&query, &both()) {
                let event: Value = serde_json::from_slice(&line).unwrap();
                prop_assert!(!line.contains(&b'\n'));
                prop_assert!(event["context"]["library"].is_object() || json.contains("library"));
            }
        }
    }

    #[test]
    fn native_queries_are_read_as_ever(query in "mid=m&wk=k(&(p|t|e|uid|utm_term|cb|data|[a-m]{1,4})?(\\.[a0]?){0,3}(=[%+a0é]{0,3})?){0,6}") {
        prop_assert_eq!(event(query.as_bytes(), &both()), event(query.as_bytes(), &Options::default()));
    }
}
