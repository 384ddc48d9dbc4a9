//! Requests in all modes, from the query to the lines in the journals.
#![expect(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::Collector;
use pixelcore::consent::{Journals, Mode};
use pixelcore::counters::Counters;
use pixelcore::journal::{Journal, Reader, WhenFull};
use pixelcore::keys::Keys;
use pixelcore::options::Options;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

const KEYS: &str = r#"
[[pipeline]]
id = "pip_plain"
key = "dk_live_plain"

[[pipeline]]
id = "pip_day"
key = "dk_live_day"
max = "deliverability"
secrets = ["a-secret-of-the-tests-0123456789"]

[[pipeline]]
id = "pip_count"
key = "dk_live_count"
max = "aggregate"
aggregate_properties = ["campaign.id", "a"]

[[pipeline]]
id = "pip_asks"
key = "dk_live_asks"
consent = "uid"
rate_limit_rps = 1000

[[pipeline]]
id = "pip_default"
key = "dk_live_default"
default = "none"

[[pipeline]]
id = "pip_clean"
key = "dk_live_clean"
refuse_addresses = true
"#;

const ONE_PLAIN: &str = "[[pipeline]]\nid = 'pip_plain'\nkey = 'dk_live_plain'";

struct Gateway {
    collector: Collector<()>,
    /// The journals of events, rejections, openings and loads.
    journals: [Arc<Journal>; 4],
    counters: Arc<Counters>,
}

fn gateway(root: &Path, keys: &str, group_commit: bool) -> Gateway {
    let journal = |name| Arc::new(Journal::new(&root.join(name), 1 << 20, 1 << 30, WhenFull::Refuse).unwrap());
    let journals = ["events", "rejections", "openings", "loads"].map(journal);
    let [events, rejections, openings, loads] = journals.clone();
    let counters = Arc::new(Counters::in_memory(&[]));
    let options = Options { respect_gpc: true, gpc: Mode::None, ..Options::default() };
    let counted = Arc::clone(&counters);
    let proxies = TrustedProxies::default();
    let reduced = Journals { openings: Some(openings), loads: Some(loads), ..Journals::default() };
    let collector = Collector::new(events, rejections, options, proxies, IpPolicy::Full, counted, group_commit);
    let collector = collector.with_reduced(reduced);
    collector.set_keys(Keys::parse(keys).unwrap());
    Gateway { collector, journals, counters }
}

impl Gateway {
    fn lines(&self) -> [Vec<String>; 4] {
        self.journals.each_ref().map(|journal| {
            let batch = Reader::new(journal.directory(), 0).read(100, 1 << 20).unwrap();
            batch.iter().map(|message| String::from_utf8(message.line.to_vec()).unwrap()).collect()
        })
    }

