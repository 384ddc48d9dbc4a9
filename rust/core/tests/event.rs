//! The result of a request, byte by byte: the event, or the reason of rejection (contract, sections 2, 4 and 5).
#![expect(clippy::unwrap_used)]

use pixelcore::VERSION;
use pixelcore::event::{Judged, write};
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::{Value, json};

const AT: i64 = 1_740_493_801_250;
const AT_TEXT: &str = "2025-02-25T14:30:01.250Z";

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

fn ask(kind: &str, query: &str, request: &Request<'_>, options: &Options) -> Result<String, Reason> {
    let mut out = b"before".to_vec();
    let written = write(&mut out, kind, query.as_bytes(), request, options, |_| Ok(Judged::default()));
    let line = String::from_utf8(out).unwrap();
    let appended = line.strip_prefix("before").unwrap();
    assert_eq!(written.is_err(), appended.is_empty(), "nothing is appended when it is rejected");
    written.map(|_| appended.to_owned()).map_err(Reason::from)
}

fn request() -> Request<'static> {
    Request { received_at: at(AT), ..Request::default() }
}

/// A page's event without the members of every event.
fn extras(query: &str, request: &Request<'_>, options: &Options) -> Value {
    let event = ask("page", &format!("wk=k&mid=m&{query}"), request, options).unwrap();
    let mut event: Value = serde_json::from_str(&event).unwrap();
    let members = event.as_object_mut().unwrap();
    for (name, value) in
        [("type", "page"), ("messageId", "m"), ("timestamp", AT_TEXT), ("receivedAt", AT_TEXT), ("pipelineKey", "k")]
    {
        assert_eq!(members.remove(name), Some(json!(value)), "{query}: {name}");
    }
    let context = members["context"].as_object_mut().unwrap();
    assert_eq!(context.remove("library"), Some(json!({"name": "pixelcore", "version": VERSION})));
    if context.is_empty() {
        members.remove("context");
    }
    event
}

#[test]
fn the_contracts_example() {
    let query = "wk=dk_live_abc123&e=Email+Opened&uid=user_98765&p.campaign.id=camp_001&p.tag=a&p.tag=b\
        &ts=1740493800000&mid=a1b2c3d4";
    let request = Request { ip: Some("203.0.113.7"), user_agent: Some("Thunderbird/140.0"), ..request() };
    let expected = format!(
        r#"{{"type":"track","event":"Email Opened","messageId":"a1b2c3d4","timestamp":"2025-02-25T14:30:00.000Z","receivedAt":"{AT_TEXT}","pipelineKey":"dk_live_abc123","userId":"user_98765","properties":{{"campaign":{{"id":"camp_001"}},"tag":["a","b"]}},"context":{{"ip":"203.0.113.7","userAgent":"Thunderbird/140.0","library":{{"name":"pixelcore","version":"{VERSION}"}}}}}}"#
    );
    assert_eq!(ask("track", query, &request, &Options::default()), Ok(expected));
}

#[test]
fn members_have_an_order() {
    let query = "cb=1&utm_id=i&utm_content=c&utm_term=t&utm_campaign=n&utm_medium=m&utm_source=s&ts=bad&t.plan=pro&p.b=1&p.a=2\
        &gid=g&aid=%22a%22&uid=u&mid=m&e=E&wk=k";
    let headers = ["A", "https://b.example/?c=d", "de-DE,de;q=0.9", "1", "1"].map(Some);
    let request = Request::new(at(AT), Some("::1"), &headers);
    for (kind, name) in [("track", r#""event":"E","#), ("page", r#""name":"E","#), ("identify", ""), ("group", "")] {
        let expected = format!(
            r#"{{"type":"{kind}",{name}"messageId":"m","timestamp":"{AT_TEXT}","receivedAt":"{AT_TEXT}","pipelineKey":"k","userId":"u","anonymousId":"a","groupId":"g","properties":{{"b":"1","a":"2"}},"traits":{{"plan":"pro"}},"context":{{"ip":"::1","userAgent":"A","locale":"de-DE","page":{{"url":"https://b.example/?c=d"}},"campaign":{{"source":"s","medium":"m","name":"n","term":"t","content":"c","id":"i"}},"consent":{{"gpc":true,"dnt":true}},"repaired":{{"ts":"bad"}},"library":{{"name":"pixelcore","version":"{VERSION}"}}}}}}"#
        );
        assert_eq!(ask(kind, query, &request, &Options::default()), Ok(expected));
    }
}

#[test]
fn the_pipeline_is_what_the_judge_says() {
    for (pipeline, expected) in [("", None), ("pip_shop", Some("pip_shop"))] {
        let mut out = Vec::new();
        write(&mut out, "page", b"wk=k", &request(), &Options::default(), |claim| {
            assert_eq!(claim.key(), b"k");
            Ok(Judged { pipeline, ..Judged::default() })
        })
        .unwrap();
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event.get("pipelineId").map(|id| id.as_str().unwrap()), expected);
    }
}

