//! A gateway's settings of addresses, keys and proxies, from the request to the line in its journal.
#![expect(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::Collector;
use pixelcore::counters::Counters;
use pixelcore::event::write_rejection;
use pixelcore::journal::{Error, Journal, Reader, WhenFull};
use pixelcore::keys::Keys;
use pixelcore::keys::rate::Buckets;
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::replay::Record;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::{Value, json};

const SHOP: &str = "[[pipeline]]\nid = \"pip_shop\"\nkey = \"dk_live_shop\"\n";

struct Gateway {
    collector: Collector<()>,
    events: Arc<Journal>,
    rejections: Arc<Journal>,
    counters: Arc<Counters>,
}

impl Gateway {
    fn new(root: &Path, proxies: &str, ip: IpPolicy, event_bytes: u64) -> Self {
        let journal =
            |name: &str, bytes| Arc::new(Journal::new(&root.join(name), 1 << 20, bytes, WhenFull::Refuse).unwrap());
        let (events, rejections) = (journal("events", event_bytes), journal("rejections", 1 << 20));
        let (proxies, counters) = (TrustedProxies::parse(proxies).unwrap(), Arc::new(Counters::in_memory(&[])));
        let (options, counted) = (Options::default(), Arc::clone(&counters));
        let (ours, theirs) = (Arc::clone(&events), Arc::clone(&rejections));
        Self {
            collector: Collector::new(ours, theirs, options, proxies, ip, counted, false),
            events,
            rejections,
            counters,
        }
    }

    fn ask(&self, query: &str) -> Result<Option<Reason>, Error> {
        self.collector.collect("track", query.as_bytes(), &request(), ())
    }

    fn again(&self, record: &[u8]) -> Result<Value, Reason> {
        let mut line = Vec::new();
        let judged = self.collector.judge_again(&mut line, &Record::parse(record).unwrap());
        judged.map(|_| serde_json::from_slice(&line).unwrap())
    }

    fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.counters.outcomes().into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

fn request() -> Request<'static> {
    Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() }
}

fn lines(journal: &Journal) -> Vec<Value> {
    let batch = Reader::new(journal.directory(), 0).read(100, 1 << 20).unwrap();
    batch.iter().map(|message| serde_json::from_slice(message.line).unwrap()).collect()
}

#[test]
fn addresses_of_clients() {
    let root = tempfile::tempdir().unwrap();
    let none: &[Option<&str>] = &[];
    for (name, policy, proxies, peer, listed, forwarded, expected) in [
        ("IPv4 as it stands", IpPolicy::Full, "", "203.0.113.7:4711", none, none, Some("203.0.113.7")),
        ("IPv6", IpPolicy::Full, "", "[2001:db8::1]:4711", none, none, Some("2001:db8::1")),
        ("IPv4 in IPv6", IpPolicy::Full, "", "[::ffff:203.0.113.7]:4711", none, none, Some("203.0.113.7")),
        ("a socket", IpPolicy::Full, "", "unix", none, none, None),
        ("not an address", IpPolicy::Full, "", "host.example:80", none, none, None),
        ("truncated", IpPolicy::Truncated, "", "203.0.113.7:4711", none, none, Some("203.0.113.0")),
        ("truncated IPv6", IpPolicy::Truncated, "", "[2001:db8:1:2::1]:4711", none, none, Some("2001:db8:1::")),
        ("nothing kept", IpPolicy::None, "", "203.0.113.7:4711", none, none, None),
        (
            "behind a proxy",
            IpPolicy::Full,
            "10.0.0.0/8",
            "10.0.0.1:4711",
            &[Some("192.0.2.1")],
            none,
            Some("192.0.2.1"),
        ),
        (
            "by the other header",
            IpPolicy::Full,
            "10.0.0.0/8",
            "10.0.0.1:4711",
            none,
            &[Some("for=192.0.2.1")],
            Some("192.0.2.1"),
        ),
        (
            "behind a proxy, truncated",
            IpPolicy::Truncated,
            "10.0.0.0/8",
            "10.0.0.1:4711",
            &[Some("192.0.2.1")],
            none,
            Some("192.0.2.0"),
        ),
        ("a proxy of nobody's", IpPolicy::Full, "", "10.0.0.1:4711", &[Some("192.0.2.1")], none, Some("10.0.0.1")),
        ("nobody could read it", IpPolicy::Full, "10.0.0.0/8", "10.0.0.1:4711", &[None], none, Some("10.0.0.1")),
    ] {
        let gateway = Gateway::new(root.path(), proxies, policy, 1 << 20);
        assert_eq!(gateway.collector.client_ip(peer, listed, forwarded).as_deref(), expected, "{name}");
    }
}