    fn counted(&self) -> Vec<(String, u64)> {
        let counted = self.counters.iter().filter(|(name, count)| *count > 0 && !name.contains("bytes"));
        counted.map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

/// 2025-02-25T14:30:01.250Z
const NOW: i64 = 1_740_493_801_250;

fn request() -> Request<'static> {
    Request {
        received_at: UnixMillis::new(NOW).unwrap(),
        ip: Some("203.0.113.7"),
        user_agent: Some("Agent/1"),
        referer: Some("https://page.example/?who=jane"),
        ..Request::default()
    }
}

const EVENT: &str = "an event";
const RECORD: &str = "a record";

/// The only line in all journals: its journal, and the line itself unless it is an event or a rejection's record.
fn kept(lines: [Vec<String>; 4]) -> String {
    let all: Vec<_> = lines.iter().flatten().collect();
    match (all.len(), lines) {
        (0, _) => String::new(),
        (1, [events, ..]) if events.len() == 1 => EVENT.to_owned(),
        (1, [_, rejections, ..]) if rejections.len() == 1 => RECORD.to_owned(),
        (1, [_, _, openings, loads]) => [openings, loads].concat().concat(),
        (_, lines) => panic!("{lines:?}"),
    }
}

/// name, type, query, what is kept, and what is counted
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const OPENED: &str = r#"{"pipelineId":"pip_day","userId":"u1","day":"2025-02-25"}"#;
const LOADED: &str = r#"{"type":"track","event":"E","pipelineId":"pip_count","window":"2025-02-25T14:00:00.000Z"}"#;
const ACCEPTED: &str = "requests track accepted";
const NONE: &str = "requests_by_mode none";
const DAY: &str = "requests_by_mode deliverability";
const COUNT: &str = "requests_by_mode aggregate";
const SINGLE: &str = "consent_faults id_in_aggregate";

const ROWS: &[Row] = &[
    ("nothing said", "track", "wk=dk_live_plain&e=E&uid=u1", EVENT, &[ACCEPTED]),
    ("individual", "track", "wk=dk_live_plain&e=E&uid=u1&m=i", EVENT, &[ACCEPTED]),
    ("an empty mode is none said", "track", "wk=dk_live_plain&e=E&uid=u1&m=", EVENT, &[ACCEPTED]),
    ("a URL lowers anywhere", "track", "wk=dk_live_plain&e=E&uid=u1&m=n", "", &[ACCEPTED, NONE]),
    ("in a word", "track", "wk=dk_live_plain&e=E&uid=u1&m=none", "", &[ACCEPTED, NONE]),
    ("escaped twice", "track", "wk=dk_live_plain&e=E&uid=u1&amp;amp;m=%6e", "", &[ACCEPTED, NONE]),
    ("with spaces around", "track", "wk=dk_live_plain&e=E&uid=u1&m=+n%20", "", &[ACCEPTED, NONE]),
    (
        "what is no mode is nothing guessed",
        "track",
        "wk=dk_live_plain&e=E&uid=u1&m={{mode}}",
        "",
        &[ACCEPTED, NONE, "consent_faults unknown_mode"],
    ),
    (
        "the first that is not empty",
        "track",
        "wk=dk_live_plain&e=E&uid=u1&m=&m=d&m=i",
        r#"{"pipelineId":"pip_plain","userId":"u1","day":"2025-02-25"}"#,
        &[ACCEPTED, DAY],
    ),
    ("the most is the day", "track", "wk=dk_live_day&e=E&uid=u1&mid=1&p.a=2&m=i", OPENED, &[ACCEPTED, DAY]),
    (
        "of an anonymous person",
        "track",
        "wk=dk_live_day&e=E&aid=a1",
        r#"{"pipelineId":"pip_day","anonymousId":"a1","day":"2025-02-25"}"#,
        &[ACCEPTED, DAY],
    ),
    ("of nobody", "track", "wk=dk_live_day&e=E", "", &[ACCEPTED, DAY, "consent_faults nobody_named"]),
    ("day and count are nothing", "track", "wk=dk_live_day&e=E&uid=u1&m=a", "", &[ACCEPTED, NONE]),
    ("who somebody is", "identify", "wk=dk_live_day&uid=u1&t.a=b", "", &["requests identify accepted", DAY]),
    ("whose group", "group", "wk=dk_live_count&gid=g&m=a", "", &["requests group accepted", COUNT]),
    ("a count", "track", "wk=dk_live_count&e=E&p.b=2&utm_source=s&ts=1&cb=3&t=4", LOADED, &[ACCEPTED, COUNT]),
    ("with an empty id", "track", "wk=dk_live_count&e=E&uid=&mid=+", LOADED, &[ACCEPTED, COUNT]),
    (
        "by named properties",
        "page",
        "wk=dk_live_count&e=P&p.campaign.id=c%22&p.b=2&p.campaign.id=d",
        r#"{"type":"page","name":"P","pipelineId":"pip_count","window":"2025-02-25T14:00:00.000Z","properties":{"campaign.id":"c\""}}"#,
        &["requests page accepted", COUNT],
    ),
    ("a user in a count", "track", "wk=dk_live_count&e=E&uid=u1", "", &[ACCEPTED, COUNT, SINGLE]),
    ("a visitor", "track", "wk=dk_live_count&e=E&aid=a1", "", &[ACCEPTED, COUNT, SINGLE]),
    ("a group", "track", "wk=dk_live_count&e=E&gid=g1", "", &[ACCEPTED, COUNT, SINGLE]),
    ("a message", "track", "wk=dk_live_count&e=E&mid=m1", "", &[ACCEPTED, COUNT, SINGLE]),
    ("a trait", "track", "wk=dk_live_count&e=E&t.a=b", "", &[ACCEPTED, COUNT, SINGLE]),
    ("unknown where consent is asked", "track", "wk=dk_live_asks&e=E&uid=u1", "", &[ACCEPTED, NONE]),
    ("nobody where consent is asked", "track", "wk=dk_live_asks&e=E&m=i", "", &[ACCEPTED, NONE]),
    ("the default", "track", "wk=dk_live_default&e=E&uid=u1", "", &[ACCEPTED, NONE]),
    ("not the default", "track", "wk=dk_live_default&e=E&uid=u1&m=i", EVENT, &[ACCEPTED]),
    (
        "what is no mode is the default",
        "track",
        "wk=dk_live_default&e=E&uid=u1&m=x",
        "",
        &[ACCEPTED, NONE, "consent_faults unknown_mode"],
    ),
    ("a rejection of the mode none", "track", "wk=dk_live_plain&uid=u1&m=n", "", &["requests track missing_event"]),
    ("of a pipeline that keeps less", "track", "wk=dk_live_day&uid=u1", "", &["requests track missing_event"]),
    ("of a forged signature", "track", "wk=dk_live_day&e=E&s=AAAA", "", &["requests track bad_signature"]),
    ("of a pipeline that asks", "track", "wk=dk_live_asks&uid=u1&m=i", "", &["requests track missing_event"]),
    ("of nobody knows which pipeline", "track", "wk=dk_live_dya&e=E&uid=u1", "", &["requests track unknown_key"]),
    ("of none", "track", "e=E&uid=u1", "", &["requests track missing_key"]),
    ("of a pipeline that keeps all", "track", "wk=dk_live_plain&uid=u1", RECORD, &["requests track missing_event"]),
    ("an address", "track", "wk=dk_live_clean&e=E&uid=a%40b.de", RECORD, &["requests track address_in_url"]),
    ("no address", "track", "wk=dk_live_clean&e=E&uid=a", EVENT, &[ACCEPTED]),
];

#[test]
fn what_is_kept() {
    for group_commit in [false, true] {
        for (name, kind, query, expected, counted) in ROWS {
            let root = tempfile::tempdir().unwrap();
            let gateway = gateway(root.path(), KEYS, group_commit);
            gateway.collector.collect(kind, query.as_bytes(), &request(), ()).unwrap();
            if group_commit {
                let group = gateway.collector.take_group();
                gateway.collector.commit(&group).unwrap();
                assert_eq!(group.into_waiting().count(), 1, "{name}: everybody is answered");
            }
            assert_eq!(kept(gateway.lines()), *expected, "{name}");
            let expected: Vec<_> = counted.iter().map(|name| ((*name).to_owned(), 1)).collect();
            let found = gateway.counted();
            assert!(expected.iter().all(|count| found.contains(count)), "{name}: {found:?}");
            let about_consent = |name: &str| name.starts_with("requests") || name.starts_with("consent");
            assert_eq!(
                found.iter().filter(|(name, _)| about_consent(name)).count(),
                expected.len(),
                "{name}: {found:?}"
            );
        }
    }
}

#[test]
fn a_record_without_the_address() {
    let root = tempfile::tempdir().unwrap();
    let gateway = gateway(root.path(), KEYS, false);
    for query in ["wk=dk_live_clean&e=E&p.x=jane%2540b.de", "wk=dk_live_clean&p.jane@b.de=1"] {
        gateway.collector.collect("track", query.as_bytes(), &request(), ()).unwrap();
    }
    let [_, records, ..] = gateway.lines();
    assert_eq!(records.len(), 2);
    for record in records {
        assert!(record.contains(r#""query":"""#) && !record.contains("jane"), "{record}");
    }
}

#[test]
fn what_nobody_reduces_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let gateway = gateway(root.path(), ONE_PLAIN, false);
    for (query, expected) in [
        ("wk=dk_live_other&e=E&uid=u1", 1),
        ("wk=dk_live_other&e=E&uid=u1&m=i", 2),
        ("wk=dk_live_other&e=E&uid=u1&m=n", 2),
        ("wk=dk_live_other&e=E&uid=u1&m=?", 2),
        ("uid=u1&m=d", 2),
    ] {
        gateway.collector.collect("track", query.as_bytes(), &request(), ()).unwrap();
        assert_eq!(gateway.lines()[1].len(), expected, "{query}");
    }
    gateway.collector.collect("no", b"wk=dk_live_plain&m=a", &request(), ()).unwrap();
    let gpc = Request { gpc: Some("1"), ..request() };
    gateway.collector.collect("track", b"wk=dk_live_plain", &gpc, ()).unwrap();
    gateway.collector.collect("track", b"wk=dk_live_plain&e=E", &gpc, ()).unwrap();
    assert_eq!(gateway.lines().map(|lines| lines.len()), [0, 2, 0, 0], "GPC is the mode none here");
}

#[test]
fn a_journal_of_loads_has_one_window() {
    let root = tempfile::tempdir().unwrap();
    let gateway = gateway(root.path(), KEYS, false);
    let hour = 3_600_000;
    for at in [NOW, NOW + 1, NOW + hour, NOW + hour + 1, NOW + 2 * hour] {
        let request = Request { received_at: UnixMillis::new(at).unwrap(), ..request() };
        gateway.collector.collect("track", b"wk=dk_live_count&e=E", &request, ()).unwrap();
    }
    let journals = || std::fs::read_dir(root.path().join("loads")).unwrap().count();
    assert_eq!((journals(), gateway.lines()[3].len()), (3, 1));
    gateway.collector.turn(UnixMillis::new(NOW + 2 * hour + 5).unwrap()).unwrap();
    assert_eq!(gateway.lines()[3].len(), 1, "the window goes on");
    gateway.collector.turn(UnixMillis::new(NOW + 3 * hour).unwrap()).unwrap();
    assert_eq!(gateway.lines()[3].len(), 0, "what has passed is let go");
    assert_eq!(journals(), 3);
}