#[test]
fn fields() {
    for (name, query, expected) in [
        ("nothing more", "", json!({})),
        ("identities", "uid=u&aid=a&gid=g", json!({"userId": "u", "anonymousId": "a", "groupId": "g"})),
        ("empty counts as absent", "uid=&aid&gid=", json!({})),
        ("invisible counts as absent", "uid=+%09&aid=%E2%80%8B&gid=%C2%AD", json!({})),
        ("trimmed, but not within", "uid=++u++v+&gid=%0Ag%00", json!({"userId": "u  v", "groupId": "g"})),
        ("the first non-empty counts", "uid=&uid&uid=a&uid=b&uid=", json!({"userId": "a"})),
        (
            "each has a first of its own",
            "aid=&aid=a&aid=b&gid=&gid=g&gid=h",
            json!({"anonymousId": "a", "groupId": "g"}),
        ),
        ("amp; before reserved names", "amp;uid=a&uid=b&amp;amp;e=E", json!({"userId": "a", "name": "E"})),
        ("names are matched after decoding", "%75i%64=a", json!({"userId": "a"})),
        ("names are case-sensitive", "UID=u&E=E&P.a=1", json!({})),
        (
            "not UTF-8",
            "uid=%FF&aid=%FE&gid=%FD",
            json!({"userId": "\u{fffd}", "anonymousId": "\u{fffd}", "groupId": "\u{fffd}",
                "context": {"repaired": {"userId": "%FF", "anonymousId": "%FE", "groupId": "%FD"}}}),
        ),
        ("U+FFFD that was sent", "uid=%EF%BF%BD", json!({"userId": "\u{fffd}"})),
        ("aid quoted", "aid=%22amp-x%22", json!({"anonymousId": "amp-x"})),
        ("aid trimmed within the quotes", "aid=+%22+x+%22", json!({"anonymousId": "x"})),
        ("aid with quotes in the midst", "aid=x%22%22y", json!({"anonymousId": "x\"\"y"})),
        ("an empty pair", "aid=%22%22&aid=b", json!({"anonymousId": "b"})),
        ("only aid loses quotes", "uid=%22u%22&gid=%22g%22", json!({"userId": "\"u\"", "groupId": "\"g\""})),
        ("JSON in values", "uid=%22%5C%0A&e=%0A%22", json!({"userId": "\"\\", "name": "\""})),
        ("first non-empty name, trimmed", "e=+&e=+%09A++B%0D%0A&e=C", json!({"name": "A  B"})),
        (
            "properties and traits",
            "t.b=2&p.a=1&t.c.0=3&p.d=",
            json!({"properties": {"a": "1", "d": ""}, "traits": {"b": "2", "c": ["3"]}}),
        ),
        ("p and t without a dot", "p=1&t=2", json!({})),
        ("p. is the empty member", "p.=1&t.=2", json!({"properties": {"": "1"}, "traits": {"": "2"}})),
        ("unknown names", "cb=1&x=2&utm_ids=3&type=4&properties.a=9&=", json!({})),
        (
            "campaign, the first non-empty",
            "utm_campaign=n&utm_source=&utm_source=s&utm_source=t",
            json!({"context": {"campaign": {"source": "s", "name": "n"}}}),
        ),
        ("each of the campaign may be alone", "utm_id=3", json!({"context": {"campaign": {"id": "3"}}})),
        ("only empty utm", "utm_source=&utm_medium", json!({})),
    ] {
        assert_eq!(extras(query, &request(), &Options::default()), expected, "{name}");
    }
}