#[test]
fn a_record_is_judged_by_what_holds_now() {
    let mut rejected = Vec::new();
    let sent = Request { ip: Some("203.0.113.7"), ..request() };
    write_rejection(&mut rejected, Reason::UnknownKey, "page", b"wk=dk_live_shop", &sent, &Options::default());
    let strange = String::from_utf8(rejected.clone()).unwrap().replace("203.0.113.7", "what was kept before");
    let root = tempfile::tempdir().unwrap();
    for (name, policy, ip) in [
        ("all of it", IpPolicy::Full, Some("203.0.113.7")),
        ("truncated", IpPolicy::Truncated, Some("203.0.113.0")),
        ("nothing", IpPolicy::None, None),
    ] {
        let gateway = Gateway::new(root.path(), "", policy, 1 << 20);
        let event = gateway.again(&rejected).unwrap();
        assert_eq!(event["context"].get("ip"), ip.map(|ip| json!(ip)).as_ref(), "{name}");
        assert_eq!(gateway.again(strange.as_bytes()).unwrap()["context"]["ip"], "what was kept before", "{name}");
    }
    let gateway = Gateway::new(root.path(), "", IpPolicy::Full, 1 << 20);
    assert_eq!(gateway.again(&rejected).unwrap().get("pipelineId"), None, "without a key file any key will do");
    for (name, file, expected) in [
        ("its key", SHOP.to_owned(), Ok("pip_shop")),
        ("a stranger's", SHOP.replace("dk_live_shop", "dk_live_other"), Err(Reason::UnknownKey)),
        ("disabled", format!("{SHOP}enabled = false"), Err(Reason::DisabledKey)),
        ("a limit does not count", format!("{SHOP}rate_limit_rps = 0.001"), Ok("pip_shop")),
        ("another page's", format!("{SHOP}domain_allowlist = ['a.example']"), Ok("pip_shop")),
        (
            "a page is asked for",
            format!("{SHOP}domain_allowlist = ['a.example']\nrequire_origin = true"),
            Err(Reason::DomainNotAllowed),
        ),
        (
            "a signature is asked for",
            format!("{SHOP}secrets = ['{}']\nrequire_signature = true", "Zr8Qw3vT6yB1nM5kP9sD2fG7hJ4lX0cA"),
            Err(Reason::Unsigned),
        ),
    ] {
        gateway.collector.set_keys(Keys::parse(&file).unwrap());
        for _ in 0..3 {
            let judged = gateway.again(&rejected);
            assert_eq!(
                judged.as_ref().map(|event| event["pipelineId"].as_str().unwrap()),
                expected.as_ref().map(|id| *id),
                "{name}"
            );
        }
    }
    assert_eq!((lines(&gateway.events).len(), gateway.outcomes()), (0, vec![]), "nothing is journaled or counted");
}

#[test]
fn keys_are_those_that_were_set_last() {
    let root = tempfile::tempdir().unwrap();
    let gateway = Gateway::new(root.path(), "", IpPolicy::Full, 1 << 20);
    assert_eq!(gateway.ask("wk=anything&e=E").unwrap(), None);
    let buckets = Buckets::in_memory(1);
    let set = |lines: &str| {
        let mut keys = Keys::parse(&format!("{SHOP}{lines}")).unwrap();
        assert!(keys.use_buckets(buckets.clone()));
        gateway.collector.set_keys(keys);
    };
    set("rate_limit_rps = 2");
    for (query, expected) in [
        ("wk=anything&e=E", Some(Reason::UnknownKey)),
        ("wk=dk_live_shop", Some(Reason::MissingEvent)),
        ("wk=dk_live_shop&e=E", None),
        ("wk=dk_live_shop&e=E", Some(Reason::RateLimited)),
    ] {
        assert_eq!(gateway.ask(query).unwrap(), expected, "{query}");
    }
    // Tokens that were taken stay taken.
    set("rate_limit_rps = 2\nname = 'again'");
    assert_eq!(gateway.ask("wk=dk_live_shop&e=E").unwrap(), Some(Reason::RateLimited));
    let events = lines(&gateway.events);
    let pipelines: Vec<_> = events.iter().map(|event| event.get("pipelineId")).collect();
    assert_eq!(pipelines, [None, Some(&json!("pip_shop"))]);
}

#[test]
fn what_could_not_be_written_is_lost_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    let gateway = Gateway::new(root.path(), "", IpPolicy::Full, 400);
    assert_eq!(gateway.ask("wk=k&e=E").unwrap(), None);
    let used = gateway.events.measure().unwrap();
    let error = gateway.ask(&format!("wk=k&e=E&p.a={}", "x".repeat(400))).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    let expected = format!("{}: {used} of 400 bytes are used", root.path().join("events").display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(gateway.ask("").unwrap(), Some(Reason::MissingKey), "rejections have a budget of their own");
    gateway.collector.count_lost("page");
    assert_eq!(gateway.outcomes(), [("accepted", 1), ("lost", 2), ("missing_key", 1)]);
    assert_eq!((lines(&gateway.events).len(), lines(&gateway.rejections).len()), (1, 1));
    assert_eq!(gateway.collector.refused(), 0, "they were not kept from it by others");
}

#[test]
fn a_query_that_a_mailer_changed_is_noticed_where_it_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (query, reason, expected) in [
        ("wk=3Dk&e=3DE", None, 1), // accepted, and noticed there
        ("wk=3Ddk_live_shop.1&e=3DE", Some(Reason::MalformedKey), 1),
        ("wk%4Dk&e%4DE", Some(Reason::MissingKey), 1),
        ("e=E", Some(Reason::MissingKey), 0),
        ("e=3DE", Some(Reason::MissingKey), 1),
        ("wk=3Dk", Some(Reason::MissingEvent), 1),
        ("wk=3Dk&p.a.b=3D1", Some(Reason::MissingEvent), 1),
        ("wk=k&e=E", None, 0),
    ] {
        let gateway = Gateway::new(root.path(), "", IpPolicy::Full, 1 << 20);
        assert_eq!(gateway.ask(query).unwrap(), reason, "{query}");
        let noticed: u64 = gateway
            .counters
            .iter()
            .filter(|(name, _)| name.starts_with("quoted_printable"))
            .map(|(_, count)| count)
            .sum();
        assert_eq!(noticed, expected, "{query}");
    }
}