#[test]
fn contexts() {
    let gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
    for (name, headers, ip, expected) in [
        ("empty headers", [Some(""), Some(""), Some(""), Some(""), Some(""), None], Some(""), json!({})),
        ("ip as it is", [None; 6], Some("2001:DB8::7"), json!({"ip": "2001:DB8::7"})),
        ("agent", [Some("a \"b\""), None, None, None, None, None], None, json!({"userAgent": "a \"b\""})),
        (
            "page",
            [None, Some("https://a.example/b?c=%20"), None, None, None, None],
            None,
            json!({"page": {"url": "https://a.example/b?c=%20"}}),
        ),
        ("first language", [None, None, Some("de;q=0.1,en"), None, None, None], None, json!({"locale": "de"})),
        ("any language", [None, None, Some("*, en"), None, None, None], None, json!({})),
        ("dnt", [None, None, None, Some("0"), Some("1"), None], None, json!({"consent": {"dnt": true}})),
        ("gpc", [None, None, None, Some("1"), Some("true"), None], None, json!({"consent": {"gpc": true}})),
        (
            "a client that is a person's",
            [Some(gmail), None, None, None, None, None],
            None,
            json!({"userAgent": gmail, "client": {"name": "gmail", "automated": false}}),
        ),
        (
            "nobody looked yet",
            [None, None, None, None, None, Some("prefetch;prerender")],
            None,
            json!({"client": {"name": "prefetch", "automated": true}}),
        ),
    ] {
        let request = Request::new(at(AT), ip, &headers);
        let found = extras("", &request, &Options::default());
        assert_eq!(found.get("context").cloned().unwrap_or_else(|| json!({})), expected, "{name}");
    }
}

#[test]
fn what_is_kept_of_who_asks_for_privacy() {
    let headers = ["A", "https://a.example/b?who=jane", "de", "1"].map(Some);
    let request = Request::new(at(AT), Some("203.0.113.7"), &headers);
    let query = "uid=u&aid=a&gid=g&p.a=1&t.b=2&utm_source=s";
    let private = Options { respect_gpc: true, ..Options::default() };
    for (name, options, gpc, expected) in [
        (
            "respected",
            private,
            Some("1"),
            json!({"groupId": "g", "properties": {"a": "1"}, "context": {
                "locale": "de", "page": {"url": "https://a.example/b"}, "campaign": {"source": "s"}, "consent": {"gpc": true}}}),
        ),
        (
            "not respected",
            Options::default(),
            Some("1"),
            json!({"userId": "u", "anonymousId": "a", "groupId": "g", "properties": {"a": "1"}, "traits": {"b": "2"}, "context": {
                "ip": "203.0.113.7", "userAgent": "A", "locale": "de", "page": {"url": "https://a.example/b?who=jane"},
                "campaign": {"source": "s"}, "consent": {"gpc": true}}}),
        ),
        (
            "not asked for",
            private,
            None,
            json!({"userId": "u", "anonymousId": "a", "groupId": "g", "properties": {"a": "1"}, "traits": {"b": "2"}, "context": {
                "ip": "203.0.113.7", "userAgent": "A", "locale": "de", "page": {"url": "https://a.example/b?who=jane"},
                "campaign": {"source": "s"}}}),
        ),
    ] {
        assert_eq!(extras(query, &Request { gpc, ..request }, &options), expected, "{name}");
    }
    let found = extras("uid=%FF&aid=%FE&gid=%FD", &request, &private);
    assert_eq!(found["context"]["repaired"], json!({"groupId": "%FD"}), "nor what was sent of an id");
}

#[test]
fn typed_values_are_for_properties_and_traits() {
    let options = Options { typed_values: true, ..Options::default() };
    let expected = json!({
        "userId": "1", "groupId": "true", "name": "2", "context": {"campaign": {"source": "3"}},
        "properties": {"a": 1, "b": "007"}, "traits": {"c": true},
    });
    assert_eq!(extras("uid=1&gid=true&e=2&utm_source=3&p.a=1&p.b=007&t.c=true", &request(), &options), expected);
}
